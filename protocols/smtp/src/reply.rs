//! Facts to replies: the one place that knows which code says what (RFC 5321 §4.2, RFC 3463).

use std::borrow::Cow;

use auth::{Denied, Refused, TraceId};
use protocol::{Broken, Closed, ReadError};
use storage::Error;

use crate::codec::Fault;
use crate::filters::decision::Refusal;
use crate::scan::{Bare, Framing};

/// A log-in cannot be judged now (RFC 4954 §4.7).
const AUTH_LATER: u16 = 454;

/// One reply, and whether the connection ends behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The text, with the enhanced status code in front; a line feed makes it a reply of several lines.
    pub text: Cow<'static, str>,
    /// Set when the server closes behind it.
    pub close: Option<Closed>,
    /// What is said behind it: LMTP answers a message once for each recipient (RFC 2033 §4.2).
    pub also: Vec<(u16, Cow<'static, str>)>,
}

impl Reply {
    /// A reply that the session goes on after.
    pub fn new(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Reply { code, text: text.into(), close: None, also: Vec::new() }
    }

    /// The same reply, as the last one.
    pub fn closing(self, why: Closed) -> Self {
        Reply { close: Some(why), ..self }
    }

    /// Whether it counts against the client: a permanent refusal does, and that of a log-in for now, or who must wait
    /// could go on for ever.
    pub fn is_strike(&self) -> bool {
        self.code >= 500 || self.code == AUTH_LATER
    }

    /// The message is stored, durably: the id finds it in the audit log.
    pub fn message_taken(trace: TraceId) -> Self {
        Reply::new(250, format!("2.0.0 Ok: queued as {trace}"))
    }

    /// Whether the client did something well that forgives its errors.
    pub fn ends_message(&self) -> bool {
        self.code == 250 && self.text.starts_with("2.0.0 Ok: queued as ")
    }

    /// Appends it as it goes over the wire (RFC 5321 §4.2.1).
    pub fn write(&self, out: &mut Vec<u8>) {
        let also = self.also.iter().map(|(code, text)| (*code, text));
        for (code, text) in std::iter::once((self.code, &self.text)).chain(also) {
            let mut lines = text.split('\n').peekable();
            while let Some(line) = lines.next() {
                let sign = if lines.peek().is_some() { '-' } else { ' ' };
                out.extend_from_slice(format!("{code}{sign}{line}\r\n").as_bytes());
            }
        }
    }
}

/// A line that is no command.
impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Characters => Reply::new(500, "5.5.2 Control characters, or octets that are not UTF-8"),
            Fault::Unknown => Reply::new(500, "5.5.1 Command not recognized"),
            Fault::Arguments(usage) => Reply::new(501, format!("5.5.4 Syntax: {usage}")),
            Fault::Sender => Reply::new(501, "5.1.7 Not an address; syntax: MAIL FROM:<address>"),
            Fault::Recipient => Reply::new(501, "5.1.3 Not an address; syntax: RCPT TO:<address>"),
            Fault::Parameter(name) => unknown_parameter(&name),
            Fault::Value(name) => Reply::new(501, format!("5.5.4 Not a value for the parameter {name}")),
            Fault::Chunk => {
                Reply::new(501, "5.5.4 Syntax: BDAT size [LAST]; nobody can tell what follows").closing(Closed::Abuse)
            }
        }
    }
}

/// A parameter that was not offered (RFC 5321 §4.1.1.11).
pub fn unknown_parameter(name: &str) -> Reply {
    let name: String = name.chars().take(40).collect();
    Reply::new(555, format!("5.5.4 Parameter {name} is not supported"))
}

/// The store did not do it.
impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        let (code, status) = match error {
            Error::NotFound => (550, "5.1.1"),
            Error::Denied(_) => (550, "5.7.1"),
            Error::TooMany(_) => (450, "4.7.1"),
            Error::OverQuota => (452, "4.2.2"),
            Error::Full => (452, "4.3.1"),
            Error::Busy | Error::Unavailable(_) | Error::Internal(_) => (451, "4.3.0"),
            Error::Exists | Error::Invalid(_) | Error::Changed => (554, "5.6.0"),
        };
        // The sentences speak to an account's owner; whoever sends it mail is told in other words.
        match error {
            Error::OverQuota => mailbox_full(),
            Error::Full => Reply::new(code, format!("{status} The server has no space left; try again later")),
            _ => Reply::new(code, format!("{status} {}", one_line(&error.to_string()))),
        }
    }
}

/// A log-in was denied (RFC 4954 §6).
impl From<&Denied> for Reply {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::BadCredentials => Reply::new(535, "5.7.8 Authentication credentials invalid"),
            Denied::Throttled { retry } => Reply::new(
                AUTH_LATER,
                format!("4.7.0 Too many failed log-ins; try again in {} s", retry.as_secs().max(1)),
            ),
            Denied::Cleartext => encryption_required(),
            Denied::Unavailable(_) => Reply::new(AUTH_LATER, "4.7.0 Temporary authentication failure; try again"),
        }
    }
}

