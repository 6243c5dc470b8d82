//! A search finds the same however many messages it looks through, and however much of them is in the index.

use crate::client::Client;
use crate::world::World;

/// More messages than are looked at without asking the index.
const MANY: usize = 140;

async fn append(client: &mut Client, message: &[u8]) {
    let announced = format!("a APPEND INBOX {{{}+}}\r\n", message.len());
    client.send([announced.as_bytes(), message, b"\r\n"].concat()).await;
    while !client.response().await.starts_with("a OK") {}
}

/// The UIDs a search finds.
async fn found(client: &mut Client, key: &str, needle: &str) -> String {
    client.send(format!("s UID SEARCH CHARSET UTF-8 {key} {{{}+}}\r\n{needle}\r\n", needle.len())).await;
    let mut found = String::new();
    loop {
        let response = client.response().await;
        match response.strip_prefix("* SEARCH") {
            Some(uids) => found = uids.trim().to_owned(),
            None if response.starts_with("s ") => {
                assert!(response.starts_with("s OK"), "{key} {needle}: {response}");
                return found;
            }
            None => {}
        }
    }
}

/// Asks all of it of a few messages, of many, and of many that are in the index; what was found.
async fn everywhere(messages: &[Vec<u8>], queries: &[(&str, String)]) -> Vec<String> {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    for message in messages {
        append(&mut client, message).await;
    }
    client.script("> SELECT INBOX\n...\nOK ...").await;
    let mut few = Vec::new();
    for (key, needle) in queries {
        few.push(found(&mut client, key, needle).await);
    }
    for number in 0..MANY {
        append(&mut client, format!("From: f@f.f\r\nSubject: filler {number}\r\n\r\n\r\n").as_bytes()).await;
    }
    client.script("> NOOP\n...\nOK ...").await;
    for phase in ["read", "indexed"] {
        for ((key, needle), few) in queries.iter().zip(&few) {
            assert_eq!(&found(&mut client, key, needle).await, few, "{key} {needle:?} of many, {phase}");
        }
        while world.store.index_some(100).await.unwrap() > 0 {}
    }
    few
}

#[tokio::test]
async fn odd_headers_are_found_among_few_and_many() {
    let many = |end: usize, text: &dyn Fn(usize) -> String| (0..end).map(text).collect::<String>();
    let addresses = many(8000, &|at| format!("user{at}@example{at}.org,\r\n "));
    let words = many(30_000, &|at| format!("w{at}\r\n "));
    let fields = many(2600, &|at| format!("X-{at}: {}\r\n", "y".repeat(900)));
    let messages: Vec<Vec<u8>> = [
        format!("To: {addresses}zebrafinch@quokka.example\r\nSubject: long list\r\n"),
        format!("X-Long: {words}capybara\r\nSubject: long field\r\n"),
        "From: \"Wom\\bat\" <a@b.example>\r\n".into(),
        "From: wal(hello)rus@b.example\r\n".into(),
        format!("Subject: long header\r\n{fields}X-Last: axolotl\r\n"),
        "Subject: foo\r\n  bar\r\n\tbaz\r\n".into(),
        "From: =?utf-8?q?Ec=68id?= =?utf-8?q?na?= <a@b.example>\r\n".into(),
        "From: J\u{f6}rg <a@b.example>\r\nSubject: D\u{fc}rer\r\nX-Odd: M\u{fc}nchen\r\n".into(),
        "Subject: =?iso-8859-1?q?D=FCr?= =?utf-8?q?er=C3=9F?=\r\n".into(),
        // An encoded word that the envelope has only a part of.
        format!("Subject: {} =?utf-8?q?platy{}pus?=\r\n", "x".repeat(1980), "_".repeat(200)),
        format!("Subject: {}\u{e9}chidn\u{e9}\r\n", "z".repeat(3000)),
    ]
    .map(|header| header.chars().map(|char| char as u8).chain(*b"\r\nbody\r\n").collect())
    .into();
    let expected = [
        ("HEADER To", "zebrafinch", "1"),
        ("HEADER X-Long", "capybara", "2"),
        ("FROM", "wombat", "3"),
        ("FROM", "walrus", "4"),
        ("HEADER X-Last", "axolotl", "5"),
        ("SUBJECT", "foo bar baz", "6"),
        ("HEADER Subject", "foo bar\tbaz", "6"),
        ("FROM", "echidna", "7"),
        ("FROM", "jörg", "8"),
        ("HEADER From", "jörg", "8"),
        ("SUBJECT", "dürer", "8 9"),
        ("HEADER X-Odd", "münchen", "8"),
        ("SUBJECT", "dürerß", "9"),
        ("SUBJECT", "utf-8?q?platy", "10"),
        ("TEXT", "walrus", "4"),
        ("HEADER Subject", "zéchidné", "11"),
    ];
    let queries: Vec<(&str, String)> = expected.iter().map(|(key, needle, _)| (*key, (*needle).to_owned())).collect();
    let found = everywhere(&messages, &queries).await;
    for ((key, needle, uids), found) in expected.iter().zip(found) {
        assert_eq!(found, *uids, "{key} {needle}");
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

/// What fields are made of, as bytes.
const PIECES: &[&str] = &[
    "wom",
    "bat",
    " ",
    "\r\n ",
    "\t",
    "\\",
    "\"",
    "(",
    ")",
    "<",
    ">",
    "@",
    ",",
    ":",
    ";",
    ".",
    "[",
    "]",
    "\u{fc}",
    "\u{c3}\u{bc}",
    "=?utf-8?q?=C3=BC?=",
    "=?iso-8859-1?q?=FCx_y?=",
    "=?utf-8?b?w7w=?=",
    "=?utf-8?q?=C3?=",
    "a@b.example",
    "\"wom\\bat\"",
    "(no(te))",
    "grp: ",
    "'",
    "=?",
    "?=",
    "emu",
];
/// What is looked for.
const NEEDLES: &[&str] = &[
    "wombat",
    "wom",
    "bat",
    "omb",
    "bat wom",
    "wom bat",
    "ü",
    "batü",
    "üwom",
    "\\",
    "wom\\bat",
    "a@b",
    "b.example",
    "note",
    "no(te",
    "bat <",
    "x y",
    "=?utf-8",
    "utf",
    "ã",
    "emu,",
    "emu emu",
    " emu",
    "emu ",
    "grp",
    "iso",
    "c3",
    "womü",
];

#[tokio::test]
async fn whatever_stands_in_a_header_is_found_among_few_and_many() {
    let mut random = Random(11);
    let mut line = || (0..1 + random.below(9)).map(|_| PIECES[random.below(PIECES.len())]).collect::<String>();
    let header = |_| format!("From: {}\r\nTo: {}\r\nSubject: {}\r\nX-Odd: {}\r\n", line(), line(), line(), line());
    let messages: Vec<Vec<u8>> = (0..90)
        .map(header)
        .map(|header| header.chars().map(|char| char as u8).chain(*b"\r\nbody\r\n").collect())
        .collect();
    let keys = ["FROM", "TO", "SUBJECT", "HEADER From", "HEADER Subject", "HEADER X-Odd", "TEXT"];
    let queries: Vec<(&str, String)> =
        keys.iter().flat_map(|key| NEEDLES.iter().map(|needle| (*key, (*needle).to_owned()))).collect();
    let found = everywhere(&messages, &queries).await;
    let hits: usize = found.iter().map(|uids| uids.split(' ').filter(|uid| !uid.is_empty()).count()).sum();
    assert!(hits > 500, "the needles find something: {hits}");
}
