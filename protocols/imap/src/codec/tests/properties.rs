//! What holds for every input.

use proptest::prelude::*;

use super::super::append::{first, next};
use super::super::mailbox::{decode, encode, matches};
use super::super::sequence::{compact, parse as parse_set};
use super::*;

/// Text that looks like commands more often than chance would have it.
fn like_a_command() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "a ",
            "UID ",
            "FETCH ",
            "STORE ",
            "SEARCH ",
            "LIST ",
            "SELECT ",
            "APPEND ",
            "ID ",
            "SORT ",
            "1:*",
            "$",
            " ",
            "(",
            ")",
            "\"",
            "\\",
            "{1}\r\n",
            "{9+}",
            "~{2}\r\n",
            "BODY[",
            "]",
            "<0.1>",
            "OR ",
            "NOT ",
            "CHARSET ",
            "RETURN ",
            "\"17-Jul-1996 02:44:25 -0700\"",
            "\\Seen",
            "1-Feb-1994",
            "&AOk-",
            "NIL",
            "QRESYNC ",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(word, 0..20).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn nothing_panics(text in like_a_command(), utf8: bool) {
        let _ = parse(&text, utf8);
        let _ = parse(&[b"a ", &text[..]].concat(), utf8);
        let _ = first(&[b"a APPEND ", &text[..]].concat(), utf8);
        let _ = next(&text);
        let _ = literal_at_end(&text);
    }

    #[test]
    fn a_string_is_read_as_it_was_written(text in "[^\\x00-\\x1f\\x7f]*") {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        let written = format!("a LOGIN \"{quoted}\" {{{}}}\r\n{text}", text.len());
        let login = Command::Login { name: text.clone(), password: text };
        prop_assert_eq!(parse(written.as_bytes(), false).map(|tagged| tagged.command), Ok(login));
    }

    #[test]
    fn a_set_is_read_as_it_was_written(numbers in prop::collection::btree_set(1..u32::MAX, 1..50)) {
        let written = compact(numbers.iter().copied());
        let set = parse_set(written.as_bytes()).unwrap();
        prop_assert_eq!(set.to_string(), written);
        let read: Vec<u32> = set.resolve(1).into_iter().flat_map(|(from, to)| from..=to).collect();
        prop_assert_eq!(read, numbers.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn close_numbers_are_read_as_they_were_written(numbers in prop::collection::btree_set(1..60u32, 1..50)) {
        let set = parse_set(compact(numbers.iter().copied()).as_bytes()).unwrap();
        let read: Vec<u32> = set.resolve(1).into_iter().flat_map(|(from, to)| from..=to).collect();
        prop_assert_eq!(read, numbers.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_name_is_read_as_it_was_written(name in "[^\\x00-\\x1f\\x7f-\\x9f]{0,20}") {
        let wire = encode(&name, false);
        prop_assert!(wire.is_ascii());
        let read = decode(wire.as_bytes(), false).unwrap();
        prop_assert!(read == name || read.starts_with("INBOX"));
        prop_assert_eq!(decode(name.as_bytes(), true), Some(read));
    }

    #[test]
    fn what_is_read_has_one_spelling(wire in "[a-zA-Z0-9+,&/-]{0,12}") {
        if let Some(name) = decode(wire.as_bytes(), false) {
            let written = encode(&name, false);
            prop_assert!(written == wire || written.eq_ignore_ascii_case(&wire) && name.starts_with("INBOX"));
        }
    }

    #[test]
    fn patterns_match_as_their_meaning_says(pattern in "[ab/*%]{0,8}", name in "[ab/]{0,8}") {
        prop_assert_eq!(matches(&pattern, &name), means(pattern.as_bytes(), name.as_bytes()));
    }
}

/// RFC 9051 §6.3.9 word by word, with all the time in the world.
fn means(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, _) => name.is_empty(),
        (Some(b'*'), next) => means(&pattern[1..], name) || next.is_some() && means(pattern, &name[1..]),
        (Some(b'%'), next) => {
            means(&pattern[1..], name) || next.is_some_and(|&byte| byte != b'/') && means(pattern, &name[1..])
        }
        (Some(wanted), next) => next == Some(wanted) && means(&pattern[1..], &name[1..]),
    }
}
