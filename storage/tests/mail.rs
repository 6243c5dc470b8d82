//! Mail through the store's public face, on both engines: what an owner does with mailboxes and messages, and what
//! every reader sees of it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::sync::Arc;

use bytes::Bytes;
use storage::{Appended, Error, FlagChange, Flags, Mail, Mailbox, Store, Timestamp, Uids, View, Wanted};

use world::{World, actor, deliver, home, on_both_engines};

on_both_engines! {
    a_new_account_has_its_mailboxes
    names_and_uidvalidity_never_lie
    an_account_that_is_made_again_has_no_uidvalidity_again
    messages_come_with_flags_and_dates
    flags_change_and_counts_follow
    copies_and_moves_carry_everything
    what_is_expunged_vanishes_and_comes_back
    readers_hear_of_what_others_do
    a_maildrop_is_locked_by_one_at_a_time
    a_quota_holds_for_all_ways_in
    counts_are_those_of_the_rows_after_any_history
}

async fn start(world: &World) -> (Store, Mail) {
    let (store, _) = world.start().await;
    let mail = mail(&store, "alice").await;
    (store, mail)
}

async fn mail(store: &Store, name: &str) -> Mail {
    let account = store.account(name).await.unwrap().unwrap();
    store.mail(account.id, actor())
}

async fn alice(store: &Store) -> i64 {
    store.account("alice").await.unwrap().unwrap().id
}

fn message(subject: &str) -> Vec<u8> {
    format!("From: ann@example.org\r\nSubject: {subject}\r\n\r\nHello.\r\n").into_bytes()
}

async fn append(mail: &Mail, mailbox: &str, content: &[u8], flags: &[&str]) -> Result<Appended, Error> {
    let mut append = mail.append(mailbox).await?;
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    append.begin(flags, Some(Timestamp(1_000_000_000_000)), content.len() as u64).await?;
    append.write(Bytes::copy_from_slice(content)).await?;
    append.end().await?;
    append.commit().await
}

fn uids(view: &View) -> Vec<u32> {
    view.messages().map(|(_, message)| message.uid).collect()
}

fn flags_of(view: &View, uid: u32) -> Vec<String> {
    let message = view.message(view.number(uid).unwrap()).unwrap();
    view.keywords.of(message.flags).map(str::to_owned).collect()
}

async fn flag(mailbox: &Mailbox, uids: Uids, how: FlagChange, names: &[&str]) -> u32 {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    mailbox.flag(uids, how, names, None).await.unwrap().changed
}

async fn a_new_account_has_its_mailboxes(world: World) {
    let (_, mail) = start(&world).await;
    let all = mail.mailboxes().await.unwrap();
    let named: Vec<(&str, Option<&str>)> =
        all.iter().map(|mailbox| (mailbox.name.as_str(), mailbox.special.as_deref())).collect();
    assert_eq!(
        named,
        [
            ("Archive", Some("\\Archive")),
            ("Drafts", Some("\\Drafts")),
            ("INBOX", None),
            ("Junk", Some("\\Junk")),
            ("Sent", Some("\\Sent")),
            ("Trash", Some("\\Trash"))
        ]
    );
    assert_eq!(mail.subscriptions().await.unwrap().len(), 6);
    mail.subscribe("Sent", false).await.unwrap();
    mail.subscribe("Not there", true).await.unwrap();
    let names = mail.subscriptions().await.unwrap();
    assert!(names.contains(&"Not there".to_owned()) && !names.contains(&"Sent".to_owned()));
}

