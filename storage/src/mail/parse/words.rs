//! Encoded words (RFC 2047), and the character sets behind them.

use mail_parser::decoders::charsets::map::charset_decoder;

use super::transfer;

/// The longest encoded word that is looked for: RFC 2047 §2 allows 75, mail programs write more.
const WORD: usize = 1000;

/// A text of a header with its encoded words decoded. White space between two of them goes, and a character whose bytes
/// were split between two is put together.
pub fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // The bytes of the encoded words just read, and in which character set.
    let mut pending: Option<(&str, Vec<u8>)> = None;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        let Some(encoded) = encoded_word(word) else {
            flush(&mut out, &mut pending);
            out.push_str(before);
            out.push_str("=?");
            rest = &word[2..];
            continue;
        };
        let adjacent = pending.is_some() && before.bytes().all(|byte| byte.is_ascii_whitespace());
        match &mut pending {
            Some((charset, bytes)) if adjacent && charset.eq_ignore_ascii_case(encoded.charset) => {
                bytes.extend_from_slice(&encoded.bytes);
            }
            _ => {
                flush(&mut out, &mut pending);
                if !adjacent {
                    out.push_str(before);
                }
                pending = Some((encoded.charset, encoded.bytes));
            }
        }
        rest = &word[encoded.length..];
    }
    flush(&mut out, &mut pending);
    out.push_str(rest);
    out
}

fn flush(out: &mut String, pending: &mut Option<(&str, Vec<u8>)>) {
    if let Some((charset, bytes)) = pending.take() {
        let text = in_charset(charset, &bytes);
        // A line break or NUL may be hidden in a word.
        out.extend(text.chars().map(|char| if char.is_control() { ' ' } else { char }));
    }
}

struct Encoded<'a> {
    charset: &'a str,
    bytes: Vec<u8>,
    length: usize,
}

/// The encoded word at the start of a text: `=?charset*language?B?...?=`.
fn encoded_word(text: &str) -> Option<Encoded<'_>> {
    let most = text.len().min(WORD);
    let window = &text.as_bytes()[..most];
    let first = 2 + window[2..].iter().position(|&byte| byte == b'?')?;
    let charset = text.get(2..first)?;
    if charset.is_empty() || charset.contains(|char: char| char.is_whitespace()) || window.get(first + 2) != Some(&b'?')
    {
        return None;
    }
    let start = first + 3;
    let end = start + memchr::memmem::find(window.get(start..)?, b"?=")?;
    let content = &window[start..end];
    let bytes = match window[first + 1] {
        b'B' | b'b' => transfer::base64(content),
        b'Q' | b'q' => transfer::quoted(content, true),
        _ => return None,
    };
    let charset = charset.split('*').next().unwrap_or(charset);
    Some(Encoded { charset, bytes, length: end + 2 })
}

/// The bytes of a text with `%41` in it.
pub(super) fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [byte, behind @ ..] = rest {
        let digit = |at: usize| behind.get(at).and_then(|&digit| (digit as char).to_digit(16));
        rest = match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                &behind[2..]
            }
            _ => {
                bytes.push(*byte);
                behind
            }
        };
    }
    bytes
}

/// Bytes in a named character set as text. What is not known is taken for UTF-8 where it is valid, or for Latin.
pub(super) fn in_charset(charset: &str, bytes: &[u8]) -> String {
    let unicode = ["utf-8", "utf8", "us-ascii", "ascii", ""].iter().any(|name| name.eq_ignore_ascii_case(charset));
    match charset_decoder(charset.as_bytes()) {
        Some(decode) if !unicode => decode(bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) if charset.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("utf")) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Err(_) => latin(bytes),
        },
    }
}

/// Bytes of which nothing is known but that they are no UTF-8.
pub(super) fn latin(bytes: &[u8]) -> String {
    charset_decoder(b"windows-1252").map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), |decode| decode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_decoded() {
        for (text, expected) in [
            ("plain", "plain"),
            ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=\t =?utf-8?B?w7w=?=!", "a bü!"),
            ("x =?utf-8?B?w7w?= y", "x ü y"),
            // A character split between two words (RFC 2047 §5 forbids it, mail programs do it).
            ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
            ("=?utf-8*de?q?ja?=", "ja"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
            ("=?gb2312?B?1tDOxA==?=", "中文"),
            ("=?x-none?q?=FC?=", "ü"),
            ("=?u›t?q?=FC?=", "ü"),
            ("=?utf-8?z?a?= =?= =??q?a?= =?utf-8?q?a", "=?utf-8?z?a?= =?= =??q?a?= =?utf-8?q?a"),
            ("=?utf-8?q?a=0D=0Ab=00?=", "a  b "),
            ("ü =?ü?q?=41?=", "ü A"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }

    #[test]
    fn rubbish_takes_linear_time() {
        let text = "=?utf-8?q? ".repeat(100_000);
        assert!(decoded(&text) == text);
    }
}
