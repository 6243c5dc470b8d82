//! What is kept of a message besides its bytes, read once, when it arrives: header, envelope, parts with their offsets,
//! preview. It is hostile input: every count is capped, the time is linear, and nothing recurses.

mod address;
mod date;
mod envelope;
mod header;
mod mime;
mod scan;
mod structure;
mod subject;
mod text;
mod transfer;
mod words;

pub use address::{Address, Authors};
pub use envelope::{MessageEnvelope, MessageIds, sent_date, sent_day};
pub use header::field_values;
pub use structure::{Part, Structure};
pub use subject::{BaseSubject, base_subject};
pub use text::{Text, address_text, text};
pub use transfer::{TransferDecoder, decode_transfer};
pub use words::decoded;

pub(crate) use text::parts_of_text;

/// The most addresses of one field that are kept.
const ADDRESSES: usize = 200;
/// The longest text of a field that is kept, in bytes.
const FIELD: usize = 2000;
/// The longest header that is kept beside the message, in bytes.
const HEADER: usize = 32 << 10;

/// What is known of a message's content, each ready to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The header as it is, with the empty line behind it; `None` when it is very long.
    pub header: Option<Vec<u8>>,
    /// [`MessageEnvelope`] as JSON.
    pub envelope: String,
    /// [`Structure`] as JSON.
    pub structure: String,
    /// The beginning of its text, on one line (RFC 8970).
    pub preview: String,
    /// By what its thread is known.
    pub ids: MessageIds,
}

impl Parsed {
    /// About how many bytes of memory it takes.
    pub(crate) fn held(&self) -> usize {
        let header = self.header.as_ref().map_or(0, Vec::len);
        header + self.envelope.len() + self.structure.len() + self.preview.len()
    }
}

/// Parses a whole message. Anything is a message: what cannot be read is its text.
pub fn parse(message: &[u8]) -> Parsed {
    let structure = Structure::read(message);
    let header = structure.parts.first().map_or(message, |root| &message[root.header()]);
    Parsed {
        header: (header.len() <= HEADER).then(|| header.to_vec()),
        envelope: json(&MessageEnvelope::read(header)),
        structure: json(&structure),
        preview: text::preview(message, &structure),
        ids: MessageIds::read(header),
    }
}

impl Structure {
    /// Finds the parts of a message.
    pub fn read(message: &[u8]) -> Structure {
        scan::structure(message)
    }
}

fn json(value: &impl serde::Serialize) -> String {
    // These types have string keys and no maps, so that they always can be written.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
