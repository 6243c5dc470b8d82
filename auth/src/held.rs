//! Log-ins that were held back, and how few of them are recorded: the first of each wait. A stranger who goes on all
//! the same costs no record and no write, and the next record under the same key says how many there were.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use storage::Timestamp;

/// How many keys are remembered. Beyond them the waits that are remembered are forgotten, at the price of a record
/// more for each.
const KEYS: usize = 10_000;

/// What was held back since this process began.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<String, Wait>>);

/// One wait.
struct Wait {
    /// The failure that it began with.
    since: Timestamp,
    /// How many log-ins it held back that are in no record.
    unrecorded: u64,
}

impl Held {
    /// Counts a log-in that is held back under `key` in the wait that began at `since`. For the first of a wait: how
    /// many of the wait before are in no record.
    pub(crate) fn count(&self, key: &str, since: Timestamp) -> Option<u64> {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = waits.get_mut(key) {
            if wait.since == since {
                wait.unrecorded += 1;
                return None;
            }
            wait.since = since;
            return Some(std::mem::take(&mut wait.unrecorded));
        }
        if waits.len() >= KEYS {
            waits.clear();
        }
        waits.insert(key.to_owned(), Wait { since, unrecorded: 0 });
        Some(0)
    }

    /// Takes back what [`Held::unrecorded`] gave out: no record was made of it.
    pub(crate) fn put_back(&self, keys: &[String], unrecorded: u64) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if let Some(wait) = waits.get_mut(key) {
                wait.unrecorded += unrecorded;
                return;
            }
        }
    }

    /// How many under any of `keys` are in no record; a record is made of them now.
    pub(crate) fn unrecorded(&self, keys: &[String]) -> u64 {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let take = |key| waits.get_mut(key).map_or(0, |wait| std::mem::take(&mut wait.unrecorded));
        keys.iter().map(take).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_wait_is_told_and_the_others_are_counted() {
        let held = Held::default();
        let (first, second) = (Timestamp(1), Timestamp(2));
        assert_eq!(held.count("a", first), Some(0));
        assert_eq!((held.count("a", first), held.count("a", first)), (None, None));
        assert_eq!(held.count("b", first), Some(0), "another key");
        assert_eq!(held.count("a", second), Some(2), "another wait");
        assert_eq!(held.count("a", second), None);
        let keys = ["c".into(), "b".into(), "a".into()];
        assert_eq!(held.unrecorded(&keys), 1);
        held.put_back(&keys, 1);
        assert_eq!(held.unrecorded(&keys), 1, "no record was made of it");
        assert_eq!(held.unrecorded(&["a".into()]), 0, "once");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let held = Held::default();
        for key in 0..KEYS * 3 {
            assert_eq!(held.count(&key.to_string(), Timestamp(1)), Some(0));
        }
        assert!(held.0.lock().unwrap().len() <= KEYS);
    }
}
