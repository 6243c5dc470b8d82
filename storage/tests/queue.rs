//! The outbound queue: what is put in leaves it once, however many work on it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use storage::{
    Claim, Delivered, Due, Envelope, Error, Fate, Manner, Notice, Onward, Portion, Queue, Store, Target, Terms,
    Timestamp, TraceId, Which,
};

use world::{World, actor, on_both_engines};

on_both_engines! {
    a_message_leaves_with_its_last_recipient
    what_is_claimed_is_nobody_elses_until_its_time_is_over
    each_destination_is_found_when_something_is_due
    a_notification_goes_with_what_it_tells_of
    an_account_sends_to_so_many_in_an_hour
    the_administrator_holds_retries_and_drops
    what_is_too_old_is_found
    what_is_due_is_divided_by_messages
    a_message_for_many_is_claimed_in_parts
}

const LONG: Duration = Duration::from_secs(600);

fn terms() -> Terms {
    Terms { lifetime: LONG, warning: None, hourly: None }
}

fn onward(address: &str) -> Onward {
    let destination = address.rsplit_once('@').unwrap().1.to_owned();
    Onward { from: "alice@example.org".into(), address: address.into(), destination, notice: Notice::default() }
}

async fn send(store: &Store, to: &[&str], here: Vec<Target>, terms: Terms) -> Result<Delivered, Error> {
    let id = store.account("alice").await.unwrap().unwrap().id;
    let onward = to.iter().map(|to| onward(to)).collect();
    let from = "alice@example.org".to_owned();
    let envelope = Envelope {
        onward,
        terms,
        manner: Manner { utf8: true, ..Manner::default() },
        ..Envelope::here(TraceId::new(), from, here)
    };
    let mut who = actor();
    who.account = Some(id);
    let mut delivery = store.delivery(who, envelope);
    delivery.write(Bytes::from_static(b"Subject: onward\r\n\r\nhello\r\n")).await.unwrap();
    delivery.commit().await
}

async fn claim(queue: &Queue, destination: &str) -> Vec<Claim> {
    queue.claim(&[destination.to_owned()], 100, LONG).await.unwrap().0
}

async fn waiting(queue: &Queue) -> usize {
    queue.list(Which::All, 0).await.unwrap().len()
}

fn recipients(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.recipient.as_str()).collect()
}

async fn a_message_leaves_with_its_last_recipient(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    let sent = send(&store, &["a@one.example", "b@two.example", "c@one.example"], vec![], terms()).await.unwrap();
    assert_eq!((sent.queued, sent.mailboxes), (3, 0));
    let claims = claim(&queue, "one.example").await;
    assert_eq!(recipients(&claims), ["a@one.example", "c@one.example"]);
    let message = claims[0].message.clone();
    assert!(message.manner.utf8 && claims[0].from == "alice@example.org");
    let content = queue.content(&message).await.unwrap();
    assert_eq!(&content.read(0..content.len()).await.unwrap()[..7], b"Subject");
    let fates = claims.into_iter().zip([Fate::Sent("250 ok".into()), Fate::Failed("550 no".into())]).collect();
    queue.settle(actor(), fates, vec![]).await.unwrap();
    assert_eq!(waiting(&queue).await, 1);
    let last = claim(&queue, "two.example").await;
    let fates = last.into_iter().map(|claim| (claim, Fate::Sent("250 ok".into()))).collect();
    queue.settle(actor(), fates, vec![]).await.unwrap();
    assert_eq!((waiting(&queue).await, world.tamper("UPDATE blobs SET size = size WHERE refs = 0").await), (0, 1));
    assert_eq!(world.tamper("DELETE FROM queued").await, 0);
    store.verify_audit().await.unwrap();
}

