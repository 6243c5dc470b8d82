//! What is switched off, compression, and what a client says of itself.

use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn what_is_off_for_all_is_neither_told_nor_done() {
    let world = World::new().await;
    for (name, commands) in [
        ("MOVE", &["MOVE 1 Trash", "UID MOVE 1 Trash"][..]),
        ("IDLE", &["IDLE"]),
        ("COMPRESS=DEFLATE", &["COMPRESS DEFLATE"]),
        ("CONDSTORE", &["FETCH 1:* FLAGS (CHANGEDSINCE 1)", "SEARCH MODSEQ 1", "SELECT INBOX (CONDSTORE)"]),
        ("SORT", &["SORT (DATE) UTF-8 ALL"]),
        ("THREAD=REFERENCES", &["THREAD REFERENCES UTF-8 ALL"]),
        ("ESEARCH", &["SEARCH RETURN (ALL) ALL"]),
        ("SEARCHRES", &["SEARCH RETURN (SAVE) ALL", "SEARCH $"]),
        ("WITHIN", &["SEARCH OLDER 5"]),
        ("LIST-EXTENDED", &["LIST (SUBSCRIBED) \"\" *"]),
        ("LIST-STATUS", &["LIST \"\" * RETURN (STATUS (MESSAGES))"]),
        ("CREATE-SPECIAL-USE", &["CREATE x (USE (\\Sent))"]),
        ("STATUS=SIZE", &["STATUS INBOX (SIZE)"]),
        ("OBJECTID", &["STATUS INBOX (MAILBOXID)", "SEARCH EMAILID x"]),
        ("QUOTA", &["GETQUOTA \"\"", "GETQUOTAROOT INBOX"]),
        ("NAMESPACE", &["NAMESPACE"]),
        ("UNSELECT", &["UNSELECT"]),
        ("UIDPLUS", &["UID EXPUNGE 1"]),
    ] {
        let mut client = Client::of(&world, "alice", &format!("disable = [\"{name}\"]")).await;
        client.send("x CAPABILITY\r\n").await;
        let told = client.response().await;
        client.response().await;
        assert!(!told.split(' ').any(|word| word == name), "{name} in {told}");
        client.script("> SELECT INBOX\n...\nOK ...").await;
        for command in commands {
            client.script(&format!("> {command}\nBAD {name} ...")).await;
        }
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
