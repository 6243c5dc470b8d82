//! Immutable contents, known by their BLAKE3 hash: small ones in the database, so that one sync covers content and
//! metadata; large ones in files or in a bucket, durable and in place before the transaction that refers to them.
//!
//! A place is never used twice: two uploads of one content never touch the same file or object. The row in `blobs` says
//! which of them counts, and the other is removed. So a sweep can never take away what an upload is about to refer to.

mod bucket;
mod content;
mod sending;
mod staged;
mod staging;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::db::{Db, Read, Tx, params};
use crate::store::private_folder;
use crate::{Error, Timestamp};

pub use bucket::{Object, S3};
pub use content::{Content, ContentReader};

pub(crate) use bucket::Bucket;
pub(crate) use staged::{BlobRow, Staged, etag};
pub(crate) use staging::Staging;

/// For how many milliseconds a look at the free disk space holds.
const SPACE_FRESH: u64 = 200;
/// How many contents are removed by one transaction.
const SWEPT_AT_ONCE: i64 = 200;

/// Where large contents are.
pub(crate) enum Place {
    /// In files of the data folder.
    Disk,
    /// In a bucket; the data folder only holds what is coming in.
    Bucket(Bucket),
}

/// The blob store.
#[derive(Clone)]
pub(crate) struct Blobs {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    folder: PathBuf,
    place: Place,
    small: usize,
    reserve: u64,
    /// When the free space was last looked at, and what it was.
    looked: AtomicU64,
    free: AtomicU64,
}

/// Where the rows say that a content is.
pub(crate) enum Located {
    Small(Bytes),
    Placed { place: String, size: u64 },
}

impl std::fmt::Display for Located {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Located::Small(_) => formatter.write_str("a row of the database"),
            Located::Placed { place, .. } => write!(formatter, "blob {place}"),
        }
    }
}

