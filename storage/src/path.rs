//! Paths inside a home: one normaliser for every protocol.

use std::fmt;

use crate::Error;

/// The longest name of a file or folder, in bytes.
const NAME_MAX: usize = 255;
/// The longest path, in bytes.
const PATH_MAX: usize = 4096;
/// The most folders inside each other.
const DEPTH_MAX: usize = 128;

/// An absolute, normal path in one account's home: `/` or `/a/b`, never with `.`, `..`, empty parts, NUL or control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VPath(String);

impl VPath {
    /// The home itself.
    pub fn root() -> Self {
        VPath("/".to_owned())
    }

    /// Reads a path from the root, with or without its leading slash; empty parts and `.` vanish.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `..`, NUL, control characters, and what is too long or too deep.
    pub fn parse(text: &str) -> Result<Self, Error> {
        VPath::root().join(&format!("/{text}"))
    }

    /// Reads a path relative to this one; from the root when it begins with a slash.
    ///
    /// # Errors
    /// As [`VPath::parse`].
    pub fn join(&self, text: &str) -> Result<Self, Error> {
        let mut path = if text.starts_with('/') || self.is_root() { String::new() } else { self.0.clone() };
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            check_name(name)?;
            path.push('/');
            path.push_str(name);
        }
        if path.len() > PATH_MAX {
            return Err(Error::invalid("the path is too long: 4096 bytes are allowed"));
        }
        if path.bytes().filter(|&byte| byte == b'/').count() > DEPTH_MAX {
            return Err(Error::invalid("the path is too deep: 128 folders inside each other are allowed"));
        }
        if path.is_empty() {
            path.push('/');
        }
        Ok(VPath(path))
    }

    /// The path of `name` in this folder; one name, without a slash.
    ///
    /// # Errors
    /// As [`VPath::parse`], and for a name that is empty, `.` or holds a slash.
    pub fn child(&self, name: &str) -> Result<Self, Error> {
        if name.is_empty() || name == "." || name.contains('/') {
            return Err(Error::invalid("a name may not be empty or hold a slash"));
        }
        self.join(name)
    }

    /// The folder it stands in; `None` for the root.
    pub fn parent(&self) -> Option<VPath> {
        let (parent, name) = self.0.rsplit_once('/')?;
        match (parent, name) {
            (_, "") => None,
            ("", _) => Some(VPath::root()),
            (parent, _) => Some(VPath(parent.to_owned())),
        }
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// The names from the root down.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Whether it is the home itself.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// Whether `other` is this path or stands somewhere below it.
    pub fn contains(&self, other: &VPath) -> bool {
        self.is_root() || other.0 == self.0 || other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if name == ".." {
        return Err(Error::invalid("'..' is not allowed in a path"));
    }
    if name.len() > NAME_MAX {
        return Err(Error::invalid("the name is too long: 255 bytes are allowed"));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid("control characters are not allowed in a name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_normal() {
        for (from, to) in [("", "/"), ("/", "/"), ("a", "/a"), ("//a///b/./c/", "/a/b/c"), ("ä/ö", "/ä/ö")] {
            assert_eq!(VPath::parse(from).unwrap().as_str(), to);
        }
        let base = VPath::parse("/a").unwrap();
        assert_eq!(base.join("b/c").unwrap().as_str(), "/a/b/c");
        assert_eq!(base.join("/b").unwrap().as_str(), "/b");
        assert_eq!((base.parent().unwrap().is_root(), VPath::root().parent()), (true, None));
        assert_eq!((base.name(), VPath::root().name()), ("a", ""));
    }

    #[test]
    fn bad_paths_are_refused() {
        let long = "x".repeat(256);
        let deep = "a/".repeat(129);
        let wide = "abcdefghi/".repeat(100) + &"y".repeat(200).repeat(20);
        for bad in ["..", "a/../b", "/..", "a\0b", "a\nb", "a\u{7f}", long.as_str(), &deep, &wide] {
            assert!(matches!(VPath::parse(bad), Err(Error::Invalid(_))), "{bad:?}");
        }
        assert!(VPath::root().child("a/b").is_err() && VPath::root().child("").is_err());
    }

    #[test]
    fn containment_goes_by_whole_names() {
        let path = |text| VPath::parse(text).unwrap();
        assert!(
            path("/a").contains(&path("/a/b")) && path("/a").contains(&path("/a")) && path("/").contains(&path("/x"))
        );
        assert!(!path("/a").contains(&path("/ab")));
    }
}
