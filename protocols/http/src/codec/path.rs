//! Percent-encoded paths (RFC 3986 §2.1, §3.3).

use std::borrow::Cow;
use std::fmt::Write;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathError {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// Not UTF-8.
    Utf8,
    /// An encoded slash: a name cannot hold one, and it must not be taken for one that parts names.
    Slash,
    /// NUL or another control character.
    Control,
    /// A `..`, however it is written.
    Parent,
}

impl PathError {
    /// One sentence for the client.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            PathError::Escape => "the path has a '%' without two hexadecimal digits",
            PathError::Utf8 => "the path is not UTF-8",
            PathError::Slash => "a name may not hold a slash",
            PathError::Control => "control characters are not allowed in a path",
            PathError::Parent => "'..' is not allowed in a path",
        }
    }
}

/// Decodes the path of a request; without escapes it is not copied.
///
/// # Errors
/// See [`PathError`].
pub(crate) fn decode_path(raw: &str) -> Result<Cow<'_, str>, PathError> {
    let path = if raw.contains('%') { Cow::Owned(unescape(raw)?) } else { Cow::Borrowed(raw) };
    if path.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if path.split('/').any(|name| name == "..") {
        return Err(PathError::Parent);
    }
    Ok(path)
}

fn unescape(raw: &str) -> Result<String, PathError> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let [high, low, next @ ..] = rest else { return Err(PathError::Escape) };
        let (Some(high), Some(low)) = (hex(*high), hex(*low)) else { return Err(PathError::Escape) };
        match high << 4 | low {
            b'/' => return Err(PathError::Slash),
            0 => return Err(PathError::Control),
            byte => bytes.push(byte),
        }
        rest = next;
    }
    String::from_utf8(bytes).map_err(|_| PathError::Utf8)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Encodes a path for a link or a `Location`: slashes stay, and what RFC 3986 leaves unreserved.
pub(crate) fn encode_path(path: &str) -> String {
    let mut text = String::with_capacity(path.len() + 16);
    for &byte in path.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        for (raw, path) in [
            ("/a/b", Ok("/a/b")),
            ("/a%20b%25", Ok("/a b%")),
            ("/%c3%A4", Ok("/ä")),
            ("/a+b", Ok("/a+b")),
            ("/...", Ok("/...")),
            ("/a%2Fb", Err(PathError::Slash)),
            ("/a%2fb", Err(PathError::Slash)),
            ("/a%00", Err(PathError::Control)),
            ("/a%0d%0a", Err(PathError::Control)),
            ("/a%7f", Err(PathError::Control)),
            ("/a/../b", Err(PathError::Parent)),
            ("/%2e%2e/b", Err(PathError::Parent)),
            ("/.%2E", Err(PathError::Parent)),
            ("/%", Err(PathError::Escape)),
            ("/%4", Err(PathError::Escape)),
            ("/%zz", Err(PathError::Escape)),
            ("/%+1", Err(PathError::Escape)),
            ("/%ff", Err(PathError::Utf8)),
        ] {
            assert_eq!(decode_path(raw), path.map(Cow::Borrowed), "{raw}");
        }
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        for path in ["/", "/a b/ä?#%&\"'<>\\", "/~alice/x.txt"] {
            let encoded = encode_path(path);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>?#".contains(&byte)));
            assert_eq!(decode_path(&encoded).unwrap(), path);
        }
    }
}