impl Blobs {
    /// Contents of up to `small` bytes live in the database.
    pub(crate) fn open(data: &Path, reserve: u64, db: Db, place: Place, small: usize) -> io::Result<Blobs> {
        let folder = data.join("blobs");
        private_folder(&folder.join("new"))?;
        let (looked, free) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Blobs { inner: Arc::new(Inner { db, folder, place, small, reserve, looked, free }) })
    }

    /// Begins a new content.
    ///
    /// # Errors
    /// [`Error::Full`] when the disk has less free space than is kept in reserve.
    pub(crate) fn stage(&self) -> Result<Staging, Error> {
        self.check_space()?;
        Ok(Staging::new(self))
    }

    /// Whether there is room for more than the reserve.
    pub(crate) fn check_space(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let now = u64::try_from(Timestamp::now().0).unwrap_or(0);
        if now.abs_diff(inner.looked.load(Ordering::Relaxed)) > SPACE_FRESH {
            let space = rustix::fs::statvfs(&inner.folder).map_err(io::Error::from)?;
            inner.free.store(space.f_bavail.saturating_mul(space.f_frsize), Ordering::Relaxed);
            inner.looked.store(now, Ordering::Relaxed);
        }
        if inner.free.load(Ordering::Relaxed) < inner.reserve { Err(Error::Full) } else { Ok(()) }
    }

    fn db(&self) -> &Db {
        &self.inner.db
    }

    fn folder(&self) -> &Path {
        &self.inner.folder
    }

    fn path(&self, place: &str) -> PathBuf {
        self.inner.folder.join(place)
    }

    fn small(&self) -> usize {
        self.inner.small
    }

    pub(crate) fn place(&self) -> &Place {
        &self.inner.place
    }

    /// Looks a content up.
    pub(crate) fn locate(&self, tx: &Read<'_>, blob: i64) -> Result<Located, Error> {
        let sql = "SELECT size, place, data FROM blobs LEFT JOIN blob_data ON blob = id WHERE id = $1";
        let found = tx.row(sql, params![blob], |row| {
            Ok(match row.optional_text(1)? {
                Some(place) => Located::Placed { place, size: row.int(0)? as u64 },
                None => Located::Small(Bytes::from(row.bytes(2)?)),
            })
        })?;
        found.ok_or_else(|| Error::internal(format!("blob {blob} is missing")))
    }

    /// Opens a content.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the disk or the bucket has lost it.
    pub(crate) async fn open_located(&self, located: &Located) -> Result<Content, Error> {
        let (place, size) = match located {
            Located::Small(content) => return Ok(Content::Small(content.clone())),
            Located::Placed { place, size } => (place, *size),
        };
        match &self.inner.place {
            Place::Disk => {
                let path = self.path(place);
                let file = tokio::task::spawn_blocking(move || File::open(path)).await.map_err(Error::internal)?;
                match file {
                    Ok(file) => Ok(Content::File { file: Arc::new(file), size }),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NotFound),
                    Err(error) => Err(error.into()),
                }
            }
            Place::Bucket(bucket) => bucket.object(place, size).await.map(Content::Object),
        }
    }

    /// The place that a content should have and has not: whoever brings the content again gives it another.
    async fn lost(&self, hash: &blake3::Hash) -> Result<Option<String>, Error> {
        let (hash, sql) = (*hash.as_bytes(), "SELECT place, size FROM blobs WHERE hash = $1 AND place IS NOT NULL");
        let known = self.db().read(move |tx| {
            tx.row(sql, params![&hash[..]], |row| Ok(Located::Placed { place: row.text(0)?, size: row.int(1)? as u64 }))
        });
        let Some(located) = known.await? else { return Ok(None) };
        match (self.open_located(&located).await, located) {
            (Err(Error::NotFound), Located::Placed { place, .. }) => Ok(Some(place)),
            (Ok(_), _) => Ok(None),
            (Err(error), _) => Err(error),
        }
    }

    /// Removes what interrupted uploads left: each has a name in `new`, and a place where it may already stand.
    pub(crate) async fn tidy(&self) -> Result<(), Error> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path("new"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        for name in names {
            if matches!(self.inner.place, Place::Disk) {
                let place = place_of(&name);
                let (sql, wanted) = ("SELECT 1 FROM blobs WHERE place = $1", place.clone());
                let known = self.db().read(move |tx| tx.row(sql, params![&wanted], |_| Ok(()))).await?;
                if known.is_none() {
                    let _ = std::fs::remove_file(self.path(&place));
                }
            }
            std::fs::remove_file(self.path("new").join(&name))?;
        }
        Ok(())
    }

    /// Removes blobs that nothing has referred to for `grace`, and what forsaken uploads left; how many blobs.
    pub(crate) async fn sweep(&self, grace: Duration) -> Result<usize, Error> {
        let before = ago(grace);
        let mut swept = 0;
        loop {
            let gone = self.db().write(move |tx| forget(tx, before)).await?;
            swept += gone;
            if gone < SWEPT_AT_ONCE as usize {
                break;
            }
        }
        self.remove_strays().await?;
        Ok(swept)
    }

    /// Removes files and objects that nothing refers to. Their rows go last, so that a crash forgets none of them.
    async fn remove_strays(&self) -> Result<(), Error> {
        let forsaken = ago(sending::FORSAKEN);
        self.db()
            .write(move |tx| {
                tx.execute("UPDATE strays SET seen = 0 WHERE seen < $1 AND seen <> 0", params![forsaken]).map(drop)
            })
            .await?;
        let mut after = String::new();
        loop {
            let looked = self.db().look(move |tx| {
                let sql = "SELECT place, upload FROM strays WHERE seen = 0 AND place > $1 ORDER BY place LIMIT $2";
                tx.rows(sql, params![&after, SWEPT_AT_ONCE], |row| Ok((row.text(0)?, row.text(1)?)))
            });
            let strays = looked.await?;
            let Some((last, _)) = strays.last() else { return Ok(()) };
            after = last.clone();
            let mut removed = Vec::new();
            for (place, upload) in strays {
                match self.remove(&place, &upload).await {
                    Ok(()) => removed.push((place, upload)),
                    // One that cannot be removed must not keep the others from it.
                    Err(error) => tracing::warn!(%error, detail = error.detail(), place, "a content stays for now"),
                }
            }
            self.db()
                .write(move |tx| {
                    for (place, upload) in &removed {
                        // An upload that began meanwhile is still to be ended.
                        tx.execute("DELETE FROM strays WHERE place = $1 AND upload = $2", params![place, upload])?;
                    }
                    Ok(())
                })
                .await?;
        }
    }

    async fn remove(&self, place: &str, upload: &str) -> Result<(), Error> {
        match &self.inner.place {
            Place::Disk => {
                let path = self.path(place);
                let removed = tokio::task::spawn_blocking(move || std::fs::remove_file(path));
                match removed.await.map_err(Error::internal)? {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                    _ => Ok(()),
                }
            }
            Place::Bucket(bucket) => bucket.remove(place, upload).await,
        }
    }
}

