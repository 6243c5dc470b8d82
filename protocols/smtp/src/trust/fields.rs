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

#[cfg(test)]
mod tests {
    use super::*;

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
