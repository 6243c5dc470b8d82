//! Immutable contents, named by their BLAKE3 hash: small ones in the database, so that one sync covers content and
//! metadata; large ones as files, synced and in place before the transaction that refers to them.
//!
//! A file's name is its hash and a part of its own. Two uploads of one content never touch the same file: the row in
//! `blobs` says which of them counts, and the other is removed by who wrote it. So a sweep can never take away what an
//! upload is just about to refer to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use crate::db::{Db, Read, Tx, params};
use crate::store::private_folder;
use crate::{Error, Timestamp, TraceId};

/// Up to this size a content lives in the database.
const SMALL: usize = 64 << 10;
/// How much is gathered before it is written to a file at once.
const WRITE: usize = 256 << 10;
/// How much is written before the disk is told to begin storing it, so that the last sync is short.
const SYNC: u64 = 64 << 20;
/// How much is read from a file at once.
const READ: u64 = 256 << 10;
/// For how many milliseconds a look at the free disk space holds.
const SPACE_FRESH: u64 = 200;

/// The blob store of one data folder.
#[derive(Clone)]
pub(crate) struct Blobs {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    reserve: u64,
    /// When the free space was last looked at, and what it was.
    looked: AtomicU64,
    free: AtomicU64,
}

impl Blobs {
    pub(crate) fn open(data: &Path, reserve: u64) -> io::Result<Blobs> {
        let folder = data.join("blobs");
        private_folder(&folder.join("new"))?;
        let inner = Inner { folder, reserve, looked: AtomicU64::new(0), free: AtomicU64::new(0) };
        Ok(Blobs { inner: Arc::new(inner) })
    }

    /// Begins a new content.
    ///
    /// # Errors
    /// [`Error::Full`] when the disk has less free space than is kept in reserve.
    pub(crate) fn stage(&self) -> Result<Staging, Error> {
        self.check_space()?;
        Ok(Staging { blobs: self.clone(), length: 0, pending: BytesMut::new(), file: FileState::None })
    }

    /// Whether there is room for more than the reserve.
    fn check_space(&self) -> Result<(), Error> {
        let inner = &self.inner;
        let now = u64::try_from(Timestamp::now().0).unwrap_or(0);
        if now.abs_diff(inner.looked.load(Ordering::Relaxed)) > SPACE_FRESH {
            let space = rustix::fs::statvfs(&inner.folder).map_err(io::Error::from)?;
            inner.free.store(space.f_bavail.saturating_mul(space.f_frsize), Ordering::Relaxed);
            inner.looked.store(now, Ordering::Relaxed);
        }
        if inner.free.load(Ordering::Relaxed) < inner.reserve { Err(Error::Full) } else { Ok(()) }
    }

    fn path(&self, place: &str) -> PathBuf {
        self.inner.folder.join(place)
    }

    /// Opens the content of a blob.
    pub(crate) fn content(&self, tx: &Read<'_>, blob: i64) -> Result<Content, Error> {
        let sql = "SELECT size, place, data FROM blobs LEFT JOIN blob_data ON blob = id WHERE id = $1";
        let found = tx.row(sql, params![blob], |row| {
            let size = row.int(0)? as u64;
            match row.optional_text(1)? {
                Some(place) => {
                    let path = self.path(&place);
                    let file = File::open(&path).map_err(|error| {
                        Error::internal(format!("the content {} is missing: {error}", path.display()))
                    })?;
                    Ok(Content::File { file: Arc::new(file), size })
                }
                None => Ok(Content::Small(Bytes::from(row.bytes(2)?))),
            }
        })?;
        found.ok_or_else(|| Error::internal(format!("blob {blob} is missing")))
    }

    /// Removes what interrupted uploads left: each has a name in `new`, and a place where it may already stand.
    pub(crate) async fn tidy(&self, db: &Db) -> Result<(), Error> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path("new"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        for name in names {
            let place = place_of(&name);
            let wanted = place.clone();
            let known =
                db.read(move |tx| tx.row("SELECT 1 FROM blobs WHERE place = $1", params![&wanted], |_| Ok(()))).await?;
            if known.is_none() {
                let _ = std::fs::remove_file(self.path(&place));
            }
            std::fs::remove_file(self.path("new").join(&name))?;
        }
        Ok(())
    }

