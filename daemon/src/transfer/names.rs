//! Names of mailboxes as folders and files bear them: modified UTF-7 (RFC 3501 §5.1.3), which Maildirs keep to
//! this day.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// The mailbox of a folder by the names of its levels, below the mailbox `top`, which is empty where the levels are the
/// whole name.
pub(super) fn mailbox<'a>(top: &str, levels: impl Iterator<Item = &'a str>) -> String {
    let mut name = top.to_owned();
    for level in levels {
        let level = level_of(level);
        match name.is_empty() {
            true if level.eq_ignore_ascii_case("INBOX") => name.push_str("INBOX"),
            true => name.push_str(&level),
            false => {
                name.push('/');
                name.push_str(&level);
            }
        }
    }
    name
}

/// A level as the store takes it: decoded, where it is encoded, and without what no name may have.
fn level_of(level: &str) -> String {
    let level = decode(level).unwrap_or_else(|| level.to_owned());
    let fit = |letter: char| match letter {
        '/' | '*' | '%' | '\u{2028}' | '\u{2029}' => '_',
        letter if letter.is_control() => '_',
        letter => letter,
    };
    let fitting: String = level.trim().chars().map(fit).collect();
    if matches!(&*fitting, "" | "." | "..") { "_".into() } else { fitting }
}

/// A level of a Maildir++ folder's name: the dot, which separates there, is encoded as if it were no ASCII.
pub(super) fn encode(level: &str) -> String {
    let mut encoded = String::new();
    let mut special: Vec<u8> = Vec::new();
    let flush = |special: &mut Vec<u8>, encoded: &mut String| {
        if !special.is_empty() {
            encoded.push_str(&format!("&{}-", BASE64.encode(&special)));
            special.clear();
        }
    };
    for letter in level.chars() {
        match letter {
            '&' => {
                flush(&mut special, &mut encoded);
                encoded.push_str("&-");
            }
            ' '..='~' if letter != '.' => {
                flush(&mut special, &mut encoded);
                encoded.push(letter);
            }
            letter => {
                let mut units = [0; 2];
                special.extend(letter.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
            }
        }
    }
    flush(&mut special, &mut encoded);
    encoded
}

/// A level of a name as it is, unless that would be read as an encoded one.
pub(super) fn plain(level: &str) -> String {
    match decode(level) {
        Some(other) if other != level => level.replace('&', "&-"),
        _ => level.to_owned(),
    }
}

/// The decoded name; `None` where it is not encoded so.
fn decode(name: &str) -> Option<String> {
    let mut decoded = String::new();
    let mut rest = name;
    while let Some((plain, more)) = rest.split_once('&') {
        decoded.push_str(plain);
        let (special, after) = more.split_once('-')?;
        if special.is_empty() {
            decoded.push('&');
        } else {
            let bytes = BASE64.decode(special).ok().filter(|bytes| bytes.len() % 2 == 0)?;
            let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            decoded.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = after;
    }
    decoded.push_str(rest);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_decoded() {
        for (name, encoded) in [
            ("Entwürfe", "Entw&APw-rfe"),
            ("台北 & more", "&U,BTFw- &- more"),
            ("a.b", "a&AC4-b"),
            ("plain", "plain"),
            ("\u{1f600}", "&2D3eAA-"),
        ] {
            assert_eq!((encode(name).as_str(), decode(encoded).as_deref()), (encoded, Some(name)));
        }
        for plain in ["a & b", "&&-", "&!-", "&AA-", "&2D0-"] {
            assert_eq!(decode(plain), None, "{plain}");
            assert_eq!(super::plain(plain), plain);
        }
        for name in ["a&APw-", "a&-b", "a"] {
            assert_eq!(decode(&plain(name)).as_deref(), Some(name), "{name}");
        }
    }

    #[test]
    fn names_become_mailboxes() {
        assert_eq!(mailbox("", ["inbox", "a&APw-"].into_iter()), "INBOX/aü");
        assert_eq!(mailbox("Old", ["INBOX", "a*b%", ".."].into_iter()), "Old/INBOX/a_b_/_");
        assert_eq!(mailbox("", ["R & D", " x\u{7}"].into_iter()), "R & D/x_");
        assert_eq!(mailbox("M", std::iter::empty()), "M");
    }
}
