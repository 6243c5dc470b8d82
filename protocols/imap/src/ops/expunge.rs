//! EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, §6.4.9).

use crate::codec::Numbers;
use crate::reply::Reply;
use crate::selected::Selected;
use crate::session::{Context, Outcome, finish};

/// EXPUNGE; with UIDs only of those.
pub(crate) async fn expunge(context: &mut Context<'_>, selected: &mut Selected, uids: Option<Numbers>) -> Outcome {
    if selected.read_only {
        return Ok(read_only());
    }
    let uids = match uids.map(|uids| selected.numbers(&uids, true)).transpose() {
        Ok(ranges) => ranges.map(|ranges| selected.uids(&ranges)),
        Err(reply) => return Ok(reply),
    };
    if let Err(error) = selected.mailbox.expunge(uids).await {
        return Ok(Reply::from(&error));
    }
    let done = finish(context, selected, true, Reply::ok("Expunged")).await;
    Ok(modseq(context, selected, done))
}

/// The newest mod-sequence stands with the answer to what removed messages (RFC 7162 §3.2.7).
fn modseq(context: &Context<'_>, selected: &Selected, reply: Reply) -> Reply {
    match context.user.enabled.qresync {
        true => reply.with(format!("HIGHESTMODSEQ {}", selected.view.modseq)),
        false => reply,
    }
}

/// The mailbox was opened to be read.
pub(crate) fn read_only() -> Reply {
    Reply::no("The mailbox was opened, or the log-in made, to read alone").with("NOPERM")
}