    /// Removes blobs without references; rows first, files after the commit.
    pub(crate) async fn sweep(&self, db: &Db, grace: Duration) -> Result<usize, Error> {
        let before = Timestamp(Timestamp::now().0 - i64::try_from(grace.as_millis()).unwrap_or(i64::MAX));
        let mut swept = 0;
        loop {
            let gone = db
                .write(move |tx| {
                    let gone = tx.rows(
                        "SELECT id, place FROM blobs WHERE freed IS NOT NULL AND freed <= $1 AND refs = 0 LIMIT 200",
                        params![before],
                        |row| Ok((row.int(0)?, row.optional_text(1)?)),
                    )?;
                    for (id, _) in &gone {
                        tx.execute("DELETE FROM blob_data WHERE blob = $1", params![*id])?;
                        tx.execute("DELETE FROM blobs WHERE id = $1", params![*id])?;
                    }
                    Ok(gone)
                })
                .await?;
            if gone.is_empty() {
                return Ok(swept);
            }
            swept += gone.len();
            for place in gone.into_iter().filter_map(|(_, place)| place) {
                if let Err(error) = std::fs::remove_file(self.path(&place)) {
                    tracing::warn!(%error, place, "a content without references could not be removed");
                }
            }
        }
    }
}

/// Where a finished file stands: a folder for each first byte of the hash.
fn place_of(name: &str) -> String {
    format!("{}/{name}", name.get(..2).unwrap_or("00"))
}

/// Takes one reference away; the sweeper removes the blob later when it was the last.
pub(crate) fn release(tx: &mut Tx<'_>, blob: i64) -> Result<(), Error> {
    tx.execute(
        "UPDATE blobs SET refs = refs - 1, freed = CASE WHEN refs = 1 THEN $2 ELSE NULL END WHERE id = $1",
        params![blob, Timestamp::now()],
    )
    .map(drop)
}

/// Adds one reference.
pub(crate) fn retain(tx: &mut Tx<'_>, blob: i64) -> Result<(), Error> {
    tx.execute("UPDATE blobs SET refs = refs + 1, freed = NULL WHERE id = $1", params![blob]).map(drop)
}

/// A content that is being received. Dropping it leaves nothing behind.
pub(crate) struct Staging {
    blobs: Blobs,
    length: u64,
    pending: BytesMut,
    file: FileState,
}

enum FileState {
    /// All of it is in `pending`.
    None,
    /// A piece is being written on a thread of its own while the next one comes in.
    Writing(JoinHandle<io::Result<Box<Spill>>>),
}

/// The file of a content that outgrew memory.
struct Spill {
    file: File,
    path: TemporaryPath,
    hasher: blake3::Hasher,
    unsynced: u64,
    syncing: Option<std::thread::JoinHandle<()>>,
}

/// Removes its file when dropped, unless it is kept.
struct TemporaryPath(PathBuf);

