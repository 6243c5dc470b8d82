//! Content transfer encodings (RFC 2045 §6), read leniently: what is not of the alphabet is passed over.

use std::borrow::Cow;

/// A body without its content transfer encoding; `None` when the encoding is not known. An encoding that is not named
/// is `7bit`.
pub fn decode_transfer<'a>(encoding: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "7bit" | "8bit" | "binary" => Some(Cow::Borrowed(body)),
        "base64" => Some(Cow::Owned(base64(body))),
        "quoted-printable" => Some(Cow::Owned(quoted(body, false))),
        _ => None,
    }
}

/// Base64 that ends with its padding, or without any. After a padding more may follow: some join encoded pieces.
pub(super) fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                (bits, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}

/// Quoted-printable, or the `Q` encoding of a word (RFC 2047 §4.2), where `_` is a space and no line ends.
pub(super) fn quoted(text: &[u8], word: bool) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut at = 0;
    // Space at the end of a line is not part of it: where the last other byte ended.
    let mut solid = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'=' => match (hex(text.get(at)), hex(text.get(at + 1))) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    at += 2;
                }
                _ => match soft_break(&text[at..]) {
                    Some(length) if !word => at += length,
                    _ => out.push(b'='),
                },
            },
            b'_' if word => out.push(b' '),
            b' ' | b'\t' if !word => {
                out.push(byte);
                continue;
            }
            b'\r' | b'\n' if !word => {
                out.truncate(solid);
                out.push(byte);
            }
            _ => out.push(byte),
        }
        solid = out.len();
    }
    out
}

/// How long the rest of the line is, when there is nothing but space in it.
fn soft_break(text: &[u8]) -> Option<usize> {
    let space = text.iter().take(80).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match &text[space..] {
        [b'\r', b'\n', ..] => Some(space + 2),
        [b'\n', ..] => Some(space + 1),
        [] => Some(space),
        _ => None,
    }
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    digit.and_then(|&digit| (digit as char).to_digit(16)).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_taken_off() {
        let decode = |encoding: &str, body: &str| {
            decode_transfer(encoding, body.as_bytes()).map(|body| String::from_utf8_lossy(&body).into_owned())
        };
        for (encoding, body, expected) in [
            ("base64", "aGVs\r\nbG8=", Some("hello")),
            ("Base64", "aGVsbG8", Some("hello")),
            ("base64", "aGk=aGk=", Some("hihi")),
            ("base64", "!!", Some("")),
            ("quoted-printable", "a=3Db =\r\nc  \r\nd=\n", Some("a=b c\r\nd")),
            ("quoted-printable", "=4 =x=\t \r\n=zz=c3=BC", Some("=4 =x=zzü")),
            ("quoted-printable", "a_b", Some("a_b")),
            ("8bit", "ü", Some("ü")),
            ("", "x", Some("x")),
            ("x-uuencode", "x", None),
        ] {
            assert_eq!(decode(encoding, body).as_deref(), expected, "{body}");
        }
    }
}
