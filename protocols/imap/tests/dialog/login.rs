//! From the greeting to the log-in and out again.

use protocol::Closed;

use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn before_tls_no_password_is_wanted() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "").await;
    // RFC 9051 §7.1: the greeting may tell the capabilities; §6.2.1, §11.3: STARTTLS and LOGINDISABLED.
    let greeting = client.greeting.clone();
    assert!(greeting.starts_with("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 "), "{greeting}");
    assert!(greeting.contains(" STARTTLS") && greeting.contains(" LOGINDISABLED"), "{greeting}");
    assert!(!greeting.contains("AUTH="), "{greeting}");
    client
        .script(
            "> CAPABILITY
             * CAPABILITY IMAP4rev1 IMAP4rev2 ... STARTTLS LOGINDISABLED
             OK ...
             > LOGIN alice secret-of-alice
             NO [PRIVACYREQUIRED] ...
             > AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==
             NO [PRIVACYREQUIRED] ...
             > AUTHENTICATE PLAIN
             NO [PRIVACYREQUIRED] ...
             > SELECT INBOX
             BAD ...
             > NOOP
             OK ...
             > ID NIL
             * ID (\"name\" \"Wharfinger\")
             OK ...",
        )
        .await;
    client.start_tls().await;
    client
        .script(
            "> CAPABILITY
             * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR ... AUTH=PLAIN ...
             OK ...
             > STARTTLS
             BAD ...
             > LOGOUT
             * BYE ...
             OK ...",
        )
        .await;
    assert_eq!(client.ended().await, Closed::Quit);
}

#[tokio::test]
async fn what_is_offered_over_tls() {
    let world = World::new().await;
    let mut client = Client::secured(&world, "").await;
    client.send("x CAPABILITY\r\n").await;
    let outside = client.response().await;
    client.response().await;
    for word in
        ["AUTH=PLAIN", "AUTH=LOGIN", "AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-256-PLUS", "SASL-IR", "LITERAL+", "ENABLE"]
    {
        assert!(outside.split(' ').any(|told| told == word), "{word} in {outside}");
    }
    assert!(!outside.contains("STARTTLS") && !outside.contains("LOGINDISABLED"), "{outside}");
    client.send("x LOGIN alice secret-of-alice\r\n").await;
    let inside = client.response().await;
    for word in
        "IMAP4rev1 IMAP4rev2 LITERAL+ ENABLE ID APPENDLIMIT=52428800 BINARY CHILDREN COMPRESS=DEFLATE CONDSTORE \
         CREATE-SPECIAL-USE ESEARCH ESORT IDLE LIST-EXTENDED LIST-STATUS MOVE MULTIAPPEND NAMESPACE OBJECTID PREVIEW \
         QRESYNC QUOTA QUOTA=RES-STORAGE SAVEDATE SEARCHRES SORT SORT=DISPLAY SPECIAL-USE STATUS=DELETED STATUS=SIZE \
         THREAD=ORDEREDSUBJECT THREAD=REFERENCES UIDPLUS UNSELECT UTF8=ACCEPT WITHIN"
            .split_whitespace()
    {
        assert!(inside.split([' ', ']']).any(|told| told == word), "{word} in {inside}");
    }
    assert!(!inside.contains("AUTH=") && !inside.contains("LITERAL-"), "{inside}");
}

#[tokio::test]
async fn log_ins_by_every_way() {
    let world = World::new().await;
    for (way, answer) in [
        ("> LOGIN alice secret-of-alice", "OK [CAPABILITY IMAP4rev1 ...] ..."),
        ("> LOGIN \"alice\" {15+}^secret-of-alice", "OK [CAPABILITY ...] ..."),
        ("> LOGIN {5}\n+ ...\n>> alice {15}\n+ ...\n>> secret-of-alice", "OK [CAPABILITY ...] ..."),
        ("> LOGIN alice@example.org secret-of-alice", "OK [CAPABILITY ...] ..."),
        ("> AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "OK [CAPABILITY ...] ..."),
        ("> AUTHENTICATE plain\n+ \n>> AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "OK [CAPABILITY ...] ..."),
        ("> AUTHENTICATE LOGIN\n+ ...\n>> YWxpY2U=\n+ ...\n>> c2VjcmV0LW9mLWFsaWNl", "OK [CAPABILITY ...] ..."),
        // RFC 5530 §3: AUTHENTICATIONFAILED, whoever it is.
        ("> LOGIN alice wrong", "NO [AUTHENTICATIONFAILED] ..."),
        ("> LOGIN nobody wrong", "NO [AUTHENTICATIONFAILED] ..."),
        ("> AUTHENTICATE PLAIN AGFsaWNlAHdyb25n", "NO [AUTHENTICATIONFAILED] ..."),
        // RFC 9051 §6.2.2: a cancelled exchange is BAD, as is what is no base 64; an unknown mechanism is NO.
        ("> AUTHENTICATE PLAIN\n+ \n>> *", "BAD ..."),
        ("> AUTHENTICATE PLAIN\n+ \n>> !!", "BAD ..."),
        ("> AUTHENTICATE LOGIN\n+ ...\n>> *", "BAD ..."),
        ("> AUTHENTICATE CRAM-MD5", "NO ..."),
        // RFC 4959 §3: `=` is an empty response, which PLAIN does not take.
        ("> AUTHENTICATE PLAIN =", "BAD ..."),
    ] {
        let mut client = Client::secured(&world, "").await;
        client.script(&format!("{way}\n{answer}")).await;
        let phase = if answer.starts_with("OK") { "OK ..." } else { "BAD ..." };
        client.script(&format!("> SUBSCRIBE INBOX\n{phase}")).await;
    }
}

#[tokio::test]
async fn what_stands_behind_starttls_ends_the_session() {
    let world = World::new().await;
    for behind in ["b NOOP\r\n", "b"] {
        let mut client = Client::connect(&world, "").await;
        client.send(format!("a STARTTLS\r\n{behind}")).await;
        let answer = client.response().await;
        assert!(answer.starts_with("a BAD "), "{answer}");
        assert_eq!(client.ended().await, Closed::Abuse);
    }
}

#[tokio::test]
async fn a_session_ends_after_errors_silence_and_a_drain() {
    let world = World::new().await;
    let mut client = Client::secured(&world, "max_errors = 3").await;
    client.script("> X\nBAD ...\n> LOGIN a b\nNO ...\n> X\nBAD ...").await;
    client.script("* BYE ...").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    // What anybody may do forgives nothing before the log-in.
    let mut client = Client::secured(&world, "max_errors = 3").await;
    for _ in 0..2 {
        client.script("> LOGIN a b\nNO ...\n> NOOP\nOK ...\n> CAPABILITY\n* ...\nOK ...").await;
    }
    client.script("> LOGIN a b\nNO ...").await;
    client.script("* BYE ...").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    // After it, errors count in a row.
    let mut client = Client::secured(&world, "max_errors = 3").await;
    client.script("> X\nBAD ...\n> LOGIN alice secret-of-alice\nOK [CAPABILITY ...] ...").await;
    for _ in 0..3 {
        client.script("> X\nBAD ...\n> X\nBAD ...\n> NOOP\nOK ...").await;
    }
    let mut client = Client::logged_in(&world).await;
    client.stop.trigger();
    client.script("* BYE ...").await;
    assert_eq!(client.ended().await, Closed::Shutdown);
}
