//! Commands of IMAP4rev2 and IMAP4rev1 (RFC 9051 §9, RFC 3501 §9, and the extensions that the registry names): pure, so
//! that the fuzzer includes this folder as it stands.
//!
//! A command is text with literals in it. The session collects it with [`literal_at_end`] until it is whole, and then
//! [`parse`] reads it at once. Only the messages of APPEND are not collected but streamed: [`append`] reads the text
//! around them.

mod command;
mod dates;
mod lexer;

pub mod append;
pub mod fetch;
pub mod mailbox;
pub mod search;
pub mod sequence;

use std::fmt;

pub use command::parse;
pub use fetch::{Item, Section, SectionText};
pub use search::{Address, Key, Search, SortKey, ThreadBy};
pub use sequence::{Numbers, Range, SequenceSet};

/// A command with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// What the client calls it; stands before its last response.
    pub tag: String,
    /// The command.
    pub command: Command,
}

/// Why a text is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The tag, where one could be read; the response is tagged with it.
    pub tag: Option<String>,
    /// A sentence that tells the client what is wrong.
    pub text: &'static str,
}

/// The fault of a mailbox's name that is malformed: the command is understood, and there is no such mailbox.
pub const NO_NAME: &str = "no mailbox can have this name: it is malformed";

/// A command as the client gave it. `uid` tells whether it stood behind `UID` and speaks of UIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CAPABILITY`.
    Capability,
    /// `NOOP`.
    Noop,
    /// `LOGOUT`.
    Logout,
    /// `ID`: pairs of field and value (RFC 2971); empty for `NIL`.
    Id(Vec<(String, Option<String>)>),
    /// `STARTTLS`.
    StartTls,
    /// `AUTHENTICATE mechanism [initial-response]`; the response is in base 64 still, `=` is an empty one (RFC 4959).
    Authenticate {
        /// In upper case.
        mechanism: String,
        /// As it came.
        initial: Option<String>,
    },
    /// `LOGIN name password`.
    Login {
        /// Whose account.
        name: String,
        /// Its password.
        password: String,
    },
    /// `ENABLE`, with names in upper case (RFC 5161).
    Enable(Vec<String>),
    /// `SELECT` and `EXAMINE`.
    Select {
        /// Which mailbox.
        mailbox: String,
        /// Whether it was `EXAMINE`.
        examine: bool,
        /// `(CONDSTORE)` (RFC 7162 §3.1.8).
        condstore: bool,
        /// `(QRESYNC (...))` (RFC 7162 §3.2.5).
        qresync: Option<Qresync>,
    },
    /// `CREATE`.
    Create {
        /// Its name, without the hierarchy separator that may stand at its end (RFC 9051 §6.3.4).
        mailbox: String,
        /// `(USE (...))` (RFC 6154 §3): special uses with their backslash.
        special_use: Vec<String>,
    },
    /// `DELETE`.
    Delete(String),
    /// `RENAME`.
    Rename {
        /// What it is called.
        from: String,
        /// What it shall be called.
        to: String,
    },
    /// `SUBSCRIBE`, or `UNSUBSCRIBE` when false.
    Subscribe(String, bool),
    /// `LIST` and `LSUB`.
    List(List),
    /// `NAMESPACE`.
    Namespace,
    /// `STATUS`.
    Status {
        /// Which mailbox.
        mailbox: String,
        /// What of it.
        items: Vec<StatusItem>,
    },
    /// `IDLE`.
    Idle,
    /// `GETQUOTA root` (RFC 9208).
    GetQuota(String),
    /// `GETQUOTAROOT mailbox`.
    GetQuotaRoot(String),
    /// `SETQUOTA root (...)`; nobody may.
    SetQuota(String),
    /// `COMPRESS DEFLATE` (RFC 4978).
    Compress,
    /// `CHECK`.
    Check,
    /// `CLOSE`.
    Close,
    /// `UNSELECT`.
    Unselect,
    /// `EXPUNGE`, and `UID EXPUNGE set`.
    Expunge(Option<Numbers>),
    /// `SEARCH`.
    Search {
        /// Whether behind `UID`.
        uid: bool,
        /// What for.
        search: Search,
    },
    /// `SORT` (RFC 5256, RFC 5267).
    Sort {
        /// Whether behind `UID`.
        uid: bool,
        /// The order: keys with whether each is reversed.
        order: Vec<(SortKey, bool)>,
        /// What for.
        search: Search,
    },
    /// `THREAD` (RFC 5256).
    Thread {
        /// Whether behind `UID`.
        uid: bool,
        /// How.
        by: ThreadBy,
        /// What for.
        search: Search,
    },
    /// `FETCH`.
    Fetch {
        /// Whether behind `UID`.
        uid: bool,
        /// Which messages.
        numbers: Numbers,
        /// What of them; macros are resolved already.
        items: Vec<Item>,
        /// `(CHANGEDSINCE n)` (RFC 7162 §3.1.4.1).
        changed_since: Option<u64>,
        /// `(VANISHED)` (RFC 7162 §3.2.6).
        vanished: bool,
    },
    /// `STORE`.
    Store {
        /// Whether behind `UID`.
        uid: bool,
        /// Which messages.
        numbers: Numbers,
        /// What to do with the flags.
        how: StoreHow,
        /// Whether the outcome is not to be told.
        silent: bool,
        /// The flags, as they came, each once.
        flags: Vec<String>,
        /// `(UNCHANGEDSINCE n)` (RFC 7162 §3.1.3).
        unchanged_since: Option<u64>,
    },
    /// `COPY`.
    Copy {
        /// Whether behind `UID`.
        uid: bool,
        /// Which messages.
        numbers: Numbers,
        /// Where to.
        mailbox: String,
    },
    /// `MOVE` (RFC 6851).
    Move {
        /// Whether behind `UID`.
        uid: bool,
        /// Which messages.
        numbers: Numbers,
        /// Where to.
        mailbox: String,
    },
}

