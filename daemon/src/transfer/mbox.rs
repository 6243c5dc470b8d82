//! Reading mbox files: mboxrd and mboxo with their quoted `>From `, those with a Content-Length, and our own.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::import::Item;
use super::mbox_head::{self, Head, Mark};
use super::message::{Coming, Ends};
use super::{flags, names};

/// The most folders inside each other.
const DEPTH: usize = 32;
/// The longest line that is looked at as a whole, and the longest header.
const LINE: u64 = 64 << 10;
const HEADER: usize = 1 << 20;

/// The mbox files at `root`, a file or a folder of them, each with its mailbox. What is none is told to `problem`.
pub(super) fn files(root: &Path, top: Option<&str>, problem: &mut impl FnMut(&Path, &str)) -> Vec<(String, PathBuf)> {
    if !root.is_dir() {
        return vec![(top.unwrap_or("INBOX").to_owned(), root.to_owned())];
    }
    let mut found = Vec::new();
    let mut waiting: Vec<(PathBuf, Vec<String>)> = vec![(root.to_owned(), Vec::new())];
    while let Some((path, levels)) = waiting.pop() {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                problem(&path, &error.to_string());
                continue;
            }
        };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is = |what: fn(&fs::FileType) -> bool| entry.file_type().is_ok_and(|kind| what(&kind));
            if is(fs::FileType::is_dir) && levels.len() < DEPTH {
                // Thunderbird keeps what is below `x` in `x.sbd`.
                let level = name.strip_suffix(".sbd").unwrap_or(&name).to_owned();
                waiting.push((entry.path(), [&levels[..], &[level]].concat()));
            } else if is(fs::FileType::is_file) && begins_as_mbox(&entry.path()) {
                let level = name.strip_suffix(".mbox").unwrap_or(&name);
                let levels = levels.iter().map(String::as_str).chain([level]);
                found.push((names::mailbox(top.unwrap_or_default(), levels), entry.path()));
            } else if !name.starts_with('.') && !name.ends_with(".msf") && entry.metadata().is_ok_and(|it| it.len() > 0)
            {
                problem(&entry.path(), "it is no mbox");
            }
        }
    }
    found.sort();
    found
}

fn begins_as_mbox(path: &Path) -> bool {
    let mut start = [0; 5];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"From "
}

/// The messages of one file.
pub(super) struct Messages {
    file: BufReader<File>,
    path: PathBuf,
    /// How many bytes were read.
    at: u64,
    /// Whether the next piece goes on with a line.
    within: bool,
    /// The separator of the next message, when it was read already.
    separator: Option<Vec<u8>>,
    /// When the file was changed.
    seconds: i64,
    ended: bool,
}

/// A message as it lies in a file.
pub(super) struct Lying {
    /// Where its separator begins.
    pub(super) start: u64,
    pub(super) separator: Vec<u8>,
    pub(super) mark: Option<Mark>,
    pub(super) item: io::Result<Item>,
}

