//! What stands before a message in an mbox, behind its separator: our mark, and the fields that tell its state.

use time::OffsetDateTime;

use super::flags;
use super::message::Ends;
use time::format_description::well_known::Rfc2822;

/// The field by which an export marks its messages, the first of each.
const MARK: &str = "X-Wharfinger";
/// How the lines begin that an export puts before a message.
pub(super) const OURS: [&str; 4] = ["X-Wharfinger: ", "Status: ", "X-Status: ", "X-Keywords: "];

/// How the fields begin in which Thunderbird keeps a message's state, the first of each.
pub(super) const MOZILLA: &[u8; 10] = b"X-Mozilla-";

/// The subject of what is no message, but a folder's data.
const INTERNAL: &str = "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA";

/// Which message it is, as an export has marked it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) uidvalidity: u32,
    pub(super) uid: u32,
    /// Its bytes in the store.
    pub(super) size: u64,
    /// Whether its line ends are as they were in the store.
    pub(super) raw: bool,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mark { uidvalidity, uid, size, raw } = self;
        write!(formatter, "{MARK}: {uidvalidity}.{uid} {size}{}", if *raw { " raw" } else { "" })
    }
}

impl Mark {
    /// What is done about the line ends of what it stands before.
    pub(super) fn ends(&self) -> Ends {
        if self.raw { Ends::Keep } else { Ends::Complete }
    }
}

/// Reads a mark.
fn mark(line: &[u8]) -> Option<Mark> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.strip_prefix(MARK)?.strip_prefix(": ")?.split_whitespace();
    let (uidvalidity, uid) = words.next()?.split_once('.')?;
    let (size, raw) = (words.next()?.parse().ok()?, words.next() == Some("raw"));
    line.ends_with('\n').then_some(Mark { uidvalidity: uidvalidity.parse().ok()?, uid: uid.parse().ok()?, size, raw })
}

/// A header as it was read.
#[derive(Default)]
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
}

/// What a header says of the message's state, and the rest of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) mark: Option<Mark>,
    pub(super) kept: Vec<u8>,
    pub(super) status: String,
    pub(super) more_status: String,
    pub(super) keywords: String,
    /// What Thunderbird keeps of its state, where its fields stand first.
    pub(super) mozilla: Option<u32>,
    pub(super) mozilla_keys: String,
    pub(super) length: Option<u64>,
    /// Whether it is no message, but where servers of the University of Washington's line keep what they know.
    pub(super) internal: bool,
    /// The date of the newest Received field, in seconds since the Unix epoch, and that of the Date field.
    pub(super) received: Option<i64>,
    pub(super) date: Option<i64>,
}

impl Head {
    /// Takes out the fields that mbox programs have put in; `ours` is whether one of them may be an export.
    pub(super) fn fields(&self, ours: bool) -> Fields {
        let first = &self.bytes[..field_end(&self.bytes)];
        let mut fields = Fields { mark: mark(first).filter(|_| ours), ..Fields::default() };
        let mut rest = if fields.mark.is_some() { &self.bytes[first.len()..] } else { &self.bytes[..] };
        // A field of Thunderbird's below others came with the message, from whoever sent it.
        let mut leading = true;
        let (mut data, mut named) = (false, false);
        while !rest.is_empty() {
            let (field, after) = rest.split_at(field_end(rest));
            rest = after;
            let text = String::from_utf8_lossy(field);
            let (name, value) = text.split_once(':').unwrap_or_default();
            let value = value.trim();
            let name = name.to_ascii_lowercase();
            leading &= name.starts_with("x-mozilla-") || matches!(&*name, "x-account-key" | "x-uidl");
            match name.as_str() {
                "x-mozilla-status" if leading => fields.mozilla = u32::from_str_radix(value, 16).ok(),
                "x-mozilla-keys" if leading => value.clone_into(&mut fields.mozilla_keys),
                "x-mozilla-status2" if leading => {}
                "status" => value.clone_into(&mut fields.status),
                "x-status" => value.clone_into(&mut fields.more_status),
                "x-keywords" => value.clone_into(&mut fields.keywords),
                "content-length" => fields.length = value.parse().ok(),
                "x-imap" => data = true,
                "x-uid" | "x-imapbase" => {}
                "subject" => {
                    fields.kept.extend_from_slice(field);
                    named |= value == INTERNAL;
                }
                // Mutt adds them to what it writes anew.
                "lines" if fields.mark.is_some() => {}
                "received" => {
                    fields.kept.extend_from_slice(field);
                    let newest = || value.rsplit_once(';').and_then(|(_, moment)| date(moment));
                    fields.received = fields.received.or_else(newest);
                }
                "date" => {
                    fields.kept.extend_from_slice(field);
                    fields.date = fields.date.or_else(|| date(value));
                }
                _ => fields.kept.extend_from_slice(field),
            }
        }
        fields.internal = data && named;
        fields
    }
}

impl Fields {
    /// The flags they mean; `None` where the message was deleted, and awaits that its folder is compacted.
    pub(super) fn flags(&self) -> Option<Vec<String>> {
        let mut flags = flags::of_mbox(&self.status, &self.more_status, &self.keywords, self.mark.is_some());
        if let Some(state) = self.mozilla {
            flags.extend(flags::of_mozilla(state, &self.mozilla_keys)?);
        }
        Some(flags)
    }
}

/// Where a field ends: behind the first line that no indented one follows.
fn field_end(header: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = memchr::memchr(b'\n', &header[at..]) {
        at += length + 1;
        if !matches!(header.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
    header.len()
}

/// A date as mail writes it (RFC 5322 §3.3), in seconds since the Unix epoch.
fn date(value: &str) -> Option<i64> {
    let date = value.split('(').next()?.split_whitespace().collect::<Vec<_>>().join(" ");
    OffsetDateTime::parse(&date, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}
