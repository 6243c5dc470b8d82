//! The mailbox that a session has open, as its client knows it.

use protocol::Wire;
use std::sync::Arc;

use storage::{Error, Keywords, Mailbox, Message, Uids, View, ranges};

use crate::codec::sequence::compact;
use crate::codec::{Numbers, SequenceSet};
use crate::reply::{Reply, Untagged};
use crate::session::Enabled;

/// A mailbox that is open.
pub(crate) struct Selected {
    pub(crate) mailbox: Mailbox,
    /// What the client has been told of it.
    pub(crate) view: Arc<View>,
    /// Whether nothing in it may be changed (EXAMINE, or a log-in that may only read).
    pub(crate) read_only: bool,
    /// The UIDs that the last SEARCH saved (RFC 5182).
    pub(crate) saved: Vec<u32>,
    /// The UIDs that this session was the first to be told of, as ranges (RFC 3501 §2.3.2); none for IMAP4rev2.
    pub(crate) recent: Uids,
}

/// Ascending ranges of sequence numbers.
pub(crate) type Ranges = Vec<(u32, u32)>;

impl Selected {
    /// The messages a command speaks of, which are all there.
    ///
    /// # Errors
    /// The reply for a sequence number that no message has.
    pub(crate) fn numbers(&self, numbers: &Numbers, uid: bool) -> Result<Ranges, Reply> {
        match numbers {
            Numbers::Set(set) if uid => Ok(self.of_uids(set)),
            Numbers::Set(set) => {
                let ranges = set.resolve(self.view.len());
                match ranges.last() {
                    // Also `*` and `1:*` (RFC 9051 §9, seq-number).
                    None => Err(Reply::bad("There are no messages")),
                    Some(&(_, last)) if last > self.view.len() => {
                        Err(Reply::bad(format!("There is no message {last}; the last one is {}", self.view.len())))
                    }
                    _ => Ok(ranges),
                }
            }
            Numbers::Saved => Ok(self.named(numbers, uid)),
        }
    }

    /// As [`Selected::numbers`], where a number that no message has is left out.
    pub(crate) fn named(&self, numbers: &Numbers, uid: bool) -> Ranges {
        match numbers {
            Numbers::Set(set) if uid => self.of_uids(set),
            Numbers::Set(set) => {
                let within =
                    |(from, to): (u32, u32)| (from <= self.view.len()).then(|| (from, to.min(self.view.len())));
                set.resolve(self.view.len()).into_iter().filter_map(within).collect()
            }
            Numbers::Saved => ranges(self.saved.iter().filter_map(|&uid| self.view.number(uid))),
        }
    }

    fn of_uids(&self, set: &SequenceSet) -> Ranges {
        let numbers = |(from, to): (u32, u32)| {
            let first = self.view.first_from(from);
            let behind = to.checked_add(1).map_or(self.view.len() + 1, |next| self.view.first_from(next));
            (first < behind).then(|| (first, behind - 1))
        };
        set.resolve(self.view.largest_uid()).into_iter().filter_map(numbers).collect()
    }

    /// The UIDs of ranges of sequence numbers, as few ranges.
    pub(crate) fn uids(&self, ranges: &Ranges) -> Uids {
        self.view.uids(ranges.iter().flat_map(|&(from, to)| from..=to))
    }

    /// Tells the client what has changed, and what is new; that messages are gone only if `expunges`, since that moves
    /// the sequence numbers (RFC 9051 §7.5.1).
    ///
    /// # Errors
    /// [`Error::NotFound`] when the mailbox was deleted.
    pub(crate) async fn sync(&mut self, wire: &mut Wire, enabled: &Enabled, expunges: bool) -> Result<(), Error> {
        let new = self.newest(expunges).await?;
        self.note_recent(enabled, &new).await?;
        self.tell(wire, enabled, new, false, |_, _| true);
        Ok(())
    }

    /// Makes what arrived since recent in this session, unless it is another's already.
    pub(crate) async fn note_recent(&mut self, enabled: &Enabled, new: &View) -> Result<(), Error> {
        if enabled.rev2 || new.uidnext == self.view.uidnext {
            return Ok(());
        }
        let found =
            if self.read_only { self.mailbox.recent(new).await? } else { self.mailbox.claim_recent(new).await? };
        match (found, self.recent.last_mut()) {
            (Some(found), Some(last)) if found.0 <= last.1 + 1 => last.1 = found.1,
            (found, _) => self.recent.extend(found),
        }
        Ok(())
    }

