//! Sequence sets and mailbox names.

use super::super::mailbox::{decode, encode, matches};
use super::super::sequence::{compact, parse};
use super::*;

const STAR: u32 = u32::MAX;

#[test]
fn sequence_sets() {
    let ranges =
        |ranges: &[(u32, u32)]| Some(SequenceSet(ranges.iter().map(|&(from, to)| Range { from, to }).collect()));
    for (text, expected) in [
        ("2,4:7,9,12:*", ranges(&[(2, 2), (4, 7), (9, 9), (12, STAR)])),
        ("*:4,5:7", ranges(&[(STAR, 4), (5, 7)])),
        ("*", ranges(&[(STAR, STAR)])),
        ("4294967294", ranges(&[(STAR - 1, STAR - 1)])),
        ("1:4294967295", ranges(&[(1, STAR - 1)])),
        ("", None),
        ("0", None),
        ("1:0", None),
        ("4294967296", None),
        ("1,", None),
        (",1", None),
        ("1:", None),
        ("1:2:3", None),
        ("+1", None),
        ("1 2", None),
        ("**", None),
        ("$", None),
    ] {
        assert_eq!(parse(text.as_bytes()), expected, "{text}");
    }
    for text in ["2,4:7,9,12:*", "*:4,5:7", "*"] {
        assert_eq!(set(text).to_string(), text);
    }
    assert_eq!(set("7:7").to_string(), "7");
}

#[test]
fn sets_are_bounded() {
    let of = |count: usize| vec!["1"; count].join(",");
    assert!(parse(of(10_000).as_bytes()).is_some());
    assert!(parse(of(10_001).as_bytes()).is_none());
}

#[test]
fn sets_resolve_to_ascending_ranges() {
    for (text, largest, expected) in [
        ("*", 5, &[(5, 5)][..]),
        ("7:*", 5, &[(5, 7)]),
        ("5:3,1", 9, &[(1, 1), (3, 5)]),
        ("1:2,3,2:4", 9, &[(1, 4)]),
        ("4294967295", 9, &[(STAR - 1, STAR - 1)]),
        ("1:*", 0, &[]),
    ] {
        assert_eq!(set(text).resolve(largest), expected, "{text} of {largest}");
    }
}

#[test]
fn numbers_are_written_as_few_ranges() {
    for (numbers, expected) in [
        (&[][..], ""),
        (&[1], "1"),
        (&[1, 2, 3, 7], "1:3,7"),
        (&[1, 3, 5], "1,3,5"),
        (&[8, 9], "8:9"),
        (&[4, 4, 5], "4:5"),
    ] {
        assert_eq!(compact(numbers.iter().copied()), expected);
    }
}

#[test]
fn modified_utf7() {
    for (wire, name) in [
        ("Entw&APw-rfe", "Entwürfe"),
        ("~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
        ("Tom &- Jerry", "Tom & Jerry"),
        ("&-", "&"),
        ("&-&-", "&&"),
        ("&AOk-&-&AOk-", "é&é"),
        ("&2D3eAA-", "😀"),
        ("a-b", "a-b"),
        ("INBOX/&AOk-", "INBOX/é"),
        ("", ""),
    ] {
        assert_eq!(decode(wire.as_bytes(), false).as_deref(), Some(name), "{wire}");
        assert_eq!(encode(name, false), wire);
        assert_eq!(encode(name, true), name);
        assert_eq!(decode(name.as_bytes(), true).as_deref(), Some(name));
    }
}

#[test]
fn names_that_are_none() {
    for wire in [
        "&",          // no end
        "&AOk",       // no end
        "R&D",        // no end
        "&AO-",       // bits of no unit
        "&AOk=-",     // padding
        "&AOl-",      // bits set that fill nothing
        "&AOkA-",     // more bits than needed
        "&AGE-",      // stands for itself
        "&AOk-&AOk-", // superfluous shift
        "&U,BTFw-&ZeVnLIqe-",
        "&2D0-",  // half of a pair
        "&3gA-",  // the other half
        "&AO/k-", // `/` is no digit
        "&AAA-",  // control characters
        "&AAo-",
        "a\nb",
        "a\u{7f}",
    ] {
        assert_eq!(decode(wire.as_bytes(), false), None, "{wire}");
    }
    assert_eq!(decode(b"a\xff", false), None);
    assert_eq!(decode(b"a\xff", true), None);
    assert_eq!(decode(b"a\0", true), None);
    assert_eq!(decode("a\u{85}".as_bytes(), true), None);
}

#[test]
fn inbox_is_the_same_in_any_case() {
    for (raw, name) in [
        ("inbox", "INBOX"),
        ("InBox/Sub", "INBOX/Sub"),
        ("inboxes", "inboxes"),
        ("x/inbox", "x/inbox"),
        ("inbox/", "INBOX/"),
    ] {
        assert_eq!(decode(raw.as_bytes(), false).as_deref(), Some(name));
        assert_eq!(decode(raw.as_bytes(), true).as_deref(), Some(name));
    }
}

#[test]
fn patterns() {
    for (pattern, name, expected) in [
        ("*", "a/b/c", true),
        ("*", "", true),
        ("%", "a", true),
        ("%", "a/b", false),
        ("%/%", "a/b", true),
        ("%/%", "a/b/c", false),
        ("a*c", "a/b/c", true),
        ("a%c", "abbc", true),
        ("a%c", "a/c", false),
        ("*%", "a/b", true),
        ("%*", "a/b", true),
        ("*/%/c", "x/y/b/c", true),
        ("*b%d", "a/b/bcd", true),
        ("*b%d", "bcd/bc/d", false),
        ("a", "A", false),
        ("ü%", "üé", true),
        ("", "", true),
        ("", "a", false),
        ("a", "", false),
        ("a/", "a", false),
        ("inbox", "INBOX", true),
        ("in%", "INBOX", true),
        ("%BOX/x", "INBOX/x", true),
        ("inbox/X", "INBOX/x", false),
        ("inboxes", "INBOXES", false),
        ("INBOX", "inbox", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_hostile_pattern_takes_no_longer_than_its_length_says() {
    let start = std::time::Instant::now();
    assert!(!matches(&"*a".repeat(1000), &"a".repeat(999)));
    assert!(!matches(&"%*a".repeat(500), &format!("{}b", "a".repeat(1000))));
    assert!(start.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn wildcards_beside_each_other_are_one() {
    for (pattern, name, expected) in [
        ("%%", "a/b", false),
        ("%*", "a/b", true),
        ("*%", "a/b", true),
        ("a%%b", "a/b", false),
        ("a%*%b", "a/xb", true),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
    let start = std::time::Instant::now();
    let name = "a".repeat(50);
    for _ in 0..2000 {
        assert!(!matches(&format!("{}b", "*%".repeat(5000)), &name));
        assert!(!matches(&"*a".repeat(5000), &name));
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
}
