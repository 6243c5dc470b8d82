//! Messages copied and moved between mailboxes: rows alone, since the content is shared.

use super::changes::{Held, held, name_of, spans};
use super::live::Mailbox;
use super::messages::{self, Away, Grown};
use super::view::Flags;
use super::{Mail, Uids, mailboxes};
use crate::db::{Deed, Tx, params};
use crate::{Error, Timestamp};

/// What became of a copy (RFC 4315 §3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// The UIDVALIDITY of the mailbox they went to.
    pub uidvalidity: u32,
    /// Their UIDs where they were, ascending.
    pub from: Vec<u32>,
    /// The UID of the first where it went; those of the others follow.
    pub first: u32,
}

impl Mailbox {
    /// Copies messages into another mailbox, all or none; those that are not there are left out, unless fewer than
    /// `least` are.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such mailbox; [`Error::Changed`] when too few are there;
    /// [`Error::OverQuota`].
    pub async fn copy(&self, uids: Uids, least: u32, to: &str) -> Result<Copied, Error> {
        let (id, mail, to) = (self.id(), self.mail.clone(), to.to_owned());
        self.mail
            .change("mail.copy", self.name(), move |tx| {
                let Some(place) = Place::find(tx, (id, mail.account), (&uids, least), &to)? else {
                    return Ok(Copied::default());
                };
                let copied = place.put(tx, &uids)?;
                tx.run(
                    "UPDATE blobs SET refs = refs + number, freed = NULL FROM (
                         SELECT blob, COUNT(*) AS number FROM messages WHERE mailbox = $1 AND uid >= $2 GROUP BY blob
                     ) AS counted WHERE blobs.id = counted.blob",
                    params![place.to, i64::from(copied.first)],
                )?;
                let detail = place.detail(&copied);
                let deed = Deed { action: "mail.copy", object: place.to, target: &to, detail: &detail };
                tx.change(&mail.actor, mail.account, place.grown.bytes, &deed)?;
                Ok(copied)
            })
            .await
    }

    /// Moves messages into another mailbox as [`Mailbox::copy`] copies them.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such mailbox; [`Error::Changed`] when too few are there.
    pub async fn relocate(&self, uids: Uids, least: u32, to: &str) -> Result<Copied, Error> {
        let (id, mail, to) = (self.id(), self.mail.clone(), to.to_owned());
        self.mail.change("mail.move", self.name(), move |tx| relocate(tx, &mail, id, (&uids, least), &to)).await
    }
}

/// Moves messages from a mailbox into another one.
pub(super) fn relocate(
    tx: &mut Tx<'_>,
    mail: &Mail,
    id: i64,
    (uids, least): (&Uids, u32),
    to: &str,
) -> Result<Copied, Error> {
    let found = Place::find(tx, (id, mail.account), (uids, least), to)?;
    let Some(place) = found else { return Ok(Copied::default()) };
    let copied = place.put(tx, uids)?;
    let modseq = messages::shrink(tx, id, &place.grown)?;
    // They cannot be restored: they are somewhere else.
    let away = Away { mailbox: id, account: mail.account, modseq, name: None };
    for &(from, until) in uids {
        away.take(tx, (i64::from(from), i64::from(until.min(place.last))), Flags::default())?;
    }
    let detail = place.detail(&copied);
    for (action, object, target) in [("mail.move", id, place.from.as_str()), ("mail.arrive", place.to, to)] {
        tx.change(&mail.actor, mail.account, 0, &Deed { action, object, target, detail: &detail })?;
    }
    Ok(copied)
}

/// Where messages go, and which.
struct Place {
    /// The name of the mailbox they are in, and its number.
    from: String,
    source: i64,
    to: i64,
    uidvalidity: u32,
    name: String,
    uids: Vec<u32>,
    /// The last of them: what comes into the same mailbox meanwhile has a larger UID.
    last: u32,
    grown: Grown,
}

impl Place {
    /// `None` when there is nothing to put anywhere.
    fn find(
        tx: &Tx<'_>,
        (source, account): (i64, i64),
        (uids, least): (&Uids, u32),
        to: &str,
    ) -> Result<Option<Place>, Error> {
        let from = name_of(tx, source)?;
        let target = mailboxes::find(tx, account, to)?;
        let (mut grown, mut found) = (Grown::default(), Vec::new());
        for Held { uid, flags, size } in held(tx, source, uids, Flags::default())? {
            grown.add(flags, size);
            found.push(uid);
        }
        if found.len() < least as usize {
            return Err(Error::Changed);
        }
        let Some(&last) = found.last() else { return Ok(None) };
        let (uidvalidity, name) = (target.counts.uidvalidity, target.name);
        Ok(Some(Place { from, source, to: target.id, uidvalidity, name, uids: found, last, grown }))
    }

    fn put(&self, tx: &mut Tx<'_>, uids: &Uids) -> Result<Copied, Error> {
        let (first, modseq) = messages::grow(tx, self.to, &self.grown)?;
        let mut next = first;
        for &(from, until) in uids {
            let until = until.min(self.last);
            tx.run(
                "INSERT INTO messages (mailbox, uid, modseq, flags, received, saved, blob, size, thread)
                 SELECT $4, $5 + ROW_NUMBER() OVER (ORDER BY uid) - 1, $6, flags, received, $7, blob, size, thread
                 FROM messages WHERE mailbox = $1 AND uid BETWEEN $2 AND $3",
                params![self.source, i64::from(from), i64::from(until), self.to, next, modseq, Timestamp::now()],
            )?;
            let here = |uid: u32| self.uids.partition_point(|&held| held < uid);
            next += (self.uids.partition_point(|&held| held <= until) - here(from)) as i64;
        }
        Ok(Copied { uidvalidity: self.uidvalidity, from: self.uids.clone(), first: first as u32 })
    }

    fn detail(&self, copied: &Copied) -> String {
        format!(
            "from={} uids={} to={} first={} messages={} size={}",
            self.from,
            spans(&self.uids),
            self.name,
            copied.first,
            self.grown.messages,
            self.grown.bytes
        )
    }
}
