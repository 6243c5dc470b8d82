//! Known answers: commands as the RFCs show them, and what no command is.

mod append;
mod fetch;
mod names;
mod properties;
mod search;

use super::*;

/// What a text means, with the tag taken off.
fn read(text: &str) -> Result<Command, &'static str> {
    let text = format!("a {text}");
    match parse(text.as_bytes(), false) {
        Ok(tagged) => {
            assert_eq!(tagged.tag, "a");
            Ok(tagged.command)
        }
        Err(fault) => {
            assert_eq!(fault.tag.as_deref(), Some("a"), "{text}");
            Err(fault.text)
        }
    }
}

/// A sequence set in a test.
fn set(text: &str) -> SequenceSet {
    sequence::parse(text.as_bytes()).unwrap()
}

fn numbers(text: &str) -> Numbers {
    Numbers::Set(set(text))
}

/// Each text means its command, and still does with spaces behind it and in lower case.
fn all_mean(known: Vec<(&str, Command)>) {
    for (text, command) in known {
        assert_eq!(read(text), Ok(command.clone()), "{text}");
        assert_eq!(read(&format!("{text}  ")), Ok(command.clone()), "{text}");
        let (name, arguments) = text.split_once(' ').unwrap_or((text, ""));
        let lower = format!("{} {arguments}", name.to_ascii_lowercase());
        assert_eq!(read(lower.trim_end_matches(' ')), Ok(command), "{text}");
    }
}

