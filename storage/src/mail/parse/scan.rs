//! Finds the parts of a message (RFC 2046 §5.1) in one pass, without recursion: the open parts are a stack, a boundary
//! ends those above the one it belongs to.

use memchr::{memchr_iter, memmem};

use super::header::{is_empty_line, line_end};
use super::structure::{Part, Structure};
use super::{MessageEnvelope, json, mime};

/// The most parts that are described.
const PARTS: usize = 1000;
/// How deep parts may lie.
const DEPTH: usize = 100;
/// How much of the store the description of all parts may take; those beyond have places and no names.
const WEIGHT: usize = 256 << 10;

/// The parts of a message.
pub(super) fn structure(message: &[u8]) -> Structure {
    let mut scan =
        Scan { message, parts: Vec::new(), open: Vec::new(), lines: Lines { message, at: 0, count: 0 }, weight: 0 };
    let mut next = Some((0, false));
    loop {
        // A message in a message in a message begins at once.
        while let Some((start, digest)) = next.take() {
            next = scan.open_part(start, digest).map(|body| (body, false));
        }
        let from = scan.position();
        let Some(boundary) = scan.next_boundary(from) else { break };
        next = scan.pass(&boundary);
    }
    scan.close(0, message.len());
    Structure { parts: scan.parts }
}

struct Scan<'a> {
    message: &'a [u8],
    parts: Vec<Part>,
    /// From the message down to the innermost part.
    open: Vec<Open>,
    lines: Lines<'a>,
    weight: usize,
}

/// A part whose end was not found yet.
struct Open {
    part: usize,
    /// Of a multipart whose last part has not ended.
    boundary: Option<Vec<u8>>,
    /// Up to where it was looked at.
    seen: usize,
    /// The lines before its body.
    lines: usize,
}

/// A line that separates or ends the parts of a multipart.
struct Boundary {
    /// The line itself.
    start: usize,
    end: usize,
    /// To which of the open parts it belongs.
    owner: usize,
    last: bool,
}

impl Scan<'_> {
    /// Where to look on.
    fn position(&self) -> usize {
        self.open.last().map_or(0, |open| open.seen)
    }

    /// Reads the header of the part that begins here, and opens it. When it is a message, where that begins.
    fn open_part(&mut self, start: usize, digest: bool) -> Option<usize> {
        let body = self.header_end(start);
        let header = &self.message[start..body];
        let number = self.parts.len();
        let default = if digest { ("message", "rfc822") } else { ("text", "plain") };
        let mut part = Part::read(header, default);
        let within = self.open.last().map(|parent| parent.part);
        if let Some(parent) = within {
            self.parts[parent].children.push(number);
            if self.parts[parent].is_message() {
                let envelope = MessageEnvelope::read(header);
                self.weight += json(&envelope).len();
                if self.weight <= WEIGHT {
                    self.parts[parent].envelope = Some(Box::new(envelope));
                }
            }
        }
        let boundary = mime::parameter(&part.parameters, "boundary").map(|text| text.trim_end().to_owned());
        let boundary = boundary.filter(|boundary| !boundary.is_empty() && part.is_multipart());
        let message = part.kind == "message" && ["rfc822", "global"].contains(&part.subtype.as_str());
        let room = self.open.len() + 1 < DEPTH && number + 1 < PARTS;
        self.weight += json(&part).len();
        if self.weight > WEIGHT {
            let (kind, subtype, encoding) = (part.kind, part.subtype, part.encoding);
            part = Part { kind, subtype, encoding, ..Part::default() };
        }
        if (part.is_multipart() && (boundary.is_none() || !room)) || (message && !room) {
            (part.kind, part.subtype) = ("application".into(), "octet-stream".into());
        }
        (part.header, part.body, part.end) = (start, body, body);
        let inner = message && room;
        part.envelope = inner.then(Box::default);
        self.parts.push(part);
        let (boundary, lines) = (boundary.filter(|_| room).map(String::into_bytes), self.lines.before(body));
        self.open.push(Open { part: number, boundary, seen: body, lines });
        inner.then_some(body)
    }

    /// Where the body begins: behind the empty line, or at a boundary that comes first.
    fn header_end(&self, start: usize) -> usize {
        let mut at = start;
        while at < self.message.len() {
            let rest = &self.message[at..];
            if is_empty_line(rest) {
                return at + line_end(rest);
            }
            if rest.starts_with(b"--") && self.boundary_at(at).is_some() {
                return at;
            }
            at += line_end(rest);
        }
        at
    }

    /// The next line from here on that is a boundary of an open part.
    fn next_boundary(&self, from: usize) -> Option<Boundary> {
        if self.open.iter().all(|open| open.boundary.is_none()) {
            return None;
        }
        if let Some(found) = self.boundary_at(from) {
            return Some(found);
        }
        let rest = &self.message[from..];
        memmem::find_iter(rest, b"\n--").find_map(|at| self.boundary_at(from + at + 1))
    }

    /// The boundary that is the line here. One may be the beginning of another: the longest counts, and the innermost
    /// of the same.
    fn boundary_at(&self, at: usize) -> Option<Boundary> {
        let line = self.message[at..].strip_prefix(b"--")?;
        let mut best: Option<(usize, &[u8])> = None;
        for (owner, open) in self.open.iter().enumerate() {
            if let Some(boundary) = &open.boundary
                && line.starts_with(boundary)
                && best.is_none_or(|(_, known)| boundary.len() >= known.len())
            {
                best = Some((owner, boundary));
            }
        }
        let (owner, boundary) = best?;
        let last = line[boundary.len()..].starts_with(b"--");
        Some(Boundary { start: at, end: at + line_end(&self.message[at..]), owner, last })
    }

    /// Goes behind a boundary: the parts above its owner end. Where the next part begins, and whether in a digest.
    fn pass(&mut self, boundary: &Boundary) -> Option<(usize, bool)> {
        let before = &self.message[..boundary.start];
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        let end = before.strip_suffix(b"\r").map_or(before.len(), <[u8]>::len);
        self.close(boundary.owner + 1, end);
        let owner = &mut self.open[boundary.owner];
        owner.seen = boundary.end;
        if boundary.last {
            owner.boundary = None;
            return None;
        }
        let digest = self.parts[owner.part].subtype == "digest";
        (self.parts.len() < PARTS).then_some((boundary.end, digest))
    }

    /// Ends all open parts from a place in the stack on.
    fn close(&mut self, from: usize, end: usize) {
        for open in self.open.drain(from..).rev() {
            let part = &mut self.parts[open.part];
            // The line break that belongs to the boundary may be that of the header, or of the boundary before.
            (part.header, part.body, part.end) = (part.header.min(end), part.body.min(end), end);
            if part.kind == "text" || part.is_message() {
                part.lines = Some(self.lines.before(end).saturating_sub(open.lines));
            }
        }
    }
}

/// Counts line feeds, going forward through the message and only ever a few bytes back.
struct Lines<'a> {
    message: &'a [u8],
    at: usize,
    count: usize,
}

impl Lines<'_> {
    fn before(&mut self, offset: usize) -> usize {
        if offset >= self.at {
            self.count += memchr_iter(b'\n', &self.message[self.at..offset]).count();
        } else {
            self.count -= memchr_iter(b'\n', &self.message[offset..self.at]).count();
        }
        self.at = offset;
        self.count
    }
}
