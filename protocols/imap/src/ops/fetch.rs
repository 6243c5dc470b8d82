//! FETCH (RFC 9051 §6.4.5): whole ranges of messages at once, what is known of them read ahead while the part before is
//! written.

mod describe;
mod filter;
mod section;

use std::collections::VecDeque;

use protocol::ReadError;
use storage::message::{MessageEnvelope, Structure};
use storage::{Content, Details, Error, FlagChange, Flags, Mailbox, Message, Wanted};
use tokio::task::JoinHandle;

use self::section::Asked;
use crate::codec::sequence::compact;
use crate::codec::{Item, Numbers, SectionText};
use crate::reply::{Reply, Untagged, date_time, put, put_string};
use crate::selected::{Ranges, Selected};
use crate::session::{Context, Outcome, enable_condstore, finish, gone};

/// How many messages are read at once.
const BATCH: u32 = 200;
/// How many batches are on their way or here at the most.
const AHEAD: usize = 3;

/// What FETCH asks for.
pub(crate) struct Fetch {
    pub(crate) uid: bool,
    pub(crate) numbers: Numbers,
    pub(crate) items: Vec<Item>,
    pub(crate) changed_since: Option<u64>,
    pub(crate) vanished: bool,
}

/// FETCH.
pub(crate) async fn fetch(context: &mut Context<'_>, selected: &mut Selected, fetch: Fetch) -> Outcome {
    if fetch.vanished && !(fetch.uid && context.user.enabled.qresync && fetch.changed_since.is_some()) {
        return Ok(Reply::bad("VANISHED goes with UID FETCH, CHANGEDSINCE and QRESYNC enabled"));
    }
    let mut ranges = match selected.numbers(&fetch.numbers, fetch.uid) {
        Ok(ranges) => ranges,
        Err(reply) => return Ok(reply),
    };
    if let Some(modseq) = fetch.changed_since {
        enable_condstore(context, selected);
        if fetch.vanished
            && let Err(error) = tell_vanished(context, selected, &fetch.numbers, modseq).await
        {
            return Ok(gone(context.wire, &error));
        }
        let view = &selected.view;
        let numbers = ranges.iter().flat_map(|&(from, to)| view.range(from, to));
        let changed = numbers.filter(|(_, message)| message.modseq > modseq);
        ranges = storage::ranges(changed.map(|(number, _)| number));
    }
    if fetch.items.contains(&Item::ModSeq) {
        enable_condstore(context, selected);
    }
    let plan = Plan::new(&fetch, context.user.enabled.condstore);
    let missing = plan.run(context, selected, &ranges).await?;
    let outcome = match missing {
        Missing::None => Reply::ok("Fetched"),
        Missing::Some => Reply::no("Some messages were expunged meanwhile").with("EXPUNGEISSUED"),
        Missing::Encoding => Reply::no("A part has an encoding that cannot be taken off").with("UNKNOWN-CTE"),
        Missing::Failed(reply) => reply,
    };
    // Expunges are told by the command with UIDs alone.
    Ok(finish(context, selected, fetch.uid, outcome).await)
}

async fn tell_vanished(
    context: &mut Context<'_>,
    selected: &Selected,
    numbers: &Numbers,
    modseq: u64,
) -> Result<(), Error> {
    let of = match numbers {
        Numbers::Set(set) => set.resolve(selected.view.uidnext.saturating_sub(1).max(1)),
        Numbers::Saved => storage::ranges(selected.saved.iter().copied()),
    };
    let vanished = selected.mailbox.vanished(modseq).await?;
    let gone = super::select::vanished_uids(&selected.view, &of, vanished);
    if !gone.is_empty() {
        context.wire.untagged(format!("VANISHED (EARLIER) {}", compact(gone.into_iter())));
    }
    Ok(())
}

/// Sets `\Seen` on messages that are sent, and tells it (RFC 9051 §6.4.5). Not before: a client that breaks off must
/// find unread what it was not sent.
async fn see(context: &mut Context<'_>, selected: &mut Selected, sent: Vec<u32>, uid: bool) -> Result<(), Error> {
    selected.mailbox.flag(storage::ranges(sent), FlagChange::Add, vec!["\\Seen".into()], None).await?;
    let new = selected.newest(false).await?;
    selected.note_recent(&context.user.enabled, &new).await?;
    selected.tell(context.wire, &context.user.enabled, new, uid, |_, _| true);
    Ok(())
}

/// What is to be written of each message, and what that needs.
struct Plan {
    answers: Vec<Answer>,
    wanted: Wanted,
    /// Whether the content itself is needed.
    content: bool,
    /// Whether reading marks as read.
    sees: bool,
    /// Whether it stood behind UID.
    uid: bool,
}

/// What is told of a message, in the order it was asked for.
enum Answer {
    /// What needs no content.
    Known(Item),
    /// A section of the content.
    Section(Asked),
}