/// None of these is a command; each keeps its tag.
fn all_fail(texts: &[&str]) {
    for text in texts {
        assert!(read(text).is_err(), "{text} is {:?}", read(text));
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn commands_of_the_session() {
    let id = |pairs: &[(&str, Option<&str>)]| {
        let own = |&(field, value): &(&str, Option<&str>)| (field.to_owned(), value.map(str::to_owned));
        Command::Id(pairs.iter().map(own).collect())
    };
    let login = |name: &str, password: &str| Command::Login { name: name.to_owned(), password: password.to_owned() };
    let authenticate = |mechanism: &str, initial: Option<&str>| Command::Authenticate {
        mechanism: mechanism.to_owned(),
        initial: initial.map(str::to_owned),
    };
    all_mean(vec![
        ("CAPABILITY", Command::Capability),
        ("NOOP", Command::Noop),
        ("LOGOUT", Command::Logout),
        ("STARTTLS", Command::StartTls),
        ("NAMESPACE", Command::Namespace),
        ("IDLE", Command::Idle),
        ("CHECK", Command::Check),
        ("CLOSE", Command::Close),
        ("UNSELECT", Command::Unselect),
        ("ID NIL", id(&[])),
        ("ID ()", id(&[])),
        ("ID (\"name\" \"sodr\" \"vendor\" NIL)", id(&[("name", Some("sodr")), ("vendor", None)])),
        ("LOGIN smith sesame", login("smith", "sesame")),
        ("LOGIN \"smi\tth\" sesame", login("smi\tth", "sesame")),
        ("LOGIN \"sm\\\"ith\" \"a\\\\b c\"", login("sm\"ith", "a\\b c")),
        ("LOGIN {5}\r\nsmith {6+}\r\nse{1}\r", login("smith", "se{1}\r")),
        ("LOGIN \"grün\" ]", login("grün", "]")),
        ("LOGIN \"\" {0}\r\n", login("", "")),
        ("AUTHENTICATE plain", authenticate("PLAIN", None)),
        ("AUTHENTICATE SCRAM-SHA-256-PLUS =", authenticate("SCRAM-SHA-256-PLUS", Some("="))),
        ("AUTHENTICATE PLAIN dGVzdAB+/w==", authenticate("PLAIN", Some("dGVzdAB+/w=="))),
        ("ENABLE condstore UTF8=ACCEPT", Command::Enable(owned(&["CONDSTORE", "UTF8=ACCEPT"]))),
        ("COMPRESS DEFLATE", Command::Compress),
        ("GETQUOTA \"\"", Command::GetQuota(String::new())),
        ("GETQUOTA !partition/sda4", Command::GetQuota("!partition/sda4".to_owned())),
        ("GETQUOTAROOT inbox", Command::GetQuotaRoot("INBOX".to_owned())),
        ("SETQUOTA \"\" (STORAGE 512)", Command::SetQuota(String::new())),
        ("SETQUOTA x ()", Command::SetQuota("x".to_owned())),
    ]);
    all_fail(&[
        "NOOP x",
        "LOGIN smith",
        "LOGIN  smith sesame",
        "LOGIN smith  sesame",
        "LOGIN smith sesame more",
        "LOGIN \"smith sesame",
        "LOGIN \"smi\\th\" sesame",
        "LOGIN \"smi\0th\" sesame",
        "LOGIN \"smi\r\nth\" sesame",
        "LOGIN {9}\r\nsmith x",
        "LOGIN {5}\nsmith x",
        "LOGIN {x}\r\nsmith x",
        "LOGIN {99999999999999999999999}\r\nsmith x",
        "LOGIN {1}\r\n\0 x",
        "LOGIN (a) b",
        "ID",
        "ID (\"name\")",
        "ID (NIL \"x\")",
        "ID (\"a\" \"b\"",
        "AUTHENTICATE",
        "AUTHENTICATE PLAIN *",
        "AUTHENTICATE PLAIN a b",
        "ENABLE",
        "ENABLE (X)",
        "COMPRESS LZMA",
        "SETQUOTA \"\" STORAGE 512",
        "DONE",
        "UID",
        "UID NOOP",
        "UIDFETCH 1 FLAGS",
    ]);
    let many = |count: usize| format!("ID ({})", vec!["\"a\" \"b\""; count].join(" "));
    assert!(read(&many(30)).is_ok());
    assert!(read(&many(31)).is_err());
    assert!(read(&format!("ID (\"a\" \"{}\")", "x".repeat(1025))).is_err());
}

#[test]
fn commands_about_mailboxes() {
    let create = |mailbox: &str, special_use: &[&str]| Command::Create {
        mailbox: mailbox.to_owned(),
        special_use: owned(special_use),
    };
    let status =
        |mailbox: &str, items: &[StatusItem]| Command::Status { mailbox: mailbox.to_owned(), items: items.to_vec() };
    use StatusItem::*;
    all_mean(vec![
        ("CREATE owatagusiam/", create("owatagusiam", &[])),
        ("CREATE Inbox/blurdybloop", create("INBOX/blurdybloop", &[])),
        ("CREATE MyDrafts (USE (\\Drafts \\Sent))", create("MyDrafts", &["\\Drafts", "\\Sent"])),
        ("CREATE x (USE ())", create("x", &[])),
        ("DELETE \"~peter/mail/&U,BTFw-/&ZeVnLIqe-\"", Command::Delete("~peter/mail/台北/日本語".to_owned())),
        ("RENAME blurdybloop sarasoop/", Command::Rename { from: "blurdybloop".into(), to: "sarasoop".into() }),
        ("SUBSCRIBE #news.comp.mail.mime", Command::Subscribe("#news.comp.mail.mime".to_owned(), true)),
        ("UNSUBSCRIBE inBOX", Command::Subscribe("INBOX".to_owned(), false)),
        ("STATUS blurdybloop (UIDNEXT messages)", status("blurdybloop", &[UidNext, Messages])),
        (
            "STATUS {5}\r\ninbox (RECENT UIDVALIDITY UNSEEN DELETED DELETED-STORAGE SIZE HIGHESTMODSEQ MAILBOXID \
             APPENDLIMIT)",
            status(
                "INBOX",
                &[Recent, UidValidity, Unseen, Deleted, DeletedStorage, Size, HighestModSeq, MailboxId, AppendLimit],
            ),
        ),
    ]);
    all_fail(&[
        "CREATE",
        "CREATE a b",
        "CREATE a ()",
        "CREATE a (USE)",
        "CREATE a (USE (Drafts))",
        "CREATE a*",
        "CREATE \"&Jjo\"",
        "CREATE {2}\r\na\n",
        "DELETE a b",
        "RENAME a",
        "STATUS a",
        "STATUS a ()",
        "STATUS a MESSAGES",
        "STATUS a (MESSAGES  UNSEEN)",
        "STATUS a (FLAGS)",
        "STATUS a (MESSAGES",
        "STATUS a (MESSAGES))",
    ]);
}

#[test]
fn select_and_its_parameters() {
    let select = |condstore, qresync| Command::Select { mailbox: "INBOX".into(), examine: false, condstore, qresync };
    let qresync = |uidvalidity, modseq, known: Option<&str>, matches: Option<(&str, &str)>| {
        let matches = matches.map(|(numbers, uids)| (set(numbers), set(uids)));
        Some(Qresync { uidvalidity, modseq, known: known.map(set), matches })
    };
    let examine = Command::Select { mailbox: "a b".into(), examine: true, condstore: false, qresync: None };
    all_mean(vec![
        ("SELECT inbox", select(false, None)),
        ("EXAMINE \"a b\"", examine),
        ("SELECT INBOX (condstore)", select(true, None)),
        (
            "SELECT INBOX (QRESYNC (67890007 20050715194045000))",
            select(false, qresync(67890007, 20050715194045000, None, None)),
        ),
        (
            "SELECT INBOX (QRESYNC (67890007 90060115194045000 41,43:211,214:541))",
            select(false, qresync(67890007, 90060115194045000, Some("41,43:211,214:541"), None)),
        ),
        (
            "SELECT INBOX (CONDSTORE QRESYNC (1 2 1:9 (5,7 50,70)))",
            select(true, qresync(1, 2, Some("1:9"), Some(("5,7", "50,70")))),
        ),
        ("SELECT INBOX (QRESYNC (1 2 (5 50)))", select(false, qresync(1, 2, None, Some(("5", "50"))))),
    ]);
    all_fail(&[
        "SELECT",
        "SELECT a ()",
        "SELECT a (X)",
        "SELECT a CONDSTORE",
        "SELECT a (QRESYNC)",
        "SELECT a (QRESYNC ())",
        "SELECT a (QRESYNC (1))",
        "SELECT a (QRESYNC (0 2))",
        "SELECT a (QRESYNC (1 2 1:*))",
        "SELECT a (QRESYNC (1 9223372036854775808))",
        "SELECT a (QRESYNC (1 2)",
    ]);
}

#[test]
fn list_in_all_its_forms() {
    let list = |reference: &str, patterns: &[&str], extended| List {
        reference: reference.to_owned(),
        patterns: owned(patterns),
        extended,
        ..List::default()
    };
    let plain = |reference, pattern| list(reference, &[pattern], false);
    use StatusItem::*;
    all_mean(vec![
        ("LIST \"\" \"\"", Command::List(plain("", ""))),
        ("LIST ~/Mail/ %", Command::List(plain("~/Mail/", "%"))),
        ("LIST \"\" inbox", Command::List(plain("", "INBOX"))),
        ("LIST \"\" \"&AOk-*\"", Command::List(plain("", "é*"))),
        ("LSUB #news. comp.mail.*", Command::List(List { lsub: true, ..plain("#news.", "comp.mail.*") })),
        ("LIST () \"\" (a b%)", Command::List(list("", &["a", "b%"], true))),
        ("LIST \"\" (INBOX)", Command::List(list("", &["INBOX"], true))),
        (
            "LIST (SUBSCRIBED RECURSIVEMATCH REMOTE) \"\" * RETURN (CHILDREN)",
            Command::List(List {
                subscribed: true,
                recursive: true,
                remote: true,
                return_children: true,
                ..list("", &["*"], true)
            }),
        ),
        (
            "LIST (SPECIAL-USE) \"\" \"*\" RETURN (SUBSCRIBED special-use)",
            Command::List(List {
                special_use: true,
                return_subscribed: true,
                return_special_use: true,
                ..list("", &["*"], true)
            }),
        ),
        (
            "LIST \"\" % RETURN (CHILDREN STATUS (MESSAGES UNSEEN))",
            Command::List(List {
                return_children: true,
                return_status: vec![Messages, Unseen],
                ..list("", &["%"], true)
            }),
        ),
        ("LIST \"\" % RETURN ()", Command::List(list("", &["%"], true))),
    ]);
    all_fail(&[
        "LIST",
        "LIST \"\"",
        "LIST \"\" ()",
        "LIST \"\" (a  b)",
        "LIST (RECURSIVEMATCH) \"\" *",
        "LIST (RECURSIVEMATCH REMOTE) \"\" *",
        "LIST (SUBSCRIBED)\"\" *",
        "LIST (X) \"\" *",
        "LIST \"\" * RETURN",
        "LIST \"\" * RETURN (X)",
        "LIST \"\" * RETURN (STATUS)",
        "LIST \"\" * RETURN (STATUS ())",
        "LIST \"\" * CHILDREN",
        "LSUB (SUBSCRIBED) \"\" *",
        "LSUB \"\" (a b)",
    ]);
}

#[test]
fn mailbox_names_are_utf8_once_it_is_enabled() {
    let name = |text: &str, utf8| match parse(text.as_bytes(), utf8) {
        Ok(Tagged { command: Command::Delete(name), .. }) => Some(name),
        _ => None,
    };
    assert_eq!(name("1 DELETE \"&ZeVnLIqe-\"", false).as_deref(), Some("日本語"));
    assert_eq!(name("1 DELETE \"&ZeVnLIqe-\"", true).as_deref(), Some("&ZeVnLIqe-"));
    assert_eq!(name("1 DELETE R&D", true).as_deref(), Some("R&D"));
    assert_eq!(name("1 DELETE R&D", false), None);
    assert_eq!(name("1 DELETE \"日本語\"", true).as_deref(), Some("日本語"));
    assert_eq!(name("1 DELETE \"日本語\"", false).as_deref(), Some("日本語"));
}

#[test]
fn a_fault_has_the_tag_if_there_was_one() {
    let fault = |text: &[u8]| parse(text, false).unwrap_err();
    for text in [&b""[..], b" NOOP", b"* NOOP", b"+ NOOP", b"\xff NOOP", b"\r\n", b"(", b"\"a\" NOOP"] {
        assert_eq!(fault(text).tag, None, "{text:?}");
    }
    for text in [&b"A1"[..], b"A1 ", b"A1  NOOP", b"A1 \xff", b"A1 FROB", b"A1 NOOP\r\n", b"A1\tNOOP", b"A1 UID FROB 1"]
    {
        assert_eq!(fault(text).tag.as_deref(), Some("A1"), "{text:?}");
    }
    assert_eq!(fault(b"]x! FROB").tag.as_deref(), Some("]x!"));
    assert!(fault(b"A1 FROB").to_string().starts_with("unknown command"));
    assert_eq!(fault(b"A1 APPEND INBOX {3}\r\nabc").tag.as_deref(), Some("A1"));
}

#[test]
fn literals_at_the_end_of_a_line() {
    let literal = |size, nonsync, binary| Some(Literal { size, nonsync, binary });
    for (line, expected) in [
        ("a LOGIN {5}", literal(5, false, false)),
        ("a LOGIN {5+}", literal(5, true, false)),
        ("a APPEND x ~{310}", literal(310, false, true)),
        ("{0}", literal(0, false, false)),
        ("~{0+}", literal(0, true, true)),
        ("{99999999999999999999}", literal(u64::MAX, false, false)),
        ("a {5} ", None),
        ("a {}", None),
        ("a {+}", None),
        ("a {-5}", None),
        ("a 5}", None),
        ("}", None),
    ] {
        assert_eq!(literal_at_end(line.as_bytes()), expected, "{line}");
    }
}
