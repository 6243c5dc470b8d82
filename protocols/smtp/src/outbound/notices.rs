//! Notifications on their way: each is delivered in the transaction that ends what it tells of.

use auth::{Delivery, Envelope, Peer, Recipient, Refused, TraceId};
use bytes::Bytes;
use storage::{Body, Claim, Error, Fate, Manner, Notice, Queued, Timestamp};

use super::notice::{self, About, Action, Notification, Told};
use super::{Outbound, letter};
use crate::Smtp;
use crate::spool::{Failed, Spool};

/// The most of a header that comes back.
const HEADER: usize = 64 << 10;

/// The notifications about recipients, one for each message and sender. One that can never be made is told of in the
/// log: what it would tell of must end all the same.
///
/// # Errors
/// That of the store, when one cannot be made now.
pub(super) async fn made(
    outbound: &Outbound,
    action: Action,
    told: Vec<(&Claim, Told)>,
) -> Result<Vec<Delivery>, Error> {
    let mut notices = Vec::new();
    let same = |one: &(&Claim, Told), next: &(&Claim, Told)| {
        one.0.message.id == next.0.message.id && one.0.from == next.0.from
    };
    for about in told.chunk_by(same) {
        let claim = about[0].0;
        let told: Vec<Told> = about.iter().map(|(_, told)| told.clone()).collect();
        match make(outbound, action, claim, &told).await {
            Ok(notice) => notices.push(notice),
            Err(error) if passes(&error) => return Err(error),
            Err(error) => {
                let (to, trace, detail) = (&claim.from, claim.message.trace, error.detail());
                tracing::warn!(to, %trace, %error, detail, "a notification cannot be made");
            }
        }
    }
    Ok(notices)
}

async fn make(outbound: &Outbound, action: Action, claim: &Claim, told: &[Told]) -> Result<Delivery, Error> {
    let message = &claim.message;
    let (header, whole) = match returned(outbound, action, message).await {
        Ok(returned) => returned,
        Err(error) if passes(&error) => return Err(error),
        // Who sent it hears of it without what was lost.
        Err(error) => {
            let (trace, detail) = (message.trace, error.detail());
            tracing::error!(%trace, %error, detail, "a message cannot be read, of which its sender is told");
            (Bytes::new(), None)
        }
    };
    let about = About { manner: &message.manner, arrived: message.arrived };
    prepared(&outbound.smtp, action, &claim.from, &about, told, &header, whole.as_deref()).await
}

/// What comes back of a message: its header, and all of it where it is to.
async fn returned(outbound: &Outbound, action: Action, message: &Queued) -> Result<(Bytes, Option<Bytes>), Error> {
    let content = outbound.queue.content(message).await?;
    let from = letter::start(&content).await;
    let mut header = content.read(from..content.len().min(from + HEADER as u64)).await?;
    let end = memchr::memmem::find(&header, b"\r\n\r\n").map_or(header.len(), |at| at + 4);
    header.truncate(end);
    let whole = match notice::returns_whole(action, &message.manner, message.size) {
        true => Some(content.read(from..content.len()).await?),
        false => None,
    };
    Ok((header, whole))
}

/// Whether the store may do later what it does not do now.
fn passes(error: &Error) -> bool {
    matches!(error, Error::Full | Error::Unavailable(_) | Error::Busy)
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
) -> Result<Delivery, Error> {
    let services = &smtp.services;
    let (trace, now) = (TraceId::new(), Timestamp::now());
    let (own, header) = (&*services.hostname, &header[..header.len().min(HEADER)]);
    let notification = Notification { action, own, to, id: trace.as_str(), now, about, recipients, header, whole };
    let content = Bytes::from(notification.content());
    let peer = Peer { trace, ..Peer::daemon() };
    let recipient: Recipient = services.auth.notified(to).await.map_err(|refused| match refused {
        Refused::Unavailable(error) => error,
        refused => Error::invalid(format!("<{to}>: {refused}")),
    })?;
    let manner = Manner {
        utf8: about.manner.utf8,
        body: if content.is_ascii() { Body::SevenBit } else { Body::EightBit },
        require_tls: about.manner.require_tls,
        ..Manner::default()
    };
    let mut spool = Spool::new(services.auth.clone());
    spool.write(content.clone()).await.map_err(|failed| match failed {
        Failed::Header => Error::invalid("the notification's header is too long"),
        Failed::Store(error) => error,
    })?;
    let spooled = spool.finish().await?;
    let signed = smtp.keys.sign(&services.auth, own, &spooled.header, &spooled.hashes).await?;
    let envelope = Envelope {
        trace,
        from: String::new(),
        to: vec![(recipient, Notice { failure: false, delay: false, ..Notice::default() })],
        manner,
        terms: smtp.config.outbound.terms(true),
    };
    let mut delivery = services.auth.delivery(&peer, None, envelope);
    delivery.write(Bytes::from(["Return-Path: <>\r\n", &signed].concat())).await?;
    delivery.write(content).await?;
    // Where the sender is several, who has room hears of it.
    let full = delivery.without_room().await?;
    if !full.is_empty() {
        delivery.leave_out(&full).await;
    }
    Ok(delivery)
}

/// How fates were written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// As they are, or somebody else has what they are of.
    Done,
    /// Not together: each must go by itself.
    Apart,
    /// The database is away: nobody else changes anything meanwhile.
    Away,
    /// Not, for another reason, as that there is no room.
    Faulty,
}

/// Ends claims. A notification that has no room must not keep what it tells of in the queue for ever, nor the other
/// notifications from being delivered.
pub(super) async fn settle(outbound: &Outbound, fates: Vec<(Claim, Fate)>, notices: Vec<Delivery>) -> Settled {
    let actor = storage::Actor::daemon();
    let alone = fates.len() == 1;
    let ended = match outbound.queue.settle(actor.clone(), fates.clone(), notices).await {
        Err(Error::OverQuota | Error::NotFound | Error::Busy) if !alone => return Settled::Apart,
        // Somebody else has it, and tells of it.
        Err(Error::Busy) => outbound.queue.settle(actor, fates, Vec::new()).await,
        Err(error @ (Error::OverQuota | Error::NotFound)) => {
            tracing::warn!(%error, "a notification could not be delivered");
            outbound.queue.settle(actor, fates, Vec::new()).await
        }
        other => other,
    };
    let Err(error) = ended else { return Settled::Done };
    tracing::warn!(%error, detail = error.detail(), "what became of messages cannot be written down now");
    match error {
        // It is so for all of them alike; any other fault may be one's own.
        Error::Unavailable(_) => Settled::Away,
        _ if alone => Settled::Faulty,
        _ => Settled::Apart,
    }
}
