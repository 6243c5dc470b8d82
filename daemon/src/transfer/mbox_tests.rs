//! Mbox files as many programs write them, and ours there and back.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::export::Wanted;
use super::frames::Held;
use super::mbox::{Messages, Own};
use super::mbox_files;
use super::mbox_head::Head;
use super::mbox_separator::{self, Separators};
use super::mbox_write::{Mbox, Writing};

type Seen = Result<(String, Vec<String>, i64), String>;

fn read(path: &Path) -> Vec<Seen> {
    let messages = Messages::open(path, false).unwrap();
    messages
        .map(|(_, item, _)| {
            let Some(mut item) = item.map_err(|error| error.to_string())? else { return Err("deleted".to_owned()) };
            let mut content = Vec::new();
            item.message.content.read_to_end(&mut content).unwrap();
            Ok((String::from_utf8(content).unwrap(), item.flags, item.seconds))
        })
        .collect()
}

fn read_text(text: &str) -> Vec<Seen> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mbox"), text).unwrap();
    read(&folder.path().join("mbox"))
}

fn contents(text: &str) -> Vec<String> {
    read_text(text)
        .into_iter()
        .map(|read| read.map_or_else(|why| format!("! {why}"), |(content, _, _)| content))
        .collect()
}

const RECEIVED: &str = "Date: yesterday\nReceived: by x; Sun, 9 Sep 2001 01:46:41 +0000 (UTC)\n";
const FROM: &str = "From ann@example.org Sun Sep  9 01:46:40 2001\n";

#[test]
fn separators_tell_dates() {
    for line in [
        "From a Sun Sep  9 01:46:40 2001\n",
        "From - Sun Sep 09 01:46:40 2001\r\n",
        "From \"a b\"@c Sun Sep  9 03:46:40 +0200 2001",
        "From a Sat, 8 Sep 2001 21:46:40 -0400",
        "From a Sun Sep  9 01:46:40 UTC 2001 remote from b",
    ] {
        assert_eq!(mbox_separator::date(line.as_bytes()), Some(1_000_000_000), "{line}");
    }
    for line in ["From here on", "From May 2001 it was", "From a Sun Sep 99 01:46:40 2001", "From \u{fc}", "From "] {
        assert!(!Separators::Dated.has(line.as_bytes(), || false), "{line}");
    }
}

#[test]
fn messages_are_parted_and_unquoted() {
    let text = format!(
        "{FROM}Subject: one\n\nHello.\n>From me\n>>From you\n\nFrom here on\n\n\n\
         {FROM}Subject: two\n\n\n{FROM}\n\n{FROM}x: y\n"
    );
    assert_eq!(
        contents(&text),
        [
            "Subject: one\r\n\r\nHello.\r\nFrom me\r\n>From you\r\n\r\nFrom here on\r\n\r\n",
            "Subject: two\r\n\r\n",
            "\r\n",
            "x: y\r\n"
        ]
    );
    assert_eq!(contents(""), Vec::<String>::new());
    assert_eq!(contents("rubbish\n"), ["! it is no mbox from here on"]);
    assert_eq!(contents(&format!("{FROM}A: b\r\n\r\nc\nd\r\n")), ["A: b\r\n\r\nc\nd\r\n"], "mail's own line ends stay");
}

#[test]
fn thunderbird_separates_without_dates() {
    let body = "Hello.\n\n>From a Sun Sep  9 01:46:40 2001\n\n>From \n>>From you\n\nFrom here on\n";
    let quoted = "Hello.\r\n\r\nFrom a Sun Sep  9 01:46:40 2001\r\n\r\nFrom \r\n>From you\r\n\r\nFrom here on\r\n";
    let text = format!("From \nA: b\n\n{body}From \n\n\nFrom \nC: d\n\ne\n\nFrom - Sun Sep 09 01:46:40 2001\nF: g\n");
    let expected = [format!("A: b\r\n\r\n{quoted}From \r\n\r\n"), "C: d\r\n\r\ne\r\n".into(), "F: g\r\n".into()];
    assert_eq!(contents(&text), expected);
    assert_eq!(contents(&text.replace('\n', "\r\n")), expected);
    assert_eq!(contents(&format!("\n{text}")), expected);
    let text = "From - Sun Sep 09 01:46:40 2001\nA: b\n\nFrom \nno\n\nFrom \nX-Mozilla-Status: 0000\nC: d\n";
    assert_eq!(contents(text).len(), 2, "a folder of several versions: {:?}", contents(text));
    let dated = format!("From \nDate: Sun, 9 Sep 2001 01:46:40 +0000\nReceived: x\n\n\nFrom \n{RECEIVED}\n");
    let seconds: Vec<i64> = read_text(&dated).into_iter().map(|read| read.unwrap().2).collect();
    assert_eq!(seconds, [1_000_000_000, 1_000_000_001], "a message without a date of the file's has its own");
}

