//! COPY and MOVE (RFC 9051 §6.4.7, §6.4.8).

use storage::{Copied, Error};

use super::expunge::read_only;
use crate::codec::Numbers;
use crate::codec::sequence::compact;
use crate::reply::{self, Reply};
use crate::selected::{Ranges, Selected};
use crate::session::{Context, Outcome, finish};

/// COPY.
pub(crate) async fn copy(
    context: &mut Context<'_>,
    selected: &mut Selected,
    uid: bool,
    numbers: &Numbers,
    to: &str,
) -> Outcome {
    let ranges = match selected.numbers(numbers, uid) {
        Ok(ranges) => ranges,
        Err(reply) => return Ok(reply),
    };
    let done = match selected.mailbox.copy(selected.uids(&ranges), least(uid, &ranges), to).await {
        Ok(copied) => context.off.told(told(Reply::ok("Copied"), &copied)),
        Err(error) => refused(&error),
    };
    Ok(finish(context, selected, true, done).await)
}

/// MOVE: where the messages went is told before they vanish (RFC 6851 §4.3).
pub(crate) async fn relocate(
    context: &mut Context<'_>,
    selected: &mut Selected,
    uid: bool,
    numbers: &Numbers,
    to: &str,
) -> Outcome {
    if selected.read_only {
        return Ok(read_only());
    }
    let ranges = match selected.numbers(numbers, uid) {
        Ok(ranges) => ranges,
        Err(reply) => return Ok(reply),
    };
    let done = match selected.mailbox.relocate(selected.uids(&ranges), least(uid, &ranges), to).await {
        Ok(copied) => {
            let code = context.off.told(told(Reply::ok("Moved"), &copied));
            if code.code.is_some() {
                code.write("*", &mut context.wire.out);
            }
            Reply::ok("Moved")
        }
        Err(error) => refused(&error),
    };
    let done = finish(context, selected, true, done).await;
    Ok(match context.user.enabled.qresync && done.code.is_none() {
        true => done.with(format!("HIGHESTMODSEQ {}", selected.view.modseq)),
        false => done,
    })
}

/// How many of the messages must be there: by number all, since the client sees them; by UID those that are.
fn least(uid: bool, ranges: &Ranges) -> u32 {
    if uid { 0 } else { ranges.iter().map(|&(from, to)| to - from + 1).sum() }
}

fn refused(error: &Error) -> Reply {
    match error {
        Error::Changed => Reply::no("Some of them were expunged meanwhile; nothing was done").with("EXPUNGEISSUED"),
        other => reply::into_mailbox(other),
    }
}

/// With where messages went, when there were any (RFC 4315 §3).
fn told(reply: Reply, copied: &Copied) -> Reply {
    let count = copied.from.len() as u32;
    if count == 0 {
        return reply;
    }
    let (from, to) = (compact(copied.from.iter().copied()), compact(copied.first..copied.first + count));
    reply.with(format!("COPYUID {} {from} {to}", copied.uidvalidity))
}
