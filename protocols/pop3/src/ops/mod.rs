//! What the commands do: one file for each family.

pub(crate) mod capa;
pub(crate) mod login;
pub(crate) mod maildrop;
mod retrieve;

use protocol::ReadError;

use crate::reply::Reply;
use crate::session::State;

/// Where the session stands now and what the client is told, which is nothing more when the operation has written a
/// response of several lines itself; an error when the connection failed meanwhile.
pub(crate) type Outcome = Result<(State, Option<Reply>), ReadError>;

/// The table lets no command through to an operation in a state it is not for; should it ever, the client learns this.
pub(crate) fn out_of_sequence(state: State) -> Outcome {
    Ok((state, Some(Reply::err("That command has no place here"))))
}
