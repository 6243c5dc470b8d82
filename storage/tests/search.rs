//! Searching mail on both engines: whatever the index holds, a search finds what reading every message finds.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod world;

use std::time::{Duration, Instant};

use storage::message::{Structure, text};
use storage::{Field, Mailbox, Store, fold};

use world::{World, actor, deliver, home, on_both_engines};

on_both_engines! {
    a_search_finds_what_reading_finds
    the_index_answers_without_reading
    a_message_of_too_many_words_is_found
    what_is_removed_leaves_the_index
    new_mail_is_indexed_soon
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const WORDS: &[&str] = &[
    "the",
    "invoice",
    "Invoice",
    "order",
    "ordered",
    "border",
    "Grüße",
    "GRÜSSE",
    "über",
    "Übermut",
    "mut",
    "naïve",
    "Σίσυφος",
    "ΣΊΣΥΦΟΣ",
    "İstanbul",
    "日本語",
    "日本",
    "本語のテスト",
    "привет",
    "x",
    "a",
    "42",
    "1042",
    "e-mail",
    "foo_bar",
    "O'Neill",
    "<tag>",
    "a@b.example",
    "http://example.org/?q=1&r=2",
    "100%",
    "...",
    "C++",
    "-",
    "ﬁn",
    "straße",
];

/// A run of letters that is too long for one word of the index.
fn long(random: &mut Random) -> String {
    (0..40 + random.below(200)).map(|_| char::from(b'a' + random.below(3) as u8)).collect()
}

fn line(random: &mut Random) -> String {
    let mut line = String::new();
    for _ in 0..1 + random.below(12) {
        line.push_str(if random.below(12) == 0 { "  " } else { " " });
        match random.below(25) {
            0 => line.push_str(&long(random)),
            1 => line.push_str(&format!("n{}", random.below(300))),
            _ => line.push_str(random.of(WORDS)),
        }
    }
    line
}

fn message(number: usize, random: &mut Random) -> Vec<u8> {
    let (subject, one, two) = (line(random), line(random), line(random));
    let plain = "Content-Type: text/plain; charset=utf-8\r\n\r\n";
    let html = "Content-Type: text/html; charset=utf-8\r\n\r\n";
    let head = format!("Subject: {subject}\r\nMessage-ID: <{number}@example.org>\r\n");
    let whole = match number % 4 {
        0 => format!("{head}{plain}{one}\r\n{two}\r\n"),
        1 => format!("{head}{html}<p>one &amp; {number} <b>bo</b>ld</p>\r\n"),
        2 => format!(
            "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{plain}{one}\r\n--b\r\n\
             Content-Type: application/pdf; name=\"{number} order.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
             {}--b\r\n{plain}{two}\r\n--b--\r\n",
            // The last text stands far behind the first, in a content that is not kept in the database.
            "aW52b2ljZSBpbnZvaWNl\r\n".repeat(if number % 40 == 2 { 20_000 } else { 2 })
        ),
        _ => format!("{head}Content-Type: message/rfc822\r\n\r\nSubject: inner {two}\r\n\r\n{one}\r\n"),
    };
    whole.into_bytes()
}

fn needle(random: &mut Random) -> String {
    match random.below(8) {
        0 => random.of(WORDS).to_owned(),
        1 => format!("{} {}", random.of(WORDS), random.of(WORDS)),
        2 => format!("{}{}", random.of(&["", " ", ".", "<", "=?"]), random.of(WORDS)),
        3 => random
            .of(&["e", "日", "ü", "%", "_", " ", "'", "\"", "\\", "0", "zzz", "Subject: ", "order.pdf", "inner"])
            .to_owned(),
        4 => long(random).chars().take(1 + random.below(80)).collect(),
        5 => format!("n{}", random.below(300)),
        // A part of what may stand there.
        _ => {
            let line = line(random);
            let start = random.below(line.chars().count());
            line.chars().skip(start).take(1 + random.below(12)).collect()
        }
    }
}

async fn inbox(store: &Store, account: &str) -> Mailbox {
    let account = store.account(account).await.unwrap().unwrap();
    store.mail(account.id, actor()).open("INBOX").await.unwrap()
}

async fn found(mailbox: &Mailbox, field: Field, needle: &str) -> Vec<u32> {
    let view = mailbox.view().await.unwrap();
    let all: Vec<storage::Message> = view.messages().map(|(_, message)| *message).collect();
    mailbox.holding(field, needle, &all).await.unwrap()
}

/// What reading every message finds; UIDs are given from 1 on.
fn read(messages: &[Vec<u8>], field: Field, needle: &str) -> Vec<u32> {
    let needle = fold(needle);
    let holds = |message: &Vec<u8>| {
        let text = text(message, &Structure::read(message));
        let (header, body) = (fold(&text.header).contains(&needle), fold(&text.body).contains(&needle));
        match field {
            Field::Header => header,
            Field::Body => body,
            Field::Text => header || body,
        }
    };
    (1..).zip(messages).filter(|(_, message)| holds(message)).map(|(uid, _)| uid).collect()
}

async fn account(store: &Store, name: &str) -> i64 {
    store.account(name).await.unwrap().unwrap().id
}

async fn a_search_finds_what_reading_finds(world: World) {
    let (store, _) = world.start().await;
    home(&store, "bob", None).await;
    let (alice, bob) = (account(&store, "alice").await, account(&store, "bob").await);
    let mut random = Random(7);
    let messages: Vec<Vec<u8>> = (0..80).map(|number| message(number, &mut random)).collect();
    for (number, message) in messages.iter().enumerate() {
        // Bob has some of the same, and words of his own, that Alice must not find.
        let to: &[(i64, &str)] = if number % 3 == 0 { &[(alice, "a"), (bob, "b")] } else { &[(alice, "a")] };
        deliver(&store, message, to).await.unwrap();
        deliver(&store, format!("Subject: n{number} invoice\r\n\r\nbobs\r\n").as_bytes(), &[(bob, "b")]).await.unwrap();
    }
    let inbox = inbox(&store, "alice").await;
    let mut hits = 0;
    for (phase, indexed) in [("nothing", 0), ("a part", 30), ("more", 50), ("all", 1000)] {
        let mut left = indexed;
        while left > 0 {
            match store.index_some(left.min(20)).await.unwrap() {
                0 => break,
                some => left -= some as i64,
            }
        }
        for _ in 0..80 {
            let needle = needle(&mut random);
            for field in [Field::Header, Field::Body, Field::Text] {
                let expected = read(&messages, field, &needle);
                hits += expected.len();
                assert_eq!(found(&inbox, field, &needle).await, expected, "{needle:?} with {phase} indexed, {field:?}");
            }
        }
    }
    assert!(hits > 3000, "the needles find something: {hits}");
    assert_eq!((store.status().await.unwrap().unindexed, store.index_some(10).await.unwrap()), (0, 0));

    assert_eq!(store.reindex(Some(alice)).await.unwrap(), 80);
    assert_eq!(store.status().await.unwrap().unindexed, 80, "those of Bob stay");
    for needle in ["invoice", "über", "order b"] {
        assert_eq!(found(&inbox, Field::Text, needle).await, read(&messages, Field::Text, needle), "{needle}");
    }
    assert!(store.reindex(None).await.unwrap() > 80);
    assert_eq!(world.tamper("DELETE FROM terms").await, 0, "nothing is left of the old index");
    while store.index_some(100).await.unwrap() > 0 {}
    for needle in ["invoice", "über", "order b"] {
        assert_eq!(found(&inbox, Field::Text, needle).await, read(&messages, Field::Text, needle), "{needle}");
    }
}

async fn the_index_answers_without_reading(world: World) {
    let (store, _) = world.start().await;
    let alice = account(&store, "alice").await;
    for number in 0..20 {
        let message = format!("Subject: Rechnung {number}\r\n\r\nVielen Dank, Teil{number}s\r\n");
        deliver(&store, message.as_bytes(), &[(alice, "a")]).await.unwrap();
    }
    let inbox = inbox(&store, "alice").await;
    while store.index_some(100).await.unwrap() > 0 {}
    assert_eq!(world.tamper("UPDATE blob_data SET data = SUBSTR(data, 1, 0)").await, 20, "no content can be read");
    assert_eq!(found(&inbox, Field::Body, "eil7").await, [8]);
    assert_eq!(found(&inbox, Field::Header, "rechnung").await.len(), 20);
    assert_eq!(found(&inbox, Field::Text, "nirgends").await, [0; 0]);
    let view = inbox.view().await.unwrap();
    let all: Vec<storage::Message> = view.messages().map(|(_, message)| *message).collect();
    assert_eq!(inbox.may_hold(Field::Header, "rechnung <7>", &all).await.unwrap(), [8]);
    assert_eq!(inbox.may_hold(Field::Header, "...", &all).await.unwrap().len(), 20);
    assert_eq!(found(&inbox, Field::Header, "vielen").await, [0; 0], "that is in the body");
    assert_eq!(found(&inbox, Field::Body, "vielen dank").await, [0; 0], "a phrase is looked for in the content");
}

async fn a_message_of_too_many_words_is_found(world: World) {
    let (store, _) = world.start().await;
    let alice = account(&store, "alice").await;
    let words: Vec<String> = (0..120_000).map(|number| format!("w{number:07}")).collect();
    let message = format!("Subject: dictionary\r\n\r\n{}\r\n", words.join(" "));
    deliver(&store, message.as_bytes(), &[(alice, "a")]).await.unwrap();
    for number in 0..10 {
        deliver(&store, format!("Subject: {number}\r\n\r\nw0000001\r\n").as_bytes(), &[(alice, "a")]).await.unwrap();
    }
    while store.index_some(100).await.unwrap() > 0 {}
    let inbox = inbox(&store, "alice").await;
    assert_eq!(found(&inbox, Field::Body, "W0119999").await, [1]);
    assert_eq!(found(&inbox, Field::Body, "w0000001").await.len(), 11);
    assert_eq!(found(&inbox, Field::Body, "w0000001 w0000002").await, [1]);
}

async fn what_is_removed_leaves_the_index(world: World) {
    let (store, _) = world.start().await;
    let alice = account(&store, "alice").await;
    home(&store, "bob", None).await;
    let bob = account(&store, "bob").await;
    deliver(&store, b"Subject: one\r\n\r\nshared\r\n", &[(alice, "a"), (bob, "b")]).await.unwrap();
    deliver(&store, b"Subject: two\r\n\r\nalone\r\n", &[(alice, "a")]).await.unwrap();
    while store.index_some(100).await.unwrap() > 0 {}
    store.remove_account(&actor(), "alice").await.unwrap();
    store.sweep(Duration::ZERO).await.unwrap();
    let (two, sql) =
        (found(&inbox(&store, "bob").await, Field::Text, "shared").await, "DELETE FROM terms WHERE account =");
    assert_eq!((two, world.tamper(&format!("{sql} {alice}")).await), (vec![1], 0));
    assert!(world.tamper(&format!("{sql} {bob}")).await > 0, "those of others stay");
    assert_eq!(world.tamper("UPDATE documents SET indexed = 1").await, 2, "the content that Bob has, for both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_need_not_wait_for_the_turn_of_the_last() {
    let world = World::embedded();
    let (store, _) = world.start().await;
    for _ in 0..2 {
        deliver(&store, b"Subject: one\r\n\r\n", &[(account(&store, "alice").await, "a")]).await.unwrap();
        store.reindex(None).await.unwrap();
    }
    assert_eq!(store.index_some(100).await.unwrap(), 1);
    drop(store);
    let store = world.reopen().await;
    let begun = Instant::now();
    assert_eq!(store.reindex(None).await.unwrap(), 1);
    assert_eq!(store.index_some(100).await.unwrap(), 1);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

async fn new_mail_is_indexed_soon(world: World) {
    let (store, _) = world.start().await;
    let alice = account(&store, "alice").await;
    let indexing = tokio::spawn({
        let store = store.clone();
        async move { store.index().await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    deliver(&store, b"Subject: soon\r\n\r\nbody\r\n", &[(alice, "a")]).await.unwrap();
    let begun = Instant::now();
    while store.status().await.unwrap().unindexed > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody indexes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    indexing.abort();
}

/// Prints how fast the index is made and asked, and how large it is: 20,000 messages of 4 KiB, words as rare as in
/// prose.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: TEST_MEASURE names the engine, sqlite or postgres"]
async fn the_index_is_measured() {
    let world = match std::env::var("TEST_MEASURE").as_deref() {
        Ok("sqlite") => World::embedded(),
        Ok("postgres") => World::shared().await,
        _ => return,
    };
    let (store, _) = world.start().await;
    let alice = account(&store, "alice").await;
    let mut random = Random(1);
    const MESSAGES: usize = 20_000;
    for number in 0..MESSAGES {
        let mut body = String::new();
        while body.len() < 3800 {
            // The square of the square: a few words are everywhere, most are rare.
            let rare = random.below(1000) * random.below(1000) / 1000;
            let word = rare * rare / 1000 * random.below(1000) / 1000 * 60 + random.below(1 + rare / 4);
            body.push_str(&format!("{}{} ", ["ba", "ke", "lo", "mi", "nu"][word % 5], radix(word)));
            if body.len().is_multiple_of(70) {
                body.push_str("\r\n");
            }
        }
        let message = format!("Subject: message {number}\r\nMessage-ID: <{number}@example.org>\r\n\r\n{body}\r\n");
        deliver(&store, message.as_bytes(), &[(alice, "a")]).await.unwrap();
    }
    home(&store, "bob", None).await;
    let bob = account(&store, "bob").await;
    let others = tokio::spawn({
        let store = store.clone();
        async move {
            let mut waits = Vec::new();
            loop {
                let begun = Instant::now();
                deliver(&store, format!("Subject: {}\r\n\r\n", waits.len()).as_bytes(), &[(bob, "b")]).await.unwrap();
                waits.push(begun.elapsed());
                if store.status().await.unwrap().unindexed < 100 {
                    waits.sort();
                    return (waits[waits.len() / 2], waits[waits.len() * 99 / 100], waits[waits.len() - 1]);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let before = world.bytes().await;
    let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
    loop {
        let batch = Instant::now();
        if store.index_some(100).await.unwrap() == 0 {
            break;
        }
        slowest = slowest.max(batch.elapsed());
    }
    let took = begun.elapsed();
    let grown = (world.bytes().await - before) / MESSAGES as u64;
    eprintln!(
        "indexed: {:.0}/s, the slowest 100 in {slowest:?}, {grown} bytes each",
        MESSAGES as f64 / took.as_secs_f64()
    );
    eprintln!("a delivery meanwhile took (half, 99%, all at most) {:?}", others.await.unwrap());
    let inbox = inbox(&store, "alice").await;
    for needle in ["message", "17777", "ba", "keo", "lo1 mi", "b"] {
        let (mut least, mut hits) = (Duration::MAX, 0);
        for _ in 0..20 {
            let begun = Instant::now();
            hits = found(&inbox, Field::Text, needle).await.len();
            least = least.min(begun.elapsed());
        }
        eprintln!("{needle:?}: {hits} found in {least:?}");
    }
}

fn radix(mut number: usize) -> String {
    let mut text = String::new();
    while number > 0 {
        text.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    text
}