/// What could not be answered.
enum Missing {
    None,
    /// Messages that are gone.
    Some,
    /// Parts whose encoding is unknown.
    Encoding,
    Failed(Reply),
}

/// One message on its way out.
struct Reading<'a> {
    mailbox: &'a Mailbox,
    message: &'a Message,
    details: Option<&'a Details>,
}

impl Reading<'_> {
    async fn content(&self) -> Result<Content, Error> {
        self.mailbox.content(self.message).await
    }
}

impl Plan {
    fn new(fetch: &Fetch, condstore: bool) -> Plan {
        let mut plan =
            Plan { answers: Vec::new(), wanted: Wanted::default(), content: false, sees: false, uid: fetch.uid };
        if fetch.uid && !fetch.items.contains(&Item::Uid) {
            plan.answers.push(Answer::Known(Item::Uid));
        }
        for item in &fetch.items {
            plan.answer(item);
        }
        if condstore && fetch.changed_since.is_some() && !fetch.items.contains(&Item::ModSeq) {
            plan.answers.push(Answer::Known(Item::ModSeq));
        }
        plan
    }

    fn answer(&mut self, item: &Item) {
        if let Some(asked) = Asked::by(item) {
            self.sees |= !asked.section.peek;
            let whole = asked.section.part.is_empty();
            match asked.section.text {
                SectionText::Header | SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_) if whole => {
                    self.wanted.header = true;
                }
                SectionText::All if whole => self.content = true,
                _ => (self.wanted.structure, self.content) = (true, true),
            }
            self.answers.push(Answer::Section(asked));
            return;
        }
        match item {
            Item::Envelope => self.wanted.envelope = true,
            Item::Body | Item::BodyStructure => self.wanted.structure = true,
            Item::EmailId | Item::ThreadId | Item::SaveDate => self.wanted.ids = true,
            Item::Preview(_) => self.wanted.preview = true,
            _ => {}
        }
        self.answers.push(Answer::Known(item.clone()));
    }

    /// Writes all messages of the ranges.
    async fn run(
        &self,
        context: &mut Context<'_>,
        selected: &mut Selected,
        ranges: &Ranges,
    ) -> Result<Missing, ReadError> {
        let mut missing = Missing::None;
        let steps = |&(from, to): &(u32, u32)| {
            (from..=to).step_by(BATCH as usize).map(move |first| (first, to.min(first + BATCH - 1)))
        };
        let mut batches = ranges.iter().flat_map(steps);
        let mut ahead = VecDeque::new();
        loop {
            while ahead.len() < AHEAD
                && let Some(batch) = batches.next()
            {
                ahead.push_back((batch, self.read(selected, batch)));
            }
            let Some((batch, reading)) = ahead.pop_front() else { break };
            let details = match reading {
                Some(reading) => match reading.await {
                    Ok(Ok(details)) => Some(details),
                    Ok(Err(error)) => return Ok(Missing::Failed(Reply::from(&error))),
                    Err(error) => return Ok(Missing::Failed(Reply::from(&Error::internal(error)))),
                },
                None => None,
            };
            let mut sent = Vec::new();
            let outcome = self.put_batch(context, selected, batch, details.as_deref(), &mut sent).await?;
            if self.sees && !selected.read_only && !sent.is_empty() {
                context.wire.flush().await?;
                if let Err(error) = see(context, selected, sent, self.uid).await {
                    return Ok(Missing::Failed(gone(context.wire, &error)));
                }
            }
            match outcome {
                Missing::None => {}
                Missing::Failed(reply) => return Ok(Missing::Failed(reply)),
                other => missing = other,
            }
        }
        Ok(missing)
    }

    /// Writes the messages of a batch; `sent` are those of them that were unread.
    async fn put_batch(
        &self,
        context: &mut Context<'_>,
        selected: &Selected,
        (from, to): (u32, u32),
        details: Option<&[Details]>,
        sent: &mut Vec<u32>,
    ) -> Result<Missing, ReadError> {
        let mut missing = Missing::None;
        for (number, message) in selected.view.range(from, to) {
            let known = details.map(|details| {
                details.binary_search_by_key(&message.uid, |known| known.uid).ok().map(|at| &details[at])
            });
            // Expunged since the client was told last: what is kept for a while is told once more.
            let kept = match known {
                Some(None) => match selected.mailbox.details_of_gone(message).await {
                    Ok(Some(kept)) => Some(kept),
                    Ok(None) => {
                        missing = Missing::Some;
                        continue;
                    }
                    Err(error) => return Ok(Missing::Failed(Reply::from(&error))),
                },
                _ => None,
            };
            let details = kept.as_ref().or(known.flatten());
            let reading = Reading { mailbox: &selected.mailbox, message, details };
            match self.put(context, selected, number, &reading).await? {
                Missing::None if message.flags.has(Flags::SEEN) => {}
                Missing::None => sent.push(message.uid),
                Missing::Failed(reply) => return Ok(Missing::Failed(reply)),
                other => missing = other,
            }
            context.wire.relieve().await?;
        }
        Ok(missing)
    }

    /// Begins to read what is known of a batch; `None` when nothing of it is wanted.
    fn read(
        &self,
        Selected { mailbox, view, .. }: &Selected,
        (from, to): (u32, u32),
    ) -> Option<JoinHandle<Result<Vec<Details>, Error>>> {
        if self.wanted.is_nothing() {
            return None;
        }
        let (first, last) = (view.message(from)?.uid, view.message(to)?.uid);
        let (mailbox, wanted) = (mailbox.clone(), self.wanted);
        Some(tokio::spawn(async move { mailbox.details(first, last, wanted).await }))
    }

    /// Writes one message.
    async fn put(
        &self,
        context: &mut Context<'_>,
        selected: &Selected,
        number: u32,
        reading: &Reading<'_>,
    ) -> Result<Missing, ReadError> {
        let content = if self.content {
            match reading.content().await {
                Ok(content) => Some(content),
                Err(Error::NotFound) => return Ok(Missing::Some),
                Err(error) => return Ok(Missing::Failed(Reply::from(&error))),
            }
        } else {
            None
        };
        let structure: Option<Structure> = reading
            .details
            .filter(|_| self.wanted.structure)
            .and_then(|details| serde_json::from_str(&details.structure).ok());
        let source = section::Source { reading, content, structure };
        let undecodable = |answer: &Answer| match answer {
            Answer::Section(asked) => source.is_undecodable(&asked.section),
            Answer::Known(_) => false,
        };
        // Nothing of such a message is told: what is written already may be sent already.
        if self.answers.iter().any(undecodable) {
            return Ok(Missing::Encoding);
        }
        put(&mut context.wire.out, format_args!("* {number} FETCH ("));
        for (at, answer) in self.answers.iter().enumerate() {
            if at > 0 {
                context.wire.out.push(b' ');
            }
            match answer {
                Answer::Section(asked) => section::put(context.wire, &source, asked).await?,
                Answer::Known(item) => {
                    put_known(&mut context.wire.out, context.user.enabled.utf8(), selected, item, &source);
                }
            }
            // Items may be many and each as long as a header.
            context.wire.relieve().await?;
        }
        context.wire.out.extend_from_slice(b")\r\n");
        Ok(Missing::None)
    }
}

