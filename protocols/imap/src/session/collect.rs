//! Collecting a command: its lines and literals, within what may be held in memory.

use protocol::{Closed, Progress, ReadError, stranger_idle};

use super::Session;
use crate::codec::append::{self, First};
use crate::codec::{Fault, Literal, literal_at_end};
use crate::commands::{self, Phase};
use crate::reply::{Reply, Untagged};

/// The most octets of a command before a log-in: ID may have thirty fields of a KiB (RFC 2971 §3.3).
const BEFORE: usize = 40 << 10;
/// The most octets of a command, and of one of its lines, after it; a message of APPEND is no part of it.
const AFTER: usize = 256 << 10;
/// The largest literal that comes without being asked for where only LITERAL- is offered (RFC 7888 §5).
const UNASKED: u64 = 4096;
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
                Err(ReadError::TooLong) => return Ok(too_long(&text)),
                Err(error) => return Err(error),
            };
            if text.len() + line.bytes.len() > most {
                return Ok(too_long(&text));
            }
            text.extend_from_slice(&line.bytes);
            let Some(literal) = literal_at_end(&line.bytes) else { return Ok(Collected::Text(text)) };
            if is_append(&text) {
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
            if literal.nonsync && !self.off.allows("LITERAL+") && literal.size > UNASKED {
                return self.refuse(&text, literal, Reply::bad("Literals that large must be asked for")).await;
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

    /// Answers a command at its literal. One that comes unasked is read and dropped, with the rest of the command, or
    /// its octets would be taken for commands.
    async fn refuse(&mut self, text: &[u8], literal: Literal, reply: Reply) -> Result<Collected, ReadError> {
        let tag = tag_of(text);
        let mut next = Some(literal).filter(|literal| literal.nonsync);
        let mut skipped = 0;
        while let Some(literal) = next {
            skipped += literal.size.min(SKIPPED + 1);
            if skipped > SKIPPED {
                self.wire.untagged("BYE [TOOBIG] A literal is too large; goodbye");
                return Ok(Collected::Refused { tag, reply: reply.closing(Closed::Abuse) });
            }
            self.wire.skip(literal.size).await?;
            let rest = match self.wire.line(AFTER, self.imap.idle()).await {
                Ok(rest) => rest,
                Err(ReadError::TooLong) => break,
                Err(error) => return Err(error),
            };
            next = literal_at_end(&rest.bytes).filter(|literal| literal.nonsync);
        }
        Ok(Collected::Refused { tag, reply })
    }
}

fn too_long(text: &[u8]) -> Collected {
    Collected::Refused { tag: tag_of(text), reply: Reply::bad("The command is too long").with("TOOBIG") }
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
