//! Mail addresses, as far as a document that names one has to judge it.

/// The domain of a mail address; `None` when the text is none. One is a dot-string before the `@` (RFC 5321 §4.1.2) and
/// a domain behind it, both perhaps in letters beyond ASCII (RFC 6531 §3.3). Quoted strings and address literals, which
/// no account has, are none here.
pub(crate) fn mail_domain(address: &str) -> Option<&str> {
    let (local, domain) = address.split_once('@')?;
    let fits = (1..=64).contains(&local.len()) && (1..=253).contains(&domain.len()) && address.len() <= 254;
    let right = local.split('.').all(is_atom) && domain.split('.').all(is_label);
    (fits && right).then_some(domain)
}

/// RFC 5322 §3.2.3. Beyond ASCII only letters and digits, so that nothing invisible gets through.
fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char))
}

/// RFC 1035 §2.3.1, RFC 1123 §2.1.
fn is_label(text: &str) -> bool {
    let edges = !text.starts_with('-') && !text.ends_with('-');
    (1..=63).contains(&text.len()) && edges && text.chars().all(|char| char.is_alphanumeric() || char == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for text in ["alice@localhost", "a.b+c@mail.example.org", "a&b'c@x-y.example", "jörg@bücher.example"] {
            assert_eq!(mail_domain(text), text.split('@').nth(1), "{text}");
        }
        let (long, label) = (format!("{}@a", "a".repeat(65)), format!("a@{}", "a".repeat(64)));
        for text in [
            "",
            "alice",
            "@",
            "a@",
            "@a",
            "a@b@c",
            "a..b@c",
            ".a@c",
            "a.@c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@-b",
            "a@b-",
            "a@[127.0.0.1]",
            "\"a b\"@c",
            "a b@c",
            "a@b c",
            "<a@b>",
            "a<b@c",
            "a\n@b",
            "a@b\n",
            "a\r\nb@c",
            "a@b\0",
            "a\u{200b}@b",
            "a\u{202e}@b",
            "a\u{fffe}@b",
            "a@b/c",
            "a@b:1",
            "a,b@c",
            &long,
            &label,
        ] {
            assert_eq!(mail_domain(text), None, "{text:?}");
        }
    }
}