async fn what_is_claimed_is_nobody_elses_until_its_time_is_over(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    send(&store, &["a@one.example"], vec![], terms()).await.unwrap();
    let first = claim(&queue, "one.example").await;
    assert!(claim(&queue, "one.example").await.is_empty(), "it is claimed");
    let left = queue.due().await.unwrap().next.unwrap();
    assert!(left <= LONG && left > LONG - Duration::from_secs(60), "for so long: {left:?}");
    world.tamper("UPDATE queue SET due = 0").await;
    let second = claim(&queue, "one.example").await;
    assert_eq!(second.len(), 1, "its time is over");
    assert!(!queue.renew(&first, LONG).await.unwrap() && queue.renew(&second, LONG).await.unwrap());
    let settle = |claims: &[Claim], fate: Fate| {
        let fates = claims.iter().map(|claim| (claim.clone(), fate.clone())).collect();
        queue.settle(actor(), fates, vec![])
    };
    settle(&first, Fate::Failed("550 no".into())).await.unwrap();
    settle(&first, Fate::Deferred("450 later".into(), Duration::ZERO)).await.unwrap();
    assert!(claim(&queue, "one.example").await.is_empty(), "who lost it ends nothing");
    settle(&first, Fate::Sent("250 ok".into())).await.unwrap();
    assert_eq!(waiting(&queue).await, 0, "what was sent was sent: nobody sends it again");
    settle(&second, Fate::Deferred("450 later".into(), Duration::ZERO)).await.unwrap();
    assert_eq!(waiting(&queue).await, 0);
}

async fn each_destination_is_found_when_something_is_due(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    assert_eq!(queue.due().await.unwrap(), Due::default());
    send(&store, &["a@one.example", "b@two.example", "c@two.example", "d@three.example"], vec![], terms())
        .await
        .unwrap();
    let due = queue.due().await.unwrap();
    let all: Vec<String> = ["one", "three", "two"].map(|name| format!("{name}.example")).into();
    assert_eq!((due.destinations, due.next), (all, None));
    let claims = claim(&queue, "two.example").await;
    let fates = claims.into_iter().map(|claim| (claim, Fate::Deferred("450 later".into(), LONG))).collect();
    queue.settle(actor(), fates, vec![]).await.unwrap();
    queue.rest("one.example", LONG * 2, "connection refused").await.unwrap();
    let due = queue.due().await.unwrap();
    assert_eq!(due.destinations, ["three.example"]);
    assert!(due.next.unwrap() <= LONG && due.next.unwrap() > LONG - Duration::from_secs(60));
    queue.wake("one.example").await.unwrap();
    assert_eq!(queue.due().await.unwrap().destinations, ["one.example", "three.example"]);
    let listed = queue.list(Which::Destination("two.example".into()), 0).await.unwrap();
    assert_eq!((listed[0].attempts, listed[0].said.as_str(), listed[0].sending), (1, "450 later", false));
}

async fn a_notification_goes_with_what_it_tells_of(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    let alice = store.account("alice").await.unwrap().unwrap().id;
    send(&store, &["a@one.example"], vec![], terms()).await.unwrap();
    let notice = |quota: bool| {
        let store = store.clone();
        async move {
            let to = Target { account: alice, address: "alice@example.org".into(), detail: None };
            let mut notice = store.delivery(actor(), Envelope::here(TraceId::new(), String::new(), vec![to]));
            let size = if quota { 200_000 } else { 10 };
            notice.write(Bytes::from(vec![b'x'; size])).await.unwrap();
            notice
        }
    };
    world.tamper("UPDATE accounts SET quota = 100000 WHERE name = 'alice'").await;
    let fates = |claims: &[Claim]| claims.iter().map(|claim| (claim.clone(), Fate::Failed("550 no".into()))).collect();
    let claims = claim(&queue, "one.example").await;
    let full = queue.settle(actor(), fates(&claims), vec![notice(true).await]).await;
    assert_eq!((full, waiting(&queue).await), (Err(Error::OverQuota), 1), "one does not go without the other");
    queue.settle(actor(), fates(&claims), vec![notice(false).await]).await.unwrap();
    assert_eq!(waiting(&queue).await, 0);
    let inbox = store.mail(alice, actor()).mailbox("INBOX").await.unwrap();
    assert_eq!(inbox.counts.messages, 1);
}

