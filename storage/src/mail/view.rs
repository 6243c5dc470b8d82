//! A mailbox as it was at one moment. A later view shares with an earlier one what did not change, so that thousands of
//! sessions may each hold the one that their client knows.

use std::sync::Arc;

use super::{Keywords, Uids};
use crate::Timestamp;

/// How many messages stand together; a change of one copies so many.
const CHUNK: usize = 256;

/// The flags of a message: the system's in the lowest bits, an account's keywords above them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u64);

impl Flags {
    /// `\Seen`.
    pub const SEEN: Flags = Flags(1);
    /// `\Answered`.
    pub const ANSWERED: Flags = Flags(2);
    /// `\Flagged`.
    pub const FLAGGED: Flags = Flags(4);
    /// `\Deleted`.
    pub const DELETED: Flags = Flags(8);
    /// `\Draft`.
    pub const DRAFT: Flags = Flags(16);

    /// Whether all of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A message in a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: u32,
    /// Its bytes.
    pub size: u32,
    /// Its flags.
    pub flags: Flags,
    /// When its flags last changed (RFC 7162).
    pub modseq: u64,
    /// The internal date.
    pub received: Timestamp,
    pub(crate) blob: i64,
}

/// The messages of a mailbox in the order of their UIDs, as they were at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The UIDVALIDITY of the mailbox.
    pub uidvalidity: u32,
    /// A number no smaller than the UID of the next message.
    pub uidnext: u32,
    /// The newest mod-sequence.
    pub modseq: u64,
    /// What the keyword bits mean.
    pub keywords: Arc<Keywords>,
    chunks: Vec<Arc<[Message]>>,
    /// How many messages stand before each chunk.
    before: Vec<u32>,
    len: u32,
}

/// What differs between an earlier view and a later one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Messages that are gone: the sequence number each had when those named before it were gone already, and its UID.
    pub expunged: Vec<(u32, u32)>,
    /// Messages that are new or whose flags changed, by their sequence numbers in the later view.
    pub changed: Vec<u32>,
    /// Whether there are new ones among them.
    pub arrived: bool,
}

impl View {
    /// A view of these messages, which are in the order of their UIDs.
    pub(super) fn new(
        (uidvalidity, uidnext, modseq): (u32, u32, u64),
        keywords: Arc<Keywords>,
        messages: &[Message],
    ) -> View {
        let chunks = messages.chunks(CHUNK).map(Arc::from).collect();
        View { uidvalidity, uidnext, modseq, keywords, chunks, before: Vec::new(), len: 0 }.counted()
    }

    fn counted(mut self) -> View {
        self.len = 0;
        self.before = self
            .chunks
            .iter()
            .map(|chunk| {
                let before = self.len;
                self.len += chunk.len() as u32;
                before
            })
            .collect();
        self
    }

    /// How many messages there are.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The message of a sequence number, from 1.
    pub fn message(&self, number: u32) -> Option<&Message> {
        let at = number.checked_sub(1).filter(|&at| at < self.len)?;
        let chunk = self.before.partition_point(|&before| before <= at) - 1;
        self.chunks[chunk].get((at - self.before[chunk]) as usize)
    }

    /// The sequence number of a UID.
    pub fn number(&self, uid: u32) -> Option<u32> {
        let at = self.first_from(uid);
        self.message(at).filter(|message| message.uid == uid).map(|_| at)
    }

