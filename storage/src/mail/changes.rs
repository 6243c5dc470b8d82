//! Changes of messages where they are: their flags, and their end.

use super::keywords::Giver;
use super::live::Mailbox;
use super::messages::{self, Away, Grown};
use super::uids::{Uids, ranges};
use super::view::Flags;
use crate::Error;
use crate::db::{Deed, Read, Row, Tx, params};

/// What is done with flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagChange {
    /// They replace those that are set.
    Replace,
    /// They are set beside those that are.
    Add,
    /// They are taken off.
    Remove,
}

/// What became of a change of flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flagged {
    /// The UIDs of messages that were left alone, since they had changed after the mod-sequence given.
    pub failed: Vec<u32>,
    /// How many messages have other flags now.
    pub changed: u32,
}

/// An expression of SQL for the flags a message gets; `$4` in it are the bits.
fn expression(how: FlagChange) -> &'static str {
    match how {
        FlagChange::Replace => "CAST($4 AS BIGINT)",
        FlagChange::Add => "(flags | CAST($4 AS BIGINT))",
        FlagChange::Remove => "(flags & ~CAST($4 AS BIGINT))",
    }
}

impl Mailbox {
    /// Changes the flags of messages; with `unchanged_since` only of those that have not changed after that
    /// mod-sequence (RFC 7162 §3.1.3).
    ///
    /// # Errors
    /// [`Error::NotFound`] when the mailbox is gone; [`Error::Invalid`] for a flag that cannot be.
    pub async fn flag(
        &self,
        uids: Uids,
        how: FlagChange,
        names: Vec<String>,
        unchanged_since: Option<u64>,
    ) -> Result<Flagged, Error> {
        let (id, mail) = (self.id(), self.mail.clone());
        self.mail
            .change("mail.flag", self.name(), move |tx| {
                let bits = Giver::new(&mail).flags(tx, &names, how != FlagChange::Remove)?;
                let limit = unchanged_since.map_or(i64::MAX, |modseq| i64::try_from(modseq).unwrap_or(i64::MAX));
                let change = Change { mailbox: id, how, bits: bits.0 as i64, limit };
                let name = name_of(tx, id)?;
                let mut flagged = Flagged::default();
                if unchanged_since.is_some() {
                    flagged.failed = change.failed(tx, &uids)?;
                }
                let grown = change.counted(tx, &uids)?;
                if grown.messages == 0 {
                    return Ok(flagged);
                }
                flagged.changed = grown.messages as u32;
                // Messages stay: only the counts of those with the one flag or the other change.
                let counts = Grown { messages: 0, bytes: 0, ..grown };
                let gone = Grown {
                    unseen: -counts.unseen,
                    deleted: -counts.deleted,
                    deleted_bytes: -counts.deleted_bytes,
                    ..counts
                };
                let modseq = messages::shrink(tx, id, &gone)?;
                change.make(tx, &uids, modseq)?;
                let sign = match how {
                    FlagChange::Replace => "=",
                    FlagChange::Add => "+",
                    FlagChange::Remove => "-",
                };
                let detail = format!("uids={} {sign}{} messages={}", listed(&uids), names.join(" "), grown.messages);
                let deed = Deed { action: "mail.flag", object: id, target: &name, detail: &detail };
                tx.change(&mail.actor, mail.account, 0, &deed)?;
                Ok(flagged)
            })
            .await
    }

    /// Removes for good the messages with `\Deleted`, or those of them among `uids`; how many. They can be restored for
    /// a while.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the mailbox is gone.
    pub async fn expunge(&self, uids: Option<Uids>) -> Result<u32, Error> {
        self.end(uids.unwrap_or_else(|| vec![(1, u32::MAX)]), Flags::DELETED).await
    }

    /// As [`Mailbox::expunge`], whatever the messages' flags are.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the mailbox is gone.
    pub async fn remove(&self, uids: Uids) -> Result<u32, Error> {
        self.end(uids, Flags::default()).await
    }

    async fn end(&self, uids: Uids, with: Flags) -> Result<u32, Error> {
        let (id, mail) = (self.id(), self.mail.clone());
        self.mail
            .change("mail.expunge", self.name(), move |tx| {
                let name = name_of(tx, id)?;
                let (mut gone, mut ended) = (Grown::default(), Vec::new());
                for message in held(tx, id, &uids, with)? {
                    gone.add(message.flags, message.size);
                    ended.push(message.uid);
                }
                if ended.is_empty() {
                    return Ok(0);
                }
                let modseq = messages::shrink(tx, id, &gone)?;
                let away = Away { mailbox: id, account: mail.account, modseq, name: Some(&name) };
                for &(from, to) in &uids {
                    away.take(tx, (i64::from(from), i64::from(to)), with)?;
                }
                let detail = format!("uids={} messages={} size={}", spans(&ended), gone.messages, gone.bytes);
                let deed = Deed { action: "mail.expunge", object: id, target: &name, detail: &detail };
                tx.change(&mail.actor, mail.account, -gone.bytes, &deed)?;
                Ok(gone.messages as u32)
            })
            .await
    }
}

