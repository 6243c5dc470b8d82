//! How messages come into a mailbox, whichever way: delivered, appended, restored.

use std::sync::LazyLock;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::parse::{self, MessageIds, Parsed};
use super::view::Flags;
use crate::blobs::{BlobRow, Staged, Staging};
use crate::db::{Read, Tx, params};
use crate::{Error, Timestamp};

/// Up to this size a message is parsed at once; larger ones take turns, since each is held in memory meanwhile.
const PARSED_AT_ONCE: u64 = 1 << 20;

/// The turn of large messages at the parser.
static LARGE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));

/// Finishes a message that came whole, and parses it.
pub(super) async fn prepare(staging: Staging) -> Result<(Staged, Parsed), Error> {
    match staging.small() {
        // The common case costs no thread: a small message is parsed in microseconds.
        Some(message) => {
            let parsed = parse::parse(message);
            Ok((staging.finish().await?, parsed))
        }
        None => {
            let staged = staging.finish().await?;
            let parsed = parse_large(&staged).await?;
            Ok((staged, parsed))
        }
    }
}

/// The turn of a large message to be in memory.
pub(super) async fn turn() -> Result<SemaphorePermit<'static>, Error> {
    LARGE.acquire().await.map_err(Error::internal)
}

async fn parse_large(staged: &Staged) -> Result<Parsed, Error> {
    let _turn = if staged.size > PARSED_AT_ONCE { Some(turn().await?) } else { None };
    let content = staged.open()?;
    let message = content.read(0..content.len()).await?;
    tokio::task::spawn_blocking(move || parse::parse(&message)).await.map_err(Error::internal)
}

/// Refers to a message's content and keeps what was parsed of it; the blob.
pub(super) fn keep(tx: &mut Tx<'_>, row: &BlobRow, refs: i64, parsed: &Parsed) -> Result<i64, Error> {
    let blob = row.refer(tx, refs)?;
    tx.run(
        "INSERT INTO parsed (blob, header, envelope, structure, preview) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (blob) DO NOTHING",
        params![blob, parsed.header.as_deref(), &parsed.envelope, &parsed.structure, &parsed.preview],
    )?;
    Ok(blob)
}

/// A message on its way into a mailbox; its blob is referred to for it already.
pub(super) struct Incoming {
    pub(super) blob: i64,
    pub(super) size: i64,
    pub(super) flags: Flags,
    pub(super) received: Timestamp,
    pub(super) thread: i64,
}

/// Puts messages into a mailbox, in order, with one mod-sequence; the UID of the first.
pub(super) fn insert(tx: &mut Tx<'_>, account: i64, mailbox: i64, messages: &[Incoming]) -> Result<u32, Error> {
    let mut grown = Grown::default();
    for message in messages {
        grown.add(message.flags, message.size);
    }
    let (first, modseq) = grow(tx, mailbox, &grown)?;
    let now = Timestamp::now();
    for (uid, message) in (first..).zip(messages) {
        tx.run(
            "INSERT INTO messages (mailbox, uid, modseq, flags, received, saved, blob, size, thread)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            params![
                mailbox,
                uid,
                modseq,
                message.flags.0 as i64,
                message.received,
                now,
                message.blob,
                message.size,
                message.thread
            ],
        )?;
        tx.run(
            "INSERT INTO documents (account, blob, indexed) VALUES ($1, $2, 0) ON CONFLICT (account, blob) DO NOTHING",
            params![account, message.blob],
        )?;
    }
    Ok(first as u32)
}

/// What is added to the counts of a mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Grown {
    pub(super) messages: i64,
    pub(super) unseen: i64,
    pub(super) deleted: i64,
    pub(super) bytes: i64,
    pub(super) deleted_bytes: i64,
}

impl Grown {
    pub(super) fn add(&mut self, flags: Flags, size: i64) {
        self.messages += 1;
        self.unseen += i64::from(!flags.has(Flags::SEEN));
        self.bytes += size;
        if flags.has(Flags::DELETED) {
            self.deleted += 1;
            self.deleted_bytes += size;
        }
    }
}

