//! ENVELOPE and BODYSTRUCTURE (RFC 9051 §7.5.2).

use storage::message::{Address, MessageEnvelope, Part, Structure};

use crate::reply::{put_nstring, put_string};

/// Parts deeper than this are not there: the store caps them too.
const DEPTH: usize = 120;

/// Writes an envelope.
pub(super) fn put_envelope(out: &mut Vec<u8>, envelope: &MessageEnvelope, utf8: bool) {
    let text = |text: &Option<String>, out: &mut Vec<u8>| put_nstring(out, text.as_deref().map(str::as_bytes), utf8);
    out.push(b'(');
    text(&envelope.date, out);
    out.push(b' ');
    text(&envelope.subject, out);
    let lists = [
        &envelope.from[..],
        envelope.sender_or_from(),
        envelope.reply_to_or_from(),
        &envelope.to,
        &envelope.cc,
        &envelope.bcc,
    ];
    for list in lists {
        out.push(b' ');
        put_addresses(out, list, utf8);
    }
    out.push(b' ');
    text(&envelope.in_reply_to, out);
    out.push(b' ');
    text(&envelope.message_id, out);
    out.push(b')');
}

fn put_addresses(out: &mut Vec<u8>, addresses: &[Address], utf8: bool) {
    if addresses.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for address in addresses {
        out.push(b'(');
        for (at, part) in [&address.name, &address.route, &address.mailbox, &address.host].into_iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            put_nstring(out, part.as_deref().map(str::as_bytes), utf8);
        }
        out.push(b')');
    }
    out.push(b')');
}

/// Writes a structure, with or without what IMAP4rev1 calls extension data.
pub(super) fn put_structure(out: &mut Vec<u8>, structure: Option<&Structure>, extended: bool, utf8: bool) {
    let empty = Structure::default();
    let writer = Writer { structure: structure.unwrap_or(&empty), extended, utf8 };
    writer.part(out, 0, 0);
}

struct Writer<'a> {
    structure: &'a Structure,
    extended: bool,
    utf8: bool,
}

impl Writer<'_> {
    fn part(&self, out: &mut Vec<u8>, at: usize, depth: usize) {
        let unreadable = Part { kind: "text".into(), subtype: "plain".into(), lines: Some(0), ..Part::default() };
        let part = self.structure.parts.get(at).filter(|_| depth < DEPTH).unwrap_or(&unreadable);
        out.push(b'(');
        if part.is_multipart() && !part.children.is_empty() {
            for &child in &part.children {
                self.part(out, child, depth + 1);
            }
            out.push(b' ');
            self.string(out, &part.subtype);
            if self.extended {
                out.push(b' ');
                self.parameters(out, &part.parameters);
                self.disposition_and_on(out, part);
            }
        } else {
            self.single(out, part, depth);
        }
        out.push(b')');
    }

    fn single(&self, out: &mut Vec<u8>, part: &Part, depth: usize) {
        // A multipart without parts cannot be told as one.
        let (kind, subtype) = match part.is_multipart() {
            true => ("application", "octet-stream"),
            false => (part.kind.as_str(), part.subtype.as_str()),
        };
        self.string(out, kind);
        out.push(b' ');
        self.string(out, subtype);
        out.push(b' ');
        self.parameters(out, &part.parameters);
        for text in [&part.id, &part.description] {
            out.push(b' ');
            self.nstring(out, text.as_deref());
        }
        out.push(b' ');
        self.string(out, part.encoding_or_default());
        out.extend_from_slice(format!(" {}", part.octets()).as_bytes());
        if let (Some(envelope), Some(&child)) = (&part.envelope, part.children.first()) {
            out.push(b' ');
            put_envelope(out, envelope, self.utf8);
            out.push(b' ');
            self.part(out, child, depth + 1);
        }
        if kind == "text" || part.is_message() {
            out.extend_from_slice(format!(" {}", part.lines.unwrap_or(0)).as_bytes());
        }
        if self.extended {
            out.push(b' ');
            self.nstring(out, part.md5.as_deref());
            self.disposition_and_on(out, part);
        }
    }

    /// Disposition, language and location.
    fn disposition_and_on(&self, out: &mut Vec<u8>, part: &Part) {
        out.push(b' ');
        match &part.disposition {
            Some((kind, parameters)) => {
                out.push(b'(');
                self.string(out, kind);
                out.push(b' ');
                self.parameters(out, parameters);
                out.push(b')');
            }
            None => out.extend_from_slice(b"NIL"),
        }
        out.push(b' ');
        match &part.languages[..] {
            [] => out.extend_from_slice(b"NIL"),
            [one] => self.string(out, one),
            many => {
                out.push(b'(');
                for (at, language) in many.iter().enumerate() {
                    if at > 0 {
                        out.push(b' ');
                    }
                    self.string(out, language);
                }
                out.push(b')');
            }
        }
        out.push(b' ');
        self.nstring(out, part.location.as_deref());
    }

    fn parameters(&self, out: &mut Vec<u8>, parameters: &[(String, String)]) {
        if parameters.is_empty() {
            out.extend_from_slice(b"NIL");
            return;
        }
        out.push(b'(');
        for (at, (name, value)) in parameters.iter().enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            self.string(out, name);
            out.push(b' ');
            self.string(out, value);
        }
        out.push(b')');
    }

    fn string(&self, out: &mut Vec<u8>, text: &str) {
        put_string(out, text.as_bytes(), self.utf8);
    }

    fn nstring(&self, out: &mut Vec<u8>, text: Option<&str>) {
        put_nstring(out, text.map(str::as_bytes), self.utf8);
    }
}
