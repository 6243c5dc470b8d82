//! Writing an mbox file, as mboxrd quotes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::SpooledTempFile;
use time::OffsetDateTime;
use time::macros::format_description;

use super::export::Wanted;
use super::mbox::{self, Own};
use super::mbox_head::Mark;
use super::mbox_separator::FROM;
use super::{files, flags, names};

/// Up to this size a message is held in memory.
const IN_MEMORY: usize = 256 << 10;
/// The longest piece of a line that is looked at.
const LINE: u64 = 64 << 10;

/// An mbox file that an export writes.
pub(super) struct Mbox {
    file: BufWriter<File>,
    /// What it has, by UIDVALIDITY and UID.
    has: HashSet<(u32, u32)>,
}

/// A message that is coming.
pub(super) struct Writing {
    spool: SpooledTempFile,
    /// Whether its line ends cannot be written as Unix has them and come back the same.
    raw: bool,
    /// The last two bytes.
    last: [u8; 2],
}

/// Where the mbox file of a mailbox lies in the folder `root`.
pub(super) fn place(root: &Path, mailbox: &str) -> PathBuf {
    let levels: Vec<_> = mailbox.split('/').map(names::plain).collect();
    root.join(format!("{}.mbox", levels.join("/")))
}

impl Mbox {
    /// The file at `path`, which is made if it is not there, and below the folder `root` if there is one.
    ///
    /// # Errors
    /// Also when it has other mail than what was exported.
    pub(super) fn open(root: Option<&Path>, path: &Path) -> io::Result<Mbox> {
        match (root, path.parent()) {
            (Some(root), Some(folder)) => files::make_folder(root, folder)?,
            (None, Some(folder)) => fs::create_dir_all(folder)?,
            (_, None) => {}
        }
        let file = files::open(path, File::options().read(true).append(true).create(true), root.is_none())?;
        let (mut has, mut begun) = (HashSet::new(), None);
        let mut messages = mbox::Messages::open(path, root.is_none())?;
        while let Some(lying) = messages.read() {
            match (lying.own, lying.item) {
                (Own::Whole(mark), _) => {
                    has.insert((mark.uidvalidity, mark.uid));
                }
                (Own::Begun, _) => begun = Some(lying.start),
                // It stays, and is written once more as it is here.
                (Own::Changed, _) => {}
                (Own::Foreign, Err(error)) if error.kind() != io::ErrorKind::Other => return Err(error),
                (Own::Foreign | Own::Internal, _) => {
                    let why = "it has other mail than what was exported; name another file, or move this one away";
                    return Err(io::Error::other(why));
                }
            }
        }
        if let Some(start) = begun {
            file.set_len(start)?;
        }
        let length = file.metadata()?.len();
        let (mut end, known) = ([b'\n'; 2], length.min(2));
        file.read_exact_at(&mut end[2 - known as usize..], length - known)?;
        // It may have been interrupted just before the empty line that parts messages, or another program leaves none.
        let there = end.iter().rev().take_while(|&&byte| byte == b'\n').count();
        let mut file = BufWriter::new(file);
        file.write_all(&b"\n\n"[there..])?;
        Ok(Mbox { file, has })
    }

    /// Whether it has a message.
    pub(super) fn has(&self, message: (u32, u32)) -> bool {
        self.has.contains(&message)
    }

    /// The message is whole.
    pub(super) fn end(&mut self, writing: Writing, wanted: &Wanted) -> io::Result<()> {
        let Writing { mut spool, raw, last } = writing;
        let held = &wanted.held;
        let mark = Mark { uidvalidity: wanted.uidvalidity, uid: held.uid, size: held.size, raw };
        let (status, more, keywords) = flags::to_mbox(&held.flags);
        write!(self.file, "{FROM}{}\n{mark}\n", date(held.received))?;
        write!(self.file, "Status: {status}\nX-Status: {more}\nX-Keywords: {keywords}\n")?;
        spool.rewind()?;
        self.lines(BufReader::new(spool), raw)?;
        self.file.write_all(if last[1] == b'\n' { b"\n" } else { b"\n\n" })
    }

    fn lines(&mut self, mut content: impl BufRead, raw: bool) -> io::Result<()> {
        let (mut line, mut begins, mut returned) = (Vec::new(), true, false);
        loop {
            line.clear();
            if (&mut content).take(LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let depth = line.iter().take_while(|&&byte| byte == b'>').count();
            if begins && line[depth..].starts_with(b"From ") {
                self.file.write_all(b">")?;
            }
            begins = line.last() == Some(&b'\n');
            if raw {
                self.file.write_all(&line)?;
                continue;
            }
            // A carriage return may be parted from its line end by the limit of a piece.
            if returned && line != b"\n" {
                self.file.write_all(b"\r")?;
            }
            returned = line.last() == Some(&b'\r');
            match line.strip_suffix(b"\r\n") {
                Some(text) => self.file.write_all(text).and_then(|()| self.file.write_all(b"\n"))?,
                None => self.file.write_all(line.strip_suffix(b"\r").unwrap_or(&line))?,
            }
        }
        if returned { self.file.write_all(b"\r") } else { Ok(()) }
    }

    /// Lets others see what was written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Writing {
    pub(super) fn new() -> Writing {
        Writing { spool: SpooledTempFile::new(IN_MEMORY), raw: false, last: [0; 2] }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for at in memchr::memchr_iter(b'\n', bytes) {
            let before = |back: usize| match at.checked_sub(back) {
                Some(at) => bytes[at],
                None => self.last.get((2 + at).wrapping_sub(back)).copied().unwrap_or(0),
            };
            self.raw |= before(1) != b'\r' || before(2) == b'\r';
        }
        match bytes {
            [] => {}
            [only] => self.last = [self.last[1], *only],
            [.., one, other] => self.last = [*one, *other],
        }
        self.spool.write_all(bytes)
    }
}

/// A date as separators have it: that of C's asctime, in UTC.
fn date(milliseconds: i64) -> String {
    let format = format_description!(
        "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
    );
    let at = OffsetDateTime::from_unix_timestamp(milliseconds.div_euclid(1000)).ok();
    // A year of other than four digits would be none to a reader.
    let at = at.filter(|at| (1000..=9999).contains(&at.year())).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(format).unwrap_or_default()
}
