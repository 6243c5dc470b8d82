//! Small fields: `Host` and `Cookie`.

/// The host of a `Host` field or an authority, without its port; `None` when it is not a plain name or address
/// (RFC 9110 §7.2), so that nothing else ever gets into a `Location`.
pub(crate) fn host(field: &str) -> Option<&str> {
    let (host, rest) = match field.strip_prefix('[') {
        Some(_) => field.split_at(field.find(']')? + 1),
        None => field.split_at(field.find(':').unwrap_or(field.len())),
    };
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let port_right =
        (rest.is_empty() || rest.starts_with(':')) && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let host_right = match host.starts_with('[') {
        true => name.parse::<std::net::Ipv6Addr>().is_ok(),
        false => (1..=253).contains(&host.len()) && host.bytes().all(legal) && !host.starts_with(['.', '-']),
    };
    (port_right && host_right).then_some(host)
}

/// The value of one cookie in a `Cookie` field (RFC 6265 §4.2.1).
pub(crate) fn cookie<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    field.split(';').find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (field, expected) in [
            ("example.com", Some("example.com")),
            ("example.com:2080", Some("example.com")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
            (":80", None),
            ("evil.com/", None),
            ("evil.com\\", None),
            ("user@evil.com", None),
            ("a b", None),
            ("[::1", None),
            ("[x]", None),
            ("[::1]x", None),
            ("a:8x", None),
            ("a:123456", None),
            (".a", None),
        ] {
            assert_eq!(host(field), expected, "{field}");
        }
    }

    #[test]
    fn cookies() {
        assert_eq!(cookie("a=1; __Host-w=x=y; b=2", "__Host-w"), Some("x=y"));
        assert_eq!(cookie("a=1;b=2", "b"), Some("2"));
        assert_eq!(cookie("ab=1", "b"), None);
        assert_eq!(cookie("", "b"), None);
    }
}
