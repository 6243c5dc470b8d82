//! A message on its way into the store, its line ends made those of mail.

use std::cmp::Ordering;
use std::io::{self, Read, Seek, Write};

use tempfile::SpooledTempFile;

use super::frames::short_hash;

/// Up to this size it is held in memory; what is larger waits in a temporary file without a name.
const IN_MEMORY: usize = 256 << 10;

/// What is done about line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The bytes stay as they are.
    Keep,
    /// A line end without a carriage return gets one (RFC 5322 §2.1).
    Complete,
    /// As the first line has it: a message that begins as mail does is left alone.
    AsTheFirst,
}

/// A message of which bytes are coming.
pub(super) struct Coming {
    content: SpooledTempFile,
    hasher: blake3::Hasher,
    size: u64,
    ends: Ends,
    /// Whether the last byte was a carriage return.
    after_return: bool,
    /// How many bytes it has, where that is known, and how many came after them.
    limit: Option<u64>,
    beyond: u64,
}

/// A whole message.
pub(super) struct Message {
    pub(super) content: SpooledTempFile,
    pub(super) size: u64,
    /// The start of the hash.
    pub(super) hash: String,
}

impl Coming {
    pub(super) fn new(ends: Ends) -> Coming {
        let content = SpooledTempFile::new(IN_MEMORY);
        let hasher = blake3::Hasher::new();
        Coming { content, hasher, size: 0, ends, after_return: false, limit: None, beyond: 0 }
    }

    /// A message of so many bytes, behind which a line end may come that is not its own.
    pub(super) fn of_size(ends: Ends, size: u64) -> Coming {
        Coming { limit: Some(size), ..Coming::new(ends) }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(at) = memchr::memchr(b'\n', bytes).filter(|_| self.ends != Ends::Keep) {
            let returned = at.checked_sub(1).map_or(self.after_return, |before| bytes[before] == b'\r');
            self.ends = match self.ends {
                Ends::AsTheFirst if returned => Ends::Keep,
                _ => Ends::Complete,
            };
            self.keep(&bytes[..at])?;
            self.keep(if returned { b"\n" } else { b"\r\n" })?;
            self.after_return = false;
            bytes = &bytes[at + 1..];
        }
        if let Some(last) = bytes.last() {
            self.after_return = *last == b'\r';
        }
        self.keep(bytes)
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.limit.map_or(bytes.len() as u64, |limit| limit - self.size).min(bytes.len() as u64);
        let (own, beyond) = bytes.split_at(room as usize);
        self.size += room;
        // One line end may follow; whatever else does is not.
        self.beyond += if beyond.iter().all(|byte| b"\r\n".contains(byte)) { beyond.len() as u64 } else { 3 };
        self.hasher.update(own);
        self.content.write_all(own)
    }

    /// Whether it has the size it should have, or how it differs. One that should have none in particular has it.
    pub(super) fn against_its_size(&self) -> Ordering {
        match self.limit {
            Some(limit) if self.size < limit => Ordering::Less,
            Some(_) if self.beyond > 2 => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    /// The message, when it is whole.
    pub(super) fn finish(mut self) -> io::Result<Message> {
        self.content.rewind()?;
        Ok(Message { content: self.content, size: self.size, hash: short_hash(self.hasher.finalize().as_bytes()) })
    }
}

impl Message {
    /// Reads all of a file.
    pub(super) fn read(from: &mut impl Read, ends: Ends) -> io::Result<Message> {
        let mut coming = Coming::new(ends);
        let mut piece = vec![0; 64 << 10];
        loop {
            match from.read(&mut piece)? {
                0 => return coming.finish(),
                length => coming.write(&piece[..length])?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(pieces: &[&[u8]], mut coming: Coming) -> io::Result<Vec<u8>> {
        for piece in pieces {
            coming.write(piece)?;
        }
        if coming.against_its_size() != Ordering::Equal {
            return Err(io::Error::other("it has another size"));
        }
        let mut message = coming.finish()?;
        let mut content = Vec::new();
        message.content.read_to_end(&mut content)?;
        assert_eq!(content.len() as u64, message.size);
        assert_eq!(message.hash, blake3::hash(&content).to_hex()[..32]);
        Ok(content)
    }

    #[test]
    fn line_ends_become_those_of_mail() {
        for (given, ends, expected) in [
            ("a\nb\r\nc\rd\n\n", Ends::AsTheFirst, "a\r\nb\r\nc\rd\r\n\r\n"),
            ("a\r\nb\nc", Ends::AsTheFirst, "a\r\nb\nc"),
            ("a\r\nb\nc", Ends::Complete, "a\r\nb\r\nc"),
            ("a\nb", Ends::Keep, "a\nb"),
            ("\n", Ends::AsTheFirst, "\r\n"),
            ("", Ends::AsTheFirst, ""),
        ] {
            assert_eq!(stored(&[given.as_bytes()], Coming::new(ends)).unwrap(), expected.as_bytes(), "{given:?}");
            let bytes: Vec<&[u8]> = given.as_bytes().chunks(1).collect();
            assert_eq!(stored(&bytes, Coming::new(ends)).unwrap(), expected.as_bytes(), "{given:?} byte by byte");
        }
    }

    #[test]
    fn a_known_size_is_kept() {
        assert_eq!(stored(&[b"abc\n"], Coming::of_size(Ends::Complete, 3)).unwrap(), b"abc");
        assert_eq!(stored(&[b"abc\n"], Coming::of_size(Ends::Complete, 5)).unwrap(), b"abc\r\n");
        assert!(stored(&[b"abc"], Coming::of_size(Ends::Complete, 4)).is_err(), "cut off");
        assert!(stored(&[b"abc\nd"], Coming::of_size(Ends::Keep, 3)).is_err(), "more than a line end");
        assert!(stored(&[b"abcdef"], Coming::of_size(Ends::Complete, 3)).is_err(), "more than a line end");
    }
}
