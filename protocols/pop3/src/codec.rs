//! Lines to commands and back, and contents to lines: pure, without I/O, on its own, so that it can be fuzzed alone.
//!
//! RFC 1939 with RFC 2449 (CAPA), RFC 2595 (STLS), RFC 5034 (AUTH) and RFC 6856 (UTF8).

use std::fmt;

use memchr::memmem;

/// The longest command, without the CRLF behind it (RFC 2449 §4).
pub const COMMAND: usize = 253;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// The name that PASS will prove.
    User(String),
    /// The password, spaces and all.
    Pass(String),
    /// SASL; without a mechanism the client asks which there are, as some do.
    Auth {
        /// In capitals.
        mechanism: Option<String>,
        /// The initial response, in base64; `=` for an empty one (RFC 5034 §4).
        initial: Option<String>,
    },
    /// TLS from here on.
    Stls,
    /// What the server can do.
    Capa,
    /// UTF-8 in what is said from here on.
    Utf8,
    /// How many messages, how many octets.
    Stat,
    /// Sizes: of one message, or of all.
    List(Option<u32>),
    /// Unique ids: of one message, or of all.
    Uidl(Option<u32>),
    /// A message.
    Retr(u32),
    /// Its header and so many lines of its body.
    Top(u32, u32),
    /// Marks a message to be removed.
    Dele(u32),
    /// Takes all marks back.
    Rset,
    /// Nothing.
    Noop,
    /// The end; what is marked is removed.
    Quit,
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Control characters, or octets that are not UTF-8.
    Characters,
    /// No command of that name.
    Unknown,
    /// The arguments are not what the command takes; this is what it takes.
    Arguments(&'static str),
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
        let bare = |command: Command, usage| match rest.trim_matches(' ') {
            "" => Ok(command),
            _ => Err(Fault::Arguments(usage)),
        };
        match verb.to_ascii_uppercase().as_str() {
            "USER" if rest.trim_matches(' ').is_empty() => Err(Fault::Arguments("USER name")),
            "USER" => Ok(Command::User(rest.trim_matches(' ').to_owned())),
            // The one argument may hold spaces (RFC 1939 §7).
            "PASS" if rest.is_empty() => Err(Fault::Arguments("PASS password")),
            "PASS" => Ok(Command::Pass(rest.to_owned())),
            "AUTH" => auth(rest).ok_or(Fault::Arguments("AUTH mechanism [initial-response]")),
            "STLS" => bare(Command::Stls, "STLS"),
            "CAPA" => bare(Command::Capa, "CAPA"),
            "UTF8" => bare(Command::Utf8, "UTF8"),
            "STAT" => bare(Command::Stat, "STAT"),
            "LIST" => perhaps_number(rest).map(Command::List).ok_or(Fault::Arguments("LIST [message]")),
            "UIDL" => perhaps_number(rest).map(Command::Uidl).ok_or(Fault::Arguments("UIDL [message]")),
            "RETR" => number(rest).map(Command::Retr).ok_or(Fault::Arguments("RETR message")),
            "TOP" => top(rest).ok_or(Fault::Arguments("TOP message lines")),
            "DELE" => number(rest).map(Command::Dele).ok_or(Fault::Arguments("DELE message")),
            "RSET" => bare(Command::Rset, "RSET"),
            "NOOP" => bare(Command::Noop, "NOOP"),
            "QUIT" => bare(Command::Quit, "QUIT"),
            _ => Err(Fault::Unknown),
        }
    }
}

/// A mechanism's name is short, of capitals, digits, hyphens and underscores (RFC 4422 §3.1).
fn auth(rest: &str) -> Option<Command> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().map(str::to_ascii_uppercase);
    let initial = words.next().map(str::to_owned);
    let named = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let sound = mechanism.as_deref().is_none_or(|name| name.len() <= 20 && name.bytes().all(named));
    (sound && words.next().is_none()).then_some(Command::Auth { mechanism, initial })
}

fn top(rest: &str) -> Option<Command> {
    let (message, lines) = rest.trim_matches(' ').split_once(' ')?;
    Some(Command::Top(number(message)?, number(lines)?))
}

fn perhaps_number(text: &str) -> Option<Option<u32>> {
    if text.trim_matches(' ').is_empty() { Some(None) } else { number(text).map(Some) }
}

