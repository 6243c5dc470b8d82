//! Responses: the one place that turns facts into the words of the protocol (RFC 9051 §7, RFC 5530).

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use auth::Denied;
use protocol::{Broken, Closed, ReadError, Wire};
use storage::{Error, Timestamp};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::codec::{Fault, NO_NAME, mailbox};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Ok,
    /// It was understood and not done.
    No,
    /// It was not understood, or is not possible now.
    Bad,
}

/// The last response to a command, without its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How the command ended.
    pub status: Status,
    /// What stands in brackets.
    pub code: Option<Cow<'static, str>>,
    /// A sentence for people.
    pub text: Cow<'static, str>,
    /// Why the connection ends behind it.
    pub close: Option<Closed>,
}

impl Reply {
    /// `OK`.
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { status: Status::Ok, code: None, text: text.into(), close: None }
    }

    /// `NO`.
    pub fn no(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { status: Status::No, ..Reply::ok(text) }
    }

    /// `BAD`.
    pub fn bad(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { status: Status::Bad, ..Reply::ok(text) }
    }

    /// The same with a response code.
    #[must_use]
    pub fn with(self, code: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code: Some(code.into()), ..self }
    }

    /// The same, after which the connection ends.
    #[must_use]
    pub fn closing(self, why: Closed) -> Reply {
        Reply { close: Some(why), ..self }
    }

    /// Appends it as it goes over the wire; `*` is the tag of one that answers no command.
    pub fn write(&self, tag: &str, out: &mut Vec<u8>) {
        let status = match self.status {
            Status::Ok => "OK",
            Status::No => "NO",
            Status::Bad => "BAD",
        };
        let text = one_line(&self.text);
        let line = match &self.code {
            Some(code) => format!("{tag} {status} [{code}] {text}\r\n"),
            None => format!("{tag} {status} {text}\r\n"),
        };
        out.extend_from_slice(line.as_bytes());
    }
}

/// A command, or what stands in it, is switched off here.
pub fn not_offered(capability: &str) -> Reply {
    Reply::bad(format!("{capability} is not offered here"))
}

/// What is said besides the last response to a command.
pub(crate) trait Untagged {
    /// Adds an untagged response, which stands between `* ` and the line's end.
    fn untagged(&mut self, text: impl AsRef<[u8]>);

    /// Asks for a literal that the client waits with.
    fn invite(&mut self);
}

impl Untagged for Wire {
    fn untagged(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(b"* ");
        self.out.extend_from_slice(text.as_ref());
        self.out.extend_from_slice(b"\r\n");
    }

    fn invite(&mut self) {
        self.out.extend_from_slice(b"+ Ready for the literal\r\n");
    }
}

/// A text that is no command.
impl From<&Fault> for Reply {
    fn from(fault: &Fault) -> Self {
        match fault.text {
            NO_NAME => Reply::no(sentence(NO_NAME)).with("CANNOT"),
            text => Reply::bad(sentence(text)),
        }
    }
}

/// The store did not do it (RFC 5530 §3).
impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let code = match error {
            Error::NotFound => return Reply::no("There is no such mailbox").with("NONEXISTENT"),
            Error::Exists => return Reply::no("There is a mailbox of that name already").with("ALREADYEXISTS"),
            Error::Denied(_) => "NOPERM",
            Error::OverQuota => "OVERQUOTA",
            Error::Busy | Error::Changed => "INUSE",
            Error::TooMany(_) => "LIMIT",
            Error::Invalid(_) => "CANNOT",
            Error::Full | Error::Unavailable(_) => "UNAVAILABLE",
            Error::Internal(_) => "SERVERBUG",
        };
        if let Some(detail) = error.detail() {
            tracing::warn!(%error, detail, "a command failed");
        }
        Reply::no(sentence(&error.to_string())).with(code)
    }
}

/// A mailbox to put messages into is not there: the client may make it (RFC 9051 §7.1).
pub fn into_mailbox(error: &Error) -> Reply {
    match error {
        Error::NotFound => Reply::no("There is no such mailbox; it can be created").with("TRYCREATE"),
        other => Reply::from(other),
    }
}

