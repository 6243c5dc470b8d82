//! What a list of messages shows of each to people: its subject and who it is from, out of the stored envelope.

use super::parse::{MessageEnvelope, decoded};

/// The subject, decoded.
pub(crate) fn subject(envelope: &str) -> Option<String> {
    let envelope: MessageEnvelope = serde_json::from_str(envelope).ok()?;
    envelope.subject.as_deref().map(decoded)
}

/// The first address it is from.
pub(crate) fn from(envelope: &str) -> Option<String> {
    let envelope: MessageEnvelope = serde_json::from_str(envelope).ok()?;
    let first = envelope.from.into_iter().next()?;
    Some(format!("{}@{}", first.mailbox?, first.host?))
}
