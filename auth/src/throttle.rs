//! What follows from failed log-ins: after a few free ones the wait doubles with each, up to a quarter of an hour.
//!
//! Three counts are kept: for an account seen from one network, for the network, and for the account as a whole. Where
//! the account logged in before, its log-ins are held back by the first count alone: neither what others do to it from
//! elsewhere nor a device with an old password at the same office's address locks its owner out.

use std::net::IpAddr;
use std::time::Duration;

use storage::{Rule, Standing, Timestamp};

/// Failures that cost no wait: for an account from one network, a network, an account as a whole.
const FREE: [i64; 3] = [10, 40, 100];
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// After this many seconds without a failure the count begins anew.
const FORGET: i64 = 3600;
/// What the ledger is judged by.
pub(crate) const RULE: Rule = Rule { wait, forget: FORGET };

/// The keys of the ledger that a log-in counts under.
pub(crate) fn keys(name: &str, address: IpAddr) -> Vec<String> {
    let network = network(address);
    // A name as long as an attacker likes must not become a key as long as that.
    let name = if name.len() <= 64 { name.to_owned() } else { blake3::hash(name.as_bytes()).to_hex().to_string() };
    vec![format!("pair:{name}@{network}"), format!("network:{network}"), format!("account:{name}")]
}

/// An IPv4 address, or the /64 an IPv6 address belongs to: what one customer has.
pub(crate) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// How long the log-in must wait; `None` when it may be tried now. `standings` are in the order of [`keys`].
pub(crate) fn wait(standings: &[Standing], now: Timestamp) -> Option<Duration> {
    longest(standings, now).map(|(_, wait)| wait)
}

/// Which of `standings` holds the log-in back longest, and how long.
pub(crate) fn longest(standings: &[Standing], now: Timestamp) -> Option<(usize, Duration)> {
    let known_here = standings.first().is_some_and(|pair| pair.good > Timestamp(0));
    let counted = if known_here { 1 } else { 3 };
    let left = |(standing, &free): (&Standing, &i64)| {
        let over = standing.failures - free;
        if over < 0 {
            return None;
        }
        let wait = Duration::from_secs(1 << over.min(20)).min(LONGEST);
        wait.checked_sub(now.since(standing.last)).filter(|left| !left.is_zero())
    };
    let waits = standings.iter().zip(&FREE).take(counted).enumerate();
    waits.filter_map(|(at, pair)| Some((at, left(pair)?))).max_by_key(|(_, wait)| *wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(failures: i64, good: i64) -> Standing {
        Standing { failures, last: Timestamp(1_000_000), good: Timestamp(good) }
    }

    #[test]
    fn the_wait_grows_and_ends() {
        let now = Timestamp(1_000_000);
        let pair = |failures| wait(&[standing(failures, 0)], now);
        assert_eq!(pair(9), None);
        assert_eq!(pair(10), Some(Duration::from_secs(1)));
        assert_eq!(pair(13), Some(Duration::from_secs(8)));
        assert_eq!(pair(1000), Some(LONGEST));
        assert_eq!(wait(&[standing(10, 0)], Timestamp(1_002_000)), None, "the wait is over");
    }

    #[test]
    fn an_attack_from_elsewhere_does_not_lock_the_owner_out() {
        let now = Timestamp(1_000_000);
        assert!(wait(&[standing(0, 0), standing(0, 0), standing(500, 0)], now).is_some());
        assert!(wait(&[standing(0, 5), standing(0, 0), standing(500, 0)], now).is_none());
    }

    #[test]
    fn a_device_with_an_old_password_does_not_lock_its_office_out() {
        let now = Timestamp(1_000_000);
        assert!(wait(&[standing(0, 5), standing(500, 0), standing(0, 0)], now).is_none(), "who was here before");
        assert!(wait(&[standing(500, 5), standing(500, 0), standing(0, 0)], now).is_some(), "the device itself");
        assert!(wait(&[standing(0, 0), standing(500, 0), standing(0, 0)], now).is_some(), "who is new here");
    }

    #[test]
    fn networks_are_what_one_customer_has() {
        let keys = |address: &str| super::keys("alice", address.parse().unwrap());
        assert_eq!(keys("2001:db8::1"), keys("2001:db8::2"));
        assert_ne!(keys("192.0.2.1"), keys("192.0.2.2"));
        assert_eq!(keys("::ffff:192.0.2.1"), keys("192.0.2.1"));
    }
}
