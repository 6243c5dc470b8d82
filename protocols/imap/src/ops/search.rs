//! SEARCH (RFC 9051 §6.4.4, RFC 4731, RFC 5182, RFC 7162 §3.1.5).

use std::future::Future;
use std::pin::Pin;

use storage::message::{MessageEnvelope, address_text, decoded, field_values, sent_day};
use storage::{Error, Field, Flags, Mailbox, Message, Timestamp, View, Wanted, fold, is_among};

use super::details::{long_header, of_messages};
use super::fetch::{email_id, thread_id};
use crate::codec::search::Returns;
use crate::codec::sequence::compact;
use crate::codec::{Address, Key, Search};
use crate::reply::{Reply, Untagged};
use crate::selected::Selected;
use crate::session::{Context, Outcome, enable_condstore, finish};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// SEARCH.
pub(crate) async fn search(context: &mut Context<'_>, selected: &mut Selected, uid: bool, search: &Search) -> Outcome {
    if context.user.enabled.utf8_accept && search.charset.is_some() {
        return Ok(Reply::bad("With UTF8=ACCEPT all is UTF-8, and no character set is named (RFC 6855 §3)"));
    }
    let found = match find(context, selected, search).await {
        Ok(found) => found,
        Err(reply) => return Ok(reply),
    };
    // IMAP4rev2 knows the extended response alone (RFC 9051 §7.3.4).
    let returns = search.returns.or(context.user.enabled.rev2.then_some(Returns::default()));
    let numbers = as_told(&selected.view, &found, uid);
    let modseq = highest(&selected.view, &found, &search.key, returns);
    match returns {
        Some(returns) => tell(context, uid, returns, &numbers, modseq, |numbers| compact(numbers.iter().copied())),
        None => {
            let mut line = String::from("SEARCH");
            for number in numbers {
                line.push(' ');
                line.push_str(&number.to_string());
            }
            if let Some(modseq) = modseq.filter(|_| line.len() > 6) {
                line.push_str(&format!(" (MODSEQ {modseq})"));
            }
            context.wire.untagged(line);
        }
    }
    Ok(finish(context, selected, uid, Reply::ok("Searched")).await)
}

/// The sequence numbers of the messages that are as the search wants them, ascending; saved where it says so.
pub(crate) async fn find(
    context: &mut Context<'_>,
    selected: &mut Selected,
    search: &Search,
) -> Result<Vec<u32>, Reply> {
    let save = search.returns.is_some_and(|returns| returns.save);
    let result = run(context, selected, search).await;
    if save {
        // Also when it failed: then nothing is saved (RFC 5182 §2.1).
        let view = &selected.view;
        let found = result.as_deref().unwrap_or_default();
        let uids: Vec<u32> = found.iter().filter_map(|&number| view.message(number)).map(|held| held.uid).collect();
        selected.saved = saved(search.returns.unwrap_or_default(), &uids);
    }
    result
}

/// What SAVE keeps: where only the ends are asked for, only those (RFC 5182 §2.4).
fn saved(returns: Returns, uids: &[u32]) -> Vec<u32> {
    if returns.all || returns.count || !returns.min && !returns.max {
        return uids.to_vec();
    }
    let mut ends: Vec<u32> = uids.first().filter(|_| returns.min).copied().into_iter().collect();
    ends.extend(uids.last().filter(|_| returns.max));
    ends.dedup();
    ends
}

async fn run(context: &mut Context<'_>, selected: &Selected, search: &Search) -> Result<Vec<u32>, Reply> {
    if search.charset.as_deref().is_some_and(|charset| !matches!(charset, "UTF-8" | "US-ASCII" | "ISO-8859-1")) {
        return Err(Reply::no("That character set is not known here").with("BADCHARSET (US-ASCII UTF-8 ISO-8859-1)"));
    }
    if names_modseq(&search.key) {
        enable_condstore(context, selected);
    }
    let all: Vec<u32> = (1..=selected.view.len()).collect();
    let searcher = Searcher { selected, now: Timestamp::now() };
    searcher.choose(&search.key, all).await.map_err(|error| Reply::from(&error))
}

