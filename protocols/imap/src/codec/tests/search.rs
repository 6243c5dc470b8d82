//! SEARCH, SORT and THREAD.

use super::super::search::Returns;
use super::*;

fn searched(text: &str) -> Result<Search, &'static str> {
    match read(text)? {
        Command::Search { search, .. } | Command::Sort { search, .. } | Command::Thread { search, .. } => Ok(search),
        other => panic!("{other:?} is no search"),
    }
}

/// What keys mean.
fn key(text: &str) -> Result<Key, &'static str> {
    searched(&format!("SEARCH {text}")).map(|search| search.key)
}

#[test]
fn every_key() {
    let text = |text: &str| text.to_owned();
    let not = |key| Key::Not(Box::new(key));
    let flag = Key::Flag;
    for (keys, expected) in [
        ("ALL", Key::All),
        ("answered", flag("\\Answered", true)),
        ("UNANSWERED", flag("\\Answered", false)),
        ("DELETED", flag("\\Deleted", true)),
        ("UNDELETED", flag("\\Deleted", false)),
        ("DRAFT", flag("\\Draft", true)),
        ("UNDRAFT", flag("\\Draft", false)),
        ("FLAGGED", flag("\\Flagged", true)),
        ("UNFLAGGED", flag("\\Flagged", false)),
        ("SEEN", flag("\\Seen", true)),
        ("UNSEEN", flag("\\Seen", false)),
        ("NEW", Key::And(vec![Key::Recent(true), Key::Flag("\\Seen", false)])),
        ("RECENT", Key::Recent(true)),
        ("OLD", Key::Recent(false)),
        ("KEYWORD $Junk", Key::Keyword(text("$Junk"), true)),
        ("UNKEYWORD x", Key::Keyword(text("x"), false)),
        ("BEFORE 1-Feb-1994", Key::Before(8797)),
        ("ON \"01-jan-1970\"", Key::On(0)),
        ("SINCE 29-Feb-2000", Key::Since(11016)),
        ("SENTBEFORE 31-Dec-1969", Key::SentBefore(-1)),
        ("SENTON 2-Jan-1970", Key::SentOn(1)),
        ("SENTSINCE 2-Jan-1970", Key::SentSince(1)),
        ("SAVEDBEFORE 2-Jan-1970", Key::SavedBefore(1)),
        ("SAVEDON 2-Jan-1970", Key::SavedOn(1)),
        ("SAVEDSINCE 2-Jan-1970", Key::SavedSince(1)),
        ("SAVEDATESUPPORTED", Key::SaveDateSupported),
        ("OLDER 3600", Key::Older(3600)),
        ("YOUNGER 1", Key::Younger(1)),
        ("LARGER 0", Key::Larger(0)),
        ("SMALLER 9223372036854775807", Key::Smaller(i64::MAX as u64)),
        ("MODSEQ 620162338", Key::ModSeq(620162338)),
        ("MODSEQ \"/flags/\\\\draft\" all 620162338", Key::ModSeq(620162338)),
        ("FROM \"Smith\"", Key::Address(Address::From, text("Smith"))),
        ("TO a@b.example", Key::Address(Address::To, text("a@b.example"))),
        ("CC {2}\r\nab", Key::Address(Address::Cc, text("ab"))),
        ("BCC \"\"", Key::Address(Address::Bcc, text(""))),
        ("SUBJECT \"grün\"", Key::Subject(text("grün"))),
        ("BODY x", Key::Body(text("x"))),
        ("TEXT \"string not in mailbox\"", Key::Text(text("string not in mailbox"))),
        ("HEADER Message-ID \"<x>\"", Key::Header(text("Message-ID"), text("<x>"))),
        ("HEADER X \"\"", Key::Header(text("X"), text(""))),
        ("EMAILID M6d99ac3275bb4e", Key::EmailId(text("M6d99ac3275bb4e"))),
        ("THREADID T_-9", Key::ThreadId(text("T_-9"))),
        ("1:3,*", Key::Numbers(numbers("1:3,*"))),
        ("$", Key::Numbers(Numbers::Saved)),
        ("UID 5:*", Key::Uid(numbers("5:*"))),
        ("UID $", Key::Uid(Numbers::Saved)),
        ("NOT SEEN", not(flag("\\Seen", true))),
        ("NOT (SEEN DRAFT)", not(Key::And(vec![flag("\\Seen", true), flag("\\Draft", true)]))),
        ("OR 1 NOT ALL", Key::Or(Box::new(Key::Numbers(numbers("1"))), Box::new(not(Key::All)))),
        ("((ALL))", Key::All),
        ("ALL (OLD) 2", Key::And(vec![Key::All, Key::Recent(false), Key::Numbers(numbers("2"))])),
    ] {
        assert_eq!(key(keys), Ok(expected), "{keys}");
    }
}

