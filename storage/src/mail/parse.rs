//! What is kept of a message besides its bytes: envelope, structure with offsets, preview. Read from hostile input, so
//! every count is capped and a panic of the parser costs only the metadata.

use std::panic::AssertUnwindSafe;

use mail_parser::{Address, Message, MessageParser, MimeHeaders, PartType};
use serde_json::{Value, json};

/// The most parts that are described.
const PARTS: usize = 1000;
/// The most addresses of one field that are kept.
const ADDRESSES: usize = 200;
/// The longest text of a field that is kept, in bytes.
const FIELD: usize = 2000;
/// The length of the preview, in characters (RFC 8970 §3.2 allows 256).
const PREVIEW: usize = 200;

/// The columns that come from parsing, each ready to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) envelope: String,
    pub(crate) structure: String,
    pub(crate) preview: String,
}

/// Parses a whole message. A message that cannot be parsed is kept all the same: it has empty metadata.
pub(crate) fn parse(message: &[u8]) -> Parsed {
    let parsed = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let message = MessageParser::default().parse(message)?;
        Some(Parsed {
            envelope: envelope(&message).to_string(),
            structure: structure(&message).to_string(),
            preview: preview(&message),
        })
    }));
    let empty = || Parsed { envelope: "{}".into(), structure: "[]".into(), preview: String::new() };
    parsed.ok().flatten().unwrap_or_else(empty)
}

fn envelope(message: &Message<'_>) -> Value {
    json!({
        "date": message.date().map(mail_parser::DateTime::to_rfc3339),
        "subject": message.subject().map(|subject| storable(subject, FIELD)),
        "from": addresses(message.from()),
        "sender": addresses(message.sender()),
        "reply_to": addresses(message.reply_to()),
        "to": addresses(message.to()),
        "cc": addresses(message.cc()),
        "bcc": addresses(message.bcc()),
        "in_reply_to": message.in_reply_to().as_text().map(|id| storable(id, FIELD)),
        "message_id": message.message_id().map(|id| storable(id, FIELD)),
    })
}

fn addresses(field: Option<&Address<'_>>) -> Vec<Value> {
    let all = field.into_iter().flat_map(Address::iter).take(ADDRESSES);
    all.map(|address| {
        json!([
            address.name.as_deref().map(|name| storable(name, FIELD)),
            address.address.as_deref().map(|address| storable(address, FIELD)),
        ])
    })
    .collect()
}

/// One entry for each part, with the offsets of its header, body and end in the message, and the numbers of its
/// children.
fn structure(message: &Message<'_>) -> Value {
    let part = |part: &mail_parser::MessagePart<'_>| {
        let kind = part.content_type();
        let children = if let PartType::Multipart(children) = &part.body {
            children.iter().take(PARTS).map(|&child| json!(child)).collect()
        } else {
            Vec::new()
        };
        json!({
            "type": kind.map(|kind| storable(&kind.c_type, FIELD)),
            "subtype": kind.and_then(|kind| kind.c_subtype.as_deref()).map(|subtype| storable(subtype, FIELD)),
            "name": part.attachment_name().map(|name| storable(name, FIELD)),
            "header": part.offset_header,
            "body": part.offset_body,
            "end": part.offset_end,
            "parts": Value::Array(children),
        })
    };
    Value::Array(message.parts.iter().take(PARTS).map(part).collect())
}

fn preview(message: &Message<'_>) -> String {
    let text = message.body_preview(PREVIEW * 4).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    storable(&words.join(" "), usize::MAX).chars().take(PREVIEW).collect()
}

/// Cuts at a character's boundary, and drops NUL, which not every database takes.
fn storable(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_described() {
        let parsed = parse(
            b"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
              Message-ID: <1@example.org>\r\n\r\nHello  there,\r\nBob.\r\n",
        );
        let envelope: Value = serde_json::from_str(&parsed.envelope).unwrap();
        assert_eq!((&envelope["subject"], &envelope["from"][0][1]), (&json!("Grüße"), &json!("ann@example.org")));
        assert_eq!(parsed.preview, "Hello there, Bob.");
        let structure: Value = serde_json::from_str(&parsed.structure).unwrap();
        assert_eq!(structure.as_array().unwrap().len(), 1);
    }

    #[test]
    fn rubbish_and_excess_are_survived() {
        for rubbish in
            [&b""[..], b"\0\0\0", b"no header at all", b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n"]
        {
            let parsed = parse(rubbish);
            assert!(serde_json::from_str::<Value>(&parsed.envelope).is_ok());
        }
        let many = format!("To: {}\r\n\r\n", "a@b.example, ".repeat(100_000));
        assert!(parse(many.as_bytes()).envelope.len() < 20_000);
    }
}