async fn an_account_sends_to_so_many_in_an_hour(world: World) {
    let (store, _) = world.start().await;
    // In the next hour it may send again: it must not begin within the test.
    while Timestamp::now().0 % 3_600_000 > 3_590_000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let few = Terms { hourly: Some(3), ..terms() };
    send(&store, &["a@one.example", "b@one.example"], vec![], few).await.unwrap();
    let many = send(&store, &["c@one.example", "d@one.example"], vec![], few).await;
    assert!(matches!(many, Err(Error::TooMany(_))), "{many:?}");
    send(&store, &["c@one.example"], vec![], few).await.unwrap();
    assert!(send(&store, &["d@one.example"], vec![], few).await.is_err());
    world.tamper("UPDATE sending SET hour = hour - 2").await;
    send(&store, &["d@one.example"], vec![], few).await.unwrap();
    assert_eq!(waiting(&store.queue()).await, 4);
}

async fn the_administrator_holds_retries_and_drops(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    send(&store, &["a@one.example", "b@two.example"], vec![], terms()).await.unwrap();
    send(&store, &["a@one.example"], vec![], terms()).await.unwrap();
    assert_eq!(queue.hold(actor(), Which::Address("a@one.example".into())).await.unwrap(), 2);
    assert_eq!(queue.due().await.unwrap().destinations, ["two.example"]);
    queue.rest("one.example", LONG, "away").await.unwrap();
    let first = queue.list(Which::All, 0).await.unwrap().remove(0);
    assert!(first.held);
    assert_eq!(queue.retry(actor(), Which::Row(first.id)).await.unwrap(), 1);
    assert_eq!(recipients(&claim(&queue, "one.example").await), ["a@one.example"]);
    assert_eq!(queue.remove(actor(), Which::Trace(first.trace.clone())).await.unwrap(), 1, "one is being sent");
    assert_eq!(queue.hold(actor(), Which::Row(first.id)).await.unwrap(), 1);
    assert_eq!(queue.retry(actor(), Which::Row(first.id)).await.unwrap(), 1);
    assert!(!queue.list(Which::Row(first.id), 0).await.unwrap()[0].held, "though it is being sent");
    world.tamper("UPDATE queue SET due = 0").await;
    assert_eq!(queue.remove(actor(), Which::Address("A@One.Example".into())).await.unwrap(), 2, "its time was over");
    assert_eq!(waiting(&queue).await, 0);
    assert_eq!(world.tamper("UPDATE blobs SET size = size WHERE refs = 0").await, 1);
    store.verify_audit().await.unwrap();
}

async fn what_is_too_old_is_found(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    send(&store, &["a@one.example"], vec![], Terms { lifetime: Duration::from_millis(1), ..terms() }).await.unwrap();
    send(&store, &["b@one.example"], vec![], terms()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!queue.due().await.unwrap().expired, "it is due, and tried");
    assert!(queue.claim_expired(10, LONG).await.unwrap().is_empty());
    queue.rest("one.example", LONG, "away").await.unwrap();
    assert!(queue.due().await.unwrap().expired);
    assert_eq!(recipients(&queue.claim_expired(10, LONG).await.unwrap()), ["a@one.example"]);
    assert!(queue.claim_expired(10, LONG).await.unwrap().is_empty(), "it is claimed");
}

