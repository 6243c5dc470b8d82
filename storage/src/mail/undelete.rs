//! Expunged messages: kept for a while, so that what was deleted by mistake comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::messages::{self, Incoming};
use super::view::Flags;
use super::{Mail, mailboxes, summary};
use crate::blobs::release;
use crate::db::{Deed, Read, Row, Tx, params};
use crate::{Error, Store, Timestamp};

/// How long clients can learn what was expunged while they were away; after that they are told of all that is not
/// there.
const LEARNT: Duration = Duration::from_secs(90 * 24 * 3600);
/// How many messages are let go in one transaction.
const AT_ONCE: i64 = 500;

/// A message that was expunged and can be restored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Expunged {
    /// The name its mailbox had.
    pub mailbox: String,
    /// Its UID there.
    pub uid: u32,
    /// When it was expunged, in milliseconds since the Unix epoch.
    pub expunged: i64,
    /// When it had come, in milliseconds since the Unix epoch.
    pub received: i64,
    /// Its bytes.
    pub size: i64,
    /// The first address it is from.
    pub from: Option<String>,
    /// Its subject, decoded.
    pub subject: Option<String>,
    #[serde(skip)]
    key: (i64, i64),
}

impl Mail {
    /// How many messages [`Mail::expunged`] lists at most.
    pub const EXPUNGED: usize = 10_000;

    /// The messages that can be restored, in the order in which they were expunged: those of one mailbox, where it is
    /// named, expunged since a moment. At most [`Mail::EXPUNGED`] of them, the first or those that come `after` one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn expunged(
        &self,
        mailbox: Option<&str>,
        since: Timestamp,
        after: Option<&Expunged>,
    ) -> Result<Vec<Expunged>, Error> {
        let (account, mailbox) = (self.account, mailbox.map(str::to_owned));
        // Many share their moment: whatever is expunged by one command.
        let after = after.map_or((since.0, 0, 0, 0), |last| (last.expunged, last.key.0, last.key.1, last.uid.into()));
        self.store.db().read(move |tx| expunged(tx, account, mailbox.as_deref(), after)).await
    }

    /// Restores messages into mailboxes of the names they were in, which are made and subscribed to where they are
    /// gone; how many.
    ///
    /// # Errors
    /// [`Error::OverQuota`]; [`Error::Invalid`] when there are too many mailboxes; and then none is restored.
    pub async fn restore(&self, messages: Vec<Expunged>) -> Result<usize, Error> {
        let (account, actor) = (self.account, self.actor.clone());
        self.change("mail.restore", "", move |tx| {
            let mut by_mailbox: BTreeMap<&str, Vec<&Expunged>> = BTreeMap::new();
            for message in &messages {
                by_mailbox.entry(&message.mailbox).or_default().push(message);
            }
            let mut restored = 0;
            for (name, messages) in by_mailbox {
                let mut incoming = Vec::new();
                for message in messages {
                    incoming.extend(take(tx, account, message)?);
                }
                if incoming.is_empty() {
                    continue;
                }
                let id = match mailboxes::find(tx, account, name) {
                    Ok(found) => found.id,
                    Err(Error::NotFound) => mailboxes::make_again(tx, &actor, account, name)?,
                    Err(error) => return Err(error),
                };
                let first = messages::insert(tx, account, id, &incoming)?;
                let bytes = incoming.iter().map(|message| message.size).sum();
                let detail = format!("uid={first} messages={} size={bytes}", incoming.len());
                let deed = Deed { action: "mail.restore", object: id, target: name, detail: &detail };
                tx.change(&actor, account, bytes, &deed)?;
                restored += incoming.len();
            }
            Ok(restored)
        })
        .await
    }
}

/// Takes an expunged message out again; `None` when it is not there any more.
fn take(tx: &mut Tx<'_>, account: i64, message: &Expunged) -> Result<Option<Incoming>, Error> {
    let key = params![message.key.0, message.key.1, i64::from(message.uid), account];
    let found = tx.row(
        "SELECT blob, size, flags, received, thread FROM expunged
         WHERE mailbox = $1 AND modseq = $2 AND uid = $3 AND account = $4 AND blob IS NOT NULL",
        key,
        |row| {
            Ok(Incoming {
                blob: row.int(0)?,
                size: row.int(1)?,
                flags: Flags(row.int(2)? as u64 & !Flags::DELETED.0),
                received: Timestamp(row.int(3)?),
                thread: row.int(4)?,
            })
        },
    )?;
    let Some(found) = found else { return Ok(None) };
    // The reference goes over to the new row; what has none left to give is not restored.
    let sql = "UPDATE expunged SET blob = NULL
         WHERE mailbox = $1 AND modseq = $2 AND uid = $3 AND account = $4 AND blob IS NOT NULL";
    Ok((tx.execute(sql, key)? == 1).then_some(found))
}

