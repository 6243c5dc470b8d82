//! Putting a file: streamed into a blob of its own, visible only when it is complete and durable.

use std::sync::Arc;

use bytes::Bytes;

use super::home::usage;
use super::tree::{self, NewNode};
use super::{Check, Home, Node, mail};
use crate::blobs::{BlobRow, Staging, release};
use crate::db::{Deed, Tx, params};
use crate::{Error, Timestamp, VPath};

/// How a file is put.
#[derive(Clone, Default)]
pub struct PutOptions {
    /// Keep this many bytes of what stands there and append to them (REST and APPE of FTP).
    pub offset: Option<u64>,
    /// A condition on what stands there.
    pub check: Option<Check>,
    /// How many bytes are to come, where that is known: more than the account has room for are refused at once.
    pub length: Option<u64>,
    /// The modification time; the present moment otherwise.
    pub modified: Option<Timestamp>,
}

/// What a finished upload became.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The file.
    pub node: Arc<Node>,
    /// Whether there was none before.
    pub created: bool,
}

/// A file on its way in. Dropping it leaves nothing behind.
pub struct Upload {
    home: Home,
    path: VPath,
    options: PutOptions,
    staging: Staging,
    /// The most bytes the account has room for, as it was at the start; the transaction decides in the end.
    room: Option<u64>,
}

impl Home {
    /// Begins to put a file at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the folder it would stand in does not exist; [`Error::Exists`] when a folder stands
    /// there; [`Error::Invalid`] when `offset` lies beyond the end; [`Error::OverQuota`]; [`Error::Full`];
    /// [`Error::Denied`].
    pub async fn put(&self, path: &VPath, options: PutOptions) -> Result<Upload, Error> {
        if let Err(denied) = self.actor.may_change().and_then(|()| mail::refuse(path)) {
            self.refused("file.put", path, &denied).await;
            return Err(denied);
        }
        let (account, target) = (self.account, path.clone());
        let looked = self.store.db().read(move |tx| {
            let parent = tree::parent(tx, account, &target)?;
            Ok((tree::child(tx, parent.id, target.name())?, usage(tx, account)?))
        });
        let (old, usage) = looked.await?;
        if let Some(check) = &options.check {
            check(old.as_ref())?;
        }
        if old.as_ref().is_some_and(Node::is_folder) {
            return Err(Error::Exists);
        }
        let replaced = old.as_ref().map_or(0, |old| old.size);
        let room = usage.quota.map(|quota| (quota + replaced).saturating_sub(usage.used));
        let offset = options.offset.unwrap_or(0);
        let over = options.length.zip(room).is_some_and(|(length, room)| offset.saturating_add(length) > room);
        let staged = if over { Err(Error::OverQuota) } else { self.store.blobs().stage() };
        let staging = match staged {
            Ok(staging) => staging,
            Err(error) => {
                self.refused("file.put", path, &error).await;
                return Err(error);
            }
        };
        let mut upload = Upload { home: self.clone(), path: path.clone(), options, staging, room };
        if offset > 0 {
            upload.keep(old.as_ref(), offset).await?;
        }
        Ok(upload)
    }
}

impl Upload {
    /// Begins with the first `offset` bytes of what stands there.
    async fn keep(&mut self, old: Option<&Node>, offset: u64) -> Result<(), Error> {
        if old.map_or(0, |old| old.size) < offset {
            return Err(Error::invalid("the offset lies beyond the end of the file"));
        }
        let (_, content) = self.home.open(&self.path).await?;
        let mut reader = content.reader(0..offset);
        while let Some(piece) = reader.next().await? {
            self.write(piece).await?;
        }
        // The file may have been replaced by a shorter one since it was looked at.
        if self.len() == offset { Ok(()) } else { Err(Error::Changed) }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::OverQuota`] or [`Error::Full`] as soon as it is certain; the upload is over then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let over = self.room.is_some_and(|room| self.staging.len() + bytes.len() as u64 > room);
        let result = if over { Err(Error::OverQuota) } else { self.staging.write(bytes).await };
        if let Err(error) = &result
            && error.is_refusal()
        {
            self.home.refused("file.put", &self.path, error).await;
        }
        result
    }

    /// The bytes of the file so far.
    pub fn len(&self) -> u64 {
        self.staging.len()
    }

    /// Whether the file has no bytes so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the file visible: durable, and with its audit record, when this returns.
    ///
    /// # Errors
    /// [`Error::Changed`] when the check does not hold any more, [`Error::OverQuota`], [`Error::Full`].
    pub async fn commit(self) -> Result<Stored, Error> {
        // On a task of its own: a caller that goes away (a lost connection) must not leave it half done.
        tokio::spawn(self.commit_whole()).await.map_err(Error::internal)?
    }

    async fn commit_whole(self) -> Result<Stored, Error> {
        let Upload { home, path, options, staging, .. } = self;
        let staged = match staging.finish().await {
            Ok(staged) => staged,
            Err(error) => {
                if error.is_refusal() {
                    home.refused("file.put", &path, &error).await;
                }
                return Err(error);
            }
        };
        let (row, put, target) = (staged.row(), home.clone(), path.clone());
        let stored = home.change("file.put", &path, move |tx| put.store_file(tx, &target, &row, &options)).await;
        staged.settle(&stored);
        stored
    }
}

impl Home {
    fn store_file(&self, tx: &mut Tx<'_>, path: &VPath, row: &BlobRow, options: &PutOptions) -> Result<Stored, Error> {
        let parent = tree::parent(tx, self.account, path)?;
        let old = tree::child(tx, parent.id, path.name())?;
        if let Some(check) = &options.check {
            check(old.as_ref())?;
        }
        let modified = options.modified.unwrap_or_else(Timestamp::now);
        let blob = row.refer(tx, 1)?;
        let etag = row.etag();
        let id = match &old {
            Some(old) if old.is_folder() => return Err(Error::Exists),
            Some(old) => {
                if let Some(blob) = old.blob {
                    release(tx, blob)?;
                }
                tx.execute(
                    "UPDATE nodes SET blob = $2, size = $3, etag = $4, modified = $5 WHERE id = $1",
                    params![old.id, blob, row.size as i64, &etag, modified],
                )?;
                old.id
            }
            None => {
                let new = NewNode { blob: Some(blob), size: row.size, etag: &etag, modified };
                let id = tree::insert(tx, self.account, Some(parent.id), path.name(), &new)?;
                tree::touch(tx, parent.id)?;
                id
            }
        };
        let delta = row.size as i64 - old.as_ref().map_or(0, |old| old.size as i64);
        let detail = format!("size={} blob={}", row.size, row.hex());
        tx.change(
            &self.actor,
            self.account,
            delta,
            &Deed { action: "file.put", object: id, target: path.as_str(), detail: &detail },
        )?;
        let node = tree::child(tx, parent.id, path.name())?.ok_or(Error::NotFound)?;
        Ok(Stored { node: Arc::new(node), created: old.is_none() })
    }
}
