//! Facts to replies: the one place that knows which response code says what (RFC 2449 §8, RFC 3206).

use std::borrow::Cow;

use auth::Denied;
use protocol::{Broken, Closed, ReadError};
use storage::Error;

use crate::codec::Fault;

/// The longest text of a reply: with its indicator, its code and CRLF it stays within 512 octets (RFC 2449 §4).
const TEXT: usize = 480;

/// One reply of one line, and whether the connection ends behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `+OK` or `-ERR`.
    pub ok: bool,
    /// What a program may act on: the response code, without its brackets.
    pub code: Option<&'static str>,
    /// What a person may read.
    pub text: Cow<'static, str>,
    /// Set when the server closes behind it.
    pub close: Option<Closed>,
}

impl Reply {
    /// It was done.
    pub fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Reply { ok: true, code: None, text: text.into(), close: None }
    }

    /// It was not, and the client had better know.
    pub fn err(text: impl Into<Cow<'static, str>>) -> Self {
        Reply { ok: false, ..Reply::ok(text) }
    }

    /// The same with a response code.
    pub fn coded(self, code: &'static str) -> Self {
        Reply { code: Some(code), ..self }
    }

    /// The same as the last one.
    pub fn closing(self, why: Closed) -> Self {
        Reply { close: Some(why), ..self }
    }

    /// Whether it counts against the client: a refusal does that is no matter of time. Who must wait and goes on all
    /// the same is refused for what it does.
    pub fn is_strike(&self) -> bool {
        !self.ok && !matches!(self.code, Some(IN_USE | SYS_TEMP))
    }

    /// Appends it as it goes over the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.ok { b"+OK" } else { b"-ERR" });
        if let Some(code) = self.code {
            out.extend_from_slice(b" [");
            out.extend_from_slice(code.as_bytes());
            out.push(b']');
        }
        if !self.text.is_empty() {
            out.push(b' ');
            out.extend_from_slice(&self.text.as_bytes()[..self.text.floor_char_boundary(TEXT)]);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The maildrop is locked by another session (RFC 2449 §8.1.2).
const IN_USE: &str = "IN-USE";
/// It may be tried again later (RFC 2449 §8.1.1).
const LOGIN_DELAY: &str = "LOGIN-DELAY";
/// The credentials are at fault (RFC 3206 §4).
const AUTH: &str = "AUTH";
/// A failure that passes (RFC 3206 §4).
const SYS_TEMP: &str = "SYS/TEMP";
/// A failure that a person has to see to (RFC 3206 §4).
const SYS_PERM: &str = "SYS/PERM";

/// A line that is no command.
impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Characters => Reply::err("Control characters, or octets that are not UTF-8"),
            Fault::Unknown => Reply::err("Command not known; CAPA tells what is"),
            Fault::Arguments(usage) => Reply::err(format!("Syntax: {usage}")),
        }
    }
}

/// The store did not do it.
impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        if let Some(detail) = error.detail() {
            tracing::error!(detail, "the store failed");
        }
        let code = match error {
            Error::NotFound => return Reply::err("The message is not there any more: another client removed it"),
            Error::Busy => return Reply::err("Another session has the mailbox locked; try again later").coded(IN_USE),
            Error::Denied(_) | Error::Exists | Error::Invalid(_) => SYS_PERM,
            Error::TooMany(_)
            | Error::OverQuota
            | Error::Full
            | Error::Changed
            | Error::Unavailable(_)
            | Error::Internal(_) => SYS_TEMP,
        };
        Reply::err(one_line(&error.to_string())).coded(code)
    }
}

/// A log-in was denied.
impl From<&Denied> for Reply {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::BadCredentials => Reply::err("Wrong name or password").coded(AUTH),
            Denied::Throttled { .. } => Reply::err(one_line(&denied.to_string())).coded(LOGIN_DELAY),
            Denied::Cleartext => encryption_required(),
            Denied::Unavailable(error) => Reply { code: Some(SYS_TEMP), ..Reply::from(error) },
        }
    }
}

/// A log-in came to no end (RFC 5034 §4).
impl From<&Broken> for Reply {
    fn from(broken: &Broken) -> Self {
        match broken {
            Broken::Cancelled => Reply::err("Authentication cancelled"),
            Broken::TooLong => Reply::err("The line of the authentication is too long"),
            Broken::BareLine => bare_line(),
            Broken::Encoding => Reply::err("The response is not base64"),
            Broken::Malformed(why) => Reply::err(format!("Cannot read the response: {why}")),
            Broken::Denied(denied) => Reply::from(denied),
        }
    }
}

/// No credentials in the clear (RFC 2595 §2.2).
pub fn encryption_required() -> Reply {
    Reply::err("Encryption is required: send STLS first, or turn on TLS in your client")
}

/// Why no line came; `None` when there is nobody left to tell.
pub fn no_line(error: &ReadError) -> Option<Reply> {
    match error {
        ReadError::TooLong(_) => Some(Reply::err("Line too long: a command has 255 octets at most")),
        ReadError::Endless => Some(Reply::err("A line has an end; goodbye").closing(Closed::Abuse)),
        // RFC 1939 §3: closed without a word of success, and nothing is removed.
        ReadError::Idle => Some(
            Reply::err("Nothing came for too long; what was marked is not removed")
                .coded(SYS_TEMP)
                .closing(Closed::Idle),
        ),
        ReadError::Shutdown => {
            Some(Reply::err("The service is shutting down; try again").coded(SYS_TEMP).closing(Closed::Shutdown))
        }
        ReadError::Withdrawn => {
            let reply = Reply::err("The password is not valid any more; what was marked is not removed");
            Some(reply.coded(AUTH).closing(Closed::Withdrawn))
        }
        ReadError::Closed | ReadError::Io(_) => None,
    }
}

/// A line that did not end in CRLF.
pub fn bare_line() -> Reply {
    Reply::err("A line must end in CRLF and hold no bare CR or LF")
}

/// The last of too many errors.
pub fn too_many_errors() -> Reply {
    Reply::err("Too many errors; goodbye").closing(Closed::Abuse)
}

/// A sentence fit for a reply: one line, capital first.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_one_line_within_512_octets() {
        let written = |reply: &Reply| {
            let mut out = Vec::new();
            reply.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&Reply::ok("")), "+OK\r\n");
        assert_eq!(written(&Reply::err("no").coded(AUTH)), "-ERR [AUTH] no\r\n");
        let long = Reply::from(&Error::invalid(format!("a\r\n{}", "ä".repeat(1000))));
        let line = written(&long);
        assert!(line.len() <= 512 && line.starts_with("-ERR [SYS/PERM] A  ä") && line.matches('\n').count() == 1);
    }

    #[test]
    fn what_passes_with_time_is_no_strike() {
        let retry = std::time::Duration::from_secs(3);
        for reply in [Reply::from(&Error::Busy), Reply::from(&Error::Full)] {
            assert!(!reply.ok && !reply.is_strike(), "{reply:?}");
        }
        let denied = [Denied::BadCredentials, Denied::Throttled { retry }].map(|denied| Reply::from(&denied));
        for reply in denied.into_iter().chain([Reply::from(Fault::Unknown), Reply::from(&Error::NotFound)]) {
            assert!(reply.is_strike(), "{reply:?}");
        }
        let away = Denied::Unavailable(Error::Busy);
        assert_eq!(Reply::from(&away).code, Some("SYS/TEMP"), "a store that is busy is no locked maildrop");
    }
}
