//! What is switched off, compression, and what a client says of itself.

use crate::client::Client;
use crate::world::World;

/// What cannot be done while a capability is off.
const UNDONE: &[(&str, &[&str])] = &[
    ("SASL-IR", &["AUTHENTICATE PLAIN AGFsaWNlAHg="]),
    ("LITERAL+", &["CREATE {4097+}^#4097", "APPEND INBOX {4097+}^#4097", "APPEND {4097+}^#4097 {1+}^x"]),
    ("ENABLE", &["ENABLE CONDSTORE"]),
    ("ID", &["ID NIL"]),
    ("APPENDLIMIT", &["STATUS INBOX (APPENDLIMIT)"]),
    (
        "BINARY",
        &[
            "APPEND INBOX ~{1+}^x",
            "APPEND INBOX {1+}^x ~{1+}^x",
            "CREATE ~{1+}^x",
            "FETCH 1 BINARY[1]",
            "FETCH 1 BINARY.SIZE[1]",
        ],
    ),
    ("CHILDREN", &["LIST \"\" * RETURN (CHILDREN)"]),
    ("COMPRESS=DEFLATE", &["COMPRESS DEFLATE"]),
    (
        "CONDSTORE",
        &[
            "FETCH 1:* FLAGS (CHANGEDSINCE 1)",
            "FETCH 1 MODSEQ",
            "STORE 1 (UNCHANGEDSINCE 1) FLAGS ()",
            "SEARCH MODSEQ 1",
            "SELECT INBOX (CONDSTORE)",
            "STATUS INBOX (HIGHESTMODSEQ)",
        ],
    ),
    ("CREATE-SPECIAL-USE", &["CREATE x (USE (\\Sent))"]),
    ("ESEARCH", &["SEARCH RETURN (ALL) ALL"]),
    ("ESORT", &["SORT RETURN (ALL) (DATE) UTF-8 ALL"]),
    ("IDLE", &["IDLE"]),
    ("LIST-EXTENDED", &["LIST (SUBSCRIBED) \"\" *"]),
    ("LIST-STATUS", &["LIST \"\" * RETURN (STATUS (MESSAGES))"]),
    ("MOVE", &["MOVE 1 Trash", "UID MOVE 1 Trash"]),
    ("MULTIAPPEND", &["APPEND INBOX {1+}^x {1+}^x"]),
    ("NAMESPACE", &["NAMESPACE"]),
    (
        "OBJECTID",
        &["STATUS INBOX (MAILBOXID)", "SEARCH EMAILID x", "SEARCH THREADID x", "FETCH 1 EMAILID", "FETCH 1 THREADID"],
    ),
    ("PREVIEW", &["FETCH 1 PREVIEW"]),
    ("QRESYNC", &["SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"]),
    ("QUOTA", &["GETQUOTA \"\"", "GETQUOTAROOT INBOX", "SETQUOTA \"\" ()", "STATUS INBOX (DELETED-STORAGE)"]),
    ("SAVEDATE", &["FETCH 1 SAVEDATE", "SEARCH SAVEDBEFORE 1-Jan-2024"]),
    ("SEARCHRES", &["SEARCH RETURN (SAVE) ALL", "SEARCH $", "FETCH $ FLAGS", "UID EXPUNGE $"]),
    ("SORT", &["SORT (DATE) UTF-8 ALL"]),
    ("SORT=DISPLAY", &["SORT (DISPLAYFROM) UTF-8 ALL"]),
    ("SPECIAL-USE", &["LIST (SPECIAL-USE) \"\" *", "LIST \"\" * RETURN (SPECIAL-USE)"]),
    ("STATUS=DELETED", &["STATUS INBOX (DELETED)"]),
    ("STATUS=SIZE", &["STATUS INBOX (SIZE)"]),
    ("THREAD=ORDEREDSUBJECT", &["THREAD ORDEREDSUBJECT UTF-8 ALL"]),
    ("THREAD=REFERENCES", &["THREAD REFERENCES UTF-8 ALL"]),
    ("UIDPLUS", &["UID EXPUNGE 1"]),
    ("UNSELECT", &["UNSELECT"]),
    ("WITHIN", &["SEARCH OLDER 5", "SEARCH YOUNGER 5"]),
];

/// What is left out of answers while a capability is off.
const UNTOLD: &[(&str, &str)] = &[
    ("CHILDREN", "> LIST \"\" Trash\n* LIST (\\Trash) \"/\" \"Trash\"\nOK ..."),
    ("CONDSTORE", "> ENABLE CONDSTORE QRESYNC\n* ENABLED\nOK ..."),
    ("IMAP4rev2", "> ENABLE IMAP4rev2\n* ENABLED\nOK ..."),
    ("OBJECTID", "> CREATE new\nOK Created"),
    ("QRESYNC", "> ENABLE QRESYNC\n* ENABLED\nOK ..."),
    ("SPECIAL-USE", "> LIST \"\" Trash\n* LIST (\\HasNoChildren) \"/\" \"Trash\"\nOK ..."),
    (
        "UIDPLUS",
        "> APPEND INBOX {1+}^x\n* 2 EXISTS\n* 1 RECENT\nOK Appended
        > COPY 1 Trash\nOK Copied\n> MOVE 1 Trash\n* 1 EXPUNGE\nOK Moved",
    ),
    ("UTF8=ACCEPT", "> ENABLE UTF8=ACCEPT\n* ENABLED\nOK ...\n> APPEND INBOX UTF8 (~{1+}^x)\nBAD ..."),
];

