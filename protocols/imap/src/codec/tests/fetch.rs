//! FETCH, STORE, COPY, MOVE and EXPUNGE.

use super::*;

fn fetch(set: &str, items: Vec<Item>) -> Command {
    Command::Fetch { uid: false, numbers: numbers(set), items, changed_since: None, vanished: false }
}

fn section(part: &[u32], text: SectionText) -> Section {
    Section { part: part.to_vec(), text, partial: None, peek: false, binary: false }
}

/// What one item of FETCH means.
fn item(text: &str) -> Option<Item> {
    match read(&format!("FETCH 1 {text}")) {
        Ok(Command::Fetch { mut items, .. }) if items.len() == 1 => items.pop(),
        _ => None,
    }
}

#[test]
fn items_alone_in_lists_and_as_macros() {
    use Item::*;
    all_mean(vec![
        ("FETCH 2:4 (FLAGS UID)", fetch("2:4", vec![Flags, Uid])),
        ("FETCH 1,3:* fast", fetch("1,3:*", vec![Flags, InternalDate, Size])),
        ("FETCH 1 ALL", fetch("1", vec![Flags, InternalDate, Size, Envelope])),
        ("FETCH 1 FULL", fetch("1", vec![Flags, InternalDate, Size, Envelope, Body])),
        ("FETCH * (body RFC822.Size)", fetch("*", vec![Body, Size])),
        ("FETCH 1 (PREVIEW (LAZY) PREVIEW)", fetch("1", vec![Preview(true), Preview(false)])),
        (
            "FETCH $ UID",
            Command::Fetch {
                uid: false,
                numbers: Numbers::Saved,
                items: vec![Uid],
                changed_since: None,
                vanished: false,
            },
        ),
        (
            "UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
            Command::Fetch {
                uid: true,
                numbers: numbers("300:500"),
                items: vec![Flags],
                changed_since: Some(12345),
                vanished: true,
            },
        ),
        (
            "FETCH 1:* PREVIEW (CHANGEDSINCE 9)",
            Command::Fetch {
                uid: false,
                numbers: numbers("1:*"),
                items: vec![Preview(false)],
                changed_since: Some(9),
                vanished: false,
            },
        ),
    ]);
    let simple = [
        ("BODYSTRUCTURE", BodyStructure),
        ("ENVELOPE", Envelope),
        ("MODSEQ", ModSeq),
        ("EMAILID", EmailId),
        ("THREADID", ThreadId),
        ("SAVEDATE", SaveDate),
        ("preview (lazy)", Preview(true)),
        ("RFC822", Rfc822),
        ("RFC822.HEADER", Rfc822Header),
        ("RFC822.TEXT", Rfc822Text),
        ("BINARY.SIZE[1.2]", BinarySize(vec![1, 2])),
        ("BINARY.SIZE[]", BinarySize(vec![])),
    ];
    for (text, expected) in simple {
        assert_eq!(item(text), Some(expected), "{text}");
    }
}

#[test]
fn sections() {
    use SectionText::*;
    let peek = |section| Section { peek: true, ..section };
    let partial = |partial, section| Section { partial: Some(partial), ..section };
    let binary = |section| Section { binary: true, ..section };
    let fields = owned(&["DATE", "From"]);
    for (text, expected) in [
        ("BODY[]", section(&[], All)),
        ("body.peek[]", peek(section(&[], All))),
        ("BODY[HEADER]", section(&[], Header)),
        ("BODY[TEXT]<0.2048>", partial((0, 2048), section(&[], Text))),
        ("BODY[]<10.99999999999>", partial((10, 99_999_999_999), section(&[], All))),
        ("BODY[4.2.2.1]", section(&[4, 2, 2, 1], All)),
        ("BODY[3.HEADER]", section(&[3], Header)),
        ("BODY[4.2.MIME]", section(&[4, 2], Mime)),
        ("BODY.PEEK[HEADER.FIELDS (DATE \"From\")]", peek(section(&[], HeaderFields(fields.clone())))),
        ("BODY[1.HEADER.FIELDS.NOT ({4}\r\nDATE From)]<1.2>", partial((1, 2), section(&[1], HeaderFieldsNot(fields)))),
        ("BINARY[1]", binary(section(&[1], All))),
        ("BINARY.PEEK[]<5.1>", partial((5, 1), binary(peek(section(&[], All))))),
    ] {
        assert_eq!(item(text), Some(Item::Section(expected)), "{text}");
    }
}

