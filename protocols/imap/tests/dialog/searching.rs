//! SEARCH in all of its forms, SORT and THREAD.

use crate::client::Client;
use crate::world::World;

/// Five messages: two threads, flags, sizes, dates.
async fn searching(world: &World) -> Client {
    let mut client = Client::logged_in(world).await;
    for (at, (addresses, subject, date, more, flags)) in [
        ("From: Bob <zed@example.org>^To: x@example.org", "beta", "Mon, 1 Jan 2024", "", "\\Seen"),
        ("From: Al <b@example.org>", "Re: beta", "Tue, 2 Jan 2024", "^References: <1@x>", "\\Answered"),
        ("From: c@example.org^Cc: y@example.org", "alpha", "Wed, 3 Jan 2024", "", "\\Flagged $Work"),
        ("From: a@example.org", "=?utf-8?Q?gr=C3=BCn?=", "Thu, 4 Jan 2024", "", "\\Draft"),
        ("From: a@example.org", "[list] Fwd: beta", "Sun, 31 Dec 2023", "^In-Reply-To: <2@x>", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let id = at + 1;
        let header = format!("{addresses}^Subject: {subject}^Date: {date} 12:00:00 +0000^Message-ID: <{id}@x>{more}");
        let message = format!("{header}^^body number {at} {}^", "x".repeat(100 - 10 * at));
        let size = message.replace('^', "\r\n").len();
        let date = format!("\" {}-Feb-2024 12:00:00 +0000\"", at + 1);
        client.script(&format!("> APPEND INBOX ({flags}) {date} {{{size}+}}^{message}\nOK ...")).await;
    }
    client.script("> SELECT INBOX\n...\nOK ...").await;
    client
}

#[tokio::test]
async fn every_key_finds_its_messages() {
    let world = World::new().await;
    let mut client = searching(&world).await;
    for (keys, found) in [
        ("ALL", " 1 2 3 4 5"),
        ("2:3,5", " 2 3 5"),
        ("*", " 5"),
        ("UID 4:*", " 4 5"),
        ("ANSWERED", " 2"),
        ("UNANSWERED", " 1 3 4 5"),
        ("FLAGGED", " 3"),
        ("UNFLAGGED 1:3", " 1 2"),
        ("DELETED", ""),
        ("UNDELETED 1", " 1"),
        ("SEEN", " 1"),
        ("UNSEEN", " 2 3 4 5"),
        ("DRAFT", " 4"),
        ("UNDRAFT 4:5", " 5"),
        ("RECENT", " 1 2 3 4 5"),
        ("NEW", " 2 3 4 5"),
        ("OLD", ""),
        ("KEYWORD $Work", " 3"),
        ("UNKEYWORD $work 2:4", " 2 4"),
        ("KEYWORD nothing", ""),
        ("FROM zed", " 1"),
        ("FROM bob", " 1"),
        ("TO x@EXAMPLE", " 1"),
        ("CC y@", " 3"),
        ("BCC y@", ""),
        ("SUBJECT BETA", " 1 2 5"),
        ("SUBJECT {5+}^gr\u{fc}n", " 4"),
        ("SUBJECT \"GR\u{dc}N\"", " 4"),
        ("HEADER Message-ID 3@x", " 3"),
        ("HEADER References \"\"", " 2"),
        ("HEADER X-None \"\"", ""),
        ("BODY \"number 3\"", " 4"),
        ("BODY beta", ""),
        ("TEXT beta", " 1 2 5"),
        ("BEFORE 2-Feb-2024", " 1"),
        ("ON 2-Feb-2024", " 2"),
        ("SINCE 4-Feb-2024", " 4 5"),
        ("SENTBEFORE 1-Jan-2024", " 5"),
        ("SENTON \"2-Jan-2024\"", " 2"),
        ("SENTSINCE 3-Jan-2024", " 3 4"),
        ("SAVEDSINCE 2-Feb-2024", " 1 2 3 4 5"),
        ("SAVEDBEFORE 2-Feb-2024", ""),
        ("SAVEDATESUPPORTED", " 1 2 3 4 5"),
        ("OLDER 86400", " 1 2 3 4 5"),
        ("YOUNGER 86400", ""),
        ("LARGER 224", " 1 2"),
        ("SMALLER 206", " 4 5"),
        ("NOT SEEN NOT FLAGGED", " 2 4 5"),
        ("OR SEEN OR FLAGGED DRAFT", " 1 3 4"),
        ("(OR (SEEN FROM bob) (FLAGGED)) UNDELETED", " 1 3"),
        ("NOT (SEEN)", " 2 3 4 5"),
        ("CHARSET US-ASCII SUBJECT alpha", " 3"),
        ("CHARSET utf-8 SUBJECT alpha", " 3"),
    ] {
        client.script(&format!("> SEARCH {keys}\n* SEARCH{found}\nOK ...")).await;
    }
    // RFC 9051 §6.4.4, RFC 5530: an unknown character set is BADCHARSET; numbers of no message and no keys are BAD.
    client
        .script(
            "> SEARCH CHARSET X-ODD ALL
             NO [BADCHARSET (US-ASCII ...)] ...
             > SEARCH
             BAD ...
             > SEARCH ()
             BAD ...
             > SEARCH UNKNOWN
             BAD ...
             > SEARCH OLDER 0
             BAD ...
             > SEARCH BEFORE 30-Feb-2024
             BAD ...
             > UID SEARCH FLAGGED
             * SEARCH 3
             OK ...
             > FETCH 3 (EMAILID THREADID)
             * 3 FETCH (EMAILID (#email) THREADID (#thread))
             OK ...
             > SEARCH EMAILID #email
             * SEARCH 3
             OK ...
             > SEARCH THREADID #thread
             * SEARCH 3
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn a_quoted_string_may_hold_a_tab() {
    let world = World::new().await;
    let mut client = searching(&world).await;
    // RFC 9051 §9: TEXT-CHAR; §5.1: a mailbox has no such name.
    client
        .script(
            "> SEARCH SUBJECT \"be\tta\"
             * SEARCH
             OK ...
             > SEARCH BODY \"body\tnumber\"
             * SEARCH 1 2 3 4 5
             OK ...
             > CREATE \"a\tb\"
             NO [CANNOT] ...
             > SEARCH SUBJECT \"be\u{0}ta\"
             BAD ...",
        )
        .await;
}

#[tokio::test]
async fn results_in_the_extended_form() {
    let world = World::new().await;
    let mut client = searching(&world).await;
    // RFC 4731 §3.1: nothing found leaves MIN, MAX and ALL out, COUNT is 0; () stands for ALL.
    client
        .script(
            "> SEARCH RETURN (MIN MAX COUNT ALL) UNSEEN
             * ESEARCH (TAG \"t...\") MIN 2 MAX 5 ALL 2:5 COUNT 4
             OK ...
             > SEARCH RETURN () SEEN
             * ESEARCH (TAG \"t...\") ALL 1
             OK ...
             > UID SEARCH RETURN (COUNT MIN) DELETED
             * ESEARCH (TAG \"t...\") UID COUNT 0
             OK ...
             > SEARCH RETURN (ALL) DELETED
             * ESEARCH (TAG \"t...\")
             OK ...
             > SEARCH RETURN (MIN) CHARSET UTF-8 UNSEEN
             * ESEARCH (TAG \"t...\") MIN 2
             OK ...
             > SEARCH RETURN (ODD) ALL
             BAD ...
             > SEARCH RETURN (COUNT) MODSEQ 1
             * OK [HIGHESTMODSEQ #h] ...
             * ESEARCH (TAG \"t...\") COUNT 5 MODSEQ #h
             OK ...
             > SEARCH MODSEQ 1 1:2
             * SEARCH 1 2 (MODSEQ #m)
             OK ...
             > SEARCH MODSEQ 99999 ALL
             * SEARCH
             OK ...
             > SEARCH MODSEQ \"/flags/\\\\Draft\" all 1 4
             * SEARCH 4 (MODSEQ #d)
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn a_saved_result_stands_in_all_places() {
    let world = World::new().await;
    let mut client = searching(&world).await;
    // RFC 5182 §2.1: SAVE alone says nothing; §2.4: MIN and MAX save the ends; a failure empties it, a BAD does not.
    client
        .script(
            "> SEARCH RETURN (SAVE) UNSEEN
             OK ...
             > SEARCH $ FROM a@
             * SEARCH 4 5
             OK ...
             > SEARCH NOT $
             * SEARCH 1
             OK ...
             > UID SEARCH UID $
             * SEARCH 2 3 4 5
             OK ...
             > FETCH $ UID
             * 2 FETCH (UID 2)
             * 3 FETCH (UID 3)
             * 4 FETCH (UID 4)
             * 5 FETCH (UID 5)
             OK ...
             > SEARCH RETURN (SAVE MIN) UNSEEN
             * ESEARCH (TAG \"t...\") MIN 2
             OK ...
             > UID FETCH $ FLAGS
             * 2 FETCH (UID 2 FLAGS (...\\Answered))
             OK ...
             > SEARCH RETURN (SAVE MIN MAX) UNSEEN
             * ESEARCH (TAG \"t...\") MIN 2 MAX 5
             OK ...
             > COPY $ Archive
             OK [COPYUID #a 2,5 1:2] ...
             > SEARCH RETURN (SAVE COUNT) 3:4
             * ESEARCH (TAG \"t...\") COUNT 2
             OK ...
             > SEARCH UNKNOWN
             BAD ...
             > STORE $ +FLAGS.SILENT (\\Deleted)
             OK ...
             > SEARCH DELETED
             * SEARCH 3 4
             OK ...
             > STORE 3 -FLAGS.SILENT (\\Deleted)
             OK ...
             > UID EXPUNGE $
             * 4 EXPUNGE
             OK ...
             > FETCH $ UID
             * 3 FETCH (UID 3)
             OK ...
             > SORT RETURN (SAVE) (REVERSE ARRIVAL) UTF-8 $
             OK ...
             > MOVE $ Archive
             * OK [COPYUID ...] ...
             * 3 EXPUNGE
             OK ...
             > FETCH $ UID
             OK ...
             > SEARCH RETURN (SAVE) ALL
             OK ...
             > SEARCH RETURN (SAVE) CHARSET X-ODD ALL
             NO [BADCHARSET ...] ...
             > FETCH $ UID
             OK ...
             > SEARCH RETURN (SAVE) ALL
             OK ...
             > SELECT INBOX
             ...
             OK ...
             > FETCH $ UID
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn messages_are_sorted() {
    let world = World::new().await;
    let mut client = searching(&world).await;
    // RFC 5256 §3: FROM is the mailbox alone; what is equal stays in the order of the mailbox. RFC 5957: names first.
    for (order, found) in [
        ("ARRIVAL", "1 2 3 4 5"),
        ("REVERSE ARRIVAL", "5 4 3 2 1"),
        ("DATE", "5 1 2 3 4"),
        ("SUBJECT", "3 1 2 5 4"),
        ("SUBJECT REVERSE DATE", "3 2 1 5 4"),
        ("REVERSE SUBJECT DATE", "4 5 1 2 3"),
        ("FROM", "4 5 2 3 1"),
        ("DISPLAYFROM", "4 5 2 1 3"),
        ("TO", "2 3 4 5 1"),
        ("CC", "1 2 4 5 3"),
        ("REVERSE SIZE", "1 2 3 5 4"),
    ] {
        client.script(&format!("> SORT ({order}) UTF-8 ALL\n* SORT {found}\nOK ...")).await;
    }
    client
        .script(
            "> SORT (DATE) US-ASCII DELETED
             * SORT
             OK ...
             > UID SORT (REVERSE DATE) UTF-8 UNSEEN
             * SORT 4 3 2 5
             OK ...
             > SORT RETURN (MIN MAX COUNT ALL) (DATE) UTF-8 ALL
             * ESEARCH (TAG \"t...\") MIN 5 MAX 4 ALL 5,1:4 COUNT 5
             OK ...
             > SORT () UTF-8 ALL
             BAD ...
             > SORT (ODD) UTF-8 ALL
             BAD ...
             > SORT (DATE) ALL
             BAD ...
             > SORT (DATE) X-ODD ALL
             NO [BADCHARSET ...] ...",
        )
        .await;
}

#[tokio::test]
async fn messages_are_threaded() {
    let world = World::new().await;
    let mut client = searching(&world).await;
    // RFC 5256 §3: by references 5 answers 2, which answers 1; by subject they follow the earliest.
    client
        .script(
            "> THREAD REFERENCES UTF-8 ALL
             * THREAD (1 2 5)(3)(4)
             OK ...
             > THREAD ORDEREDSUBJECT UTF-8 ALL
             * THREAD (5 (1)(2))(3)(4)
             OK ...
             > UID THREAD REFERENCES UTF-8 3:4
             * THREAD (3)(4)
             OK ...
             > THREAD REFERENCES UTF-8 DELETED
             * THREAD
             OK ...
             > THREAD ODD UTF-8 ALL
             BAD ...",
        )
        .await;
}

#[tokio::test]
async fn threads_go_by_the_references_that_count() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    let many: String = (0..25).map(|at| format!(" <r{at}@x>")).collect();
    let long: String = (0..40).map(|at| format!("X-{at}: {}^", "a".repeat(900))).collect();
    // RFC 5256 §3: In-Reply-To counts without References alone, and then its first id.
    for (id, more) in [
        ("a", String::new()),
        ("b", "References: <a@x>^".into()),
        ("other", String::new()),
        ("c", "References: <a@x> <b@x>^In-Reply-To: <other@x>^".into()),
        ("d", "In-Reply-To: <other@x> <a@x>^".into()),
        ("r0", String::new()),
        ("s", format!("References:{many}^")),
        ("t", format!("{long}References: <s@x>^")),
    ] {
        let message = format!("Subject: {id}^Message-ID: <{id}@x>^{more}^");
        let size = message.replace('^', "\r\n").len();
        client.script(&format!("> APPEND INBOX {{{size}+}}^{message}\nOK ...")).await;
    }
    client
        .script(
            "> SELECT INBOX
             ...
             OK ...
             > THREAD REFERENCES UTF-8 ALL
             * THREAD (1 2 4)(3 5)(6 7 8)
             OK ...",
        )
        .await;
}