async fn names_and_uidvalidity_never_lie(world: World) {
    let (_, mail) = start(&world).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        let made = mail.create("a/b", None).await.unwrap();
        assert!(!seen.contains(&made.counts.uidvalidity));
        seen.push(made.counts.uidvalidity);
        assert_eq!(mail.create("a/b", None).await, Err(Error::Exists));
        mail.delete("a/b").await.unwrap();
    }
    assert!(seen.is_sorted());
    let older = mail.create("older", None).await.unwrap();
    mail.create("newer", None).await.unwrap();
    let newer = mail.mailbox("newer").await.unwrap().counts.uidvalidity;
    mail.delete("newer").await.unwrap();
    append(&mail, "older", &message("x"), &[]).await.unwrap();
    mail.create("older/below", None).await.unwrap();
    mail.rename("older", "newer").await.unwrap();
    let renamed = mail.mailbox("newer").await.unwrap();
    assert!(renamed.counts.uidvalidity > newer, "a name's UIDVALIDITY only grows");
    assert_eq!((renamed.id, renamed.counts.messages), (older.id, 1));
    assert!(mail.mailbox("newer/below").await.is_ok());
    assert_eq!(mail.mailbox("older").await, Err(Error::NotFound));
    mail.rename("newer", "third").await.unwrap();
    assert_eq!(mail.mailbox("third").await.unwrap().counts.uidvalidity, renamed.counts.uidvalidity, "else it is kept");

    append(&mail, "INBOX", &message("1"), &["\\Seen"]).await.unwrap();
    let inbox = mail.mailbox("INBOX").await.unwrap();
    mail.rename("INBOX", "old mail").await.unwrap();
    let after = mail.mailbox("INBOX").await.unwrap();
    assert_eq!((after.counts.messages, after.counts.uidnext, after.id), (0, inbox.counts.uidnext, inbox.id));
    assert_eq!(mail.mailbox("old mail").await.unwrap().counts.messages, 1);
    for bad in ["", "/", "a//b", "a/", "/a", "a\nb", "a*", "50%", "..", "a/../b", &"x".repeat(501)] {
        assert!(matches!(mail.create(bad, None).await, Err(Error::Invalid(_))), "{bad:?}");
    }
    assert!(matches!(mail.delete("INBOX").await, Err(Error::Invalid(_))));
    assert!(matches!(mail.rename("third", "third/x").await, Err(Error::Invalid(_))));
}

async fn an_account_that_is_made_again_has_no_uidvalidity_again(world: World) {
    let (store, mail) = start(&world).await;
    // So many at once that their numbers run ahead of the clock.
    for _ in 0..60 {
        mail.create("a", None).await.unwrap();
        mail.delete("a").await.unwrap();
    }
    let last = mail.create("a", None).await.unwrap().counts.uidvalidity;
    store.remove_account(&actor(), "alice").await.unwrap();
    home(&store, "alice", None).await;
    let again = self::mail(&store, "alice").await;
    for mailbox in again.mailboxes().await.unwrap() {
        assert!(mailbox.counts.uidvalidity > last, "{mailbox:?}");
    }
}

async fn messages_come_with_flags_and_dates(world: World) {
    let (store, mail) = start(&world).await;
    let content = message("one");
    let appended = append(&mail, "INBOX", &content, &["\\Seen", "$Label1", "\\flagged"]).await.unwrap();
    assert_eq!((appended.first, appended.messages), (1, 1));
    deliver(&store, b"Subject: two\r\n\r\nHi.\r\n", &[(alice(&store).await, "alice@example.org")]).await.unwrap();
    let inbox = mail.open("INBOX").await.unwrap();
    let view = inbox.view().await.unwrap();
    assert_eq!((uids(&view), view.uidnext), (vec![1, 2], 3));
    assert_eq!(flags_of(&view, 1), ["\\Seen", "\\Flagged", "$Label1"]);
    let first = view.message(1).unwrap();
    assert_eq!((first.received, u64::from(first.size)), (Timestamp(1_000_000_000_000), content.len() as u64));
    assert_eq!(inbox.content(first).await.unwrap().bytes().unwrap(), content);
    let wanted = Wanted { header: true, envelope: true, structure: true, preview: true, ids: true };
    let details = inbox.details(1, 2, wanted).await.unwrap();
    assert_eq!(details.len(), 2);
    assert!(details[0].envelope.contains("one") && details[1].envelope.contains("two"));
    assert_ne!(details[0].hash, details[1].hash);
    // Two at once, or none.
    let mut both = mail.append("INBOX").await.unwrap();
    for subject in ["three", "four"] {
        let content = message(subject);
        both.begin(vec![], None, content.len() as u64).await.unwrap();
        both.write(content.into()).await.unwrap();
        both.end().await.unwrap();
    }
    assert_eq!(both.commit().await.unwrap().first, 3);
    assert!(matches!(append(&mail, "INBOX", b"x", &["\\Strange"]).await, Err(Error::Invalid(_))));
    assert_eq!(append(&mail, "nowhere", b"x", &[]).await, Err(Error::NotFound));
    assert_eq!(uids(&inbox.view().await.unwrap()), [1, 2, 3, 4]);
    assert_eq!(mail.messages().await.unwrap(), 4);
}

