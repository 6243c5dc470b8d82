//! Header fields as the signatures see them (RFC 5322 §2.2, RFC 6376 §3.4.2).

use memchr::{memchr, memmem};

/// A header field with its line ends.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    /// What follows the colon.
    pub(crate) value: &'a [u8],
}

/// The logical lines of a header section: each with its continuation lines and its line ends.
pub(crate) fn lines(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            end = memmem::find(&rest[end..], b"\r\n").map_or(rest.len(), |at| end + at + 2);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (line, after) = rest.split_at(end);
        rest = after;
        (!line.is_empty()).then_some(line)
    })
}

/// The fields of a header section, from the top. Lines that are no field are passed over.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    lines(header).filter_map(Field::parse)
}

impl<'a> Field<'a> {
    /// None if the line is no field. White space before the colon is obsolete and allowed (RFC 5322 §4.5).
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let colon = memchr(b':', line)?;
        let name = line[..colon].trim_ascii_end();
        let good = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        good.then(|| Field { name, value: &line[colon + 1..] })
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The relaxed form, with its line end.
    pub(crate) fn relaxed(&self, out: &mut Vec<u8>) {
        out.extend(self.name.iter().map(u8::to_ascii_lowercase));
        out.push(b':');
        let start = out.len();
        let mut space = false;
        for &byte in self.value {
            match byte {
                b' ' | b'\t' => space = true,
                b'\r' | b'\n' => {}
                _ => {
                    if std::mem::take(&mut space) && out.len() > start {
                        out.push(b' ');
                    }
                    out.push(byte);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What of a value stands outside of comments and quoted words (RFC 5322 §3.2.2, §3.2.4).
pub(crate) fn bare(value: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (mut quoted, mut escaped, mut depth) = (false, false, 0_u32);
    value.iter().copied().filter(move |byte| {
        let is_inside = quoted || depth > 0;
        match byte {
            _ if std::mem::take(&mut escaped) => return false,
            b'\\' if is_inside => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            _ => return !is_inside,
        }
        false
    })
}

/// Whether a value has `dmarc=pass` as a result (RFC 8601 §2.2). What stands in comments or quoted words may be the
/// sender's own.
pub(crate) fn tells_pass(value: &[u8]) -> bool {
    let text: Vec<u8> = bare(value).map(|byte| byte.to_ascii_lowercase()).collect();
    text.split(|byte| *byte == b';').any(|result| {
        let (method, rest) = match result.iter().position(|byte| *byte == b'=') {
            Some(at) => (&result[..at], &result[at + 1..]),
            None => return false,
        };
        let word = rest.trim_ascii_start().split(u8::is_ascii_whitespace).next();
        method.trim_ascii() == b"dmarc" && word == Some(b"pass")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_by_nobody_but_who_sealed_it() {
        for value in [" i=1; mx.a; spf=fail; dmarc=pass (p=reject) header.from=b", "i=2; mx.a;\r\n\tDMARC = Pass"] {
            assert!(tells_pass(value.as_bytes()), "{value}");
        }
        for value in [
            "i=1; mx.a; dmarc=fail; dkim=pass",
            "i=1; mx.a; dmarc=passed",
            "i=1; mx.a; spf=pass (; dmarc=pass)",
            "i=1; mx.a; spf=pass smtp.mailfrom=\"x; dmarc=pass ;\"@b",
            "i=1; mx.a; spf=pass smtp.mailfrom=\"x\\\"; dmarc=pass ;\"@b",
            "i=1; mx.a; x-dmarc=pass",
            "",
        ] {
            assert!(!tells_pass(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn comments_and_quoted_words_hide_what_is_in_them() {
        let bare = |text: &str| String::from_utf8(super::bare(text.as_bytes()).collect()).unwrap();
        assert_eq!(bare(r#"a "b\"<" (c (<) \) <) d <e>"#), "a   d <e>");
        assert_eq!(bare(r#"\"<a>" <b>"#), r#"\ <b>"#);
    }

    #[test]
    fn lines_keep_their_continuations_and_non_fields_are_passed_over() {
        let header = b" lost\r\nA: b\r\n\tc\r\n d\r\nno field\r\nFrom x@y Thu Jan 1 00:00:00\r\nE : f\r\n: g\r\n\r\n";
        let found: Vec<&[u8]> = lines(header).collect();
        assert_eq!(found.concat(), header);
        assert_eq!(found.len(), 7);
        let found: Vec<(&[u8], &[u8])> = fields(header).map(|field| (field.name, field.value)).collect();
        assert_eq!(found, [(&b"A"[..], &b" b\r\n\tc\r\n d\r\n"[..]), (b"E", b" f\r\n")]);
        assert_eq!(lines(b"A: no end").collect::<Vec<_>>(), [b"A: no end"]);
    }

    #[test]
    fn the_relaxed_form_is_that_of_the_rfc() {
        // RFC 6376 §3.4.5.
        let mut out = Vec::new();
        fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n").for_each(|field| field.relaxed(&mut out));
        assert_eq!(out, b"a:X\r\nb:Y Z\r\n");
        out.clear();
        fields(b"C:\r\n \r\n\tx\x0c y\xff \r\nD:\r\n").for_each(|field| field.relaxed(&mut out));
        assert_eq!(out, b"c:x\x0c y\xff\r\nd:\r\n");
    }
}
