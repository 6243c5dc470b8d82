//! After the log-in: messages, marks, removal, the lock.

use dialog::Spoken;
use protocol::Closed;

use crate::client::Client;
use crate::world::World;

async fn three(world: &World) {
    for text in ["one", "two", "three"] {
        world.put(format!("Subject: {text}\r\n\r\n{text}\r\n").as_bytes()).await;
    }
}

#[tokio::test]
async fn messages_are_listed_by_number_and_by_unique_id() {
    let world = World::new().await;
    three(&world).await;
    let mut client = Client::logged_in(&world).await;
    client
        .dialog(&[
            ("STAT", "+OK 3 67\r\n"),
            ("LIST 1", "+OK 1 21\r\n"),
            ("LIST 3", "+OK 3 25\r\n"),
            ("LIST 0", "-ERR No such message: there are 3"),
            ("LIST 4", "-ERR No such message: there are 3"),
            ("UIDL 99999999999", "-ERR No such message"),
        ])
        .await;
    assert_eq!(client.lines("LIST").await, "1 21\r\n2 21\r\n3 25\r\n");
    let ids = client.lines("UIDL").await;
    client.dialog(&[("DELE 2", "+OK"), ("QUIT", "+OK Goodbye; 1 removed")]).await;
    client.ended().await;
    world.put(b"Subject: four\r\n\r\n").await;
    let mut client = Client::logged_in(&world).await;
    let later = client.lines("UIDL").await;
    let id = |list: &str, number: usize| list.lines().nth(number - 1).unwrap().split_once(' ').unwrap().1.to_owned();
    assert_eq!((id(&later, 1), id(&later, 2)), (id(&ids, 1), id(&ids, 3)), "ids stay, numbers do not");
    assert!(!ids.contains(&id(&later, 3)), "an id is not used again");
    client.dialog(&[("UIDL 1", &format!("+OK 1 {}\r\n", id(&ids, 1)))]).await;
    assert!(id(&ids, 1).split('.').all(|part| part.parse::<u32>().is_ok()));
}

#[tokio::test]
async fn a_message_arrives_byte_for_byte_and_its_flags_stay() {
    let world = World::new().await;
    let large: Vec<u8> = (0..40_000).flat_map(|n| format!(".{n} {}\r\n", "x".repeat(n % 70)).into_bytes()).collect();
    let contents = [
        b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nx.\r\n".to_vec(),
        b"Subject: no end\r\n\r\nlast".to_vec(),
        b"Subject: gr\xc3\xa5\r\n\r\n\xc3\xa5\r\n".to_vec(),
        [b"Subject: large\r\n\r\n", &large[..]].concat(),
    ];
    for content in &contents {
        world.put(content).await;
    }
    let mut client = Client::logged_in(&world).await;
    for (number, content) in (1..).zip(&contents) {
        let got = client.lines(&format!("RETR {number}")).await;
        let plain: String = got.split_inclusive("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
        let mut expected = String::from_utf8(content.clone()).unwrap();
        if !expected.ends_with("\r\n") {
            expected.push_str("\r\n");
        }
        assert!(plain == expected, "message {number}");
    }
    client.dialog(&[("RETR 5", "-ERR No such message: there are 4"), ("QUIT", "+OK Goodbye\r\n")]).await;
    client.ended().await;
    assert!(world.inbox().await.iter().all(|(_, flags)| *flags == 0), "nothing is marked as seen");
}

#[tokio::test]
async fn a_bare_lf_ends_no_response() {
    let world = World::new().await;
    world.put(b"Subject: smuggled\n\ntext\n.\n+OK 1 octets\n.\r\n+OK\r\n").await;
    let mut client = Client::logged_in(&world).await;
    client.send("RETR 1\r\n").await;
    client.expect("+OK 47 octets").await;
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != ".\r\n") {
        lines.extend(client.reply().await.split_inclusive('\n').map(str::to_owned));
    }
    let expected = ["Subject: smuggled\n", "\n", "text\n", "..\n", "+OK 1 octets\n", "..\r\n", "+OK\r\n", ".\r\n"];
    assert_eq!(lines, expected);
    client.dialog(&[("NOOP", "+OK")]).await;
}

#[tokio::test]
async fn the_top_of_a_message() {
    let world = World::new().await;
    let long = [b"Subject: top\r\nTo: a\r\n\r\none\r\n.two\r\n".as_slice(), &b"more\r\n".repeat(100_000)].concat();
    world.put(&long).await;
    let mut client = Client::logged_in(&world).await;
    let header = "Subject: top\r\nTo: a\r\n\r\n";
    assert_eq!(client.lines("TOP 1 0").await, header);
    assert_eq!(client.lines("TOP 1 2").await, format!("{header}one\r\n..two\r\n"));
    assert_eq!(client.lines("TOP 1 5002").await.len(), header.len() + 12 + 5000 * 6);
    assert_eq!(client.lines("TOP 1 99999999999").await.len(), long.len() + 1);
    client.dialog(&[("TOP 1", "-ERR Syntax: TOP message lines"), ("TOP 2 1", "-ERR No such message")]).await;
}

