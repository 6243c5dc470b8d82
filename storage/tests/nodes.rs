//! Several nodes on one PostgreSQL database and one bucket, and what happens when one of them is away or wrong.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::time::{Duration, Instant};

use bytes::Bytes;
use storage::{Error, Home, PutOptions, Remove, Store};

use world::{World, actor, deliver, path, put, read};

async fn alice(store: &Store) -> Home {
    let account = store.account("alice").await.unwrap().unwrap();
    store.home(account.id, actor())
}

/// Two nodes, with the same home on each.
async fn two_nodes() -> (World, World, Store, Store, Home, Home) {
    let one = World::shared().await;
    let two = one.another();
    let (first, home) = one.start().await;
    let second = Store::open(two.options()).await.unwrap();
    let other = alice(&second).await;
    (one, two, first, second, home, other)
}

fn content(length: u32) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn what_one_node_changes_the_other_sees_at_once() {
    let (_one, _two, _first, _second, here, there) = two_nodes().await;
    for number in 0..100 {
        let text = format!("version {number}");
        put(&here, "/x", text.as_bytes()).await.unwrap();
        assert_eq!(read(&there, "/x").await.unwrap(), text.as_bytes(), "no node remembers an older version");
        there.remove(&path("/x"), Remove::File, None).await.unwrap();
        assert_eq!(here.stat(&path("/x")).await.err(), Some(Error::NotFound));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn nodes_that_start_at_once_make_one_schema() {
    let one = World::shared().await;
    let nodes: Vec<World> = (0..4).map(|_| one.another()).collect();
    let opening = nodes.iter().map(|node| tokio::spawn(Store::open(node.options())));
    let mut stores = Vec::new();
    for opened in opening.collect::<Vec<_>>() {
        stores.push(opened.await.unwrap().unwrap());
    }
    assert_eq!(one.tamper("UPDATE schema_version SET version = version").await, 1);
    assert_eq!(stores[3].domains().await.unwrap(), ["example.org"]);
    stores[0].verify_audit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn the_feed_of_every_node_tells_the_changes_of_all_in_order() {
    let (_one, _two, first, second, here, there) = two_nodes().await;
    let mut feeds = [first.follow(), second.follow()];
    let writers = [(here, "a"), (there, "b")].map(|(home, name)| {
        tokio::spawn(async move {
            for number in 0..100 {
                put(&home, &format!("/{name}{number}"), b"x").await.unwrap();
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    for feed in &mut feeds {
        // The account itself was the first change.
        let mut expected = 2;
        while expected < 202 {
            let change = tokio::time::timeout(Duration::from_secs(5), feed.recv()).await.unwrap().unwrap();
            if change.account != 0 && change.number > 1 {
                assert_eq!(change.number, expected);
                expected += 1;
            }
        }
    }
    let verified = first.verify_audit().await.unwrap();
    assert_eq!((verified.changes, verified.counted), (202, 202));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn a_change_reaches_the_other_node_within_a_second() {
    let (_one, _two, first, second, _, _) = two_nodes().await;
    let account = first.account("alice").await.unwrap().unwrap().id;
    let mut feed = first.follow();
    while tokio::time::timeout(Duration::from_millis(1500), feed.recv()).await.is_ok() {}
    let mut times = Vec::new();
    for _ in 0..20 {
        deliver(&second, b"Subject: x\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
        let begun = Instant::now();
        let change = tokio::time::timeout(Duration::from_secs(20), feed.recv()).await.unwrap().unwrap();
        times.push(begun.elapsed());
        assert_eq!((change.account, &*change.action), (account, "mail.deliver"));
    }
    // A busy machine may pause at some of them, not at half.
    times.sort_unstable();
    assert!(times[10] < Duration::from_millis(400), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn many_writers_of_one_account_on_two_nodes_leave_nothing_uncounted() {
    let (_one, _two, first, second, here, there) = two_nodes().await;
    let account = first.account("alice").await.unwrap().unwrap().id;
    let mut writers = Vec::new();
    for number in 0..20 {
        for (store, home) in [(first.clone(), here.clone()), (second.clone(), there.clone())] {
            writers.push(tokio::spawn(async move {
                for round in 0..10 {
                    put(&home, &format!("/common{}", round % 3), format!("{number} {round}").as_bytes()).await.unwrap();
                    deliver(&store, b"Subject: x\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
                }
            }));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let verified = first.verify_audit().await.unwrap();
    assert_eq!((verified.changes, verified.counted), (802, 802));
    assert_eq!(first.status().await.unwrap().messages, 400);
    let used: u64 = here.list(&path("/"), None, 10).await.unwrap().iter().map(|node| node.size).sum();
    assert_eq!(here.usage().await.unwrap().used, used + 400 * 14);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn a_view_follows_a_database_that_lost_its_newest_changes() {
    let (one, _two, first, _second, _, _) = two_nodes().await;
    let account = first.account("alice").await.unwrap().unwrap().id;
    for _ in 0..3 {
        deliver(&first, b"Subject: x\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
    }
    let inbox = first.mail(account, actor()).open("INBOX").await.unwrap();
    let before = inbox.view().await.unwrap();
    assert_eq!(before.len(), 3);
    // As a standby that had not heard of the last two when it took over.
    one.tamper("DELETE FROM messages WHERE uid > 1").await;
    one.tamper("UPDATE mailboxes SET highestmodseq = highestmodseq - 2, uidnext = 2 WHERE name = 'INBOX'").await;
    let view = inbox.view().await.unwrap();
    assert_eq!((view.len(), view.uidnext, view.modseq), (1, 2, before.modseq - 2));
    assert_eq!(inbox.vanished(before.modseq).await.unwrap(), None, "a client that knows more learns what there is");
    deliver(&first, b"Subject: y\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
    assert_eq!(inbox.view().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn connections_that_are_cut_lose_and_double_nothing() {
    let (one, _two, first, _second, here, there) = two_nodes().await;
    let account = first.account("alice").await.unwrap().unwrap().id;
    let mut writers = Vec::new();
    for number in 0..8 {
        let (home, store) = (if number % 2 == 0 { here.clone() } else { there.clone() }, first.clone());
        writers.push(tokio::spawn(async move {
            let mut delivered = 0;
            for round in 0..60 {
                let name = format!("/f{number}-{round}");
                put(&home, &name, name.as_bytes()).await.unwrap();
                deliver(&store, b"Subject: x\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
                delivered += 1;
            }
            delivered
        }));
    }
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        one.tamper(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
             AND pid <> pg_backend_pid()",
        )
        .await;
    }
    let mut delivered = 0;
    for writer in writers {
        delivered += writer.await.unwrap();
    }
    assert_eq!(first.status().await.unwrap().messages, delivered, "each once, also where a commit was cut off");
    for number in 0..8 {
        for round in 0..60 {
            let name = format!("/f{number}-{round}");
            assert_eq!(read(&here, &name).await.unwrap(), name.as_bytes());
        }
    }
    first.verify_audit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn a_content_of_many_parts_comes_back_whole() {
    let (one, _two, first, _second, here, there) = two_nodes().await;
    let large = content(45_000_000);
    put(&here, "/large", &large).await.unwrap();
    assert!(read(&there, "/large").await.unwrap() == large);
    let (_, opened) = there.open(&path("/large")).await.unwrap();
    let mut reader = opened.reader(20_000_000..20_300_000);
    let mut part = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        part.extend_from_slice(&piece);
    }
    assert!(part == large[20_000_000..20_300_000]);
    let mut upload = here.put(&path("/given-up"), PutOptions::default()).await.unwrap();
    for piece in large.chunks(1_000_000) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    drop(upload);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.sweep(Duration::ZERO).await.unwrap();
        if one.tamper("UPDATE strays SET place = place").await == 0 {
            break;
        }
    }
    assert_eq!(one.blobs().await, 1, "an upload that was given up leaves nothing in the bucket");
    assert_eq!(one.tamper("UPDATE strays SET place = place").await, 0, "nor in the database");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn an_upload_that_was_taken_for_forsaken_is_not_acknowledged() {
    let (one, _two, first, _second, here, _) = two_nodes().await;
    let mut upload = here.put(&path("/x"), PutOptions::default()).await.unwrap();
    upload.write(Bytes::from(content(20_000_000))).await.unwrap();
    one.tamper("UPDATE strays SET seen = 1").await;
    first.sweep(Duration::ZERO).await.unwrap();
    assert!(matches!(upload.commit().await, Err(Error::Unavailable(_))));
    assert_eq!(here.stat(&path("/x")).await.err(), Some(Error::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn an_object_that_the_bucket_lost_is_named_and_harms_nothing_else() {
    let (one, _two, _first, _second, here, there) = two_nodes().await;
    put(&here, "/lost", &content(200_000)).await.unwrap();
    one.lose_objects().await;
    put(&here, "/kept", &content(300_000)).await.unwrap();
    let error = read(&there, "/lost").await.unwrap_err();
    assert!(error.detail().is_some_and(|text| text.contains("/lost of alice is lost")), "{error:?}");
    assert!(read(&there, "/kept").await.unwrap() == content(300_000));
    put(&here, "/lost", &content(200_000)).await.unwrap();
    assert!(read(&there, "/lost").await.unwrap() == content(200_000), "putting it again brings it back");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn a_lease_is_held_by_one_node_at_a_time() {
    let (one, _two, first, second, _, _) = two_nodes().await;
    let time = Duration::from_secs(60);
    let lease = first.lease("work", time).await.unwrap().expect("it is free");
    assert!(second.lease("work", time).await.unwrap().is_none());
    assert!(first.lease("work", time).await.unwrap().is_some(), "its holder has it longer");
    // To wait for its end would need a short one, and that may end too early on a busy machine.
    let expired = one.tamper(
        "UPDATE leases SET expires = 0 WHERE name = 'work'
         AND expires - CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) BETWEEN 1 AND 60000",
    );
    assert_eq!(expired.await, 1, "it would have lasted so long and no longer");
    assert!(second.lease("work", time).await.unwrap().is_some(), "it ran out");
    first.release_lease(lease).await.unwrap();
    assert!(first.lease("work", time).await.unwrap().is_none(), "what was ours is not ours to give up");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn a_maildrop_is_locked_on_all_nodes() {
    let (_one, _two, first, second, _, _) = two_nodes().await;
    let id = first.account("alice").await.unwrap().unwrap().id;
    let (here, there) = (first.mail(id, actor()), second.mail(id, actor()));
    let lock = here.lock_maildrop().await.unwrap();
    assert_eq!(there.lock_maildrop().await.err(), Some(Error::Busy));
    lock.unlock().await;
    let lock = there.lock_maildrop().await.unwrap();
    assert_eq!(here.lock_maildrop().await.err(), Some(Error::Busy));
    lock.unlock().await;
    here.lock_maildrop().await.unwrap().unlock().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
async fn what_is_configured_wrongly_is_told_in_one_line() {
    let world = World::shared().await;
    drop(world.start().await);
    let other_port = |url: &str| url.replacen(&url[url.rfind(':').unwrap()..url.rfind('/').unwrap()], ":9", 1);
    for (wrong, hint) in [
        (world.with_url(|_| "mysql://here/there".into()), "[storage] url is not a PostgreSQL URL"),
        (world.with_url(|url| format!("{url}_not")), "create it"),
        (world.with_url(other_port), "cannot be reached"),
        (world.with_url(|url| url.replacen('@', "x@", 1)), "correct the user and password"),
        (world.with_url(|url| format!("postgres://nobody:x@{}", url.split_once('@').unwrap().1)), "user and password"),
        (
            world.with_bucket(|bucket| bucket.bucket = bucket.prefix.replace('_', "-")),
            "create it, or correct [blobs] bucket",
        ),
        (world.with_bucket(|bucket| bucket.secret_key = "wrong".into()), "correct [blobs] secret_key"),
        (world.with_bucket(|bucket| bucket.access_key = "nobody".into()), "correct [blobs] access_key"),
        (world.with_bucket(|bucket| bucket.endpoint = "http://127.0.0.1:9".into()), "correct [blobs] endpoint"),
    ] {
        let error = Store::open(wrong.options()).await.err().unwrap_or_else(|| panic!("not told: {hint}"));
        let text = error.to_string();
        assert!(matches!(&error, Error::Invalid(_)) && text.contains(hint), "{error:?}");
        assert!(!text.contains('\n'), "{text}");
        let probed = Store::probe(&wrong.options()).await.err().unwrap();
        assert!(probed.to_string().contains(hint), "{probed:?}");
    }
}
