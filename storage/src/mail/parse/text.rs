//! The text of a message: what SEARCH looks at, and the preview.

use std::ops::Range;
use std::panic::catch_unwind;

use mail_parser::decoders::html::html_to_text;

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
    /// The header of the message, a line for each field, its encoded words decoded.
    pub header: String,
    /// The texts of all parts that are text, and the headers of all parts and of the messages within.
    pub body: String,
}

/// The text of a message, for its structure: decoded, and of HTML what can be seen. Of other parts than texts there is
/// their header with the name of the file.
pub fn text(message: &[u8], structure: &Structure) -> Text {
    let mut text = Text::default();
    for (number, part) in structure.parts.iter().enumerate() {
        let header = message.get(part.header()).unwrap_or_default();
        append_header(if number == 0 { &mut text.header } else { &mut text.body }, header);
        if number > 0
            && let Some(name) = part.file_name()
        {
            append(&mut text.body, &name);
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

fn append_header(text: &mut String, header: &[u8]) {
    for field in fields(header) {
        if text.len() >= TEXT {
            return;
        }
        let name = String::from_utf8_lossy(field.name);
        append(text, &format!("{name}: {}", decoded(&unfold(field.value, VALUE))));
    }
}

/// Adds a paragraph, as long as there is room.
fn append(text: &mut String, more: &str) {
    text.push_str(more);
    text.push('\n');
    cut(text, TEXT);
}