#[test]
fn what_no_fetch_is() {
    all_fail(&[
        "FETCH",
        "FETCH 1",
        "FETCH 0 FLAGS",
        "FETCH 1,, FLAGS",
        "FETCH 1 ()",
        "FETCH 1 (ALL)",
        "FETCH 1 (FLAGS ALL)",
        "FETCH 1 FLAGS UID",
        "FETCH 1 (FLAGS  UID)",
        "FETCH 1 (FLAGS UID",
        "FETCH 1 XYZZY",
        "FETCH 1 BODY[",
        "FETCH 1 BODY[X]",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[1",
        "FETCH 1 BODY[1TEXT]",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[.1]",
        "FETCH 1 BODY[1..2]",
        "FETCH 1 BODY[TEXT]<0.0>",
        "FETCH 1 BODY[TEXT]<0>",
        "FETCH 1 BODY[TEXT]<0.1",
        "FETCH 1 BODY[HEADER.FIELDS]",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BODY[HEADER.FIELDS (\"\")]",
        "FETCH 1 BODY[HEADER.FIELDS ({3}\r\na\r\n)]",
        "FETCH 1 BODY[HEADER.FIELDS (\"ü\")]",
        "FETCH 1 BODY.PEEK",
        "FETCH 1 BINARY",
        "FETCH 1 BINARY[1.TEXT]",
        "FETCH 1 BINARY[HEADER]",
        "FETCH 1 BINARY.SIZE[1]<0.5>",
        "FETCH 1 RFC822.PEEK",
        "FETCH 1 FLAGS ()",
        "FETCH 1 FLAGS (CHANGEDSINCE)",
        "FETCH 1 FLAGS (CHANGEDSINCE x)",
        "FETCH 1 FLAGS (X)",
        "FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
        "UID FETCH 1 FLAGS (VANISHED)",
    ]);
}

#[test]
fn store_and_its_flags() {
    let store = |how, silent, flags: &[&str]| Command::Store {
        uid: false,
        numbers: numbers("2:4"),
        how,
        silent,
        flags: owned(flags),
        unchanged_since: None,
    };
    use StoreHow::*;
    all_mean(vec![
        ("STORE 2:4 +FLAGS (\\Deleted)", store(Add, false, &["\\Deleted"])),
        ("STORE 2:4 -FLAGS.SILENT (\\SEEN $Forwarded)", store(Remove, true, &["\\Seen", "$Forwarded"])),
        ("STORE 2:4 flags ()", store(Replace, false, &[])),
        (
            "STORE 2:4 FLAGS \\answered \\flagged \\draft",
            store(Replace, false, &["\\Answered", "\\Flagged", "\\Draft"]),
        ),
        ("STORE 2:4 FLAGS.SILENT (Junk JUNK \\seen \\Seen junk)", store(Replace, true, &["Junk", "\\Seen"])),
        (
            "UID STORE 3 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($x)",
            Command::Store {
                uid: true,
                numbers: numbers("3"),
                how: Add,
                silent: true,
                flags: owned(&["$x"]),
                unchanged_since: Some(0),
            },
        ),
    ]);
    all_fail(&[
        "STORE 1",
        "STORE 1 FLAGS",
        "STORE 1 FLAGS ",
        "STORE 1 FLAGS (\\Recent)",
        "STORE 1 FLAGS (\\Frob)",
        "STORE 1 FLAGS (\\)",
        "STORE 1 FLAGS (\\*)",
        "STORE 1 FLAGS (a\\b)",
        "STORE 1 FLAGS (\"a\")",
        "STORE 1 FLAGS (a  b)",
        "STORE 1 FLAGS (a",
        "STORE 1 FLAGS (a) b",
        "STORE 1 FLAGS a]",
        "STORE 1 *FLAGS (a)",
        "STORE 1 FLAGS.LOUD (a)",
        "STORE 1 () FLAGS (a)",
        "STORE 1 (UNCHANGEDSINCE) FLAGS (a)",
        "STORE 1 (X 1) FLAGS (a)",
    ]);
}

#[test]
fn copy_move_and_expunge() {
    let mailbox = || "MEETING".to_owned();
    all_mean(vec![
        ("COPY 2:4 MEETING", Command::Copy { uid: false, numbers: numbers("2:4"), mailbox: mailbox() }),
        ("UID COPY $ MEETING", Command::Copy { uid: true, numbers: Numbers::Saved, mailbox: mailbox() }),
        ("UID MOVE 42:69 MEETING", Command::Move { uid: true, numbers: numbers("42:69"), mailbox: mailbox() }),
        ("MOVE * MEETING", Command::Move { uid: false, numbers: numbers("*"), mailbox: mailbox() }),
        ("EXPUNGE", Command::Expunge(None)),
        ("UID EXPUNGE 3000:3002", Command::Expunge(Some(numbers("3000:3002")))),
        ("UID EXPUNGE $", Command::Expunge(Some(Numbers::Saved))),
    ]);
    all_fail(&["COPY 1", "COPY MEETING", "MOVE 1 a b", "EXPUNGE 1", "UID EXPUNGE", "UID EXPUNGE x"]);
}