async fn flags_change_and_counts_follow(world: World) {
    let (_, mail) = start(&world).await;
    for at in 0..10 {
        append(&mail, "INBOX", &message(&at.to_string()), &[]).await.unwrap();
    }
    let inbox = mail.open("INBOX").await.unwrap();
    let before = inbox.view().await.unwrap();
    assert_eq!(flag(&inbox, vec![(2, 4), (9, 9)], FlagChange::Add, &["\\Seen", "work"]).await, 4);
    assert_eq!(flag(&inbox, vec![(2, 4)], FlagChange::Add, &["\\seen", "WORK"]).await, 0, "nothing changes");
    assert_eq!(flag(&inbox, vec![(3, 3)], FlagChange::Remove, &["work", "unknown"]).await, 1);
    assert_eq!(flag(&inbox, vec![(4, u32::MAX)], FlagChange::Replace, &["\\Deleted"]).await, 7);
    let view = inbox.view().await.unwrap();
    assert_eq!(flags_of(&view, 2), ["\\Seen", "work"]);
    assert_eq!(flags_of(&view, 3), ["\\Seen"]);
    assert_eq!(flags_of(&view, 9), ["\\Deleted"]);
    assert_eq!(before.diff(&view).changed, [2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let counts = mail.mailbox("INBOX").await.unwrap().counts;
    assert_eq!((counts.messages, counts.unseen, counts.deleted), (10, 8, 7));
    assert_eq!(counts.modseq, view.modseq);
    // Of those that changed since, none is changed.
    let flagged =
        inbox.flag(vec![(1, 4)], FlagChange::Add, vec!["\\Answered".into()], Some(before.modseq)).await.unwrap();
    assert_eq!((flagged.failed, flagged.changed), (vec![2, 3, 4], 1));
    // More keywords than there are bits for.
    for at in 0..57 {
        assert_eq!(flag(&inbox, vec![(1, 1)], FlagChange::Add, &[&format!("k{at}")]).await, 1);
    }
    let more = inbox.flag(vec![(1, 1)], FlagChange::Add, vec!["one-too-many".into()], None).await;
    assert!(matches!(more, Err(Error::Invalid(_))), "{more:?}");
    flag(&inbox, vec![(1, 1)], FlagChange::Remove, &["k5"]).await;
    assert_eq!(flag(&inbox, vec![(1, 1)], FlagChange::Add, &["after all"]).await, 1, "one that is not used is");
    let view = inbox.view().await.unwrap();
    assert!(flags_of(&view, 1).contains(&"after all".to_owned()) && !flags_of(&view, 1).contains(&"k5".to_owned()));
}

async fn copies_and_moves_carry_everything(world: World) {
    let (store, mail) = start(&world).await;
    for at in 0..6 {
        append(&mail, "INBOX", &message(&at.to_string()), &["\\Seen", "tag"]).await.unwrap();
    }
    let used = mail.usage().await.unwrap().used;
    let inbox = mail.open("INBOX").await.unwrap();
    let copied = inbox.copy(vec![(2, 3), (5, 5)], 0, "Archive").await.unwrap();
    assert_eq!((copied.from, copied.first), (vec![2, 3, 5], 1));
    assert_eq!(mail.usage().await.unwrap().used, used + used / 2);
    let moved = inbox.relocate(vec![(1, 2), (6, u32::MAX)], 0, "Archive").await.unwrap();
    assert_eq!((moved.from, moved.first), (vec![1, 2, 6], 4));
    assert_eq!(uids(&inbox.view().await.unwrap()), [3, 4, 5]);
    let archive = mail.open("Archive").await.unwrap();
    let view = archive.view().await.unwrap();
    assert_eq!(uids(&view), [1, 2, 3, 4, 5, 6]);
    assert!(view.messages().all(|(_, message)| message.received == Timestamp(1_000_000_000_000)));
    assert_eq!(flags_of(&view, 6), ["\\Seen", "tag"]);
    let last = archive.content(view.message(6).unwrap()).await.unwrap().bytes().unwrap();
    assert_eq!(last, message("5"));
    // What was seen is there, or nothing happens.
    for too_few in [
        inbox.copy(vec![(1, 3), (4, 4)], 4, "Archive").await,
        inbox.relocate(vec![(1, 3), (4, 4)], 4, "Archive").await,
        inbox.copy(vec![(1, 2)], 2, "Archive").await,
    ] {
        assert_eq!(too_few, Err(Error::Changed));
    }
    assert_eq!(uids(&archive.view().await.unwrap()).len(), 6);
    // Into itself: the copies are new messages, and no endless ones.
    let copied = archive.copy(vec![(1, u32::MAX)], 0, "Archive").await.unwrap();
    assert_eq!((copied.from.len(), copied.first), (6, 7));
    let moved = archive.relocate(vec![(1, u32::MAX)], 0, "Archive").await.unwrap();
    assert_eq!((moved.from.len(), moved.first), (12, 13));
    assert_eq!(uids(&archive.view().await.unwrap()), (13..=24).collect::<Vec<_>>());
    assert_eq!(archive.relocate(vec![(1, 5)], 0, "Sent").await.unwrap().from, Vec::<u32>::new());
    assert_eq!(inbox.copy(vec![(3, 3)], 0, "nowhere").await, Err(Error::NotFound));
    // What is referred to stays, however often the sweeper comes.
    mail.delete("Archive").await.unwrap();
    store.sweep(std::time::Duration::ZERO).await.unwrap();
    let view = inbox.view().await.unwrap();
    assert_eq!(inbox.content(view.message(1).unwrap()).await.unwrap().bytes().unwrap(), message("2"));
    assert_eq!(inbox.vanished(0).await.unwrap(), Some(vec![(1, 2), (6, 6)]));
}

async fn what_is_expunged_vanishes_and_comes_back(world: World) {
    let (store, mail) = start(&world).await;
    for at in 0..5 {
        append(&mail, "INBOX", &message(&at.to_string()), &["kept"]).await.unwrap();
    }
    let inbox = mail.open("INBOX").await.unwrap();
    let before = inbox.view().await.unwrap();
    let used = mail.usage().await.unwrap().used;
    flag(&inbox, vec![(2, 3)], FlagChange::Add, &["\\Deleted"]).await;
    assert_eq!(inbox.expunge(Some(vec![(3, 5)])).await.unwrap(), 1);
    assert_eq!(inbox.expunge(None).await.unwrap(), 1);
    assert_eq!(inbox.expunge(None).await.unwrap(), 0);
    assert_eq!(inbox.remove(vec![(5, 5)]).await.unwrap(), 1);
    let view = inbox.view().await.unwrap();
    assert_eq!(before.diff(&view).expunged, [(2, 2), (2, 3), (3, 5)]);
    assert_eq!(inbox.vanished(before.modseq).await.unwrap(), Some(vec![(2, 3), (5, 5)]));
    assert!(mail.usage().await.unwrap().used < used, "it does not count any more");
    mail.create("project", None).await.unwrap();
    append(&mail, "project", &message("p"), &[]).await.unwrap();
    mail.delete("project").await.unwrap();
    store.sweep(std::time::Duration::ZERO).await.unwrap();

    let all = mail.expunged(None, Timestamp(0), None).await.unwrap();
    let places: Vec<(&str, u32)> = all.iter().map(|message| (message.mailbox.as_str(), message.uid)).collect();
    assert_eq!(places, [("INBOX", 3), ("INBOX", 2), ("INBOX", 5), ("project", 1)]);
    assert_eq!(mail.expunged(Some("project"), Timestamp(0), None).await.unwrap().len(), 1);
    assert_eq!(mail.restore(all.clone()).await.unwrap(), 4);
    assert_eq!(mail.restore(all).await.unwrap(), 0, "only once");
    let view = inbox.view().await.unwrap();
    assert_eq!(uids(&view), [1, 4, 6, 7, 8], "under new UIDs");
    assert_eq!(flags_of(&view, 6), ["kept"], "without the flag that removed it");
    assert_eq!(inbox.content(view.message(3).unwrap()).await.unwrap().bytes().unwrap(), message("2"));
    assert_eq!(mail.usage().await.unwrap().used, used + message("p").len() as u64);
    assert_eq!(mail.mailbox("project").await.unwrap().counts.messages, 1);
}

async fn readers_hear_of_what_others_do(world: World) {
    let (store, mail) = start(&world).await;
    let mut watcher = mail.open("INBOX").await.unwrap();
    let empty = watcher.view().await.unwrap();
    watcher.seen();
    let waiting = tokio::spawn(async move {
        watcher.changed().await;
        watcher
    });
    deliver(&store, b"Subject: a\r\n\r\n", &[(alice(&store).await, "alice@example.org")]).await.unwrap();
    let mut watcher = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap();
    let view = watcher.view().await.unwrap();
    assert!(empty.diff(&view).arrived);
    watcher.seen();
    // Changes of another mailbox wake nobody here.
    append(&mail, "Sent", b"x", &[]).await.unwrap();
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(300), watcher.changed()).await;
    assert!(quiet.is_err());
    let again = mail.open("INBOX").await.unwrap().view().await.unwrap();
    assert!(Arc::ptr_eq(&again, &view), "one view for all");
    mail.create("gone", None).await.unwrap();
    let gone = mail.open("gone").await.unwrap();
    mail.delete("gone").await.unwrap();
    assert_eq!(gone.view().await.map(drop), Err(Error::NotFound));
}

async fn a_maildrop_is_locked_by_one_at_a_time(world: World) {
    let (store, mail) = start(&world).await;
    home(&store, "bob", None).await;
    let other = self::mail(&store, "bob").await;
    let mut lock = mail.lock_maildrop().await.unwrap();
    assert_eq!(mail.lock_maildrop().await.err(), Some(Error::Busy));
    let bobs = other.lock_maildrop().await.unwrap();
    for _ in 0..20 {
        lock.unlock().await;
        lock = mail.lock_maildrop().await.unwrap();
        assert_eq!(mail.lock_maildrop().await.err(), Some(Error::Busy));
    }
    drop(lock);
    let mut again = mail.lock_maildrop().await;
    for _ in 0..100 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        again = mail.lock_maildrop().await;
    }
    assert!(again.is_ok(), "a lock that was dropped is free a moment later");
    bobs.unlock().await;
}