/// A log-in came to no end (RFC 4954 §4).
impl From<&Broken> for Reply {
    fn from(broken: &Broken) -> Self {
        match broken {
            Broken::Cancelled => Reply::new(501, "5.7.0 Authentication cancelled"),
            Broken::TooLong => Reply::new(500, "5.5.6 Authentication exchange line is too long"),
            Broken::BareLine => bare_line(),
            Broken::Encoding => Reply::new(501, "5.5.2 Cannot decode the response"),
            Broken::Malformed(why) => Reply::new(501, format!("5.5.2 Cannot read the response: {why}")),
            Broken::Denied(denied) => Reply::from(denied),
        }
    }
}

/// No credentials in the clear (RFC 4954 §4).
pub fn encryption_required() -> Reply {
    Reply::new(538, "5.7.11 Encryption required: issue STARTTLS before AUTH")
}

/// A recipient was refused.
pub fn refused_recipient(refused: &Refused) -> Reply {
    match refused {
        Refused::Unknown => Reply::new(550, "5.1.1 No such mailbox here"),
        Refused::Elsewhere => Reply::new(550, "5.7.1 Relaying denied: this server takes mail for its own domains only"),
        Refused::Full => mailbox_full(),
        Refused::Invalid => Reply::new(501, "5.1.3 Not an address"),
        Refused::Unavailable(error) => Reply::from(error),
    }
}

/// There is no room for it now (RFC 3463 §3.3).
fn mailbox_full() -> Reply {
    Reply::new(452, "4.2.2 The mailbox is full; try again later")
}

/// Why a message was not taken, though its envelope was.
#[derive(Debug, Clone)]
pub enum Problem {
    /// Longer than the limit.
    TooLarge(u64),
    /// It holds a line end that is none.
    Bare(Bare, Framing),
    /// It passed this many servers.
    Loop(u32),
    /// Its header is longer than so many bytes, or than so many lines.
    Header(usize, usize),
    /// Nobody can be sure who its authors are.
    Authors,
    /// Its author, or who sent it for them or on, is not who sends it.
    Author(String),
    /// It was judged so.
    Judged(Refusal),
    /// The store said so.
    Store(Error),
}

/// Who or what was judged is refused.
impl From<Refusal> for Reply {
    fn from(Refusal { code, status, text }: Refusal) -> Self {
        Reply::new(code, format!("{status} {text}"))
    }
}

impl From<&Problem> for Reply {
    fn from(problem: &Problem) -> Self {
        match problem {
            Problem::TooLarge(limit) => {
                Reply::new(552, format!("5.3.4 The message is longer than the limit of {limit} bytes"))
            }
            Problem::Bare(bare, framing) => {
                let seen = match bare {
                    Bare::Cr => "<CR> without <LF>",
                    Bare::Lf => "<LF> without <CR>",
                    Bare::Nul => "<NUL>",
                };
                let text = format!("5.5.2 Message refused: it holds a bare {seen} (RFC 5321 section 2.3.8)");
                match framing {
                    // What follows may be the rest of a smuggled message: none of it is taken for a command.
                    Framing::Dots => Reply::new(521, text).closing(Closed::Abuse),
                    Framing::Counted | Framing::Binary => Reply::new(550, text),
                }
            }
            Problem::Loop(hops) => {
                Reply::new(554, format!("5.4.6 The message passed {hops} servers: it goes round in circles"))
            }
            Problem::Header(bytes, lines) => {
                let text = format!("5.3.4 The header of the message is longer than {bytes} bytes or {lines} lines");
                Reply::new(552, text)
            }
            Problem::Authors => {
                let rule =
                    "From must be one field; it, Sender and Resent-From take addresses of your own, and no group";
                Reply::new(550, format!("5.6.0 {rule}"))
            }
            Problem::Author(address) => {
                let address: String = address.chars().filter(|char| !char.is_control()).take(254).collect();
                Reply::new(550, format!("5.7.1 {address} in From, Sender or Resent-From is no address of your own"))
            }
            Problem::Judged(refusal) => refusal.clone().into(),
            Problem::Store(error) => Reply::from(error),
        }
    }
}

/// Why no line came; `None` when there is nobody left to tell.
pub fn no_line(error: &ReadError) -> Option<Reply> {
    match error {
        ReadError::TooLong(_) => Some(Reply::new(500, "5.5.2 Line too long")),
        ReadError::Endless => Some(Reply::new(500, "5.5.2 Line too long; goodbye").closing(Closed::Abuse)),
        ReadError::Idle => Some(Reply::new(421, "4.4.2 Nothing came for too long; goodbye").closing(Closed::Idle)),
        ReadError::Shutdown => {
            Some(Reply::new(421, "4.3.2 The service is shutting down; try again").closing(Closed::Shutdown))
        }
        ReadError::Withdrawn => {
            Some(Reply::new(421, "4.7.0 The password is not valid any more; log in anew").closing(Closed::Withdrawn))
        }
        ReadError::Closed | ReadError::Io(_) => None,
    }
}

/// A line of a command that did not end in CRLF (RFC 5321 §2.3.8).
pub fn bare_line() -> Reply {
    Reply::new(500, "5.5.2 A line must end in CRLF and hold no bare CR or LF")
}

/// The last of too many errors.
pub fn too_many_errors() -> Reply {
    Reply::new(421, "4.7.0 Too many errors; goodbye").closing(Closed::Abuse)
}

/// A sentence fit for a reply: one line, capital first.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
