//! Notifications on their way: each is delivered in the transaction that ends what it tells of.

use auth::{Delivery, Envelope, Peer, Recipient, TraceId};
use bytes::Bytes;
use storage::{Claim, Error, Fate, Manner, Notice, Timestamp};

use super::notice::{self, Action, Notification, Told};
use super::{Outbound, courier};

/// The most of a header that comes back.
const HEADER: u64 = 64 << 10;

/// The notifications about recipients, one for each message. One that cannot be made is told of in the log: what it
/// would tell of must end all the same.
pub(super) async fn made(outbound: &Outbound, action: Action, told: Vec<Told<'_>>) -> Vec<Delivery> {
    let mut notices = Vec::new();
    for about in told.chunk_by(|one, next| one.claim.message.id == next.claim.message.id) {
        match make(outbound, action, about).await {
            Ok(notice) => notices.push(notice),
            Err(why) => {
                let message = &about[0].claim.message;
                tracing::warn!(to = message.from, trace = %message.trace, why, "a notification could not be made");
            }
        }
    }
    notices
}

async fn make(outbound: &Outbound, action: Action, about: &[Told<'_>]) -> Result<Delivery, String> {
    let said = |error: Error| error.to_string();
    let message = &about[0].claim.message;
    let services = &outbound.smtp.services;
    let content = outbound.queue.content(message).await.map_err(said)?;
    let from = courier::start(&content).await;
    let header = content.read(from..content.len().min(from + HEADER)).await.map_err(said)?;
    let end = memchr::memmem::find(&header, b"\r\n\r\n").map_or(header.len(), |at| at + 4);
    let whole = match notice::returns_whole(action, about[0].claim) {
        true => Some(content.read(from..content.len()).await.map_err(said)?),
        false => None,
    };
    let (trace, now) = (TraceId::new(), Timestamp::now());
    let notification = Notification {
        action,
        own: &services.hostname,
        to: &message.from,
        id: trace.as_str(),
        now,
        recipients: about,
        header: &header[..end],
        whole: whole.as_deref(),
    };
    let peer = Peer { trace, ..Peer::command_line() };
    let to: Recipient = services.auth.notified(&message.from).await.map_err(|refused| refused.to_string())?;
    let manner = Manner { utf8: message.manner.utf8, require_tls: message.manner.require_tls, ..Manner::default() };
    let envelope = Envelope {
        trace,
        from: String::new(),
        to: vec![(to, Notice { failure: false, delay: false, ..Notice::default() })],
        manner,
        terms: outbound.terms(true),
    };
    let mut delivery = services.auth.delivery(&peer, None, envelope);
    delivery.write(Bytes::from_static(b"Return-Path: <>\r\n")).await.map_err(said)?;
    delivery.write(notification.content().into()).await.map_err(said)?;
    Ok(delivery)
}

/// Ends claims. A notification that has no room must not keep what it tells of in the queue for ever.
pub(super) async fn settle(outbound: &Outbound, fates: Vec<(Claim, Fate)>, notices: Vec<Delivery>) {
    let actor = storage::Actor::command_line();
    let ended = match outbound.queue.settle(actor.clone(), fates.clone(), notices).await {
        Err(error @ (Error::OverQuota | Error::NotFound)) => {
            tracing::warn!(%error, "a notification could not be delivered");
            outbound.queue.settle(actor, fates, Vec::new()).await
        }
        other => other,
    };
    if let Err(error) = ended {
        // Their claims run out, and then they are tried again.
        tracing::error!(%error, detail = error.detail(), "what was sent could not be written down");
    }
}
