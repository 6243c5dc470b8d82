//! What the commands do: one file for each family.

pub(crate) mod auth;
pub(crate) mod envelope;
pub(crate) mod hello;
pub(crate) mod message;

use protocol::ReadError;

use crate::reply::Reply;
use crate::session::State;

/// Where the session stands now and what the client is told; an error when the connection failed meanwhile.
pub(crate) type Outcome = Result<(State, Reply), ReadError>;

/// The table lets no command through to an operation in a state it is not for; should it ever, the client learns this.
fn out_of_sequence(state: State) -> Outcome {
    Ok((state, Reply::new(503, "5.5.1 Bad sequence of commands")))
}
