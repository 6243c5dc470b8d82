//! How long a client may be silent.

use std::time::Duration;

use crate::ConfigError;

/// The longest silence, in seconds, that a configuration may allow: a day. No client needs more, and a clock cannot be
/// asked for every number of seconds there is.
const LONGEST: u64 = 86_400;
/// How long a client may be silent while nobody is logged in. What the protocols ask for beyond it is for users
/// (RFC 9051 §5.4, RFC 1939 §3); a stranger only holds a place that others want.
const STRANGER: Duration = Duration::from_secs(120);

/// Whether `key` of a module's table is a number of seconds that a client may be silent: `least`, and a day at most.
///
/// # Errors
/// Names the key.
pub fn check_timeout(module: &'static str, key: &str, seconds: u64, least: u64) -> Result<(), ConfigError> {
    if (least..=LONGEST).contains(&seconds) {
        return Ok(());
    }
    let message = format!("{key} must be from {least} to {LONGEST} seconds, a day");
    Err(ConfigError { module, message })
}

/// How long a client that is not logged in may be silent, where one that is may be for `idle`.
pub fn stranger_idle(idle: Duration) -> Duration {
    idle.min(STRANGER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_something_a_clock_can_be_asked_for() {
        let check = |seconds| check_timeout("imap", "idle_timeout", seconds, 60);
        let right = |seconds| check(seconds).is_ok();
        assert_eq!([0, 59, 60, 86_400, 86_401, u64::MAX].map(right), [false, false, true, true, false, false]);
        assert!(check(5).unwrap_err().to_string().contains("[imap] idle_timeout must be from 60 "));
    }

    #[test]
    fn a_stranger_waits_no_longer_than_a_user() {
        let idle = |seconds| stranger_idle(Duration::from_secs(seconds)).as_secs();
        assert_eq!([idle(5), idle(1800)], [5, 120]);
    }
}
