//! When a message is tried again (RFC 5321 §4.5.4.1): after as long as it is old, within bounds, so that tries are many
//! at first and few later; never at the same moment for many.

use std::time::Duration;

/// The time until the next try of a message of that age; `chance` is from 0 to 1.
pub(super) fn delay(age: Duration, (least, most): (Duration, Duration), chance: f64) -> Duration {
    age.clamp(least, most.max(least)).mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_become_fewer() {
        let (least, most) = (Duration::from_secs(300), Duration::from_secs(4000));
        let at = |age, chance| delay(Duration::from_secs(age), (least, most), chance).as_secs();
        assert_eq!((at(0, 0.5), at(1000, 0.5), at(100_000, 0.5)), (300, 1000, 4000));
        assert_eq!((at(1000, 0.0), at(1000, 1.0)), (900, 1100));
    }
}