/// What a client knows of the mailbox it opens (RFC 7162 §3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qresync {
    /// The UIDVALIDITY it knows.
    pub uidvalidity: u32,
    /// The newest mod-sequence it knows.
    pub modseq: u64,
    /// The UIDs it knows; all from 1 where it does not say.
    pub known: Option<SequenceSet>,
    /// Pairs of sequence numbers and UIDs that it believes to belong together.
    pub matches: Option<(SequenceSet, SequenceSet)>,
}

/// `LIST` with all of its extensions (RFC 9051 §6.3.9), or `LSUB`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Whether it was `LSUB`.
    pub lsub: bool,
    /// `SUBSCRIBED`.
    pub subscribed: bool,
    /// `REMOTE`; there are none.
    pub remote: bool,
    /// `RECURSIVEMATCH`.
    pub recursive: bool,
    /// `SPECIAL-USE` as a selection (RFC 6154 §2).
    pub special_use: bool,
    /// The reference.
    pub reference: String,
    /// The patterns that names can be as; an empty one asks for the hierarchy separator.
    pub patterns: Vec<String>,
    /// Whether the command had the extended form, with several patterns or options: then LIST never answers with
    /// the separator alone.
    pub extended: bool,
    /// `RETURN (SUBSCRIBED)`.
    pub return_subscribed: bool,
    /// `RETURN (CHILDREN)`.
    pub return_children: bool,
    /// `RETURN (SPECIAL-USE)`.
    pub return_special_use: bool,
    /// `RETURN (STATUS (...))` (RFC 5819).
    pub return_status: Vec<StatusItem>,
}

/// What STATUS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    /// `MESSAGES`.
    Messages,
    /// `RECENT`, of IMAP4rev1.
    Recent,
    /// `UIDNEXT`.
    UidNext,
    /// `UIDVALIDITY`.
    UidValidity,
    /// `UNSEEN`.
    Unseen,
    /// `DELETED` (RFC 9208).
    Deleted,
    /// `DELETED-STORAGE` (RFC 9208).
    DeletedStorage,
    /// `SIZE` (RFC 8438).
    Size,
    /// `HIGHESTMODSEQ` (RFC 7162).
    HighestModSeq,
    /// `MAILBOXID` (RFC 8474).
    MailboxId,
    /// `APPENDLIMIT` (RFC 7889).
    AppendLimit,
}

/// What STORE does with flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreHow {
    /// `FLAGS`.
    Replace,
    /// `+FLAGS`.
    Add,
    /// `-FLAGS`.
    Remove,
}

/// A literal that a line announces at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal {
    /// Its octets.
    pub size: u64,
    /// Whether the client does not wait for `+` (RFC 7888).
    pub nonsync: bool,
    /// Whether it may hold NUL: `~{n}` (RFC 3516).
    pub binary: bool,
}

/// The literal that a line, without its CRLF, announces at its end. A number of more digits than 64 bits hold is
/// `u64::MAX`: it is a literal, and too large.
pub fn literal_at_end(line: &[u8]) -> Option<Literal> {
    let rest = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', rest)?;
    let digits = &rest[open + 1..];
    let (digits, nonsync) = digits.strip_suffix(b"+").map_or((digits, false), |digits| (digits, true));
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some(Literal { size, nonsync, binary: open > 0 && rest[open - 1] == b'~' })
}

impl StatusItem {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            StatusItem::Messages => "MESSAGES",
            StatusItem::Recent => "RECENT",
            StatusItem::UidNext => "UIDNEXT",
            StatusItem::UidValidity => "UIDVALIDITY",
            StatusItem::Unseen => "UNSEEN",
            StatusItem::Deleted => "DELETED",
            StatusItem::DeletedStorage => "DELETED-STORAGE",
            StatusItem::Size => "SIZE",
            StatusItem::HighestModSeq => "HIGHESTMODSEQ",
            StatusItem::MailboxId => "MAILBOXID",
            StatusItem::AppendLimit => "APPENDLIMIT",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text)
    }
}

#[cfg(test)]
mod tests;
