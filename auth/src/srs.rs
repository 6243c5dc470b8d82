//! Senders of mail that is forwarded. A server that passes mail on is not among those that the sender's domain allows
//! to send for it (SPF, RFC 7208 §D.3), so the reverse path becomes one of ours that leads back: the Sender Rewriting
//! Scheme, in the form that other forwarders know (`SRS0=hash=day=domain=local`).

use crate::local_part::{quoted, unquote};

/// A day of 24 hours in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;
/// For how many days a rewritten sender leads back: longer than anyone keeps trying to deliver.
const LIFETIME: i64 = 21;
/// Days are counted up to here and then from 0 again.
const DAYS: i64 = 1024;
/// Base 32 (RFC 4648 §6): some servers change the case of local parts.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// How many letters the hash has: enough that guessing takes longer than it lasts.
const HASH: usize = 8;

/// Rewrites senders, and finds what they were.
#[derive(Clone)]
pub(crate) struct Srs {
    key: [u8; 32],
}

impl Srs {
    /// One whose hashes nobody without the key can make.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Srs { key }
    }

    /// Whether a local part looks like one that somebody has rewritten.
    pub(crate) fn is_rewritten(local: &str) -> bool {
        tagged(local).is_some()
    }

    /// The sender that leads back to `sender` by way of `domain`; `now` is in milliseconds since the Unix epoch.
    pub(crate) fn rewrite(&self, sender: &str, domain: &str, now: i64) -> Option<String> {
        let (local, host) = sender.rsplit_once('@')?;
        let local = &unquote(local);
        let local = match tagged(local) {
            // Who passed it on before is who it goes back to, and knows the rest.
            Some(("SRS0", rest)) => {
                let rest = format!("{host}=={rest}");
                format!("SRS1={}={rest}", self.hash(&rest))
            }
            Some((_, rest)) => {
                let rest = rest.split_once('=')?.1;
                format!("SRS1={}={rest}", self.hash(rest))
            }
            None => {
                let rest = format!("{}={host}={local}", letters((now / DAY).rem_euclid(DAYS)));
                format!("SRS0={}={rest}", self.hash(&rest))
            }
        };
        Some(format!("{}@{domain}", quoted(&local)))
    }

    /// The sender that a local part leads back to; `None` when it is no such local part, not ours, or too old.
    pub(crate) fn original(&self, local: &str, now: i64) -> Option<String> {
        let (tag, rest) = tagged(local)?;
        let (hash, rest) = rest.split_once('=')?;
        if !self.hash(rest).eq_ignore_ascii_case(hash) {
            return None;
        }
        let (first, rest) = rest.split_once('=')?;
        if tag == "SRS1" {
            let rest = rest.strip_prefix('=')?;
            return Some(format!("{}@{first}", quoted(&format!("SRS0={rest}"))));
        }
        let day = number(first)?;
        if ((now / DAY) - day).rem_euclid(DAYS) > LIFETIME {
            return None;
        }
        let (host, local) = rest.split_once('=')?;
        Some(format!("{}@{host}", quoted(local)))
    }

    fn hash(&self, rest: &str) -> String {
        let hash = blake3::keyed_hash(&self.key, rest.to_lowercase().as_bytes());
        hash.as_bytes().iter().take(HASH).map(|byte| char::from(LETTERS[usize::from(byte & 31)])).collect()
    }
}

/// The tag of a rewritten local part, and what follows it.
fn tagged(local: &str) -> Option<(&'static str, &str)> {
    let (head, rest) = local.split_at_checked(4)?;
    let tag = ["SRS0", "SRS1"].into_iter().find(|tag| head.eq_ignore_ascii_case(tag))?;
    // Others separate with `+` or `-` as well.
    rest.strip_prefix(['=', '+', '-']).map(|rest| (tag, rest))
}

/// Two letters for a number below 1024.
fn letters(number: i64) -> String {
    let letter = |value: i64| char::from(LETTERS[(value & 31) as usize]);
    [letter(number >> 5), letter(number)].iter().collect()
}

fn number(text: &str) -> Option<i64> {
    let value = |byte: u8| LETTERS.iter().position(|letter| *letter == byte.to_ascii_uppercase());
    match text.as_bytes() {
        [high, low] => Some((value(*high)? * 32 + value(*low)?) as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 20_500 * DAY;

    #[test]
    fn letters_of_several_octets_are_no_tag() {
        for local in ["abc\u{e9}de", "SRS\u{e9}=a", "SRS0\u{e9}", "\u{e9}", ""] {
            assert!(!Srs::is_rewritten(local), "{local}");
        }
        assert!(Srs::is_rewritten("srs0=\u{e9}") && Srs::is_rewritten("SRS1-"));
    }

    #[test]
    fn a_quoted_sender_stays_one_word_of_a_command() {
        let srs = Srs::new([7; 32]);
        let there = srs.rewrite(r#""a> SIZE=1 b"@a.example"#, "us.example", NOW).unwrap();
        assert!(there.starts_with("\"SRS0=") && there.ends_with("=a.example=a> SIZE=1 b\"@us.example"), "{there}");
        let (local, _) = there.rsplit_once('@').unwrap();
        assert_eq!(srs.original(&unquote(local), NOW).unwrap(), r#""a> SIZE=1 b"@a.example"#);
    }

    #[test]
    fn a_sender_is_found_again() {
        let srs = Srs::new([7; 32]);
        for sender in ["a@b.example", "a=b+c@d.example", "\u{e4}@b.example"] {
            let rewritten = srs.rewrite(sender, "us.example", NOW).unwrap();
            let (local, domain) = rewritten.rsplit_once('@').unwrap();
            assert!(local.starts_with("SRS0=") && domain == "us.example", "{rewritten}");
            assert_eq!(srs.original(local, NOW).as_deref(), Some(sender));
            assert_eq!(srs.original(local, NOW + LIFETIME * DAY).as_deref(), Some(sender));
            assert_eq!(srs.original(local, NOW + (LIFETIME + 1) * DAY), None, "too old");
            assert_eq!(Srs::new([8; 32]).original(local, NOW), None, "not ours");
        }
        let lower = srs.rewrite("A@B.example", "us.example", NOW).unwrap().to_lowercase();
        let local = lower.rsplit_once('@').unwrap().0;
        assert_eq!(srs.original(local, NOW).as_deref(), Some("a@b.example"), "also in small letters");
    }

    #[test]
    fn one_that_was_forwarded_before_goes_back_the_way_it_came() {
        let (srs, other) = (Srs::new([7; 32]), Srs::new([8; 32]));
        let first = other.rewrite("a@b.example", "one.example", NOW).unwrap();
        let second = srs.rewrite(&first, "two.example", NOW).unwrap();
        let local = second.rsplit_once('@').unwrap().0;
        assert!(local.starts_with("SRS1="));
        assert_eq!(srs.original(local, NOW).as_deref(), Some(&*first));
        let third = Srs::new([9; 32]).rewrite(&second, "three.example", NOW).unwrap();
        let local = third.rsplit_once('@').unwrap().0;
        assert_eq!(Srs::new([9; 32]).original(local, NOW).as_deref(), Some(&*first), "past the one in between");
    }

    #[test]
    fn what_is_made_up_leads_nowhere() {
        let srs = Srs::new([7; 32]);
        for local in ["SRS0=AAAAAAAA=AA=b.example=a", "SRS0=", "SRS0", "SRS1=x==y", "SRS0==b=a", "srs", "a"] {
            assert_eq!(srs.original(local, NOW), None, "{local}");
        }
        assert_eq!(srs.rewrite("nobody", "us.example", NOW), None);
    }
}