impl Messages {
    pub(super) fn open(path: &Path) -> io::Result<Messages> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let seconds = file.metadata()?.mtime();
        let file = BufReader::with_capacity(LINE as usize, file);
        Ok(Messages { file, path: path.to_owned(), at: 0, within: false, separator: None, seconds, ended: false })
    }

    /// The next message with where it lies; `None` at the end, or behind what is no mbox.
    pub(super) fn read(&mut self) -> Option<Lying> {
        if self.ended {
            return None;
        }
        let separator = match self.find() {
            Ok(Some(separator)) => separator,
            Ok(None) => return None,
            Err(error) => {
                self.ended = true;
                return Some(Lying { start: self.at, separator: Vec::new(), mark: None, item: Err(error) });
            }
        };
        let start = self.at - separator.len() as u64;
        let mut mark = None;
        if !separator.starts_with(b"From ") {
            self.ended = true;
            let item = Err(io::Error::other("it is no mbox from here on"));
            return Some(Lying { start, separator, mark, item });
        }
        let item = self.message(&separator, &mut mark);
        Some(Lying { start, separator, mark, item })
    }

    /// Where the next message begins, behind one that was read.
    pub(super) fn start_of_next(&self) -> u64 {
        self.at - self.separator.as_ref().map_or(0, Vec::len) as u64
    }

    /// The line that comes next and is not empty: the separator, if this is an mbox.
    fn find(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(separator) = self.separator.take() {
            return Ok(Some(separator));
        }
        let mut line = Vec::new();
        while self.line(&mut line, u64::MAX)? {
            if !is_blank(&line) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// Reads a line, or a piece of a long one, that ends at `end` at the latest; whether there was one.
    fn line(&mut self, line: &mut Vec<u8>, end: u64) -> io::Result<bool> {
        line.clear();
        let most = LINE.min(end.saturating_sub(self.at));
        let length = (&mut self.file).take(most).read_until(b'\n', line)?;
        self.at += length as u64;
        self.within = length > 0 && line.last() != Some(&b'\n');
        Ok(length > 0)
    }

    fn message(&mut self, separator: &[u8], mark: &mut Option<Mark>) -> io::Result<Item> {
        let mut line = Vec::new();
        while self.within && self.line(&mut line, u64::MAX)? {}
        let mut head = Head::default();
        if self.line(&mut line, u64::MAX)? {
            *mark = mbox_head::mark(&line);
        }
        let (mut coming, ours) = match mark {
            Some(mark) => {
                for _ in 0..mbox_head::FIELDS_BEHIND {
                    self.line(&mut line, u64::MAX)?;
                    head.bytes.extend_from_slice(&line);
                }
                line.clear();
                (Coming::of_size(if mark.raw { Ends::Keep } else { Ends::Complete }, mark.size), true)
            }
            None => (Coming::new(Ends::AsTheFirst), false),
        };
        let blank = if ours { false } else { self.head(line, &mut head)? };
        let fields = head.fields();
        if !ours {
            coming.write(&fields.kept)?;
        }
        match fields.length.and_then(|length| self.at.checked_add(length)).filter(|&end| !ours && self.fits(end)) {
            Some(end) => self.counted(&mut coming, end)?,
            None => self.content(&mut coming, u64::MAX, true, blank)?,
        }
        let seconds = mbox_head::date(separator).or(fields.received).unwrap_or(self.seconds);
        let flags = flags::of_mbox(&fields.status, &fields.more_status, &fields.keywords);
        Ok(Item::new(coming.finish()?, flags, seconds))
    }

    /// Reads a header, of which the first line was read already; whether an empty line ends it.
    fn head(&mut self, mut line: Vec<u8>, head: &mut Head) -> io::Result<bool> {
        let mut begins = true;
        loop {
            head.bytes.extend_from_slice(&line);
            if line.is_empty() || begins && is_blank(&line) {
                return Ok(!line.is_empty());
            }
            begins = !self.within;
            if head.bytes.len() > HEADER || !self.line(&mut line, u64::MAX)? {
                return Ok(false);
            }
        }
    }

    /// Whether a message may end there: at the file's end, or before a separator.
    fn fits(&self, end: u64) -> bool {
        let mut behind = [0; 7];
        let length = self.file.get_ref().read_at(&mut behind, end).unwrap_or(0);
        let rest = &behind[..length];
        let rest = rest.strip_prefix(b"\r").unwrap_or(rest);
        let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        let within = self.file.get_ref().metadata().is_ok_and(|file| end <= file.len());
        within && (rest.is_empty() || b"From ".starts_with(&rest[..rest.len().min(5)]) && rest.len() >= 5)
    }

    /// Reads a body of known length. Whoever counts need not quote: where a line that should be quoted is not, none is.
    fn counted(&mut self, coming: &mut Coming, end: u64) -> io::Result<()> {
        let (start, mut line, mut quoted, mut begins) = (self.at, Vec::new(), true, true);
        while self.line(&mut line, end)? {
            quoted &= !(begins && line.starts_with(b"From "));
            begins = !self.within;
        }
        self.file.seek(SeekFrom::Start(start))?;
        (self.at, self.within) = (start, false);
        self.content(coming, end, quoted, false)?;
        self.within = false;
        Ok(())
    }

    /// Reads content up to `end`, or up to a separator. `blank` is whether the line before is empty.
    fn content(&mut self, coming: &mut Coming, end: u64, quoted: bool, mut blank: bool) -> io::Result<()> {
        let counted = end != u64::MAX;
        let (mut line, mut held, mut begins) = (Vec::new(), Vec::new(), !self.within);
        while self.line(&mut line, end)? {
            if !counted && begins && (blank || !held.is_empty()) && mbox_head::is_separator(&line) {
                self.separator = Some(line);
                return Ok(());
            }
            // The last empty line is not the message's: it stands before the separator.
            coming.write(&held)?;
            held.clear();
            blank = false;
            if begins && is_blank(&line) && !counted {
                held.extend_from_slice(&line);
            } else if begins && quoted && is_quoted(&line) {
                coming.write(&line[1..])?;
            } else {
                coming.write(&line)?;
            }
            begins = !self.within;
        }
        Ok(())
    }
}

impl Iterator for Messages {
    type Item = (String, io::Result<Item>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.at;
        let lying = self.read()?;
        Some((format!("{} at byte {}", self.path.display(), lying.start), lying.item, self.at - before))
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

fn is_quoted(line: &[u8]) -> bool {
    let depth = line.iter().take_while(|&&byte| byte == b'>').count();
    depth > 0 && line[depth..].starts_with(b"From ")
}