#[test]
fn state_is_in_fields() {
    let text = format!(
        "{FROM}Status: RO\nX-Status: AF\nX-Keywords: $Label1\n  other\nSubject: one\nX-UID: 5\n\
         Received: x;\n Sun, 9 Sep 2001\n \
         01:46:41 +0000 (UTC)\n\nbody\n\nFrom nowhere\n"
    );
    let (content, flags, seconds) = read_text(&text)[0].clone().unwrap();
    assert!(
        content.starts_with("Subject: one\r\nReceived: x;\r\n Sun")
            && content.ends_with("body\r\n\r\nFrom nowhere\r\n")
    );
    assert_eq!(flags, ["\\Seen", "\\Answered", "\\Flagged", "$Label1", "other"]);
    assert_eq!(seconds, 1_000_000_000);
    let head = Head { bytes: b"Received: by x; Sun, 9 Sep 2001 01:46:41 +0000 (UTC)\nReceived: older\n".to_vec() };
    assert_eq!(head.fields(false).received, Some(1_000_000_001));
}

#[test]
fn thunderbird_keeps_state_in_fields() {
    let state = |first: &str, state: &str, keys: &str| {
        read_text(&format!(
            "From - Sun Sep 09 01:46:40 2001\r\n{first}X-Mozilla-Status: {state}\nX-Mozilla-Status2: 00000000\n\
             X-Mozilla-Keys: {keys}        \nA: b\r\n\r\nc\r\n\r\n"
        ))
    };
    let seen = |content: &str, flags: &[&str]| {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        vec![Ok((content.to_owned(), flags, 1_000_000_000))]
    };
    let content = "A: b\r\n\r\nc\r\n";
    assert_eq!(state("", "0000", ""), seen(content, &[]));
    assert_eq!(
        state("", "1005", "$label1 work"),
        seen(content, &["\\Seen", "\\Flagged", "$Forwarded", "$label1", "work"])
    );
    assert_eq!(state("", "0009", "x"), [Err("deleted".to_owned())]);
    let downloaded = "X-Account-Key: account1\r\nX-UIDL: 5\r\n";
    assert_eq!(state(downloaded, "0002", ""), seen(&format!("{downloaded}{content}"), &["\\Answered"]));
    let (found, flags, _) = state("Received: x\r\n", "0009", "x")[0].clone().unwrap();
    assert!(flags.is_empty() && found.contains("X-Mozilla-Keys"), "a sender deletes nothing: {found}");
}

#[test]
fn the_data_of_a_folder_is_no_message() {
    let data = "X-IMAP: 1000000000 0000000005 $Label1\n";
    let text = format!(
        "{FROM}Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n{data}\nx\n\n{FROM}{data}A: b\n\n\
         {FROM}Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
    );
    let subject = "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\r\n";
    assert_eq!(contents(&text), ["A: b\r\n\r\n", subject], "it has both");
}

#[test]
fn a_length_is_believed_where_it_fits() {
    let body = format!("one\n\n{FROM}>From two\n");
    let counted = format!("{FROM}Content-Length: {}\nA: b\n\n{body}\n{FROM}C: d\n\ne\n", body.len());
    let expected = format!("A: b\r\n\r\n{}", body.replace('\n', "\r\n"));
    assert_eq!(contents(&counted), [expected.as_str(), "C: d\r\n\r\ne\r\n"]);
    let quoted = format!("{FROM}Content-Length: 10\nA: b\n\n>From two\n\n{FROM}C: d\n\ne\n");
    assert_eq!(contents(&quoted), ["A: b\r\n\r\nFrom two\r\n", "C: d\r\n\r\ne\r\n"]);
    for wrong in [0_u64, 3, 10_000, u64::MAX] {
        let text = format!("{FROM}Content-Length: {wrong}\nA: b\n\none\ntwo\n\n{FROM}C: d\n\ne\n");
        assert_eq!(contents(&text), ["A: b\r\n\r\none\r\ntwo\r\n", "C: d\r\n\r\ne\r\n"], "{wrong}");
    }
}

