//! The lines that separate the messages of an mbox.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// Who the separators of an export say that messages are from.
pub(super) const FROM: &str = "From wharfinger ";

/// How a file separates its messages, as its first line shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separators {
    /// By lines with a date, as no sentence that begins with "From" has one.
    Dated,
    /// By lines that are `From ` and no more, as some versions of Thunderbird write them: they quote all others.
    Bare,
}

impl Separators {
    /// Those of a file that begins with this one.
    pub(super) fn of(first: &[u8]) -> Separators {
        if is_bare(first) { Separators::Bare } else { Separators::Dated }
    }

    /// Whether a line behind an empty one separates messages; `field` is whether a field of Thunderbird's comes next.
    pub(super) fn has(self, line: &[u8], field: impl FnOnce() -> bool) -> bool {
        match self {
            // A folder to which several versions have added has both kinds.
            Separators::Bare => is_bare(line) || line.starts_with(b"From - ") && date(line).is_some(),
            Separators::Dated if is_bare(line) => field(),
            Separators::Dated => line.starts_with(b"From ") && date(line).is_some(),
        }
    }
}

/// Whether an export wrote a separator.
pub(super) fn is_ours(separator: &[u8]) -> bool {
    separator.starts_with(FROM.as_bytes()) || begins_as_ours(separator)
}

/// Whether it is what an export writes first of a separator.
pub(super) fn begins_as_ours(separator: &[u8]) -> bool {
    FROM.as_bytes().starts_with(separator)
}

fn is_bare(line: &[u8]) -> bool {
    matches!(line, b"From \n" | b"From \r\n")
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
