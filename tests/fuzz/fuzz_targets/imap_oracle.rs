//! IMAP: what imap-codec reads as a command, we do too, with the same tag and name; the exceptions are told below.

#![no_main]

use imap_codec::CommandCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::command::{Command as Theirs, CommandBody};
use imap_codec::imap_types::extensions::binary::LiteralOrLiteral8;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../../protocols/imap/src"]
mod imap {
    pub mod codec;
}

use imap::codec::append::{self, First};
use imap::codec::{self, Command};

/// Beginnings of commands, so that the fuzzer spends its time on arguments; the first octet chooses.
const BEGINNINGS: [&str; 38] = [
    "",
    "a ",
    "a ID (",
    "a AUTHENTICATE ",
    "a LOGIN ",
    "a ENABLE ",
    "a SELECT ",
    "a SELECT b (QRESYNC (1 ",
    "a EXAMINE b (",
    "a CREATE ",
    "a RENAME ",
    "a SUBSCRIBE ",
    "a LIST ",
    "a LSUB ",
    "a STATUS b (",
    "a GETQUOTA ",
    "a SETQUOTA b (",
    "a COMPRESS ",
    "a EXPUNGE",
    "a UID EXPUNGE ",
    "a SEARCH ",
    "a SEARCH OR (",
    "a UID SEARCH NOT ",
    "a SEARCH CHARSET ",
    "a SORT (",
    "a UID SORT (DATE) UTF-8 ",
    "a THREAD ",
    "a FETCH ",
    "a FETCH 1 ",
    "a FETCH 1 (",
    "a UID FETCH 1 (BODY[",
    "a STORE 1 ",
    "a UID STORE 1 (UNCHANGEDSINCE ",
    "a STORE 1 +FLAGS (",
    "a COPY ",
    "a UID MOVE ",
    "a APPEND ",
    "a APPEND b (",
];

fuzz_target!(|input: &[u8]| {
    let Some((selector, arguments)) = input.split_first() else { return };
    let beginning = BEGINNINGS[usize::from(*selector) % BEGINNINGS.len()];
    let text = [beginning.as_bytes(), arguments, b"\r\n"].concat();
    let Ok((rest, theirs)) = CommandCodec::default().decode(&text) else { return };
    let text = &text[..text.len() - rest.len() - 2];
    match &theirs.body {
        CommandBody::Append { message, .. } => appended(text, &theirs, message),
        _ => command(text, &theirs),
    }
});

fn command(text: &[u8], theirs: &Theirs<'_>) {
    match codec::parse(text, false) {
        Ok(ours) => {
            assert_eq!(ours.tag, theirs.tag.as_ref());
            assert_eq!(name(&ours.command), theirs.name());
        }
        Err(fault) => {
            assert_eq!(fault.tag.as_deref(), Some(theirs.tag.as_ref()));
            justified(fault.text, theirs);
        }
    }
}

/// The text of an APPEND is what stands before its message.
fn appended(text: &[u8], theirs: &Theirs<'_>, message: &LiteralOrLiteral8<'_>) {
    let size = match message {
        LiteralOrLiteral8::Literal(literal) => literal.data().len(),
        LiteralOrLiteral8::Literal8(literal) => literal.data.len(),
    };
    let line = text[..text.len() - size].strip_suffix(b"\r\n").expect("a literal begins a line");
    match append::first(line, false) {
        Ok(First::Message { tag, .. }) => assert_eq!(tag, theirs.tag.as_ref()),
        Ok(First::More) => panic!("the mailbox's name is there: {theirs:?}"),
        Err(fault) => justified(fault.text, theirs),
    }
}

/// Why we refuse what the grammar allows.
fn justified(fault: &str, theirs: &Theirs<'_>) {
    let reason = match fault {
        "no mailbox can have this name: it is malformed" => "names are modified UTF-7 (RFC 3501 §5.1.3), or UTF-8",
        "a string is not UTF-8" => "every text has a charset, and where none is named it is UTF-8",
        "a quoted string holds no control characters" => "nothing on one line needs them; literals take them",
        "unknown system flag, or one that a client cannot set" => "PERMANENTFLAGS tells which there are",
        "no field of a header has such a name" => "RFC 5322 §2.2; the response repeats it",
        "ID takes at most 30 fields" | "a field of ID has at most 30 octets, its value 1024" => "RFC 2971 §3.3",
        "search keys nest too deep" | "too many search keys" => "a bound of ours",
        "a sequence set has too many ranges" => "a bound of ours",
        "a number has more than 63 bits" => "RFC 9051 §9, number64; RFC 7162 §7",
        "unknown algorithm; REFERENCES and ORDEREDSUBJECT are known" => "no other is announced",
        "VANISHED needs UID FETCH and CHANGEDSINCE" => "RFC 7162 §3.2.6",
        "* is nothing that a client knows" => "RFC 7162 §7, known-uids",
        "a list is empty that must not be" if matches!(theirs.name(), "STATUS" | "FETCH") => {
            "RFC 9051 §9: one item at least; the oracle is too generous"
        }
        _ => panic!("refused: {fault}; but it is {theirs:?}"),
    };
    assert!(!reason.is_empty());
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Capability => "CAPABILITY",
        Command::Noop => "NOOP",
        Command::Logout => "LOGOUT",
        Command::Id(_) => "ID",
        Command::StartTls => "STARTTLS",
        Command::Authenticate { .. } => "AUTHENTICATE",
        Command::Login { .. } => "LOGIN",
        Command::Enable(_) => "ENABLE",
        Command::Select { examine: false, .. } => "SELECT",
        Command::Select { .. } => "EXAMINE",
        Command::Create { .. } => "CREATE",
        Command::Delete(_) => "DELETE",
        Command::Rename { .. } => "RENAME",
        Command::Subscribe(_, true) => "SUBSCRIBE",
        Command::Subscribe(..) => "UNSUBSCRIBE",
        Command::List(list) if list.lsub => "LSUB",
        Command::List(_) => "LIST",
        Command::Namespace => "NAMESPACE",
        Command::Status { .. } => "STATUS",
        Command::Idle => "IDLE",
        Command::GetQuota(_) => "GETQUOTA",
        Command::GetQuotaRoot(_) => "GETQUOTAROOT",
        Command::SetQuota(_) => "SETQUOTA",
        Command::Compress => "COMPRESS",
        Command::Check => "CHECK",
        Command::Close => "CLOSE",
        Command::Unselect => "UNSELECT",
        Command::Expunge(_) => "EXPUNGE",
        Command::Search { .. } => "SEARCH",
        Command::Sort { .. } => "SORT",
        Command::Thread { .. } => "THREAD",
        Command::Fetch { .. } => "FETCH",
        Command::Store { .. } => "STORE",
        Command::Copy { .. } => "COPY",
        Command::Move { .. } => "MOVE",
    }
}
