//! Whose turn it is: a network has few log-ins under way at once, and the others of it wait in a line of their own.
//!
//! So a burst from one network fills neither the queue for Argon2, where everybody else waits too, nor the moment
//! between what the ledger says and what is written to it.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::Denied;

/// How many log-ins of one network are under way at once.
const AT_ONCE: usize = 4;
/// How many lines there are. Networks are spread over them by chance, so that nobody can choose to stand in another's.
const LINES: usize = 1024;

/// The lines.
pub(crate) struct Turns {
    lines: Vec<Semaphore>,
    chance: RandomState,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Turns { lines: (0..LINES).map(|_| Semaphore::new(AT_ONCE)).collect(), chance: RandomState::new() }
    }

    /// Waits for the turn of a network; it ends when what is returned is dropped.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when there are no more turns.
    pub(crate) async fn take(&self, network: &str) -> Result<SemaphorePermit<'_>, Denied> {
        let line = self.chance.hash_one(network) % LINES as u64;
        let line = usize::try_from(line).ok().and_then(|line| self.lines.get(line));
        let line = line.ok_or_else(|| Denied::Unavailable(storage::Error::internal("there is no such line")))?;
        line.acquire().await.map_err(|error| Denied::Unavailable(storage::Error::internal(error)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_burst_of_one_network_waits_for_itself_alone() {
        let turns = Turns::new();
        // Two networks may share a line by chance; ten do not all.
        let waits = async |network: &str| tokio::time::timeout(Duration::from_millis(5), turns.take(network)).await;
        let mut begun = Vec::new();
        for _ in 0..AT_ONCE {
            begun.push(turns.take("192.0.2.1").await.unwrap());
        }
        assert!(waits("192.0.2.1").await.is_err(), "the fifth waits");
        let mut others = 0;
        for last in 2..12 {
            others += usize::from(waits(&format!("192.0.2.{last}")).await.is_ok());
        }
        assert!(others > 5, "{others}");
        begun.pop();
        assert!(waits("192.0.2.1").await.is_ok(), "and has its turn");
    }
}
