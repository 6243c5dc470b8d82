//! The hash of a message's body, taken while it passes (RFC 6376 §3.4.3, §3.4.4).

use aws_lc_rs::digest::{Context, SHA256};
use memchr::memchr2;
use memchr::memmem::Finder;

/// Hashes a body in every canonicalization that a signature may ask for.
pub(crate) struct BodyHasher {
    simple: Simple,
    relaxed: Relaxed,
}

/// The SHA-256 hashes of a body; SHA-1 does not count any more (RFC 8301 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BodyHashes {
    pub(crate) simple: [u8; 32],
    pub(crate) relaxed: [u8; 32],
}

impl BodyHasher {
    pub(crate) fn new() -> Self {
        let simple = Simple { sink: Sink::new(), breaks: 0, cr: false };
        let gap = Finder::new(b"  ");
        let relaxed = Relaxed { sink: Sink::new(), breaks: 0, space: false, cr: false, empty: true, gap };
        BodyHasher { simple, relaxed }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.simple.push(chunk);
        self.relaxed.push(chunk);
    }

    pub(crate) fn finish(self) -> BodyHashes {
        BodyHashes { simple: self.simple.finish(), relaxed: self.relaxed.finish() }
    }
}

/// Leaves out the empty lines at the end (§3.4.3).
struct Simple {
    sink: Sink,
    /// Line ends that count only if something follows.
    breaks: usize,
    /// A CR that may begin a line end.
    cr: bool,
}

impl Simple {
    fn push(&mut self, mut chunk: &[u8]) {
        if chunk.is_empty() {
            return;
        }
        if std::mem::take(&mut self.cr) {
            if let Some(rest) = chunk.strip_prefix(b"\n") {
                self.breaks += 1;
                chunk = rest;
            } else {
                self.write(b"\r");
            }
        }
        if let Some(rest) = chunk.strip_suffix(b"\r") {
            self.cr = true;
            chunk = rest;
        }
        let mut breaks = 0;
        while let Some(rest) = chunk.strip_suffix(b"\r\n") {
            breaks += 1;
            chunk = rest;
        }
        self.write(chunk);
        self.breaks += breaks;
    }

    fn write(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.sink.line_ends(std::mem::take(&mut self.breaks));
            self.sink.write(text);
        }
    }

    /// Even an empty body has one line end.
    fn finish(mut self) -> [u8; 32] {
        if self.cr {
            self.write(b"\r");
        }
        self.sink.line_ends(1);
        self.sink.finish()
    }
}

/// Also makes each run of white space one space, or nothing at the end of a line (§3.4.4).
struct Relaxed {
    sink: Sink,
    breaks: usize,
    /// White space that counts only if the line goes on.
    space: bool,
    cr: bool,
    empty: bool,
    /// Finds two spaces in a row.
    gap: Finder<'static>,
}

impl Relaxed {
    fn push(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            let stop = memchr2(b'\r', b'\t', chunk).unwrap_or(chunk.len());
            let (run, rest) = chunk.split_at(stop);
            self.run(run);
            let Some((&byte, rest)) = rest.split_first() else { return };
            if std::mem::take(&mut self.cr) {
                self.write(b"\r");
            }
            match byte {
                b'\r' => self.cr = true,
                _ => self.space = true,
            }
            chunk = rest;
        }
    }

    /// Text that holds neither CR nor TAB. Single spaces inside stay, so that words need not be looked at one by one.
    fn run(&mut self, mut run: &[u8]) {
        if !run.is_empty() && std::mem::take(&mut self.cr) {
            if let Some(rest) = run.strip_prefix(b"\n") {
                self.breaks += 1;
                self.space = false;
                run = rest;
            } else {
                self.write(b"\r");
            }
        }
        while !run.is_empty() {
            let text = run.iter().position(|&byte| byte != b' ').unwrap_or(run.len());
            self.space |= text > 0;
            run = &run[text..];
            let end = self.gap.find(run).unwrap_or(run.len());
            let (text, rest) = run.split_at(end);
            self.write(text.strip_suffix(b" ").unwrap_or(text));
            self.space |= text.ends_with(b" ");
            run = rest;
        }
    }

    fn write(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.sink.line_ends(std::mem::take(&mut self.breaks));
        if std::mem::take(&mut self.space) {
            self.sink.write(b" ");
        }
        self.sink.write(text);
        self.empty = false;
    }

    /// A body that holds nothing but white space and line ends is empty.
    fn finish(mut self) -> [u8; 32] {
        if self.cr {
            self.write(b"\r");
        }
        if !self.empty {
            self.sink.line_ends(1);
        }
        self.sink.finish()
    }
}

/// Gathers small pieces, since each update of the digest has its price.
struct Sink {
    context: Context,
    pieces: Vec<u8>,
}

