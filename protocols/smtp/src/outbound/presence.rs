//! Who is there: each process that sends says so again and again, and what one had claimed that has fallen silent is
//! given to the others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use storage::Queue;
use tokio::time::Instant;

/// How long a process is taken to be there after it was heard of.
const HEARD: Duration = Duration::from_secs(60);
/// How often it says so.
const SAY: Duration = Duration::from_secs(10);

/// A moment by two clocks: one stands still while this machine sleeps, the other one may be set back. As much time has
/// gone by as the one says that says more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(Instant, SystemTime);

impl Moment {
    pub(super) fn now() -> Moment {
        Moment(Instant::now(), SystemTime::now())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}

/// What others have heard of this process.
#[derive(Clone, Copy)]
struct Word {
    said: Moment,
    /// Since when they have heard it without a gap in which they could have taken it for gone.
    since: Instant,
}

/// Whether others take this process to be there.
pub(super) struct Presence {
    word: Mutex<Option<Word>>,
}

impl Presence {
    pub(super) fn new() -> Presence {
        Presence { word: Mutex::new(None) }
    }

    /// Whether nobody can have taken what we claimed at that moment, nor will before the next word of ours is due.
    pub(super) fn is_certain(&self, claimed: Moment) -> bool {
        self.word().is_some_and(|word| word.since <= claimed.0 && word.said.elapsed() < HEARD / 2)
    }

    fn word(&self) -> Option<Word> {
        *self.word.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// They have heard by now what was said at that moment.
    fn note(&self, said: Moment) {
        let before = self.word().filter(|word| word.said.elapsed() < HEARD);
        let since = before.map_or_else(Instant::now, |word| word.since);
        *self.word.lock().unwrap_or_else(PoisonError::into_inner) = Some(Word { said, since });
    }

    /// Says that we are there, and frees what others had claimed that are not. Who was away itself, or without the
    /// database, cannot tell whether the others were: it listens first for as long as they may be silent.
    pub(super) async fn keep(&self, queue: &Queue) {
        let mut since = Instant::now();
        loop {
            let now = Moment::now();
            if self.word().is_some_and(|word| word.said.elapsed() >= HEARD) {
                since = Instant::now();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(time: Duration) -> Moment {
        Moment(Instant::now() - time, SystemTime::now() - time)
    }

    /// One that was heard of at that moment, and without a gap since another one.
    fn heard(said: Moment, since: Moment) -> Presence {
        Presence { word: Mutex::new(Some(Word { said, since: since.0 })) }
    }

    #[test]
    fn what_was_claimed_before_a_silence_is_certain_no_more() {
        let presence = Presence::new();
        assert!(!presence.is_certain(Moment::now()), "nobody has heard of us");
        let before = Moment::now();
        presence.note(Moment::now());
        assert!(presence.is_certain(Moment::now()) && !presence.is_certain(before));
        let presence = heard(ago(HEARD / 3), ago(HEARD * 5));
        presence.note(Moment::now());
        assert!(presence.is_certain(ago(HEARD * 4)), "however long that is ago");
        assert!(!presence.is_certain(ago(HEARD * 6)));
        let presence = heard(ago(HEARD / 2), ago(HEARD * 5));
        assert!(!presence.is_certain(ago(HEARD)), "it may be too late soon");
        presence.note(ago(SAY));
        assert!(presence.is_certain(ago(HEARD)), "but was not");
        let presence = heard(ago(HEARD), ago(HEARD * 5));
        presence.note(Moment::now());
        assert!(!presence.is_certain(ago(SAY)), "others may have taken it");
        assert!(presence.is_certain(Moment::now()), "what is claimed now is ours");
        presence.note(ago(HEARD));
        assert!(!presence.is_certain(Moment::now()), "what was said so long ago was heard too late");
    }

    #[test]
    fn a_clock_that_stood_still_is_not_believed() {
        let slept = Moment(Instant::now(), SystemTime::now() - HEARD);
        let set_back = Moment(Instant::now(), SystemTime::now() + HEARD);
        assert!(slept.elapsed() >= HEARD && set_back.elapsed() < HEARD);
        let presence = Presence::new();
        presence.note(slept);
        assert!(!presence.is_certain(Moment::now()));
    }
}
