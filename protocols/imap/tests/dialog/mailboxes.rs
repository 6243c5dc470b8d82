//! Mailboxes made, renamed, deleted, subscribed to and listed.

use crate::client::Client;
use crate::world::World;

/// What every new account has.
const OWN: &str = "* LIST (\\HasNoChildren \\Archive) \"/\" \"Archive\"
    * LIST (\\HasNoChildren \\Drafts) \"/\" \"Drafts\"
    * LIST (\\HasNoChildren) \"/\" \"INBOX\"
    * LIST (\\HasNoChildren \\Junk) \"/\" \"Junk\"
    * LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"
    * LIST (\\HasNoChildren \\Trash) \"/\" \"Trash\"";

#[tokio::test]
async fn a_new_account_has_mailboxes_for_special_uses() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client.script(&format!("> LIST \"\" *\n{OWN}\nOK ...\n> LIST \"\" %\n{OWN}\nOK ...")).await;
    // RFC 9051 §6.3.9: the separator; RFC 2342: the namespaces; RFC 6154 §2 and §5.2.
    client
        .script(
            "> LIST \"\" \"\"
             * LIST (\\Noselect) \"/\" \"\"
             OK ...
             > LSUB \"\" \"\"
             * LSUB (\\Noselect) \"/\" \"\"
             OK ...
             > NAMESPACE
             * NAMESPACE ((\"\" \"/\")) NIL NIL
             OK ...
             > LIST (SPECIAL-USE) \"\" *
             * LIST (\\HasNoChildren \\Archive) \"/\" \"Archive\"
             * LIST (\\HasNoChildren \\Drafts) \"/\" \"Drafts\"
             * LIST (\\HasNoChildren \\Junk) \"/\" \"Junk\"
             * LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"
             * LIST (\\HasNoChildren \\Trash) \"/\" \"Trash\"
             OK ...
             > LIST \"\" Sent RETURN (SPECIAL-USE)
             * LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"
             OK ...
             > LIST \"\" inbox
             * LIST (\\HasNoChildren) \"/\" \"INBOX\"
             OK ...
             > LIST \"\" nowhere
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn create_delete_and_rename() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 9051 §6.3.4 to §6.3.6, RFC 5530 §3, RFC 8474 §4.1.
    client
        .script(
            "> CREATE a/b/c/
             OK [MAILBOXID (#c)] ...
             > CREATE a/b/c
             NO [ALREADYEXISTS] ...
             > CREATE inbox
             NO [ALREADYEXISTS] ...
             > LIST \"\" a*
             * LIST (\\Noselect \\HasChildren) \"/\" \"a\"
             * LIST (\\Noselect \\HasChildren) \"/\" \"a/b\"
             * LIST (\\HasNoChildren) \"/\" \"a/b/c\"
             OK ...
             > SELECT a
             NO ...
             > RENAME a x/y
             OK ...
             > LIST \"\" x/*
             * LIST (\\Noselect \\HasChildren) \"/\" \"x/y\"
             * LIST (\\Noselect \\HasChildren) \"/\" \"x/y/b\"
             * LIST (\\HasNoChildren) \"/\" \"x/y/b/c\"
             OK ...
             > STATUS x/y/b/c (MAILBOXID)
             * STATUS \"x/y/b/c\" (MAILBOXID (#c))
             OK ...
             > RENAME nowhere z
             NO [NONEXISTENT] ...
             > RENAME x/y/b/c Trash
             NO [ALREADYEXISTS] ...
             > DELETE INBOX
             NO ...
             > DELETE nowhere
             NO [NONEXISTENT] ...
             > DELETE x/y/b/c
             OK ...
             > LIST \"\" x*
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn a_deleted_level_stays_while_there_is_something_below_it() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 9051 §6.3.5.
    client
        .script(
            "> CREATE a
             OK ...
             > CREATE a/b
             OK ...
             > DELETE a
             OK ...
             > LIST \"\" a*
             * LIST (\\Noselect \\HasChildren) \"/\" \"a\"
             * LIST (\\HasNoChildren) \"/\" \"a/b\"
             OK ...
             > DELETE a
             NO ...
             > CREATE a
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn renaming_inbox_moves_its_mail() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 9051 §6.3.6: INBOX stays, empty; what is below it stays where it is.
    client
        .script(
            "> APPEND INBOX {14+}^Subject: a^^
             OK ...
             > CREATE INBOX/below
             OK ...
             > RENAME INBOX old
             OK ...
             > STATUS old (MESSAGES)
             * STATUS \"old\" (MESSAGES 1)
             OK ...
             > STATUS INBOX (MESSAGES)
             * STATUS \"INBOX\" (MESSAGES 0)
             OK ...
             > LIST \"\" *below
             * LIST (\\HasNoChildren) \"/\" \"INBOX/below\"
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn a_uidvalidity_is_not_used_again() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client
        .script(
            "> CREATE a
             OK ...
             > STATUS a (UIDVALIDITY)
             * STATUS \"a\" (UIDVALIDITY #first)
             OK ...
             > DELETE a
             OK ...
             > CREATE a
             OK ...
             > STATUS a (UIDVALIDITY)
             * STATUS \"a\" (UIDVALIDITY #second)
             OK ...",
        )
        .await;
    assert!(client.word("first").parse::<u32>().unwrap() < client.word("second").parse().unwrap());
}

#[tokio::test]
async fn special_uses_are_made() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 6154 §3: USEATTR where it cannot be done.
    client
        .script(
            "> CREATE mine (USE (\\Archive))
             OK ...
             > CREATE \"mine too\" (USE (\\archive))
             OK ...
             > LIST (SPECIAL-USE) \"\" m*
             * LIST (\\HasNoChildren \\Archive) \"/\" \"mine\"
             * LIST (\\HasNoChildren \\Archive) \"/\" \"mine too\"
             OK ...
             > CREATE all (USE (\\All))
             NO [USEATTR] ...
             > CREATE odd (USE (\\Odd))
             NO [USEATTR] ...
             > CREATE plain (USE ())
             OK ...",
        )
        .await;
}

#[tokio::test]
async fn names_are_utf7_until_utf8_is_enabled() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    // RFC 3501 §5.1.3; RFC 6855 §3; RFC 9051 §5.1, appendix A.1.
    client
        .script(
            "> CREATE &ZeVnLIqe-
             OK ...
             > CREATE R&-D
             OK ...
             > LIST \"\" R&-*
             * LIST (\\HasNoChildren) \"/\" \"R&-D\"
             OK ...
             > LIST \"\" &ZeVnLIqe-
             * LIST (\\HasNoChildren) \"/\" \"&ZeVnLIqe-\"
             OK ...
             > STATUS \"\u{65e5}\u{672c}\u{8a9e}\" (MESSAGES)
             * STATUS \"&ZeVnLIqe-\" (MESSAGES 0)
             OK ...
             > ENABLE UTF8=ACCEPT
             * ENABLED UTF8=ACCEPT
             OK ...
             > LIST \"\" \"\u{65e5}*\"
             * LIST (\\HasNoChildren) \"/\" \"\u{65e5}\u{672c}\u{8a9e}\"
             OK ...
             > LIST \"\" R*
             * LIST (\\HasNoChildren) \"/\" \"R&D\"
             OK ...
             > SELECT R&D
             ...
             OK ...",
        )
        .await;
}
