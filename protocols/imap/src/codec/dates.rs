//! Dates of SEARCH (`date`) and APPEND (`date-time`) (RFC 9051 §9).

use super::lexer::{Lexer, Parsed};

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// `1-Feb-1994`, in quotes or not, as days since 1970-01-01.
pub(super) fn date(lexer: &mut Lexer<'_>) -> Parsed<i64> {
    let quoted = lexer.eat(b'"');
    let days = day_of(lexer)?;
    if quoted {
        lexer.expect(b'"', MALFORMED)?;
    }
    Ok(days)
}

/// `"17-Jul-1996 02:44:25 -0700"` as milliseconds since the Unix epoch.
pub(super) fn date_time(lexer: &mut Lexer<'_>) -> Parsed<i64> {
    lexer.expect(b'"', MALFORMED)?;
    lexer.eat(b' ');
    let days = day_of(lexer)?;
    lexer.expect(b' ', MALFORMED)?;
    let hour = digits(lexer, 2, 23)?;
    lexer.expect(b':', MALFORMED)?;
    let minute = digits(lexer, 2, 59)?;
    lexer.expect(b':', MALFORMED)?;
    // A leap second is the first second of the next minute.
    let second = digits(lexer, 2, 60)?;
    lexer.expect(b' ', MALFORMED)?;
    let east = lexer.eat(b'+');
    if !east {
        lexer.expect(b'-', MALFORMED)?;
    }
    let zone = digits(lexer, 2, 23)? * 3600 + digits(lexer, 2, 59)? * 60;
    lexer.expect(b'"', MALFORMED)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Ok((if east { seconds - zone } else { seconds + zone }) * 1000)
}

/// The day, whose number may have one digit, the month and the year.
fn day_of(lexer: &mut Lexer<'_>) -> Parsed<i64> {
    let one_digit = lexer.rest().get(1) == Some(&b'-');
    let day = digits(lexer, if one_digit { 1 } else { 2 }, 31)?;
    lexer.expect(b'-', MALFORMED)?;
    let name = lexer.take_while(|byte| byte.is_ascii_alphabetic());
    let month = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(&month[..])).ok_or(MALFORMED)?;
    lexer.expect(b'-', MALFORMED)?;
    let year = digits(lexer, 4, 9999)?;
    if day == 0 || day > length_of(month, year) {
        return Err("the month has no such day");
    }
    Ok(days_since_epoch(year, month as i64, day))
}

/// A number of exactly so many digits, at most `largest`.
fn digits(lexer: &mut Lexer<'_>, count: usize, largest: i64) -> Parsed<i64> {
    let mut number = 0;
    for _ in 0..count {
        let digit = lexer.peek().filter(u8::is_ascii_digit).ok_or(MALFORMED)?;
        lexer.eat(digit);
        number = number * 10 + i64::from(digit - b'0');
    }
    if number > largest { Err(MALFORMED) } else { Ok(number) }
}

/// The days of a month; January is 0.
fn length_of(month: usize, year: i64) -> i64 {
    match month {
        1 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar. The year is taken to begin in March, so that the leap day is its
/// last and the days before a month follow from the month alone: 153 in each five months.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let before_month = (153 * month + 2) / 5;
    // 719469 days lie between 0000-03-01 less a day and 1970-01-01.
    year * 365 + leap_days + before_month + day - 719_469
}

const MALFORMED: &str = "a date is malformed";