/// Writes an item that needs no content.
fn put_known(out: &mut Vec<u8>, utf8: bool, selected: &Selected, item: &Item, source: &section::Source<'_>) {
    let (message, details) = (source.reading.message, source.reading.details);
    match item {
        Item::Uid => put(out, format_args!("UID {}", message.uid)),
        Item::Flags => selected.put_flag_list(out, &selected.view.keywords, message),
        Item::InternalDate => {
            put(out, format_args!("INTERNALDATE {}", date_time(message.received)));
        }
        Item::Size => put(out, format_args!("RFC822.SIZE {}", message.size)),
        Item::ModSeq => put(out, format_args!("MODSEQ ({})", message.modseq)),
        Item::Envelope => {
            let envelope: MessageEnvelope =
                details.and_then(|details| serde_json::from_str(&details.envelope).ok()).unwrap_or_default();
            out.extend_from_slice(b"ENVELOPE ");
            describe::put_envelope(out, &envelope, utf8);
        }
        Item::Body | Item::BodyStructure => {
            let extended = *item == Item::BodyStructure;
            out.extend_from_slice(if extended { b"BODYSTRUCTURE " } else { b"BODY " });
            describe::put_structure(out, source.structure.as_ref(), extended, utf8);
        }
        Item::EmailId => {
            let hash = details.map(|details| details.hash.as_slice()).unwrap_or_default();
            put(out, format_args!("EMAILID ({})", email_id(hash)));
        }
        Item::ThreadId => {
            let thread = details.map_or(0, |details| details.thread);
            put(out, format_args!("THREADID ({})", thread_id(thread)));
        }
        Item::SaveDate => {
            let saved = details.map(|details| details.saved).unwrap_or_default();
            put(out, format_args!("SAVEDATE {}", date_time(saved)));
        }
        Item::Preview(_) => {
            out.extend_from_slice(b"PREVIEW ");
            let preview = details.map(|details| details.preview.as_bytes()).unwrap_or_default();
            put_string(out, preview, utf8);
        }
        Item::Section(_) | Item::BinarySize(_) | Item::Rfc822 | Item::Rfc822Header | Item::Rfc822Text => {}
    }
}

/// The identifier of a content (RFC 8474 §5.1): the start of its hash, so that it is the same wherever it is copied.
pub(crate) fn email_id(hash: &[u8]) -> String {
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("E{digits}")
}

/// The identifier of a thread (RFC 8474 §5.2).
pub(crate) fn thread_id(thread: i64) -> String {
    format!("T{:016x}", thread as u64)
}
