//! APPEND, STORE, COPY, MOVE and EXPUNGE.

use protocol::Closed;

use crate::client::Client;
use crate::world::World;

const FIVE: &str =
    "> APPEND INBOX {14+}^Subject: a^^ {14+}^Subject: b^^ {14+}^Subject: c^^ {14+}^Subject: d^^ {14+}^Subject: e^^
    OK [APPENDUID #v 1:5] ...
    > SELECT INBOX
    ...
    OK [READ-WRITE] ...";

#[tokio::test]
async fn messages_are_appended() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 9051 §6.3.12, RFC 3502, RFC 7888, RFC 4315 §3.
    client
        .script(
            "> APPEND INBOX (\\Seen $Forwarded) \" 1-Feb-2024 10:00:00 +0100\" {14}
             + ...
             >> Subject: a^^
             OK [APPENDUID #v 1] ...
             > APPEND {5}
             + ...
             >> INBOX (\\Draft) {14+}^Subject: b^^
             OK [APPENDUID #v 2] ...
             > APPEND INBOX (\\Seen) {14+}^Subject: c^^ (\\Flagged) \"01-Mar-2024 10:00:00 +0000\" {14+}^Subject: d^^
             OK [APPENDUID #v 3:4] ...
             > APPEND nowhere {14}
             NO [TRYCREATE] ...
             > APPEND nowhere {14+}^Subject: x^^
             NO [TRYCREATE] ...
             > APPEND INBOX {99999999}
             NO [TOOBIG] ...
             > APPEND INBOX (\\Seen
             BAD ...
             > APPEND INBOX \"32-Feb-2024 10:00:00 +0100\" {1+}^x
             BAD ...
             > APPEND INBOX
             BAD ...
             > EXAMINE INBOX
             ...
             OK ...
             > FETCH 1:* (FLAGS INTERNALDATE)
             * 1 FETCH (FLAGS (...\\Seen $Forwarded) INTERNALDATE \" 1-Feb-2024 09:00:00 +0000\")
             * 2 FETCH (FLAGS (...\\Draft) INTERNALDATE ...)
             * 3 FETCH (FLAGS (...\\Seen) INTERNALDATE ...)
             * 4 FETCH (FLAGS (...\\Flagged) INTERNALDATE \" 1-Mar-2024 10:00:00 +0000\")
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn a_list_of_messages_is_appended_as_one_or_not_at_all() {
    let world = World::new().await;
    let mut client = Client::of(&world, "full", "").await;
    let large = "x".repeat(2000);
    // RFC 3502 §3: all or none; RFC 9208 §4.3: OVERQUOTA.
    client
        .script(&format!(
            "> APPEND INBOX {{2000+}}^{large} {{2000+}}^{large}
             NO [OVERQUOTA] ...
             > STATUS INBOX (MESSAGES)
             * STATUS \"INBOX\" (MESSAGES 0)
             OK ...
             > APPEND INBOX {{4000}}
             NO [OVERQUOTA] ...
             > GETQUOTAROOT INBOX
             * QUOTAROOT \"INBOX\" \"\"
             * QUOTA \"\" (STORAGE 0 2)
             OK ...
             > APPEND INBOX {{2000+}}^{large}
             OK ...
             > GETQUOTA \"\"
             * QUOTA \"\" (STORAGE 2 2)
             OK ...
             > COPY 1 Trash
             BAD ...
             > SELECT INBOX
             ...
             OK ...
             > COPY 1 Trash
             NO [OVERQUOTA] ...
             > MOVE 1 Trash
             * OK [COPYUID ...] ...
             * 1 EXPUNGE
             OK ...
             > GETQUOTA \"\"
             * QUOTA \"\" (STORAGE 2 2)
             OK ...
             > SETQUOTA \"\" (STORAGE 9)
             NO [NOPERM] ...
             > GETQUOTA nothing
             NO [NONEXISTENT] ..."
        ))
        .await;
}

#[tokio::test]
async fn limits_of_literals() {
    let world = World::new().await;
    let config = "max_message = \"64K\"\ndisable = [\"LITERAL+\"]";
    let mut client = Client::of(&world, "alice", config).await;
    // RFC 7888 §5: with LITERAL- at most 4096 octets come unasked; RFC 7889.
    let large = "x".repeat(5000);
    client
        .script(&format!(
            "> CAPABILITY
             * CAPABILITY ...LITERAL- ...APPENDLIMIT=65536 ...
             OK ...
             > APPEND INBOX {{14+}}^Subject: a^^
             OK ...
             > SUBSCRIBE {{5000+}}^{large}
             BAD ...
             > APPEND INBOX {{70000}}
             NO [TOOBIG] ...
             > NOOP
             OK ..."
        ))
        .await;
    client.send("z APPEND INBOX {4294967295+}\r\n").await;
    client.script("* BYE [TOOBIG] ...").await;
    assert_eq!(client.response().await.split(' ').nth(1), Some("BAD"));
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn utf8_messages_are_appended_once_it_is_enabled() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 6855 §4; RFC 9051 has no UTF8 data item but takes it.
    client
        .script(
            "> APPEND INBOX UTF8 (~{15+}^Subject: \u{e4}^^)
             BAD ...
             > ENABLE UTF8=ACCEPT
             * ENABLED UTF8=ACCEPT
             OK ...
             > APPEND INBOX (\\Seen) UTF8 (~{15+}^Subject: \u{e4}^^)
             OK [APPENDUID ...] ...
             > SELECT INBOX
             ...
             OK ...
             > FETCH 1 ENVELOPE
             * 1 FETCH (ENVELOPE (NIL \"\u{e4}\" NIL NIL NIL NIL NIL NIL NIL NIL))
             OK ...
             > SEARCH CHARSET UTF-8 ALL
             BAD ...",
        )
        .await;
}

#[tokio::test]
async fn flags_are_stored() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.script(FIVE).await;
    // RFC 9051 §6.4.6: also under .SILENT what others did is told; unknown system flags are BAD.
    client
        .script(
            "> STORE 1:2 FLAGS (\\Deleted)
             * 1 FETCH (FLAGS (\\Recent \\Deleted))
             * 2 FETCH (FLAGS (\\Recent \\Deleted))
             OK ...
             > STORE 2:3 +FLAGS (\\Seen $Work)
             * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)
             * 2 FETCH (FLAGS (\\Recent \\Seen \\Deleted $Work))
             * 3 FETCH (FLAGS (\\Recent \\Seen $Work))
             OK ...
             > UID STORE 3 -FLAGS \\Seen $Work
             * 3 FETCH (UID 3 FLAGS (\\Recent))
             OK ...
             > STORE 4 +FLAGS.SILENT (\\Flagged)
             OK ...
             > STORE 4 FLAGS ()
             * 4 FETCH (FLAGS (\\Recent))
             OK ...
             > STORE 9 FLAGS ()
             BAD ...
             > UID STORE 9 FLAGS (\\Seen)
             OK ...
             > STORE 1 FLAGS (\\Recent)
             BAD ...
             > STORE 1 FLAGS (\\Unknown)
             BAD ...",
        )
        .await;
}

#[tokio::test]
async fn copies_tell_where_they_went() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.script(FIVE).await;
    // RFC 4315 §3, RFC 9051 §6.4.7: a COPY to no mailbox is TRYCREATE; a UID COPY of nothing is OK without COPYUID.
    client
        .script(
            "> STORE 2 +FLAGS.SILENT (\\Flagged)
             OK ...
             > COPY 2:3,5 Archive
             OK [COPYUID #a 2:3,5 1:3] ...
             > UID COPY 4 Archive
             OK [COPYUID #a 4 4] ...
             > UID COPY 100 Archive
             OK ...
             > COPY 9 Archive
             BAD ...
             > COPY 1 nowhere
             NO [TRYCREATE] ...
             > COPY 1 INBOX
             * 6 EXISTS
             ...
             OK [COPYUID #v 1 6] ...
             > STATUS Archive (MESSAGES UIDVALIDITY)
             * STATUS \"Archive\" (MESSAGES 4 UIDVALIDITY #a)
             OK ...
             > EXAMINE Archive
             ...
             OK ...
             > FETCH 1 (FLAGS)
             * 1 FETCH (FLAGS (...\\Flagged))
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn moves_tell_where_before_they_tell_what_is_gone() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.script(FIVE).await;
    // RFC 6851 §4.3, §4.4.
    client
        .script(
            "> MOVE 2:3 Archive
             * OK [COPYUID #a 2:3 1:2] ...
             * 2 EXPUNGE
             * 2 EXPUNGE
             OK ...
             > UID MOVE 5 nowhere
             NO [TRYCREATE] ...
             > UID MOVE 5 Archive
             * OK [COPYUID #a 5 3] ...
             * 3 EXPUNGE
             OK ...
             > UID MOVE 100 Archive
             OK ...
             > STATUS INBOX (MESSAGES UIDNEXT)
             * STATUS \"INBOX\" (MESSAGES 2 UIDNEXT 6)
             OK ...
             > ENABLE QRESYNC
             * ENABLED QRESYNC
             OK ...
             > UID MOVE 1 Archive
             * OK [COPYUID #a 1 4] ...
             * VANISHED 1
             OK [HIGHESTMODSEQ #m] ...",
        )
        .await;
}

#[tokio::test]
async fn what_is_deleted_is_expunged_all_or_by_uid() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.script(FIVE).await;
    // RFC 9051 §6.4.3, §6.4.9.
    client
        .script(
            "> EXPUNGE
             OK ...
             > STORE 1,3:4 +FLAGS.SILENT (\\Deleted)
             OK ...
             > UID EXPUNGE 1:2
             * 1 EXPUNGE
             OK ...
             > UID EXPUNGE 5
             OK ...
             > EXPUNGE
             * 2 EXPUNGE
             * 2 EXPUNGE
             OK ...
             > FETCH 1:* UID
             * 1 FETCH (UID 2)
             * 2 FETCH (UID 5)
             OK ...
             > ENABLE QRESYNC
             * ENABLED QRESYNC
             OK ...
             > UID STORE 2 +FLAGS.SILENT (\\Deleted)
             * 1 FETCH (UID 2 ...MODSEQ (#m))
             OK ...
             > EXPUNGE
             * VANISHED 2
             OK [HIGHESTMODSEQ #h] ...",
        )
        .await;
}

#[tokio::test]
async fn whoever_sends_slowly_what_may_hold_nul_keeps_nobody_waiting() {
    let world = World::new().await;
    let (mut slow, mut quick) = (Client::logged_in(&world).await, Client::logged_in(&world).await);
    // RFC 3516 §4.4.
    slow.send("z APPEND INBOX ~{26+}\r\nSubject: slow\r\n\r\na\0").await;
    assert!(slow.is_silent().await);
    let large = "x".repeat(300_000);
    quick
        .script(&format!(
            "> APPEND INBOX ~{{300021+}}^Subject: quick^^\u{0}{large}^
             OK [APPENDUID ...] ...
             > SELECT INBOX
             ...
             OK ...
             > FETCH 1 (BINARY.SIZE[1] BINARY.PEEK[1]<299999.9>)
             * 1 FETCH (BINARY.SIZE[1] 300003 BINARY[1]<299999> {{4}}^xx^)
             OK ..."
        ))
        .await;
    slow.send("bcdefgh\r\n").await;
    assert!(slow.response().await.starts_with("z OK"));
}

#[tokio::test]
async fn an_account_without_a_quota_has_no_root() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 9208 §4.2.2: any number of roots stands behind the name; §7: a QUOTA response tells one resource at least.
    client
        .script(
            "> GETQUOTAROOT INBOX
             * QUOTAROOT \"INBOX\"
             OK ...
             > GETQUOTA \"\"
             NO [NONEXISTENT] ...",
        )
        .await;
}

#[tokio::test]
async fn a_message_with_nul_comes_as_a_literal8() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 9051 §9: a literal is of CHAR8, which NUL is not.
    client
        .script(
            "> APPEND INBOX {14+}^Subject: a^^ {18+}^Subject: nul^^\u{0}x
             NO [CANNOT] ...
             > STATUS INBOX (MESSAGES)
             * STATUS \"INBOX\" (MESSAGES 0)
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn no_number_is_one_of_an_empty_mailbox() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.script("> SELECT INBOX\n...\nOK ...").await;
    // RFC 9051 §9, seq-number: a number that is too large is BAD, `*` of an empty mailbox included.
    for command in
        ["FETCH 1 FLAGS", "FETCH 1:* FLAGS", "FETCH * FLAGS", "STORE 1 FLAGS ()", "COPY 1 Trash", "MOVE 1 Trash"]
    {
        client.script(&format!("> {command}\nBAD ...")).await;
    }
    client
        .script(
            "> UID FETCH 1:* FLAGS
             OK ...
             > SEARCH 1:*
             * SEARCH
             OK ...
             > FETCH $ FLAGS
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn as_many_messages_as_may_wait_are_appended_at_once() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    let most = storage::Append::MESSAGES;
    let messages = |number: usize| " {1+}^x".repeat(number);
    client.script(&format!("> APPEND INBOX{}\nOK [APPENDUID #v 1:{most}] ...", messages(most))).await;
    client.script(&format!("> APPEND INBOX{}\nNO [LIMIT] ...", messages(most + 1))).await;
    client.script(&format!("> STATUS INBOX (MESSAGES)\n* STATUS \"INBOX\" (MESSAGES {most})\nOK ...")).await;
}
