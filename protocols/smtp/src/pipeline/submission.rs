//! What a user sends: completed, as programs leave things out, and signed for the domain it is from (RFC 6409 §8).

use std::borrow::Cow;

use auth::Principal;
use bytes::Bytes;
use storage::message::{Address, Authors};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{Arrival, Ready, Sender, incoming};
use crate::reply::Problem;
use crate::trust::fields::{Field, fields, lines};

/// Fields that say who wrote a message, who sent it for them, and who sent it on (RFC 5322 §3.6.2, §3.6.6).
const AUTHORS: [&str; 4] = ["from", "sender", "resent-from", "resent-sender"];
/// The most authors, senders and resenders that are looked up, but for those of the last such field.
const MOST: usize = 200;

/// Makes a user's message ready to be delivered.
pub(super) async fn prepare(arrival: &Arrival<'_>, login: &Principal) -> Result<Ready, Problem> {
    own_sender(arrival, login).await?;
    incoming::virus(arrival).await?;
    let header = incoming::believable(&arrival.message.header, &arrival.smtp.services.hostname, None);
    let header = without_bcc(&header);
    let added = missing(arrival, &header);
    let header = Bytes::from([added.as_bytes(), &*header].concat());
    let signed = signature(arrival, &header).await?;
    Ok(Ready { sender: Sender::Proven, fields: signed, header, ..Ready::default() })
}

/// Nobody writes in the name of others: each author is an address of the user's, and there is one.
async fn own_sender(arrival: &Arrival<'_>, login: &Principal) -> Result<(), Problem> {
    let (auth, header) = (&arrival.smtp.services.auth, &arrival.message.header);
    let from = fields(header).filter(|field| field.is("from")).count();
    if from > 1 || (from == 0 && arrival.mail.from.is_none()) {
        return Err(Problem::Authors);
    }
    let mut authors: Vec<Address> = Vec::new();
    for field in fields(header).filter(|field| AUTHORS.iter().any(|name| field.is(name))) {
        let Authors { addresses, named, is_whole, is_plain } = Authors::read(field.value);
        // A group (RFC 6854) is for those who cannot be answered; its name could be read as the author's.
        let is_group = addresses.iter().any(|author| author.host.is_none());
        if addresses.is_empty() || is_group || !is_whole || !is_plain || authors.len() > MOST {
            return Err(Problem::Authors);
        }
        authors.extend(addresses.into_iter().chain(named));
    }
    for author in authors {
        let (mailbox, host) = (author.mailbox.unwrap_or_default(), author.host.unwrap_or_default());
        // Not all readers show a local part in its quotes.
        if mailbox.contains(|char: char| "@<>(),:;\"".contains(char) || char.is_control()) {
            return Err(Problem::Authors);
        }
        let address = format!("{mailbox}@{host}");
        match auth.may_send_as(arrival.peer, login, &address).await {
            Ok(true) => {}
            Ok(false) => return Err(Problem::Author(address)),
            Err(error) => return Err(Problem::Store(error)),
        }
    }
    Ok(())
}

/// Who gets a blind copy is not for the others to read (RFC 5322 §3.6.3).
fn without_bcc(header: &[u8]) -> Cow<'_, [u8]> {
    let hidden = |name: &[u8]| name.eq_ignore_ascii_case(b"bcc") || name.eq_ignore_ascii_case(b"resent-bcc");
    if !fields(header).any(|field| hidden(field.name)) {
        return Cow::Borrowed(header);
    }
    let shown = |line: &&[u8]| !Field::parse(line).is_some_and(|field| hidden(field.name));
    Cow::Owned(lines(header).filter(shown).flatten().copied().collect())
}

/// The fields that every message must have (RFC 5322 §3.6) and this one has not.
fn missing(arrival: &Arrival<'_>, header: &[u8]) -> String {
    let lacks = |name: &str| !fields(header).any(|field| field.is(name));
    let mut added = String::new();
    if lacks("date") {
        let now = OffsetDateTime::now_utc().format(&Rfc2822).unwrap_or_default();
        added.push_str(&format!("Date: {now}\r\n"));
    }
    let from = arrival.from();
    if lacks("from") && !from.is_empty() {
        added.push_str(&format!("From: <{from}>\r\n"));
    }
    if lacks("message-id") {
        let host = from.rsplit_once('@').map_or(&*arrival.smtp.services.hostname, |(_, domain)| domain);
        added.push_str(&format!("Message-ID: <{}@{host}>\r\n", arrival.mail.trace));
    }
    added
}

/// Signatures for the domain of the author.
async fn signature(arrival: &Arrival<'_>, header: &Bytes) -> Result<String, Problem> {
    let from = fields(header).find(|field| field.is("from"));
    let author = from.and_then(|from| Authors::read(from.value).addresses.into_iter().next());
    let Some(domain) = author.and_then(|author| author.host) else { return Ok(String::new()) };
    let (smtp, message) = (arrival.smtp, &arrival.message);
    smtp.keys.sign(&smtp.services.auth, &domain, header, &message.hashes).await.map_err(Problem::Store)
}
