//! Reading Maildirs: Maildir++ with its folders `.a.b`, and folders inside folders.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::files;
use super::flags::{self, Letters};
use super::import::Item;
use super::message::{Ends, Message};
use super::{maildir_write, names};

/// The most folders inside each other.
const DEPTH: usize = 32;

/// A Maildir that is a mailbox.
pub(super) struct Folder {
    pub(super) mailbox: String,
    path: PathBuf,
}

/// The Maildirs at `root` and below; what lies at `root` itself belongs to the mailbox `top`. What cannot be read is
/// told to `problem`.
pub(super) fn folders(root: &Path, top: Option<&str>, problem: &mut impl FnMut(&Path, &io::Error)) -> Vec<Folder> {
    let mut found = Vec::new();
    let mut waiting: Vec<(PathBuf, Vec<String>)> = vec![(root.to_owned(), Vec::new())];
    while let Some((path, levels)) = waiting.pop() {
        if has_folder(&path, "cur", problem) {
            let mailbox = names::mailbox(top.unwrap_or_default(), levels.iter().map(String::as_str));
            let mailbox = if mailbox.is_empty() { "INBOX".to_owned() } else { mailbox };
            found.push(Folder { mailbox, path: path.clone() });
        }
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                problem(&path, &error);
                continue;
            }
        };
        for entry in entries {
            let (below, kind) = match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
                Ok(entry) => entry,
                Err(error) => {
                    problem(&path, &error);
                    continue;
                }
            };
            let name = below.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if matches!(&*name, "cur" | "new" | "tmp") || !below.is_dir() {
                continue;
            }
            // What a link leads to is somebody's own choice only at the root.
            if kind.is_symlink() {
                problem(&below, &io::Error::other(files::LINK));
                continue;
            }
            if levels.len() >= DEPTH {
                problem(&below, &io::Error::other("there are too many folders inside each other"));
                continue;
            }
            let more = match name.strip_prefix('.') {
                Some(dotted) => dotted.split('.').map(str::to_owned).collect(),
                None => vec![name],
            };
            waiting.push((below, [&levels[..], &more].concat()));
        }
    }
    found.sort_by(|one, other| one.mailbox.cmp(&other.mailbox).then_with(|| one.path.cmp(&other.path)));
    found
}

/// Whether a folder is there; what a link leads to might be another's.
fn has_folder(path: &Path, name: &str, problem: &mut impl FnMut(&Path, &io::Error)) -> bool {
    let path = path.join(name);
    files::is_folder(&path).unwrap_or_else(|error| {
        problem(&path, &error);
        false
    })
}

/// How what Dovecot has compressed or encrypted begins: gzip, bzip2, xz, Zstandard, LZ4, and its own encryption.
const PACKED: [&[u8]; 6] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"Dovecot-LZ4", b"CRYPTED\x03\x07"];

impl Folder {
    /// How many files it has.
    pub(super) fn count(&self) -> u64 {
        let count = |name| fs::read_dir(self.path.join(name)).map_or(0, Iterator::count);
        (count("cur") + count("new")) as u64
    }

    /// Its messages, in the order of their names, which begin with the time they came.
    pub(super) fn messages(&self, problem: &mut impl FnMut(&Path, &io::Error)) -> Messages {
        let mut files = Vec::new();
        for folder in ["cur", "new"] {
            if !has_folder(&self.path, folder, problem) {
                continue;
            }
            match fs::read_dir(self.path.join(folder)).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                Ok(entries) => files.extend(entries.into_iter().map(|entry| (entry.file_name(), folder))),
                Err(error) => problem(&self.path.join(folder), &error),
            }
        }
        // No message's name begins with a dot: they are what file systems and editors leave.
        files.retain(|(name, _)| !name.as_encoded_bytes().starts_with(b"."));
        files.sort_unstable();
        let paths: Vec<PathBuf> = files.into_iter().map(|(name, folder)| self.path.join(folder).join(name)).collect();
        Messages { letters: Letters::read(&self.path), paths: paths.into_iter() }
    }
}

/// The messages of one folder.
pub(super) struct Messages {
    letters: Letters,
    paths: std::vec::IntoIter<PathBuf>,
}

impl Iterator for Messages {
    type Item = (PathBuf, io::Result<Item>);

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.paths.next()?;
        let item = self.read(&path);
        Some((path, item))
    }
}

impl Messages {
    fn read(&self, path: &Path) -> io::Result<Item> {
        let mut file = files::read(path, false)?;
        let mut start = [0; 16];
        let length = file.read_at(&mut start, 0)?;
        if PACKED.iter().any(|packed| start[..length].starts_with(packed)) {
            return Err(io::Error::other("it is compressed or encrypted; only the server that wrote it can read it"));
        }
        let seconds = file.metadata()?.mtime();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Windows takes no colon, so others stand there instead.
        let info = name.rsplit_once([':', ';', '!']).and_then(|(_, info)| info.strip_prefix("2,")).unwrap_or_default();
        let ends = if maildir_write::message_of(&name).is_some() { Ends::Keep } else { Ends::AsTheFirst };
        let message = Message::read(&mut file, ends)?;
        Ok(Item::new(message, flags::of_maildir(info, &self.letters), seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_mailboxes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".Linked")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join(".Linked/cur")).unwrap();
        for name in ["cur", ".Sent/cur", ".a.b&APw-/cur", "blobs/new", "fs/deep/cur", "INBOX/x/cur", ".empty"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/dev/null", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        let found = |top| -> Vec<String> {
            let mut problems = Vec::new();
            let mut problem = |path: &Path, _: &io::Error| problems.push(path.to_owned());
            let found = folders(folder.path(), top, &mut problem).into_iter().map(|folder| folder.mailbox).collect();
            problems.sort();
            assert_eq!(problems, [".Linked/cur", "loop"].map(|name| folder.path().join(name)), "links to folders");
            found
        };
        assert_eq!(found(None), ["INBOX", "INBOX/x", "Sent", "a/bü", "fs/deep"]);
        assert_eq!(found(Some("Old")), ["Old", "Old/INBOX/x", "Old/Sent", "Old/a/bü", "Old/fs/deep"]);
    }

    #[test]
    fn messages_have_flags_and_dates() {
        let folder = tempfile::tempdir().unwrap();
        let cur = folder.path().join("cur");
        fs::create_dir_all(cur.join("2folder")).unwrap();
        fs::write(folder.path().join(flags::KEYWORDS), "0 Junk\n").unwrap();
        fs::write(cur.join(".nfs0001"), "no message").unwrap();
        fs::write(cur.join("4.z,S=100:2,S"), b"\x1f\x8b\x08").unwrap();
        for (name, seconds) in [("1.x:2,FSa", 1_000_000_000), ("3.y", 5)] {
            fs::write(cur.join(name), "A: b\n\nc\n").unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::options().write(true).open(cur.join(name)).unwrap().set_modified(time).unwrap();
        }
        let mut problem = |_: &Path, _: &io::Error| panic!();
        let read = folders(folder.path(), None, &mut problem)[0].messages(&mut problem);
        let seen: Vec<_> = read
            .map(|(_, item)| item.map(|item| (item.flags, item.seconds, item.message.size)).map_err(|e| e.to_string()))
            .collect();
        let flagged = ["\\Flagged", "\\Seen", "Junk"].map(str::to_owned).to_vec();
        assert_eq!(seen[..3], [Ok((flagged, 1_000_000_000, 11)), Err("it is not a file".into()), Ok((vec![], 5, 11))]);
        assert!(seen.len() == 4 && seen[3].as_ref().is_err_and(|why| why.contains("compressed")), "{seen:?}");
    }
}
