//! Reading mbox files: mboxrd and mboxo with their quoted `>From `, those with a Content-Length, and our own.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::files;
use super::import::Item;
use super::mbox_head::{self, Fields, Head, Mark};
use super::mbox_separator::{self, Separators};
use super::message::{Coming, Ends, Message};

/// The longest line that is looked at as a whole, and the longest header.
const LINE: u64 = 64 << 10;
const HEADER: usize = 1 << 20;

/// What is said of a message that an export did not write to its end.
const CUT_OFF: &str = "it is cut off";

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
    /// As the first one shows.
    separators: Option<Separators>,
    /// When the file was changed.
    seconds: i64,
    ended: bool,
}

/// A message as it lies in a file.
pub(super) struct Lying {
    /// Where its separator begins.
    pub(super) start: u64,
    pub(super) own: Own,
    /// `None` where it was deleted, as Thunderbird does until it compacts.
    pub(super) item: io::Result<Option<Item>>,
}

/// What an export has to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// It has written it, and all of it is there.
    Whole(Mark),
    /// It was interrupted while it wrote it: that is where the file ends.
    Begun,
    /// It has written it, and another program has made something else of it.
    Changed,
    /// It has not written it.
    Foreign,
    /// It is no message, but where servers keep what they know of a folder.
    Internal,
}

/// How far a message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    At(u64),
    Separator,
    /// To a separator, or what there is of one: an export wrote it.
    Export,
}

impl Messages {
    /// Opens a file, by a link only if it is `named`.
    pub(super) fn open(path: &Path, named: bool) -> io::Result<Messages> {
        let file = files::read(path, named)?;
        let seconds = file.metadata()?.mtime();
        let file = BufReader::with_capacity(LINE as usize, file);
        let (path, separators) = (path.to_owned(), None);
        Ok(Messages { file, path, at: 0, within: false, separator: None, separators, seconds, ended: false })
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
                return Some(Lying { start: self.at, own: Own::Foreign, item: Err(error) });
            }
        };
        let start = self.at - separator.len() as u64;
        if !separator.starts_with(b"From ") {
            self.ended = true;
            let (own, why) = if mbox_separator::begins_as_ours(&separator) {
                (Own::Begun, CUT_OFF)
            } else {
                (Own::Foreign, "it is no mbox from here on")
            };
            return Some(Lying { start, own, item: Err(io::Error::other(why)) });
        }
        self.separators.get_or_insert_with(|| Separators::of(&separator));
        let (own, item) = self.message(&separator).unwrap_or_else(|error| {
            self.ended = true;
            (Own::Foreign, Err(error))
        });
        Some(Lying { start, own, item })
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

    /// Reads a message behind its separator. The outer error is that of the file.
    fn message(&mut self, separator: &[u8]) -> io::Result<(Own, io::Result<Option<Item>>)> {
        let mut line = Vec::new();
        while self.within && self.line(&mut line, u64::MAX)? {}
        let start = self.at;
        let ours = mbox_separator::is_ours(separator);
        if let Some((own, item)) = self.exported(separator)?.filter(|(own, _)| ours || *own != Own::Begun) {
            return Ok((own, item));
        }
        self.file.seek(SeekFrom::Start(start))?;
        (self.at, self.within, self.separator) = (start, false, None);
        let mut head = Head::default();
        let blank = self.head(&mut head)?;
        let fields = head.fields(ours);
        let mut coming = Coming::new(fields.mark.map_or(Ends::AsTheFirst, |mark| mark.ends()));
        coming.write(&fields.kept)?;
        match fields.length.and_then(|length| self.at.checked_add(length)).filter(|&end| self.fits(end)) {
            Some(end) => self.counted(&mut coming, end)?,
            None => self.content(&mut coming, Extent::Separator, true, blank)?,
        }
        let message = coming.finish()?;
        let own = match fields.mark {
            Some(mark) if mark.size == message.size => Own::Whole(mark),
            Some(_) => Own::Changed,
            None if fields.internal => Own::Internal,
            None => Own::Foreign,
        };
        Ok((own, Ok(self.item(separator, message, &fields))))
    }

    fn item(&self, separator: &[u8], message: Message, fields: &Fields) -> Option<Item> {
        let seconds = mbox_separator::date(separator).or(fields.received).or(fields.date).unwrap_or(self.seconds);
        fields.flags().map(|flags| Item::new(message, flags, seconds))
    }

    /// Reads a message that lies as an export wrote it, or the start of one; `None` is anything else.
    fn exported(&mut self, separator: &[u8]) -> io::Result<Option<(Own, io::Result<Option<Item>>)>> {
        let begun = || Ok(Some((Own::Begun, Err(io::Error::other(CUT_OFF)))));
        let (mut line, mut head) = (Vec::new(), Head::default());
        for field in mbox_head::OURS {
            self.line(&mut line, u64::MAX)?;
            let length = line.len().min(field.len());
            if line[..length] != field.as_bytes()[..length] {
                return Ok(None);
            }
            if line.last() != Some(&b'\n') {
                return if self.file.fill_buf()?.is_empty() { begun() } else { Ok(None) };
            }
            head.bytes.extend_from_slice(&line);
        }
        let fields = head.fields(true);
        let Some(mark) = fields.mark else { return Ok(None) };
        let mut coming = Coming::of_size(mark.ends(), mark.size);
        self.content(&mut coming, Extent::Export, true, false)?;
        match coming.against_its_size() {
            Ordering::Equal => Ok(Some((Own::Whole(mark), Ok(self.item(separator, coming.finish()?, &fields))))),
            Ordering::Less if self.separator.is_none() => begun(),
            _ => Ok(None),
        }
    }

    /// Reads a header; whether an empty line ends it.
    fn head(&mut self, head: &mut Head) -> io::Result<bool> {
        let (mut line, mut begins) = (Vec::new(), true);
        while head.bytes.len() <= HEADER && self.line(&mut line, u64::MAX)? {
            head.bytes.extend_from_slice(&line);
            if begins && is_blank(&line) {
                return Ok(true);
            }
            begins = !self.within;
        }
        Ok(false)
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

    /// Whether a line behind an empty one is a separator.
    fn separates(&self, line: &[u8]) -> bool {
        let is_mozilla = || {
            let mut next = [0; mbox_head::MOZILLA.len()];
            self.file.get_ref().read_exact_at(&mut next, self.at).is_ok() && next == *mbox_head::MOZILLA
        };
        self.separators.is_some_and(|separators| separators.has(line, is_mozilla))
    }

    /// Whether a line is what an interrupted export has written of a separator.
    fn begins_separator(&mut self, line: &[u8]) -> io::Result<bool> {
        Ok(self.within && mbox_separator::is_ours(line) && self.file.fill_buf()?.is_empty())
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
        self.content(coming, Extent::At(end), quoted, false)?;
        self.within = false;
        Ok(())
    }

    /// Reads content. `blank` is whether the line before is empty.
    fn content(&mut self, coming: &mut Coming, extent: Extent, quoted: bool, mut blank: bool) -> io::Result<()> {
        let (counted, end) = match extent {
            Extent::At(end) => (true, end),
            _ => (false, u64::MAX),
        };
        let (mut line, mut held, mut begins) = (Vec::new(), Vec::new(), !self.within);
        while self.line(&mut line, end)? {
            let parted = !counted && begins && (blank || !held.is_empty());
            if parted && (self.separates(&line) || extent == Extent::Export && self.begins_separator(&line)?) {
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
    type Item = (String, io::Result<Option<Item>>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let before = self.at;
        let mut lying = self.read()?;
        while lying.own == Own::Internal {
            lying = self.read()?;
        }
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
