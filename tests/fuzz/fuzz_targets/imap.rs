//! IMAP: whatever is read as a command or as the text around an appended message can be answered safely.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../../protocols/imap/src"]
mod imap {
    pub mod codec;
}

use imap::codec::append::{self, First};
use imap::codec::{self, Command, Fault, Tagged};

fuzz_target!(|text: &[u8]| {
    for text in [text.to_vec(), [b"a ", text].concat(), [b"a UID ", text].concat()] {
        command(&text);
    }
    for text in [text.to_vec(), [b"a APPEND ", text].concat()] {
        appended(&text);
    }
    if let Ok(Some(_)) = append::next(text) {
        assert!(codec::literal_at_end(text).is_some());
    }
    if let Some(literal) = codec::literal_at_end(text) {
        let plus = if literal.nonsync { "+" } else { "" };
        let written = format!("{}{{{}{plus}}}", if literal.binary { "~" } else { "" }, literal.size);
        assert_eq!(codec::literal_at_end(written.as_bytes()), Some(literal));
    }
});

/// A command means the same with a space behind it, and in either form of names where no name can differ.
fn command(text: &[u8]) {
    let read = codec::parse(text, false);
    match &read {
        Ok(Tagged { tag, command }) => {
            answerable(tag, text);
            names(command);
            assert_eq!(codec::parse(&[text, b" "].concat(), false), read);
            assert!(append::first(text, false).is_err(), "a command is no APPEND");
        }
        Err(Fault { tag: Some(tag), .. }) => answerable(tag, text),
        Err(Fault { tag: None, .. }) => {}
    }
    let other = codec::parse(text, true);
    if !text.contains(&b'&') {
        assert_eq!(read, other);
    }
    if let Ok(Tagged { command, .. }) = other {
        names(&command);
    }
}

fn appended(text: &[u8]) {
    match append::first(text, false) {
        Ok(First::Message { tag, mailbox, .. }) => {
            answerable(&tag, text);
            clean(&mailbox);
            assert!(codec::literal_at_end(text).is_some());
            assert_eq!(codec::parse(text, false).unwrap_err().tag, Some(tag));
        }
        Ok(First::More) => assert!(codec::literal_at_end(text).is_some()),
        Err(fault) => {
            if let Some(tag) = fault.tag {
                answerable(&tag, text);
            }
        }
    }
}

/// The tag stands before the last response, so it must not look like another.
fn answerable(tag: &str, text: &[u8]) {
    assert!(text.starts_with(tag.as_bytes()));
    assert!(!tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_graphic() && !b"+*(){\"\\%".contains(&byte)));
}

fn names(command: &Command) {
    match command {
        Command::Select { mailbox, .. }
        | Command::Create { mailbox, .. }
        | Command::Delete(mailbox)
        | Command::Subscribe(mailbox, _)
        | Command::Status { mailbox, .. }
        | Command::GetQuotaRoot(mailbox)
        | Command::Copy { mailbox, .. }
        | Command::Move { mailbox, .. } => clean(mailbox),
        Command::Rename { from, to } => {
            clean(from);
            clean(to);
        }
        Command::List(list) => {
            clean(&list.reference);
            list.patterns.iter().for_each(|pattern| clean(pattern));
            assert!(!list.patterns.is_empty());
        }
        Command::Store { flags, .. } => flags.iter().for_each(|flag| {
            assert!(flag.bytes().all(|byte| byte.is_ascii_graphic()));
        }),
        _ => {}
    }
}

/// A name may stand in a response and in a log.
fn clean(name: &str) {
    assert!(!name.contains(char::is_control));
    let level = name.split('/').next().unwrap_or_default();
    assert!(level == "INBOX" || !level.eq_ignore_ascii_case("INBOX"), "INBOX has one spelling");
}
