mod known;

use std::time::{Duration, Instant};

use super::*;

/// The parts as `n type header..body..end lines`, indented by their depth.
fn told(message: &[u8]) -> Vec<String> {
    let structure = Structure::read(message);
    let mut depth = vec![0; structure.parts.len()];
    let mut all = Vec::new();
    for (number, part) in structure.parts.iter().enumerate() {
        for &child in &part.children {
            depth[child] = depth[number] + 1;
        }
        let lines = part.lines.map_or(String::new(), |lines| format!(" {lines}"));
        all.push(format!(
            "{}{}/{} {}..{}..{}{lines}",
            " ".repeat(depth[number]),
            part.kind,
            part.subtype,
            part.header,
            part.body,
            part.end
        ));
    }
    all
}

fn body(message: &str, section: &[u32]) -> String {
    let structure = Structure::read(message.as_bytes());
    let part = structure.find(section).map(|at| &structure.parts[at]);
    part.map_or("none".into(), |part| message[part.body()].to_owned())
}

#[test]
fn a_message_is_described() {
    let parsed = parse(
        b"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
          Message-ID: <1@example.org>\r\n\r\nHello  there,\r\nBob.\r\n",
    );
    let envelope: MessageEnvelope = serde_json::from_str(&parsed.envelope).unwrap();
    assert_eq!(envelope.subject.as_deref().map(decoded).as_deref(), Some("Grüße"));
    assert_eq!(
        (parsed.preview.as_str(), parsed.ids.message_id.as_deref()),
        ("Hello there, Bob.", Some("1@example.org"))
    );
    assert!(parsed.header.unwrap().ends_with(b"<1@example.org>\r\n\r\n"));
    let structure: Structure = serde_json::from_str(&parsed.structure).unwrap();
    assert_eq!((structure.parts.len(), structure.parts[0].lines), (1, Some(2)));
}

#[test]
fn parts_stand_where_others_find_them() {
    for (message, bodies) in known::BODIES {
        for (section, expected) in *bodies {
            let numbers: Vec<u32> = section.split('.').map(|number| number.parse().unwrap()).collect();
            let found = body(message, &numbers).replace("\r\n", "\n").replace('\n', "\r\n");
            assert_eq!(found, *expected, "{section} of {message}");
        }
    }
}

#[test]
fn sections_that_are_none() {
    let message =
        known::BODIES.iter().map(|(message, _)| *message).find(|message| message.contains("preamble")).unwrap();
    for section in [&[4][..], &[1, 1], &[3, 2], &[3, 1, 1], &[0], &[2, 2], &[u32::MAX]] {
        assert_eq!(body(message, section), "none", "{section:?}");
    }
    assert_eq!(body("Subject: x\r\n\r\nhello", &[1, 1]), "none");
    assert_eq!(body("Subject: x\r\n\r\nhello", &[]), "hello");
}

#[test]
fn parts_are_told() {
    assert_eq!(told(b""), ["text/plain 0..0..0 0"]);
    assert_eq!(told(b"\r\nx\r\ny"), ["text/plain 0..2..6 1"]);
    assert_eq!(told(b"A: b"), ["text/plain 0..4..4 0"]);
}

/// Parses what an attacker may send, in a time that grows with its size alone, to something that is not too large.
fn survive(what: &str, message: &str) -> Structure {
    let read = || {
        let start = Instant::now();
        let parsed = parse(message.as_bytes());
        let structure: Structure = serde_json::from_str(&parsed.structure).unwrap();
        let found = text(message.as_bytes(), &structure);
        (start.elapsed(), parsed, structure, found)
    };
    let (mut taken, parsed, structure, found) = read();
    let size = parsed.envelope.len() + parsed.structure.len();
    assert!(size < 4 << 20, "{what}: {size} bytes are kept");
    assert!(found.header.len() + found.body.len() <= 4 << 20);
    // A second for each megabyte is a hundred times what it takes, so that it fails only when it is not linear.
    let limit = Duration::from_millis(1000 + message.len() as u64 / 1000);
    // A busy machine pauses now and then; what is not linear takes too long each time.
    for _ in 0..2 {
        if taken >= limit {
            taken = taken.min(read().0);
        }
    }
    assert!(taken < limit, "{what}: {taken:?}");
    check(message.as_bytes(), &structure);
    structure
}

/// What holds for every structure.
fn check(message: &[u8], structure: &Structure) {
    for (number, part) in structure.parts.iter().enumerate() {
        assert!(part.header <= part.body && part.body <= part.end && part.end <= message.len());
        for &child in &part.children {
            let child = &structure.parts[child];
            assert!(part.body <= child.header && child.end <= part.end, "a part lies in its parent");
        }
        assert!(part.children.iter().all(|&child| child > number && child < structure.parts.len()));
        assert_eq!(part.is_message(), part.children.len() == 1 && part.kind == "message");
    }
}

#[test]
fn a_multipart_without_parts_has_one_which_is_its_body() {
    let message = "Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n\
                   --b\r\n\r\ntext\r\n--b--\r\n";
    let structure = Structure::read(message.as_bytes());
    let body = |section: &[u32]| structure.find(section).map(|at| &message[structure.parts[at].body()]);
    assert_eq!(body(&[1, 1]), Some("--b\r\n\r\ntext\r\n--b--\r\n"));
    assert_eq!((body(&[1, 2]), body(&[1, 1, 1])), (None, None));
    let within = Structure::read(&message.as_bytes()[32..]);
    assert_eq!((within.find(&[1]), within.find(&[2])), (Some(0), None));
}

