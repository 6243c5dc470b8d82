//! What a header tells of a message: the envelope of IMAP, and by what its thread is known.

use serde::{Deserialize, Serialize};

use super::address::{self, Address};
use super::header::{fields, unfold};
use super::{FIELD, date};

/// The most that is read of a field of addresses, in bytes.
const ADDRESS_FIELD: usize = 128 << 10;
/// The most that is read of a field of message ids, in bytes: of References the newest stand at the end.
const IDS_FIELD: usize = 16 << 10;
/// The most message ids that are kept.
const REFERENCES: usize = 20;

/// The envelope of a message (RFC 9051 §7.5.2), its texts as they stand in the header: unfolded, encoded words not
/// decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageEnvelope {
    /// The Date field.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The Subject field.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The From field.
    #[serde(rename = "f", skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Address>,
    /// The Sender field; see [`MessageEnvelope::sender_or_from`].
    #[serde(rename = "se", skip_serializing_if = "Vec::is_empty")]
    pub sender: Vec<Address>,
    /// The Reply-To field; see [`MessageEnvelope::reply_to_or_from`].
    #[serde(rename = "r", skip_serializing_if = "Vec::is_empty")]
    pub reply_to: Vec<Address>,
    /// The To field.
    #[serde(rename = "t", skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Address>,
    /// The Cc field.
    #[serde(rename = "c", skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<Address>,
    /// The Bcc field.
    #[serde(rename = "b", skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<Address>,
    /// The In-Reply-To field.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// The Message-ID field, with its angle brackets.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// By what a thread is known (RFC 5256 §3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageIds {
    /// The message's own id, without angle brackets.
    pub message_id: Option<String>,
    /// The ids that References names, the first and the last of them when there are many; without any there the first
    /// that In-Reply-To names.
    pub references: Vec<String>,
}

impl MessageEnvelope {
    /// Reads the header of a message.
    pub fn read(header: &[u8]) -> MessageEnvelope {
        let mut envelope = MessageEnvelope::default();
        for field in fields(header) {
            let name = field.name.to_ascii_lowercase();
            // Of several fields of text the first counts. Addresses of all are shown: otherwise a field that was
            // slipped in could hide the one that was checked.
            let text = match name.as_slice() {
                b"date" => &mut envelope.date,
                b"subject" => &mut envelope.subject,
                b"in-reply-to" => &mut envelope.in_reply_to,
                b"message-id" => &mut envelope.message_id,
                _ => {
                    if let Some(list) = envelope.list(&name)
                        && list.len() < super::ADDRESSES
                    {
                        address::read(&unfold(field.value, ADDRESS_FIELD), list);
                    }
                    continue;
                }
            };
            text.get_or_insert_with(|| unfold(field.value, FIELD));
        }
        envelope
    }

    fn list(&mut self, name: &[u8]) -> Option<&mut Vec<Address>> {
        Some(match name {
            b"from" => &mut self.from,
            b"sender" => &mut self.sender,
            b"reply-to" => &mut self.reply_to,
            b"to" => &mut self.to,
            b"cc" => &mut self.cc,
            b"bcc" => &mut self.bcc,
            _ => return None,
        })
    }

    /// Who sent it: the Sender field or, without one, From, as RFC 9051 §7.5.2 wants it.
    pub fn sender_or_from(&self) -> &[Address] {
        if self.sender.is_empty() { &self.from } else { &self.sender }
    }

    /// Whom to answer: the Reply-To field or, without one, From.
    pub fn reply_to_or_from(&self) -> &[Address] {
        if self.reply_to.is_empty() { &self.from } else { &self.reply_to }
    }
}

/// When a message was sent, in milliseconds since the Unix epoch; `None` when its date cannot be read.
pub fn sent_date(envelope: &MessageEnvelope) -> Option<i64> {
    envelope.date.as_deref().and_then(date::moment)
}

/// The day a message was sent on, as its date is written, in days since the Unix epoch (RFC 9051 §6.4.4, SENTON).
pub fn sent_day(envelope: &MessageEnvelope) -> Option<i64> {
    envelope.date.as_deref().and_then(date::day)
}