    /// The sequence number of the first message whose UID is not below `uid`; one more than the last when there is
    /// none.
    pub fn first_from(&self, uid: u32) -> u32 {
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last.uid < uid));
        match self.chunks.get(chunk) {
            Some(messages) => self.before[chunk] + messages.partition_point(|message| message.uid < uid) as u32 + 1,
            None => self.len + 1,
        }
    }

    /// The largest UID in use; 0 when there are no messages.
    pub fn largest_uid(&self) -> u32 {
        self.chunks.last().and_then(|chunk| chunk.last()).map_or(0, |message| message.uid)
    }

    /// Every message with its sequence number.
    pub fn messages(&self) -> impl Iterator<Item = (u32, &Message)> {
        (1..).zip(self.chunks.iter().flat_map(|chunk| chunk.iter()))
    }

    /// The messages of a range of sequence numbers, which are there, with their numbers.
    pub fn range(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, &Message)> {
        let to = to.min(self.len);
        let from = from.max(1);
        let chunk = self.before.partition_point(|&before| before < from).saturating_sub(1);
        let start = self.before.get(chunk).copied().unwrap_or(0);
        let rest = self.chunks.get(chunk..).unwrap_or_default();
        (start + 1..=to).zip(rest.iter().flat_map(|chunk| chunk.iter())).skip((from - start - 1) as usize)
    }

    /// The UIDs of ascending sequence numbers as few ranges: what lies between two neighbours is no message, and never
    /// will be.
    pub fn uids(&self, numbers: impl Iterator<Item = u32>) -> Uids {
        let mut ranges: Uids = Vec::new();
        let mut previous = 0;
        for number in numbers {
            let Some(message) = self.message(number) else { continue };
            match ranges.last_mut() {
                Some(last) if number == previous + 1 => last.1 = message.uid,
                _ => ranges.push((message.uid, message.uid)),
            }
            previous = number;
        }
        ranges
    }

    /// The view after some messages came or changed and others went. Both lists are in the order of their UIDs.
    pub(super) fn updated(
        &self,
        (uidnext, modseq): (u32, u64),
        keywords: Arc<Keywords>,
        changed: &[Message],
        gone: &[u32],
    ) -> View {
        let (mut changed, mut gone) = (changed, gone);
        let mut chunks: Vec<Arc<[Message]>> = Vec::with_capacity(self.chunks.len() + 1);
        for chunk in &self.chunks {
            let last = chunk.last().map_or(0, |message| message.uid);
            let (here, rest) = changed.split_at(changed.partition_point(|message| message.uid <= last));
            let (away, others) = gone.split_at(gone.partition_point(|&uid| uid <= last));
            (changed, gone) = (rest, others);
            if here.is_empty() && away.is_empty() {
                chunks.push(chunk.clone());
                continue;
            }
            let kept = merged(chunk, here, away);
            match chunks.last_mut() {
                // Chunks that have become small are joined, or a mailbox of much coming and going would fall to pieces.
                Some(before) if before.len() + kept.len() <= CHUNK / 2 => {
                    *before = [&before[..], &kept].concat().into()
                }
                _ if kept.is_empty() => {}
                _ => chunks.push(kept.into()),
            }
        }
        let new: Vec<Message> =
            changed.iter().filter(|message| gone.binary_search(&message.uid).is_err()).copied().collect();
        let mut new = &new[..];
        if let Some(last) = chunks.last_mut()
            && last.len() < CHUNK
            && !new.is_empty()
        {
            let (filling, rest) = new.split_at(new.len().min(CHUNK - last.len()));
            *last = [&last[..], filling].concat().into();
            new = rest;
        }
        chunks.extend(new.chunks(CHUNK).map(Arc::from));
        let View { uidvalidity, .. } = *self;
        View { uidvalidity, uidnext, modseq, keywords, chunks, before: Vec::new(), len: 0 }.counted()
    }

    /// The view in which what has vanished since `self` is there still, while all else is as in `new`: what a client
    /// may be told while it must not be told of expunges (RFC 9051 §7.5.1).
    pub fn without_expunges(&self, new: &View) -> View {
        let mut all: Vec<Message> = Vec::with_capacity(self.len.max(new.len) as usize);
        let mut old = self.messages().map(|(_, message)| message).peekable();
        for (_, message) in new.messages() {
            while let Some(vanished) = old.next_if(|old| old.uid < message.uid) {
                all.push(*vanished);
            }
            old.next_if(|old| old.uid == message.uid);
            all.push(*message);
        }
        all.extend(old);
        View::new((new.uidvalidity, new.uidnext, self.modseq), new.keywords.clone(), &all)
    }

    /// What a client that knows `self` must be told to know `new`.
    pub fn diff(&self, new: &View) -> Diff {
        let mut diff = Diff::default();
        let (mut old_at, mut new_at) = (Cursor::default(), Cursor::default());
        let mut number = 0;
        loop {
            if let (Some(old), Some(later)) = (old_at.chunk(self), new_at.chunk(new))
                && Arc::ptr_eq(old, later)
            {
                number += old.len() as u32;
                old_at.next_chunk();
                new_at.next_chunk();
                continue;
            }
            match (old_at.message(self), new_at.message(new)) {
                (None, None) => return diff,
                (Some(old), later) if later.is_none_or(|later| old.uid < later.uid) => {
                    diff.expunged.push((number + 1, old.uid));
                    old_at.advance(self);
                }
                (Some(old), Some(later)) if old.uid == later.uid => {
                    number += 1;
                    if old.flags != later.flags || old.modseq != later.modseq {
                        diff.changed.push(number);
                    }
                    old_at.advance(self);
                    new_at.advance(new);
                }
                (_, later) => {
                    number += 1;
                    diff.changed.push(number);
                    diff.arrived = true;
                    if later.is_some() {
                        new_at.advance(new);
                    }
                }
            }
        }
    }
}

fn merged(chunk: &[Message], changed: &[Message], gone: &[u32]) -> Vec<Message> {
    let mut kept: Vec<Message> = Vec::with_capacity(chunk.len() + changed.len());
    let mut changed = changed.iter().peekable();
    for message in chunk {
        while let Some(new) = changed.next_if(|new| new.uid < message.uid) {
            kept.push(*new);
        }
        kept.push(changed.next_if(|new| new.uid == message.uid).copied().unwrap_or(*message));
    }
    kept.extend(changed);
    kept.retain(|message| gone.binary_search(&message.uid).is_err());
    kept
}

/// A place in a view.
#[derive(Default)]
struct Cursor {
    chunk: usize,
    at: usize,
}

