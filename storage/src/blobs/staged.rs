//! A whole content on stable storage, on its way into a transaction.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::sending::Stray;
use super::staging::TemporaryPath;
use super::{Blobs, Content, place_of};
use crate::Error;
use crate::db::{Tx, params};
use crate::store::private_folder;

/// A whole content that no row refers to yet.
pub(crate) struct Staged {
    pub(crate) hash: blake3::Hash,
    pub(crate) size: u64,
    pub(super) body: Body,
    /// Where the rows say that this content is already, and where it is not any more.
    pub(super) lost: Option<String>,
}

pub(super) enum Body {
    Small(Bytes),
    File(Placed),
    Object {
        object: Stray,
        /// What was sent, for a parser.
        path: TemporaryPath,
    },
}

/// A file in its place, with a second name in `new`, by which a restart finds it after a crash. While no transaction
/// knows of it, dropping it removes both names. Once one does, only its outcome may: should nobody be left to hear it
/// (the daemon stops), both stay, and the next start asks the rows.
pub(super) struct Placed {
    place: String,
    target: PathBuf,
    new: PathBuf,
    offered: AtomicBool,
    kept: Arc<AtomicBool>,
}

impl Placed {
    pub(super) fn put(blobs: &Blobs, path: TemporaryPath, hash: blake3::Hash) -> io::Result<Placed> {
        let unique = path.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("{}.{unique}", hash.to_hex());
        let place = place_of(&name);
        let (new, target) = (blobs.path("new").join(&name), blobs.path(&place));
        let folder = target.parent().unwrap_or(blobs.folder()).to_owned();
        if !folder.exists() {
            private_folder(&folder)?;
            File::open(blobs.folder())?.sync_all()?;
        }
        std::fs::rename(path.path(), &new)?;
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
            Body::File(placed) => {
                placed.offered.store(true, Ordering::Release);
                RowBody::File(placed.place.clone(), placed.kept.clone())
            }
            Body::Object { object, .. } => {
                object.offered.store(true, Ordering::Release);
                RowBody::Object(object.place.clone())
            }
        };
        BlobRow { hash: *self.hash.as_bytes(), size: self.size, body, lost: self.lost.clone() }
    }

    /// Opens it; for a parser, before it is committed. Until then many may wait, which is why none is kept open.
    pub(crate) fn open(&self) -> io::Result<Content> {
        let path = match &self.body {
            Body::Small(content) => return Ok(Content::Small(content.clone())),
            Body::File(placed) => &placed.target,
            Body::Object { path, .. } => path.path(),
        };
        Ok(Content::File { file: Arc::new(File::open(path)?), size: self.size })
    }

    /// How many bytes of it are in memory.
    pub(crate) fn held(&self) -> usize {
        match &self.body {
            Body::Small(content) => content.len(),
            Body::File(_) | Body::Object { .. } => 0,
        }
    }

    /// To be called with the outcome of the transaction: the content stays if it was committed and its row names this
    /// place. When the store cannot say whether it was, all stays, and a start or the sweeper asks the rows.
    pub(crate) fn settle<T>(self, outcome: &Result<T, Error>) {
        match (self.body, outcome) {
            (Body::Small(_), _) | (_, Err(Error::Unavailable(_))) => {}
            (Body::File(placed), Ok(_)) if placed.kept.load(Ordering::Acquire) => {
                let _ = std::fs::remove_file(&placed.new);
            }
            (Body::File(placed), _) => placed.remove(),
            // The transaction has said what becomes of the object.
            (Body::Object { .. }, Ok(_)) => {}
            (Body::Object { object, .. }, Err(_)) => object.offered.store(false, Ordering::Release),
        }
    }
}

/// What a transaction needs to know of a staged content.
#[derive(Clone)]
pub(crate) struct BlobRow {
    hash: [u8; 32],
    pub(crate) size: u64,
    body: RowBody,
    lost: Option<String>,
}

#[derive(Clone)]
enum RowBody {
    Small(Bytes),
    File(String, Arc<AtomicBool>),
    Object(String),
}

impl BlobRow {
    /// Adds `refs` references to the content in this transaction, making its row if there is none; the blob's id.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the sweeper took the object for forsaken.
    pub(crate) fn refer(&self, tx: &mut Tx<'_>, refs: i64) -> Result<i64, Error> {
        let place = match &self.body {
            RowBody::Small(_) => None,
            RowBody::File(place, _) | RowBody::Object(place) => Some(place.as_str()),
        };
        let row = tx.returning(
            "INSERT INTO blobs (hash, size, refs, place) VALUES ($1, $2, $3, $4)
             ON CONFLICT (hash) DO UPDATE SET refs = blobs.refs + excluded.refs, freed = NULL,
             place = CASE WHEN blobs.place = $5 THEN excluded.place ELSE blobs.place END
             RETURNING id, refs, place",
            params![&self.hash[..], self.size as i64, refs, place, self.lost.as_deref()],
            |row| Ok((row.int(0)?, row.int(1)?, row.optional_text(2)?)),
        )?;
        let (id, all, stands) = row.ok_or_else(|| Error::internal("a blob's row was not returned"))?;
        let kept = stands.as_deref() == place;
        match &self.body {
            RowBody::Small(content) => {
                if all == refs && kept {
                    // New, or without references and not swept yet: then its data may be there.
                    tx.run(
                        "INSERT INTO blob_data (blob, data) VALUES ($1, $2) ON CONFLICT (blob) DO NOTHING",
                        params![id, &content[..]],
                    )?;
                }
            }
            RowBody::File(_, flag) => flag.store(kept, Ordering::Release),
            RowBody::Object(place) if kept => {
                if tx.execute("DELETE FROM strays WHERE place = $1 AND seen <> 0", params![place])? == 0 {
                    return Err(Error::Unavailable("the upload was taken for forsaken".into()));
                }
            }
            // The same content is there already.
            RowBody::Object(place) => {
                tx.execute("UPDATE strays SET seen = 0 WHERE place = $1", params![place])?;
            }
        }
        Ok(id)
    }

    /// The start of the hash, as files carry it for their ETag.
    pub(crate) fn etag(&self) -> String {
        etag(&self.hash)
    }

    /// The whole hash, as the audit log writes it.
    pub(crate) fn hex(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The start of a hash, as files carry it for their ETag.
pub(crate) fn etag(hash: &[u8]) -> String {
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
