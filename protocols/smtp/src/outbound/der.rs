//! The little of DER (X.690) that the libraries for certificates do not give out.

const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The encodings of a string of which ASCII is a part: UTF8String, PrintableString, TeletexString, IA5String.
const STRINGS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];
/// 2.5.4.3, the common name.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// The content of a SubjectPublicKeyInfo (RFC 5280 §4.1), where `der` is one and nothing else.
pub(super) fn key(der: &[u8]) -> Option<&[u8]> {
    let (SEQUENCE, key, []) = read(der)? else { return None };
    let (SEQUENCE, _, bits) = read(key)? else { return None };
    let (BIT_STRING, _, []) = read(bits)? else { return None };
    Some(key)
}

/// The most special common name of a subject, of which `names` is the content (RFC 5280 §4.1.2.6).
pub(super) fn common_name(mut names: &[u8]) -> Option<&str> {
    let mut found = None;
    while !names.is_empty() {
        let (SET, mut relative, rest) = read(names)? else { return None };
        while !relative.is_empty() {
            let (SEQUENCE, attribute, others) = read(relative)? else { return None };
            let (OBJECT_IDENTIFIER, kind, value) = read(attribute)? else { return None };
            let (tag, value, _) = read(value)?;
            if kind == COMMON_NAME && STRINGS.contains(&tag) {
                found = std::str::from_utf8(value).ok();
            }
            relative = others;
        }
        names = rest;
    }
    found
}

/// The tag, the content and what follows.
fn read(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length > 0x7f {
        // Nothing here is longer than three octets can say.
        let octets = length & 0x7f;
        let long = rest.get(..octets).filter(|_| (1..=3).contains(&octets))?;
        length = long.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        rest = &rest[octets..];
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_whole_and_nothing_else() {
        let well = [0x30, 0x08, 0x30, 0x02, 0x05, 0x00, 0x03, 0x02, 0x00, 0x01];
        assert_eq!(key(&well), Some(&well[2..]));
        for end in 0..well.len() {
            assert_eq!(key(&well[..end]), None, "{end} octets");
        }
        assert_eq!(key(&[&well[..], &[0]].concat()), None, "something behind");
        let mut long = vec![0x30, 0x82, 0x01, 0x06, 0x30, 0x02, 0x05, 0x00, 0x03, 0x81, 0xff];
        long.extend([0; 0xff]);
        assert_eq!(key(&long).map(<[u8]>::len), Some(0x0106));
        long[3] -= 1;
        assert_eq!(key(&long), None, "a length that is too small");
        assert_eq!(key(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(key(&[0x30, 0x80, 0x00, 0x00]), None, "of no length");
    }

    #[test]
    fn the_last_common_name_counts() {
        let name = |kind: u8, text: &str| {
            let value = [&[0x0c, text.len() as u8], text.as_bytes()].concat();
            let attribute = [&[0x06, 0x03, 0x55, 0x04, kind], &value[..]].concat();
            let attribute = [&[0x30, attribute.len() as u8], &attribute[..]].concat();
            [&[0x31, attribute.len() as u8], &attribute[..]].concat()
        };
        let subject = [name(3, "a.example"), name(10, "Org"), name(3, "b.example"), name(10, "Org")].concat();
        assert_eq!(common_name(&subject), Some("b.example"));
        assert_eq!(common_name(&name(10, "Org")), None);
        assert_eq!(common_name(&subject[..subject.len() - 1]), None, "cut off");
        assert_eq!(common_name(&[]), None);
    }
}