    /// Whether this session was the first to be told of a message.
    pub(crate) fn is_recent(&self, uid: u32) -> bool {
        self.recent.iter().any(|&(from, to)| (from..=to).contains(&uid))
    }

    /// How many messages are recent.
    pub(crate) fn recent_count(&self, view: &View) -> u32 {
        self.recent.iter().map(|&(from, to)| view.first_from(to.saturating_add(1)) - view.first_from(from)).sum()
    }

    /// The mailbox as it is now; with what is gone still in it, unless `expunges`.
    pub(crate) async fn newest(&self, expunges: bool) -> Result<Arc<View>, Error> {
        let new = self.mailbox.view().await?;
        if expunges || self.view.diff(&new).expunged.is_empty() {
            return Ok(new);
        }
        Ok(Arc::new(self.view.without_expunges(&new)))
    }

    /// Tells what differs between what the client knows and `new`. Of the messages it knows those are told whose flags
    /// changed, if `wanted` says so of the old and the new message; with their UIDs where `uid` or an extension has it.
    pub(crate) fn tell(
        &mut self,
        wire: &mut Wire,
        enabled: &Enabled,
        new: Arc<View>,
        uid: bool,
        wanted: impl Fn(&Message, &Message) -> bool,
    ) {
        if Arc::ptr_eq(&self.view, &new) {
            return;
        }
        let diff = self.view.diff(&new);
        if enabled.qresync && !diff.expunged.is_empty() {
            wire.untagged(format!("VANISHED {}", compact(diff.expunged.iter().map(|&(_, uid)| uid))));
        } else {
            for (number, _) in &diff.expunged {
                wire.untagged(format!("{number} EXPUNGE"));
            }
        }
        if diff.arrived {
            wire.untagged(format!("{} EXISTS", new.len()));
            if !enabled.rev2 {
                wire.untagged(format!("{} RECENT", self.recent_count(&new)));
            }
        }
        if self.view.keywords != new.keywords {
            wire.untagged(flags_line(&new.keywords));
        }
        let known = self.view.len() - diff.expunged.len() as u32;
        for number in diff.changed.into_iter().take_while(|&number| number <= known) {
            let Some(message) = new.message(number) else { continue };
            let before = self.view.number(message.uid).and_then(|number| self.view.message(number));
            if before.is_none_or(|before| wanted(before, message)) {
                self.put_flags(&mut wire.out, enabled, (&new.keywords, uid), number, message);
            }
        }
        self.view = new;
    }
}

/// `FLAGS (...)` of a mailbox.
pub(crate) fn flags_line(keywords: &Keywords) -> String {
    let mut line = String::from("FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft");
    for name in keywords.names() {
        line.push(' ');
        line.push_str(name);
    }
    line.push(')');
    line
}

impl Selected {
    /// Writes the FETCH response that tells a message's flags.
    pub(crate) fn put_flags(
        &self,
        out: &mut Vec<u8>,
        enabled: &Enabled,
        (keywords, uid): (&Keywords, bool),
        number: u32,
        message: &Message,
    ) {
        out.extend_from_slice(format!("* {number} FETCH (").as_bytes());
        if uid || enabled.condstore || enabled.rev2 {
            out.extend_from_slice(format!("UID {} ", message.uid).as_bytes());
        }
        self.put_flag_list(out, keywords, message);
        if enabled.condstore {
            out.extend_from_slice(format!(" MODSEQ ({})", message.modseq).as_bytes());
        }
        out.extend_from_slice(b")\r\n");
    }

    /// Writes `FLAGS (...)` of a message.
    pub(crate) fn put_flag_list(&self, out: &mut Vec<u8>, keywords: &Keywords, message: &Message) {
        out.extend_from_slice(b"FLAGS (");
        let recent = self.is_recent(message.uid).then_some("\\Recent");
        for (at, name) in recent.into_iter().chain(keywords.of(message.flags)).enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(name.as_bytes());
        }
        out.push(b')');
    }
}