fn names_modseq(key: &Key) -> bool {
    match key {
        Key::ModSeq(_) => true,
        Key::Not(key) => names_modseq(key),
        Key::Or(one, other) => names_modseq(one) || names_modseq(other),
        Key::And(keys) => keys.iter().any(names_modseq),
        _ => false,
    }
}

/// The newest mod-sequence among the messages that are told, where the search was about it: where only the ends are,
/// theirs (RFC 7162 §3.1.5).
pub(crate) fn highest(view: &View, found: &[u32], key: &Key, returns: Option<Returns>) -> Option<u64> {
    let told = returns.map_or_else(|| found.to_vec(), |returns| saved(returns, found));
    let modseqs = told.iter().filter_map(|&number| view.message(number)).map(|message| message.modseq);
    names_modseq(key).then(|| modseqs.max()).flatten()
}

/// Sequence numbers, or the UIDs of their messages.
pub(crate) fn as_told(view: &View, found: &[u32], uid: bool) -> Vec<u32> {
    match uid {
        true => found.iter().filter_map(|&number| view.message(number)).map(|message| message.uid).collect(),
        false => found.to_vec(),
    }
}

/// Writes ESEARCH (RFC 4731 §3.1); `listed` writes all numbers.
pub(crate) fn tell(
    context: &mut Context<'_>,
    uid: bool,
    returns: Returns,
    numbers: &[u32],
    modseq: Option<u64>,
    listed: impl Fn(&[u32]) -> String,
) {
    let Returns { min, max, all, count, save } = returns;
    let mut line = format!("ESEARCH (TAG \"{}\")", context.tag);
    if uid {
        line.push_str(" UID");
    }
    if let (Some(first), Some(last)) = (numbers.first(), numbers.last()) {
        if min {
            line.push_str(&format!(" MIN {first}"));
        }
        if max {
            line.push_str(&format!(" MAX {last}"));
        }
        if all || !(min || max || count || save) {
            line.push_str(&format!(" ALL {}", listed(numbers)));
        }
    }
    if count {
        line.push_str(&format!(" COUNT {}", numbers.len()));
    }
    if let Some(modseq) = modseq {
        line.push_str(&format!(" MODSEQ {modseq}"));
    }
    if min || max || all || count || !save {
        context.wire.untagged(line);
    }
}

struct Searcher<'a> {
    selected: &'a Selected,
    now: Timestamp,
}

/// What a key costs: the cheap ones are asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// The view knows.
    View,
    /// What is known of a message.
    Details,
    /// Its content.
    Content,
}

type Chosen<'a> = Pin<Box<dyn Future<Output = Result<Vec<u32>, Error>> + Send + 'a>>;

