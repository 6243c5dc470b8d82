//! APPEND (RFC 9051 §6.3.12, RFC 3502): messages stream from the network into the store, bounded in memory whatever
//! their size. Only those that may hold NUL (RFC 3516 §4.4) are looked at whole: a client that knows nothing of BINARY
//! must be able to read them.

mod binary;

use protocol::{Closed, Progress, ReadError};
use storage::{Append, Error, Timestamp};
use tokio::sync::Semaphore;

use super::expunge::read_only;
use crate::codec::append::{self, Head};
use crate::codec::{Literal, literal_at_end};
use crate::reply::{self, Reply, Untagged};
use crate::session::{Context, Outcome};

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
        let limit = context.imap.config.max_message.0;
        if literal.size > limit {
            append = Err(too_large(limit));
        }
        if head.utf8 && !context.user.enabled.utf8() {
            append = Err(Reply::bad("ENABLE UTF8=ACCEPT first"));
        }
        if let Ok(begun) = &mut append {
            let received = head.received.map(Timestamp);
            let flags = std::mem::take(&mut head.flags);
            // Binary parts grow by a third and their line ends when they are encoded.
            let size = if literal.binary { literal.size + literal.size / 2 } else { literal.size };
            if let Err(error) = begun.begin(flags, received, size).await {
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
        } else if literal.size > limit.saturating_mul(2) {
            context.wire.untagged("BYE [TOOBIG] The message is too large; goodbye");
            return Ok(too_large(limit).closing(Closed::Abuse));
        }
        append = match literal.binary {
            true => take_binary(context, append, literal.size).await?,
            false => take(context, append, literal.size).await?,
        };
        let line = context.wire.line(LINE, context.imap.idle()).await?;
        let mut text = &line.bytes[..];
        if head.utf8 {
            match text.strip_prefix(b")") {
                Some(rest) => text = rest,
                None => return Ok(Reply::bad("A closing parenthesis was awaited")),
            }
        }
        match append::next(text) {
            Ok(None) => break,
            Ok(Some(next)) => {
                let Some(announced) = literal_at_end(text) else { return Ok(Reply::bad("A literal was awaited")) };
                if !context.off.allows("MULTIAPPEND") {
                    append = Err(Reply::bad("MULTIAPPEND is not offered here"));
                }
                (head, literal) = (next, announced);
            }
            Err(fault) => return Ok(Reply::bad(fault.text)),
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
            Reply::ok("Appended").with(format!("APPENDUID {} {uids}", appended.uidvalidity))
        }
        Err(error) => reply::into_mailbox(&error),
    })
}

fn too_large(limit: u64) -> Reply {
    Reply::no(format!("The message is larger than the limit of {limit} octets")).with("TOOBIG")
}

/// Reads one message into the store, or only reads it when it is refused already.
async fn take(
    context: &mut Context<'_>,
    mut append: Result<Append, Reply>,
    size: u64,
) -> Result<Result<Append, Reply>, ReadError> {
    let (mut left, mut progress) = (size, Progress::default());
    while left > 0 {
        let octets = context.wire.octets(&mut progress, left).await?;
        left -= octets.len() as u64;
        if let Ok(begun) = &mut append
            && let Err(error) = begun.write(octets).await
        {
            append = Err(Reply::from(&error));
        }
    }
    if let Ok(begun) = &mut append
        && let Err(error) = begun.end().await
    {
        append = Err(Reply::from(&error));
    }
    Ok(append)
}

/// Reads one message that may hold NUL, and encodes the parts that do.
async fn take_binary(
    context: &mut Context<'_>,
    mut append: Result<Append, Reply>,
    size: u64,
) -> Result<Result<Append, Reply>, ReadError> {
    if append.is_err() {
        return take(context, append, size).await;
    }
    // One at a time: such a message is in memory as a whole.
    let Ok(_turn) = BINARY.acquire().await else { return take(context, append, size).await };
    let (mut message, mut progress) = (Vec::new(), Progress::default());
    while (message.len() as u64) < size {
        message.extend_from_slice(&context.wire.octets(&mut progress, size - message.len() as u64).await?);
    }
    if let Ok(begun) = &mut append {
        let stored = async {
            begun.write(binary::encoded(message).into()).await?;
            begun.end().await
        };
        if let Err(error) = stored.await {
            append = Err(Reply::from(&error));
        }
    }
    Ok(append)
}

/// The turn of messages that may hold NUL.
static BINARY: Semaphore = Semaphore::const_new(1);
