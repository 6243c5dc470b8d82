//! Writing a Maildir.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::export::Wanted;
use super::flags::{self, KEYWORDS, Letters};
use super::{files, names};

/// Stands in the names of what was exported.
const OURS: &str = "wharfinger";

/// A Maildir that an export writes.
pub(super) struct Folder {
    path: PathBuf,
    letters: Letters,
    /// What it has, by UIDVALIDITY and UID.
    has: HashSet<(u32, u32)>,
    /// What is shorter than its name says, as a machine leaves it that has lost its power.
    damaged: HashMap<(u32, u32), PathBuf>,
}

/// A message that is being written.
pub(super) struct Writing {
    file: File,
    temporary: PathBuf,
    place: PathBuf,
}

/// Where the Maildir of a mailbox lies: INBOX at the root itself, the others as Maildir++ names them.
pub(super) fn place(root: &Path, mailbox: &str) -> PathBuf {
    if mailbox == "INBOX" {
        return root.to_owned();
    }
    let levels: Vec<String> = mailbox.split('/').map(names::encode).collect();
    root.join(format!(".{}", levels.join(".")))
}

/// Which message a file's name says it is, by UIDVALIDITY and UID, and its size, if an export wrote it.
pub(super) fn message_of(name: &str) -> Option<((u32, u32), u64)> {
    let (_, rest) = name.split_once(".V")?;
    let (validity, rest) = rest.split_once('U')?;
    let (uid, rest) = rest.split_once('.')?;
    let rest = rest.strip_prefix(OURS)?.strip_prefix(",S=")?;
    let size = rest.split_once(':').map_or(rest, |(size, _)| size);
    Some(((validity.parse().ok()?, uid.parse().ok()?), size.parse().ok()?))
}

impl Folder {
    /// The Maildir at `path`, which is made if it is not there: the one at `top`, or a folder of that.
    pub(super) fn open(top: &Path, path: PathBuf) -> io::Result<Folder> {
        for folder in ["cur", "new", "tmp"] {
            files::make_folder(top, &path.join(folder))?;
        }
        if path != top {
            // Maildir++ tells folders from the whole by it.
            files::open(&path.join("maildirfolder"), File::options().append(true).create(true), false)?;
        }
        let (mut has, mut damaged) = (HashSet::new(), HashMap::new());
        for folder in ["tmp", "cur", "new"] {
            for entry in fs::read_dir(path.join(folder))? {
                let entry = entry?;
                let name = entry.file_name();
                let Some((message, size)) = message_of(&name.to_string_lossy()) else {
                    if folder == "tmp" && name == KEYWORDS {
                        fs::remove_file(entry.path())?;
                    }
                    continue;
                };
                let length = entry.metadata()?.len();
                if folder == "tmp" {
                    // Left by an export that was interrupted.
                    fs::remove_file(entry.path())?;
                } else if length == size {
                    has.insert(message);
                } else if length < size {
                    damaged.insert(message, entry.path());
                }
            }
        }
        Ok(Folder { letters: Letters::read(&path), path, has, damaged })
    }

    /// Whether it has a message.
    pub(super) fn has(&self, message: (u32, u32)) -> bool {
        self.has.contains(&message)
    }

