//! Mail as files, on both engines: what `Mail` in a home shows of the mailboxes, and that nothing below it is changed
//! there.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use bytes::Bytes;
use storage::audit::Filter;
use storage::{Error, FlagChange, Home, Mail, Node, PutOptions, Remove, Store, Timestamp};

use world::{World, actor, deliver, on_both_engines, path, put, read};

on_both_engines! {
    mailboxes_are_folders_and_messages_files
    pages_are_in_the_order_of_names
    what_is_shown_is_never_old
    copies_leave_mail_for_the_files
    mail_is_not_changed_as_files
}

const RECEIVED: Timestamp = Timestamp(1_000_000_000_000);

async fn start(world: &World) -> (Store, Home, Mail) {
    let (store, home) = world.start().await;
    let account = store.account("alice").await.unwrap().unwrap();
    let mail = store.mail(account.id, actor());
    (store, home, mail)
}

fn message(subject: &str) -> Vec<u8> {
    format!("From: ann@example.org\r\nSubject: {subject}\r\n\r\nHello, {subject}.\r\n").into_bytes()
}

async fn append(mail: &Mail, mailbox: &str, content: &[u8]) {
    let mut append = mail.append(mailbox).await.unwrap();
    append.begin(Vec::new(), Some(RECEIVED), content.len() as u64).await.unwrap();
    append.write(Bytes::copy_from_slice(content)).await.unwrap();
    append.end().await.unwrap();
    append.commit().await.unwrap();
}

async fn list(home: &Home, folder: &str) -> Vec<Node> {
    home.list(&path(folder), None, 1000).await.unwrap()
}

async fn names(home: &Home, folder: &str) -> Vec<String> {
    list(home, folder).await.into_iter().map(|node| node.name).collect()
}

async fn mailboxes_are_folders_and_messages_files(world: World) {
    let (store, home, mail) = start(&world).await;
    let account = store.account("alice").await.unwrap().unwrap().id;
    put(&home, "/A", b"a").await.unwrap();
    put(&home, "/Z", b"z").await.unwrap();
    assert_eq!(names(&home, "/").await, ["A", "Mail", "Z"]);
    assert_eq!(names(&home, "/Mail").await, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    deliver(&store, &message("=?utf-8?q?Gr=C3=BC=C3=9Fe?= a/b"), &[(account, "alice@example.org")]).await.unwrap();
    append(&mail, "INBOX", b"From: x@example.org\r\n\r\nNo subject.\r\n").await;
    assert_eq!(names(&home, "/Mail/INBOX").await, ["0000000001 Grüße a_b.eml", "0000000002.eml"]);
    let view = mail.open("INBOX").await.unwrap().view().await.unwrap();
    for (node, (_, message)) in list(&home, "/Mail/INBOX").await.iter().zip(view.messages()) {
        let content = read(&home, &format!("/Mail/INBOX/{}", node.name)).await.unwrap();
        assert_eq!((node.size, node.size), (content.len() as u64, u64::from(message.size)));
        assert_eq!((node.modified, node.is_folder()), (message.received, false));
        assert_eq!(node.etag, blake3::hash(&content).to_hex()[..32]);
    }
    for name in ["1.eml", "1 anything at all.eml", "0000000001.eml"] {
        let node = home.stat(&path(&format!("/Mail/INBOX/{name}"))).await.unwrap();
        assert_eq!((node.name.as_str(), node.id < 0), ("0000000001 Grüße a_b.eml", true));
    }
    for name in ["INBOX/3.eml", "INBOX/1", "INBOX/x.eml", "INBOX/1.eml/x", "inbox", "Not there", "1.eml"] {
        let found = home.stat(&path(&format!("/Mail/{name}"))).await;
        assert_eq!(found.map(|node| node.name.clone()), Err(Error::NotFound), "{name}");
    }
    assert_eq!(home.stat(&path("/mail")).await.map(|node| node.id), Err(Error::NotFound));

    for name in ["a/b/c", "a b", "a/b", "INBOX/below", "5.eml", &"x".repeat(300)] {
        mail.create(name, None).await.unwrap();
    }
    append(&mail, "a/b", &message("deep")).await;
    let shown = ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash", "a", "a b"];
    assert_eq!(names(&home, "/Mail").await, shown, "what is no path is left out");
    assert_eq!(names(&home, "/Mail/a").await, ["b"]);
    assert_eq!(names(&home, "/Mail/a/b").await, ["0000000001 deep.eml", "c"]);
    assert_eq!(names(&home, "/Mail/INBOX").await.last().map(String::as_str), Some("below"));
    let mut ids = Vec::new();
    for folder in ["/", "/Mail", "/Mail/a", "/Mail/a/b", "/Mail/INBOX"] {
        ids.extend(list(&home, folder).await.iter().map(|node| node.id));
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "no number is used twice");
}

async fn pages_are_in_the_order_of_names(world: World) {
    let (_, home, mail) = start(&world).await;
    for name in ["INBOX/00", "INBOX/0000000003 x", "INBOX/A", "INBOX/9"] {
        mail.create(name, None).await.unwrap();
    }
    for subject in ["b", "a", "", "z", "é", "c"] {
        append(&mail, "INBOX", &message(subject)).await;
    }
    put(&home, "/M", b"").await.unwrap();
    put(&home, "/N", b"").await.unwrap();
    for folder in ["/", "/Mail", "/Mail/INBOX"] {
        let all = names(&home, folder).await;
        assert!(all.is_sorted());
        for limit in 1..all.len() + 2 {
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = home.list(&path(folder), after.as_deref(), limit).await.unwrap();
                after = page.last().map(|node| node.name.clone());
                let full = page.len() == limit;
                paged.extend(page.into_iter().map(|node| node.name));
                if !full {
                    break;
                }
            }
            assert_eq!(paged, all, "{folder} by {limit}");
        }
    }
    assert_eq!(names(&home, "/Mail/INBOX").await.len(), 10);
}

