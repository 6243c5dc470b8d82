//! Several messages put into a mailbox at once: what they may take while they wait for each other.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use bytes::Bytes;
use storage::{Append, Error, Mail, Store};

use world::{World, actor, on_both_engines};

on_both_engines! {
    messages_that_wait_hold_no_files
    as_many_as_may_wait_are_taken
    what_waits_in_memory_is_bounded
}

async fn start(world: &World) -> (Store, Mail) {
    let (store, _) = world.start().await;
    let account = store.account("alice").await.unwrap().unwrap();
    let mail = store.mail(account.id, actor());
    (store, mail)
}

async fn add(append: &mut Append, message: &[u8]) -> Result<(), Error> {
    append.begin(vec![], None, message.len() as u64).await?;
    append.write(Bytes::copy_from_slice(message)).await?;
    append.end().await
}

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn messages_that_wait_hold_no_files(world: World) {
    let (_store, mail) = start(&world).await;
    let large = |at: usize| [format!("Subject: {at}\r\n\r\n").into_bytes(), vec![b'x'; 100_000]].concat();
    let mut append = mail.append("INBOX").await.unwrap();
    add(&mut append, &large(0)).await.unwrap();
    let before = files();
    for at in 1..40 {
        add(&mut append, &large(at)).await.unwrap();
    }
    let after = files();
    assert!(after < before + 20, "{before} files before, {after} after");
    assert_eq!(append.commit().await.unwrap().messages, 40);
    let inbox = mail.open("INBOX").await.unwrap();
    let view = inbox.view().await.unwrap();
    let last = inbox.content(view.message(40).unwrap()).await.unwrap();
    assert!(last.read(0..last.len()).await.unwrap() == large(39));
}

async fn as_many_as_may_wait_are_taken(world: World) {
    let (_store, mail) = start(&world).await;
    let mut append = mail.append("INBOX").await.unwrap();
    for at in 0..Append::MESSAGES {
        add(&mut append, format!("Subject: {at}\r\n\r\n").as_bytes()).await.unwrap();
    }
    let more = append.begin(vec![], None, 10).await;
    assert!(matches!(more, Err(Error::Invalid(_))), "{more:?}");
    assert_eq!(append.commit().await.unwrap().messages as usize, Append::MESSAGES);
}

async fn what_waits_in_memory_is_bounded(world: World) {
    let (_store, mail) = start(&world).await;
    let mut append = mail.append("INBOX").await.unwrap();
    let message = vec![b'x'; 60_000];
    let mut taken = 0;
    let refused = loop {
        match add(&mut append, &message).await {
            Ok(()) => taken += message.len(),
            Err(error) => break error,
        }
        assert!(taken < Append::HELD + message.len());
    };
    assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
    assert!(taken > Append::HELD / 2);
}
