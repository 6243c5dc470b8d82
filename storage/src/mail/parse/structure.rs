//! The parts of a message: what each is, and where it stands.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::MessageEnvelope;
use super::header::fields;
use super::mime::{self, Parameters};
use super::words;

/// All parts of a message, the message itself first, each after its parent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Structure {
    /// The parts; there is at least one.
    pub parts: Vec<Part>,
}

/// A part of a message (RFC 2045), the names of its type, encoding, disposition and parameters in small letters. Its
/// header is `header..body`, its body `body..end`, as offsets in the message; the line break before a boundary belongs
/// to the boundary. A message within (`message/rfc822`) is the only child of the part it is the body of.
///
/// A multipart may be without children, when it holds none. What claims to be one but has no boundary, or lies too
/// deep, is `application/octet-stream`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// `text` of `text/plain`.
    #[serde(rename = "t", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `plain` of `text/plain`.
    #[serde(rename = "s", skip_serializing_if = "String::is_empty")]
    pub subtype: String,
    /// The parameters of the type, their pieces joined, extended values as they are coded (RFC 2231).
    #[serde(rename = "p", skip_serializing_if = "Vec::is_empty")]
    pub parameters: Parameters,
    /// Content-ID.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Content-Description.
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Content-Transfer-Encoding; see [`Part::encoding_or_default`].
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Where the header begins.
    #[serde(rename = "h")]
    pub header: usize,
    /// Where the body begins.
    #[serde(rename = "b")]
    pub body: usize,
    /// Where the body ends.
    #[serde(rename = "x")]
    pub end: usize,
    /// The lines of the body, of a text or a message.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub lines: Option<usize>,
    /// The numbers of the parts within, as they stand in [`Structure::parts`].
    #[serde(rename = "c", skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<usize>,
    /// Of a message within another: its envelope. The envelope of the whole message is kept on its own.
    #[serde(rename = "m", skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Box<MessageEnvelope>>,
    /// Content-MD5.
    #[serde(rename = "5", skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Content-Disposition with its parameters.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub disposition: Option<(String, Parameters)>,
    /// Content-Language.
    #[serde(rename = "g", skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Content-Location.
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl Structure {
    /// The part that a section of IMAP names (RFC 9051 §6.4.5.1), as its place in [`Structure::parts`]; the whole
    /// message for no numbers.
    pub fn find(&self, section: &[u32]) -> Option<usize> {
        // Whether it is a message, whose parts are still to be numbered, or a part.
        let (mut at, mut whole) = (0, true);
        for &number in section {
            let mut part = self.parts.get(at)?;
            if part.is_message() && !whole {
                (at, whole) = (*part.children.first()?, true);
                part = self.parts.get(at)?;
            }
            // A multipart without parts is told as one part, which is its body (its boundary may be misspelt).
            if part.is_multipart() && !part.children.is_empty() {
                at = *part.children.get((number as usize).checked_sub(1)?)?;
            } else if !whole || number != 1 {
                return None;
            }
            // A message that is no multipart has one part, which is its body.
            whole = false;
        }
        (at < self.parts.len()).then_some(at)
    }
}

impl Part {
    /// Reads the header of a part that stands at `header..body`. What has no valid type is of the `default` one.
    pub(super) fn read(bytes: &[u8], default: (&str, &str)) -> Part {
        let mut part = Part { kind: default.0.to_owned(), subtype: default.1.to_owned(), ..Part::default() };
        let mut typed = false;
        for field in fields(bytes) {
            let Some(name) = field.name.get(..8).filter(|name| name.eq_ignore_ascii_case(b"content-")) else {
                continue;
            };
            match field.name[name.len()..].to_ascii_lowercase().as_slice() {
                b"type" if !typed => {
                    typed = true;
                    if let Some((kind, subtype, parameters)) = mime::content_type(field.value) {
                        (part.kind, part.subtype, part.parameters) = (kind, subtype, parameters);
                    }
                }
                b"id" => mime::first_text(&mut part.id, field.value),
                b"description" => mime::first_text(&mut part.description, field.value),
                b"md5" => mime::first_text(&mut part.md5, field.value),
                b"location" => mime::first_text(&mut part.location, field.value),
                b"transfer-encoding" if part.encoding.is_none() => part.encoding = mime::token(field.value),
                b"disposition" if part.disposition.is_none() => part.disposition = mime::disposition(field.value),
                b"language" if part.languages.is_empty() => part.languages = mime::languages(field.value),
                _ => {}
            }
        }
        part
    }

    /// Where the header is.
    pub fn header(&self) -> Range<usize> {
        self.header..self.body
    }

    /// Where the body is.
    pub fn body(&self) -> Range<usize> {
        self.body..self.end
    }

    /// The bytes of the body, as it is encoded.
    pub fn octets(&self) -> usize {
        self.end - self.body
    }

    /// Whether it is of that type, which is in small letters.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && self.subtype == subtype
    }

    /// Whether its children are parts of its own.
    pub fn is_multipart(&self) -> bool {
        self.kind == "multipart"
    }

    /// Whether its child is a message.
    pub fn is_message(&self) -> bool {
        self.envelope.is_some()
    }

    /// Its content transfer encoding; `7bit` when it names none (RFC 2045 §6.1).
    pub fn encoding_or_default(&self) -> &str {
        self.encoding.as_deref().unwrap_or("7bit")
    }

    /// The character set of a text, in small letters; `us-ascii` when it names none.
    pub fn charset(&self) -> String {
        mime::parameter(&self.parameters, "charset").map_or("us-ascii".into(), |charset| charset.to_ascii_lowercase())
    }

    /// The name that it is to be saved under, decoded.
    pub fn file_name(&self) -> Option<String> {
        let disposed = self.disposition.as_ref().and_then(|(_, parameters)| mime::parameter(parameters, "filename"));
        let name = disposed.or_else(|| mime::parameter(&self.parameters, "name"))?;
        // RFC 2231 forbids encoded words here; mail programs write them.
        Some(words::decoded(&name))
    }

    /// Whether it asks to be saved and not shown.
    pub fn is_attachment(&self) -> bool {
        self.disposition.as_ref().is_some_and(|(kind, _)| kind == "attachment")
    }
}