impl Cursor {
    /// The chunk that begins here.
    fn chunk<'a>(&self, view: &'a View) -> Option<&'a Arc<[Message]>> {
        (self.at == 0).then(|| view.chunks.get(self.chunk))?
    }

    fn next_chunk(&mut self) {
        self.chunk += 1;
    }

    fn message<'a>(&self, view: &'a View) -> Option<&'a Message> {
        view.chunks.get(self.chunk)?.get(self.at)
    }

    fn advance(&mut self, view: &View) {
        self.at += 1;
        if view.chunks.get(self.chunk).is_none_or(|chunk| self.at == chunk.len()) {
            *self = Cursor { chunk: self.chunk + 1, at: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(uid: u32, flags: u64, modseq: u64) -> Message {
        Message { uid, size: 1, flags: Flags(flags), modseq, received: Timestamp(0), blob: i64::from(uid) }
    }

    fn view(uids: impl Iterator<Item = u32>) -> View {
        let messages: Vec<Message> = uids.map(|uid| message(uid, 0, 1)).collect();
        View::new((1, 10_000, 1), Arc::default(), &messages)
    }

    fn uids(view: &View) -> Vec<u32> {
        view.messages().map(|(_, message)| message.uid).collect()
    }

    #[test]
    fn numbers_and_uids_are_found() {
        let view = view((1..=2000).map(|n| n * 2));
        assert_eq!((view.len(), view.largest_uid()), (2000, 4000));
        assert_eq!(view.message(1).map(|message| message.uid), Some(2));
        assert_eq!(view.message(2000).map(|message| message.uid), Some(4000));
        assert!(view.message(0).is_none() && view.message(2001).is_none());
        assert_eq!((view.number(1000), view.number(1001), view.first_from(1001)), (Some(500), None, 501));
        assert_eq!((view.first_from(0), view.first_from(4001)), (1, 2001));
        for (from, to) in [(1, 1), (256, 257), (1, 2000), (1999, 5000), (257, 512)] {
            let found: Vec<u32> = view
                .range(from, to)
                .map(|(number, message)| {
                    assert_eq!(message.uid, number * 2);
                    number
                })
                .collect();
            assert_eq!(found, (from..=to.min(2000)).collect::<Vec<_>>());
        }
        assert_eq!(view.uids([1, 2, 3, 7, 9, 10].into_iter()), vec![(2, 6), (14, 14), (18, 20)]);
    }

    #[test]
    fn changes_make_the_next_view_and_the_difference_tells_them() {
        let old = view(1..=1000);
        let changed = [message(5, 1, 2), message(700, 3, 2), message(1001, 0, 2), message(1002, 0, 2)];
        let new = old.updated((1003, 2), Arc::default(), &changed, &[1, 300, 301, 999]);
        assert_eq!(new.len(), 998);
        let diff = old.diff(&new);
        assert_eq!(diff.expunged, vec![(1, 1), (299, 300), (299, 301), (996, 999)]);
        let numbers: Vec<u32> = [5, 700, 1001, 1002].iter().filter_map(|&uid| new.number(uid)).collect();
        assert_eq!((diff.changed, diff.arrived), (numbers, true));
        assert_eq!(new.diff(&new), Diff::default());
        let kept = old.without_expunges(&new);
        assert_eq!(kept.len(), 1002);
        assert_eq!(kept.diff(&new).expunged.len(), 4);
        assert!(old.diff(&kept).expunged.is_empty());
        assert!(kept.diff(&new).changed.is_empty());
    }

    #[test]
    fn any_history_ends_where_a_fresh_look_does() {
        let mut random = 1_u32;
        let mut chance = move |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) % below
        };
        let (mut view, mut next) = (view(1..=1), 2);
        let mut known = vec![message(1, 0, 1)];
        for modseq in 2..400 {
            let (mut changed, mut gone) = (Vec::new(), Vec::new());
            known.retain(|held| {
                let stays = chance(20) > 0;
                if !stays {
                    gone.push(held.uid);
                }
                stays
            });
            for held in &mut known {
                if chance(10) > 0 {
                    continue;
                }
                *held = message(held.uid, u64::from(chance(32)), modseq);
                changed.push(*held);
            }
            for _ in 0..chance(30) {
                known.push(message(next, 0, modseq));
                changed.push(message(next, 0, modseq));
                next += 1;
            }
            let before = view;
            view = before.updated((next, modseq), Arc::default(), &changed, &gone);
            assert_eq!(view.messages().map(|(_, message)| *message).collect::<Vec<_>>(), known);
            let diff = before.diff(&view);
            let mut replayed = uids(&before);
            for (number, uid) in &diff.expunged {
                assert_eq!(replayed.remove(*number as usize - 1), *uid);
            }
            assert_eq!(replayed, uids(&view)[..replayed.len()]);
            assert_eq!(diff.expunged.iter().map(|(_, uid)| *uid).collect::<Vec<_>>(), gone);
        }
    }
}
