//! Content transfer encodings (RFC 2045 §6), read leniently: what is not of the alphabet is passed over.

use std::borrow::Cow;

/// How much space may stand behind an `=` at the end of a line.
const SOFT: usize = 80;
/// How much space at the end of a line is dropped; a line of quoted-printable has 76 characters.
const SPACE: usize = 1000;

/// A body without its content transfer encoding; `None` when the encoding is not known. An encoding that is not named
/// is `7bit`.
pub fn decode_transfer<'a>(encoding: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    Some(match TransferDecoder::new(encoding)?.0 {
        Encoding::Plain => Cow::Borrowed(body),
        Encoding::Base64(_) => Cow::Owned(base64(body)),
        Encoding::Quoted(_) => Cow::Owned(quoted(body, false)),
    })
}

/// Takes a content transfer encoding off, piece by piece, in little memory.
#[derive(Debug, Clone)]
pub struct TransferDecoder(Encoding);

#[derive(Debug, Clone)]
enum Encoding {
    Plain,
    Base64(Base64),
    Quoted(Quoted),
}

impl TransferDecoder {
    /// Of an encoding, if it is known.
    pub fn new(encoding: &str) -> Option<TransferDecoder> {
        Some(TransferDecoder(match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "7bit" | "8bit" | "binary" => Encoding::Plain,
            "base64" => Encoding::Base64(Base64::default()),
            "quoted-printable" => Encoding::Quoted(Quoted::default()),
            _ => return None,
        }))
    }

    /// Whether it leaves everything as it is.
    pub fn is_plain(&self) -> bool {
        matches!(self.0, Encoding::Plain)
    }

    /// Appends what the next piece of a body is; `last` when none follows.
    pub fn decode(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        match &mut self.0 {
            Encoding::Plain => out.extend_from_slice(piece),
            Encoding::Base64(base64) => base64.decode(piece, out),
            Encoding::Quoted(quoted) => quoted.decode(piece, last, out),
        }
    }
}

/// Base64 that ends with its padding, or without any. After a padding more may follow: some join encoded pieces.
#[derive(Debug, Clone, Default)]
struct Base64 {
    bits: u32,
    count: u32,
}

impl Base64 {
    fn decode(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() / 4 * 3 + 3);
        let (mut bits, mut count) = (self.bits, self.count);
        for &byte in piece {
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
        (self.bits, self.count) = (bits, count);
    }
}

/// Quoted-printable, or the `Q` encoding of a word (RFC 2047 §4.2), where `_` is a space and no line ends.
#[derive(Debug, Clone, Default)]
struct Quoted {
    word: bool,
    /// What cannot be decoded before more has come.
    held: Vec<u8>,
    /// Space that is not part of the line if nothing follows on it.
    space: Vec<u8>,
}

impl Quoted {
    fn decode(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        out.reserve(piece.len());
        let mut held = std::mem::take(&mut self.held);
        let text = if held.is_empty() {
            piece
        } else {
            held.extend_from_slice(piece);
            &held[..]
        };
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            match byte {
                b'=' if !last && text.len() - at <= SOFT + 2 => {
                    self.held = text[at..].to_vec();
                    return;
                }
                b' ' | b'\t' if !self.word && self.space.len() < SPACE => {
                    self.space.push(byte);
                    at += 1;
                    continue;
                }
                b'\r' | b'\n' if !self.word => self.space.clear(),
                _ => {}
            }
            out.append(&mut self.space);
            at += 1;
            match byte {
                b'=' => match (hex(text.get(at)), hex(text.get(at + 1))) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        at += 2;
                    }
                    _ => match soft_break(&text[at..]) {
                        Some(length) if !self.word => at += length,
                        _ => out.push(b'='),
                    },
                },
                b'_' if self.word => out.push(b' '),
                _ => out.push(byte),
            }
        }
        if last {
            out.append(&mut self.space);
        }
    }
}

/// Base64 as a whole.
pub(super) fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Base64::default().decode(text, &mut out);
    out
}

/// Quoted-printable as a whole, or the `Q` encoding of a word.
pub(super) fn quoted(text: &[u8], word: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Quoted { word, ..Quoted::default() }.decode(text, true, &mut out);
    out
}

/// How long the rest of the line is, when there is nothing but space in it.
fn soft_break(text: &[u8]) -> Option<usize> {
    let space = text.iter().take(SOFT).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
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

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let soft = format!("a={}\r\nb={}c =20 \t\n", " ".repeat(SOFT), " ".repeat(SOFT + 1));
        let spaces = format!("a{} \r\nb{}", " \t".repeat(SPACE), " ".repeat(5));
        for (encoding, body) in [
            ("base64", "aGVs\r\nbG8=aGk=aGk"),
            ("quoted-printable", "a=3Db =\r\nc  \r\nd=\n =4 =x=\t \r\n=zz=c3=BC= "),
            ("quoted-printable", &soft),
            ("quoted-printable", &spaces),
            ("8bit", "a=3D"),
        ] {
            let whole = decode_transfer(encoding, body.as_bytes()).unwrap();
            for size in [1, 2, 3, 7, 79, 5000] {
                let (mut decoder, mut out) = (TransferDecoder::new(encoding).unwrap(), Vec::new());
                for piece in body.as_bytes().chunks(size) {
                    decoder.decode(piece, false, &mut out);
                }
                decoder.decode(b"", true, &mut out);
                assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&whole), "{body} by {size}");
            }
        }
    }
}