#[test]
fn long_lines_and_headers_are_survived() {
    let line = "x".repeat(300_000);
    let long =
        format!("{FROM}A: {line}\n\n{line}From {line}\n>From {line}\n\n{FROM}{}\n\nb\n", "y: z\n".repeat(300_000));
    let found = contents(&long);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], format!("A: {line}\r\n\r\n{line}From {line}\r\nFrom {line}\r\n"));
    assert_eq!(contents(&format!("From {line}\nA: b\n")), ["A: b\r\n"]);
}

/// Messages of which every byte must come back.
const HARD: [&str; 14] = [
    "A: b\r\n\r\nHello.\r\n",
    "A: b\r\n\r\nno line end",
    "A: b\r\n\r\n",
    "A: b\r\n",
    "",
    "\r\n",
    "\r\n\r\n\r\n",
    "no header",
    "A: b\r\n\r\nFrom a Sun Sep  9 01:46:40 2001\r\n>From b\r\n>>From c\r\n\r\n",
    "From a Sun Sep  9 01:46:40 2001\r\nA: b\r\n\r\nx\r\n",
    "A: b\r\n\r\nbare\nline ends\n",
    "A: b\n\nbare\r\n",
    "A: b\r\n\r\n\r\r\ntwo\rreturns\r\r\n\r",
    "Status: RO\r\nX-Wharfinger: 1.2 3\r\nContent-Length: 9\r\n\r\nmine\r\n",
];

fn wanted(uid: u32, content: &str) -> Wanted {
    let flags = vec!["\\Seen".to_owned(), "$Label1".to_owned(), "a,b".to_owned()];
    let held = Held { uid, hash: String::new(), received: 1_000_000_000_500, flags, size: content.len() as u64 };
    Wanted { uidvalidity: 5, held }
}

fn write(mbox: &mut Mbox, uid: u32, content: &str) -> io::Result<()> {
    let mut writing = Writing::new();
    for piece in content.as_bytes().chunks(1 + uid as usize % 7) {
        writing.write(piece)?;
    }
    mbox.end(writing, &wanted(uid, content))?;
    mbox.flush()
}

#[test]
fn what_is_exported_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b.mbox");
    let long = format!("A: b\r\n\r\n{}\r\r{}\r\n", "x".repeat(65_535), "y".repeat(65_535));
    let all: Vec<&str> = HARD.into_iter().chain([&*long]).collect();
    let mut mbox = Mbox::open(None, &path).unwrap();
    for (uid, content) in (1..).zip(&all) {
        write(&mut mbox, uid, content).unwrap();
    }
    let flags = ["\\Seen", "$Label1", "a,b"].map(str::to_owned).to_vec();
    let expected: Vec<Seen> =
        all.iter().map(|content| Ok(((*content).to_owned(), flags.clone(), 1_000_000_000))).collect();
    for (found, expected) in read(&path).iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(read(&path).len(), all.len());
    assert_eq!(mbox_files::find(folder.path(), None, &mut |_, why| panic!("{why}")), [("a/b".to_owned(), path)]);
}

#[test]
fn folders_of_files_are_mailboxes() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("Keep.sbd")).unwrap();
    fs::write(folder.path().join("Keep"), format!("{FROM}A: b\n")).unwrap();
    for empty in ["Trash", "Keep.sbd/a.b", "Keep.sbd/a.b.msf", "INBOX.mbox", "empty.html", ".lock"] {
        fs::write(folder.path().join(empty), "").unwrap();
    }
    fs::create_dir(folder.path().join("x.sbd")).unwrap();
    fs::write(folder.path().join("x.sbd/y"), "").unwrap();
    let found = mbox_files::find(folder.path(), Some("Old"), &mut |path, why| panic!("{}: {why}", path.display()));
    let found: Vec<String> = found.into_iter().map(|(mailbox, _)| mailbox).collect();
    assert_eq!(found, ["Old/INBOX", "Old/Keep", "Old/Keep/a.b", "Old/Trash", "Old/x.sbd/y"]);
}

