//! What FETCH asks for (RFC 9051 §6.4.5).

/// One item. The macros `ALL`, `FAST` and `FULL` are resolved into their items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `UID`.
    Uid,
    /// `FLAGS`.
    Flags,
    /// `INTERNALDATE`.
    InternalDate,
    /// `RFC822.SIZE`.
    Size,
    /// `ENVELOPE`.
    Envelope,
    /// `BODY` without a section: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`.
    BodyStructure,
    /// `MODSEQ` (RFC 7162).
    ModSeq,
    /// `EMAILID` (RFC 8474).
    EmailId,
    /// `THREADID`.
    ThreadId,
    /// `SAVEDATE` (RFC 8514).
    SaveDate,
    /// `PREVIEW`, and whether with `(LAZY)` (RFC 8970).
    Preview(bool),
    /// `BODY[...]`, `BODY.PEEK[...]`, `BINARY[...]`, `BINARY.PEEK[...]`.
    Section(Section),
    /// `BINARY.SIZE[part]` (RFC 3516).
    BinarySize(Vec<u32>),
    /// `RFC822`, of IMAP4rev1: as `BODY[]`.
    Rfc822,
    /// `RFC822.HEADER`: as `BODY.PEEK[HEADER]`.
    Rfc822Header,
    /// `RFC822.TEXT`: as `BODY[TEXT]`.
    Rfc822Text,
}

/// A part of a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The part's number, as `[1, 2]` for `1.2`; empty for the message itself.
    pub part: Vec<u32>,
    /// What of the part.
    pub text: SectionText,
    /// `<from.count>`: which octets of it; the count is at least 1.
    pub partial: Option<(u64, u64)>,
    /// Whether `\Seen` is left alone.
    pub peek: bool,
    /// Whether it is `BINARY`, with the transfer encoding taken off.
    pub binary: bool,
}

/// What of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// All of it.
    All,
    /// `HEADER`.
    Header,
    /// `HEADER.FIELDS (...)`, with the names as they came.
    HeaderFields(Vec<String>),
    /// `HEADER.FIELDS.NOT (...)`.
    HeaderFieldsNot(Vec<String>),
    /// `TEXT`.
    Text,
    /// `MIME`.
    Mime,
}
