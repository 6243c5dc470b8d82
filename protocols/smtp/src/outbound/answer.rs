//! A server's replies as its client reads them (RFC 5321 §4.2): pure, so that the fuzzer includes this file as it
//! stands. A server may say anything: lines and their number are bounded, and nothing but printable ASCII is kept.

use std::fmt;

/// The longest line, with its end. RFC 5321 §4.5.3.1.5 allows 512 octets; some servers say more.
pub const LINE: usize = 2048;
/// The most lines of one reply.
const LINES: usize = 128;
/// How much of what was said is kept.
const KEPT: usize = 512;

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The three digits.
    pub code: u16,
    /// The text of each line.
    pub lines: Vec<String>,
}

/// A reply that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// A line does not begin with three digits, or they are no code.
    #[error("a line that is no reply")]
    Line,
    /// The lines of one reply have different codes.
    #[error("a reply with several codes")]
    Codes,
    /// There is no end to it.
    #[error("a reply without end")]
    Endless,
    /// It says neither yes nor no to what was asked.
    #[error("a reply to something else")]
    Unasked,
}

impl Answer {
    /// Whether it says yes (RFC 5321 §4.2.1: the first digit is what counts).
    pub fn is_good(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it says never; any other refusal is for now.
    pub fn is_final(&self) -> bool {
        self.code / 100 == 5
    }

    /// Whether it says that a transaction has as many recipients as the server takes: by 552 in RFC 821, which counts
    /// as 452 (RFC 5321 §4.5.3.1.10).
    pub fn is_too_many(&self) -> bool {
        matches!(self.code, 452 | 552) && self.status().is_none_or(|status| status.ends_with(".5.3"))
    }

    /// The enhanced status code (RFC 3463) that it begins with, unless it contradicts the reply's own.
    pub fn status(&self) -> Option<&str> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut parts = word.split('.');
        let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let class = parts.next()?;
        let fits = class.parse() == Ok(self.code / 100) && class.len() == 1;
        let rest = parts.next().is_some_and(number) && parts.next().is_some_and(number) && parts.next().is_none();
        (fits && rest).then_some(word)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.code)?;
        let mut room = KEPT;
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            let line = &line[..line.len().min(room)];
            room -= line.len();
            write!(out, " {line}")?;
        }
        Ok(())
    }
}

/// A reply on its way, line by line.
#[derive(Debug, Default)]
pub struct Reading {
    code: Option<u16>,
    lines: Vec<String>,
}

impl Reading {
    /// Takes a line without its end; the reply when it is whole.
    ///
    /// # Errors
    /// When it is none; then nobody can tell what the rest of the connection means.
    pub fn take(&mut self, line: &[u8]) -> Result<Option<Answer>, Garbled> {
        let (digits, rest) = line.split_at_checked(3).ok_or(Garbled::Line)?;
        let (text, last) = match rest.split_first() {
            None => (rest, true),
            Some((b' ', text)) => (text, true),
            Some((b'-', text)) => (text, false),
            Some(_) => return Err(Garbled::Line),
        };
        if !digits.iter().all(u8::is_ascii_digit) || !(b'2'..=b'5').contains(&digits[0]) {
            return Err(Garbled::Line);
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        if self.code.is_some_and(|known| known != code) {
            return Err(Garbled::Codes);
        }
        if self.lines.len() >= LINES {
            return Err(Garbled::Endless);
        }
        self.code = Some(code);
        let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' };
        self.lines.push(text.iter().map(printable).collect());
        if !last {
            return Ok(None);
        }
        let Reading { lines, .. } = std::mem::take(self);
        Ok(Some(Answer { code, lines }))
    }
}

/// What a server offers (RFC 5321 §4.1.1.1), of which only this is of use here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 2920.
    pub pipelining: bool,
    /// The largest message, where it says one (RFC 1870).
    pub size: Option<u64>,
    /// Whether SIZE is known at all.
    pub sizes: bool,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 3030.
    pub binary: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 6531.
    pub utf8: bool,
    /// RFC 8689.
    pub require_tls: bool,
    /// To how many recipients a message may be (RFC 9422).
    pub recipients: Option<usize>,
    /// How one may log in (RFC 4954), in capitals.
    pub mechanisms: Vec<String>,
}

impl Extensions {
    /// Those of a reply to EHLO.
    pub fn of(answer: &Answer) -> Extensions {
        let mut found = Extensions::default();
        for line in answer.lines.iter().skip(1) {
            // As AUTH was before it was a standard.
            let line = line.replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "STARTTLS" => found.starttls = true,
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit = true,
                "CHUNKING" => found.chunking = true,
                "BINARYMIME" => found.binary = true,
                "DSN" => found.dsn = true,
                "SMTPUTF8" => found.utf8 = true,
                "REQUIRETLS" => found.require_tls = true,
                "LIMITS" => {
                    let most = words.find_map(|word| word.to_ascii_uppercase().strip_prefix("RCPTMAX=")?.parse().ok());
                    found.recipients = most.filter(|most| *most > 0);
                }
                "AUTH" => found.mechanisms.extend(words.map(str::to_ascii_uppercase)),
                "SIZE" => {
                    found.sizes = true;
                    // Zero is no limit, and what is no number is none either.
                    found.size = words.next().and_then(|size| size.parse().ok()).filter(|size| *size > 0);
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Answer>, Garbled> {
        let mut reading = Reading::default();
        let mut last = Ok(None);
        for line in lines {
            last = reading.take(line.as_bytes());
        }
        last
    }

    #[test]
    fn replies_are_read() {
        let answer = read(&["250-mx.example greets you", "250-SIZE 1000", "250 starttls"]).unwrap().unwrap();
        assert_eq!((answer.code, answer.lines.len()), (250, 3));
        let extensions = Extensions::of(&answer);
        assert!(extensions.starttls && extensions.size == Some(1000) && !extensions.pipelining);
        for said in ["250 AUTH=LOGIN", "250 AUTH login"] {
            let answer = read(&["250-mx", said]).unwrap().unwrap();
            assert_eq!(Extensions::of(&answer).mechanisms, ["LOGIN"]);
        }
        assert_eq!(read(&["250"]).unwrap().unwrap().to_string(), "250");
        assert_eq!(read(&["250-a", "250 "]).unwrap().unwrap().to_string(), "250 a");
        let odd = read(&["550 5.1.1 no\x07 such \u{fc}ser"]).unwrap().unwrap();
        assert_eq!((odd.status(), odd.to_string()), (Some("5.1.1"), "550 5.1.1 no? such ??ser".to_owned()));
        assert!(odd.is_final() && !odd.is_good());
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for line in ["", "25", "+25 x", "2 0 x", "250x", "199 x", "600 x", "abc"] {
            assert_eq!(read(&[line]), Err(Garbled::Line), "{line:?}");
        }
        assert_eq!(read(&["250-a", "251 b"]), Err(Garbled::Codes));
        assert_eq!(read(&vec!["250-a"; LINES + 1]), Err(Garbled::Endless));
    }

    #[test]
    fn a_status_that_contradicts_the_code_is_none() {
        for text in ["5.1.1 x", "4.1 x", "4.1.1.1 x", "4.1.1000 x", "44.1.1", "", "4.x.1"] {
            let answer = Answer { code: 450, lines: vec![text.to_owned()] };
            assert_eq!(answer.status(), None, "{text}");
        }
        assert_eq!(Answer { code: 450, lines: vec!["4.2.1 later".into()] }.status(), Some("4.2.1"));
    }
}
