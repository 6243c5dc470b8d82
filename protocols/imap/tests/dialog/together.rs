//! Two sessions on one mailbox: what each is told, and when. And IDLE.

use protocol::Closed;

use crate::client::Client;
use crate::world::World;

/// Two clients that have INBOX open, with three messages in it; the second is the one that changes it.
async fn two(world: &World) -> (Client, Client) {
    let mut one = Client::logged_in(world).await;
    one.script(
        "> APPEND INBOX {14+}^Subject: a^^ {14+}^Subject: b^^ {14+}^Subject: c^^
         OK ...
         > SELECT INBOX
         ...
         OK ...",
    )
    .await;
    let mut other = Client::logged_in(world).await;
    other.script("> SELECT INBOX\n* 3 EXISTS\n* 0 RECENT\n...\nOK ...").await;
    (one, other)
}

#[tokio::test]
async fn what_is_copied_by_number_is_what_the_client_sees() {
    let world = World::new().await;
    let (mut one, mut other) = two(&world).await;
    other.script("> STORE 2 +FLAGS.SILENT (\\Deleted)\nOK ...\n> EXPUNGE\n* 2 EXPUNGE\nOK ...").await;
    // RFC 9051 §6.4.7: all or none; RFC 5530: why. The UID forms leave out what is not there.
    one.script(
        "> COPY 1:3 Archive
         * 2 EXPUNGE
         NO [EXPUNGEISSUED] ...
         > STATUS Archive (MESSAGES)
         * STATUS \"Archive\" (MESSAGES 0)
         OK ...
         > COPY 1:2 Archive
         OK [COPYUID #v 1,3 1:2] ...",
    )
    .await;
    other.script("> STORE 1 +FLAGS.SILENT (\\Deleted)\nOK ...\n> EXPUNGE\n* 1 EXPUNGE\nOK ...").await;
    one.script(
        "> MOVE 1 Archive
         * 1 EXPUNGE
         NO [EXPUNGEISSUED] ...
         > UID MOVE 1:3 Archive
         * OK [COPYUID #v 3 3] ...
         * 1 EXPUNGE
         OK ...",
    )
    .await;
}

const GONE: &str = "> STORE 1 +FLAGS.SILENT (\\Deleted)\nOK ...\n> EXPUNGE\n* 1 EXPUNGE\nOK ...";

#[tokio::test]
async fn expunges_are_not_told_while_numbers_are_spoken_of() {
    let world = World::new().await;
    let (mut one, mut other) = two(&world).await;
    other.script(GONE).await;
    // RFC 9051 §7.5.1: no EXPUNGE during FETCH, STORE and SEARCH; §6.4.9: their UID forms may; nor in SORT.
    one.script(
        "> FETCH 1:3 UID
         * 1 FETCH (UID 1)
         * 2 FETCH (UID 2)
         * 3 FETCH (UID 3)
         OK ...
         > FETCH 1 BODY.PEEK[]
         * 1 FETCH (BODY[] {14}^Subject: a^^)
         OK ...
         > SEARCH ALL
         * SEARCH 1 2 3
         OK ...
         > SORT (ARRIVAL) UTF-8 ALL
         * SORT 1 2 3
         OK ...
         > STORE 3 +FLAGS (\\Seen)
         * 3 FETCH (FLAGS (...\\Seen))
         OK ...
         > NOOP
         * 1 EXPUNGE
         OK ...
         > FETCH 1:2 UID
         * 1 FETCH (UID 2)
         * 2 FETCH (UID 3)
         OK ...",
    )
    .await;
    other.script("> NOOP\n* 2 FETCH (FLAGS (\\Seen))\nOK ...").await;
    other.script(GONE).await;
    one.script("> UID FETCH 3 UID\n* 2 FETCH (UID 3)\n* 1 EXPUNGE\nOK ...").await;
}

#[tokio::test]
async fn flags_and_arrivals_are_told_with_any_command() {
    let world = World::new().await;
    let (mut one, mut other) = two(&world).await;
    other.script("> STORE 2 +FLAGS ($New)\n* FLAGS (...$New)\n...\n* 2 FETCH (FLAGS ($New))\nOK ...").await;
    other.script("> APPEND INBOX {14+}^Subject: d^^\n* 4 EXISTS\n* 1 RECENT\nOK ...").await;
    one.script(
        "> FETCH 1 UID
         * 1 FETCH (UID 1)
         * 4 EXISTS
         * 3 RECENT
         * FLAGS (...$New)
         * 2 FETCH (FLAGS (\\Recent $New))
         ...
         OK ...
         > FETCH 4 FLAGS
         * 4 FETCH (FLAGS ())
         OK ...",
    )
    .await;
}

#[tokio::test]
async fn an_idle_session_is_told_at_once() {
    let world = World::new().await;
    let (mut one, mut other) = two(&world).await;
    one.script("> IDLE\n+ ...").await;
    other.script("> STORE 3 +FLAGS.SILENT (\\Flagged)\nOK ...").await;
    one.script("* 3 FETCH (FLAGS (\\Recent \\Flagged))").await;
    other.script(GONE).await;
    // Whether it sees the mark alone before depends on when it looks.
    let mut told = one.response().await;
    if told.contains("FETCH") {
        told = one.response().await;
    }
    assert_eq!(told, "* 1 EXPUNGE");
    other.script("> APPEND INBOX {14+}^Subject: d^^\n...\nOK ...").await;
    assert_eq!(one.response().await, "* 3 EXISTS");
    // It is recent in whichever session is told of it first (RFC 3501 §2.3.2).
    let recent = one.response().await;
    assert!(["* 2 RECENT", "* 3 RECENT"].contains(&recent.as_str()), "{recent}");
    assert!(one.is_silent().await);
    one.script(">> DONE\nOK ...\n> NOOP\nOK ...\n> IDLE\n+ ...\n>> NOOP\nBAD ...\n> IDLE\n+ ...\n>> done\nOK ...")
        .await;
    one.script("> CLOSE\nOK ...\n> IDLE\n+ ...\n>> DONE\nOK ...").await;
}

#[tokio::test]
async fn who_knows_uids_is_told_of_uids() {
    let world = World::new().await;
    let (mut one, mut other) = two(&world).await;
    one.script("> ENABLE QRESYNC\n* ENABLED QRESYNC\n...\nOK ...").await;
    other.script(GONE).await;
    // RFC 7162 §3.2.10: VANISHED instead of EXPUNGE, and not where EXPUNGE may not be.
    one.script(
        "> SEARCH ALL
         * SEARCH 1 2 3
         OK ...
         > NOOP
         * VANISHED 1
         OK ...",
    )
    .await;
}

#[tokio::test]
async fn what_is_in_the_view_yet_did_not_vanish_earlier() {
    let world = World::new().await;
    let (mut one, mut other) = two(&world).await;
    one.script("> ENABLE QRESYNC\n* ENABLED QRESYNC\n...\nOK ...\n> SEARCH RETURN (SAVE) ALL\n...\nOK ...").await;
    other.script(GONE).await;
    // RFC 7162 §3.2.6, §3.2.10: a VANISHED that changes the numbers comes without EARLIER, and once.
    one.script(
        "> UID FETCH 1:* UID (CHANGEDSINCE 1 VANISHED)
         * 1 FETCH (UID 1 MODSEQ (#a))
         * 2 FETCH (UID 2 MODSEQ (#a))
         * 3 FETCH (UID 3 MODSEQ (#a))
         * VANISHED 1
         OK ...
         > UID FETCH 1:* UID (CHANGEDSINCE #a VANISHED)
         * VANISHED (EARLIER) 1
         OK ...
         > UID FETCH $ UID (CHANGEDSINCE #a VANISHED)
         * VANISHED (EARLIER) 1
         OK ...",
    )
    .await;
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_under_a_session_ends_it() {
    let world = World::new().await;
    let (mut one, mut other) = two(&world).await;
    other.script("> CREATE box\nOK ...").await;
    one.script("> SELECT box\n...\nOK ...").await;
    other.script("> DELETE box\nOK ...").await;
    one.script("> NOOP\n* BYE ...\nNO ...").await;
    assert_eq!(one.ended().await, Closed::Quit);
    // One's own goes quietly.
    other
        .script(
            "> CREATE box
             OK ...
             > SELECT box
             ...
             OK ...
             > DELETE box
             ...
             OK ...
             > CHECK
             BAD ...",
        )
        .await;
}