fn ago(time: Duration) -> Timestamp {
    Timestamp(Timestamp::now().0 - i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

/// Forgets blobs that were not referred to since `before`; their places become strays. How many there were.
fn forget(tx: &mut Tx<'_>, before: Timestamp) -> Result<usize, Error> {
    let gone = tx.rows(
        "SELECT id, place FROM blobs WHERE freed IS NOT NULL AND freed <= $1 AND refs = 0 ORDER BY id LIMIT $2",
        params![before, SWEPT_AT_ONCE],
        |row| Ok((row.int(0)?, row.optional_text(1)?)),
    )?;
    for (id, place) in &gone {
        // Somebody may have put the same content again since it was looked at.
        if tx.execute("DELETE FROM blobs WHERE id = $1 AND refs = 0", params![*id])? == 0 {
            continue;
        }
        for sql in ["DELETE FROM blob_data WHERE blob = $1", "DELETE FROM parsed WHERE blob = $1"] {
            tx.execute(sql, params![*id])?;
        }
        crate::mail::forget_documents(tx, *id)?;
        if let Some(place) = place {
            tx.execute("INSERT INTO strays (place, upload, seen) VALUES ($1, '', 0)", params![place])?;
        }
    }
    Ok(gone.len())
}

/// Where a finished file stands: a folder for each first byte of the hash.
fn place_of(name: &str) -> String {
    format!("{}/{name}", name.get(..2).unwrap_or("00"))
}

/// Takes one reference away; the sweeper removes the blob later when it was the last.
pub(crate) fn release(tx: &mut Tx<'_>, blob: i64) -> Result<(), Error> {
    tx.run(
        "UPDATE blobs SET refs = refs - 1, freed = CASE WHEN refs = 1 THEN CAST($2 AS BIGINT) END WHERE id = $1",
        params![blob, Timestamp::now()],
    )
}

/// Takes away the references that a query counts as `blob` and `number`; `$1` in it is `owner`.
pub(crate) fn release_all(tx: &mut Tx<'_>, counted: &str, owner: i64) -> Result<(), Error> {
    let sql = format!(
        "UPDATE blobs SET refs = refs - number, freed = CASE WHEN refs = number THEN CAST($2 AS BIGINT) END
         FROM ({counted}) AS counted WHERE blobs.id = counted.blob"
    );
    tx.execute(&sql, params![owner, Timestamp::now()]).map(drop)
}

/// Adds the references that a query counts as `blob` and `number`; `$1` in it is `owner`.
pub(crate) fn retain_all(tx: &mut Tx<'_>, counted: &str, owner: i64) -> Result<(), Error> {
    let sql = format!(
        "UPDATE blobs SET refs = refs + number, freed = NULL FROM ({counted}) AS counted WHERE blobs.id = counted.blob"
    );
    tx.run(&sql, params![owner])
}

/// Adds one reference.
pub(crate) fn retain(tx: &mut Tx<'_>, blob: i64) -> Result<(), Error> {
    tx.run("UPDATE blobs SET refs = refs + 1, freed = NULL WHERE id = $1", params![blob])
}