#[test]
fn what_no_search_is() {
    all_fail(&[
        "SEARCH",
        "SEARCH ",
        "SEARCH ()",
        "SEARCH FROB",
        "SEARCH (ALL",
        "SEARCH ALL)",
        "SEARCH ALL  SEEN",
        "SEARCH NOT",
        "SEARCH OR ALL",
        "SEARCH FROM",
        "SEARCH FROM (x)",
        "SEARCH HEADER x",
        "SEARCH KEYWORD \"x\"",
        "SEARCH KEYWORD \\Seen",
        "SEARCH BEFORE 1-Foo-1994",
        "SEARCH BEFORE 31-Apr-1994",
        "SEARCH BEFORE 29-Feb-1900",
        "SEARCH BEFORE 0-Feb-1994",
        "SEARCH BEFORE 1-Feb-94",
        "SEARCH BEFORE \"1-Feb-1994",
        "SEARCH OLDER 0",
        "SEARCH LARGER -1",
        "SEARCH LARGER 9223372036854775808",
        "SEARCH MODSEQ \"/flags/x\" none 1",
        "SEARCH EMAILID a.b",
        "SEARCH UID",
        "SEARCH UID x",
        "SEARCH 1:",
        "SEARCH RETURN ALL",
        "SEARCH RETURN (FROB) ALL",
        "SEARCH RETURN (ALL)",
        "SEARCH CHARSET UTF-8",
        "SORT (DATE) ALL",
        "SORT () UTF-8 ALL",
        "SORT DATE UTF-8 ALL",
        "SORT (FROB) UTF-8 ALL",
        "SORT (REVERSE) UTF-8 ALL",
        "THREAD UTF-8 ALL",
        "THREAD FROB UTF-8 ALL",
        "THREAD REFERENCES UTF-8",
    ]);
}

#[test]
fn charsets() {
    let subject = |command: &[u8]| match parse(command, false).map(|tagged| tagged.command) {
        Ok(Command::Search { search: Search { charset, key: Key::Subject(text), .. }, .. }) => Some((charset, text)),
        _ => None,
    };
    let expected = |charset: Option<&str>, text: &str| Some((charset.map(str::to_owned), text.to_owned()));
    assert_eq!(subject(b"1 SEARCH SUBJECT {3}\r\na\xc3\xa9"), expected(None, "aé"));
    assert_eq!(subject(b"1 SEARCH SUBJECT {2}\r\na\xe9"), None);
    assert_eq!(subject(b"1 SEARCH CHARSET utf-8 SUBJECT {3}\r\na\xc3\xa9"), expected(Some("UTF-8"), "aé"));
    assert_eq!(subject(b"1 SEARCH CHARSET us-ascii SUBJECT {2}\r\na\xe9"), None);
    assert_eq!(subject(b"1 SEARCH CHARSET \"iso-8859-1\" SUBJECT {2}\r\na\xe9"), expected(Some("ISO-8859-1"), "aé"));
    assert_eq!(subject(b"1 SEARCH CHARSET KOI8-R SUBJECT {2}\r\na\xe9"), expected(Some("KOI8-R"), "a\u{fffd}"));
}

#[test]
fn returns_orders_and_threads() {
    let seen = || Key::Flag("\\Seen", true);
    let search = |returns, charset: Option<&str>| Search { returns, charset: charset.map(str::to_owned), key: seen() };
    let none = Returns::default();
    let all = Returns { min: true, max: true, all: true, count: true, save: true };
    use SortKey::*;
    all_mean(vec![
        ("SEARCH SEEN", Command::Search { uid: false, search: search(None, None) }),
        ("UID SEARCH return () SEEN", Command::Search { uid: true, search: search(Some(none), None) }),
        (
            "SEARCH RETURN (MIN MAX ALL COUNT SAVE) CHARSET UTF-8 SEEN",
            Command::Search { uid: false, search: search(Some(all), Some("UTF-8")) },
        ),
        (
            "SORT (SUBJECT REVERSE DATE) us-ascii SEEN",
            Command::Sort {
                uid: false,
                order: vec![(Subject, false), (Date, true)],
                search: search(None, Some("US-ASCII")),
            },
        ),
        (
            "UID SORT RETURN (COUNT) (ARRIVAL CC FROM SIZE TO DISPLAYFROM REVERSE DISPLAYTO) UTF-8 SEEN",
            Command::Sort {
                uid: true,
                order: vec![
                    (Arrival, false),
                    (Cc, false),
                    (From, false),
                    (Size, false),
                    (To, false),
                    (DisplayFrom, false),
                    (DisplayTo, true),
                ],
                search: search(Some(Returns { count: true, ..none }), Some("UTF-8")),
            },
        ),
        (
            "THREAD REFERENCES UTF-8 SEEN",
            Command::Thread { uid: false, by: ThreadBy::References, search: search(None, Some("UTF-8")) },
        ),
        (
            "UID THREAD orderedsubject UTF-8 SEEN",
            Command::Thread { uid: true, by: ThreadBy::OrderedSubject, search: search(None, Some("UTF-8")) },
        ),
    ]);
}

#[test]
fn keys_are_bounded_in_depth_and_number() {
    let nested = |depth: usize| format!("{}ALL{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(key(&nested(49)), Ok(Key::All));
    assert_eq!(key(&nested(50)), Err("search keys nest too deep"));
    assert!(key(&"(".repeat(10_000)).is_err());
    assert!(key(&"NOT ".repeat(10_000)).is_err());
    assert!(key(&"OR ALL ".repeat(10_000)).is_err());
    let many = |count: usize| vec!["SEEN"; count].join(" ");
    assert!(key(&many(1000)).is_ok());
    assert_eq!(key(&many(1001)), Err("too many search keys"));
}
