//! APPEND (RFC 9051 §6.3.12, RFC 3502): messages stream from the network into the store, bounded in memory whatever
//! their size. One that turns out to hold NUL (RFC 3516 §4.4) is encoded once it is whole: a client that knows nothing
//! of BINARY must be able to read it.

mod binary;

use protocol::{Closed, Progress, ReadError};
use storage::{Append, Error, Timestamp};

use super::expunge::read_only;
use crate::codec::append::{self, Head};
use crate::codec::{Fault, Literal, literal_at_end};
use crate::reply::{self, Reply, Untagged};
use crate::session::{Context, Outcome, refuse};

/// The longest line between two messages.
const LINE: usize = 64 << 10;

/// APPEND, whose first message is the literal that follows.
pub(crate) async fn append(context: &mut Context<'_>, mailbox: &str, head: Head, literal: Literal) -> Outcome {
    // Before the client sends a byte of it: that nothing may be changed, that there is no such mailbox, or no room.
    let mut append = match context.user.mail.append(mailbox).await {
        Ok(_) if context.user.principal.read_only => Err(read_only()),
        Ok(append) => Ok(append),
        Err(error) => Err(reply::into_mailbox(&error)),
    };
    let (mut head, mut literal) = (head, literal);
    loop {
        if append.is_ok()
            && let Some(reply) = refusal(context, &head, &literal)
        {
            append = Err(reply);
        }
        if let Ok(begun) = &mut append {
            let received = head.received.map(Timestamp);
            let flags = std::mem::take(&mut head.flags);
            if let Err(error) = begun.begin(flags, received, literal.size).await {
                append = Err(match error {
                    // So many at once (RFC 5530 §3).
                    Error::Invalid(sentence) => Reply::no(sentence).with("LIMIT"),
                    error => Reply::from(&error),
                });
            }
        }
        if !literal.nonsync {
            if let Err(reply) = append {
                return Ok(reply);
            }
            context.wire.invite();
            context.wire.flush().await?;
        } else if literal.size > context.imap.config.max_message.0.saturating_mul(2) {
            context.wire.untagged("BYE [TOOBIG] The message is too large; goodbye");
            return Ok(too_large(context).closing(Closed::Abuse));
        }
        append = take(context, append, literal).await?;
        let line = context.wire.line(LINE, context.imap.idle()).await?;
        let announced = literal_at_end(&line.bytes);
        match (behind(&line.bytes, head.utf8), announced) {
            (Ok(None), _) => break,
            (Ok(Some(next)), Some(announced)) => {
                if !context.off.allows("MULTIAPPEND") {
                    append = Err(reply::not_offered("MULTIAPPEND"));
                }
                (head, literal) = (next, announced);
            }
            (Ok(Some(_)), None) => return Ok(Reply::bad("A literal was awaited")),
            (Err(fault), None) => return Ok(Reply::from(&fault)),
            (Err(fault), Some(announced)) => {
                return refuse(context.wire, context.imap.idle(), announced, Reply::from(&fault)).await;
            }
        }
    }
    let append = match append {
        Ok(append) => append,
        Err(reply) => return Ok(reply),
    };
    Ok(match append.commit().await {
        Ok(appended) => {
            let last = appended.first + appended.messages - 1;
            let uids = match appended.messages {
                1 => last.to_string(),
                _ => format!("{}:{last}", appended.first),
            };
            context.off.told(Reply::ok("Appended").with(format!("APPENDUID {} {uids}", appended.uidvalidity)))
        }
        Err(error) => reply::into_mailbox(&error),
    })
}

/// Reads the line behind a message: `None` ends the command, otherwise another message follows.
fn behind(line: &[u8], utf8: bool) -> Result<Option<Head>, Fault> {
    match line.strip_prefix(b")") {
        Some(rest) if utf8 => append::next(rest),
        None if utf8 => Err(Fault { tag: None, text: "a closing parenthesis was awaited" }),
        _ => append::next(line),
    }
}

/// Why a message is refused before it comes.
fn refusal(context: &Context<'_>, head: &Head, literal: &Literal) -> Option<Reply> {
    if literal.size > context.imap.config.max_message.0 {
        return Some(too_large(context));
    }
    if head.utf8 && !context.user.enabled.utf8() {
        return Some(Reply::bad("ENABLE UTF8=ACCEPT first"));
    }
    // What comes as UTF8 is a literal8 without BINARY, too (RFC 6855 §4).
    let asked = Literal { binary: literal.binary && !head.utf8, ..*literal };
    context.off.missing_for(&asked).map(reply::not_offered)
}

fn too_large(context: &Context<'_>) -> Reply {
    let limit = context.imap.config.max_message.0;
    Reply::no(format!("The message is larger than the limit of {limit} octets")).with("TOOBIG")
}

/// Reads one message into the store, or only reads it when it is refused already.
async fn take(
    context: &mut Context<'_>,
    mut append: Result<Append, Reply>,
    literal: Literal,
) -> Result<Result<Append, Reply>, ReadError> {
    let (mut left, mut progress, mut nul) = (literal.size, Progress::default(), false);
    while left > 0 {
        let octets = context.wire.octets(&mut progress, left).await?;
        left -= octets.len() as u64;
        nul = nul || memchr::memchr(0, &octets).is_some();
        if let Ok(begun) = &mut append
            && let Err(error) = begun.write(octets).await
        {
            append = Err(Reply::from(&error));
        }
    }
    // A literal holds no NUL (RFC 9051 §9, CHAR8): no client could be sent the message as it is.
    if nul && !literal.binary && append.is_ok() {
        append = Err(Reply::no("A message with NUL comes as a literal8, ~{size}").with("CANNOT"));
    }
    if let Ok(begun) = &mut append {
        let ended = if nul { begun.end_as(binary::encoded).await } else { begun.end().await };
        if let Err(error) = ended {
            append = Err(Reply::from(&error));
        }
    }
    Ok(append)
}
