//! A content that comes in: kept in memory while it is small, in a file from then on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::sending::Sending;
use super::staged::{Body, Placed, Staged};
use super::{Blobs, Place};
use crate::{Error, TraceId};

/// How much is gathered before it is written to a file at once.
const WRITE: usize = 256 << 10;
/// How much is written before the disk is told to begin storing it, so that the last sync is short.
const SYNC: u64 = 64 << 20;

/// A content that is being received. Dropping it leaves nothing behind.
pub(crate) struct Staging {
    blobs: Blobs,
    length: u64,
    pending: BytesMut,
    file: FileState,
    /// Where the content goes to a bucket, once it outgrew memory.
    sending: Option<Sending>,
}

enum FileState {
    /// All of it is in `pending`.
    None,
    /// A piece is being written on a thread of its own while the next one comes in.
    Writing(JoinHandle<io::Result<Box<Spill>>>),
}

impl Staging {
    pub(super) fn new(blobs: &Blobs) -> Staging {
        let blobs = blobs.clone();
        Staging { blobs, length: 0, pending: BytesMut::new(), file: FileState::None, sending: None }
    }

    /// The bytes that came so far.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.length += bytes.len() as u64;
        self.pending.extend_from_slice(&bytes);
        let spilled = !matches!(self.file, FileState::None);
        if self.pending.len() >= WRITE || (!spilled && self.pending.len() > self.blobs.small()) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Hands what is pending to a thread that writes it, once the piece before is written.
    async fn flush(&mut self) -> Result<(), Error> {
        self.blobs.check_space()?;
        let mut spill = self.settle().await?;
        if let Some(sending) = &mut self.sending {
            sending.grown(spill.written)?;
        }
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
                let create = move || Spill::create(&blobs);
                let spill = tokio::task::spawn_blocking(create).await.map_err(Error::internal)??;
                if let Place::Bucket(bucket) = self.blobs.place() {
                    self.sending = Some(Sending::begin(bucket, self.blobs.db(), &spill.file).await?);
                }
                Ok(spill)
            }
            FileState::Writing(task) => Ok(task.await.map_err(Error::internal)??),
        }
    }

    /// Ends the content: when this returns, a large one is on stable storage and in its place.
    pub(crate) async fn finish(mut self) -> Result<Staged, Error> {
        if matches!(self.file, FileState::None) {
            let content = self.pending.freeze();
            let hash = blake3::hash(&content);
            return Ok(Staged { hash, size: self.length, body: Body::Small(content), lost: None });
        }
        let mut spill = self.settle().await?;
        let (piece, blobs, size) = (self.pending, self.blobs, self.length);
        if let Some(sending) = self.sending {
            let write = move || spill.write(&piece).map(|()| spill);
            let spill = tokio::task::spawn_blocking(write).await.map_err(Error::internal)??;
            let object = sending.finish(size).await?;
            let Spill { hasher, path, .. } = *spill;
            let (hash, body) = (hasher.finalize(), Body::Object { object, path });
            let lost = blobs.lost(&hash).await?;
            return Ok(Staged { hash, size, body, lost });
        }
        let store = blobs.clone();
        let placed = tokio::task::spawn_blocking(move || -> io::Result<_> {
            spill.write(&piece)?;
            drop(piece);
            spill.file.sync_data()?;
            let hash = spill.hasher.finalize();
            Placed::put(&store, spill.path, hash).map(|placed| (hash, Body::File(placed)))
        });
        let (hash, body) = placed.await.map_err(Error::internal)??;
        let lost = blobs.lost(&hash).await?;
        Ok(Staged { hash, size, body, lost })
    }

    /// The content so far, while all of it is in memory.
    pub(crate) fn small(&self) -> Option<&[u8]> {
        matches!(self.file, FileState::None).then_some(&self.pending[..])
    }
}

/// The file of a content that outgrew memory.
struct Spill {
    file: Arc<File>,
    path: TemporaryPath,
    hasher: blake3::Hasher,
    written: u64,
    /// How much was written since the disk was last told to store it; not counted where the file itself does not stay.
    unsynced: Option<u64>,
    syncing: Option<thread::JoinHandle<()>>,
}

/// Removes its file when dropped, unless it is kept.
pub(super) struct TemporaryPath(PathBuf);

impl TemporaryPath {
    pub(super) fn path(&self) -> &PathBuf {
        &self.0
    }

    pub(super) fn keep(mut self) {
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
        let (file, path, hasher) = (Arc::new(file), TemporaryPath(path), blake3::Hasher::new());
        let unsynced = matches!(blobs.place(), Place::Disk).then_some(0);
        Ok(Box::new(Spill { file, path, hasher, written: 0, unsynced, syncing: None }))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        let Some(unsynced) = &mut self.unsynced else { return Ok(()) };
        *unsynced += bytes.len() as u64;
        if *unsynced >= SYNC && self.syncing.as_ref().is_none_or(thread::JoinHandle::is_finished) {
            *unsynced = 0;
            let file = self.file.clone();
            // Its outcome does not matter: the last sync covers everything and its error is heard.
            self.syncing = Some(thread::spawn(move || drop(file.sync_data())));
        }
        Ok(())
    }
}
