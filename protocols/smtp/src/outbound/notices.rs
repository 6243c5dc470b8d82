//! Notifications on their way: each is delivered in the transaction that ends what it tells of.

use auth::{Delivery, Envelope, Peer, Recipient, TraceId};
use bytes::Bytes;
use storage::{Body, Claim, Error, Fate, Manner, Notice, Timestamp};

use super::notice::{self, About, Action, Notification, Told};
use super::{Outbound, letter};
use crate::Smtp;
use crate::spool::Spool;

/// The most of a header that comes back.
const HEADER: u64 = 64 << 10;

/// The notifications about recipients, one for each message and sender. One that cannot be made is told of in the log:
/// what it would tell of must end all the same.
pub(super) async fn made(outbound: &Outbound, action: Action, told: Vec<(&Claim, Told)>) -> Vec<Delivery> {
    let mut notices = Vec::new();
    let same = |one: &(&Claim, Told), next: &(&Claim, Told)| {
        one.0.message.id == next.0.message.id && one.0.from == next.0.from
    };
    for about in told.chunk_by(same) {
        let claim = about[0].0;
        let told: Vec<Told> = about.iter().map(|(_, told)| told.clone()).collect();
        match make(outbound, action, claim, &told).await {
            Ok(notice) => notices.push(notice),
            Err(why) => {
                tracing::warn!(to = claim.from, trace = %claim.message.trace, why, "a notification could not be made");
            }
        }
    }
    notices
}

async fn make(outbound: &Outbound, action: Action, claim: &Claim, told: &[Told]) -> Result<Delivery, String> {
    let said = |error: Error| error.to_string();
    let message = &claim.message;
    let content = outbound.queue.content(message).await.map_err(said)?;
    let from = letter::start(&content).await;
    let header = content.read(from..content.len().min(from + HEADER)).await.map_err(said)?;
    let end = memchr::memmem::find(&header, b"\r\n\r\n").map_or(header.len(), |at| at + 4);
    let whole = match notice::returns_whole(action, &message.manner, message.size) {
        true => Some(content.read(from..content.len()).await.map_err(said)?),
        false => None,
    };
    let about = About { manner: &message.manner, arrived: message.arrived };
    prepared(&outbound.smtp, action, &claim.from, &about, told, &header[..end], whole.as_deref()).await
}

/// A notification to a sender, ready to be committed with what it tells of.
pub(crate) async fn prepared(
    smtp: &Smtp,
    action: Action,
    to: &str,
    about: &About<'_>,
    recipients: &[Told],
    header: &[u8],
    whole: Option<&[u8]>,
) -> Result<Delivery, String> {
    let said = |error: Error| error.to_string();
    let services = &smtp.services;
    let (trace, now) = (TraceId::new(), Timestamp::now());
    let own = &*services.hostname;
    let notification = Notification { action, own, to, id: trace.as_str(), now, about, recipients, header, whole };
    let content = Bytes::from(notification.content());
    let peer = Peer { trace, ..Peer::command_line() };
    let recipient: Recipient = services.auth.notified(to).await.map_err(|refused| refused.to_string())?;
    let manner = Manner {
        utf8: about.manner.utf8,
        body: if content.is_ascii() { Body::SevenBit } else { Body::EightBit },
        require_tls: about.manner.require_tls,
        ..Manner::default()
    };
    let mut spool = Spool::new(services.auth.clone());
    spool.write(content.clone()).await.map_err(|failed| format!("{failed:?}"))?;
    let spooled = spool.finish().await.map_err(said)?;
    let signed = smtp.keys.sign(&services.auth, own, &spooled.header, &spooled.hashes).await.map_err(said)?;
    let envelope = Envelope {
        trace,
        from: String::new(),
        to: vec![(recipient, Notice { failure: false, delay: false, ..Notice::default() })],
        manner,
        terms: smtp.config.outbound.terms(true),
    };
    let mut delivery = services.auth.delivery(&peer, None, envelope);
    delivery.write(Bytes::from(["Return-Path: <>\r\n", &signed].concat())).await.map_err(said)?;
    delivery.write(content).await.map_err(said)?;
    Ok(delivery)
}

/// Ends claims; whether nobody else has one that is told of. A notification that has no room must not keep what it
/// tells of in the queue for ever.
pub(super) async fn settle(outbound: &Outbound, fates: Vec<(Claim, Fate)>, notices: Vec<Delivery>) -> bool {
    let actor = storage::Actor::command_line();
    let ended = match outbound.queue.settle(actor.clone(), fates.clone(), notices).await {
        Err(error @ (Error::OverQuota | Error::NotFound)) => {
            tracing::warn!(%error, "a notification could not be delivered");
            outbound.queue.settle(actor, fates, Vec::new()).await
        }
        Err(Error::Busy) => return false,
        other => other,
    };
    if let Err(error) = ended {
        // Their claims run out, and then they are tried again.
        tracing::error!(%error, detail = error.detail(), "what was sent could not be written down");
    }
    true
}