async fn what_is_shown_is_never_old(world: World) {
    let (_, home, mail) = start(&world).await;
    let first = path("/Mail/INBOX/1.eml");
    assert_eq!(home.stat(&first).await.map(|node| node.size), Err(Error::NotFound));
    append(&mail, "INBOX", &message("one")).await;
    assert_eq!(home.stat(&first).await.unwrap().name, "0000000001 one.eml");
    let before = home.stat(&path("/Mail/INBOX")).await.unwrap().modified;
    assert!(before > RECEIVED, "a folder was modified when a message came");
    let inbox = mail.open("INBOX").await.unwrap();
    inbox.flag(vec![(1, 1)], FlagChange::Add, vec!["\\Deleted".into()], None).await.unwrap();
    inbox.expunge(None).await.unwrap();
    assert_eq!(home.stat(&first).await.map(|node| node.size), Err(Error::NotFound));
    mail.create("new", None).await.unwrap();
    assert!(home.stat(&path("/Mail/new")).await.unwrap().is_folder());
    mail.rename("new", "newer").await.unwrap();
    assert_eq!(home.stat(&path("/Mail/new")).await.map(|node| node.id), Err(Error::NotFound));
}

async fn copies_leave_mail_for_the_files(world: World) {
    let (store, home, mail) = start(&world).await;
    mail.create("a/b", None).await.unwrap();
    append(&mail, "INBOX", &message("one")).await;
    append(&mail, "a/b", &message("one")).await;
    append(&mail, "a/b", &message("two")).await;
    let one = message("one").len() as u64;
    let used = home.usage().await.unwrap().used;
    assert!(!home.copy(&path("/Mail/INBOX/1.eml"), &path("/copy.eml"), false).await.unwrap());
    assert_eq!(
        (read(&home, "/copy.eml").await.unwrap(), home.usage().await.unwrap().used),
        (message("one"), used + one)
    );
    assert_eq!(home.stat(&path("/copy.eml")).await.unwrap().modified, RECEIVED);
    home.copy(&path("/Mail"), &path("/all"), false).await.unwrap();
    assert_eq!(names(&home, "/all").await, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash", "a"]);
    assert_eq!(names(&home, "/all/a/b").await, ["0000000001 one.eml", "0000000002 two.eml"]);
    assert_eq!(home.usage().await.unwrap().used, used + one + used, "a copy counts for what it holds");
    home.copy(&path("/Mail/a/b"), &path("/all/b"), false).await.unwrap();
    assert_eq!(read(&home, "/all/b/0000000002 two.eml").await.unwrap(), message("two"));
    // The copies hold the content when the mailbox is gone, and give it free when they go.
    mail.delete("a/b").await.unwrap();
    assert_eq!(read(&home, "/all/a/b/0000000002 two.eml").await.unwrap(), message("two"));
    home.remove(&path("/all"), Remove::Tree, None).await.unwrap();
    home.remove(&path("/copy.eml"), Remove::File, None).await.unwrap();
    assert_eq!(home.usage().await.unwrap().used, one);
    assert_eq!(world.tamper("UPDATE blobs SET refs = refs WHERE refs < 0").await, 0);
    let held = "UPDATE blobs SET size = size WHERE refs = (SELECT COUNT(*) FROM messages WHERE blob = blobs.id)
         + (SELECT COUNT(*) FROM expunged WHERE blob = blobs.id)";
    assert_eq!(world.tamper(held).await, 2, "each reference has its row");
    store.verify_audit().await.unwrap();
}

async fn mail_is_not_changed_as_files(world: World) {
    let (store, home, mail) = start(&world).await;
    append(&mail, "INBOX", &message("one")).await;
    put(&home, "/file", b"x").await.unwrap();
    let (file, one) = (path("/file"), path("/Mail/INBOX/1.eml"));
    let denied = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Denied(_))), "{result:?}");
    for place in ["/Mail", "/Mail/new", "/Mail/INBOX", "/Mail/INBOX/1.eml", "/Mail/INBOX/2.eml", "/Mail/no/way"] {
        let place = path(place);
        denied(home.mkdir(&place).await.map(drop));
        denied(home.put(&place, PutOptions::default()).await.map(drop));
        denied(home.remove(&place, Remove::Tree, None).await);
        denied(home.rename(&file, &place, true).await.map(drop));
        denied(home.copy(&file, &place, true).await.map(drop));
        denied(home.rename(&place, &path("/elsewhere"), true).await.map(drop));
        denied(home.set_modified(&place, Timestamp::now()).await.map(drop));
    }
    denied(home.copy(&one, &path("/Mail/Sent/1.eml"), false).await.map(drop));
    let filter = Filter { outcome: Some("refused".into()), limit: 100, ..Filter::default() };
    assert_eq!(store.audit(filter).await.unwrap().len(), 6 * 7 + 1, "each refusal is recorded");
    assert_eq!(names(&home, "/").await, ["Mail", "file"]);
    assert_eq!(names(&home, "/Mail/INBOX").await, ["0000000001 one.eml"]);
    home.mkdir(&path("/mail")).await.unwrap();
    home.mkdir(&path("/Mailbox")).await.unwrap();
    home.mkdir(&path("/mail/Mail")).await.unwrap();
    assert_eq!(names(&home, "/mail").await, ["Mail"], "only the home's own folder has this name");
}