#[tokio::test]
async fn marks_hide_messages_are_taken_back_and_count_at_quit_alone() {
    let world = World::new().await;
    three(&world).await;
    let mut client = Client::logged_in(&world).await;
    client
        .dialog(&[
            ("DELE 2", "+OK Message 2 is removed at QUIT"),
            ("DELE 2", "-ERR That message is marked to be removed"),
            ("RETR 2", "-ERR That message is marked"),
            ("TOP 2 1", "-ERR That message is marked"),
            ("LIST 2", "-ERR That message is marked"),
            ("UIDL 2", "-ERR That message is marked"),
            ("DELE 4", "-ERR No such message"),
            ("STAT", "+OK 2 46\r\n"),
        ])
        .await;
    assert_eq!(client.lines("LIST").await, "1 21\r\n3 25\r\n");
    assert_eq!(client.lines("UIDL").await.lines().count(), 2);
    client.dialog(&[("RSET", "+OK 3 messages (67 octets)"), ("STAT", "+OK 3 67\r\n"), ("DELE 1", "+OK")]).await;
    assert_eq!(client.vanish().await, Closed::Lost);
    assert_eq!(world.inbox().await.len(), 3, "without QUIT nothing is removed");
    let mut client = Client::logged_in(&world).await;
    client.dialog(&[("DELE 1", "+OK"), ("DELE 3", "+OK"), ("QUIT", "+OK Goodbye; 2 removed")]).await;
    assert_eq!(client.ended().await, Closed::Quit);
    let left: Vec<u32> = world.inbox().await.iter().map(|(uid, _)| *uid).collect();
    assert_eq!(left, [2]);
    assert_eq!(world.records("mail.expunge", "done").await, 1, "one transaction, one record");
}

#[tokio::test]
async fn numbers_stay_while_others_deliver_and_remove() {
    let world = World::new().await;
    three(&world).await;
    let mut client = Client::logged_in(&world).await;
    world.remove(1).await;
    world.put(b"Subject: four\r\n\r\n").await;
    client.dialog(&[("STAT", "+OK 3 67\r\n"), ("LIST 2", "+OK 2 21\r\n"), ("LIST 4", "-ERR")]).await;
    assert!(client.lines("RETR 2").await.contains("two"));
    client.dialog(&[("DELE 1", "+OK"), ("DELE 2", "+OK"), ("QUIT", "+OK")]).await;
    client.ended().await;
    let left: Vec<u32> = world.inbox().await.iter().map(|(uid, _)| *uid).collect();
    assert_eq!(left, [3, 4], "what came meanwhile stays");
}

#[tokio::test]
async fn a_maildrop_is_locked_by_one_session() {
    let world = World::new().await;
    three(&world).await;
    let mut first = Client::logged_in(&world).await;
    let mut second = Client::secured(&world).await;
    second.dialog(&[("USER alice", "+OK"), ("PASS secret-of-alice", "-ERR [IN-USE] Another session")]).await;
    second.dialog(&[("STAT", "-ERR Log in first"), ("USER bob", "+OK"), ("PASS secret-of-bob", "+OK")]).await;
    first.dialog(&[("STAT", "+OK 3"), ("QUIT", "+OK")]).await;
    // The lock is given up before the reply, so whoever hears it may come in.
    let mut third = Client::logged_in(&world).await;
    third.vanish().await;
    // A broken connection gives it up too.
    Client::logged_in(&world).await;
}

#[tokio::test]
async fn who_may_only_read_is_told_at_once() {
    let world = World::new().await;
    world.put_for("reader", b"Subject: x\r\n\r\n").await;
    let mut client = Client::secured(&world).await;
    client.dialog(&[("USER reader", "+OK"), ("PASS only-for-reading", "+OK Welcome: 1 message")]).await;
    client.dialog(&[("DELE 1", "-ERR [SYS/PERM] This app password is read-only"), ("STAT", "+OK 1 14")]).await;
    client.dialog(&[("QUIT", "+OK Goodbye\r\n")]).await;
    assert_eq!(client.ended().await, Closed::Quit);
}

#[tokio::test]
async fn who_takes_one_after_the_other_gets_each_as_it_is() {
    let world = World::new().await;
    // More than are brought at once, more octets than are, and one that is kept elsewhere.
    let message = |number: usize| {
        let filler = match number {
            5 => 600_000,
            20..24 => 100_000,
            _ => number,
        };
        format!("Subject: {number}\r\n\r\n{}\r\n", "x".repeat(filler))
    };
    for number in 1..=40 {
        world.put(message(number).as_bytes()).await;
    }
    let mut client = Client::logged_in(&world).await;
    for number in (1..=12).chain(9..=18).chain([40, 2, 3]).chain(19..=30) {
        assert_eq!(client.lines(&format!("RETR {number}")).await, message(number), "{number}");
    }
    world.remove(31).await;
    world.remove(33).await;
    assert_eq!(client.lines("TOP 32 0").await, "Subject: 32\r\n\r\n");
    assert_eq!(client.lines("RETR 34").await, message(34));
}
