//! Conditional requests (RFC 9110 §13) and the entity tags they compare (§8.8.3).

use std::time::{SystemTime, UNIX_EPOCH};

/// The fields that make a request conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// `If-Match` (§13.1.1).
    Match,
    /// `If-None-Match` (§13.1.2).
    NoneMatch,
    /// `If-Modified-Since` (§13.1.3).
    ModifiedSince,
    /// `If-Unmodified-Since` (§13.1.4).
    UnmodifiedSince,
    /// `If-Range` (§13.1.5).
    Range,
}

/// What the current representation is compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validators<'a> {
    /// The strong entity tag, without its quotes.
    pub(crate) etag: &'a str,
    /// The last change, in whole seconds since the Unix epoch.
    pub(crate) modified: i64,
}

/// What the conditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Do as asked.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// A condition does not hold: 412.
    Failed,
}

/// The conditions of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<i64>,
    if_unmodified_since: Option<i64>,
    if_range: Option<IfRange>,
}

/// The most tags read from one field.
const MAX_TAGS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    List(Vec<Tag>),
    /// Not readable: no condition that has to hold can be known to hold.
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tag {
    weak: bool,
    opaque: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum IfRange {
    Tag(Tag),
    Date(i64),
    Never,
}

impl Conditions {
    /// Whether the request has none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Conditions::default()
    }

    /// Takes one field line; a list may come in several.
    pub(crate) fn add(&mut self, field: Field, value: &[u8]) {
        match field {
            Field::Match => Tags::join(&mut self.if_match, value),
            Field::NoneMatch => Tags::join(&mut self.if_none_match, value),
            // A date that cannot be read is ignored (§13.1.3, §13.1.4).
            Field::ModifiedSince => self.if_modified_since = date(value),
            Field::UnmodifiedSince => self.if_unmodified_since = date(value),
            Field::Range => self.if_range = Some(if_range(value)),
        }
    }

    /// Compares with what is there now, in the order of §13.2.2; `safe` is true for GET and HEAD.
    pub(crate) fn judge(&self, safe: bool, current: Option<Validators<'_>>) -> Verdict {
        if let Some(tags) = &self.if_match {
            if !tags.hold(current, Comparison::Strong) {
                return Verdict::Failed;
            }
        } else if let (Some(date), Some(current)) = (self.if_unmodified_since, current)
            && current.modified > date
        {
            return Verdict::Failed;
        }
        let refused = if safe { Verdict::NotModified } else { Verdict::Failed };
        if let Some(tags) = &self.if_none_match {
            let unreadable = *tags == Tags::Bad && !safe;
            if unreadable || tags.hold(current, Comparison::Weak) {
                return refused;
            }
        } else if let (Some(date), Some(current), true) = (self.if_modified_since, current, safe)
            && current.modified <= date
        {
            return refused;
        }
        Verdict::Proceed
    }

    /// Whether a `Range` field counts (§13.1.5): without `If-Range`, or when its validator is the current one. A date
    /// is a strong validator only when the representation has not changed within the second of `now` (§8.8.2.2).
    pub(crate) fn range_counts(&self, current: Validators<'_>, now: i64) -> bool {
        match &self.if_range {
            None => true,
            Some(IfRange::Tag(tag)) => tag.equals(current.etag, Comparison::Strong),
            Some(IfRange::Date(date)) => *date == current.modified && current.modified < now,
            Some(IfRange::Never) => false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

impl Tags {
    fn join(known: &mut Option<Tags>, value: &[u8]) {
        let more = Tags::read(value);
        *known = Some(match (known.take(), more) {
            (None, more) => more,
            (Some(Tags::List(mut list)), Tags::List(more)) if list.len() + more.len() <= MAX_TAGS => {
                list.extend(more);
                Tags::List(list)
            }
            _ => Tags::Bad,
        });
    }

    fn read(value: &[u8]) -> Tags {
        let mut rest = value.trim_ascii();
        if rest == b"*" {
            return Tags::Any;
        }
        let mut list = Vec::new();
        while !rest.is_empty() {
            // A list may hold empty elements (§5.6.1.2).
            if let Some(next) = rest.strip_prefix(b",") {
                rest = next.trim_ascii_start();
                continue;
            }
            let Some((tag, next)) = Tag::read(rest) else { return Tags::Bad };
            rest = next.trim_ascii_start();
            list.push(tag);
            if list.len() > MAX_TAGS || !(rest.is_empty() || rest.starts_with(b",")) {
                return Tags::Bad;
            }
        }
        if list.is_empty() { Tags::Bad } else { Tags::List(list) }
    }

    /// Whether one of them is the current one.
    fn hold(&self, current: Option<Validators<'_>>, comparison: Comparison) -> bool {
        let Some(current) = current else { return false };
        match self {
            Tags::Any => true,
            Tags::List(list) => list.iter().any(|tag| tag.equals(current.etag, comparison)),
            Tags::Bad => false,
        }
    }
}

impl Tag {
    /// One tag, and what follows it.
    fn read(text: &[u8]) -> Option<(Tag, &[u8])> {
        let (weak, text) = match text.strip_prefix(b"W/") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let text = text.strip_prefix(b"\"")?;
        let end = text.iter().position(|&byte| byte == b'"')?;
        let (opaque, rest) = (&text[..end], &text[end + 1..]);
        let legal = |&byte: &u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
        opaque.iter().all(legal).then(|| (Tag { weak, opaque: opaque.into() }, rest))
    }

    /// §8.8.3.2; ours are strong.
    fn equals(&self, etag: &str, comparison: Comparison) -> bool {
        (comparison == Comparison::Weak || !self.weak) && *self.opaque == *etag.as_bytes()
    }
}

fn if_range(value: &[u8]) -> IfRange {
    let value = value.trim_ascii();
    match Tag::read(value) {
        Some((tag, [])) => IfRange::Tag(tag),
        _ => date(value).map_or(IfRange::Never, IfRange::Date),
    }
}

/// An HTTP-date (§5.6.7) in seconds since the Unix epoch.
fn date(value: &[u8]) -> Option<i64> {
    let date: SystemTime = httpdate::parse_http_date(std::str::from_utf8(value).ok()?.trim()).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::Field::{Match, ModifiedSince, NoneMatch, Range, UnmodifiedSince};
    use super::Verdict::{Failed, NotModified, Proceed};
    use super::*;

    const NOW: Option<Validators<'_>> = Some(Validators { etag: "abc", modified: 784_111_777 });
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sunday, 06-Nov-94 08:49:36 GMT";
    const LATER: &str = "Sun Nov  6 08:49:38 1994";

    fn read(fields: &[(Field, &str)]) -> Conditions {
        let mut conditions = Conditions::default();
        fields.iter().for_each(|(field, value)| conditions.add(*field, value.as_bytes()));
        conditions
    }

    #[test]
    fn one_condition_at_a_time() {
        // (field, value, GET of what is there, PUT on what is there, PUT on nothing)
        for (field, value, get, put, new) in [
            (Match, "\"abc\"", Proceed, Proceed, Failed),
            (Match, "\"x\", , \"abc\"", Proceed, Proceed, Failed),
            (Match, "*", Proceed, Proceed, Failed),
            (Match, "\"x\"", Failed, Failed, Failed),
            (Match, "W/\"abc\"", Failed, Failed, Failed),
            (Match, "abc", Failed, Failed, Failed),
            (Match, "\"abc\" \"x\"", Failed, Failed, Failed),
            (Match, "", Failed, Failed, Failed),
            (NoneMatch, "\"abc\"", NotModified, Failed, Proceed),
            (NoneMatch, "W/\"abc\"", NotModified, Failed, Proceed),
            (NoneMatch, "\"x\",\"abc\"", NotModified, Failed, Proceed),
            (NoneMatch, "*", NotModified, Failed, Proceed),
            (NoneMatch, "\"x\"", Proceed, Proceed, Proceed),
            (NoneMatch, "abc", Proceed, Failed, Failed),
            (ModifiedSince, SAME, NotModified, Proceed, Proceed),
            (ModifiedSince, LATER, NotModified, Proceed, Proceed),
            (ModifiedSince, EARLIER, Proceed, Proceed, Proceed),
            (ModifiedSince, "yesterday", Proceed, Proceed, Proceed),
            (UnmodifiedSince, SAME, Proceed, Proceed, Proceed),
            (UnmodifiedSince, EARLIER, Failed, Failed, Proceed),
            (UnmodifiedSince, "never", Proceed, Proceed, Proceed),
        ] {
            let conditions = read(&[(field, value)]);
            let verdicts = [conditions.judge(true, NOW), conditions.judge(false, NOW), conditions.judge(false, None)];
            assert_eq!(verdicts, [get, put, new], "{field:?}: {value}");
        }
    }

    #[test]
    fn tags_go_before_dates() {
        assert_eq!(read(&[(Match, "\"abc\""), (UnmodifiedSince, EARLIER)]).judge(true, NOW), Proceed);
        assert_eq!(read(&[(NoneMatch, "\"x\""), (ModifiedSince, LATER)]).judge(true, NOW), Proceed);
        assert_eq!(read(&[(Match, "\"abc\""), (NoneMatch, "\"abc\"")]).judge(true, NOW), NotModified);
        assert_eq!(read(&[(NoneMatch, "\"x\""), (NoneMatch, "\"abc\"")]).judge(true, NOW), NotModified);
        assert!(read(&[]).is_empty() && read(&[]).judge(false, None) == Proceed);
    }

    #[test]
    fn if_range_needs_a_strong_validator() {
        let current = NOW.unwrap();
        for (value, now, counts) in [
            ("\"abc\"", 0, true),
            ("W/\"abc\"", 0, false),
            ("\"x\"", 0, false),
            ("\"abc\" ", 0, true),
            ("\"abc\", \"x\"", 0, false),
            (SAME, current.modified + 1, true),
            (SAME, current.modified, false),
            (LATER, current.modified + 9, false),
            ("nonsense", 0, false),
        ] {
            assert_eq!(read(&[(Range, value)]).range_counts(current, now), counts, "{value}");
        }
        assert!(Conditions::default().range_counts(current, 0));
    }
}
