//! The store through its public face, on both engines: durable, counted, audited, and tidy after a crash.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::time::Duration;

use bytes::Bytes;
use storage::audit::{Broken, Filter};
use storage::{
    Actor, CredentialKind, Error, NewAppPassword, Options, PutOptions, Remove, Scope, Store, VPath, Verifier,
};

use world::{World, actor, deliver, home, on_both_engines, path, put, read};

// Every test here, once on each engine. Those on PostgreSQL and S3 need servers, which `tests/run` starts.
on_both_engines! {
    files_come_back_as_they_went
    an_unfinished_upload_leaves_nothing
    one_content_is_kept_once_and_swept_when_nothing_refers_to_it
    quotas_count_files_and_mail_together
    sizes_beyond_32_bits_are_counted
    a_message_reaches_all_or_none
    names_move_as_they_should
    an_offset_keeps_what_was_there
    a_hundred_writers_share_commits_and_every_change_is_counted
    the_feed_tells_every_change_in_order
    a_store_of_the_future_is_left_alone
    a_record_that_was_touched_is_named
    a_removed_account_takes_everything_with_it
    addresses_find_their_accounts
    the_reserve_of_the_disk_is_kept
    app_passwords_come_and_go_and_outlive_the_password
    who_may_only_read_changes_nothing
    a_secret_is_made_once
}

