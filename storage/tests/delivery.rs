//! Where a delivery goes: the mailboxes that a part after `+` names, each once.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::collections::BTreeSet;

use bytes::Bytes;
use storage::audit::Filter;
use storage::{Delivered, Delivery, Envelope, Error, Mail, Store, Target, TraceId};

use world::{World, actor, home, on_both_engines};

on_both_engines! {
    one_who_is_reached_by_several_addresses_gets_one_copy
    a_detail_names_a_mailbox_without_a_special_use
    who_has_no_room_is_left_out_for_the_others
    those_who_get_the_same_do_not_wait_in_a_circle
}

async fn mail(store: &Store, name: &str) -> Mail {
    let account = store.account(name).await.unwrap().unwrap();
    store.mail(account.id, actor())
}

/// Delivers to addresses that have these details.
async fn deliver(store: &Store, to: &[(i64, Option<&str>)]) -> Delivered {
    written(store, to, "Subject: x\r\n\r\n").await.commit().await.unwrap()
}

/// A delivery to addresses that have these details, of which all has come.
async fn written(store: &Store, to: &[(i64, Option<&str>)], content: &str) -> Delivery {
    let target = |(account, detail): &(i64, Option<&str>)| {
        let address = detail.map_or("x@example.org".into(), |detail| format!("x+{detail}@example.org"));
        Target { account: *account, address, detail: detail.map(str::to_owned) }
    };
    let envelope = Envelope::here(TraceId::new(), "a@b.example".into(), to.iter().map(target).collect());
    let mut delivery = store.delivery(actor(), envelope);
    delivery.write(Bytes::copy_from_slice(content.as_bytes())).await.unwrap();
    delivery
}

async fn count(mail: &Mail, mailbox: &str) -> u32 {
    mail.mailbox(mailbox).await.unwrap().counts.messages
}

async fn one_who_is_reached_by_several_addresses_gets_one_copy(world: World) {
    let (store, _) = world.start().await;
    home(&store, "bob", None).await;
    let (alice, bob) = (mail(&store, "alice").await, mail(&store, "bob").await);
    let id = async |name| store.account(name).await.unwrap().unwrap().id;
    let (a, b) = (id("alice").await, id("bob").await);
    alice.create("news", None).await.unwrap();
    let to = [(b, None), (a, Some("shop")), (a, None), (a, Some("news")), (a, Some("toys")), (a, Some("news"))];
    assert_eq!(deliver(&store, &to).await.mailboxes, 3);
    assert_eq!((count(&alice, "INBOX").await, count(&alice, "news").await, count(&bob, "INBOX").await), (1, 1, 1));
    let counted = world.tamper("UPDATE blobs SET size = size WHERE refs = 3").await;
    assert_eq!(counted, 1, "as many references as copies");
    store.verify_audit().await.unwrap();
}

async fn a_detail_names_a_mailbox_without_a_special_use(world: World) {
    let (store, _) = world.start().await;
    let alice = mail(&store, "alice").await;
    let id = store.account("alice").await.unwrap().unwrap().id;
    let special = ["Archive", "Drafts", "Junk", "Sent", "Trash"];
    for (number, detail) in (1..).zip(special) {
        deliver(&store, &[(id, Some(detail))]).await;
        assert_eq!((count(&alice, detail).await, count(&alice, "INBOX").await), (0, number));
    }
    alice.create("lists/rust", None).await.unwrap();
    deliver(&store, &[(id, Some("lists/rust")), (id, Some("Trash"))]).await;
    assert_eq!((count(&alice, "lists/rust").await, count(&alice, "INBOX").await), (1, 6));
}

async fn who_has_no_room_is_left_out_for_the_others(world: World) {
    let (store, _) = world.start().await;
    home(&store, "tiny", Some(100)).await;
    let id = async |name| store.account(name).await.unwrap().unwrap().id;
    let (alice, tiny) = (id("alice").await, id("tiny").await);
    let room = async |account, size| store.has_room(account, size).await.unwrap();
    assert!(room(tiny, 100).await && !room(tiny, 101).await && room(alice, u64::MAX).await);
    mail(&store, "tiny").await.create("shop", None).await.unwrap();
    let content = "x".repeat(60);
    let full = async |to: &[(i64, Option<&str>)]| written(&store, to, &content).await.without_room().await.unwrap();
    let (none, tiny_alone) = (BTreeSet::new(), BTreeSet::from([tiny]));
    assert_eq!(full(&[(tiny, None), (tiny, Some("toys")), (alice, None)]).await, none, "one copy fits");
    assert_eq!(full(&[(tiny, None), (tiny, Some("shop")), (alice, None)]).await, tiny_alone, "two do not");
    written(&store, &[(tiny, None)], &content).await.commit().await.unwrap();
    assert!(room(tiny, 40).await && !room(tiny, 41).await);
    assert_eq!(full(&[(tiny, None)]).await, none, "there are no others");
    let all = [(tiny, Some("toys")), (alice, None)];
    assert_eq!(written(&store, &all, &content).await.commit().await, Err(Error::OverQuota));
    let mut delivery = written(&store, &all, &content).await;
    delivery.leave_out(&delivery.without_room().await.unwrap()).await;
    assert_eq!(delivery.commit().await.unwrap().mailboxes, 1);
    assert_eq!(count(&mail(&store, "alice").await, "INBOX").await, 1);
    assert_eq!(count(&mail(&store, "tiny").await, "INBOX").await, 1);
    let filter = Filter { outcome: Some("refused".into()), limit: 1, ..Filter::default() };
    let record = store.audit(filter).await.unwrap().remove(0);
    assert_eq!((&*record.action, &*record.target), ("mail.deliver", "x+toys@example.org"), "who got nothing");
    store.verify_audit().await.unwrap();
}

async fn those_who_get_the_same_do_not_wait_in_a_circle(world: World) {
    let (store, _) = world.start().await;
    let names: Vec<String> = (0..8).map(|number| format!("u{number}")).collect();
    let mut all = Vec::new();
    for (number, name) in names.iter().enumerate() {
        home(&store, name, None).await;
        let (store, account) = (store.clone(), store.account(name).await.unwrap().unwrap().id);
        // Each content has one row, and each account counts references of all of them, in an order of its own.
        all.push(tokio::spawn(async move {
            for turn in 0..80 {
                let content = format!("Subject: {}\r\n\r\n", (turn * (2 * number + 1) + number) % 10);
                world::deliver(&store, content.as_bytes(), &[(account, "x@example.org")]).await.unwrap();
            }
        }));
    }
    for one in all {
        one.await.unwrap();
    }
    for name in &names {
        assert_eq!(count(&mail(&store, name).await, "INBOX").await, 80);
    }
    store.verify_audit().await.unwrap();
    drop(store);
    // What a connection has counted is told when it ends.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(world.deadlocks().await, 0);
}
