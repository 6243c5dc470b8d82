//! Writing a Maildir.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::export::Wanted;
use super::flags::{self, KEYWORDS, Letters};
use super::names;

/// Stands in the names of what was exported.
const OURS: &str = "wharfinger";

/// A Maildir that an export writes.
pub(super) struct Folder {
    path: PathBuf,
    letters: Letters,
    /// What it has, by UIDVALIDITY and UID.
    has: HashSet<(u32, u32)>,
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
    /// The Maildir at `path`, which is made if it is not there. `root` is whether it is no folder of another one.
    pub(super) fn open(path: PathBuf, root: bool) -> io::Result<Folder> {
        for folder in ["cur", "new", "tmp"] {
            fs::create_dir_all(path.join(folder))?;
        }
        if !root {
            // Maildir++ tells folders from the whole by it.
            File::options().append(true).create(true).open(path.join("maildirfolder"))?;
        }
        let mut has = HashSet::new();
        for folder in ["tmp", "cur", "new"] {
            for entry in fs::read_dir(path.join(folder))? {
                let entry = entry?;
                let Some((message, size)) = message_of(&entry.file_name().to_string_lossy()) else { continue };
                // Left by an export that was interrupted, or by a machine.
                if folder == "tmp" || entry.metadata()?.len() != size {
                    fs::remove_file(entry.path())?;
                } else {
                    has.insert(message);
                }
            }
        }
        Ok(Folder { letters: Letters::read(&path), path, has })
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
            fs::write(&new, self.letters.text())?;
            fs::rename(new, self.path.join(KEYWORDS))?;
        }
        let (seconds, size) = (wanted.held.received.div_euclid(1000), wanted.held.size);
        let name = format!("{seconds}.V{}U{}.{OURS},S={size}", wanted.uidvalidity, wanted.held.uid);
        let temporary = self.path.join("tmp").join(&name);
        let file = File::create(&temporary)?;
        Ok((Writing { file, temporary, place: self.path.join("cur").join(format!("{name}:2,{info}")) }, left_out))
    }

    /// The message is whole.
    pub(super) fn end(&mut self, writing: Writing, wanted: &Wanted) -> io::Result<()> {
        let Writing { file, temporary, place } = writing;
        file.set_modified(time(wanted.held.received))?;
        drop(file);
        fs::rename(temporary, place)
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
    use super::*;

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