/// Those of a mailbox, or of all, that come after a moment and, within it, after a mailbox, mod-sequence and UID.
fn expunged(
    tx: &Read<'_>,
    account: i64,
    name: Option<&str>,
    (at, mailbox, modseq, uid): (i64, i64, i64, i64),
) -> Result<Vec<Expunged>, Error> {
    let sql = "SELECT name, uid, at, received, size, COALESCE(envelope, '{}'), mailbox, modseq
         FROM expunged LEFT JOIN parsed ON parsed.blob = expunged.blob
         WHERE account = $1 AND at >= $2 AND (at, mailbox, modseq, uid) > ($2, $3, $4, $5)
         AND expunged.blob IS NOT NULL AND (CAST($6 AS TEXT) IS NULL OR name = $6)
         ORDER BY at, mailbox, modseq, uid LIMIT $7";
    tx.rows(sql, params![account, at, mailbox, modseq, uid, name, Mail::EXPUNGED as i64], |row| {
        let envelope = row.text(5)?;
        Ok(Expunged {
            mailbox: row.text(0)?,
            uid: row.int(1)? as u32,
            expunged: row.int(2)?,
            received: row.int(3)?,
            size: row.int(4)?,
            from: summary::from(&envelope),
            subject: summary::subject(&envelope),
            key: (row.int(6)?, row.int(7)?),
        })
    })
}

impl Store {
    /// Lets go of messages that were expunged more than `kept` ago, and forgets expunges that no client asks for any
    /// more; how many were let go.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_expunged(&self, kept: Duration) -> Result<usize, Error> {
        let now = Timestamp::now();
        let before = |time: Duration| Timestamp(now.0 - i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let (kept, learnt) = (before(kept), before(kept.max(LEARNT)));
        let sql = "SELECT DISTINCT account FROM expunged WHERE at <= $1 AND blob IS NOT NULL ORDER BY account";
        let accounts = self.db().look(move |tx| tx.rows(sql, params![kept], |row| row.int(0))).await?;
        let mut all = 0;
        for account in accounts {
            loop {
                let gone = match self.db().write(move |tx| let_go(tx, account, kept)).await {
                    // It was removed meanwhile, with what it held.
                    Err(Error::NotFound) => 0,
                    gone => gone?,
                };
                all += gone;
                if gone < AT_ONCE as usize {
                    break;
                }
            }
        }
        while self.db().write(move |tx| forget(tx, learnt)).await? == AT_ONCE as usize {}
        Ok(all)
    }
}

/// Lets go of some messages of an account, which is locked: whoever restores them, or removes the account, does it
/// before or after, so that each reference is given up once.
fn let_go(tx: &mut Tx<'_>, account: i64, before: Timestamp) -> Result<usize, Error> {
    tx.lock(account)?;
    let sql = "SELECT mailbox, modseq, uid, blob FROM expunged WHERE account = $1 AND at <= $2 AND blob IS NOT NULL
         ORDER BY at LIMIT $3";
    let key = |row: &Row<'_>| Ok((row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?));
    let mut gone: Vec<(i64, i64, i64, i64)> = tx.rows(sql, params![account, before, AT_ONCE], key)?;
    // Contents are shared by accounts: in their order nobody waits in a circle.
    gone.sort_unstable_by_key(|(.., blob)| *blob);
    for (mailbox, modseq, uid, blob) in &gone {
        let sql = "UPDATE expunged SET blob = NULL WHERE mailbox = $1 AND modseq = $2 AND uid = $3";
        tx.run(sql, params![*mailbox, *modseq, *uid])?;
        release(tx, *blob)?;
    }
    Ok(gone.len())
}

fn forget(tx: &mut Tx<'_>, before: Timestamp) -> Result<usize, Error> {
    let sql = "SELECT mailbox, modseq, uid FROM expunged WHERE blob IS NULL AND at <= $1 ORDER BY at LIMIT $2";
    let key = |row: &Row<'_>| Ok((row.int(0)?, row.int(1)?, row.int(2)?));
    let gone = tx.rows(sql, params![before, AT_ONCE], key)?;
    for (mailbox, modseq, uid) in &gone {
        tx.run("UPDATE mailboxes SET floor = $2 WHERE id = $1 AND floor < $2", params![*mailbox, *modseq])?;
        let sql = "DELETE FROM expunged WHERE mailbox = $1 AND modseq = $2 AND uid = $3";
        tx.run(sql, params![*mailbox, *modseq, *uid])?;
    }
    Ok(gone.len())
}