impl TemporaryPath {
    fn keep(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

impl Spill {
    fn create(blobs: &Blobs) -> io::Result<Box<Spill>> {
        let path = blobs.path("new").join(TraceId::new().as_str());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let path = TemporaryPath(path);
        Ok(Box::new(Spill { file, path, hasher: blake3::Hasher::new(), unsynced: 0, syncing: None }))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC && self.syncing.as_ref().is_none_or(std::thread::JoinHandle::is_finished) {
            self.unsynced = 0;
            let file = self.file.try_clone()?;
            // Its outcome does not matter: the last sync covers everything and its error is heard.
            self.syncing = Some(std::thread::spawn(move || drop(file.sync_data())));
        }
        Ok(())
    }
}

impl Staging {
    /// The bytes that came so far.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.length += bytes.len() as u64;
        self.pending.extend_from_slice(&bytes);
        let spilled = !matches!(self.file, FileState::None);
        if self.pending.len() >= WRITE || (!spilled && self.pending.len() > SMALL) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Hands what is pending to a thread that writes it, once the piece before is written.
    async fn flush(&mut self) -> Result<(), Error> {
        self.blobs.check_space()?;
        let mut spill = self.settle().await?;
        let piece = std::mem::replace(&mut self.pending, BytesMut::with_capacity(WRITE));
        self.file = FileState::Writing(tokio::task::spawn_blocking(move || {
            spill.write(&piece)?;
            Ok(spill)
        }));
        Ok(())
    }

    /// The file, made if it is not there, with every piece written.
    async fn settle(&mut self) -> Result<Box<Spill>, Error> {
        match std::mem::replace(&mut self.file, FileState::None) {
            FileState::None => {
                let blobs = self.blobs.clone();
                Ok(tokio::task::spawn_blocking(move || Spill::create(&blobs)).await.map_err(Error::internal)??)
            }
            FileState::Writing(task) => Ok(task.await.map_err(Error::internal)??),
        }
    }

    /// Ends the content: when this returns, a large one is on stable storage and in its place.
    pub(crate) async fn finish(mut self) -> Result<Staged, Error> {
        if matches!(self.file, FileState::None) {
            let content = self.pending.freeze();
            let hash = blake3::hash(&content);
            return Ok(Staged { hash, size: self.length, body: Body::Small(content) });
        }
        let mut spill = self.settle().await?;
        let (piece, blobs, size) = (self.pending, self.blobs, self.length);
        let placed = tokio::task::spawn_blocking(move || -> io::Result<Staged> {
            spill.write(&piece)?;
            drop(piece);
            spill.file.sync_data()?;
            let hash = spill.hasher.finalize();
            let Spill { file, path, .. } = *spill;
            Placed::put(&blobs, path, hash).map(|placed| Staged {
                hash,
                size,
                body: Body::File(placed, Arc::new(file)),
            })
        });
        Ok(placed.await.map_err(Error::internal)??)
    }

    /// The content so far, while all of it is in memory.
    pub(crate) fn small(&self) -> Option<&[u8]> {
        matches!(self.file, FileState::None).then_some(&self.pending[..])
    }
}

/// A whole content that no row refers to yet.
pub(crate) struct Staged {
    pub(crate) hash: blake3::Hash,
    pub(crate) size: u64,
    body: Body,
}

enum Body {
    Small(Bytes),
    File(Placed, Arc<File>),
}

/// A file in its place, with a second name in `new`, by which a restart finds it after a crash. While no transaction
/// knows of it, dropping it removes both names. Once one does, only its outcome may: should nobody be left to hear it
/// (the daemon stops), both stay, and the next start asks the rows.
struct Placed {
    place: String,
    target: PathBuf,
    new: PathBuf,
    offered: AtomicBool,
    kept: Arc<AtomicBool>,
}

impl Placed {
    fn put(blobs: &Blobs, path: TemporaryPath, hash: blake3::Hash) -> io::Result<Placed> {
        let unique = path.0.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("{}.{unique}", hash.to_hex());
        let place = place_of(&name);
        let (new, target) = (blobs.path("new").join(&name), blobs.path(&place));
        let folder = target.parent().unwrap_or(&blobs.inner.folder).to_owned();
        if !folder.exists() {
            private_folder(&folder)?;
            File::open(&blobs.inner.folder)?.sync_all()?;
        }
        std::fs::rename(&path.0, &new)?;
        path.keep();
        let placed = Placed { place, target, new, offered: AtomicBool::new(false), kept: Arc::default() };
        std::fs::hard_link(&placed.new, &placed.target)?;
        File::open(&folder)?.sync_all()?;
        Ok(placed)
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.target);
        let _ = std::fs::remove_file(&self.new);
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if !self.offered.load(Ordering::Acquire) {
            self.remove();
        }
    }
}

impl Staged {
    /// What a transaction needs to know of this content. From here on [`Staged::settle`] says what becomes of it.
    pub(crate) fn row(&self) -> BlobRow {
        let body = match &self.body {
            Body::Small(content) => RowBody::Small(content.clone()),
            Body::File(placed, _) => {
                placed.offered.store(true, Ordering::Release);
                RowBody::Place(placed.place.clone(), placed.kept.clone())
            }
        };
        BlobRow { hash: *self.hash.as_bytes(), size: self.size, body }
    }

    /// Reads it; for a parser, before it is committed.
    pub(crate) fn content(&self) -> Content {
        match &self.body {
            Body::Small(content) => Content::Small(content.clone()),
            Body::File(_, file) => Content::File { file: file.clone(), size: self.size },
        }
    }

