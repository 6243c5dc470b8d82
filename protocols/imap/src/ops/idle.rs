//! IDLE (RFC 9051 §6.3.13): the client is told of changes as they happen.

use protocol::ReadError;

use crate::codec::literal_at_end;
use crate::reply::Reply;
use crate::selected::Selected;
use crate::session::{Context, Outcome, refuse, sync};

/// The longest line that ends it.
const LINE: usize = 1024;

/// What ended a wait.
enum Woken {
    Line(Result<protocol::Line, ReadError>),
    Change,
}

/// IDLE.
pub(crate) async fn idle(context: &mut Context<'_>, mut selected: Option<&mut Selected>) -> Outcome {
    context.wire.out.extend_from_slice(b"+ Idling\r\n");
    loop {
        if let Some(selected) = &mut selected {
            selected.mailbox.seen();
            if let Err(reply) = sync(context, selected, true).await {
                return Ok(reply);
            }
        }
        context.wire.flush().await?;
        let longest = context.imap.idle();
        let woken = match &mut selected {
            Some(selected) => tokio::select! {
                biased;
                line = context.wire.conn.line(LINE, longest) => Woken::Line(line),
                () = selected.mailbox.changed() => Woken::Change,
            },
            None => Woken::Line(context.wire.conn.line(LINE, longest).await),
        };
        match woken {
            Woken::Change => {}
            Woken::Line(line) => {
                let line = line?;
                if line.bytes.eq_ignore_ascii_case(b"DONE") {
                    return Ok(Reply::ok("No longer idling"));
                }
                let reply = Reply::bad("DONE was awaited");
                return match literal_at_end(&line.bytes) {
                    Some(literal) => refuse(context.wire, longest, literal, reply).await,
                    None => Ok(reply),
                };
            }
        }
    }
}
