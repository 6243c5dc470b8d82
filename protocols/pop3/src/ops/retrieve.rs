//! RETR and TOP: a message on its way to the client, piece by piece, and no flag of it changes.

use protocol::{ReadError, Wire};
use storage::Error;

use crate::codec::{DotStuffing, Top};
use crate::ops::maildrop::Maildrop;
use crate::reply::Reply;

/// So much of a piece is made into lines at once.
const SLICE: usize = 16 << 10;

/// Sends a message: all of it, or its header and so many lines of its body.
pub(crate) async fn retrieve(
    wire: &mut Wire,
    maildrop: &mut Maildrop,
    number: u32,
    lines: Option<u32>,
) -> Result<Option<Reply>, ReadError> {
    let message = match maildrop.message(number) {
        Ok(message) => *message,
        Err(refused) => return Ok(Some(refused)),
    };
    let content = match maildrop.content(number, &message).await {
        Ok(content) => content,
        Err(error) => return Ok(Some(Reply::from(&error))),
    };
    let mut reader = content.reader(0..content.len());
    // The first piece before the first word: a store that is away is told of, which is too late within the message.
    let mut next = match reader.next().await {
        Ok(piece) => piece,
        Err(error) => return Ok(Some(Reply::from(&error))),
    };
    let reply = match lines {
        None => Reply::ok(format!("{} octets", message.size)),
        Some(_) => Reply::ok("The top of the message"),
    };
    reply.write(&mut wire.out);
    let (mut stuffing, mut top) = (DotStuffing::new(), lines.map(Top::new));
    while let Some(piece) = next.take() {
        let wanted = top.as_mut().map_or(piece.len(), |top| top.wanted(&piece));
        for slice in piece[..wanted].chunks(SLICE) {
            stuffing.write(slice, &mut wire.out);
            wire.relieve().await?;
        }
        if top.as_ref().is_some_and(Top::is_complete) {
            break;
        }
        next = reader.next().await.map_err(broken)?;
    }
    stuffing.finish(&mut wire.out);
    wire.relieve().await?;
    Ok(None)
}

/// A message that breaks off can only be told by a connection that does: its end is never sent.
fn broken(error: Error) -> ReadError {
    tracing::error!(%error, detail = error.detail(), "a message broke off on its way to the client");
    ReadError::Io(std::io::Error::other(error))
}