    /// To be called with the outcome of the transaction: the file stays if it was committed and the row names it. When
    /// the store cannot say whether it was, both names stay, and the next start asks the rows.
    pub(crate) fn settle<T>(self, outcome: &Result<T, Error>) {
        let Body::File(placed, _) = self.body else { return };
        match outcome {
            Ok(_) if placed.kept.load(Ordering::Acquire) => drop(std::fs::remove_file(&placed.new)),
            Err(Error::Unavailable(_)) => {}
            Ok(_) | Err(_) => placed.remove(),
        }
    }
}

/// What a transaction needs to know of a staged content.
#[derive(Clone)]
pub(crate) struct BlobRow {
    hash: [u8; 32],
    pub(crate) size: u64,
    body: RowBody,
}

#[derive(Clone)]
enum RowBody {
    Small(Bytes),
    Place(String, Arc<AtomicBool>),
}

impl BlobRow {
    /// Adds `refs` references to the content in this transaction, making its row if there is none; the blob's id.
    pub(crate) fn refer(&self, tx: &mut Tx<'_>, refs: i64) -> Result<i64, Error> {
        let place = match &self.body {
            RowBody::Small(_) => None,
            RowBody::Place(place, _) => Some(place.as_str()),
        };
        let row = tx.returning(
            "INSERT INTO blobs (hash, size, refs, place) VALUES ($1, $2, $3, $4)
             ON CONFLICT (hash) DO UPDATE SET refs = blobs.refs + excluded.refs, freed = NULL
             RETURNING id, refs, place",
            params![&self.hash[..], self.size as i64, refs, place],
            |row| Ok((row.int(0)?, row.int(1)?, row.optional_text(2)?)),
        )?;
        let (id, all, stands) = row.ok_or_else(|| Error::internal("a blob's row was not returned"))?;
        match &self.body {
            RowBody::Small(content) => {
                if all == refs {
                    // New, or without references and not swept yet: then its data may be there.
                    tx.execute(
                        "INSERT INTO blob_data (blob, data) VALUES ($1, $2) ON CONFLICT (blob) DO NOTHING",
                        params![id, &content[..]],
                    )?;
                }
            }
            RowBody::Place(place, kept) => kept.store(stands.as_ref() == Some(place), Ordering::Release),
        }
        Ok(id)
    }

    /// The start of the hash, as files carry it for their ETag.
    pub(crate) fn etag(&self) -> String {
        self.hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The whole hash, as the audit log writes it.
    pub(crate) fn hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A content that can be read.
#[derive(Clone)]
pub enum Content {
    /// Small enough to be in memory.
    Small(Bytes),
    /// A file, open for as long as this lives.
    File {
        /// The file.
        file: Arc<File>,
        /// Its length in bytes.
        size: u64,
    },
}

impl Content {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Small(content) => content.len() as u64,
            Content::File { size, .. } => *size,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, when it is in memory.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Content::Small(content) => Some(content.clone()),
            Content::File { .. } => None,
        }
    }

    /// Reads a part of it, cut at its end.
    pub fn reader(&self, range: Range<u64>) -> ContentReader {
        let end = range.end.min(self.len());
        ContentReader { content: self.clone(), at: range.start.min(end), end, ahead: None }
    }
}

/// Reads a content piece by piece, one piece ahead of its caller.
pub struct ContentReader {
    content: Content,
    at: u64,
    end: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl ContentReader {
    /// The next piece, at most 256 KiB; `None` at the end.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let file = match &self.content {
            Content::Small(content) => {
                let piece = content.slice(self.at as usize..self.end as usize);
                self.at = self.end;
                return Ok((!piece.is_empty()).then_some(piece));
            }
            Content::File { file, .. } => file.clone(),
        };
        let Some(task) = self.ahead.take().or_else(|| read_ahead(&file, &mut self.at, self.end)) else {
            return Ok(None);
        };
        let piece = task.await.map_err(Error::internal)??;
        self.ahead = read_ahead(&file, &mut self.at, self.end);
        Ok(Some(piece))
    }
}

fn read_ahead(file: &Arc<File>, at: &mut u64, end: u64) -> Option<JoinHandle<io::Result<Bytes>>> {
    let (file, offset, length) = (file.clone(), *at, (end - *at).min(READ));
    *at += length;
    (length > 0).then(|| {
        // Made here and not on the thread that fills it: memory freed where it was made is used again at once.
        let mut piece = vec![0; length as usize];
        tokio::task::spawn_blocking(move || {
            file.read_exact_at(&mut piece, offset)?;
            Ok(Bytes::from(piece))
        })
    })
}