/// A log-in was denied.
impl From<&Denied> for Reply {
    fn from(denied: &Denied) -> Self {
        let code = match denied {
            Denied::BadCredentials => "AUTHENTICATIONFAILED",
            Denied::Cleartext => "PRIVACYREQUIRED",
            Denied::Throttled { .. } | Denied::Unavailable(_) => "UNAVAILABLE",
        };
        Reply::no(sentence(&denied.to_string())).with(code)
    }
}

/// A log-in came to no end (RFC 9051 §6.2.2).
impl From<&Broken> for Reply {
    fn from(broken: &Broken) -> Self {
        match broken {
            Broken::Cancelled => Reply::bad("Cancelled"),
            Broken::TooLong => Reply::bad("The response is too long"),
            Broken::BareLine => Reply::bad("A line ends in CRLF"),
            Broken::Encoding => Reply::bad("The response is not base 64"),
            Broken::Malformed(why) => Reply::bad(format!("The response cannot be read: {why}")),
            Broken::Denied(denied) => Reply::from(denied),
        }
    }
}

/// Why the connection ends, told by BYE; `None` when there is nobody left to tell.
pub fn bye(error: &ReadError) -> Option<(&'static str, Closed)> {
    match error {
        ReadError::TooLong(_) | ReadError::Endless => Some(("A line without end; goodbye", Closed::Abuse)),
        ReadError::Idle => Some(("Nothing came for too long; goodbye", Closed::Idle)),
        ReadError::Shutdown => Some(("[UNAVAILABLE] The service is shutting down; try again", Closed::Shutdown)),
        ReadError::Withdrawn => Some(("[EXPIRED] The password is not valid any more; log in anew", Closed::Withdrawn)),
        ReadError::Closed | ReadError::Io(_) => None,
    }
}

/// A sentence with its first letter in upper case.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Writes text, of which no string is made first.
pub(crate) fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // A vector takes all that is written to it.
    let _ = out.write_fmt(text);
}

/// Writes a string: quoted where that is possible, a literal otherwise (RFC 9051 §4.3).
pub fn put_string(out: &mut Vec<u8>, text: &[u8], utf8: bool) {
    let plain = |byte: &u8| (utf8 || byte.is_ascii()) && !matches!(byte, 0 | b'\r' | b'\n' | b'"' | b'\\');
    let quotable = |byte: &u8| plain(byte) || matches!(byte, b'"' | b'\\');
    if text.len() > 2000 || !text.iter().all(quotable) || utf8 && std::str::from_utf8(text).is_err() {
        out.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    if text.iter().all(plain) {
        out.extend_from_slice(text);
    } else {
        for &byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
    out.push(b'"');
}

/// Writes a string, or NIL.
pub fn put_nstring(out: &mut Vec<u8>, text: Option<&[u8]>, utf8: bool) {
    match text {
        Some(text) => put_string(out, text, utf8),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes a mailbox's name.
pub fn put_mailbox(out: &mut Vec<u8>, name: &str, utf8: bool) {
    put_string(out, mailbox::encode(name, utf8).as_bytes(), utf8);
}

/// A moment as INTERNALDATE has it, in UTC, with its quotes.
pub fn date_time(at: Timestamp) -> String {
    let format =
        format_description!("\"[day padding:space]-[month repr:short]-[year] [hour]:[minute]:[second] +0000\"");
    let at = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_or_literals() {
        let written = |text: &str, utf8| {
            let mut out = Vec::new();
            put_string(&mut out, text.as_bytes(), utf8);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written("a \"b\" \\c", false), r#""a \"b\" \\c""#);
        assert_eq!(written("", false), "\"\"");
        assert_eq!(written("ü", true), "\"ü\"");
        assert_eq!(written("ü", false), "{2}\r\nü");
        assert_eq!(written("a\r\nb", true), "{4}\r\na\r\nb");
    }

    #[test]
    fn replies_are_one_line() {
        let mut out = Vec::new();
        Reply::no("a\r\nb").with("CANNOT").write("t1", &mut out);
        assert_eq!(out, b"t1 NO [CANNOT] a  b\r\n");
        assert_eq!(date_time(Timestamp(837_596_665_000)), "\"17-Jul-1996 09:44:25 +0000\"");
        assert_eq!(date_time(Timestamp(0)), "\" 1-Jan-1970 00:00:00 +0000\"");
    }
}
