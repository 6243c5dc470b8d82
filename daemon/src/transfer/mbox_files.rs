//! Where mbox files lie.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{files, names};

/// The most folders inside each other.
const DEPTH: usize = 32;

/// The mbox files at `root`, a file or a folder of them, each with its mailbox. What is none is told to `problem`.
pub(super) fn find(root: &Path, top: Option<&str>, problem: &mut impl FnMut(&Path, &str)) -> Vec<(String, PathBuf)> {
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
                let above = name.strip_suffix(".sbd").filter(|above| path.join(above).exists());
                let level = above.unwrap_or(&name).to_owned();
                waiting.push((entry.path(), [&levels[..], &[level]].concat()));
            } else if is(fs::FileType::is_file) && (begins_as_mbox(&entry.path()) || is_empty(&entry.path(), &name)) {
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

/// Whether a file is a folder without messages, of an export, of Thunderbird, or of those whose files have plain names.
fn is_empty(path: &Path, name: &str) -> bool {
    let named = name.ends_with(".mbox") || !name.contains('.') || path.with_file_name(format!("{name}.msf")).exists();
    named && path.metadata().is_ok_and(|file| file.len() == 0)
}

fn begins_as_mbox(path: &Path) -> bool {
    let mut start = [0; 5];
    files::read(path, false).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"From "
}