#[tokio::test]
async fn what_is_off_for_all_is_neither_told_nor_done() {
    let world = World::new().await;
    Client::logged_in(&world).await.script("> APPEND INBOX {1+}^x\nOK ...").await;
    for name in imap::capabilities::names() {
        let mut client = Client::of(&world, "alice", &format!("disable = [\"{name}\"]")).await;
        client.send("x CAPABILITY\r\n").await;
        let told = client.response().await;
        client.response().await;
        let word = |word: &str| word == name || word.split('=').next() == Some(name);
        assert!(!told.split(' ').any(word), "{name} in {told}");
        client.script("> SELECT INBOX").await;
        loop {
            let told = client.response().await;
            assert!(name != "OBJECTID" || !told.contains("MAILBOXID"), "{told}");
            assert!(name != "CONDSTORE" || !told.contains("HIGHESTMODSEQ"), "{told}");
            if told.contains("READ-WRITE") {
                break;
            }
        }
        let undone: Vec<_> = UNDONE.iter().filter(|(of, _)| *of == name).flat_map(|(_, undone)| *undone).collect();
        let untold: Vec<_> = UNTOLD.iter().filter(|(of, _)| *of == name).collect();
        // IMAP4rev1 is only not told; LITERAL- is looked at below.
        let known = ["IMAP4rev1", "LITERAL-"].contains(&name);
        assert!(known || !undone.is_empty() || !untold.is_empty(), "nothing is known of {name}");
        for command in undone {
            // AUTHENTICATE belongs before the log-in.
            let mut before = Client::secured(&world, &format!("disable = [\"{name}\"]")).await;
            let client = if command.starts_with("AUTH") { &mut before } else { &mut client };
            let command = command.replace("#4097", &"x".repeat(4097));
            client.script(&format!("> {command}\nBAD {name} ...")).await;
        }
        for (_, script) in untold {
            client.script(script).await;
        }
    }
}

#[tokio::test]
async fn literals_are_asked_for_where_both_capabilities_are_off() {
    let world = World::new().await;
    let config = "disable = [\"LITERAL+\", \"LITERAL-\"]";
    let mut client = Client::secured(&world, config).await;
    // RFC 7888 §4, §5.
    client
        .script(
            "> LOGIN {5+}^alice {15+}^secret-of-alice
             BAD LITERAL- ...
             > LOGIN alice {15}
             + ...
             >> secret-of-alice
             OK ...
             > APPEND INBOX {1+}^x
             BAD LITERAL- ...
             > APPEND INBOX {1}
             + ...
             >> x {1+}^x
             BAD LITERAL- ...
             > APPEND {5+}^INBOX {1+}^x
             BAD LITERAL- ...
             > STATUS INBOX (MESSAGES)
             * STATUS \"INBOX\" (MESSAGES 0)
             OK ...",
        )
        .await;
    let mut client = Client::of(&world, "alice", "disable = [\"LITERAL+\"]").await;
    client.script("> APPEND INBOX {1+}^x\nOK ...\n> SUBSCRIBE {5+}^INBOX\nOK ...").await;
}

#[tokio::test]
async fn what_is_built_on_what_is_off_is_off_too() {
    let world = World::new().await;
    let mut client = Client::of(&world, "alice", "disable = [\"SORT\", \"CONDSTORE\", \"ESEARCH\"]").await;
    client.send("x CAPABILITY\r\n").await;
    let told = client.response().await;
    client.response().await;
    for name in ["ESORT", "SORT=DISPLAY", "QRESYNC", "SEARCHRES"] {
        assert!(!told.split(' ').any(|word| word == name), "{name} in {told}");
    }
}

#[tokio::test]
async fn what_is_off_for_an_account_or_a_client() {
    let world = World::new().await;
    let config = "accounts = { alice = [\"IDLE\"] }\nclients = { \"Old Mail\" = [\"QRESYNC\"] }";
    let mut client = Client::of(&world, "bob", config).await;
    // RFC 2971: NIL values, and names in any case.
    client
        .script(
            "> IDLE
             + ...
             >> DONE
             OK ...
             > ID (\"version\" NIL \"NAME\" \"new mail\")
             * ID (\"name\" \"Wharfinger\")
             OK ...
             > ENABLE QRESYNC
             * ENABLED QRESYNC
             OK ...",
        )
        .await;
    let mut client = Client::secured(&world, config).await;
    client
        .script(
            "> ID (\"name\" \"old mail\")
             * ID (...)
             OK ...
             > LOGIN alice secret-of-alice
             OK [CAPABILITY ...] ...
             > IDLE
             BAD IDLE ...
             > ENABLE QRESYNC CONDSTORE
             * ENABLED CONDSTORE
             OK ...
             > SELECT INBOX (QRESYNC (1 1))
             BAD QRESYNC ...",
        )
        .await;
}

#[tokio::test]
async fn a_compressed_session_goes_on_as_before() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 4978 §3: behind the reply all is compressed, both ways; twice is refused with COMPRESSIONACTIVE.
    client.script("> COMPRESS LZW\nBAD ...\n> COMPRESS DEFLATE\nOK ...").await;
    client.compress();
    let body = "compressed ".repeat(20_000);
    let message = format!("Subject: large^^{body}^");
    let size = message.replace('^', "\r\n").len();
    client
        .script(&format!(
            "> NOOP
             OK ...
             > COMPRESS DEFLATE
             NO [COMPRESSIONACTIVE] ...
             > APPEND INBOX {{{size}}}
             + ...
             >> {message}
             OK [APPENDUID ...] ...
             > SELECT INBOX
             ...
             OK ...
             > FETCH 1 BODY.PEEK[]
             * 1 FETCH (BODY[] {{{size}}}^{message})
             OK ...
             > CAPABILITY
             * CAPABILITY ...
             OK ..."
        ))
        .await;
    assert!(client.received < 20_000, "{} octets came over the wire", client.received);
}