/// A number of any length: one that is too large for a message or for its lines means the same as the largest.
fn number(text: &str) -> Option<u32> {
    let digits = text.trim_matches(' ');
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().unwrap_or(u32::MAX))
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::User(name) => write!(out, "USER {name}"),
            Command::Pass(password) => write!(out, "PASS {password}"),
            Command::Auth { mechanism, initial } => {
                let words = ["AUTH"].into_iter().chain(mechanism.as_deref()).chain(initial.as_deref());
                out.write_str(&words.collect::<Vec<_>>().join(" "))
            }
            Command::Stls => out.write_str("STLS"),
            Command::Capa => out.write_str("CAPA"),
            Command::Utf8 => out.write_str("UTF8"),
            Command::Stat => out.write_str("STAT"),
            Command::List(None) => out.write_str("LIST"),
            Command::List(Some(number)) => write!(out, "LIST {number}"),
            Command::Uidl(None) => out.write_str("UIDL"),
            Command::Uidl(Some(number)) => write!(out, "UIDL {number}"),
            Command::Retr(number) => write!(out, "RETR {number}"),
            Command::Top(number, lines) => write!(out, "TOP {number} {lines}"),
            Command::Dele(number) => write!(out, "DELE {number}"),
            Command::Rset => out.write_str("RSET"),
            Command::Noop => out.write_str("NOOP"),
            Command::Quit => out.write_str("QUIT"),
        }
    }
}

/// For tests and logs: what proves who a client is stays out of them.
impl fmt::Debug for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Pass(_) => out.write_str("PASS ..."),
            Command::Auth { mechanism, .. } => write!(out, "AUTH {} ...", mechanism.as_deref().unwrap_or_default()),
            other => write!(out, "{other}"),
        }
    }
}

/// Writes a content as the lines of a multi-line response: a dot is put before each line that begins with one, and a
/// line of one dot ends it (RFC 1939 §3).
///
/// A line begins behind any LF here, whether a CR stands before it or not. Many clients end lines so, and to them a
/// bare LF with `.` behind it would end the response in the middle of a message, the rest of which would pass for
/// replies. All others find one dot more where a message held what no message may.
pub struct DotStuffing {
    /// The last two octets written.
    before: [u8; 2],
}

impl DotStuffing {
    /// At the beginning of a response's first line.
    pub fn new() -> Self {
        DotStuffing { before: *b"\r\n" }
    }

    /// Writes the next piece.
    pub fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let Some(&last) = piece.last() else { return };
        if self.before[1] == b'\n' && piece[0] == b'.' {
            out.push(b'.');
        }
        let mut from = 0;
        for found in memmem::find_iter(piece, b"\n.") {
            out.extend_from_slice(&piece[from..=found]);
            out.push(b'.');
            from = found + 1;
        }
        out.extend_from_slice(&piece[from..]);
        self.before = [if piece.len() > 1 { piece[piece.len() - 2] } else { self.before[1] }, last];
    }

    /// Ends the response; a last line without an end gets one.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.before != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

impl Default for DotStuffing {
    fn default() -> Self {
        DotStuffing::new()
    }
}

/// Cuts a message behind its header, the empty line, and some lines of its body (RFC 1939 §7).
pub struct Top {
    /// The lines of the body that are still wanted.
    lines: u32,
    in_body: bool,
    /// The octets of the line that has begun, and whether the first is a CR.
    begun: usize,
    cr: bool,
}

impl Top {
    /// With so many lines of the body.
    pub fn new(lines: u32) -> Self {
        Top { lines, in_body: false, begun: 0, cr: false }
    }

    /// How much of the next piece is wanted.
    pub fn wanted(&mut self, piece: &[u8]) -> usize {
        let mut at = 0;
        while !self.is_complete() && at < piece.len() {
            let end = memchr::memchr(b'\n', &piece[at..]).map(|found| at + found);
            let line = &piece[at..end.unwrap_or(piece.len())];
            if self.begun == 0 {
                self.cr = line.first() == Some(&b'\r');
            }
            self.begun += line.len();
            at = match end {
                Some(end) => end + 1,
                None => return piece.len(),
            };
            if self.in_body {
                self.lines -= 1;
            }
            self.in_body |= self.begun == usize::from(self.cr);
            self.begun = 0;
        }
        at
    }

    /// Whether nothing more is wanted.
    pub fn is_complete(&self) -> bool {
        self.in_body && self.lines == 0
    }
}

#[cfg(test)]
mod tests;
