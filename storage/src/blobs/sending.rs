//! A content on its way into the bucket while it still comes in: parts are read from its file and sent as soon as they
//! are there.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::multipart::PartId;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::bucket::{Bucket, part_range};
use crate::db::{Db, params};
use crate::{Error, Timestamp, TraceId};

/// How many parts of one content are sent at once.
const PARTS: usize = 3;
/// How often an upload says that it is alive.
const SEEN: Duration = Duration::from_secs(300);
/// An upload that was not seen for so long is forsaken.
pub(super) const FORSAKEN: Duration = Duration::from_secs(3600);

/// How much of the content is in its file.
#[derive(Clone, Copy)]
struct Grown {
    length: u64,
    whole: bool,
}

/// A content that is being sent. Dropping it leaves the sweeper to remove what was sent.
pub(super) struct Sending {
    stray: Stray,
    grown: watch::Sender<Grown>,
    task: JoinHandle<Result<(), Error>>,
}

/// An object that no row refers to yet. Dropping it gives it to the sweeper, unless it was offered to a transaction.
pub(super) struct Stray {
    db: Db,
    pub(super) place: String,
    pub(super) offered: AtomicBool,
}

impl Stray {
    async fn new(db: &Db) -> Result<Stray, Error> {
        let name = TraceId::new();
        // The character that differs most from one name to the next spreads the objects.
        let place = format!("{}/{name}", &name.as_str()[TraceId::LEN - 1..]);
        let stray = Stray { db: db.clone(), place: place.clone(), offered: AtomicBool::new(false) };
        db.write(move |tx| {
            let sql = "INSERT INTO strays (place, upload, seen) VALUES ($1, '', $2)";
            tx.execute(sql, params![&place, Timestamp::now()]).map(drop)
        })
        .await?;
        Ok(stray)
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        if self.offered.load(Ordering::Acquire) {
            return;
        }
        // Without a runtime, or without the database, it is found when it was not seen for an hour.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (db, place) = (self.db.clone(), std::mem::take(&mut self.place));
        drop(runtime.spawn(async move { abandon(&db, place).await }));
    }
}

/// Lets the sweeper remove an object.
pub(super) async fn abandon(db: &Db, place: String) {
    let sql = "UPDATE strays SET seen = 0 WHERE place = $1";
    if let Err(error) = db.write(move |tx| tx.execute(sql, params![&place]).map(drop)).await {
        tracing::debug!(%error, "an object that is not needed is removed later");
    }
}

impl Sending {
    pub(super) async fn begin(bucket: &Bucket, db: &Db, file: &Arc<File>) -> Result<Sending, Error> {
        let stray = Stray::new(db).await?;
        let (grown, progress) = watch::channel(Grown { length: 0, whole: false });
        let work = Work { bucket: bucket.clone(), db: db.clone(), file: file.clone(), place: stray.place.clone() };
        let task = tokio::spawn(work.run(progress));
        Ok(Sending { stray, grown, task })
    }

    /// The file has this many bytes now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when sending has failed already.
    pub(super) fn grown(&mut self, length: u64) -> Result<(), Error> {
        self.grown.send_replace(Grown { length, whole: false });
        if self.task.is_finished() {
            Err(Error::Unavailable("the bucket did not take the content".into()))
        } else {
            Ok(())
        }
    }

    /// The file is whole: the object is there when this returns.
    pub(super) async fn finish(mut self, length: u64) -> Result<Stray, Error> {
        self.grown.send_replace(Grown { length, whole: true });
        (&mut self.task).await.map_err(Error::internal)??;
        let Sending { stray, .. } = self;
        Ok(stray)
    }
}

struct Work {
    bucket: Bucket,
    db: Db,
    file: Arc<File>,
    place: String,
}

impl Work {
    async fn run(self, mut progress: watch::Receiver<Grown>) -> Result<(), Error> {
        let mut upload: Option<Arc<str>> = None;
        let mut parts: Vec<(usize, PartId)> = Vec::new();
        let mut running: JoinSet<Result<(usize, PartId), Error>> = JoinSet::new();
        let (mut next, mut see) = (0, Instant::now() + SEEN);
        loop {
            let range = part_range(next);
            let now = *progress.borrow_and_update();
            if running.len() == PARTS || (now.length <= range.end && !now.whole) {
                tokio::select! {
                    Some(part) = running.join_next() => parts.push(part.map_err(Error::internal)??),
                    changed = progress.changed(), if !now.whole => if changed.is_err() { return Ok(()) },
                    () = tokio::time::sleep_until(see) => {
                        self.seen().await?;
                        see = Instant::now() + SEEN;
                    }
                }
                continue;
            }
            if now.whole && next == 0 && now.length <= range.end {
                return self.bucket.put(&self.place, &self.file, now.length).await;
            }
            let id = match &upload {
                Some(id) => id.clone(),
                None => upload.insert(self.begin().await?).clone(),
            };
            let (bucket, file, place) = (self.bucket.clone(), self.file.clone(), self.place.clone());
            let (number, range) = (next, range.start..range.end.min(now.length));
            next += 1;
            let last = now.whole && range.end == now.length;
            running.spawn(async move { Ok((number, bucket.part(&place, &id, number, &file, range).await?)) });
            if last {
                break;
            }
        }
        while let Some(part) = running.join_next().await {
            parts.push(part.map_err(Error::internal)??);
        }
        parts.sort_by_key(|(number, _)| *number);
        let parts = parts.into_iter().map(|(_, part)| part).collect();
        self.bucket.complete(&self.place, upload.as_deref().unwrap_or_default(), parts).await
    }

    /// Says that the upload is alive; it is over when the sweeper thought otherwise.
    async fn seen(&self) -> Result<(), Error> {
        let place = self.place.clone();
        let sql = "UPDATE strays SET seen = $2 WHERE place = $1 AND seen <> 0";
        match self.db.write(move |tx| tx.execute(sql, params![&place, Timestamp::now()])).await? {
            0 => Err(Error::Unavailable("the upload was taken for forsaken".into())),
            _ => Ok(()),
        }
    }

    async fn begin(&self) -> Result<Arc<str>, Error> {
        let upload: Arc<str> = self.bucket.begin(&self.place).await?.into();
        let (place, id) = (self.place.clone(), upload.clone());
        let sql = "UPDATE strays SET upload = $2 WHERE place = $1 AND seen <> 0";
        match self.db.write(move |tx| tx.execute(sql, params![&place, &*id])).await {
            Ok(1) => Ok(upload),
            other => {
                // Nobody would know of it.
                self.bucket.remove(&self.place, &upload).await?;
                other.and(Err(Error::Unavailable("the upload was given up".into())))
            }
        }
    }
}
