//! Greylisting (RFC 6647): a sender that nobody has heard of has to try again, which most who send spam do not.

use std::net::IpAddr;

use storage::Seen;

use super::config::Greylist;

/// What stands for client, sender and recipient where they are remembered.
pub(crate) type Key = [u8; 16];

/// What becomes of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greylisted {
    /// It is let through: `passed` grows by one, `last` is now.
    Pass,
    /// It is too early by so many seconds; `last` is now.
    Wait(u64),
    /// It is the first one, or the others were forgotten: what is remembered begins with `first` and `last` now and
    /// nothing passed.
    Begin(u64),
}

/// The key of a try. Farms send from any of their addresses, and senders of lists change with every message: the
/// network counts (RFC 6647 §5), and the part of the sender that stays.
pub(crate) fn key(client: IpAddr, sender: &str, recipient: &str) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in [&network(client)[..], lasting(sender).as_bytes(), recipient.to_lowercase().as_bytes()] {
        // The length keeps parts apart that would read the same in a row.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut key = Key::default();
    hasher.finalize_xof().fill(&mut key);
    key
}

/// What becomes of a try now, by what is remembered of its key.
pub(crate) fn decide(now: u64, seen: Option<Seen>, config: &Greylist) -> Greylisted {
    let begin = Greylisted::Begin(config.delay);
    // A first try to come is one of a clock that went wrong.
    let Some(seen) = seen.filter(|seen| seen.first <= now) else { return begin };
    if seen.passed > 0 {
        let rested = now.saturating_sub(seen.last);
        return if rested <= config.remember { Greylisted::Pass } else { begin };
    }
    match now - seen.first {
        age if age < config.delay => Greylisted::Wait(config.delay - age),
        age if age <= config.window => Greylisted::Pass,
        _ => begin,
    }
}

/// What is remembered after that.
pub(crate) fn noted(now: u64, seen: Option<Seen>, config: &Greylist) -> Seen {
    match (decide(now, seen, config), seen) {
        (Greylisted::Pass, Some(seen)) => Seen { last: now, passed: seen.passed + 1, ..seen },
        (Greylisted::Wait(_), Some(seen)) => Seen { last: now, ..seen },
        _ => Seen { first: now, last: now, passed: 0 },
    }
}

/// The /24 or /64 of an address.
fn network(client: IpAddr) -> Vec<u8> {
    match client.to_canonical() {
        IpAddr::V4(address) => address.octets()[..3].to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// A sender without what changes from message to message: words of the local part with digits in them, and all of one
/// that a forwarder has rewritten (SRS).
fn lasting(sender: &str) -> String {
    let sender = sender.to_lowercase();
    let Some((local, domain)) = sender.rsplit_once('@') else { return sender };
    let rewritten = local.strip_prefix("srs0").or(local.strip_prefix("srs1"));
    if rewritten.is_some_and(|rest| rest.starts_with(['=', '+', '-'])) {
        return format!("srs@{domain}");
    }
    let mut lasting = String::with_capacity(sender.len());
    for piece in local.split_inclusive(|sign: char| !sign.is_alphanumeric()) {
        let word = piece.trim_end_matches(|sign: char| !sign.is_alphanumeric());
        lasting.push_str(if word.contains(|sign: char| sign.is_ascii_digit()) { "#" } else { word });
        lasting.push_str(&piece[word.len()..]);
    }
    format!("{lasting}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client: &str, sender: &str, recipient: &str) -> Key {
        key(client.parse().unwrap(), sender, recipient)
    }

    #[test]
    fn a_network_is_one_client() {
        let known = of("192.0.2.1", "a@b.example", "c@d.example");
        assert_eq!(known, of("192.0.2.254", "A@B.example", "C@d.Example"));
        assert_eq!(known, of("::ffff:192.0.2.9", "a@b.example", "c@d.example"));
        assert_ne!(known, of("192.0.3.1", "a@b.example", "c@d.example"));
        let six = of("2001:db8:1:2::1", "", "c@d.example");
        assert_eq!(six, of("2001:db8:1:2:ffff::9", "", "c@d.example"));
        assert_ne!(six, of("2001:db8:1:3::1", "", "c@d.example"));
    }

    #[test]
    fn sender_and_recipient_count_and_do_not_run_together() {
        let keys = [
            of("192.0.2.1", "a@b.example", "c@d.example"),
            of("192.0.2.1", "e@b.example", "c@d.example"),
            of("192.0.2.1", "a@b.example", "e@d.example"),
            of("192.0.2.1", "c@d.example", "a@b.example"),
            of("192.0.2.1", "", "a@b.example"),
            of("192.0.2.1", "a@b.example", ""),
            of("192.0.2.1", "a@b.examplec", "@d.example"),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(!keys[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn what_changes_with_each_message_does_not_count() {
        for (sender, expected) in [
            ("alice@b.example", "alice@b.example"),
            ("bounce-12345-alice=d.example@list.example", "bounce-#-alice=d.example@list.example"),
            ("0100018f-3c2b-4d5e@mail7.example", "#-#-#@mail7.example"),
            ("prvs=3046a1b2c3=alice@b.example", "prvs=#=alice@b.example"),
            ("SRS0=HHH=TT=b.example=alice@fwd.example", "srs@fwd.example"),
            ("srs05@b.example", "#@b.example"),
            ("news+a.b-@b.example", "news+a.b-@b.example"),
            ("ärger7.ö@b.example", "#.ö@b.example"),
            ("", ""),
        ] {
            assert_eq!(lasting(sender), expected, "{sender}");
        }
    }

    #[test]
    fn who_tries_again_in_time_passes() {
        let config = Greylist { enabled: true, delay: 60, window: 1000, remember: 5000 };
        let waiting = Some(Seen { first: 10_000, last: 10_030, passed: 0 });
        let known = Some(Seen { first: 10_000, last: 20_000, passed: 3 });
        for (now, seen, expected) in [
            (10_000, None, Greylisted::Begin(60)),
            (10_000, waiting, Greylisted::Wait(60)),
            (10_059, waiting, Greylisted::Wait(1)),
            (10_060, waiting, Greylisted::Pass),
            (11_000, waiting, Greylisted::Pass),
            (11_001, waiting, Greylisted::Begin(60)),
            (20_000, known, Greylisted::Pass),
            (25_000, known, Greylisted::Pass),
            (25_001, known, Greylisted::Begin(60)),
            (15_000, known, Greylisted::Pass),
            (9_999, waiting, Greylisted::Begin(60)),
            (u64::MAX, waiting, Greylisted::Begin(60)),
        ] {
            assert_eq!(decide(now, seen, &config), expected, "at {now}");
        }
    }
}
