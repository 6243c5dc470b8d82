//! Collecting a command: its lines and literals, within what may be held in memory.

use std::time::Duration;

use protocol::{Closed, LongLine, Progress, ReadError, Wire, stranger_idle};

use super::Session;
use crate::codec::append::{self, First};
use crate::codec::{Fault, Literal, literal_at_end};
use crate::commands::{self, Phase};
use crate::reply::{Reply, Untagged, not_offered};

/// The most octets of a command before a log-in: ID may have thirty fields of a KiB (RFC 2971 §3.3).
const BEFORE: usize = 40 << 10;
/// The most octets of a command, and of one of its lines, after it; a message of APPEND is no part of it.
const AFTER: usize = 256 << 10;
/// How many octets of refused literals are read only to answer in order.
const SKIPPED: u64 = 1 << 20;

/// What came.
pub(super) enum Collected {
    /// A whole command without its last CRLF.
    Text(Vec<u8>),
    /// APPEND, up to the literal that is its first message.
    Append(First, Literal),
    /// It cannot be a command.
    Fault(Fault),
    /// A command that is answered before it is whole.
    Refused { tag: String, reply: Reply },
}

impl Session {
    /// Reads the next command.
    pub(super) async fn collect(&mut self) -> Result<Collected, ReadError> {
        let inside = self.phase() != Phase::NotAuthenticated;
        let (most, idle) = match inside {
            true => (AFTER, self.imap.idle()),
            false => (BEFORE, stranger_idle(self.imap.idle())),
        };
        let mut text: Vec<u8> = Vec::new();
        loop {
            let line = match self.wire.line(most, idle).await {
                Ok(line) => line,
                Err(ReadError::TooLong(line)) => return Ok(self.too_long(text, &line)),
                Err(error) => return Err(error),
            };
            let whole = text.len() + line.bytes.len();
            text.extend_from_slice(&line.bytes);
            if whole > most {
                return match literal_at_end(&line.bytes) {
                    Some(literal) => self.refuse(&text, literal, is_too_long()).await,
                    None => Ok(Collected::Refused { tag: tag_of(&text), reply: is_too_long() }),
                };
            }
            let Some(literal) = literal_at_end(&line.bytes) else { return Ok(Collected::Text(text)) };
            let append = is_append(&text);
            // Whether a literal of APPEND may hold NUL is a question of BINARY or of UTF8=ACCEPT: its text tells.
            if let Some(missing) = self.off.missing_for(&Literal { binary: literal.binary && !append, ..literal }) {
                return self.refuse(&text, literal, not_offered(missing)).await;
            }
            if append {
                if let Some(refused) = commands::append_refusal(self.phase()) {
                    return self.refuse(&text, literal, refused).await;
                }
                match append::first(&text, self.utf8()) {
                    Ok(First::More) => {}
                    Ok(first) => return Ok(Collected::Append(first, literal)),
                    // Nobody can tell whether a literal that was not asked for follows.
                    Err(fault) if literal.nonsync => {
                        return self.refuse(&text, literal, Reply::bad(fault.text)).await;
                    }
                    Err(fault) => return Ok(Collected::Fault(fault)),
                }
            }
            if literal.size > (most - text.len()) as u64 {
                let reply = Reply::bad("The literal is too large for this command").with("TOOBIG");
                return self.refuse(&text, literal, reply).await;
            }
            if !literal.nonsync {
                self.wire.invite();
                self.wire.flush().await?;
            }
            text.extend_from_slice(b"\r\n");
            let (mut left, mut progress) = (literal.size, Progress::default());
            while left > 0 {
                let octets = self.wire.octets(&mut progress, left).await?;
                left -= octets.len() as u64;
                text.extend_from_slice(&octets);
            }
        }
    }

    /// Answers a command behind a line that was dropped.
    fn too_long(&mut self, mut text: Vec<u8>, line: &LongLine) -> Collected {
        text.extend_from_slice(&line.start);
        let reply = if is_waiting(line) { is_too_long() } else { lost(&mut self.wire, is_too_long()) };
        Collected::Refused { tag: tag_of(&text), reply }
    }

    /// Answers a command at its literal.
    async fn refuse(&mut self, text: &[u8], literal: Literal, reply: Reply) -> Result<Collected, ReadError> {
        let reply = refuse(&mut self.wire, self.imap.idle(), literal, reply).await?;
        Ok(Collected::Refused { tag: tag_of(text), reply })
    }
}

/// Refuses a command at a literal. One that comes unasked is read and dropped, with the rest of the command, or its
/// octets would be taken for commands; where that is too much the session ends.
pub(crate) async fn refuse(
    wire: &mut Wire,
    idle: Duration,
    literal: Literal,
    reply: Reply,
) -> Result<Reply, ReadError> {
    let mut next = Some(literal).filter(|literal| literal.nonsync);
    let mut skipped = 0;
    while let Some(literal) = next {
        skipped += literal.size.min(SKIPPED + 1);
        if skipped > SKIPPED {
            return Ok(lost(wire, reply));
        }
        wire.skip(literal.size).await?;
        let rest = match wire.line(AFTER, idle).await {
            Ok(rest) => rest,
            Err(ReadError::TooLong(rest)) if is_waiting(&rest) => return Ok(reply),
            Err(ReadError::TooLong(_)) => return Ok(lost(wire, reply)),
            Err(error) => return Err(error),
        };
        next = literal_at_end(&rest.bytes).filter(|literal| literal.nonsync);
    }
    Ok(reply)
}

fn is_too_long() -> Reply {
    Reply::bad("The command is too long").with("TOOBIG")
}

/// Whether the client sends nothing more of a command behind a line that was dropped: it announces no literal, or one
/// that it waits with.
fn is_waiting(line: &LongLine) -> bool {
    !line.end.trim_ascii_end().ends_with(b"+}")
}

/// Ends the session: nobody can tell where the next command begins, or it is too far away.
fn lost(wire: &mut Wire, reply: Reply) -> Reply {
    wire.untagged("BYE [TOOBIG] A command or one of its literals is too large; goodbye");
    reply.closing(Closed::Abuse)
}

/// Whether a command is APPEND.
fn is_append(text: &[u8]) -> bool {
    let mut words = text.splitn(3, |&byte| byte == b' ');
    words.next();
    words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"APPEND"))
}

/// The tag of a command that is not whole.
fn tag_of(text: &[u8]) -> String {
    let word = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    let tag = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(byte);
    match std::str::from_utf8(word) {
        Ok(text) if !word.is_empty() && word.len() <= 255 && word.iter().all(tag) => text.to_owned(),
        _ => "*".to_owned(),
    }
}
