//! What a section lets through of a message: pieces go in and pieces come out, so that memory is bounded whatever the
//! size.

use std::collections::HashSet;
use std::ops::Range;

use storage::message::TransferDecoder;
use storage::{Content, ContentReader, Error};

/// How much longer than the names asked for the start of a field may be before it is none of them.
const SLACK: usize = 256;
/// Up to so many names are compared one by one.
const FEW: usize = 32;

/// What is let through.
#[derive(Clone)]
pub(super) enum Filter<'a> {
    /// What a transfer encoding stands for.
    Decoded(TransferDecoder),
    /// Some fields of a header.
    Fields(Fields<'a>),
}

impl Filter<'_> {
    fn take(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        match self {
            Filter::Decoded(decoder) => decoder.decode(piece, last, out),
            Filter::Fields(fields) => fields.take(piece, last, out),
        }
    }

    /// Writes what it lets through of what is in memory.
    pub(super) fn all(mut self, octets: &[u8], out: &mut Vec<u8>) {
        self.take(octets, true, out);
    }
}

/// A range of a content behind a filter.
pub(super) struct Filtered<'a> {
    reader: ContentReader,
    filter: Filter<'a>,
    /// Where the next piece begins.
    at: u64,
    piece: Vec<u8>,
    ended: bool,
}

impl<'a> Filtered<'a> {
    pub(super) fn new(content: &Content, range: Range<u64>, filter: Filter<'a>) -> Filtered<'a> {
        Filtered { reader: content.reader(range), filter, at: 0, piece: Vec::new(), ended: false }
    }

    /// The next piece, and where it begins in all that comes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, &[u8])>, Error> {
        self.at += self.piece.len() as u64;
        self.piece.clear();
        while self.piece.is_empty() && !self.ended {
            let piece = self.reader.next().await?;
            self.ended = piece.is_none();
            self.filter.take(&piece.unwrap_or_default(), self.ended, &mut self.piece);
        }
        Ok((!self.piece.is_empty()).then_some((self.at, &self.piece)))
    }
}

/// The fields of a header that are named, or are not named, with the empty line behind them.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    names: &'a [String],
    /// The same in small letters, when they are many.
    many: Option<HashSet<Vec<u8>>>,
    named: bool,
    /// How long the start of a line is at most before it is decided on.
    most: usize,
    /// The start of a line that was not decided on.
    start: Vec<u8>,
    /// Whether the line that stands here was decided on.
    inside: bool,
    taking: bool,
    ended: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(names: &'a [String], named: bool) -> Fields<'a> {
        let most = names.iter().map(String::len).max().unwrap_or(0) + SLACK;
        let small = || names.iter().map(|name| name.to_ascii_lowercase().into_bytes()).collect();
        let many = (names.len() > FEW).then(small);
        Fields { names, many, named, most, start: Vec::new(), inside: false, taking: false, ended: false }
    }

    fn is_asked_for(&self, name: &[u8]) -> bool {
        let among = match &self.many {
            Some(many) => many.contains(&name.to_ascii_lowercase()),
            None => self.names.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name)),
        };
        among == self.named
    }

    fn take(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let mut rest = piece;
        while !rest.is_empty() && !self.ended {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (line, behind) = rest.split_at(end);
            rest = behind;
            let whole = line.ends_with(b"\n");
            if self.inside {
                if self.taking {
                    out.extend_from_slice(line);
                }
                self.inside = !whole;
                continue;
            }
            if whole && self.start.is_empty() {
                self.decide(line, out);
                continue;
            }
            self.start.extend_from_slice(line);
            if whole || self.start.len() > self.most {
                let start = std::mem::take(&mut self.start);
                self.decide(&start, out);
                self.inside = !whole;
            }
        }
        if last {
            let start = std::mem::take(&mut self.start);
            self.decide(&start, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Decides on a line of which all or the start is here.
    fn decide(&mut self, line: &[u8], out: &mut Vec<u8>) {
        if line == b"\r\n" || line == b"\n" {
            self.ended = true;
            return;
        }
        if line.first().is_some_and(|first| !matches!(first, b' ' | b'\t')) {
            let name = memchr::memchr(b':', line).map_or(&line[..0], |colon| line[..colon].trim_ascii_end());
            self.taking = self.is_asked_for(name);
        }
        if self.taking {
            out.extend_from_slice(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_chosen_with_their_continuations() {
        let long = format!("X: {}\r\n {0}\r\n", "y".repeat(2000));
        let header = format!("From: a\r\n{long}Subject: b\r\n c\r\nno colon\r\nsubject : e\r\n\r\nSubject: f\r\n");
        let chosen = |name: &str, named, size| {
            let names = if size % 2 == 0 { vec![name.to_owned()] } else { vec![name.to_owned(); FEW + 1] };
            let mut filter = Fields::new(&names, named);
            let mut out = Vec::new();
            header.as_bytes().chunks(size).for_each(|piece| filter.take(piece, false, &mut out));
            filter.take(b"", true, &mut out);
            String::from_utf8(out).unwrap()
        };
        for size in [1, 3, 100, 10_000] {
            assert_eq!(chosen("SUBJECT", true, size), "Subject: b\r\n c\r\nsubject : e\r\n\r\n");
            assert_eq!(chosen("subject", false, size), format!("From: a\r\n{long}no colon\r\n\r\n"));
            assert_eq!(chosen("x", true, size), format!("{long}\r\n"));
        }
        let mut out = Vec::new();
        Filter::Fields(Fields::new(&["A".to_owned()], true)).all(b"", &mut out);
        Filter::Fields(Fields::new(&["A".to_owned()], true)).all(b"a: b", &mut out);
        assert_eq!(out, b"\r\na: b\r\n");
    }
}
