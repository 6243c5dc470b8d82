//! The `Range` field (RFC 9110 §14).

use std::ops::Range;

/// What of a representation a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: the field cannot be read, is not in bytes, or asks for more than all of it.
    Whole,
    /// Nothing that is there: 416.
    Unsatisfiable,
    /// These parts, in the order asked for: each inside the length and none empty, at most [`Selection::MAX`], together
    /// at most the length.
    Parts(Vec<Range<u64>>),
}

impl Selection {
    /// The most ranges one answer carries; more are a flood and the field is ignored (RFC 9110 §14.2, §17.15).
    pub(crate) const MAX: usize = 16;
}

/// Reads a `Range` field for a representation of `length` bytes.
pub(crate) fn select(field: &[u8], length: u64) -> Selection {
    let Some(set) = byte_range_set(field) else { return Selection::Whole };
    let mut parts = Vec::new();
    let (mut asked, mut total) = (0, 0_u64);
    // A list may hold empty elements (RFC 9110 §5.6.1.2).
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|spec| !spec.is_empty()) {
        asked += 1;
        if asked > Selection::MAX {
            return Selection::Whole;
        }
        match range_spec(spec, length) {
            Spec::Invalid => return Selection::Whole,
            Spec::Beyond => {}
            Spec::Part(part) => {
                total = total.saturating_add(part.end - part.start);
                parts.push(part);
            }
        }
    }
    match parts.len() {
        0 if asked == 0 || length == 0 && set.starts_with(b"-") => Selection::Whole,
        0 => Selection::Unsatisfiable,
        // Ranges that overlap so much that they are longer than the whole (RFC 9110 §14.2).
        _ if total > length => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

enum Spec {
    Invalid,
    Beyond,
    Part(Range<u64>),
}

/// What follows `bytes=`; the unit's name is case-insensitive (RFC 9110 §14.1).
fn byte_range_set(field: &[u8]) -> Option<&[u8]> {
    let at = field.iter().position(|&byte| byte == b'=')?;
    field[..at].trim_ascii().eq_ignore_ascii_case(b"bytes").then(|| field[at + 1..].trim_ascii())
}

/// RFC 9110 §14.1.2: `first-`, `first-last` or `-suffix`.
fn range_spec(spec: &[u8], length: u64) -> Spec {
    let Some(dash) = spec.iter().position(|&byte| byte == b'-') else { return Spec::Invalid };
    let part = match (number(&spec[..dash]), number(&spec[dash + 1..])) {
        (Number::Is(first), Number::Is(last)) if first > last => return Spec::Invalid,
        (Number::Is(first), Number::Is(last)) => first..last.saturating_add(1).min(length),
        (Number::Is(first), Number::Absent) => first..length,
        (Number::Absent, Number::Is(suffix)) => length.saturating_sub(suffix)..length,
        _ => return Spec::Invalid,
    };
    if part.is_empty() { Spec::Beyond } else { Spec::Part(part) }
}

enum Number {
    Absent,
    Is(u64),
    Bad,
}

/// Digits alone; what is too large for us is as good as infinite.
fn number(digits: &[u8]) -> Number {
    if digits.is_empty() {
        return Number::Absent;
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Number::Bad;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Number::Is(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts as `(first, last)`, both inside, as the field writes them.
    fn parts(ranges: &[(u64, u64)]) -> Selection {
        Selection::Parts(ranges.iter().map(|&(first, last)| first..last + 1).collect())
    }

    #[test]
    fn known_answers() {
        let many = format!("bytes={}", vec!["0-0"; Selection::MAX + 1].join(","));
        let enough =
            format!("bytes={}", (0..Selection::MAX).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(","));
        let sixteen: Vec<_> = (0..Selection::MAX as u64).map(|at| (at, at)).collect();
        for (field, length, expected) in [
            ("bytes=0-499", 10000, parts(&[(0, 499)])),
            ("bytes=500-999", 10000, parts(&[(500, 999)])),
            ("bytes=-500", 10000, parts(&[(9500, 9999)])),
            ("bytes=9500-", 10000, parts(&[(9500, 9999)])),
            ("bytes=0-0,-1", 10000, parts(&[(0, 0), (9999, 9999)])),
            ("bytes= 0-0 , , 5-6 ", 10, parts(&[(0, 0), (5, 6)])),
            ("BYTES=1-2", 10, parts(&[(1, 2)])),
            ("bytes=0-99999999999999999999999", 10, parts(&[(0, 9)])),
            ("bytes=-99", 10, parts(&[(0, 9)])),
            ("bytes=20-30,5-5", 10, parts(&[(5, 5)])),
            ("bytes=5-6,0-1", 10, parts(&[(5, 6), (0, 1)])),
            ("bytes=10-", 10, Selection::Unsatisfiable),
            ("bytes=-0", 10, Selection::Unsatisfiable),
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=-5", 0, Selection::Whole),
            ("bytes=5-4", 10, Selection::Whole),
            ("bytes=a-b", 10, Selection::Whole),
            ("bytes=-", 10, Selection::Whole),
            ("bytes=1", 10, Selection::Whole),
            ("bytes=+1-2", 10, Selection::Whole),
            ("bytes=1-2-3", 10, Selection::Whole),
            ("bytes=", 10, Selection::Whole),
            ("lines=1-2", 10, Selection::Whole),
            ("0-5", 10, Selection::Whole),
            ("bytes=0-,0-,0-", 10, Selection::Whole),
            (&many, 1000, Selection::Whole),
            (&enough, 1000, parts(&sixteen)),
        ] {
            assert_eq!(select(field.as_bytes(), length), expected, "{field} of {length}");
        }
    }
}