async fn a_quota_holds_for_all_ways_in(world: World) {
    let store = Store::open(world.options()).await.unwrap();
    home(&store, "bob", Some(1000)).await;
    let mail = mail(&store, "bob").await;
    append(&mail, "INBOX", &[b'x'; 600], &[]).await.unwrap();
    let mut more = mail.append("INBOX").await.unwrap();
    assert_eq!(more.begin(vec![], None, 600).await, Err(Error::OverQuota), "before a byte of it came");
    let inbox = mail.open("INBOX").await.unwrap();
    assert_eq!(inbox.copy(vec![(1, 1)], 0, "Sent").await, Err(Error::OverQuota));
    inbox.relocate(vec![(1, 1)], 0, "Sent").await.unwrap();
    assert_eq!(mail.mailbox("Sent").await.unwrap().counts.bytes, 600);
}

async fn counts_are_those_of_the_rows_after_any_history(world: World) {
    let (_, mail) = start(&world).await;
    let (inbox, sent) = (mail.open("INBOX").await.unwrap(), mail.open("Sent").await.unwrap());
    let mut random = 7_u32;
    let mut chance = move |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    for step in 0..120 {
        let from = 1 + chance(40);
        let range = vec![(from, from + chance(10))];
        let mailbox = if chance(2) == 0 { &inbox } else { &sent };
        let other = if mailbox.name() == "INBOX" { "Sent" } else { "INBOX" };
        let flags = [&["\\Seen"][..], &["\\Deleted"], &["\\Seen", "\\Deleted", "x"], &["x"]][chance(4) as usize];
        match chance(7) {
            0 | 1 => drop(append(&mail, mailbox.name(), &message(&step.to_string()), flags).await.unwrap()),
            2 => drop(flag(mailbox, range, FlagChange::Add, flags).await),
            3 => drop(flag(mailbox, range, FlagChange::Remove, flags).await),
            4 => drop(flag(mailbox, range, FlagChange::Replace, flags).await),
            5 => drop(mailbox.copy(range, 0, other).await.unwrap()),
            _ if chance(3) == 0 => drop(mailbox.expunge(None).await.unwrap()),
            _ => drop(mailbox.relocate(range, 0, other).await.unwrap()),
        }
    }
    let mut bytes = 0;
    for mailbox in [&inbox, &sent] {
        let (view, counts) = (mailbox.view().await.unwrap(), mail.mailbox(mailbox.name()).await.unwrap().counts);
        let number = |wanted: &dyn Fn(Flags) -> bool| view.messages().filter(|(_, held)| wanted(held.flags)).count();
        let size = |wanted: &dyn Fn(Flags) -> bool| {
            view.messages().filter(|(_, held)| wanted(held.flags)).map(|(_, held)| u64::from(held.size)).sum::<u64>()
        };
        let deleted = |flags: Flags| flags.has(Flags::DELETED);
        assert_eq!(counts.messages, view.len());
        assert_eq!(counts.unseen as usize, number(&|flags| !flags.has(Flags::SEEN)));
        assert_eq!(counts.deleted as usize, number(&deleted));
        assert_eq!((counts.bytes, counts.deleted_bytes), (size(&|_| true), size(&deleted)));
        assert_eq!((counts.modseq, counts.uidnext), (view.modseq, view.uidnext));
        bytes += counts.bytes;
    }
    assert_eq!(mail.usage().await.unwrap().used, bytes);
}
