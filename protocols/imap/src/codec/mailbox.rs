//! Mailbox names on the wire: modified UTF-7 (RFC 3501 §5.1.3), or UTF-8 where the client enabled it.

use std::borrow::Cow;

/// The alphabet of base 64 with `,` for `/`.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// The name that stands on the wire as `raw`: as UTF-8 if `utf8`, else in modified UTF-7. UTF-8 is taken in either
/// case where `raw` is not ASCII, and so cannot be UTF-7. `None` if it is malformed, written otherwise than
/// [`encode`] writes it, or holds control characters (RFC 9051 §5.1). INBOX is `INBOX` in any case.
pub fn decode(raw: &[u8], utf8: bool) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    let name = if utf8 || !text.is_ascii() || !text.contains('&') { text.to_owned() } else { from_utf7(text)? };
    (!name.contains(char::is_control)).then(|| with_inbox(name))
}

/// How a name stands on the wire; without quotes around it.
pub fn encode(name: &str, utf8: bool) -> Cow<'_, str> {
    if utf8 || name.bytes().all(|byte| is_printable(byte) && byte != b'&') {
        return Cow::Borrowed(name);
    }
    let mut wire = String::with_capacity(name.len() + 8);
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let shifted = !first.is_ascii() || !is_printable(first as u8);
        let same = |char: char| (!char.is_ascii() || !is_printable(char as u8)) == shifted;
        let (run, after) = rest.split_at(rest.find(|char| !same(char)).unwrap_or(rest.len()));
        if shifted {
            shift(run, &mut wire);
        } else {
            wire.push_str(&run.replace('&', "&-"));
        }
        rest = after;
    }
    Cow::Owned(wire)
}

/// Whether a name is one that a pattern of LIST means: `*` is any text, `%` any text without the separator `/`.
pub fn matches(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern).matches(name)
}

/// A pattern of LIST, made ready for many names. What matching costs depends on the name's length alone: wildcards
/// beside each other are one, and a name with fewer characters than the pattern asks for is not looked at.
pub struct Pattern {
    chars: Vec<char>,
    /// The characters that stand for themselves.
    plain: usize,
}

impl Pattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Pattern {
        let mut chars: Vec<char> = Vec::with_capacity(text.len().min(512));
        for char in text.chars() {
            match (chars.last_mut(), char) {
                // `*` is all that `%` is.
                (Some(last @ ('*' | '%')), '*' | '%') => *last = if *last == char { char } else { '*' },
                _ => chars.push(char),
            }
        }
        let plain = chars.iter().filter(|char| !is_wildcard(char)).count();
        Pattern { chars, plain }
    }

    /// Whether it means a name.
    pub fn matches(&self, name: &str) -> bool {
        let pattern = &self.chars;
        if self.plain > name.chars().count() {
            return false;
        }
        let inbox = if name == "INBOX" || name.starts_with("INBOX/") { 5 } else { 0 };
        // Place n is reached: what was read of the name matches the first n characters of the pattern.
        let mut reached = vec![false; pattern.len() + 1];
        let mut next = reached.clone();
        reached[0] = true;
        skip_wildcards(pattern, &mut reached);
        for (index, char) in name.chars().enumerate() {
            next.fill(false);
            for (place, &wanted) in pattern.iter().enumerate().filter(|(place, _)| reached[*place]) {
                match wanted {
                    '*' => next[place] = true,
                    '%' if char != '/' => next[place] = true,
                    '%' => {}
                    _ if wanted == char => next[place + 1] = true,
                    _ => next[place + 1] |= index < inbox && wanted.eq_ignore_ascii_case(&char),
                }
            }
            skip_wildcards(pattern, &mut next);
            std::mem::swap(&mut reached, &mut next);
        }
        reached[pattern.len()]
    }
}

fn is_wildcard(char: &char) -> bool {
    matches!(char, '*' | '%')
}

/// A wildcard may stand for nothing.
fn skip_wildcards(pattern: &[char], reached: &mut [bool]) {
    for (place, wanted) in pattern.iter().enumerate() {
        reached[place + 1] |= reached[place] && is_wildcard(wanted);
    }
}

/// `INBOX` in any case, alone or as the first level.
fn with_inbox(mut name: String) -> String {
    let level = name.find('/').unwrap_or(name.len());
    if name[..level].eq_ignore_ascii_case("INBOX") {
        name.replace_range(..level, "INBOX");
    }
    name
}

/// What stands for itself in modified UTF-7 (`&` does so as `&-`).
fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

/// Reads modified UTF-7. What can be read but would be written otherwise is no name either: none has two spellings.
fn from_utf7(wire: &str) -> Option<String> {
    let mut name = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((plain, shifted)) = rest.split_once('&') {
        let (run, after) = shifted.split_once('-')?;
        name.push_str(plain);
        if run.is_empty() {
            name.push('&');
        } else {
            name.push_str(&String::from_utf16(&units(run)?).ok()?);
        }
        rest = after;
    }
    name.push_str(rest);
    (encode(&name, false) == wire).then_some(name)
}

/// The UTF-16 of a run in base 64; bits that do not fill a unit are dropped.
fn units(run: &str) -> Option<Vec<u16>> {
    let (mut units, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in run.bytes() {
        let value = ALPHABET.iter().position(|&char| char == byte)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 16 {
            count -= 16;
            units.push((bits >> count) as u16);
            bits &= (1 << count) - 1;
        }
    }
    Some(units)
}

/// Writes a run in base 64, without padding, between `&` and `-`.
fn shift(run: &str, wire: &mut String) {
    wire.push('&');
    let (mut bits, mut count) = (0u32, 0);
    for unit in run.encode_utf16() {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            wire.push(char::from(ALPHABET[(bits >> count) as usize]));
            bits &= (1 << count) - 1;
        }
    }
    if count > 0 {
        wire.push(char::from(ALPHABET[(bits << (6 - count)) as usize]));
    }
    wire.push('-');
}
