//! Command lines of SMTP, both ways (RFC 5321 §4.1): pure, so that the fuzzer includes this file as it stands.
//!
//! The grammar is written here and not taken from a crate, because a quoted local part, an address literal or an
//! extension that was never offered must be judged exactly, and lines come framed already.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

#[path = "codec/parameters.rs"]
mod parameters;

pub use parameters::{Body, MailParameters, Notify, RcptParameters, Ret};

/// A command as the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `HELO domain`.
    Helo(String),
    /// `EHLO domain`.
    Ehlo(String),
    /// `LHLO domain` (RFC 2033).
    Lhlo(String),
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954); the response is in base 64 still, `=` is an empty one.
    Auth {
        /// In upper case.
        mechanism: String,
        /// As it came.
        initial: Option<String>,
    },
    /// `MAIL FROM:<path> [parameters]`.
    Mail {
        /// `None` for the null path `<>`.
        from: Option<Mailbox>,
        /// What stood behind the path.
        parameters: MailParameters,
    },
    /// `RCPT TO:<path> [parameters]`.
    Rcpt {
        /// Whom the message is for.
        to: Mailbox,
        /// What stood behind the path.
        parameters: RcptParameters,
    },
    /// `DATA`.
    Data,
    /// `BDAT size [LAST]` (RFC 3030).
    Bdat {
        /// How many octets follow the line.
        size: u64,
        /// Whether the message ends with them.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `NOOP`.
    Noop,
    /// `VRFY string`.
    Vrfy(String),
    /// `EXPN string`.
    Expn(String),
    /// `HELP`.
    Help,
    /// `QUIT`.
    Quit,
}

/// A mailbox (RFC 5321 §4.1.2), its local part without quotes and escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The local part as it is meant.
    pub local: String,
    /// A domain name or an address literal in brackets; `None` only for `<postmaster>` (RFC 5321 §4.1.1.3).
    pub domain: Option<String>,
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Control characters, or octets that are not UTF-8.
    Characters,
    /// No command of that name.
    Unknown,
    /// The arguments are not what the command takes; this is what it takes.
    Arguments(&'static str),
    /// The path of `MAIL` is no address.
    Sender,
    /// The path of `RCPT` is no address.
    Recipient,
    /// A parameter that this server does not know.
    Parameter(String),
    /// A known parameter with a value that it cannot have, or twice.
    Value(&'static str),
    /// A `BDAT` without a size: nobody can tell where its octets end.
    Chunk,
}

impl Command {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// The [`Fault`] that makes it no command.
    pub fn parse(line: &[u8]) -> Result<Command, Fault> {
        let line = std::str::from_utf8(line).map_err(|_| Fault::Characters)?;
        if line.chars().any(char::is_control) {
            return Err(Fault::Characters);
        }
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim_matches(' ');
        let bare = |command: Command, usage| if rest.is_empty() { Ok(command) } else { Err(Fault::Arguments(usage)) };
        match verb.to_ascii_uppercase().as_str() {
            "HELO" => host(rest).map(Command::Helo).ok_or(Fault::Arguments("HELO hostname")),
            "EHLO" => host(rest).map(Command::Ehlo).ok_or(Fault::Arguments("EHLO hostname")),
            "LHLO" => host(rest).map(Command::Lhlo).ok_or(Fault::Arguments("LHLO hostname")),
            "STARTTLS" => bare(Command::StartTls, "STARTTLS"),
            "AUTH" => auth(rest),
            "MAIL" => mail(rest),
            "RCPT" => rcpt(rest),
            "DATA" => bare(Command::Data, "DATA"),
            "BDAT" => bdat(rest).ok_or(Fault::Chunk),
            "RSET" => bare(Command::Rset, "RSET"),
            "NOOP" => Ok(Command::Noop),
            "VRFY" if rest.is_empty() => Err(Fault::Arguments("VRFY address")),
            "VRFY" => Ok(Command::Vrfy(rest.to_owned())),
            "EXPN" if rest.is_empty() => Err(Fault::Arguments("EXPN list")),
            "EXPN" => Ok(Command::Expn(rest.to_owned())),
            "HELP" => Ok(Command::Help),
            "QUIT" => bare(Command::Quit, "QUIT"),
            _ => Err(Fault::Unknown),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Helo(name) => write!(out, "HELO {name}"),
            Command::Ehlo(name) => write!(out, "EHLO {name}"),
            Command::Lhlo(name) => write!(out, "LHLO {name}"),
            Command::StartTls => out.write_str("STARTTLS"),
            Command::Auth { mechanism, initial: None } => write!(out, "AUTH {mechanism}"),
            Command::Auth { mechanism, initial: Some(initial) } => write!(out, "AUTH {mechanism} {initial}"),
            Command::Mail { from: None, parameters } => write!(out, "MAIL FROM:<>{parameters}"),
            Command::Mail { from: Some(from), parameters } => write!(out, "MAIL FROM:<{from}>{parameters}"),
            Command::Rcpt { to, parameters } => write!(out, "RCPT TO:<{to}>{parameters}"),
            Command::Data => out.write_str("DATA"),
            Command::Bdat { size, last } => write!(out, "BDAT {size}{}", if *last { " LAST" } else { "" }),
            Command::Rset => out.write_str("RSET"),
            Command::Noop => out.write_str("NOOP"),
            Command::Vrfy(what) => write!(out, "VRFY {what}"),
            Command::Expn(what) => write!(out, "EXPN {what}"),
            Command::Help => out.write_str("HELP"),
            Command::Quit => out.write_str("QUIT"),
        }
    }
}

impl Mailbox {
    /// Whether it needs SMTPUTF8 on its way (RFC 6531 §3.3).
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.as_deref().is_none_or(str::is_ascii)
    }
}

