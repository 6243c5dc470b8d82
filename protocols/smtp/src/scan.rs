//! The octets of a message as they come: where it ends, what is content, and how often it travelled. Pure, without
//! copying, and the same whatever pieces the network cuts it into.

use bytes::Bytes;
use memchr::{memchr, memchr3};

/// How a message is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By `DATA`: CRLF.CRLF ends it, a dot that begins a line is doubled (RFC 5321 §4.5.2).
    Dots,
    /// By `BDAT`: counted, dots mean nothing (RFC 3030).
    Counted,
    /// By `BDAT`, of any octets: line ends mean nothing either (RFC 3030 §3).
    Binary,
}

/// A line end that is none, or an octet that some take for one. Servers that take one for CRLF can be made to see two
/// messages where another saw one, so such a message is refused whole (RFC 5321 §2.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bare {
    /// A CR without LF.
    Cr,
    /// An LF without CR.
    Lf,
    /// A NUL, which has no place in text (RFC 2045 §2.7, §2.8) and ends it for some.
    Nul,
}

/// Finds content and end in the octets of a message. Only CRLF.CRLF ends it (or, with nothing sent, `.CRLF` at once,
/// since the line end of the command stands before it).
#[derive(Debug)]
pub struct Scanner {
    framing: Framing,
    at: At,
    bare: Option<Bare>,
}

/// What the last octet leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Text,
    Cr,
    /// A dot began the line; it is never content.
    Dot,
    /// Then a CR came, which is held back: it is part of the end, or content after all.
    DotCr,
}

impl Scanner {
    /// A scanner at the first octet.
    pub fn new(framing: Framing) -> Self {
        Scanner { framing, at: At::LineStart, bare: None }
    }

    /// The first line end that was none.
    pub fn bare(&self) -> Option<Bare> {
        self.bare
    }

    /// Appends the content within `chunk` to `content`. When the end is found, the number of octets up to and with
    /// it: what follows is no part of the message.
    pub fn scan(&mut self, chunk: &Bytes, content: &mut Vec<Bytes>) -> Option<usize> {
        if self.framing == Framing::Binary {
            give(content, chunk, 0, chunk.len());
            return None;
        }
        // `start` is the first octet not given out yet, `next` the first not looked at yet.
        let (mut start, mut next) = (0, 0);
        while let Some(&byte) = chunk.get(next) {
            match (self.at, byte) {
                (At::LineStart, b'.') if self.framing == Framing::Dots => {
                    give(content, chunk, start, next);
                    next += 1;
                    start = next;
                    self.at = At::Dot;
                }
                (At::Cr, b'\n') => {
                    next += 1;
                    self.at = At::LineStart;
                }
                (At::Cr, _) => {
                    self.bare.get_or_insert(Bare::Cr);
                    self.at = At::Text;
                }
                (At::Dot, b'\r') => {
                    next += 1;
                    start = next;
                    self.at = At::DotCr;
                }
                (At::DotCr, b'\n') => return Some(next + 1),
                (At::DotCr, _) => {
                    self.bare.get_or_insert(Bare::Cr);
                    content.push(Bytes::from_static(b"\r"));
                    self.at = At::Text;
                }
                (At::LineStart | At::Text | At::Dot, _) => {
                    self.at = At::Text;
                    let Some(found) = memchr3(b'\r', b'\n', 0, &chunk[next..]) else { break };
                    next += found + 1;
                    match chunk[next - 1] {
                        b'\r' => self.at = At::Cr,
                        0 => self.bare = self.bare.or(Some(Bare::Nul)),
                        _ => self.bare = self.bare.or(Some(Bare::Lf)),
                    }
                }
            }
        }
        give(content, chunk, start, chunk.len());
        None
    }

    /// The end of a counted message: what is missing for its last line to be whole.
    pub fn finish(&mut self) -> &'static [u8] {
        match self.at {
            _ if self.framing == Framing::Binary => b"",
            At::LineStart => b"",
            At::Cr => {
                self.bare.get_or_insert(Bare::Cr);
                b""
            }
            At::Text | At::Dot | At::DotCr => b"\r\n",
        }
    }
}

fn give(content: &mut Vec<Bytes>, chunk: &Bytes, start: usize, end: usize) {
    if start < end {
        content.push(chunk.slice(start..end));
    }
}

/// Counts the `Received` fields of a message's header: each server on the way adds one, so many of them are a loop
/// (RFC 5321 §6.3).
#[derive(Debug)]
pub struct Hops {
    /// How many octets of `received:` the present line began with; `None` when it did not begin so.
    matched: Option<usize>,
    /// Octets of the present line that are no line end.
    filled: bool,
    /// Octets of header still looked at.
    left: usize,
    count: u32,
}

/// The field's name as it is looked for.
const RECEIVED: &[u8] = b"received:";
/// Where counting stops in a header without end.
const HEADER: usize = 1 << 20;

impl Default for Hops {
    fn default() -> Self {
        Hops { matched: Some(0), filled: false, left: HEADER, count: 0 }
    }
}

impl Hops {
    /// The number of fields so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Looks at the next content.
    pub fn see(&mut self, content: &[u8]) {
        let mut rest = &content[..content.len().min(self.left)];
        self.left -= rest.len();
        while let Some((&byte, tail)) = rest.split_first() {
            match (self.matched, byte) {
                (_, b'\n') if !self.filled => {
                    self.left = 0;
                    return;
                }
                (_, b'\n') => {
                    self.matched = Some(0);
                    self.filled = false;
                    rest = tail;
                }
                (Some(matched), _) => {
                    self.filled |= byte != b'\r';
                    self.matched = (byte.to_ascii_lowercase() == RECEIVED[matched]).then_some(matched + 1);
                    if self.matched == Some(RECEIVED.len()) {
                        self.count += 1;
                        self.matched = None;
                    }
                    rest = tail;
                }
                (None, _) => {
                    self.filled |= byte != b'\r';
                    let Some(end) = memchr(b'\n', rest) else {
                        self.filled |= rest.iter().any(|&byte| byte != b'\r');
                        return;
                    };
                    self.filled |= rest[..end].iter().any(|&byte| byte != b'\r');
                    rest = &rest[end..];
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