impl Sink {
    const SIZE: usize = 8192;
    const LINE_ENDS: [u8; 512] = {
        let mut bytes = [b'\r'; 512];
        let mut at = 1;
        while at < bytes.len() {
            bytes[at] = b'\n';
            at += 2;
        }
        bytes
    };

    fn new() -> Self {
        Sink { context: Context::new(&SHA256), pieces: Vec::with_capacity(Self::SIZE) }
    }

    fn write(&mut self, text: &[u8]) {
        if self.pieces.len() + text.len() > Self::SIZE {
            self.context.update(&self.pieces);
            self.pieces.clear();
        }
        match text.len() > Self::SIZE {
            true => self.context.update(text),
            false => self.pieces.extend_from_slice(text),
        }
    }

    fn line_ends(&mut self, count: usize) {
        let mut bytes = count * 2;
        while bytes > 0 {
            let piece = bytes.min(Self::LINE_ENDS.len());
            self.write(&Self::LINE_ENDS[..piece]);
            bytes -= piece;
        }
    }

    fn finish(mut self) -> [u8; 32] {
        self.context.update(&self.pieces);
        let mut hash = [0; 32];
        hash.copy_from_slice(self.context.finish().as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::digest;

    const TOKENS: [&[u8]; 4] = [b"a", b" ", b"\t", b"\r\n"];

    /// RFC 6376 §3.4.4 line by line, as it is written there.
    fn relaxed(body: &str) -> String {
        let mut lines: Vec<String> = Vec::new();
        for line in body.split("\r\n") {
            let words: Vec<&str> = line.split([' ', '\t']).collect();
            let mut text = String::new();
            for (at, word) in words.iter().enumerate() {
                if at > 0 && (!word.is_empty()) {
                    text.push(' ');
                }
                text.push_str(word);
            }
            lines.push(text);
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.iter().map(|line| format!("{line}\r\n")).collect()
    }

    fn simple(body: &str) -> String {
        let mut body = body;
        while let Some(rest) = body.strip_suffix("\r\n") {
            body = rest;
        }
        format!("{body}\r\n")
    }

    fn sha256(text: &str) -> [u8; 32] {
        digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap()
    }

    fn hashes(chunks: &[&[u8]]) -> BodyHashes {
        let mut hasher = BodyHasher::new();
        chunks.iter().for_each(|chunk| hasher.push(chunk));
        hasher.finish()
    }

    #[test]
    fn all_short_bodies_hash_as_the_rfc_says() {
        let mut seen = 0;
        for length in 0..=6 {
            for number in 0..4usize.pow(length) {
                let body: Vec<u8> = (0..length).flat_map(|at| TOKENS[number >> (2 * at) & 3].to_vec()).collect();
                let text = std::str::from_utf8(&body).unwrap();
                let expected = BodyHashes { simple: sha256(&simple(text)), relaxed: sha256(&relaxed(text)) };
                assert_eq!(hashes(&[&body]), expected, "{text:?}");
                let bytes: Vec<&[u8]> = body.chunks(1).collect();
                assert_eq!(hashes(&bytes), expected, "{text:?} byte by byte");
                seen += 1;
            }
        }
        assert_eq!(seen, 5461);
    }

    #[test]
    fn the_chunks_do_not_matter() {
        let body = "A  table\twith \t gaps\r\nand  \r\n\r\n \t\r\nbare \r CR, bare \n LF,\rx\r\r\n end \r\n \r\n\r\n\t"
            .repeat(3);
        let whole = hashes(&[body.as_bytes()]);
        for size in 1..body.len() {
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
            assert_eq!(hashes(&chunks), whole, "chunks of {size}");
        }
    }

    #[test]
    fn known_hashes_of_the_empty_body() {
        // RFC 6376 §3.4.3 and §3.4.4 give both.
        use base64::{Engine, prelude::BASE64_STANDARD};
        let BodyHashes { simple, relaxed } = hashes(&[]);
        assert_eq!(BASE64_STANDARD.encode(simple), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
        assert_eq!(BASE64_STANDARD.encode(relaxed), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn long_bodies_pass_through_the_buffer_whole() {
        let line = format!("{}\r\n", "x".repeat(998));
        let body = format!("{}{}end", line.repeat(40), "\r\n".repeat(20_000));
        let expected = BodyHashes { simple: sha256(&simple(&body)), relaxed: sha256(&relaxed(&body)) };
        assert_eq!(hashes(&[body.as_bytes()]), expected);
        let wide = "y".repeat(100_000);
        let expected = BodyHashes { simple: sha256(&simple(&wide)), relaxed: sha256(&relaxed(&wide)) };
        assert_eq!(hashes(&[wide.as_bytes()]), expected);
    }
}