#[test]
fn hostile_structures_are_survived() {
    let multipart = |at: usize| format!("Content-Type: multipart/mixed; boundary=b{at}_\r\n\r\n--b{at}_\r\n");
    let deep: String = (0..10_000).map(multipart).collect();
    let structure = survive("10,000 nested parts", &deep);
    assert_eq!((structure.parts.len(), structure.parts[99].subtype.as_str()), (100, "octet-stream"));
    assert_eq!(structure.parts[0].end, deep.len());

    let structure = survive("messages in messages", &"Content-Type: message/rfc822\r\n\r\n".repeat(10_000));
    assert_eq!(structure.parts.len(), 100);

    let wide =
        format!("Content-Type: multipart/digest; boundary=b\r\n\r\n{}", "--b\r\n\r\nTo: x\r\n\r\n".repeat(50_000));
    assert!(survive("50,000 messages in a digest", &wide).parts.len() <= 1000);

    let empty = "--b\r\nContent-Type: message/rfc822\r\n\r\n".repeat(100);
    survive("messages without anything", &format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{empty}--b--"));
    survive(
        "parts without anything",
        &format!("Content-Type: multipart/digest; boundary=b\n\n{}", "--b\n".repeat(5000)),
    );
    survive(
        "an empty part in another",
        "Content-Type: multipart/a; boundary=a\n\n--a\nContent-Type: multipart/b; \
             boundary=ab\n\n--ab\nx\n--ab\n--a\n",
    );
    let nested: String = (0..100).map(multipart).collect();
    survive("boundaries that almost are some", &(nested.clone() + &"--b9\r\n--b\r\n--\r\n".repeat(100_000)));
    survive("lines that begin as boundaries do", &(nested + &format!("--{}\r\n", "b".repeat(60)).repeat(20_000)));

    let long = format!("Content-Type: text/plain; {}\r\n\r\nx", "a=\"b\"; ".repeat(200_000));
    assert!(survive("200,000 parameters", &long).parts[0].parameters.len() < 60);
    let pieces: String = (0..5000).map(|at| format!(" x*{at}=y;")).collect();
    survive("a parameter in 5,000 pieces", &format!("Content-Type: text/plain;{pieces}\r\n\r\n"));
    let part = format!("--b\r\nContent-Type: a/b; x=\"{}\"\r\nContent-ID: {0}\r\n\r\n", "y".repeat(1900));
    survive(
        "a thousand long names",
        &format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", part.repeat(1000)),
    );
}

#[test]
fn hostile_headers_are_survived() {
    for (what, message) in [
        ("500,000 addresses", format!("To: {}\r\n\r\n", "a@b.example, ".repeat(500_000))),
        ("100,000 fields", "To: a@b\r\nX: y\r\nReferences: <z>\r\n".repeat(33_334)),
        ("one endless field", format!("Subject: {}", "=?utf-8?q?=41?= ".repeat(300_000))),
        ("endless folds", format!("Subject: x\r\n{}", " \r\n".repeat(500_000))),
        ("no colon", "x".repeat(5_000_000)),
        ("nothing but line ends", "\r\n".repeat(1_000_000)),
        ("comments", format!("From: {}\r\nContent-Type: {0}\r\n\r\n", "(".repeat(2_000_000))),
        ("quotes", format!("From: {}\r\nContent-Type: text/plain; x={0}\r\n\r\n", "\"\\".repeat(1_000_000))),
        ("groups", format!("To: {}", "a:;".repeat(1_000_000))),
        ("open HTML", format!("Content-Type: text/html\r\n\r\n{}", "<!--<p &".repeat(500_000))),
        ("open words", format!("Subject: {}", "=?utf-8?b?".repeat(500_000))),
        ("bare LF and NUL", "A: b\nSubject: \0\n\n\0".to_owned()),
    ] {
        survive(what, &message);
    }
    let many = parse(format!("To: {}\r\n\r\n", "a@b.example, ".repeat(500_000)).as_bytes());
    assert!(many.envelope.len() < 10_000 && many.header.is_none());
    assert!(!parse(b"Subject: a\0b\r\n\r\nc\0d").preview.contains('\0'));
}

#[test]
fn searches_see_what_readers_see() {
    let message = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
                   preamble\r\n\
                   --b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
                   Content-Transfer-Encoding: quoted-printable\r\n\
                   \r\nsch=F6n=\r\nheit\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
                   <style>hidden</style><p class=hidden>a &lt; <b>b</b>old</p>\r\n--b\r\n\
                   Content-Type: application/pdf; name*=utf-8''%C3%84.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n\
                   aGlkZGVu\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n\
                   innermost\r\n--b--\r\nhidden\r\n";
    let found = text(message.as_bytes(), &Structure::read(message.as_bytes()));
    assert!(found.header.contains("Subject: Grüße\n") && !found.header.contains("innermost"));
    for visible in ["schönheit", "a < bold", "Ä.pdf", "Subject: inner", "innermost"] {
        assert!(found.body.contains(visible), "{visible} in {}", found.body);
    }
    assert!(!found.body.contains("preamble") && !found.body.contains("hidden"), "{}", found.body);
    assert_eq!(parse(message.as_bytes()).preview, "schönheit");
    let html = parse(b"Content-Type: text/html\r\n\r\n<p>One</p>\r\n<p>two &amp; three");
    assert_eq!(html.preview, "One two & three");
}
