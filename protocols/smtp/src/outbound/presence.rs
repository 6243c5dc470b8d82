//! Who is there: each process that sends says so again and again, and what one had claimed that has fallen silent is
//! given to the others.

use std::sync::Mutex;
use std::time::Duration;

use storage::Queue;
use tokio::time::Instant;

/// How long a process is taken to be there after it was heard of.
const HEARD: Duration = Duration::from_secs(60);
/// How often it says so.
const SAY: Duration = Duration::from_secs(10);

/// Whether others take this process to be there.
pub(super) struct Presence {
    said: Mutex<Option<Instant>>,
}

impl Presence {
    pub(super) fn new() -> Presence {
        Presence { said: Mutex::new(None) }
    }

    /// Whether nobody can have taken our claims, nor will before the next word of ours is due.
    pub(super) fn is_certain(&self) -> bool {
        self.said().is_some_and(|said| said.elapsed() < HEARD / 2)
    }

    fn said(&self) -> Option<Instant> {
        *self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note(&self, said: Instant) {
        *self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(said);
    }

    /// Says that we are there, and frees what others had claimed that are not. Who was away itself, or without the
    /// database, cannot tell whether the others were: it listens first for as long as they may be silent.
    pub(super) async fn keep(&self, queue: &Queue) {
        let mut since = Instant::now();
        loop {
            let now = Instant::now();
            if self.said().is_some_and(|said| now - said >= HEARD) {
                since = now;
            }
            match queue.attend(HEARD).await {
                Ok(()) => self.note(now),
                Err(error) => {
                    since = Instant::now();
                    tracing::warn!(%error, detail = error.detail(), "that this node is there could not be said");
                }
            }
            if since.elapsed() >= HEARD {
                match queue.free_absent().await {
                    Ok(0) => {}
                    Ok(freed) => tracing::warn!(freed, "a node is gone; what it was sending is sent by others"),
                    Err(error) => tracing::warn!(%error, detail = error.detail(), "the queue cannot be written"),
                }
            }
            tokio::time::sleep(SAY).await;
        }
    }
}