impl<'a> Searcher<'a> {
    fn view(&self) -> &'a View {
        &self.selected.view
    }

    fn mailbox(&self) -> &'a Mailbox {
        &self.selected.mailbox
    }

    /// Those of `numbers`, which are ascending, whose messages are as the key wants them. The codec has limited how
    /// deep keys are nested.
    fn choose<'b>(&'b self, key: &'b Key, numbers: Vec<u32>) -> Chosen<'b> {
        Box::pin(async move {
            match key {
                Key::And(keys) => {
                    let mut keys: Vec<&Key> = keys.iter().collect();
                    keys.sort_by_key(|key| cost(key));
                    let mut left = numbers;
                    for key in keys {
                        if left.is_empty() {
                            break;
                        }
                        left = self.choose(key, left).await?;
                    }
                    Ok(left)
                }
                Key::Or(one, other) => {
                    let (first, second) = if cost(one) <= cost(other) { (one, other) } else { (other, one) };
                    let found = self.choose(first, numbers.clone()).await?;
                    let mut both = self.choose(second, without(numbers, &found)).await?;
                    both.extend(found);
                    both.sort_unstable();
                    Ok(both)
                }
                Key::Not(key) => {
                    let found = self.choose(key, numbers.clone()).await?;
                    Ok(without(numbers, &found))
                }
                Key::Numbers(set) | Key::Uid(set) => {
                    let uid = matches!(key, Key::Uid(_));
                    // A number that no message has is not found, and no error (RFC 9051 §6.4.4 has none for it).
                    let ranges = self.selected.named(set, uid);
                    Ok(numbers.into_iter().filter(|&number| is_among(&ranges, number)).collect())
                }
                Key::Body(needle) => self.holding(Field::Body, needle, &numbers).await,
                Key::Text(needle) => self.holding(Field::Text, needle, &numbers).await,
                key if cost(key) == Cost::View => {
                    let view = self.view();
                    let seen = Seen { selected: self.selected, now: self.now };
                    let wanted = |number: &u32| view.message(*number).is_some_and(|message| seen.wants(key, message));
                    Ok(numbers.into_iter().filter(wanted).collect())
                }
                key => self.by_details(key, &numbers).await,
            }
        })
    }

    async fn holding(&self, field: Field, needle: &str, numbers: &[u32]) -> Result<Vec<u32>, Error> {
        if needle.is_empty() {
            return Ok(numbers.to_vec());
        }
        let view = self.view();
        let messages: Vec<Message> = numbers.iter().filter_map(|&number| view.message(number)).copied().collect();
        let found = self.mailbox().holding(field, needle, &messages).await?;
        Ok(found.into_iter().filter_map(|uid| view.number(uid)).collect())
    }

    async fn by_details(&self, key: &Key, numbers: &[u32]) -> Result<Vec<u32>, Error> {
        // What stands in a field of the header, or in the envelope that is read from it, stands in the header's text:
        // the index names the few that may have it.
        let narrowed = match key {
            Key::Address(_, text) | Key::Subject(text) | Key::Header(_, text) if numbers.len() > 100 => {
                let view = self.view();
                let messages: Vec<Message> =
                    numbers.iter().filter_map(|&number| view.message(number)).copied().collect();
                let may = self.mailbox().may_hold(Field::Header, text, &messages).await?;
                Some(may.into_iter().filter_map(|uid| view.number(uid)).collect::<Vec<_>>())
            }
            _ => None,
        };
        let numbers = narrowed.as_deref().unwrap_or(numbers);
        let (envelope, header, ids) = match key {
            Key::Header(..) => (false, true, false),
            Key::EmailId(_) | Key::ThreadId(_) | Key::SavedBefore(_) | Key::SavedOn(_) | Key::SavedSince(_) => {
                (false, false, true)
            }
            _ => (true, false, false),
        };
        let wanted = Wanted { envelope, header, ids, ..Wanted::default() };
        let (mut found, mut long) = (Vec::new(), Vec::new());
        let folded = Folded::new(key);
        of_messages(self.mailbox(), self.view(), numbers, wanted, |number, message, details| {
            if header && details.header.is_none() {
                long.push((number, *message));
            } else if folded.wants(key, details) {
                found.push(number);
            }
        })
        .await?;
        // A header that is too long to be kept apart is read with its message.
        for (number, message) in long {
            let header = long_header(self.mailbox(), &message).await?.to_vec();
            let details = storage::Details { header: Some(header), ..storage::Details::default() };
            if folded.wants(key, &details) {
                found.push(number);
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn cost(key: &Key) -> Cost {
    match key {
        Key::Body(_) | Key::Text(_) => Cost::Content,
        Key::SentBefore(_)
        | Key::SentOn(_)
        | Key::SentSince(_)
        | Key::SavedBefore(_)
        | Key::SavedOn(_)
        | Key::SavedSince(_)
        | Key::Address(..)
        | Key::Subject(_)
        | Key::Header(..)
        | Key::EmailId(_)
        | Key::ThreadId(_) => Cost::Details,
        Key::Not(key) => cost(key),
        Key::Or(one, other) => cost(one).max(cost(other)),
        Key::And(keys) => keys.iter().map(cost).max().unwrap_or(Cost::View),
        _ => Cost::View,
    }
}

/// Those of `numbers` that are not among `found`; both ascending.
fn without(numbers: Vec<u32>, found: &[u32]) -> Vec<u32> {
    let mut found = found.iter().peekable();
    let mut keep = |number: &u32| {
        while found.next_if(|&next| next < number).is_some() {}
        found.peek() != Some(&number)
    };
    numbers.into_iter().filter(|number| keep(number)).collect()
}

/// What the view tells of a message.
struct Seen<'a> {
    selected: &'a Selected,
    now: Timestamp,
}

impl Seen<'_> {
    fn wants(&self, key: &Key, message: &Message) -> bool {
        let day = message.received.0.div_euclid(DAY);
        let age = self.now.since(message.received).as_secs();
        let set = |name: &str| {
            let flag = self.selected.view.keywords.flag(name);
            flag != Flags::default() && message.flags.has(flag)
        };
        match key {
            Key::All | Key::SaveDateSupported => true,
            Key::Flag(name, wanted) => set(name) == *wanted,
            Key::Keyword(name, wanted) => set(name) == *wanted,
            Key::Recent(wanted) => self.selected.is_recent(message.uid) == *wanted,
            Key::Before(date) => day < *date,
            Key::On(date) => day == *date,
            Key::Since(date) => day >= *date,
            Key::Older(seconds) => age >= u64::from(*seconds),
            Key::Younger(seconds) => age <= u64::from(*seconds),
            Key::Larger(octets) => u64::from(message.size) > *octets,
            Key::Smaller(octets) => u64::from(message.size) < *octets,
            Key::ModSeq(modseq) => message.modseq >= *modseq,
            _ => false,
        }
    }
}

/// A key's text as it is compared.
struct Folded(String);

impl Folded {
    fn new(key: &Key) -> Folded {
        Folded(match key {
            Key::Address(_, text) | Key::Subject(text) | Key::Header(_, text) => fold(text),
            _ => String::new(),
        })
    }

    fn is_in(&self, text: &str) -> bool {
        self.0.is_empty() || fold(text).contains(&self.0)
    }

    fn wants(&self, key: &Key, details: &storage::Details) -> bool {
        let envelope = || serde_json::from_str::<MessageEnvelope>(&details.envelope).unwrap_or_default();
        let saved = details.saved.0.div_euclid(DAY);
        match key {
            Key::SentBefore(date) => sent_day(&envelope()).is_some_and(|day| day < *date),
            Key::SentOn(date) => sent_day(&envelope()).is_some_and(|day| day == *date),
            Key::SentSince(date) => sent_day(&envelope()).is_some_and(|day| day >= *date),
            Key::SavedBefore(date) => saved < *date,
            Key::SavedOn(date) => saved == *date,
            Key::SavedSince(date) => saved >= *date,
            Key::EmailId(id) => email_id(&details.hash) == *id,
            Key::ThreadId(id) => thread_id(details.thread) == *id,
            Key::Subject(_) => envelope().subject.is_some_and(|subject| self.is_in(&decoded(&subject))),
            Key::Address(field, _) => {
                let envelope = envelope();
                let list = match field {
                    Address::From => &envelope.from,
                    Address::To => &envelope.to,
                    Address::Cc => &envelope.cc,
                    Address::Bcc => &envelope.bcc,
                };
                list.iter().any(|address| self.is_in(&address_text(address)))
            }
            Key::Header(name, _) => {
                let header = details.header.as_deref().unwrap_or_default();
                field_values(header, name).any(|value| self.is_in(&decoded(&value)))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_subtracted() {
        assert_eq!(without(vec![1, 2, 3, 5, 9], &[2, 4, 9]), [1, 3, 5]);
        assert_eq!(without(vec![], &[1]), [0; 0]);
        assert_eq!(saved(Returns { min: true, save: true, ..Returns::default() }, &[3, 5]), [3]);
        assert_eq!(saved(Returns { max: true, min: true, save: true, ..Returns::default() }, &[3]), [3]);
        assert_eq!(saved(Returns { save: true, ..Returns::default() }, &[3, 5]), [3, 5]);
    }
}
