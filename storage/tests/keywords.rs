//! Keywords: as many as there are bits, each given to one name.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use storage::{Error, FlagChange};

use world::{World, actor, deliver, on_both_engines};

on_both_engines! {
    keywords_are_given_out_once
}

async fn keywords_are_given_out_once(world: World) {
    let (store, _) = world.start().await;
    let account = store.account("alice").await.unwrap().unwrap().id;
    deliver(&store, b"Subject: x\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
    let mail = store.mail(account, actor());
    let inbox = mail.open("INBOX").await.unwrap();
    let add = async |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        inbox.flag(vec![(1, 1)], FlagChange::Add, names, None).await.map(|flagged| flagged.changed)
    };
    for at in 0..57 {
        assert_eq!(add(&[&format!("k{at}")]).await, Ok(1));
    }
    assert!(matches!(add(&["one", "two"]).await, Err(Error::Invalid(_))), "there is one left");
    let mut two = mail.append("INBOX").await.unwrap();
    for name in ["one", "two"] {
        two.begin(vec![name.to_owned()], None, 1).await.unwrap();
        two.write(Bytes::from_static(b"x")).await.unwrap();
        two.end().await.unwrap();
    }
    assert!(matches!(two.commit().await, Err(Error::Invalid(_))), "for two messages too");
    assert_eq!(add(&["last"]).await, Ok(1));
    // Of nodes that share a store each hears of its own changes a second time.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(matches!(add(&["more"]).await, Err(Error::Invalid(_))));
    // Whether one is free is not looked up again before flags have changed.
    assert_eq!(world.tamper("UPDATE messages SET flags = flags & 1023").await, 1);
    assert!(matches!(add(&["more"]).await, Err(Error::Invalid(_))));
    assert_eq!(add(&["\\Seen"]).await, Ok(1));
    assert_eq!(add(&["more"]).await, Ok(1));
}
