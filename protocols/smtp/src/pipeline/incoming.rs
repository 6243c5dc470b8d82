//! What other servers bring.

use super::{Arrival, Ready};
use crate::reply::Problem;

/// Finds out what is to be thought of a message, and decides.
pub(super) async fn judge(arrival: &Arrival<'_>) -> Result<Ready, Problem> {
    Ok(Ready { header: arrival.message.header.clone(), ..Ready::default() })
}
