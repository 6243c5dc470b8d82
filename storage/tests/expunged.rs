//! Expunged messages: that they come back, and that their contents are given up once, whoever is at them together.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use storage::audit::Filter;
use storage::{Error, Mail, Store, Timestamp};

use world::{World, actor, deliver, home, on_both_engines};

on_both_engines! {
    what_is_let_go_while_it_is_restored_is_one_or_the_other
    what_is_let_go_while_its_account_is_removed_stays_with_others
    all_that_was_expunged_at_once_is_listed
    a_mailbox_that_is_restored_is_made_as_any_other
}

async fn mail(store: &Store, name: &str) -> Mail {
    let account = store.account(name).await.unwrap().unwrap();
    store.mail(account.id, actor())
}

/// Puts messages into a mailbox, each with a content of its own.
async fn fill(mail: &Mail, mailbox: &str, number: usize) {
    let mut append = mail.append(mailbox).await.unwrap();
    for at in 0..number {
        let message = format!("Subject: {mailbox} {at}\r\n\r\n");
        append.begin(vec![], None, message.len() as u64).await.unwrap();
        append.write(Bytes::from(message)).await.unwrap();
        append.end().await.unwrap();
    }
    append.commit().await.unwrap();
}

async fn expunge(mail: &Mail, mailbox: &str) -> u32 {
    mail.open(mailbox).await.unwrap().remove(vec![(1, u32::MAX)]).await.unwrap()
}

/// How many contents have another number of references than rows that refer to them.
async fn miscounted(world: &World) -> u64 {
    let sql = "UPDATE blobs SET size = size WHERE refs <> (SELECT COUNT(*) FROM messages WHERE blob = blobs.id)
         + (SELECT COUNT(*) FROM expunged WHERE blob = blobs.id)";
    world.tamper(sql).await
}

async fn what_is_let_go_while_it_is_restored_is_one_or_the_other(world: World) {
    let (store, _) = world.start().await;
    let mail = mail(&store, "alice").await;
    for round in 0..10 {
        fill(&mail, "INBOX", 100).await;
        let expunged = expunge(&mail, "INBOX").await as usize;
        let all = mail.expunged(None, Timestamp(0), None).await.unwrap();
        assert_eq!(all.len(), expunged);
        let (letting, restoring) = (store.clone(), mail.clone());
        let letting = tokio::spawn(async move { letting.forget_expunged(Duration::ZERO).await });
        tokio::time::sleep(Duration::from_millis(round * 3)).await;
        let restored = restoring.restore(all).await.unwrap();
        let gone = letting.await.unwrap().unwrap();
        assert_eq!(gone + restored, expunged, "each was let go or restored");
        assert_eq!(mail.mailbox("INBOX").await.unwrap().counts.messages as usize, restored);
        assert_eq!(miscounted(&world).await, 0);
    }
}

async fn what_is_let_go_while_its_account_is_removed_stays_with_others(world: World) {
    let (store, _) = world.start().await;
    let alice = store.account("alice").await.unwrap().unwrap().id;
    for round in 0..5 {
        home(&store, "bob", None).await;
        let bob = store.account("bob").await.unwrap().unwrap().id;
        for at in 0..40 {
            let message = format!("Subject: {round} {at}\r\n\r\n");
            let to = [(alice, "alice@example.org"), (bob, "bob@example.org")];
            deliver(&store, message.as_bytes(), &to).await.unwrap();
        }
        assert_eq!(expunge(&mail(&store, "bob").await, "INBOX").await, 40);
        let letting = store.clone();
        let letting = tokio::spawn(async move { letting.forget_expunged(Duration::ZERO).await });
        tokio::time::sleep(Duration::from_millis(round * 5)).await;
        store.remove_account(&actor(), "bob").await.unwrap();
        letting.await.unwrap().unwrap();
        assert_eq!(miscounted(&world).await, 0);
    }
    store.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(miscounted(&world).await, 0);
    let inbox = mail(&store, "alice").await.open("INBOX").await.unwrap();
    for (_, message) in inbox.view().await.unwrap().messages() {
        assert!(inbox.content(message).await.is_ok(), "what another account holds stays");
    }
}

async fn all_that_was_expunged_at_once_is_listed(world: World) {
    let (store, _) = world.start().await;
    let mail = mail(&store, "alice").await;
    fill(&mail, "INBOX", 10).await;
    let inbox = mail.open("INBOX").await.unwrap();
    while inbox.view().await.unwrap().len() as usize <= Mail::EXPUNGED {
        inbox.copy(vec![(1, u32::MAX)], 0, "INBOX").await.unwrap();
    }
    let number = expunge(&mail, "INBOX").await as usize;
    assert!(number > Mail::EXPUNGED);
    let first = mail.expunged(Some("INBOX"), Timestamp(0), None).await.unwrap();
    assert_eq!(first.len(), Mail::EXPUNGED);
    let rest = mail.expunged(Some("INBOX"), Timestamp(0), first.last()).await.unwrap();
    let mut uids: Vec<u32> = first.iter().chain(&rest).map(|message| message.uid).collect();
    uids.sort_unstable();
    assert!(uids == (1..=number as u32).collect::<Vec<_>>(), "each once");
    assert_eq!(mail.expunged(None, Timestamp(0), rest.last()).await.unwrap(), []);
}

async fn a_mailbox_that_is_restored_is_made_as_any_other(world: World) {
    let (store, _) = world.start().await;
    let mail = mail(&store, "alice").await;
    let made = async || {
        let filter = Filter { action: Some("mailbox.create".into()), limit: 100, ..Filter::default() };
        let records = store.audit(filter).await.unwrap();
        records.iter().filter(|record| record.target == "gone").count()
    };
    mail.create("gone", None).await.unwrap();
    fill(&mail, "gone", 3).await;
    mail.delete("gone").await.unwrap();
    let all = mail.expunged(Some("gone"), Timestamp(0), None).await.unwrap();
    assert_eq!(mail.restore(all.clone()).await.unwrap(), 3);
    assert_eq!(made().await, 2, "it has a record");
    assert!(mail.subscriptions().await.unwrap().contains(&"gone".to_owned()));
    mail.delete("gone").await.unwrap();
    assert_eq!(mail.restore(all).await.unwrap(), 0, "these were restored before");
    assert_eq!(mail.mailbox("gone").await, Err(Error::NotFound), "nothing is made for nothing");
    // As many mailboxes as there may be.
    let account = store.account("alice").await.unwrap().unwrap().id;
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9994)
         INSERT INTO mailboxes (account, name, uidvalidity, uidnext, highestmodseq, floor)
         SELECT {account}, 'm' || i, 1, 1, 1, 0 FROM n"
    );
    world.tamper(&sql).await;
    let all = mail.expunged(Some("gone"), Timestamp(0), None).await.unwrap();
    assert_eq!(all.len(), 3);
    let more = mail.restore(all).await;
    assert!(matches!(more, Err(Error::Invalid(_))), "{more:?}");
    assert_eq!(mail.expunged(Some("gone"), Timestamp(0), None).await.unwrap().len(), 3, "they stay where they are");
    store.verify_audit().await.unwrap();
}
