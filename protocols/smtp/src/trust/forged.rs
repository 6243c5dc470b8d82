//! Results that claim to be ours (RFC 8601 §5).

use std::borrow::Cow;

use super::fields::{Field, lines};

/// A header section without the `Authentication-Results` fields that bear our own name: those that come from outside
/// would be believed.
pub(crate) fn without_forged<'a>(header: &'a [u8], authserv_id: &str) -> Cow<'a, [u8]> {
    let forged = |line: &&[u8]| {
        Field::parse(line).is_some_and(|field| field.is("Authentication-Results") && claims(field.value, authserv_id))
    };
    if !lines(header).any(|line| forged(&line)) {
        return Cow::Borrowed(header);
    }
    Cow::Owned(lines(header).filter(|line| !forged(line)).flatten().copied().collect())
}

/// Whether a field's value may be read as one with this name: a value that does not parse counts, in doubt, as a claim.
fn claims(value: &[u8], authserv_id: &str) -> bool {
    word(value).is_none_or(|name| trim_dot(&name).eq_ignore_ascii_case(trim_dot(authserv_id.as_bytes())))
}

fn trim_dot(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

/// The token or quoted string after comments and white space (RFC 2045 §5.1, RFC 8601 §2.2).
fn word(value: &[u8]) -> Option<Vec<u8>> {
    let value = comments(value)?;
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let special = |byte: &u8| byte.is_ascii_whitespace() || b"()<>@,;:\\\"/[]?=".contains(byte);
        return Some(value.iter().take_while(|byte| !special(byte)).copied().collect());
    };
    let mut text = Vec::new();
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return Some(text),
            b'\\' => text.push(*bytes.next()?),
            b'\r' | b'\n' => {}
            byte => text.push(*byte),
        }
    }
}

/// Passes white space and comments (RFC 5322 §3.2.2); none if a comment does not end.
fn comments(value: &[u8]) -> Option<&[u8]> {
    let mut depth = 0usize;
    let mut bytes = value.iter();
    loop {
        let rest = bytes.as_slice();
        match (bytes.next(), depth) {
            (Some(b'('), _) => depth += 1,
            (Some(b')'), 1..) => depth -= 1,
            (Some(b'\\'), 1..) => {
                bytes.next()?;
            }
            (Some(b' ' | b'\t' | b'\r' | b'\n'), 0) | (Some(_), 1..) => {}
            (_, 0) => return Some(rest),
            (None, _) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(value: &str) -> bool {
        let field = format!("Authentication-Results:{value}\r\n");
        let header = format!("A: b\r\n{field}C: d\r\n\r\n");
        match without_forged(header.as_bytes(), "mx.Example") {
            Cow::Borrowed(whole) => whole == header.as_bytes(),
            Cow::Owned(rest) => {
                assert_eq!(rest, b"A: b\r\nC: d\r\n\r\n");
                false
            }
        }
    }

    #[test]
    fn claims_to_be_ours_are_removed_however_written() {
        for value in [
            " mx.example; spf=pass",
            "MX.EXAMPLE;none",
            " (a (nested; \\) mx.other) comment)\r\n\tmx.example 1; dkim=pass",
            " mx.example(x)(y) ; spf=pass",
            " \"mx.example\"; spf=pass",
            " \"m\\x.example\" ; spf=pass",
            " mx.example/1; spf=pass",
            " mx.example.; spf=pass",
            " mx.example",
            " mx.example spf=pass",
            " mx.example=; spf=pass",
            " (never ends mx.other; spf=pass",
            " \"never ends; spf=pass",
        ] {
            assert!(!left(value), "{value:?}");
        }
        assert_eq!(
            without_forged(b"authentication-results : mx.example; none\r\n\r\n", "mx.example").as_ref(),
            b"\r\n"
        );
    }

    #[test]
    fn other_fields_stay() {
        for value in [
            " mx.other; spf=pass",
            " mx.example.net; spf=pass",
            " sub.mx.example; x=mx.example",
            " (mx.example) mx.other; spf=pass",
            " \"mx.example\\\"\"; none",
            "",
            ";",
        ] {
            assert!(left(value), "{value:?}");
        }
        let header =
            b"ARC-Authentication-Results: i=1; mx.example; spf=pass\r\nX: Authentication-Results: mx.example\r\n\r\n";
        assert!(matches!(without_forged(header, "mx.example"), Cow::Borrowed(_)));
    }

    #[test]
    fn all_are_removed_and_the_rest_keeps_its_bytes() {
        let header = b"Authentication-Results: mx.example; a=b\r\n\tc=d\r\nodd line\r\nS: x\r\n \r\n\
            AUTHENTICATION-RESULTS: MX.example; e\r\n\r\n";
        assert_eq!(without_forged(header, "mx.example").as_ref(), b"odd line\r\nS: x\r\n \r\n\r\n");
    }
}
