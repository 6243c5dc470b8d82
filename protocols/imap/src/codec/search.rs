//! What SEARCH, SORT and THREAD ask for (RFC 9051 §6.4.4, RFC 5256).

use super::sequence::Numbers;

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// `RETURN (...)` (RFC 4731, RFC 5182); `None` asks for the plain response of IMAP4rev1.
    pub returns: Option<Returns>,
    /// `CHARSET` in upper case, where it was given.
    pub charset: Option<String>,
    /// What messages must be.
    pub key: Key,
}

/// What ESEARCH returns; none set is `ALL`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returns {
    /// `MIN`.
    pub min: bool,
    /// `MAX`.
    pub max: bool,
    /// `ALL`.
    pub all: bool,
    /// `COUNT`.
    pub count: bool,
    /// `SAVE`.
    pub save: bool,
}

/// Which field of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// `FROM`.
    From,
    /// `TO`.
    To,
    /// `CC`.
    Cc,
    /// `BCC`.
    Bcc,
}

/// A search key. Days are counted from 1970-01-01.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `ALL`.
    All,
    /// Sequence numbers.
    Numbers(Numbers),
    /// `UID set`.
    Uid(Numbers),
    /// A system flag with its backslash, as `\Seen`, and whether it must be set (`SEEN`, `UNSEEN`).
    Flag(&'static str, bool),
    /// `KEYWORD`, or `UNKEYWORD` when false.
    Keyword(String, bool),
    /// `RECENT` (true) and `OLD` (false); `NEW` is `RECENT UNSEEN` (RFC 3501 §6.4.4).
    Recent(bool),
    /// The internal date: `BEFORE`.
    Before(i64),
    /// `ON`.
    On(i64),
    /// `SINCE`.
    Since(i64),
    /// The date in the header: `SENTBEFORE`.
    SentBefore(i64),
    /// `SENTON`.
    SentOn(i64),
    /// `SENTSINCE`.
    SentSince(i64),
    /// When it was put into this mailbox (RFC 8514): `SAVEDBEFORE`.
    SavedBefore(i64),
    /// `SAVEDON`.
    SavedOn(i64),
    /// `SAVEDSINCE`.
    SavedSince(i64),
    /// `SAVEDATESUPPORTED`.
    SaveDateSupported,
    /// `OLDER seconds` (RFC 5032).
    Older(u32),
    /// `YOUNGER seconds`.
    Younger(u32),
    /// `LARGER octets`.
    Larger(u64),
    /// `SMALLER octets`.
    Smaller(u64),
    /// `MODSEQ n` (RFC 7162 §3.1.5).
    ModSeq(u64),
    /// `FROM`, `TO`, `CC`, `BCC`.
    Address(Address, String),
    /// `SUBJECT`.
    Subject(String),
    /// `HEADER field text`; an empty text asks whether the field is there.
    Header(String, String),
    /// `BODY`.
    Body(String),
    /// `TEXT`.
    Text(String),
    /// `EMAILID` (RFC 8474).
    EmailId(String),
    /// `THREADID`.
    ThreadId(String),
    /// `NOT`.
    Not(Box<Key>),
    /// `OR`.
    Or(Box<Key>, Box<Key>),
    /// Several keys, all of which must hold.
    And(Vec<Key>),
}

/// What SORT orders by (RFC 5256 §3, RFC 5957).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// `ARRIVAL`.
    Arrival,
    /// `CC`.
    Cc,
    /// `DATE`.
    Date,
    /// `FROM`.
    From,
    /// `SIZE`.
    Size,
    /// `SUBJECT`.
    Subject,
    /// `TO`.
    To,
    /// `DISPLAYFROM`.
    DisplayFrom,
    /// `DISPLAYTO`.
    DisplayTo,
}

/// How THREAD threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadBy {
    /// `REFERENCES`.
    References,
    /// `ORDEREDSUBJECT`.
    OrderedSubject,
}
