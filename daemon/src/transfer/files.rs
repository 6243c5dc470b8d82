//! Opening files that are others': whoever runs the command may read and write more than they who laid them there, and
//! waits for no pipe.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// What is said of a link.
pub(super) const LINK: &str = "it is a link, which is not followed; name what it leads to";

/// Opens a file, and nothing else. What a link leads to is opened where it is `named`: it was somebody's own choice.
pub(super) fn open(path: &Path, options: &mut OpenOptions, named: bool) -> io::Result<File> {
    let follow = if named { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = (follow | OFlags::NONBLOCK).bits();
    let file = options.custom_flags(flags.cast_signed()).open(path).map_err(|error| {
        let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        if is_link { io::Error::other(LINK) } else { error }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

/// Opens a file to read it.
pub(super) fn read(path: &Path, named: bool) -> io::Result<File> {
    open(path, File::options().read(true), named)
}

/// Whether a folder is there; a link to one is an error.
pub(super) fn is_folder(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(io::Error::other(LINK)),
        found => Ok(found.is_ok_and(|found| found.is_dir())),
    }
}

/// Makes a folder below `root`, and those between.
pub(super) fn make_folder(root: &Path, path: &Path) -> io::Result<()> {
    let mut between: Vec<&Path> = path.ancestors().take_while(|&folder| folder != root).collect();
    fs::create_dir_all(root)?;
    while let Some(folder) = between.pop() {
        if !is_folder(folder)? {
            fs::create_dir(folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_pipes_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "x").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(folder.path(), at("folder")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert!(read(&at("file"), false).is_ok() && read(&at("link"), true).is_ok());
        for (name, named) in [("link", false), ("pipe", false), ("pipe", true), ("/dev/zero", true), ("folder", true)] {
            assert!(read(&at(name), named).is_err(), "{name}");
        }
        assert!(make_folder(folder.path(), &at("a/b")).is_ok() && is_folder(&at("a/b")).unwrap());
        assert!(make_folder(folder.path(), &at("folder/b")).is_err() && !at("b").exists());
        assert!(make_folder(&at("folder"), &at("folder/c")).is_ok() && at("c").exists(), "the root may be one");
    }
}
