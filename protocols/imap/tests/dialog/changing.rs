//! CONDSTORE and QRESYNC (RFC 7162).

use crate::client::Client;
use crate::world::World;

/// Five messages; `#m1` to `#m5` are their mod-sequences, `#v` the UIDVALIDITY.
async fn changing(world: &World) -> Client {
    let mut client = Client::logged_in(world).await;
    for _ in 0..5 {
        client.script("> APPEND INBOX {14+}^Subject: a^^\nOK [APPENDUID #v ...] ...").await;
    }
    client
        .script(
            "> EXAMINE INBOX (CONDSTORE)
             * OK [HIGHESTMODSEQ #m5] ...
             ...
             OK ...
             > FETCH 1:5 MODSEQ
             * 1 FETCH (MODSEQ (#m1))
             * 2 FETCH (MODSEQ (#m2))
             * 3 FETCH (MODSEQ (#m3))
             * 4 FETCH (MODSEQ (#m4))
             * 5 FETCH (MODSEQ (#m5))
             OK ...
             > CLOSE
             OK ...",
        )
        .await;
    client
}

#[tokio::test]
async fn condstore_is_turned_on_by_whatever_speaks_of_it() {
    let world = World::new().await;
    changing(&world).await;
    // §3.1: from then on every untagged FETCH with flags has the mod-sequence.
    for enabling in [
        "> FETCH 1 MODSEQ\n* 1 FETCH (...)",
        "> FETCH 1 FLAGS (CHANGEDSINCE 999)",
        "> STORE 1 (UNCHANGEDSINCE 999) +FLAGS.SILENT ($x)",
        "> SEARCH MODSEQ 999",
        "> STATUS INBOX (HIGHESTMODSEQ)",
        "> ENABLE CONDSTORE",
        "> ENABLE QRESYNC",
        "> SELECT INBOX (CONDSTORE)",
    ] {
        let mut client = Client::logged_in(&world).await;
        client.script("> SELECT INBOX\n...\nOK ...\n> STORE 2 -FLAGS ($y)\n* 2 FETCH (FLAGS (...))\nOK ...").await;
        client.script(&format!("{enabling}\n...\nOK ...")).await;
        client.script("> STORE 2 +FLAGS ($y)\n* 2 FETCH (...FLAGS (...$y) MODSEQ (#m))\n...\nOK ...").await;
        client.script("> STORE 2 -FLAGS.SILENT ($y)\n* 2 FETCH (...MODSEQ (#n))\nOK ...").await;
    }
}

#[tokio::test]
async fn what_changed_since_is_fetched() {
    let world = World::new().await;
    let mut client = changing(&world).await;
    client
        .script(
            "> SELECT INBOX
             ...
             OK ...
             > FETCH 1:* (FLAGS) (CHANGEDSINCE #m3)
             * 4 FETCH (FLAGS (...) MODSEQ (#m4))
             * 5 FETCH (FLAGS (...) MODSEQ (#m5))
             OK ...
             > UID FETCH 1:* (FLAGS) (CHANGEDSINCE #m5)
             OK ...
             > FETCH 1:* (FLAGS) (CHANGEDSINCE)
             BAD ...
             > UID FETCH 1:* (FLAGS) (CHANGEDSINCE #m3 VANISHED)
             BAD ...
             > SEARCH MODSEQ #m4
             * SEARCH 4 5 (MODSEQ #m5)
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn flags_are_stored_where_nothing_changed_meanwhile() {
    let world = World::new().await;
    let mut client = changing(&world).await;
    let mut other = Client::logged_in(&world).await;
    client.script("> SELECT INBOX (CONDSTORE)\n...\nOK ...").await;
    other.script("> SELECT INBOX\n...\nOK ...\n> STORE 2 +FLAGS.SILENT (\\Flagged)\nOK ...").await;
    // §3.1.3: MODIFIED has those that changed; the others are stored. UNCHANGEDSINCE 0 fails for every message.
    client
        .script(
            "> STORE 1:3 (UNCHANGEDSINCE #m5) +FLAGS.SILENT (\\Seen)
             * 1 FETCH (...MODSEQ (#n))
             * 2 FETCH (...\\Flagged) MODSEQ (...))
             * 3 FETCH (...MODSEQ (#n))
             OK [MODIFIED 2] ...
             > UID STORE 2,4 (UNCHANGEDSINCE #m5) -FLAGS (\\Draft)
             ...
             OK [MODIFIED 2] ...
             > STORE 5 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)
             ...
             OK [MODIFIED 5] ...
             > FETCH 1:5 FLAGS
             * 1 FETCH (FLAGS (\\Recent \\Seen))
             * 2 FETCH (FLAGS (\\Recent \\Flagged))
             * 3 FETCH (FLAGS (\\Recent \\Seen))
             * 4 FETCH (FLAGS (\\Recent))
             * 5 FETCH (FLAGS (\\Recent))
             OK ...
             > STORE 1 (UNCHANGEDSINCE) FLAGS ()
             BAD ...",
        )
        .await;
}

#[tokio::test]
async fn a_client_that_was_here_before_is_told_what_it_missed() {
    let world = World::new().await;
    let mut client = changing(&world).await;
    let mut other = Client::logged_in(&world).await;
    other
        .script(
            "> SELECT INBOX
             ...
             OK ...
             > STORE 4 +FLAGS.SILENT (\\Seen)
             OK ...
             > STORE 1:2 +FLAGS.SILENT (\\Deleted)
             OK ...
             > EXPUNGE
             * 1 EXPUNGE
             * 1 EXPUNGE
             OK ...",
        )
        .await;
    // §3.2.5: without ENABLE it is BAD; VANISHED (EARLIER) and FETCH with UID, FLAGS and MODSEQ.
    client
        .script(
            "> SELECT INBOX (QRESYNC (#v #m5))
             BAD ...
             > ENABLE QRESYNC
             * ENABLED QRESYNC
             OK ...
             > SELECT INBOX (QRESYNC (#v #m5))
             * VANISHED (EARLIER) 1:2
             * 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (#n))
             * 3 EXISTS
             ...
             OK [READ-WRITE] ...
             > SELECT INBOX (QRESYNC (#v #m5 2:3))
             * OK [CLOSED] ...
             * VANISHED (EARLIER) 2
             * 3 EXISTS
             * 0 RECENT
             * FLAGS ...
             * OK [PERMANENTFLAGS ...
             * OK [UNSEEN 1] ...
             * OK [UIDVALIDITY #v] ...
             * OK [UIDNEXT 6] ...
             * OK [HIGHESTMODSEQ #h] ...
             * OK [MAILBOXID ...
             OK [READ-WRITE] ...
             > SELECT INBOX (QRESYNC (#v #m5 1:5 (1,3 1,3)))
             * VANISHED (EARLIER) #gone...
             * 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (#n))
             ...
             OK [READ-WRITE] ...
             > UID FETCH 1:* (FLAGS) (CHANGEDSINCE #m5 VANISHED)
             * VANISHED (EARLIER) 1:2
             * 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (#n))
             OK ...
             > UID FETCH 2:5 (FLAGS) (CHANGEDSINCE #m5 VANISHED)
             * VANISHED (EARLIER) 2
             * 2 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (#n))
             OK ...
             > FETCH 1:* (FLAGS) (CHANGEDSINCE #m5 VANISHED)
             BAD ...",
        )
        .await;
    // With another UIDVALIDITY all of it is ignored.
    client
        .script(
            "> SELECT INBOX (QRESYNC (7 #m5))
             * OK [CLOSED] ...
             * 3 EXISTS
             * 0 RECENT
             * FLAGS ...
             * OK [PERMANENTFLAGS ...
             * OK [UNSEEN 1] ...
             * OK [UIDVALIDITY #v] ...
             * OK [UIDNEXT 6] ...
             * OK [HIGHESTMODSEQ #h] ...
             * OK [MAILBOXID ...
             OK [READ-WRITE] ...",
        )
        .await;
}

#[tokio::test]
async fn the_newest_mod_sequence_grows_with_every_change() {
    let world = World::new().await;
    let mut client = changing(&world).await;
    client
        .script(
            "> ENABLE QRESYNC
             * ENABLED QRESYNC
             OK ...
             > SELECT INBOX
             ...
             OK ...
             > STORE 1 +FLAGS (\\Deleted)
             * 1 FETCH (UID 1 FLAGS (...) MODSEQ (#a))
             OK ...
             > EXPUNGE
             * VANISHED 1
             OK [HIGHESTMODSEQ #b] ...
             > STATUS INBOX (HIGHESTMODSEQ)
             * STATUS \"INBOX\" (HIGHESTMODSEQ #b)
             OK ...
             > STORE 1 +FLAGS (\\Deleted)
             * 1 FETCH (UID 2 FLAGS (...) MODSEQ (#c))
             OK ...
             > CLOSE
             OK ...
             > STATUS INBOX (HIGHESTMODSEQ)
             * STATUS \"INBOX\" (HIGHESTMODSEQ #d)
             OK ...",
        )
        .await;
    let numbers: Vec<u64> = ["m5", "a", "b", "c", "d"].iter().map(|name| client.word(name).parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
}
