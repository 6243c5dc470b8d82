//! Commands that are refused before they are whole: nothing of what follows in them is taken for a command.

use protocol::Closed;

use crate::client::Client;
use crate::world::World;

/// Commands inside a literal.
const INSIDE: &str = "x1 CREATE Inside^x2 DELETE Archive^";

#[tokio::test]
async fn the_literal_behind_a_text_that_append_cannot_read_is_no_command() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    let size = INSIDE.replace('^', "\r\n").len();
    // RFC 7888 §4: a client does not wait with `{n+}`, so the octets come whatever was answered.
    client
        .script(&format!(
            "> APPEND INBOX {{5+}}^hello (\\Recent) {{{size}+}}^{INSIDE}
             BAD ...
             > APPEND INBOX {{5+}}^hello \"no date\" {{{size}+}}^{INSIDE} {{{size}+}}^{INSIDE}
             BAD ...
             > APPEND INBOX {{5+}}^hello nothing {{{size}}}
             BAD ...
             > ENABLE UTF8=ACCEPT
             * ENABLED UTF8=ACCEPT
             OK ...
             > APPEND INBOX UTF8 (~{{5+}}^helloX {{{size}+}}^{INSIDE}
             BAD ...
             > APPEND INBOX UTF8 (~{{5+}}^hello) UTF8 ({{{size}+}}^{INSIDE}
             BAD ...
             > STATUS INBOX (MESSAGES)
             * STATUS \"INBOX\" (MESSAGES 0)
             OK ...
             > STATUS Archive (MESSAGES)
             * STATUS \"Archive\" (MESSAGES 0)
             OK ...
             > STATUS Inside (MESSAGES)
             NO [NONEXISTENT] ..."
        ))
        .await;
    client.send("z APPEND INBOX {5+}\r\nhello (\\Recent) {9999999+}\r\nx1 CREATE Inside\r\n").await;
    client.script("* BYE [TOOBIG] ...").await;
    assert_eq!(client.response().await.split(' ').nth(1), Some("BAD"));
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_answered_with_its_tag() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    let size = INSIDE.replace('^', "\r\n").len();
    let long = "x".repeat(300 << 10);
    client
        .script(&format!(
            "> SEARCH {long}
             BAD [TOOBIG] ...
             > SEARCH {long} {{20}}
             BAD [TOOBIG] ...
             > SUBSCRIBE {{200000+}}^{} {} {{{size}+}}^{INSIDE}
             BAD [TOOBIG] ...
             > SUBSCRIBE {{300000+}}^{} {long}
             BAD [TOOBIG] ...
             > STATUS Inside (MESSAGES)
             NO [NONEXISTENT] ...",
            &long[..200_000],
            &long[..100_000],
            &long[..300_000],
        ))
        .await;
}

#[tokio::test]
async fn a_literal_behind_a_line_that_is_too_long_is_no_command() {
    let world = World::new().await;
    let long = "x".repeat(300 << 10);
    // How long the literal is stood in what was dropped.
    for text in
        [format!("SEARCH {long} {{38+}}"), format!("SUBSCRIBE {{300000+}}\r\n{} {long} {{38+}}", &long[..300_000])]
    {
        let mut client = Client::logged_in(&world).await;
        client.send(format!("z {text}\r\nx1 CREATE Inside\r\n")).await;
        client.script("* BYE [TOOBIG] ...").await;
        assert!(client.response().await.starts_with("z BAD [TOOBIG]"));
        assert_eq!(client.ended().await, Closed::Abuse);
    }
    let mut client = Client::secured(&world, "").await;
    client
        .send(format!("z ID (\"name\" \"{}\" \"os\" {{38+}}\r\nx1 LOGIN alice secret-of-alice\r\n", &long[..41_000]))
        .await;
    client.script("* BYE [TOOBIG] ...").await;
    assert!(client.response().await.starts_with("z BAD [TOOBIG]"));
    assert_eq!(client.ended().await, Closed::Abuse);
    let mut client = Client::logged_in(&world).await;
    client.script("> STATUS Inside (MESSAGES)\nNO [NONEXISTENT] ...").await;
}

#[tokio::test]
async fn a_literal_where_done_was_awaited_is_no_command() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    let size = INSIDE.replace('^', "\r\n").len();
    client
        .script(&format!(
            "> IDLE
             + ...
             >> t1 SUBSCRIBE {{{size}+}}^{INSIDE}
             BAD ...
             > STATUS Inside (MESSAGES)
             NO [NONEXISTENT] ..."
        ))
        .await;
}
