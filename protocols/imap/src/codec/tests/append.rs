//! APPEND around its messages.

use super::super::append::{First, Head, first, next};
use super::*;

fn head(flags: &[&str], received: Option<i64>, utf8: bool) -> Head {
    Head { flags: owned(flags), received, utf8 }
}

#[test]
fn the_first_line_names_mailbox_flags_and_date() {
    let message =
        |mailbox: &str, head| Ok(First::Message { tag: "A003".to_owned(), mailbox: mailbox.to_owned(), head });
    let july = Some(837_596_665_000);
    for (text, expected) in [
        ("A003 APPEND saved-messages (\\Seen) {326}", message("saved-messages", head(&["\\Seen"], None, false))),
        ("A003 append inbox {0+}", message("INBOX", head(&[], None, false))),
        ("A003 APPEND x ~{5}", message("x", head(&[], None, false))),
        ("A003 APPEND x () \"17-Jul-1996 02:44:25 -0700\" {1}", message("x", head(&[], july, false))),
        ("A003 APPEND x \" 1-Jan-1970 00:00:00 +0000\" {1}", message("x", head(&[], Some(0), false))),
        ("A003 APPEND x \"01-Jan-1970 00:00:60 +0100\" {1}", message("x", head(&[], Some(-3_540_000), false))),
        ("A003 APPEND x (a A \\FLAGGED) UTF8 (~{7+}", message("x", head(&["a", "\\Flagged"], None, true))),
        ("A003 APPEND {3}", Ok(First::More)),
        ("A003 APPEND {3+}", Ok(First::More)),
        ("A003 APPEND {3}\r\na b {4}", message("a b", head(&[], None, false))),
        ("A003 APPEND {3}\r\n{1} {4}", message("{1}", head(&[], None, false))),
        ("A003 APPEND \"&AOk-\" {4}", message("é", head(&[], None, false))),
    ] {
        assert_eq!(first(text.as_bytes(), false), expected, "{text}");
    }
    assert_eq!(first(b"A003 APPEND \"&AOk-\" {4}", true), message("&AOk-", head(&[], None, false)));
}

#[test]
fn what_no_first_line_is() {
    for text in [
        "A003 APPEND",
        "A003 APPEND ",
        "A003 APPEND x",
        "A003 APPEND x ",
        "A003 APPEND x y",
        "A003 APPEND x (\\Seen)",
        "A003 APPEND x (\\Seen){1}",
        "A003 APPEND x (\\Recent) {1}",
        "A003 APPEND x  {1}",
        "A003 APPEND x {1} ",
        "A003 APPEND x{1}",
        "A003 APPEND x UTF8 ({1}",
        "A003 APPEND x UTF8 ~{1}",
        "A003 APPEND x \"17-Jul-1996 24:44:25 -0700\" {1}",
        "A003 APPEND x \"17-Jul-1996 02:44:25\" {1}",
        "A003 APPEND x \"17-Jul-1996 02:44:25 0700\" {1}",
        "A003 APPEND x \"31-Jun-1996 02:44:25 -0700\" {1}",
        "A003 APPEND x \"17-Jul-1996 02:44:25 -0700\" (a) {1}",
        "A003 APPENDIX x {1}",
        "A003 NOOP {1}",
        "A003",
    ] {
        assert_eq!(first(text.as_bytes(), false).unwrap_err().tag.as_deref(), Some("A003"), "{text}");
    }
    assert_eq!(first(b"* APPEND x {1}", false).unwrap_err().tag, None);
}

#[test]
fn behind_a_message_stands_the_end_or_another() {
    for (text, expected) in [
        ("", None),
        ("  ", None),
        (" {5}", Some(head(&[], None, false))),
        (" (\\Draft) {5+}", Some(head(&["\\Draft"], None, false))),
        (" (x) \" 1-Jan-1970 00:00:01 +0000\" ~{5}", Some(head(&["x"], Some(1000), false))),
        (" UTF8 (~{5}", Some(head(&[], None, true))),
    ] {
        assert_eq!(next(text.as_bytes()), Ok(expected), "{text}");
    }
    for text in ["{5}", " (x)", ")", " x {5}", "  {5}", " INBOX {5}", " (x {5}"] {
        assert!(next(text.as_bytes()).is_err(), "{text}");
    }
}