#[test]
fn an_interrupted_export_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mbox");
    let mut mbox = Mbox::open(None, &path).unwrap();
    write(&mut mbox, 1, HARD[0]).unwrap();
    write(&mut mbox, 2, HARD[8]).unwrap();
    write(&mut mbox, 3, HARD[10]).unwrap();
    write(&mut mbox, 4, HARD[1]).unwrap();
    drop(mbox);
    let whole = fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut mbox = Mbox::open(None, &path).unwrap();
        for (uid, content) in [(1, HARD[0]), (2, HARD[8]), (3, HARD[10]), (4, HARD[1])] {
            if !mbox.has((5, uid)) {
                write(&mut mbox, uid, content).unwrap();
            }
        }
        drop(mbox);
        assert!(fs::read(&path).unwrap() == whole, "cut off at {length}");
    }
    for tail in [FROM, &format!("{FROM}X-Wharfinger: 5.9 99\n")] {
        let text = [&whole, tail.as_bytes()].concat();
        fs::write(&path, &text).unwrap();
        assert!(Mbox::open(None, &path).is_err(), "other mail is left alone: {tail:?}");
        assert!(fs::read(&path).unwrap() == text, "{tail:?}");
    }
    fs::write(&path, format!("{FROM}A: b\n\nmine\n")).unwrap();
    assert!(Mbox::open(None, &path).is_err(), "other mail is left alone");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{FROM}A: b\n\nmine\n"));
}

#[test]
fn what_another_program_has_changed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mbox");
    let content = "A: b\r\nC: d\r\n\r\nHello.\r\nFrom me\r\n";
    let mut mbox = Mbox::open(None, &path).unwrap();
    write(&mut mbox, 1, "E: f\r\n\r\n").unwrap();
    write(&mut mbox, 2, content).unwrap();
    drop(mbox);
    let whole = fs::read_to_string(&path).unwrap();
    let ours = "Status: RO\nX-Status: \nX-Keywords: $Label1 a,b\nA: b\nC: d\n";
    let (before, _) = whole.rsplit_once(ours).unwrap();
    let flags = ["\\Seen", "\\Flagged", "$Label1", "a,b"].map(str::to_owned).to_vec();
    let theirs = "X-Keywords: $Label1 a,b\nA: b\nC: d\nStatus: RO\nX-Status: F\nLines: 2\nContent-Length:";
    let seen = |content: &str| Ok((content.to_owned(), flags.clone(), 1_000_000_000));
    // Mutt writes the fields of the state behind the others. A message that is otherwise the same is there.
    for (body, is_there) in [("Hello.\n>From me\n", true), ("Hello.\n", false), ("Hello, more.\n>Fro\n", false)] {
        for end in ["\n", "", "\n\n"] {
            let text = format!("{before}{theirs} {}\n\n{body}{end}", body.len());
            fs::write(&path, &text).unwrap();
            let expected = format!("A: b\r\nC: d\r\n\r\n{}", body.replace(">From", "From").replace('\n', "\r\n"));
            let end = if end.len() < 2 { "" } else { "\r\n" };
            assert_eq!(read(&path)[1], seen(&(expected.clone() + end)), "{text}");
            let mut mbox = Mbox::open(None, &path).unwrap();
            assert_eq!((mbox.has((5, 1)), mbox.has((5, 2))), (true, is_there && end.is_empty()), "{text}");
            write(&mut mbox, 3, content).unwrap();
            let after = fs::read_to_string(&path).unwrap();
            assert!(after.starts_with(&text) && read(&path).len() == 3, "{after}");
        }
    }
    // What is shorter than its mark says, and not the last one, was cut off before that came.
    let text = format!("{before}{ours}\nHel\n\n{FROM}");
    fs::write(&path, text.replace(FROM, &whole)).unwrap();
    assert!(Mbox::open(None, &path).unwrap().has((5, 2)), "it was written again");
    let shortened = whole.replacen("E: f", "E:", 1);
    fs::write(&path, &shortened).unwrap();
    assert_eq!(Messages::open(&path, false).unwrap().read().unwrap().own, Own::Changed);
    assert!(!Mbox::open(None, &path).unwrap().has((5, 1)), "it is written once more");
    assert_eq!(read(&path).len(), 2);
    assert_eq!(fs::read_to_string(&path).unwrap(), shortened);
}