async fn what_is_due_is_divided_by_messages(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    let many: Vec<String> = (0..25).map(|number| format!("a{number}@one.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for to in [&many[..1], &many[..4], &many[..], &many[..2], &many[..1], &["b@two.example"]] {
        send(&store, to, vec![], terms()).await.unwrap();
    }
    assert_eq!(claim(&queue, "three.example").await.len(), 0);
    let names = |list: &[&str]| list.iter().map(|name| format!("{name}.example")).collect::<Vec<String>>();
    let portions = |each: u32| {
        let portion = |list: &[&str], parts: usize| Portion { destinations: names(list), parts, each };
        vec![portion(&["one"], 3), portion(&["two", "three"], 2)]
    };
    let counts = |found: &[Vec<Vec<Claim>>]| -> Vec<Vec<usize>> {
        found.iter().map(|parts| parts.iter().map(Vec::len).collect()).collect()
    };
    let found = queue.claim_each(portions(2), LONG).await.unwrap();
    assert_eq!(counts(&found), [vec![5, 25], vec![1]], "the oldest six rows, and all of the third message");
    let found = queue.claim_each(portions(2), LONG).await.unwrap();
    assert_eq!(counts(&found), [vec![2, 1], vec![]], "each message is in one part");
    let claims = found.into_iter().flatten().flatten();
    let fates = claims.map(|claim| (claim, Fate::Deferred("450 later".into(), Duration::ZERO))).collect();
    queue.settle(actor(), fates, vec![]).await.unwrap();
    let one = queue.claim(&names(&["one"]), 1, LONG).await.unwrap().0;
    assert_eq!(recipients(&one), ["a0@one.example", "a1@one.example"], "both of the older one");
    assert_eq!(counts(&queue.claim_each(portions(10), LONG).await.unwrap()), [vec![1], vec![]]);
    send(&store, &["a@three.example", "b@two.example"], vec![], terms()).await.unwrap();
    let (both, empty) = queue.claim(&names(&["none", "two", "three"]), 2, LONG).await.unwrap();
    assert_eq!(empty, 2, "one has nothing, of one all is claimed, and of one as much as was asked for");
    assert_eq!(recipients(&both), ["a@three.example", "b@two.example"], "what goes one way goes together");
    for name in ["a@one.example", "b@one.example", "c@one.example"] {
        send(&store, &[name], vec![], terms()).await.unwrap();
    }
    let found = queue.claim_each(portions(1), LONG).await.unwrap();
    assert_eq!(counts(&found), [vec![1, 1, 1], vec![]], "parts of one row are kept apart");
    let to = ["a@four.example", "b@five.example", "c@six.example", "d@seven.example", "e@five.example"];
    send(&store, &to, vec![], terms()).await.unwrap();
    send(&store, &to[1..3], vec![], terms()).await.unwrap();
    let (one_way, _) = queue.claim(&names(&["none", "five", "six", "seven"]), 1, LONG).await.unwrap();
    let expected = ["b@five.example", "c@six.example", "d@seven.example", "e@five.example"];
    assert_eq!(recipients(&one_way), expected, "all that a message has for them, and nothing of another one");
}

async fn a_message_for_many_is_claimed_in_parts(world: World) {
    let (store, _) = world.start().await;
    let queue = store.queue();
    let many: Vec<String> = (0..1005).map(|number| format!("a{number}@one.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    send(&store, &many, vec![], terms()).await.unwrap();
    let counts = [
        queue.claim(&["one.example".into()], 1, LONG).await.unwrap().0.len(),
        claim(&queue, "one.example").await.len(),
    ];
    assert_eq!(counts, [1000, 5]);
    let mut both = many.clone();
    both.push("b@two.example");
    send(&store, &both, vec![], terms()).await.unwrap();
    let ways = ["one.example".to_owned(), "two.example".to_owned()];
    let found = queue.claim(&ways, 1, LONG).await.unwrap().0;
    assert_eq!(found.len(), 1000, "nor is it more by a route");
    assert_eq!(claim(&queue, "two.example").await.len(), 1, "what is left is not lost");
    let wide: Vec<String> = (0..150).map(|number| format!("c@{number}.wide.example")).collect();
    let to: Vec<&str> = wide.iter().map(String::as_str).collect();
    send(&store, &to, vec![], terms()).await.unwrap();
    let ways: Vec<String> = (0..150).map(|number| format!("{number}.wide.example")).collect();
    let found = queue.claim(&ways, 1, LONG).await.unwrap().0;
    assert_eq!(found.len(), 150, "one message for more destinations than a statement names");
}
