//! The fields of a header, as they are (RFC 5322 §2.2), and what mail programs really send: bare line feeds, lines
//! without a colon, no empty line at the end.

use memchr::memchr;

/// A field of a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) name: &'a [u8],
    /// What stands after the colon, with its folds.
    pub(super) value: &'a [u8],
}

impl Field<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Every field in turn; lines that are none are passed over.
pub(super) fn fields(mut header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    std::iter::from_fn(move || {
        loop {
            if header.is_empty() || is_empty_line(header) {
                return None;
            }
            let mut end = line_end(header);
            while matches!(header.get(end), Some(b' ' | b'\t')) && !is_empty_line(&header[end..]) {
                end += line_end(&header[end..]);
            }
            let (field, rest) = header.split_at(end);
            header = rest;
            if let Some(colon) = memchr(b':', &field[..line_end(field)]) {
                let name = field[..colon].trim_ascii_end();
                if !name.is_empty() && !name[0].is_ascii_whitespace() {
                    return Some(Field { name, value: &field[colon + 1..] });
                }
            }
        }
    })
}

/// The values of the fields of that name, each on one line, without the space around it.
pub fn field_values<'a>(header: &'a [u8], name: &'a str) -> impl Iterator<Item = String> + 'a {
    fields(header).filter(move |field| field.is(name)).map(|field| unfold(field.value, field.value.len()))
}

/// Where the line ends that begins here, its line feed included.
pub(super) fn line_end(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// Whether an empty line begins here.
pub(super) fn is_empty_line(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\r\n") || bytes.starts_with(b"\n")
}

/// The value of a field on one line, as text, without the space around it: at most `most` bytes. Line breaks go, the
/// space they are followed by stays (RFC 5322 §2.2.3).
pub(super) fn unfold(value: &[u8], most: usize) -> String {
    // Cut before it is copied: a field may be as long as the message.
    let trimmed = value.trim_ascii();
    let bytes: Vec<u8> =
        trimmed.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).take(most + 4).collect();
    let mut text = match String::from_utf8(bytes) {
        Ok(text) => text,
        // The cut may be inside a character; other bytes are of an old character set that nobody named.
        Err(error) if error.utf8_error().error_len().is_none() => {
            let valid = error.utf8_error().valid_up_to();
            let mut bytes = error.into_bytes();
            bytes.truncate(valid);
            String::from_utf8(bytes).unwrap_or_default()
        }
        Err(error) => super::words::latin(error.as_bytes()),
    };
    cut(&mut text, most);
    text
}

/// Shortens a text to at most so many bytes, at the boundary of a character.
pub(super) fn cut(text: &mut String, most: usize) {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart() {
        let header = b"A: 1\r\n 2\r\nno colon\r\nb :\r\n\tx\r\n: y\r\n z:1\r\nC:3\nD: 4\r\n \r\nE: 5\r\n\r\nF: 6";
        let all: Vec<(String, String)> = fields(header)
            .map(|field| (String::from_utf8_lossy(field.name).into_owned(), unfold(field.value, 100)))
            .collect();
        let expected = [("A", "1 2"), ("b", "x"), ("C", "3"), ("D", "4"), ("E", "5")];
        assert_eq!(all, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn fields_have_values() {
        let header = b"A: one\r\n two\r\nB: x\r\na : J\xf6rg\r\n\r\nA: not a field\r\n";
        assert_eq!(field_values(header, "a").collect::<Vec<_>>(), ["one two", "Jörg"]);
        assert_eq!(field_values(b"A: x", "a").collect::<Vec<_>>(), ["x"]);
        assert_eq!(field_values(header, "c").count(), 0);
    }

    #[test]
    fn values_are_cut_at_characters() {
        assert_eq!(unfold("  grüße\r\n\t.  ".as_bytes(), 100), "grüße\t.");
        assert_eq!(unfold("grüße".as_bytes(), 3), "gr");
        assert_eq!(unfold(b"gr\xfc\xdfe", 100), "grüße");
        assert_eq!(unfold(&[b'x'; 5000], 2000).len(), 2000);
    }
}
