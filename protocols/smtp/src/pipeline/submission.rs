//! What a user sends: completed, as programs leave things out, and signed for the domain it is from (RFC 6409 §8).

use std::borrow::Cow;

use auth::Principal;
use bytes::Bytes;
use storage::message::MessageEnvelope;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{Arrival, Ready, incoming};
use crate::reply::Problem;
use crate::trust::fields::{Field, fields, lines};

/// Makes a user's message ready to be delivered.
pub(super) async fn prepare(arrival: &Arrival<'_>, login: &Principal) -> Result<Ready, Problem> {
    own_sender(arrival, login).await?;
    incoming::virus(arrival).await?;
    let header = without_bcc(&arrival.message.header);
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
    if fields(header).filter(|field| field.is("from")).count() > 1 || named > authors.len() {
        return Err(Problem::Authors);
    }
    for author in authors {
        let (Some(mailbox), Some(host)) = (author.mailbox, author.host) else { continue };
        let address = format!("{mailbox}@{host}");
        match auth.may_send_as(arrival.peer, login, &address).await {
            Ok(true) => {}
            Ok(false) => return Err(Problem::Author(address)),
            Err(error) => return Err(Problem::Store(error)),
        }
    }
    Ok(())
}

/// How many addresses in angle brackets a field has, in whatever order a reader may take them.
fn angles(value: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped, mut depth) = (0, false, false, 0_u32);
    for byte in value {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b'<' if !quoted && depth == 0 => count += 1,
            _ => {}
        }
    }
    count
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
