//! The way of a message that has come whole: it is received, checked, decided on, and delivered, queued or refused.
//! Each step has its place: what is found out about a message belongs into a check, what follows from it into the
//! decision, and where it goes into the delivery.

pub(crate) mod gate;
mod incoming;
mod submission;

use auth::{Delivery, Envelope, Peer, Recipient};
use bytes::Bytes;
use storage::{Body, Delivered, Error, Manner, Notice, Timestamp};
use time::OffsetDateTime;

use crate::Smtp;
use crate::outbound::notice::{self, About, Action, Told};
use crate::outbound::{letter, notices};
use crate::received::Passage;
use crate::reply::Problem;
use crate::scan::{Bare, Framing, Scanner};
use crate::session::{Client, Transaction};
use crate::spool::Spooled;
use crate::trust::fields::fields;

/// A message that has come, and what is known of its way.
pub(crate) struct Arrival<'a> {
    pub(crate) smtp: &'a Smtp,
    /// Who brought it, under the trace id of the transaction.
    pub(crate) peer: &'a Peer,
    pub(crate) client: &'a Client,
    pub(crate) mail: &'a Transaction,
    pub(crate) message: Spooled,
}

impl Arrival<'_> {
    /// The reverse path; empty for a notification.
    fn from(&self) -> String {
        self.mail.from.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Whether the reverse path is that of who sends: only then somebody else is spared what is told to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Sender {
    /// It is: a user's, or one that its domain lets be sent from there.
    Proven,
    /// Nobody says so, nor the contrary.
    #[default]
    Unknown,
    /// Its domain says that it is not.
    Forged,
}

/// A message that was decided to be taken.
#[derive(Default)]
struct Ready {
    sender: Sender,
    /// Fields that this server puts before its own `Received`.
    fields: String,
    /// The header, as it is to be.
    header: Bytes,
    /// Fields that go before it where it goes on to other servers.
    onward: String,
    /// Why it is junk; `None` when it is not.
    junk: Option<String>,
}

impl Ready {
    /// Whether its sender is told of it. Who sends junk is seldom who it says.
    fn is_answered(&self) -> bool {
        self.junk.is_none() && self.sender != Sender::Forged
    }
}

/// Whether a line of the header ends in a CR or LF alone: where any octets may come, the header is lines still.
fn bare(header: &[u8]) -> Option<Bare> {
    let (mut scanner, mut lines) = (Scanner::new(Framing::Counted), Vec::new());
    scanner.scan(&Bytes::copy_from_slice(header), &mut lines);
    scanner.bare()
}

/// Takes a message, or says why not: when this returns it is durable wherever it goes. By LMTP each recipient has its
/// own result, in their order; else there is one for all.
pub(crate) async fn take(arrival: Arrival<'_>) -> Vec<Result<Delivered, Problem>> {
    let (arrival, ready) = match judged(arrival).await {
        Ok(judged) => judged,
        Err(problem) => return vec![Err(problem)],
    };
    let to = &arrival.mail.to;
    if !arrival.client.lmtp {
        return vec![deliver(&arrival, &ready, to).await];
    }
    // A mailbox that is full keeps the others from nothing (RFC 2033 §4.2).
    let mut results = Vec::new();
    for one in to {
        results.push(deliver(&arrival, &ready, std::slice::from_ref(one)).await);
    }
    results
}

/// Checks a message and decides what becomes of it.
async fn judged(arrival: Arrival<'_>) -> Result<(Arrival<'_>, Ready), Problem> {
    if is_binary(arrival.mail)
        && let Some(bare) = bare(&arrival.message.header)
    {
        return Err(Problem::Bare(bare, Framing::Binary));
    }
    match &arrival.client.login {
        Some(login) => {
            let message = arrival.message.with_fields_alone().await.map_err(Problem::Store)?;
            let arrival = Arrival { message, ..arrival };
            let ready = submission::prepare(&arrival, login).await?;
            Ok((arrival, ready))
        }
        None => {
            let ready = incoming::judge(&arrival).await?;
            Ok((arrival, ready))
        }
    }
}

/// Delivers to these recipients at once, with the notifications that their senders asked for.
async fn deliver(arrival: &Arrival<'_>, ready: &Ready, to: &[(Recipient, Notice)]) -> Result<Delivered, Problem> {
    let Arrival { smtp, peer, client, mail, message } = arrival;
    let from = arrival.from();
    let only_recipient = match to {
        [(only, _)] => Some(only.address()),
        _ => None,
    };
    let passage = Passage {
        peer,
        client: &client.name,
        extended: client.extended,
        lmtp: client.lmtp,
        authenticated: client.login.is_some(),
        utf8: mail.utf8,
        host: &smtp.services.hostname,
        trace: mail.trace,
        from: &from,
        only_recipient,
        at: OffsetDateTime::now_utc(),
    };
    let (path, received) = passage.fields();
    let envelope = Envelope {
        trace: mail.trace,
        from,
        to: to.to_vec(),
        manner: manner(mail, message),
        terms: smtp.config.outbound.terms(mail.from.is_none()),
    };
    let mut delivery = smtp.services.auth.delivery(peer, client.login.as_ref(), envelope);
    if let Some(why) = &ready.junk {
        delivery.junk(why.clone());
    }
    delivery.head(ready.onward.clone());
    if let Some(login) = client.login.as_ref().filter(|login| saves(&smtp.config.save_sent, &login.name)) {
        delivery.keep_sent(login.id);
    }
    let store = |error| Problem::Store(error);
    delivery.write(Bytes::from([&path, &ready.fields, &received].map(String::as_str).concat())).await.map_err(store)?;
    delivery.write(ready.header.clone()).await.map_err(store)?;
    let mut body = message.body();
    while let Some(piece) = body.next().await.map_err(store)? {
        delivery.write(piece).await.map_err(store)?;
    }
    let full = delivery.without_room().await.map_err(store)?;
    let (missed, served): (Vec<_>, Vec<_>) = to.iter().cloned().partition(|(to, _)| to.is_one_of(&full));
    // Who sends under the names of others has those hear nothing.
    let mut notices = match ready.is_answered() {
        true => told(arrival, &served, &ready.header).await,
        false => Vec::new(),
    };
    if !missed.is_empty() {
        match failed(arrival, ready, &missed).await {
            Ok(notice) => {
                notices.extend(notice);
                delivery.leave_out(&full).await;
            }
            // It is put off for all: nobody misses it without anybody hearing of it.
            Err(why) => tracing::info!(trace = %mail.trace, %why, "a full mailbox keeps a message from all"),
        }
    }
    let taken = delivery.commit_with(notices).await;
    if let (Err(Error::TooMany(_)), Some(login)) = (&taken, &client.login) {
        // Perhaps its password is in other hands.
        tracing::warn!(account = login.name, trace = %mail.trace, "an account sends more than it may in an hour");
    }
    taken.map_err(store)
}

/// Whether an account is among those of the configuration.
fn saves(accounts: &[String], name: &str) -> bool {
    accounts.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(name))
}

