//! Finding and changing nodes inside a transaction.

use super::{NODE, Node, node_of};
use crate::blobs::{release, retain};
use crate::db::{Read, Tx, params};
use crate::{Error, Timestamp, VPath};

/// The home of an account.
pub(super) fn root(tx: &Read<'_>, account: i64) -> Result<Node, Error> {
    let sql = format!("SELECT {NODE} FROM nodes WHERE id = (SELECT root FROM accounts WHERE id = $1)");
    tx.row(&sql, params![account], node_of)?.ok_or(Error::NotFound)
}

/// The node at `path`.
pub(super) fn find(tx: &Read<'_>, account: i64, path: &VPath) -> Result<Option<Node>, Error> {
    let mut node = root(tx, account)?;
    for name in path.names() {
        match child(tx, node.id, name)? {
            Some(next) => node = next,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// The folder that `path` stands in.
pub(super) fn parent(tx: &Read<'_>, account: i64, path: &VPath) -> Result<Node, Error> {
    let parent = path.parent().ok_or_else(|| Error::invalid("the home itself cannot be replaced"))?;
    let node = find(tx, account, &parent)?.ok_or(Error::NotFound)?;
    if node.is_folder() { Ok(node) } else { Err(Error::invalid("a part of the path is a file, not a folder")) }
}

/// The child of that name.
pub(super) fn child(tx: &Read<'_>, parent: i64, name: &str) -> Result<Option<Node>, Error> {
    let sql = format!("SELECT {NODE} FROM nodes WHERE parent = $1 AND name = $2");
    tx.row(&sql, params![parent, name], node_of)
}

/// Makes the home of a new account.
pub(crate) fn create_root(tx: &mut Tx<'_>, account: i64) -> Result<i64, Error> {
    insert(tx, account, None, "", &NewNode::folder())
}

/// What a new node is besides its place and name.
pub(super) struct NewNode<'a> {
    pub(super) blob: Option<i64>,
    pub(super) size: u64,
    pub(super) etag: &'a str,
    pub(super) modified: Timestamp,
}

impl NewNode<'_> {
    pub(super) fn folder() -> Self {
        NewNode { blob: None, size: 0, etag: "", modified: Timestamp::now() }
    }
}

/// Adds a node; its id.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    account: i64,
    parent: Option<i64>,
    name: &str,
    node: &NewNode<'_>,
) -> Result<i64, Error> {
    let id = tx.returning(
        "INSERT INTO nodes (account, parent, name, folder, blob, size, etag, created, modified)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
        params![
            account,
            parent,
            name,
            node.blob.is_none(),
            node.blob,
            node.size as i64,
            node.etag,
            Timestamp::now(),
            node.modified
        ],
        |row| row.int(0),
    )?;
    id.ok_or_else(|| Error::internal("a node's row was not returned"))
}

/// Notes that the list of a folder's children changed.
pub(super) fn touch(tx: &mut Tx<'_>, folder: i64) -> Result<(), Error> {
    tx.execute("UPDATE nodes SET modified = $2 WHERE id = $1", params![folder, Timestamp::now()]).map(drop)
}

/// Removes a node and all below it; the bytes that were freed.
pub(super) fn remove(tx: &mut Tx<'_>, node: &Node) -> Result<u64, Error> {
    let below = tx.rows(
        "WITH RECURSIVE below (id) AS (
             SELECT id FROM nodes WHERE id = $1
             UNION ALL SELECT nodes.id FROM nodes JOIN below ON nodes.parent = below.id)
         SELECT nodes.id, nodes.blob, nodes.size FROM below JOIN nodes ON nodes.id = below.id",
        params![node.id],
        |row| Ok((row.int(0)?, row.optional_int(1)?, row.int(2)? as u64)),
    )?;
    let mut freed = 0;
    for (id, blob, size) in below {
        if let Some(blob) = blob {
            release(tx, blob)?;
        }
        tx.execute("DELETE FROM nodes WHERE id = $1", params![id])?;
        freed += size;
    }
    Ok(freed)
}

/// Copies a node and all below it to a new place without copying a byte of content; its id and the bytes it counts for.
pub(super) fn copy(tx: &mut Tx<'_>, account: i64, node: &Node, parent: i64, name: &str) -> Result<(i64, u64), Error> {
    let mut used = 0;
    let mut top = None;
    let mut waiting = vec![(node.clone(), parent, name.to_owned())];
    while let Some((node, parent, name)) = waiting.pop() {
        if let Some(blob) = node.blob {
            retain(tx, blob)?;
        }
        let new = NewNode { blob: node.blob, size: node.size, etag: &node.etag, modified: node.modified };
        let id = insert(tx, account, Some(parent), &name, &new)?;
        top.get_or_insert(id);
        used += node.size;
        if node.is_folder() {
            let sql = format!("SELECT {NODE} FROM nodes WHERE parent = $1");
            let children = tx.rows(&sql, params![node.id], node_of)?;
            waiting.extend(children.into_iter().map(|child| (child.clone(), id, child.name)));
        }
    }
    Ok((top.unwrap_or_default(), used))
}
