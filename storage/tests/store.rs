//! The store through its public face: durable, counted, audited, and tidy after a crash.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use storage::audit::{Broken, Filter};
use storage::{
    Actor, Envelope, Error, Home, NewAccount, Options, Peer, PutOptions, Remove, Role, Store, Target, TraceId, VPath,
};

fn options(folder: &Path) -> Options {
    Options { data: folder.to_owned(), reserve: 0, domains: vec!["example.org".into()] }
}

fn actor() -> Actor {
    Actor { account: None, name: String::new(), peer: Peer::command_line() }
}

fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

async fn open() -> (tempfile::TempDir, Store, Home) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(options(folder.path())).await.unwrap();
    let home = home(&store, "alice", None).await;
    (folder, store, home)
}

async fn home(store: &Store, name: &str, quota: Option<i64>) -> Home {
    let new = NewAccount { name: name.into(), role: Role::User, quota, verifier: None };
    let account = store.add_account(&actor(), new).await.unwrap();
    store.home(account.id, actor())
}

async fn put(home: &Home, to: &str, content: &[u8]) -> Result<storage::Stored, Error> {
    let mut upload = home.put(&path(to), PutOptions::default()).await?;
    for piece in content.chunks(100_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.commit().await
}

async fn read(home: &Home, from: &str) -> Result<Vec<u8>, Error> {
    let (_, content) = home.open(&path(from)).await?;
    let mut reader = content.reader(0..content.len());
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

async fn deliver(store: &Store, message: &[u8], to: &[(i64, &str)]) -> Result<storage::Delivered, Error> {
    let to = to.iter().map(|(account, address)| Target { account: *account, address: (*address).into(), detail: None });
    let envelope = Envelope { trace: TraceId::new(), from: "a@b.example".into(), to: to.collect() };
    let mut delivery = store.delivery(actor(), envelope);
    delivery.write(Bytes::copy_from_slice(message)).await?;
    delivery.commit().await
}

fn large(seed: u8) -> Vec<u8> {
    (0..700_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

/// The files of the blob store, wherever they stand.
fn blobs(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder.join("blobs")).unwrap();
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_as_they_went() {
    let (folder, store, home) = open().await;
    for (name, content) in
        [("/empty", vec![]), ("/small", b"hello".to_vec()), ("/edge", vec![7; 65_536]), ("/large", large(1))]
    {
        let stored = put(&home, name, &content).await.unwrap();
        assert!(stored.created && stored.node.size == content.len() as u64);
        assert_eq!(read(&home, name).await.unwrap(), content, "{name}");
    }
    assert_eq!(blobs(folder.path()), 1, "only the large one is a file, and nothing else was left");
    let names: Vec<String> =
        home.list(&VPath::root(), Some("edge"), 2).await.unwrap().into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["empty", "large"], "one page after a name");
    drop((home, store));
    let store = reopen(folder.path()).await;
    let account = store.account("alice").await.unwrap().unwrap();
    assert_eq!(read(&store.home(account.id, actor()), "/large").await.unwrap(), large(1), "after a restart too");
}

/// The threads of a closed store end a moment later.
async fn reopen(folder: &Path) -> Store {
    for _ in 0..100 {
        match Store::open(options(folder)).await {
            Err(Error::Busy) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => return other.unwrap(),
        }
    }
    panic!("the store stays locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_upload_leaves_nothing() {
    let (folder, _store, home) = open().await;
    let mut upload = home.put(&path("/x"), PutOptions::default()).await.unwrap();
    upload.write(Bytes::from(large(2))).await.unwrap();
    drop(upload);
    for _ in 0..100 {
        if blobs(folder.path()) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((home.stat(&path("/x")).await.err(), blobs(folder.path())), (Some(Error::NotFound), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_is_tidied() {
    let (folder, store, home) = open().await;
    put(&home, "/kept", &large(3)).await.unwrap();
    drop((home, store));
    // A crash after the file was placed and before the commit: two names, no row.
    let name = format!("{}.0123456789abcdef", "ab".repeat(32));
    std::fs::create_dir_all(folder.path().join("blobs/ab")).unwrap();
    std::fs::write(folder.path().join("blobs/new").join(&name), b"lost").unwrap();
    std::fs::hard_link(folder.path().join("blobs/new").join(&name), folder.path().join("blobs/ab").join(&name))
        .unwrap();
    std::fs::write(folder.path().join("blobs/new/0123456789abcdef"), b"half").unwrap();
    let store = reopen(folder.path()).await;
    assert_eq!(blobs(folder.path()), 1, "what no row names is gone");
    let account = store.account("alice").await.unwrap().unwrap();
    assert_eq!(read(&store.home(account.id, actor()), "/kept").await.unwrap(), large(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_content_is_kept_once_and_swept_when_nothing_refers_to_it() {
    let (folder, store, home) = open().await;
    put(&home, "/a", &large(4)).await.unwrap();
    put(&home, "/b", &large(4)).await.unwrap();
    home.copy(&path("/a"), &path("/c"), false).await.unwrap();
    assert_eq!((blobs(folder.path()), store.status().await.unwrap().blobs), (1, 1));
    for name in ["/a", "/b"] {
        home.remove(&path(name), Remove::File, None).await.unwrap();
    }
    assert_eq!(store.sweep(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(read(&home, "/c").await.unwrap(), large(4));
    home.remove(&path("/c"), Remove::File, None).await.unwrap();
    assert_eq!((store.sweep(Duration::ZERO).await.unwrap(), blobs(folder.path())), (1, 0));
    put(&home, "/a", &large(4)).await.unwrap();
    assert_eq!(read(&home, "/a").await.unwrap(), large(4), "a swept content comes back when it is put again");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_count_files_and_mail_together() {
    let (_folder, store, _) = open().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_all_or_none() {
    let (_folder, store, _) = open().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn names_move_as_they_should() {
    let (_folder, store, home) = open().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_keeps_what_was_there() {
    let (_folder, _store, home) = open().await;
    put(&home, "/x", b"hello world").await.unwrap();
    let with = |offset| PutOptions { offset: Some(offset), ..PutOptions::default() };
    let mut upload = home.put(&path("/x"), with(6)).await.unwrap();
    upload.write(Bytes::from_static(b"there")).await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(read(&home, "/x").await.unwrap(), b"hello there");
    assert!(matches!(home.put(&path("/x"), with(12)).await.err(), Some(Error::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_writers_share_commits_and_every_change_is_counted() {
    let (_folder, store, home) = open().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_tells_every_change_in_order() {
    let (_folder, store, home) = open().await;
    let mut feed = store.follow();
    for number in 0..10 {
        put(&home, &format!("/f{number}"), b"x").await.unwrap();
    }
    for number in 2..12 {
        let change = feed.recv().await.unwrap();
        assert_eq!((change.number, change.action), (number, "file.put"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_turned_away() {
    let (folder, _store, _) = open().await;
    assert_eq!(Store::open(options(folder.path())).await.err(), Some(Error::Busy));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_future_is_left_alone() {
    let (folder, store, home) = open().await;
    drop((store, home));
    reopen(folder.path()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let database = rusqlite::Connection::open(folder.path().join("wharfinger.db")).unwrap();
    database.execute("INSERT INTO schema_version VALUES (999, 0)", []).unwrap();
    drop(database);
    let error = loop {
        match Store::open(options(folder.path())).await {
            Err(Error::Busy) => tokio::time::sleep(Duration::from_millis(20)).await,
            other => break other.err().unwrap(),
        }
    };
    assert!(matches!(&error, Error::Invalid(text) if text.contains("999")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_touched_is_named() {
    let (folder, store, home) = open().await;
    for number in 0..5 {
        put(&home, &format!("/f{number}"), b"x").await.unwrap();
    }
    let database = rusqlite::Connection::open(folder.path().join("wharfinger.db")).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    for (spoil, mend) in [
        ("UPDATE audit SET target = '/g2' WHERE seq = 5", "UPDATE audit SET target = '/f2' WHERE seq = 5"),
        ("UPDATE audit SET time = time + 1 WHERE seq = 5", "UPDATE audit SET time = time - 1 WHERE seq = 5"),
        ("UPDATE audit SET actor = 9 WHERE seq = 5", "UPDATE audit SET actor = NULL WHERE seq = 5"),
    ] {
        assert_eq!(database.execute(spoil, []).unwrap(), 1);
        assert_eq!(store.verify_audit().await, Err(Broken::Altered { node: 1, seq: 5 }), "{spoil}");
        assert_eq!(database.execute(mend, []).unwrap(), 1);
        store.verify_audit().await.unwrap();
    }
    database.execute("DELETE FROM audit WHERE seq = 7", []).unwrap();
    assert_eq!(store.verify_audit().await, Err(Broken::Cut { node: 1, found: 6, expected: 7 }));
    database.execute("DELETE FROM audit WHERE seq = 4", []).unwrap();
    assert_eq!(store.verify_audit().await, Err(Broken::Unchained { node: 1, seq: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_account_takes_everything_with_it() {
    let (folder, store, home) = open().await;
    let account = store.account("alice").await.unwrap().unwrap().id;
    put(&home, "/x", &large(5)).await.unwrap();
    deliver(&store, b"Subject: x\r\n\r\n", &[(account, "alice@example.org")]).await.unwrap();
    store.remove_account(&actor(), "alice").await.unwrap();
    store.sweep(Duration::ZERO).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.accounts, status.files, status.messages, status.blobs), (0, 0, 0, 0));
    assert_eq!(blobs(folder.path()), 0);
    assert_eq!(home.stat(&path("/x")).await.err(), Some(Error::NotFound));
    store.verify_audit().await.unwrap();
    self::home(&store, "alice", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_find_their_accounts() {
    let (_folder, store, _) = open().await;
    home(&store, "bob", None).await;
    store.set_alias(&actor(), "team@example.org", vec!["alice".into(), "bob".into()]).await.unwrap();
    let found = |local: &'static str, domain: &'static str| {
        let store = store.clone();
        async move { store.resolve(local, domain).await.unwrap().map(|accounts| accounts.len()) }
    };
    assert_eq!(found("Alice", "EXAMPLE.org").await, Some(1));
    assert_eq!(found("alice+list", "example.org").await, Some(1));
    assert_eq!(found("team", "example.org").await, Some(2));
    assert_eq!(found("nobody", "example.org").await, Some(0));
    assert_eq!(found("alice", "elsewhere.example").await, None);
    assert!(store.set_alias(&actor(), "x@elsewhere.example", vec!["bob".into()]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserve_of_the_disk_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let full = Options { reserve: u64::MAX, ..options(folder.path()) };
    let store = Store::open(full).await.unwrap();
    let alice = home(&store, "alice", None).await;
    let account = store.account("alice").await.unwrap().unwrap().id;
    assert_eq!(put(&alice, "/x", b"x").await.err(), Some(Error::Full));
    assert_eq!(deliver(&store, b"x", &[(account, "alice@example.org")]).await, Err(Error::Full));
    alice.mkdir(&path("/still")).await.expect("what takes no room goes on");
    store.verify_audit().await.unwrap();
}