/// How the message asks to be passed on.
fn manner(mail: &Transaction, message: &Spooled) -> Manner {
    let is_no = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"no");
    let mut wishes = fields(&message.header).filter(|field| field.is("tls-required"));
    // Only alone, and not against what the envelope says (RFC 8689 §3, §4.1).
    let alone = wishes.next().is_some_and(|field| is_no(field.value)) && wishes.next().is_none();
    // Not all who send eight bits say so, and many who send seven say eight; what it is counts: not all hosts take it.
    let body = match mail.manner.body {
        Body::Binary => Body::Binary,
        _ if message.ascii => Body::SevenBit,
        _ => Body::EightBit,
    };
    let named = mail.from.iter().map(ToString::to_string).chain(mail.to.iter().map(|(to, _)| to.address().to_owned()));
    let international = |address: String| !letter::in_ascii(&address).is_ascii();
    let utf8 = mail.utf8 && !(message.header.is_ascii() && message.ascii && !named.into_iter().any(international));
    Manner { body, utf8, tls_optional: alone && !mail.manner.require_tls, ..mail.manner.clone() }
}

/// Notifications for senders that want to hear of success (RFC 3461 §5.2.1): of what lies in mailboxes here, and what
/// goes on to several addresses.
async fn told(arrival: &Arrival<'_>, to: &[(Recipient, Notice)], header: &[u8]) -> Vec<Delivery> {
    let (mail, own) = (arrival.mail, &arrival.smtp.services.hostname);
    let mut notices = Vec::new();
    let from = arrival.from();
    for action in [Action::Delivered, Action::Expanded] {
        let wished = to.iter().filter(|(to, notice)| {
            let expanded = to.is_forwarded() && to.count() > 1;
            notice.success && if action == Action::Delivered { to.is_here() && !expanded } else { expanded }
        });
        let told: Vec<Told> =
            wished.map(|(to, notice)| about(to, notice, "2.0.0", format!("taken by {own}"))).collect();
        if told.is_empty() || from.is_empty() {
            continue;
        }
        let about = About { manner: &mail.manner, arrived: Timestamp::now() };
        match notices::prepared(arrival.smtp, action, &from, &about, &told, header, None).await {
            Ok(notice) => notices.push(notice),
            Err(why) => tracing::warn!(to = from, trace = %mail.trace, %why, "a notification could not be made"),
        }
    }
    notices
}