impl fmt::Display for Mailbox {
    /// The shortest right way to write it: quoted only where it must be (RFC 5321 §4.1.2).
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            out.write_str(&self.local)?;
        } else {
            out.write_str("\"")?;
            for char in self.local.chars() {
                if matches!(char, '"' | '\\') {
                    out.write_str("\\")?;
                }
                write!(out, "{char}")?;
            }
            out.write_str("\"")?;
        }
        self.domain.as_ref().map_or(Ok(()), |domain| write!(out, "@{domain}"))
    }
}

/// The name that a client greets with, in ASCII (RFC 6531 §3.7.1). Few clients know a true one, so it is only kept from
/// doing harm in a header.
fn host(text: &str) -> Option<String> {
    let allowed = |char: char| char.is_ascii_alphanumeric() || "-_.:[]".contains(char);
    (!text.is_empty() && text.len() <= 255 && text.chars().all(allowed)).then(|| text.to_owned())
}

fn auth(rest: &str) -> Result<Command, Fault> {
    let usage = Fault::Arguments("AUTH mechanism [initial-response]");
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let (Some(mechanism), initial, None) = (words.next(), words.next(), words.next()) else { return Err(usage) };
    let sasl = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if mechanism.len() > 20 || !mechanism.bytes().all(sasl) {
        return Err(usage);
    }
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial: initial.map(str::to_owned) })
}

fn mail(rest: &str) -> Result<Command, Fault> {
    let rest = strip_keyword(rest, "FROM:").ok_or(Fault::Arguments("MAIL FROM:<address>"))?;
    let (from, rest) = path(rest).ok_or(Fault::Sender)?;
    if from.as_ref().is_some_and(|from| from.domain.is_none()) {
        return Err(Fault::Sender);
    }
    let parameters = MailParameters::parse(rest)?;
    Ok(Command::Mail { from, parameters })
}

fn rcpt(rest: &str) -> Result<Command, Fault> {
    let rest = strip_keyword(rest, "TO:").ok_or(Fault::Arguments("RCPT TO:<address>"))?;
    let (Some(to), rest) = path(rest).ok_or(Fault::Recipient)? else { return Err(Fault::Recipient) };
    Ok(Command::Rcpt { to, parameters: RcptParameters::parse(rest)? })
}

fn bdat(rest: &str) -> Option<Command> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let size = number(words.next()?)?;
    let last = match words.next() {
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
        None => false,
    };
    words.next().is_none().then_some(Command::Bdat { size, last })
}

fn strip_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let head = text.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| text[keyword.len()..].trim_start_matches(' '))
}

/// At most twenty digits (RFC 1870 §4).
fn number(text: &str) -> Option<u64> {
    (text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `<mailbox>` or `<>`, and what follows it: nothing, or a space and parameters.
fn path(text: &str) -> Option<(Option<Mailbox>, &str)> {
    let text = text.strip_prefix('<')?;
    let (mailbox, rest) = match text.strip_prefix('>') {
        Some(rest) => (None, rest),
        None => {
            let (mailbox, rest) = mailbox(source_route(text)?)?;
            (Some(mailbox), rest.strip_prefix('>')?)
        }
    };
    (rest.is_empty() || rest.starts_with(' ')).then_some((mailbox, rest))
}

/// Takes `@one,@two:` off the front: it must be recognised and should be ignored (RFC 5321 §4.1.1.3, appendix C).
fn source_route(mut text: &str) -> Option<&str> {
    while let Some(rest) = text.strip_prefix('@') {
        let (_, rest) = domain(rest)?;
        text = match rest.strip_prefix(',') {
            Some(more) => Some(more).filter(|more| more.starts_with('@'))?,
            None => return rest.strip_prefix(':'),
        };
    }
    Some(text)
}

fn mailbox(text: &str) -> Option<(Mailbox, &str)> {
    let (local, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let end = text.find(|char| !is_atext(char) && char != '.').unwrap_or(text.len());
            is_dot_string(&text[..end]).then(|| (text[..end].to_owned(), &text[end..]))?
        }
    };
    // RFC 5321 §4.5.3.1.1 asks for 64 octets at least; bounce addresses in use are longer.
    if local.len() > 256 {
        return None;
    }
    match rest.strip_prefix('@') {
        Some(rest) => domain(rest).map(|(domain, rest)| (Mailbox { local, domain: Some(domain) }, rest)),
        None => local.eq_ignore_ascii_case("postmaster").then_some((Mailbox { local, domain: None }, rest)),
    }
}

/// What stands before the closing quote, without escapes, and what follows it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((local, &text[at + 1..])),
            '\\' => local.push(chars.next().map(|(_, char)| char).filter(char::is_ascii)?),
            _ => local.push(char),
        }
    }
    None
}

fn domain(text: &str) -> Option<(String, &str)> {
    if let Some(literal) = text.strip_prefix('[') {
        let (literal, rest) = literal.split_once(']')?;
        let literal = match literal.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
                format!("[IPv6:{}]", literal[5..].parse::<Ipv6Addr>().ok()?)
            }
            _ => format!("[{}]", literal.parse::<Ipv4Addr>().ok()?),
        };
        return Some((literal, rest));
    }
    // The underscore is no letter of a host name, but some that send mail have one.
    let of_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.') || !char.is_ascii();
    let end = text.find(|char| !of_name(char)).unwrap_or(text.len());
    let name = &text[..end];
    let label =
        |label: &str| !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
    (name.len() <= 255 && name.split('.').all(label)).then(|| (name.to_owned(), &text[end..]))
}

fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

fn is_atext(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char) || (!char.is_ascii() && !char.is_control())
}

#[cfg(test)]
#[path = "codec/tests.rs"]
mod tests;
