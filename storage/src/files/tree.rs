//! Finding and changing nodes inside a transaction.

use super::{NODE, Node, mail, node_of};
use crate::blobs::{release_all, retain, retain_all};
use crate::db::{Read, Tx, params};
use crate::{Error, Timestamp, VPath};

/// The home of an account.
pub(super) fn root(tx: &Read<'_>, account: i64) -> Result<Node, Error> {
    let sql = format!("SELECT {NODE} FROM nodes WHERE id = (SELECT root FROM accounts WHERE id = $1)");
    tx.row(&sql, params![account], node_of)?.ok_or(Error::NotFound)
}

/// The node at `path`.
pub(super) fn find(tx: &Read<'_>, account: i64, path: &VPath) -> Result<Option<Node>, Error> {
    if let Some(name) = mail::below(path) {
        return mail::find(tx, account, name);
    }
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
    tx.run("UPDATE nodes SET modified = $2 WHERE id = $1", params![folder, Timestamp::now()])
}

/// Removes a node and all below it; the bytes that were freed.
pub(super) fn remove(tx: &mut Tx<'_>, node: &Node) -> Result<u64, Error> {
    let below = "WITH RECURSIVE below (id, blob, size) AS (
             SELECT id, blob, size FROM nodes WHERE id = $1
             UNION ALL SELECT nodes.id, nodes.blob, nodes.size FROM nodes JOIN below ON nodes.parent = below.id)";
    let freed = tx.row(
        &format!("{below} SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM below"),
        params![node.id],
        |row| row.int(0),
    )?;
    release_all(
        tx,
        &format!("{below} SELECT blob, COUNT(*) AS number FROM below WHERE blob IS NOT NULL GROUP BY blob"),
        node.id,
    )?;
    tx.execute(&format!("{below} DELETE FROM nodes WHERE id IN (SELECT id FROM below)"), params![node.id])?;
    Ok(freed.unwrap_or(0) as u64)
}

/// Copies a node and all below it to a new place without copying a byte of content; its id and the bytes it counts for.
pub(super) fn copy(tx: &mut Tx<'_>, account: i64, node: &Node, parent: i64, name: &str) -> Result<(i64, u64), Error> {
    if let Some(blob) = node.blob {
        retain(tx, blob)?;
    }
    let new = NewNode { blob: node.blob, size: node.size, etag: &node.etag, modified: node.modified };
    let top = insert(tx, account, Some(parent), name, &new)?;
    let mut used = node.size;
    let mut waiting = vec![(node.id, top)];
    // A few statements for each folder, however much lies in it.
    while let Some((from, to)) = waiting.pop().filter(|_| node.is_folder()) {
        tx.execute(
            "INSERT INTO nodes (account, parent, name, folder, blob, size, etag, created, modified)
             SELECT $3, $2, name, folder, blob, size, etag, $4, modified FROM nodes WHERE parent = $1",
            params![from, to, account, Timestamp::now()],
        )?;
        retain_all(
            tx,
            "SELECT blob, COUNT(*) AS number FROM nodes WHERE parent = $1 AND blob IS NOT NULL GROUP BY blob",
            from,
        )?;
        let sum = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM nodes WHERE parent = $1";
        used += tx.row(sum, params![from], |row| row.int(0))?.unwrap_or(0) as u64;
        let folders =
            "SELECT old.id, new.id FROM nodes AS old JOIN nodes AS new ON new.parent = $2 AND new.name = old.name
             WHERE old.parent = $1 AND old.folder = 1";
        waiting.extend(tx.rows(folders, params![from, to], |row| Ok((row.int(0)?, row.int(1)?)))?);
    }
    Ok((top, used))
}