impl MessageIds {
    /// Reads the header of a message.
    pub fn read(header: &[u8]) -> MessageIds {
        let (mut own, mut references, mut replied) = (None, Vec::new(), Vec::new());
        for field in fields(header) {
            if field.is("Message-ID") && own.is_none() {
                own = ids(field.value).pop();
            } else if field.is("References") && references.is_empty() {
                references = first_and_last(field.value);
            } else if field.is("In-Reply-To") && replied.is_empty() {
                replied = ids(field.value);
                replied.truncate(1);
            }
        }
        MessageIds { message_id: own, references: if references.is_empty() { replied } else { references } }
    }
}

/// The message ids of a field, of many the first, which begins the thread, and the last.
fn first_and_last(value: &[u8]) -> Vec<String> {
    let mut last = ids(&value[value.len().saturating_sub(IDS_FIELD)..]);
    last.drain(..last.len().saturating_sub(REFERENCES - 1));
    let first = ids(&value[..value.len().min(IDS_FIELD)]).into_iter().next();
    if let Some(first) = first.filter(|first| last.first() != Some(first)) {
        last.insert(0, first);
    }
    last
}

/// The message ids of a field. What stands outside of angle brackets is no id.
fn ids(value: &[u8]) -> Vec<String> {
    let text = unfold(value, IDS_FIELD);
    let mut ids: Vec<String> = Vec::new();
    let mut rest = text.as_str();
    while let Some((inside, behind)) = rest.split_once('<').and_then(|(_, inside)| inside.split_once('>')) {
        // White space within is from folding.
        let id: String = inside.chars().filter(|char| !char.is_whitespace()).take(FIELD).collect();
        if !id.is_empty() {
            ids.push(id);
        }
        rest = behind;
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_raw() {
        let header = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n and more\r\nSubject: second\r\nFrom: Ann <ann@x>\r\n\
                       from: eve@x\r\nMessage-Id: <1@x>\r\nDate: Thu, 01 Jan 1970 00:00:01 +0000\r\n\r\n\
                       To: nobody@x\r\n";
        let envelope = MessageEnvelope::read(header);
        assert_eq!(envelope.subject.as_deref(), Some("=?utf-8?q?Gr=C3=BC=C3=9Fe?= and more"));
        assert_eq!((envelope.from.len(), envelope.to.len()), (2, 0), "all of From, and nothing of the body");
        assert_eq!(envelope.sender_or_from(), envelope.from);
        assert_eq!((envelope.message_id.as_deref(), sent_date(&envelope)), (Some("<1@x>"), Some(1000)));
        let json = serde_json::to_string(&envelope).unwrap();
        assert_eq!(serde_json::from_str::<MessageEnvelope>(&json).unwrap(), envelope);
    }

    #[test]
    fn ids_are_collected() {
        let ids = |header: &str| MessageIds::read(header.as_bytes());
        let found = ids("Message-ID: junk <a@x>\r\nReferences: <1@x>\r\n <2\r\n @x>\r\nIn-Reply-To: <3@x>\r\n\r\n");
        assert_eq!(
            (found.message_id.as_deref(), found.references),
            (Some("a@x"), ["1@x", "2@x"].map(String::from).to_vec())
        );
        assert_eq!(ids("References: none\r\nIn-Reply-To: <2@x> <3@x>\r\n\r\n").references, ["2@x"]);
        let many = |count: usize| (0..count).map(|id| format!(" <{id}@x>\r\n")).collect::<String>();
        for (count, references, second) in
            [(19, many(19), "1@x"), (20, many(1000), "981@x"), (20, many(9999), "9980@x")]
        {
            let found = ids(&format!("References:{references}\r\n")).references;
            assert_eq!((found.len(), found[0].as_str(), found[1].as_str()), (count, "0@x", second));
        }
        assert_eq!(
            ids("Message-ID: none\r\nReferences: <<<>>><\r\n\r\n"),
            MessageIds { message_id: None, references: vec!["<<".into()] }
        );
    }
}
