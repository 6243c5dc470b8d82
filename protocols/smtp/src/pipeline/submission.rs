//! What a user sends: completed, as programs leave things out, and signed for the domain it is from (RFC 6409 §8).

use std::borrow::Cow;

use auth::Principal;
use bytes::Bytes;
use storage::message::MessageEnvelope;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{Arrival, Ready, incoming};
use crate::reply::Problem;
use crate::trust::fields::{Field, angles, fields, lines};

/// Makes a user's message ready to be delivered.
pub(super) async fn prepare(arrival: &Arrival<'_>, login: &Principal) -> Result<Ready, Problem> {
    own_sender(arrival, login).await?;
    incoming::virus(arrival).await?;
    let header = incoming::believable(&arrival.message.header, &arrival.smtp.services.hostname, None);
    let header = without_bcc(&header);
    let added = missing(arrival, &header);
    let header = Bytes::from([added.as_bytes(), &*header].concat());
    let signed = signature(arrival, &header).await?;
    Ok(Ready { fields: signed, header, ..Ready::default() })
}

/// Nobody writes in the name of others: each author is an address of the user's.
async fn own_sender(arrival: &Arrival<'_>, login: &Principal) -> Result<(), Problem> {
    let (auth, header) = (&arrival.smtp.services.auth, &arrival.message.header);
    let authors = MessageEnvelope::read(header).from;
    let named: usize = fields(header).filter(|field| field.is("from")).map(|field| angles(field.value)).sum();
    // A group (RFC 6854) is for those who cannot be answered; its name could be read as the author's.
    let is_group = authors.iter().any(|author| author.host.is_none());
    if fields(header).filter(|field| field.is("from")).count() > 1 || is_group || named > authors.len() {
        return Err(Problem::Authors);
    }
    for author in authors {
        let (mailbox, host) = (author.mailbox.unwrap_or_default(), author.host.unwrap_or_default());
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
    let author = MessageEnvelope::read(header).from.into_iter().next().and_then(|author| author.host);
    let Some(domain) = author else { return Ok(String::new()) };
    let (smtp, message) = (arrival.smtp, &arrival.message);
    smtp.keys.sign(&smtp.services.auth, &domain, header, &message.hashes).await.map_err(Problem::Store)
}