fn large(seed: u8) -> Vec<u8> {
    (0..700_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

async fn files_come_back_as_they_went(world: World) {
    let (store, home) = world.start().await;
    for (name, content) in
        [("/empty", vec![]), ("/small", b"hello".to_vec()), ("/edge", vec![7; 65_536]), ("/large", large(1))]
    {
        let stored = put(&home, name, &content).await.unwrap();
        assert!(stored.created && stored.node.size == content.len() as u64);
        assert_eq!(read(&home, name).await.unwrap(), content, "{name}");
    }
    assert_eq!(world.blobs().await, 1, "only the large one is a file, and nothing else was left");
    let names: Vec<String> =
        home.list(&VPath::root(), Some("edge"), 2).await.unwrap().into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["empty", "large"], "one page after a name");
    drop((home, store));
    let store = world.reopen().await;
    let account = store.account("alice").await.unwrap().unwrap();
    assert_eq!(read(&store.home(account.id, actor()), "/large").await.unwrap(), large(1), "after a restart too");
}

async fn an_unfinished_upload_leaves_nothing(world: World) {
    let (_store, home) = world.start().await;
    let mut upload = home.put(&path("/x"), PutOptions::default()).await.unwrap();
    upload.write(Bytes::from(large(2))).await.unwrap();
    drop(upload);
    for _ in 0..100 {
        if world.blobs().await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((home.stat(&path("/x")).await.err(), world.blobs().await), (Some(Error::NotFound), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_tidied() {
    let world = World::embedded();
    let folder = world.folder();
    let (store, home) = world.start().await;
    put(&home, "/kept", &large(3)).await.unwrap();
    drop((home, store));
    // A crash after the file was placed and before the commit: two names, no row.
    let name = format!("{}.0123456789abcdef", "ab".repeat(32));
    std::fs::create_dir_all(folder.join("blobs/ab")).unwrap();
    std::fs::write(folder.join("blobs/new").join(&name), b"lost").unwrap();
    std::fs::hard_link(folder.join("blobs/new").join(&name), folder.join("blobs/ab").join(&name)).unwrap();
    std::fs::write(folder.join("blobs/new/0123456789abcdef"), b"half").unwrap();
    let store = world.reopen().await;
    assert_eq!(world.blobs().await, 1, "what no row names is gone");
    let account = store.account("alice").await.unwrap().unwrap();
    assert_eq!(read(&store.home(account.id, actor()), "/kept").await.unwrap(), large(3));
}

async fn one_content_is_kept_once_and_swept_when_nothing_refers_to_it(world: World) {
    let (store, home) = world.start().await;
    put(&home, "/a", &large(4)).await.unwrap();
    put(&home, "/b", &large(4)).await.unwrap();
    home.copy(&path("/a"), &path("/c"), false).await.unwrap();
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), 0, "the second object of one content is no blob");
    assert_eq!((world.blobs().await, store.status().await.unwrap().blobs), (1, 1));
    for name in ["/a", "/b"] {
        home.remove(&path(name), Remove::File, None).await.unwrap();
    }
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(read(&home, "/c").await.unwrap(), large(4));
    home.remove(&path("/c"), Remove::File, None).await.unwrap();
    assert_eq!((store.sweep(Duration::ZERO).await.unwrap(), world.blobs().await), (1, 0));
    put(&home, "/a", &large(4)).await.unwrap();
    assert_eq!(read(&home, "/a").await.unwrap(), large(4), "a swept content comes back when it is put again");
}

async fn quotas_count_files_and_mail_together(world: World) {
    let (store, _) = world.start().await;
    let bob = home(&store, "bob", Some(1000)).await;
    let account = store.account("bob").await.unwrap().unwrap().id;
    put(&bob, "/x", &[1; 600]).await.unwrap();
    assert_eq!(deliver(&store, &[b'x'; 500], &[(account, "bob@example.org")]).await, Err(Error::OverQuota));
    deliver(&store, &[b'x'; 300], &[(account, "bob@example.org")]).await.unwrap();
    assert_eq!(put(&bob, "/y", &[1; 200]).await.err(), Some(Error::OverQuota));
    put(&bob, "/x", &[1; 700]).await.expect("what is replaced does not count");
    assert_eq!(bob.usage().await.unwrap().used, 1000);
    assert_eq!(bob.copy(&path("/x"), &path("/z"), false).await, Err(Error::OverQuota));
    bob.remove(&path("/x"), Remove::File, None).await.unwrap();
    assert_eq!(bob.usage().await.unwrap().used, 300);
    let refused =
        store.audit(Filter { outcome: Some("refused".into()), limit: 10, ..Filter::default() }).await.unwrap();
    assert_eq!(refused.len(), 3, "each refusal is recorded");
    store.verify_audit().await.unwrap();
}

async fn sizes_beyond_32_bits_are_counted(world: World) {
    let (store, home) = world.start().await;
    put(&home, "/x", b"x").await.unwrap();
    let huge = 5_000_000_000_i64;
    for sql in
        ["UPDATE nodes SET size = 5000000000 WHERE folder = 0", "UPDATE accounts SET used = 5000000000 WHERE id > 0"]
    {
        assert_eq!(world.tamper(sql).await, 1);
    }
    home.copy(&path("/x"), &path("/y"), false).await.unwrap();
    assert_eq!(home.usage().await.unwrap().used, 2 * huge as u64);
    home.remove(&path("/y"), Remove::Tree, None).await.unwrap();
    store.set_quota(&actor(), "alice", Some(huge + 10)).await.unwrap();
    assert_eq!(home.copy(&path("/x"), &path("/z"), false).await, Err(Error::OverQuota));
    assert_eq!(home.usage().await.unwrap().used, huge as u64);
}

async fn a_message_reaches_all_or_none(world: World) {
    let (store, _) = world.start().await;
    home(&store, "bob", Some(100)).await;
    let id = |name: &'static str| {
        let store = store.clone();
        async move { store.account(name).await.unwrap().unwrap().id }
    };
    let (alice, bob) = (id("alice").await, id("bob").await);
    let to = [(alice, "alice@example.org"), (bob, "bob@example.org")];
    assert_eq!(deliver(&store, &[b'x'; 200], &to).await, Err(Error::OverQuota));
    assert_eq!(store.status().await.unwrap().messages, 0);
    let delivered = deliver(&store, b"Subject: x\r\n\r\ny\r\n", &[to[0], to[1], to[0]]).await.unwrap();
    assert_eq!((delivered.mailboxes, store.status().await.unwrap().blobs), (2, 1), "one copy each, one content");
}

async fn names_move_as_they_should(world: World) {
    let (store, home) = world.start().await;
    for folder in ["/a", "/a/b", "/c"] {
        home.mkdir(&path(folder)).await.unwrap();
    }
    put(&home, "/a/b/x", b"x").await.unwrap();
    put(&home, "/c/x", b"y").await.unwrap();
    assert!(matches!(home.rename(&path("/a"), &path("/a/b/a"), true).await, Err(Error::Invalid(_))));
    assert!(matches!(home.copy(&path("/a/b/x"), &path("/a/b"), true).await, Err(Error::Invalid(_))));
    assert_eq!(home.rename(&path("/a/b/x"), &path("/c/x"), false).await, Err(Error::Exists));
    assert_eq!(home.rename(&path("/a/b/x"), &path("/c/x"), true).await, Ok(true));
    assert_eq!(read(&home, "/c/x").await.unwrap(), b"x");
    assert!(matches!(home.remove(&path("/a"), Remove::EmptyFolder, None).await, Err(Error::Invalid(_))));
    home.copy(&path("/c"), &path("/a/b/c"), false).await.unwrap();
    assert_eq!(read(&home, "/a/b/c/x").await.unwrap(), b"x");
    home.remove(&path("/a"), Remove::Tree, None).await.unwrap();
    assert_eq!(home.stat(&path("/a/b/c/x")).await.err(), Some(Error::NotFound), "the cache knows it too");
    assert_eq!(home.usage().await.unwrap().used, 1);
    assert_eq!(home.mkdir(&path("/nowhere/x")).await.err(), Some(Error::NotFound));
    assert!(matches!(home.mkdir(&path("/c/x/y")).await, Err(Error::Invalid(_))));
    store.verify_audit().await.unwrap();
}

async fn an_offset_keeps_what_was_there(world: World) {
    let (_store, home) = world.start().await;
    put(&home, "/x", b"hello world").await.unwrap();
    let with = |offset| PutOptions { offset: Some(offset), ..PutOptions::default() };
    let mut upload = home.put(&path("/x"), with(6)).await.unwrap();
    upload.write(Bytes::from_static(b"there")).await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(read(&home, "/x").await.unwrap(), b"hello there");
    assert!(matches!(home.put(&path("/x"), with(12)).await.err(), Some(Error::Invalid(_))));
}

async fn a_hundred_writers_share_commits_and_every_change_is_counted(world: World) {
    let (store, home) = world.start().await;
    let writers = (0..100).map(|number| {
        let home = home.clone();
        tokio::spawn(async move {
            for piece in 0..5 {
                put(&home, &format!("/f{number}-{piece}"), format!("{number} {piece}").as_bytes()).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let verified = store.verify_audit().await.unwrap();
    // The domain, the account, five hundred files.
    assert_eq!((verified.changes, verified.counted), (502, 502));
}

async fn the_feed_tells_every_change_in_order(world: World) {
    let (store, home) = world.start().await;
    let mut feed = store.follow();
    for number in 0..10 {
        put(&home, &format!("/f{number}"), b"x").await.unwrap();
    }
    for number in 2..12 {
        let mut change = feed.recv().await.unwrap();
        while change.number < number {
            // Made just before it was followed.
            change = feed.recv().await.unwrap();
        }
        assert_eq!((change.number, &*change.action), (number, "file.put"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_turned_away() {
    let world = World::embedded();
    let (_store, _) = world.start().await;
    assert_eq!(Store::open(world.options()).await.err(), Some(Error::Busy));
}

async fn a_store_of_the_future_is_left_alone(world: World) {
    let (store, home) = world.start().await;
    drop((store, home));
    world.reopen().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.tamper("INSERT INTO schema_version VALUES (999, 0)").await, 1);
    let error = world.try_reopen().await.err().unwrap();
    assert!(matches!(&error, Error::Invalid(text) if text.contains("999")), "{error:?}");
}

async fn a_record_that_was_touched_is_named(world: World) {
    let (store, home) = world.start().await;
    for number in 0..40 {
        put(&home, &format!("/f{number}"), b"x").await.unwrap();
    }
    // The longest of the chains, its last record, and one before that.
    let records = store.audit(Filter { limit: 100, ..Filter::default() }).await.unwrap();
    let end = records.iter().max_by_key(|record| record.seq).unwrap();
    let (chain, last, seq) = (end.chain, end.seq, end.seq - 2);
    let old = records.iter().find(|record| (record.chain, record.seq) == (chain, seq)).unwrap();
    let place = |seq: i64| format!("WHERE chain = {chain} AND seq = {seq}");
    for (spoil, mend) in [
        ("target = '/other'".to_owned(), format!("target = '{}'", old.target)),
        ("time = time + 1".to_owned(), "time = time - 1".to_owned()),
        ("actor = 9".to_owned(), "actor = NULL".to_owned()),
        ("node = 'other'".to_owned(), format!("node = '{}'", old.node)),
    ] {
        assert_eq!(world.tamper(&format!("UPDATE audit SET {spoil} {}", place(seq))).await, 1);
        assert_eq!(store.verify_audit().await, Err(Broken::Altered { chain, seq }), "{spoil}");
        assert_eq!(world.tamper(&format!("UPDATE audit SET {mend} {}", place(seq))).await, 1);
        store.verify_audit().await.unwrap();
    }
    world.tamper(&format!("DELETE FROM audit {}", place(last))).await;
    assert_eq!(store.verify_audit().await, Err(Broken::Cut { chain, found: last - 1, expected: last }));
    world.tamper(&format!("DELETE FROM audit {}", place(seq - 1))).await;
    assert_eq!(store.verify_audit().await, Err(Broken::Unchained { chain, seq }));
}

async fn a_removed_account_takes_everything_with_it(world: World) {
    let (store, home) = world.start().await;
    let account = store.account("alice").await.unwrap().unwrap().id;
    put(&home, "/x", &large(5)).await.unwrap();
    deliver(&store, b"Subject: x\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
    store.remove_account(&actor(), "alice").await.unwrap();
    store.sweep(Duration::ZERO).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.accounts, status.files, status.messages, status.blobs), (0, 0, 0, 0));
    assert_eq!(world.blobs().await, 0);
    assert_eq!(home.stat(&path("/x")).await.err(), Some(Error::NotFound));
    store.verify_audit().await.unwrap();
    self::home(&store, "alice", None).await;
}

async fn addresses_find_their_accounts(world: World) {
    let (store, _) = world.start().await;
    home(&store, "bob", None).await;
    store.set_alias(&actor(), "team@example.org", vec!["alice".into(), "bob".into()]).await.unwrap();
    let found = |local: &'static str, domain: &'static str| {
        let store = store.clone();
        async move { store.resolve(local, domain).await.unwrap().map(|found| found.accounts.len()) }
    };
    assert_eq!(found("Alice", "EXAMPLE.org").await, Some(1));
    assert_eq!(found("alice+list", "example.org").await, Some(1));
    assert_eq!(found("team", "example.org").await, Some(2));
    assert_eq!(found("nobody", "example.org").await, Some(0));
    store
        .set_alias(&actor(), "sales@example.org", vec!["team@example.org".into(), "x@away.example".into()])
        .await
        .unwrap();
    let sales = store.resolve("sales", "example.org").await.unwrap().unwrap();
    assert_eq!((sales.accounts.len(), sales.onward), (2, ["x@away.example".to_owned()].into()), "aliases of aliases");
    store.set_alias(&actor(), "@example.org", vec!["bob".into()]).await.unwrap();
    assert_eq!(found("nobody", "example.org").await, Some(1), "the catch-all");
    assert_eq!(found("alice", "example.org").await, Some(1), "somebody has it");
    store.set_alias(&actor(), "one@example.org", vec!["two@example.org".into()]).await.unwrap();
    store.set_alias(&actor(), "two@example.org", vec!["one@example.org".into()]).await.unwrap();
    assert_eq!(found("one", "example.org").await, Some(0), "round in circles, to nobody");
    let own = ["bob@example.org", "x@away.example"].map(str::to_owned).to_vec();
    store.set_alias(&actor(), "bob@example.org", own).await.unwrap();
    let bob = store.resolve("bob", "example.org").await.unwrap().unwrap();
    assert_eq!((bob.accounts.len(), bob.onward.len()), (1, 1), "its own account, and another");
    store.set_alias(&actor(), "bob@example.org", vec!["x@away.example".into()]).await.unwrap();
    store
        .set_alias(&actor(), "both@example.org", vec!["bob@example.org".into(), "via@example.org".into()])
        .await
        .unwrap();
    store.set_alias(&actor(), "via@example.org", vec!["bob@example.org".into()]).await.unwrap();
    let both = store.resolve("both", "example.org").await.unwrap().unwrap();
    assert_eq!((both.accounts.len(), both.onward.len()), (0, 1), "two ways that lead to one are no circle");
    store.remove_alias(&actor(), "bob@example.org").await.unwrap();
    assert_eq!(found("alice", "elsewhere.example").await, None);
    store.add_domain(&actor(), "b\u{fc}cher.example", Vec::new()).await.unwrap();
    assert_eq!(found("alice", "xn--bcher-kva.example").await, Some(1), "both forms are one");
    assert_eq!(found("alice", "B\u{dc}CHER.example").await, Some(1), "both forms are one");
    assert!(store.add_domain(&actor(), "xn--bcher-kva.example", Vec::new()).await.is_err());
    assert!(store.set_alias(&actor(), "x@elsewhere.example", vec!["bob".into()]).await.is_err());
}

async fn the_reserve_of_the_disk_is_kept(world: World) {
    let full = Options { reserve: u64::MAX, ..world.options() };
    let store = Store::open(full).await.unwrap();
    let alice = home(&store, "alice", None).await;
    let account = store.account("alice").await.unwrap().unwrap().id;
    assert_eq!(put(&alice, "/x", b"x").await.err(), Some(Error::Full));
    assert_eq!(deliver(&store, b"x", &[(account, "alice@example.org")]).await, Err(Error::Full));
    alice.mkdir(&path("/still")).await.expect("what takes no room goes on");
    store.verify_audit().await.unwrap();
}

fn verifier(text: &str) -> Verifier {
    Verifier { hash: text.into(), scram: format!("scram of {text}") }
}

async fn app_passwords_come_and_go_and_outlive_the_password(world: World) {
    let (store, _) = world.start().await;
    home(&store, "bob", None).await;
    let scope = Scope { protocols: vec!["imap".into(), "smtp".into()], read_only: true, expires: Some(1 << 50) };
    let phone = NewAppPassword { label: "phone".into(), scope: scope.clone(), verifier: verifier("one") };
    let id = store.add_app_password(&actor(), "Alice", phone.clone()).await.unwrap();
    let everything = NewAppPassword { label: "büro".into(), scope: Scope::default(), verifier: verifier("two") };
    let other = store.add_app_password(&actor(), "alice", everything).await.unwrap();
    store.change_password(&actor(), "alice", verifier("first")).await.unwrap();
    store.change_password(&actor(), "alice", verifier("second")).await.unwrap();
    let (_, held) = store.credentials("alice").await.unwrap().unwrap();
    let seen: Vec<_> = held.iter().map(|one| (one.kind, one.verifier.hash.as_str(), one.label.as_str())).collect();
    let app = CredentialKind::AppPassword;
    assert_eq!(seen, [(app, "one", "phone"), (app, "two", "büro"), (CredentialKind::Password, "second", "")]);
    assert_eq!((&held[0].scope, &held[1].scope, held[0].id), (&scope, &Scope::default(), id));
    assert_eq!(held[2].verifier.scram, "scram of second");
    assert!(matches!(store.remove_app_password(&actor(), "bob", id).await, Err(Error::Invalid(_))), "alice's");
    let password = held[2].id;
    assert!(matches!(store.remove_app_password(&actor(), "alice", password).await, Err(Error::Invalid(_))));
    store.remove_app_password(&actor(), "alice", id).await.unwrap();
    assert!(store.remove_app_password(&actor(), "alice", id).await.is_err(), "once");
    assert!(store.add_app_password(&actor(), "nobody", phone.clone()).await.is_err());
    assert!(
        store
            .add_app_password(&actor(), "bob", NewAppPassword { label: "a\nb".into(), ..phone.clone() })
            .await
            .is_err()
    );
    for _ in 0..100 {
        store.add_app_password(&actor(), "bob", phone.clone()).await.unwrap();
    }
    assert!(
        matches!(store.add_app_password(&actor(), "bob", phone).await, Err(Error::Invalid(_))),
        "a hundred at most"
    );
    let filter = Filter { action: Some("account.app-password.remove".into()), limit: 3, ..Filter::default() };
    let told = store.audit(filter).await.unwrap();
    assert_eq!((told.len(), told[0].target.as_str()), (1, "alice"));
    assert_eq!(told[0].detail, format!("id={id} label=\"phone\""));
    store.remove_account(&actor(), "alice").await.unwrap();
    assert_eq!(world.tamper("UPDATE credentials SET created = 0 WHERE label = 'büro'").await, 0, "{other} went too");
    store.verify_audit().await.unwrap();
}

async fn who_may_only_read_changes_nothing(world: World) {
    let (store, alice) = world.start().await;
    let account = store.account("alice").await.unwrap().unwrap().id;
    alice.mkdir(&path("/a")).await.unwrap();
    put(&alice, "/a/x", b"x").await.unwrap();
    let reader = store.home(account, Actor { read_only: true, ..actor() });
    assert_eq!(read(&reader, "/a/x").await.unwrap(), b"x");
    let denied = |outcome: Result<(), Error>| matches!(&outcome, Err(Error::Denied(why)) if why.contains("read-only"));
    assert!(denied(put(&reader, "/a/y", b"y").await.map(drop)));
    assert!(denied(reader.mkdir(&path("/b")).await.map(drop)));
    assert!(denied(reader.remove(&path("/a"), Remove::Tree, None).await));
    assert!(denied(reader.rename(&path("/a/x"), &path("/z"), true).await.map(drop)));
    assert!(denied(reader.copy(&path("/a/x"), &path("/z"), true).await.map(drop)));
    assert!(denied(reader.set_modified(&path("/a/x"), storage::Timestamp(0)).await.map(drop)));
    let filter = Filter { outcome: Some("refused".into()), limit: 100, ..Filter::default() };
    assert_eq!(store.audit(filter).await.unwrap().len(), 6, "each refusal is recorded");
    assert_eq!((read(&alice, "/a/x").await.unwrap(), alice.usage().await.unwrap().used), (b"x".to_vec(), 1));
    store.verify_audit().await.unwrap();
}

async fn a_secret_is_made_once(world: World) {
    let (store, home) = world.start().await;
    let (first, again) = tokio::join!(store.secret("one"), store.secret("one"));
    assert_eq!(first, again);
    assert_ne!(first, store.secret("two").await);
    drop((store, home));
    assert_eq!(world.reopen().await.secret("one").await, first, "after a restart too");
}
