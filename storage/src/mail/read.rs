//! Reading messages: what is known of them, their content, and which ones vanished.

use bytes::Bytes;

use super::live::Mailbox;
use super::uids::{Uids, ranges};
use super::view::Message;
use crate::blobs::Content;
use crate::db::{Read, Row, params};
use crate::{Error, Timestamp};

/// What of a message is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The header as it is.
    pub header: bool,
    /// The envelope.
    pub envelope: bool,
    /// The parts.
    pub structure: bool,
    /// The beginning of its text.
    pub preview: bool,
    /// Identifiers, and when it was saved.
    pub ids: bool,
}

impl Wanted {
    /// Whether nothing is.
    pub fn is_nothing(self) -> bool {
        self == Wanted::default()
    }
}

/// What is known of a message; what was not wanted is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Its UID.
    pub uid: u32,
    /// The header with the empty line at its end; `None` when it is not wanted or too long to be kept apart.
    pub header: Option<Vec<u8>>,
    /// A [`crate::message::MessageEnvelope`] in JSON.
    pub envelope: String,
    /// A [`crate::message::Structure`] in JSON.
    pub structure: String,
    /// The beginning of its text.
    pub preview: String,
    /// When it came into this mailbox (RFC 8514).
    pub saved: Timestamp,
    /// The number of its thread in the account (RFC 8474).
    pub thread: i64,
    /// The start of its content's hash: equal only for equal messages.
    pub hash: Vec<u8>,
}

impl Mailbox {
    /// What is known of the messages from one UID to another, in their order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn details(&self, from: u32, to: u32, wanted: Wanted) -> Result<Vec<Details>, Error> {
        let id = self.id();
        let text = |name, wanted| if wanted { format!("COALESCE({name}, '')") } else { "''".to_owned() };
        let sql = format!(
            "SELECT uid, {}, {}, {}, {}, saved, thread, {}
             FROM messages LEFT JOIN parsed ON parsed.blob = messages.blob {}
             WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 ORDER BY uid",
            if wanted.header { "header" } else { "NULL" },
            text("envelope", wanted.envelope),
            text("structure", wanted.structure),
            text("preview", wanted.preview),
            if wanted.ids { "hash" } else { "NULL" },
            if wanted.ids { "JOIN blobs ON blobs.id = messages.blob" } else { "" },
        );
        let details = move |row: &Row<'_>| {
            let text = |at, wanted| if wanted { row.text(at) } else { Ok(String::new()) };
            Ok(Details {
                uid: row.int(0)? as u32,
                header: if wanted.header { row.optional_bytes(1)? } else { None },
                envelope: text(2, wanted.envelope)?,
                structure: text(3, wanted.structure)?,
                preview: text(4, wanted.preview)?,
                saved: Timestamp(row.int(5)?),
                thread: row.int(6)?,
                hash: if wanted.ids { row.bytes(7)? } else { Vec::new() },
            })
        };
        let read = move |tx: &crate::db::Read<'_>| tx.rows(&sql, params![id, i64::from(from), i64::from(to)], details);
        self.mail.store.db().look(read).await
    }

    /// What is known of a message that was expunged since the view was taken; `None` when it is gone for good.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn details_of_gone(&self, message: &Message) -> Result<Option<Details>, Error> {
        let (id, blob, uid) = (self.id(), message.blob, message.uid);
        let sql = "SELECT header, envelope, structure, preview, hash, thread, received FROM parsed
             JOIN blobs ON blobs.id = parsed.blob
             LEFT JOIN expunged ON expunged.mailbox = $2 AND expunged.uid = $3 WHERE parsed.blob = $1 LIMIT 1";
        let details = move |row: &Row<'_>| {
            Ok(Details {
                uid,
                header: row.optional_bytes(0)?,
                envelope: row.text(1)?,
                structure: row.text(2)?,
                preview: row.text(3)?,
                hash: row.bytes(4)?,
                thread: row.optional_int(5)?.unwrap_or(0),
                saved: Timestamp(row.optional_int(6)?.unwrap_or(0)),
            })
        };
        self.mail.store.db().look(move |tx| tx.row(sql, params![blob, id, i64::from(uid)], details)).await
    }

    /// The content of a message.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was expunged and is not kept any more; [`Error::Internal`] when it was lost.
    pub async fn content(&self, message: &Message) -> Result<Content, Error> {
        match self.mail.store.content(message.blob).await? {
            Ok(content) => Ok(content),
            Err(located) => {
                let (account, name, uid) = (self.mail.account, self.name(), message.uid);
                let error = Error::internal(format!(
                    "message {uid} of {name} of account {account} is lost: {located} is not there; bring it back from \
                     a backup"
                ));
                tracing::error!(account, mailbox = name, uid, "{}", error.detail().unwrap_or_default());
                Err(error)
            }
        }
    }

    /// Keeps the small contents of a range of UIDs at hand, found with one look, for who is about to take one after the
    /// other. The caller sees to it that they are few.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read_ahead(&self, from: u32, to: u32) -> Result<(), Error> {
        let (id, caches) = (self.id(), self.mail.store.caches().clone());
        let sql = "SELECT messages.blob, data FROM messages JOIN blob_data ON blob_data.blob = messages.blob
             WHERE mailbox = $1 AND uid BETWEEN $2 AND $3";
        let content = |row: &Row<'_>| Ok((row.int(0)?, Bytes::from(row.bytes(1)?)));
        let read = move |tx: &Read<'_>| tx.rows(sql, params![id, i64::from(from), i64::from(to)], content);
        for (blob, content) in self.mail.store.db().look(read).await? {
            caches.keep_content(blob, &content);
        }
        Ok(())
    }

    /// The UIDs of messages that vanished after a mod-sequence, as ranges; `None` when that is forgotten already, or
    /// the mailbox has not come so far, and a client must be told of all that are not there (RFC 7162 §3.2.5.1).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn vanished(&self, since: u64) -> Result<Option<Uids>, Error> {
        let id = self.id();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        self.mail
            .store
            .db()
            .read(move |tx| {
                let sql = "SELECT floor, highestmodseq FROM mailboxes WHERE id = $1";
                let known = tx.row(sql, params![id], |row| Ok(row.int(0)?..=row.int(1)?))?;
                if !known.ok_or(Error::NotFound)?.contains(&since) {
                    return Ok(None);
                }
                let sql = "SELECT uid FROM expunged WHERE mailbox = $1 AND modseq > $2 ORDER BY uid";
                let uids = tx.rows(sql, params![id, since], |row| Ok(row.int(0)? as u32))?;
                Ok(Some(ranges(uids)))
            })
            .await
    }
}
