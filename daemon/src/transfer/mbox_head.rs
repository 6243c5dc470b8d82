//! What stands before a message in an mbox: its separator, our mark, and the fields that tell its state.

use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// The field by which an export marks its messages, the first of each.
pub(super) const MARK: &str = "X-Wharfinger";
/// The lines of ours that follow the mark: Status, X-Status and X-Keywords.
pub(super) const FIELDS_BEHIND: usize = 3;

/// Which message it is, as an export has marked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) uidvalidity: u32,
    pub(super) uid: u32,
    /// Its bytes in the store.
    pub(super) size: u64,
    /// Whether its line ends are as they were in the store.
    pub(super) raw: bool,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mark { uidvalidity, uid, size, raw } = self;
        write!(formatter, "{MARK}: {uidvalidity}.{uid} {size}{}", if *raw { " raw" } else { "" })
    }
}

/// Reads a mark.
pub(super) fn mark(line: &[u8]) -> Option<Mark> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.strip_prefix(MARK)?.strip_prefix(": ")?.split_whitespace();
    let (uidvalidity, uid) = words.next()?.split_once('.')?;
    let (size, raw) = (words.next()?.parse().ok()?, words.next() == Some("raw"));
    line.ends_with('\n').then_some(Mark { uidvalidity: uidvalidity.parse().ok()?, uid: uid.parse().ok()?, size, raw })
}

/// Whether a line behind an empty one separates messages: it has a date, as no sentence that begins with "From" has.
pub(super) fn is_separator(line: &[u8]) -> bool {
    line.starts_with(b"From ") && date(line).is_some()
}

/// The date in a separator, in seconds since the Unix epoch: month, day, time and year in whatever order, UTC unless it
/// tells its zone.
pub(super) fn date(line: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(line.get(5..)?).ok()?;
    let words: Vec<&str> = text.split([' ', '\t', ',', '\r', '\n']).filter(|word| !word.is_empty()).collect();
    let month = |word: &&str| {
        let names = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        names.iter().position(|name| name.eq_ignore_ascii_case(word))
    };
    let at = words.iter().rposition(|word| month(word).is_some())?;
    let month = Month::try_from(u8::try_from(month(&words[at])? + 1).ok()?).ok()?;
    let day_of = |at: Option<usize>| words.get(at?)?.parse::<u8>().ok().filter(|day| (1..=31).contains(day));
    let day = day_of(at.checked_add(1)).or_else(|| day_of(at.checked_sub(1)))?;
    let behind = &words[at.saturating_sub(2)..];
    let clock = behind.iter().find_map(|word| clock(word))?;
    let year = behind.iter().filter(|word| word.len() == 4).find_map(|word| word.parse::<u16>().ok())?;
    let date = Date::from_calendar_date(i32::from(year), month, day).ok()?;
    let zone = behind.iter().find_map(|word| zone(word)).unwrap_or(UtcOffset::UTC);
    Some(OffsetDateTime::new_in_offset(date, clock, zone).unix_timestamp())
}

fn clock(word: &str) -> Option<Time> {
    let mut parts = word.split(':');
    let (hour, minute) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let second = parts.next().map_or(Ok(0), str::parse).ok()?;
    // A leap second is none to the clock of Unix.
    Time::from_hms(hour, minute, if second == 60 { 59 } else { second }).ok()
}

fn zone(word: &str) -> Option<UtcOffset> {
    let sign = match word.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let digits: i32 = word.get(1..).filter(|digits| digits.len() == 4)?.parse().ok()?;
    UtcOffset::from_whole_seconds(sign * (digits / 100 * 3600 + digits % 100 * 60)).ok()
}

/// A header as it was read.
#[derive(Default)]
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
}

/// What a header says of the message's state, and the rest of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) kept: Vec<u8>,
    pub(super) status: String,
    pub(super) more_status: String,
    pub(super) keywords: String,
    pub(super) length: Option<u64>,
    /// The date of the newest Received field, in seconds since the Unix epoch.
    pub(super) received: Option<i64>,
}

impl Head {
    /// Takes out the fields that mbox programs have put in.
    pub(super) fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let (field, after) = rest.split_at(field_end(rest));
            rest = after;
            let text = String::from_utf8_lossy(field);
            let (name, value) = text.split_once(':').unwrap_or_default();
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "status" => value.clone_into(&mut fields.status),
                "x-status" => value.clone_into(&mut fields.more_status),
                "x-keywords" => value.clone_into(&mut fields.keywords),
                "content-length" => fields.length = value.parse().ok(),
                "x-uid" | "x-imap" | "x-imapbase" => {}
                "received" => {
                    fields.kept.extend_from_slice(field);
                    fields.received = fields.received.or_else(|| received(value));
                }
                _ => fields.kept.extend_from_slice(field),
            }
        }
        fields
    }
}

/// Where a field ends: behind the first line that no indented one follows.
fn field_end(header: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = memchr::memchr(b'\n', &header[at..]) {
        at += length + 1;
        if !matches!(header.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    header.len()
}

/// The date behind the semicolon (RFC 5321 §4.4).
fn received(value: &str) -> Option<i64> {
    let (_, date) = value.rsplit_once(';')?;
    let date = date.split('(').next()?.split_whitespace().collect::<Vec<_>>().join(" ");
    OffsetDateTime::parse(&date, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}