    /// Begins to write a message; also the keywords that it cannot keep.
    pub(super) fn begin<'a>(&mut self, wanted: &'a Wanted) -> io::Result<(Writing, Vec<&'a str>)> {
        let before = self.letters.clone();
        let (info, left_out) = flags::to_maildir(&wanted.held.flags, &mut self.letters);
        if self.letters != before {
            // Known before a name uses it.
            let new = self.path.join("tmp").join(KEYWORDS);
            File::create_new(&new)?.write_all(self.letters.text().as_bytes())?;
            fs::rename(new, self.path.join(KEYWORDS))?;
        }
        let (seconds, size) = (wanted.held.received.div_euclid(1000), wanted.held.size);
        let name = format!("{seconds}.V{}U{}.{OURS},S={size}", wanted.uidvalidity, wanted.held.uid);
        let temporary = self.path.join("tmp").join(&name);
        let file = File::create_new(&temporary)?;
        Ok((Writing { file, temporary, place: self.path.join("cur").join(format!("{name}:2,{info}")) }, left_out))
    }

    /// The message is whole.
    pub(super) fn end(&mut self, writing: Writing, wanted: &Wanted) -> io::Result<()> {
        let Writing { file, temporary, place } = writing;
        file.set_modified(time(wanted.held.received))?;
        drop(file);
        // Not before there is a whole one to take its place, and of the same name it does so itself.
        let damaged = self.damaged.remove(&(wanted.uidvalidity, wanted.held.uid)).filter(|damaged| *damaged != place);
        fs::rename(temporary, place)?;
        damaged.map_or(Ok(()), fs::remove_file)
    }
}

impl Writing {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
}

fn time(milliseconds: i64) -> SystemTime {
    let distance = Duration::from_millis(milliseconds.unsigned_abs());
    let time = if milliseconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::super::frames::Held;
    use super::*;

    #[test]
    fn what_was_changed_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cur = folder.path().join("cur");
        let write = |uid: u32, flag: &str| {
            let (hash, flags) = (String::new(), vec![flag.to_owned()]);
            let wanted = Wanted { uidvalidity: 5, held: Held { uid, hash, received: 0, flags, size: 7 } };
            let mut maildir = Folder::open(folder.path(), folder.path().to_owned()).unwrap();
            if maildir.has((5, uid)) {
                return false;
            }
            let mut writing = maildir.begin(&wanted).unwrap().0;
            writing.write(b"A: b\r\n\r").unwrap();
            maildir.end(writing, &wanted).unwrap();
            true
        };
        assert!(write(1, "word") && !write(1, "word"));
        assert!(write(2, "\\Seen") && write(3, "\\Seen"));
        for (name, content) in
            [("0.V5U2.wharfinger,S=7:2,S", "longer, by somebody"), ("0.V5U3.wharfinger,S=7:2,S", "cut")]
        {
            fs::write(cur.join(name), content).unwrap();
        }
        fs::write(folder.path().join("tmp/0.V5U9.wharfinger,S=7"), "").unwrap();
        fs::write(folder.path().join("tmp").join(KEYWORDS), "").unwrap();
        assert!(write(4, "another"), "whatever was left by one that was interrupted");
        assert_eq!(
            (fs::read_dir(&cur).unwrap().count(), fs::read_dir(folder.path().join("tmp")).unwrap().count()),
            (4, 0)
        );
        assert!(write(2, "\\Flagged") && write(3, "\\Flagged"), "they are not what is here");
        let mut names: Vec<String> =
            fs::read_dir(cur).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let expected = [
            "1.wharfinger,S=7:2,a",
            "2.wharfinger,S=7:2,F",
            "2.wharfinger,S=7:2,S",
            "3.wharfinger,S=7:2,F",
            "4.wharfinger,S=7:2,b",
        ];
        assert_eq!(names, expected.map(|name| format!("0.V5U{name}")));
    }

    #[test]
    fn names_tell_the_message() {
        assert_eq!(message_of("1700000000.V5U7.wharfinger,S=12:2,S"), Some(((5, 7), 12)));
        assert_eq!(message_of("1700000000.V5U7.wharfinger,S=12"), Some(((5, 7), 12)));
        for other in ["1700000000.M1P2.host,S=3:2,", "1.V5U7.host,S=12:2,", "", "1.V5U7.wharfinger"] {
            assert_eq!(message_of(other), None, "{other}");
        }
        assert_eq!(place(Path::new("/x"), "INBOX"), Path::new("/x"));
        assert_eq!(place(Path::new("/x"), "a.b/ü"), Path::new("/x/.a&AC4-b.&APw-"));
    }
}
