//! Bytes to commands and back: pure, without I/O, and on its own, so that it can be fuzzed alone.
//!
//! RFC 959 with RFC 2228 (security), RFC 2389 (FEAT, OPTS), RFC 2428 (EPRT, EPSV), RFC 3659 (MLST, SIZE, MDTM, REST),
//! draft-somers-ftp-mfxx (MFMT) and draft-bryan-ftpext-hash (HASH).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a client asks for: the verb in capitals, and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Three to sixteen ASCII letters and digits, in capitals; an X command of RFC 775 by its plain name.
    pub verb: String,
    /// The rest of the line; empty when there is none.
    pub argument: String,
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin with a verb.
    Verb,
    /// It holds control characters or is not UTF-8 (RFC 2640 §3.1).
    Text,
}

/// The Telnet code that begins a command (RFC 854).
const IAC: u8 = 255;
/// The lowest of the codes behind IAC; none of them is found in UTF-8 text.
const CODES: u8 = 240;
/// These two and what lies between have an option behind them.
const WILL: u8 = 251;
const DONT: u8 = 254;

impl Command {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn parse(line: &[u8]) -> Result<Command, Malformed> {
        let plain = without_telnet(line);
        let text = std::str::from_utf8(&plain).map_err(|_| Malformed::Text)?;
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        if !(3..=16).contains(&verb.len()) || !verb.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Malformed::Verb);
        }
        if argument.chars().any(char::is_control) {
            return Err(Malformed::Text);
        }
        let verb = verb.to_ascii_uppercase();
        let verb = match verb.as_str() {
            "XCWD" => "CWD",
            "XCUP" => "CDUP",
            "XPWD" => "PWD",
            "XMKD" => "MKD",
            "XRMD" => "RMD",
            other => other,
        };
        Ok(Command { verb: verb.to_owned(), argument: argument.to_owned() })
    }

    /// The line that reads back as this command. Nothing in it needs the Telnet escape: UTF-8 holds no byte 255.
    pub fn render(&self) -> Vec<u8> {
        let line =
            if self.argument.is_empty() { self.verb.clone() } else { format!("{} {}", self.verb, self.argument) };
        line.into_bytes()
    }
}

/// Drops the Telnet codes that clients put before ABOR: Interrupt Process and the Synch signal (RFC 959 §3.4.1). One
/// byte of a Synch is urgent data, which may be missing in the stream: the IAC before the mark, or the mark itself.
fn without_telnet(line: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != IAC {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(IAC) => plain.push(IAC),
            Some(WILL..=DONT) => drop(bytes.next()),
            Some(CODES..) | None => {}
            Some(text) => plain.push(text),
        }
    }
    let stray = plain.iter().take_while(|&&byte| byte >= CODES).count();
    plain.split_off(stray)
}

/// The six numbers of PORT (RFC 959 §4.1.2).
pub fn parse_port(argument: &str) -> Option<SocketAddr> {
    let mut numbers = [0; 6];
    let mut parts = argument.trim().split(',');
    for number in &mut numbers {
        *number = digits(parts.next()?)?;
    }
    if parts.next().is_some() {
        return None;
    }
    let [a, b, c, d, high, low] = numbers;
    Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}

/// A number without a sign, which the library's parser would take.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A number of bytes, for REST and ALLO.
pub fn parse_size(argument: &str) -> Option<u64> {
    digits(argument.trim())
}

/// The six numbers that PASV answers with.
pub fn render_port(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// Why an EPRT cannot be taken (RFC 2428 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadEprt {
    /// Neither 1 (IPv4) nor 2 (IPv6).
    Family,
    /// Not of the form at all.
    Syntax,
}

/// `|1|132.235.1.2|6275|` (RFC 2428 §2); any printable ASCII character may stand for the bar.
///
/// # Errors
/// See [`BadEprt`].
pub fn parse_eprt(argument: &str) -> Result<SocketAddr, BadEprt> {
    let bar = argument.chars().next().filter(char::is_ascii_graphic).ok_or(BadEprt::Syntax)?;
    let parts: Vec<&str> = argument.split(bar).collect();
    let ["", family, address, port, ""] = parts[..] else { return Err(BadEprt::Syntax) };
    let port = digits(port).ok_or(BadEprt::Syntax)?;
    let address: IpAddr = match family {
        "1" => IpAddr::V4(address.parse().map_err(|_| BadEprt::Syntax)?),
        "2" => IpAddr::V6(address.parse().map_err(|_| BadEprt::Syntax)?),
        _ => return Err(BadEprt::Family),
    };
    Ok(SocketAddr::new(address, port))
}

/// The argument that [`parse_eprt`] reads back as this address.
pub fn render_eprt(target: SocketAddr) -> String {
    let family = if target.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", target.ip(), target.port())
}

/// What stands behind EPSV (RFC 2428 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epsv {
    /// Nothing: any port, in the family of the control connection.
    Any,
    /// Only of this family: 1 for IPv4, 2 for IPv6.
    Family(u8),
    /// No other way to open data connections will be used from now on.
    All,
}

/// Reads what stands behind EPSV.
pub fn parse_epsv(argument: &str) -> Option<Epsv> {
    match argument.trim() {
        "" => Some(Epsv::Any),
        text if text.eq_ignore_ascii_case("ALL") => Some(Epsv::All),
        text => digits(text).map(Epsv::Family),
    }
}

/// A point in time as `YYYYMMDDHHMMSS[.sss]`, UTC (RFC 3659 §2.3); seconds since the Unix epoch.
pub fn parse_time(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| whole[range].parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(8..10)?, number(10..12)?, number(12..14)?);
    let good = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !good || hour > 23 || minute > 59 || second > 60 || year == 0 {
        return None;
    }
    // A leap second, which the epoch does not count.
    let second = second.min(59);
    Some(days_to(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The same, written.
pub fn render_time(seconds: i64) -> String {
    let (year, month, day) = date_of(seconds.div_euclid(86_400));
    let rest = seconds.rem_euclid(86_400);
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from the Unix epoch; the year is taken to begin in March, so that the leap day is its last.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day counted from the Unix epoch: year, month and day.
pub fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// A path in quotes, as 257 tells it: quotes inside are doubled (RFC 959, appendix II).
pub fn quote(path: &str) -> String {
    format!("\"{}\"", path.replace('"', "\"\""))
}

#[cfg(test)]
#[path = "codec/tests.rs"]
mod tests;