/// Gives UIDs to messages that come into a mailbox: the first, and the mod-sequence of all.
///
/// # Errors
/// [`Error::OverQuota`] when the mailbox has given its last UID.
pub(super) fn grow(tx: &mut Tx<'_>, mailbox: i64, grown: &Grown) -> Result<(i64, i64), Error> {
    let given = tx.returning(
        "UPDATE mailboxes SET uidnext = uidnext + $2, highestmodseq = highestmodseq + 1, messages = messages + $2,
         unseen = unseen + $3, deleted = deleted + $4, bytes = bytes + $5, deleted_bytes = deleted_bytes + $6
         WHERE id = $1 RETURNING uidnext - $2, highestmodseq",
        params![mailbox, grown.messages, grown.unseen, grown.deleted, grown.bytes, grown.deleted_bytes],
        |row| Ok((row.int(0)?, row.int(1)?)),
    )?;
    let (first, modseq) = given.ok_or(Error::NotFound)?;
    if first + grown.messages >= i64::from(u32::MAX) {
        return Err(Error::OverQuota);
    }
    Ok((first, modseq))
}

/// Takes messages off the counts of a mailbox, and counts a change: the mod-sequence.
pub(super) fn shrink(tx: &mut Tx<'_>, mailbox: i64, gone: &Grown) -> Result<i64, Error> {
    let modseq = tx.returning(
        "UPDATE mailboxes SET highestmodseq = highestmodseq + 1, messages = messages - $2, unseen = unseen - $3,
         deleted = deleted - $4, bytes = bytes - $5, deleted_bytes = deleted_bytes - $6
         WHERE id = $1 RETURNING highestmodseq",
        params![mailbox, gone.messages, gone.unseen, gone.deleted, gone.bytes, gone.deleted_bytes],
        |row| row.int(0),
    )?;
    modseq.ok_or(Error::NotFound)
}

/// How messages leave a mailbox.
pub(super) struct Away<'a> {
    pub(super) mailbox: i64,
    pub(super) account: i64,
    pub(super) modseq: i64,
    /// The mailbox's name, when they can be restored to it for a while; then their contents are kept.
    pub(super) name: Option<&'a str>,
}

impl Away<'_> {
    /// Takes away those within a range of UIDs that have all flags of `with`.
    pub(super) fn take(&self, tx: &mut Tx<'_>, (from, to): (i64, i64), with: Flags) -> Result<(), Error> {
        let (with, name) = (with.0 as i64, self.name.unwrap_or_default());
        tx.run(
            "INSERT INTO expunged (mailbox, modseq, uid, account, name, at, flags, received, blob, size, thread)
             SELECT mailbox, $5, uid, $6, $7, $8, flags, received, CASE WHEN $7 <> '' THEN blob END, size, thread
             FROM messages WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND flags & $4 = $4",
            params![self.mailbox, from, to, with, self.modseq, self.account, name, Timestamp::now()],
        )?;
        let sql = "DELETE FROM messages WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND flags & $4 = $4";
        tx.run(sql, params![self.mailbox, from, to, with])
    }
}

/// The thread a message belongs to in an account (RFC 8474 §5.2): that of the message it answers, as far as one is
/// known. A thread bears the number of its first Message-ID, so that most messages need neither be looked up nor be
/// remembered.
pub(super) fn thread(tx: &mut Tx<'_>, account: i64, ids: &MessageIds, content: &str) -> Result<i64, Error> {
    let own = number(ids.message_id.as_deref().unwrap_or(content));
    let Some(root) = ids.references.first() else { return Ok(own) };
    let mut thread = None;
    // The nearest one first.
    for id in ids.references.iter().rev().take(8) {
        if let Some(known) = known(tx, account, number(id))? {
            thread = Some(known);
            break;
        }
    }
    let thread = thread.unwrap_or_else(|| number(root));
    if thread != own {
        tx.run(
            "INSERT INTO threads (account, id, thread) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            params![account, own, thread],
        )?;
    }
    Ok(thread)
}

fn known(tx: &Read<'_>, account: i64, id: i64) -> Result<Option<i64>, Error> {
    let sql = "SELECT thread FROM threads WHERE account = $1 AND id = $2";
    tx.row(sql, params![account, id], |row| row.int(0))
}

fn number(id: &str) -> i64 {
    let mut start = [0; 8];
    start.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..8]);
    i64::from_le_bytes(start)
}
