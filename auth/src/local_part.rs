//! The local part of an address, as it is meant and as it is written: pure, so that the fuzzer includes this file as it
//! stands.

/// A quoted local part means the same as the plain one (RFC 5321 §4.1.2).
pub(crate) fn unquote(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|local| local.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

/// A local part as it is written, in quotes where it is no word (RFC 5321 §4.1.2).
pub(crate) fn quoted(local: &str) -> String {
    let is_word =
        |letter: char| letter.is_alphanumeric() || !letter.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(letter);
    if local.split('.').all(|word| !word.is_empty() && word.chars().all(is_word)) {
        return local.to_owned();
    }
    let escaped =
        local.chars().flat_map(|letter| matches!(letter, '"' | '\\').then_some('\\').into_iter().chain([letter]));
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn quoted_local_parts_are_read() {
        assert_eq!(super::unquote(r#""a\"b c""#), "a\"b c");
        assert_eq!(super::unquote("plain"), "plain");
        for (plain, written) in [("a.b+c", "a.b+c"), ("a b", "\"a b\""), ("a\"b", r#""a\"b""#), ("a..b", "\"a..b\"")] {
            assert_eq!((super::quoted(plain).as_str(), super::unquote(written).as_str()), (written, plain));
        }
    }
}
