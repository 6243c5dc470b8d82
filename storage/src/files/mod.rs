//! Files: one tree of nodes for each account, read through a [`Home`] or, read-only, through a [`Site`]; in every home
//! the account's mail stands as the folder `Mail`.

mod changes;
mod home;
mod mail;
mod tree;
mod upload;

use std::sync::Arc;

use crate::db::Row;
use crate::{Error, Timestamp};

pub use home::{Home, Site, Usage};
pub use upload::{PutOptions, Stored, Upload};

pub(crate) use tree::create_root;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It has content.
    File,
    /// It has children.
    Folder,
}

/// A file or folder, as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number, never used twice; negative for what stands in `Mail`.
    pub id: i64,
    /// Its last name; empty for the home itself.
    pub name: String,
    /// File or folder.
    pub kind: Kind,
    /// Bytes; 0 for a folder.
    pub size: u64,
    /// When its content changed, or the time a client set (MFMT).
    pub modified: Timestamp,
    /// When it was made.
    pub created: Timestamp,
    /// A strong validator without quotes: equal only for equal bytes (RFC 9110 §8.8.3).
    pub etag: String,
    pub(crate) parent: Option<i64>,
    pub(crate) blob: Option<i64>,
}

impl Node {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Whether it is mail, which is not changed as files are.
    pub fn is_mail(&self) -> bool {
        self.id < 0
    }
}

/// The columns that [`node_of`] reads.
const NODE: &str = "id, name, folder, size, modified, created, etag, parent, blob";

fn node_of(row: &Row<'_>) -> Result<Node, Error> {
    Ok(Node {
        id: row.int(0)?,
        name: row.text(1)?,
        kind: if row.bool(2)? { Kind::Folder } else { Kind::File },
        size: row.int(3)? as u64,
        modified: Timestamp(row.int(4)?),
        created: Timestamp(row.int(5)?),
        etag: row.text(6)?,
        parent: row.optional_int(7)?,
        blob: row.optional_int(8)?,
    })
}

/// A condition on what stands at a path, evaluated in the transaction that changes it; an error ends the change.
pub type Check = Arc<dyn Fn(Option<&Node>) -> Result<(), Error> + Send + Sync>;

/// What [`Home::remove`] may remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remove {
    /// A file.
    File,
    /// A folder without children.
    EmptyFolder,
    /// A file, or a folder with all it holds.
    Tree,
}
