//! The text of a message: what SEARCH looks at, and the preview.

use std::ops::Range;
use std::panic::catch_unwind;

use mail_parser::decoders::html::html_to_text;

use super::address::Address;
use super::envelope::MessageEnvelope;
use super::header::{cut, fields, unfold};
use super::structure::{Part, Structure};
use super::transfer::decode_transfer;
use super::words::{decoded, in_charset};

/// The most text of a message that is looked at, in bytes: of its headers and of its bodies each.
const TEXT: usize = 2 << 20;
/// The most that is read of one body, as it is encoded.
const BODY: usize = 4 * TEXT;
/// The most that is read of one field, in bytes.
const VALUE: usize = 128 << 10;
/// How much of a body the preview is made of, in bytes.
const PREVIEW_SOURCE: usize = 16 << 10;
/// The length of the preview, in characters (RFC 8970 §3.2 allows 256).
const PREVIEW: usize = 200;

/// What a search looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// The header of the message, a line for each field, its encoded words decoded; then its subject and addresses as
    /// its envelope has them, without the comments, quotes and backslashes they may be written with.
    pub header: String,
    /// Whether there is more of the header than that.
    pub header_is_cut: bool,
    /// The texts of all parts that are text, and the headers of all parts and of the messages within.
    pub body: String,
}

/// The text of a message, for its structure: decoded, and of HTML what can be seen. Of other parts than texts there is
/// their header with the name of the file.
pub fn text(message: &[u8], structure: &Structure) -> Text {
    let mut text = Text::default();
    for (number, part) in structure.parts.iter().enumerate() {
        let header = message.get(part.header()).unwrap_or_default();
        if number == 0 {
            let whole = append_header(&mut text.header, header) && append_envelope(&mut text.header, header);
            text.header_is_cut = !whole;
        } else {
            append_header(&mut text.body, header);
            if let Some(name) = part.file_name() {
                append(&mut text.body, &name);
            }
        }
        if part.kind == "text" && text.body.len() < TEXT {
            append(&mut text.body, &body_text(message, part, BODY));
        }
    }
    text
}

/// What of a message [`text()`] looks at.
pub(crate) fn parts_of_text(structure: &Structure) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = structure.parts.iter().map(Part::header).collect();
    let texts = structure.parts.iter().filter(|part| part.kind == "text");
    ranges.extend(texts.map(|part| part.body..part.end.min(part.body.saturating_add(BODY))));
    ranges
}

/// The beginning of what a reader sees: of the first plain text or, without one, of the first HTML.
pub(super) fn preview(message: &[u8], structure: &Structure) -> String {
    let shown = |subtype: &str| {
        structure.parts.iter().find(|part| part.is("text", subtype) && !part.is_attachment() && part.octets() > 0)
    };
    let Some(part) = shown("plain").or_else(|| shown("html")) else { return String::new() };
    let text = body_text(message, part, PREVIEW_SOURCE);
    let mut preview = String::new();
    for word in text.split_whitespace() {
        if !preview.is_empty() {
            preview.push(' ');
        }
        preview.extend(word.chars().filter(|char| !char.is_control()).take(PREVIEW));
        if preview.len() > PREVIEW * 4 {
            break;
        }
    }
    preview.chars().take(PREVIEW).collect()
}

/// The text of a part, decoded from at most so many bytes.
fn body_text(message: &[u8], part: &Part, most: usize) -> String {
    let body = message.get(part.body()).unwrap_or_default();
    let body = &body[..body.len().min(most)];
    let Some(body) = decode_transfer(part.encoding_or_default(), body) else { return String::new() };
    // The decoders of character sets and of HTML are not ours: a panic of theirs costs the text of this part.
    let read = catch_unwind(|| {
        let text = in_charset(&part.charset(), &body);
        if part.subtype == "html" { html_to_text(&text) } else { text }
    });
    read.unwrap_or_default()
}

/// An address as a reader sees it, decoded.
pub fn address_text(address: &Address) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = address.name.as_deref().map(decoded).unwrap_or_default();
    format!("{name} <{}@{}>", part(&address.mailbox), part(&address.host))
}

/// Adds a header, a line for each field; whether all of it had room.
fn append_header(text: &mut String, header: &[u8]) -> bool {
    let mut whole = true;
    for field in fields(header) {
        if text.len() >= TEXT {
            return false;
        }
        let name = String::from_utf8_lossy(field.name);
        whole &= append(text, &format!("{name}: {}", decoded(&unfold(field.value, VALUE))));
        whole &= field.value.len() <= VALUE;
    }
    whole
}

/// Adds what a search for a subject or an address looks at; whether all of it had room.
fn append_envelope(text: &mut String, header: &[u8]) -> bool {
    let envelope = MessageEnvelope::read(header);
    let MessageEnvelope { from, to, cc, bcc, subject, .. } = &envelope;
    let addresses = [from, to, cc, bcc].into_iter().flatten().map(address_text);
    subject.iter().map(|subject| decoded(subject)).chain(addresses).all(|line| append(text, &line))
}

/// Adds a paragraph, as long as there is room; whether there was.
fn append(text: &mut String, more: &str) -> bool {
    text.push_str(more);
    text.push('\n');
    let whole = text.len() <= TEXT;
    cut(text, TEXT);
    whole
}