/// What is told of a recipient of ours, with its enhanced status (RFC 3463).
fn about(to: &Recipient, notice: &Notice, status: &str, said: String) -> Told {
    let (recipient, original) = (letter::in_ascii(to.address()).into_owned(), notice.original.clone());
    Told { recipient, original, status: status.to_owned(), host: None, said, until: None }
}

/// The notification that those behind these addresses have no room, where the sender wants to hear of it (RFC 3461
/// §5.2.6): the message is taken for the others, so nobody else can tell it.
///
/// # Errors
/// When nobody can be told.
async fn failed(
    arrival: &Arrival<'_>,
    ready: &Ready,
    missed: &[(Recipient, Notice)],
) -> Result<Option<Delivery>, Error> {
    let (mail, from) = (arrival.mail, arrival.from());
    let told: Vec<Told> = missed
        .iter()
        .filter(|(_, notice)| notice.failure && !from.is_empty())
        .map(|(to, notice)| {
            let said = match to.count() {
                1 => "the mailbox is full",
                _ => "the mailbox of somebody whom the address stands for is full",
            };
            about(to, notice, "5.2.2", said.to_owned())
        })
        .collect();
    if told.is_empty() {
        return Ok(None);
    }
    if !ready.is_answered() {
        return Err(Error::invalid("its sender is not who it says"));
    }
    let about = About { manner: &mail.manner, arrived: Timestamp::now() };
    let header = &ready.header;
    let returns_whole = notice::returns_whole(Action::Failed, &mail.manner, arrival.message.len);
    let whole = match returns_whole && ready.sender == Sender::Proven {
        true => Some(whole(arrival, header).await?),
        false => None,
    };
    notices::prepared(arrival.smtp, Action::Failed, &from, &about, &told, header, whole.as_deref()).await.map(Some)
}

/// The message with this header, which is short enough to be held in memory.
async fn whole(arrival: &Arrival<'_>, header: &[u8]) -> Result<Vec<u8>, Error> {
    let (mut whole, mut body) = (header.to_vec(), arrival.message.body());
    while let Some(piece) = body.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// Whether its octets are not only lines of text.
pub(crate) fn is_binary(mail: &Transaction) -> bool {
    mail.manner.body == Body::Binary
}
