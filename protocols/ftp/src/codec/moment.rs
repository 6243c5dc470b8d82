//! Times as FTP writes them: `YYYYMMDDhhmmss[.fraction]`, always UTC (RFC 3659 §2.3).

use std::fmt;

/// A point in time: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// A date and a time of day, UTC, in the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

const DAY: i64 = 86_400;

impl Moment {
    /// Reads `YYYYMMDDhhmmss`, with a fraction of a second or without seconds too; `None` when there is no such time.
    pub fn parse(text: &str) -> Option<Moment> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !matches!(whole.len(), 12 | 14) || !digits(whole) || !digits(fraction) {
            return None;
        }
        let part = |from: usize, to: usize| whole.get(from..to).map_or(Some(0), |part| part.parse::<i64>().ok());
        let civil = Civil {
            year: part(0, 4)?,
            month: part(4, 6)?,
            day: part(6, 8)?,
            hour: part(8, 10)?,
            minute: part(10, 12)?,
            second: part(12, 14)?,
        };
        // Two more zeros stand for the digits that are not there.
        let millis: i64 = format!("{fraction}000").get(..3)?.parse().ok()?;
        Some(Moment(civil.seconds()? * 1000 + millis))
    }

    /// The date and time of day.
    pub fn civil(self) -> Civil {
        let seconds = self.0.div_euclid(1000);
        let (days, time) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        // Days from 0000-03-01, in eras of 400 years: leap days stand at the end of a year that begins in March.
        let shifted = days + 719_468;
        let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        Civil {
            year: year + era * 400 + i64::from(month >= 10),
            month: if month < 10 { month + 3 } else { month - 9 },
            day: day - (153 * month + 2) / 5 + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }
}

impl Civil {
    /// Seconds since the Unix epoch; `None` when there is no such time. A leap second is the second before it.
    fn seconds(self) -> Option<i64> {
        let time = self.hour < 24 && self.minute < 60 && self.second <= 60;
        if !time || !(1..=12).contains(&self.month) || self.year < 1 {
            return None;
        }
        let year = self.year - i64::from(self.month <= 2);
        let month = (self.month + 9) % 12;
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + self.day - 1 - 719_468;
        let seconds = days * DAY + self.hour * 3600 + self.minute * 60 + self.second.min(59);
        // A day that the month does not have became one of the next.
        let back = Moment(days * DAY * 1000).civil();
        ((back.month, back.day) == (self.month, self.day)).then_some(seconds)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self.civil();
        write!(out, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")?;
        match self.0.rem_euclid(1000) {
            0 => Ok(()),
            millis => write!(out, ".{millis:03}"),
        }
    }
}

/// `time path`, as in MFMT, in SITE UTIME, and in the MDTM that sets a time.
pub fn before_path(text: &str) -> Option<(Moment, &str)> {
    let (time, path) = text.split_once(' ')?;
    let time = Moment::parse(time)?;
    (!path.is_empty()).then_some((time, path))
}

/// `path atime mtime ctime UTC`, as in the other SITE UTIME.
pub fn behind_path(text: &str) -> Option<(Moment, &str)> {
    let mut words = text.rsplitn(5, ' ');
    let utc = words.next()?.eq_ignore_ascii_case("UTC");
    let (_, modified) = (Moment::parse(words.next()?)?, Moment::parse(words.next()?)?);
    let (_, path) = (Moment::parse(words.next()?)?, words.next()?);
    // A path that itself begins with a time could not be told from the other form.
    (utc && !path.is_empty()).then_some((modified, path))
}