/// A change of flags, as its statements need it.
struct Change {
    mailbox: i64,
    how: FlagChange,
    bits: i64,
    /// Messages that changed after this are left alone.
    limit: i64,
}

impl Change {
    /// The messages that changed too late.
    fn failed(&self, tx: &Read<'_>, uids: &Uids) -> Result<Vec<u32>, Error> {
        let mut failed = Vec::new();
        let sql = "SELECT uid FROM messages WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND modseq > $4 ORDER BY uid";
        for &(from, to) in uids {
            let values = params![self.mailbox, i64::from(from), i64::from(to), self.limit];
            failed.extend(tx.rows(sql, values, |row| Ok(row.int(0)? as u32))?);
        }
        Ok(failed)
    }

    /// How many messages change, and what that does to the counts.
    fn counted(&self, tx: &Read<'_>, uids: &Uids) -> Result<Grown, Error> {
        let new = expression(self.how);
        // Positive where a flag is set in the new flags and was not in the old.
        let set = |bit: u64| {
            format!("CASE WHEN {new} & {bit} <> 0 THEN 1 ELSE 0 END - CASE WHEN flags & {bit} <> 0 THEN 1 ELSE 0 END")
        };
        let (seen, deleted) = (set(Flags::SEEN.0), set(Flags::DELETED.0));
        let sql = format!(
            "SELECT COUNT(*), CAST(COALESCE(SUM({seen}), 0) AS BIGINT), CAST(COALESCE(SUM({deleted}), 0) AS BIGINT),
             CAST(COALESCE(SUM(size * ({deleted})), 0) AS BIGINT)
             FROM messages WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND flags <> {new} AND modseq <= $5"
        );
        let mut grown = Grown::default();
        for &(from, to) in uids {
            let values = params![self.mailbox, i64::from(from), i64::from(to), self.bits, self.limit];
            let counted = |row: &Row<'_>| Ok((row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?));
            let (messages, seen, deleted, bytes) = tx.row(&sql, values, counted)?.unwrap_or_default();
            grown.messages += messages;
            grown.unseen -= seen;
            grown.deleted += deleted;
            grown.deleted_bytes += bytes;
        }
        Ok(grown)
    }

    fn make(&self, tx: &mut Tx<'_>, uids: &Uids, modseq: i64) -> Result<(), Error> {
        let new = expression(self.how);
        let sql = format!(
            "UPDATE messages SET flags = {new}, modseq = $6
             WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND flags <> {new} AND modseq <= $5"
        );
        for &(from, to) in uids {
            tx.run(&sql, params![self.mailbox, i64::from(from), i64::from(to), self.bits, self.limit, modseq])?;
        }
        Ok(())
    }
}

/// A message that a change is about.
pub(super) struct Held {
    pub(super) uid: u32,
    pub(super) flags: Flags,
    pub(super) size: i64,
}

/// The messages among `uids` that have all flags of `with`, in their order.
pub(super) fn held(tx: &Read<'_>, mailbox: i64, uids: &Uids, with: Flags) -> Result<Vec<Held>, Error> {
    let mut all = Vec::new();
    let sql = "SELECT uid, flags, size FROM messages
         WHERE mailbox = $1 AND uid BETWEEN $2 AND $3 AND flags & $4 = $4 ORDER BY uid";
    for &(from, to) in uids {
        let values = params![mailbox, i64::from(from), i64::from(to), with.0 as i64];
        all.extend(tx.rows(sql, values, |row| {
            Ok(Held { uid: row.int(0)? as u32, flags: Flags(row.int(1)? as u64), size: row.int(2)? })
        })?);
    }
    Ok(all)
}

/// The name of a mailbox that is open, which may have changed since.
pub(super) fn name_of(tx: &Read<'_>, mailbox: i64) -> Result<String, Error> {
    let sql = "SELECT name FROM mailboxes WHERE id = $1";
    tx.row(sql, params![mailbox], |row| row.text(0))?.ok_or(Error::NotFound)
}

/// Ranges as the audit log tells them; of very many the first.
pub(super) fn listed(uids: &Uids) -> String {
    const MOST: usize = 50;
    let range = |&(from, to): &(u32, u32)| match (from, to) {
        (from, u32::MAX) => format!("{from}:*"),
        (from, to) if from == to => from.to_string(),
        (from, to) => format!("{from}:{to}"),
    };
    let mut text = uids.iter().take(MOST).map(range).collect::<Vec<_>>().join(",");
    if uids.len() > MOST {
        text.push_str(",...");
    }
    text
}

/// Single UIDs as the audit log tells them.
pub(super) fn spans(uids: &[u32]) -> String {
    listed(&ranges(uids.iter().copied()))
}
