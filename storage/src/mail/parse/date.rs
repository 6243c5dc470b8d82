//! The date of a header (RFC 5322 §3.3, with the obsolete forms of §4.3).

/// The moment a date names, in milliseconds since the Unix epoch. Without a time it is midnight, and without a zone
/// that is known it is UTC (RFC 5256 §2.2).
pub(super) fn moment(date: &str) -> Option<i64> {
    let (days, time, zone) = read(date)?;
    Some((days * 86_400 + time.unwrap_or(0) - if time.is_some() { zone * 60 } else { 0 }) * 1000)
}

/// The day a date names, as it is written, whatever its zone: days since the Unix epoch.
pub(super) fn day(date: &str) -> Option<i64> {
    read(date).map(|(days, ..)| days)
}

/// Days since the Unix epoch, seconds of the day, minutes of the zone.
fn read(date: &str) -> Option<(i64, Option<i64>, i64)> {
    let plain = without_comments(date);
    let mut words = plain.split(|char: char| char.is_whitespace() || char == ',').filter(|word| !word.is_empty());
    let mut first = words.next()?;
    if first.starts_with(|char: char| char.is_ascii_alphabetic()) {
        first = words.next()?;
    }
    // `2-Jan-2024` is not of the RFC, but sent.
    let mut parts = first.split('-');
    let (day, month, year) = match (parts.next()?, parts.next(), parts.next()) {
        (day, Some(month), Some(year)) => (day, month, year),
        _ => (first, words.next()?, words.next()?),
    };
    let days = days(number(year, 2)?, month_number(month)?, number(day, 1)?)?;
    let time = words.next().and_then(seconds);
    let zone = words.next().and_then(zone_minutes).unwrap_or(0);
    Some((days, time, zone))
}

fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    let outside = |char: &char| match char {
        '(' => {
            depth += 1;
            false
        }
        ')' => {
            depth = depth.saturating_sub(1);
            false
        }
        _ => depth == 0,
    };
    text.chars().take(200).filter(outside).collect()
}

/// A number of at least so many digits, and not too many.
fn number(text: &str, least: usize) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (least..=4).contains(&text.len()) { text.parse().ok() } else { None }
}

fn month_number(name: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let short = name.get(..3)?.to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == short).map(|at| at as i64 + 1)
}

/// Days since the Unix epoch. Years of two digits are of 1950 to 2049, of three since 1900 (RFC 5322 §4.3).
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = match year {
        0..=49 => year + 2000,
        50..=999 => year + 1900,
        _ => year,
    };
    if !(1..=31).contains(&day) {
        return None;
    }
    // The year is counted from March, so that a leap day is its last.
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let of_year = (153 * m + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Seconds since midnight of `12:34`, `12:34:56`.
fn seconds(time: &str) -> Option<i64> {
    let mut parts = time.split([':', '.']);
    let (hour, minute) = (number(parts.next()?, 1)?, number(parts.next()?, 1)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 1))?;
    // A leap second counts as the one before it.
    (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3600 + minute * 60 + second.min(59))
}

/// The minutes of a zone east of Greenwich: `+0100`, or an obsolete name.
fn zone_minutes(zone: &str) -> Option<i64> {
    if let Some((sign, digits)) =
        zone.strip_prefix('+').map(|rest| (1, rest)).or(zone.strip_prefix('-').map(|r| (-1, r)))
    {
        let number = if digits.len() == 4 { number(digits, 4)? } else { return None };
        return Some(sign * (number / 100 * 60 + number % 100));
    }
    let hours = match zone.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        // The single letters were defined with the wrong sign, so they tell nothing.
        _ => 0,
    };
    Some(hours * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 +0000", Some(0)),
            ("Fri, 21 Nov 1997 09:55:06 -0600", Some(880_127_706)),
            ("21 Nov 97 09:55:06 GMT", Some(880_106_106)),
            ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", Some(880_070_400)),
            ("Thu,\t13\tFeb 1969 23:32 -0330 (Newfoundland Time)", Some(-27_723_480)),
            ("Thu, 29 Feb 2024 12:00:00 EST", Some(1_709_226_000)),
            ("1-Mar-2024 00:00:00 +0100", Some(1_709_247_600)),
            ("Sat, 31 Dec 2016 23:59:60 Z", Some(1_483_228_799)),
            ("2 Sep 2001", Some(999_388_800)),
            ("2 Sep 101 25:00:00 +0100", Some(999_388_800)),
            ("yesterday", None),
            ("32 Jan 2024", None),
            ("1 Foo 2024", None),
            ("1 Jan 99999", None),
            ("", None),
        ] {
            assert_eq!(moment(date), seconds.map(|seconds| seconds * 1000), "{date}");
        }
    }
}
