//! BODY[...] and BINARY[...]: parts of a message's content, streamed where they are large.

use std::ops::Range;

use protocol::{ReadError, Wire};
use storage::message::{Part, Structure, TransferDecoder};
use storage::{Content, Error, Wanted};

use super::Reading;
use super::filter::{Fields, Filter, Filtered};
use crate::codec::{Item, Section, SectionText};
use crate::reply;

/// What a filter is given at once, in memory.
const AT_ONCE: u64 = 256 << 10;

/// Where a message's parts come from.
pub(super) struct Source<'a> {
    pub(super) reading: &'a Reading<'a>,
    pub(super) content: Option<Content>,
    pub(super) structure: Option<Structure>,
}

/// What a section is made of.
enum Piece<'a> {
    /// A range of the message.
    Stored(Content, Range<u64>),
    /// What a filter lets through of a range of the message.
    Filtered(Content, Range<u64>, Filter<'a>),
    /// A header in memory.
    Header(&'a [u8]),
    /// What a filter lets through of a header in memory.
    Fields(&'a [u8], Filter<'a>),
    /// There is no such part.
    Nothing,
}

/// What an item asks for of the content, and how that is answered.
pub(super) struct Asked {
    /// The name it is answered under.
    label: String,
    pub(super) section: Section,
    /// Whether only its size is told.
    size: bool,
}

impl Asked {
    /// What an item asks for; `None` when it is nothing of the content.
    pub(super) fn by(item: &Item) -> Option<Asked> {
        let whole = |text, peek| Section { part: vec![], text, partial: None, peek, binary: false };
        let asked = |label: String, section| Asked { label, section, size: false };
        Some(match item {
            Item::Section(section) => asked(label(section), section.clone()),
            Item::BinarySize(part) => {
                let section = Section { part: part.clone(), binary: true, ..whole(SectionText::All, true) };
                Asked { size: true, ..asked(format!("BINARY.SIZE[{}]", numbers(part)), section) }
            }
            // What IMAP4rev1 has other names for keeps its name in the answer.
            Item::Rfc822 => asked("RFC822".into(), whole(SectionText::All, false)),
            Item::Rfc822Header => asked("RFC822.HEADER".into(), whole(SectionText::Header, true)),
            Item::Rfc822Text => asked("RFC822.TEXT".into(), whole(SectionText::Text, false)),
            _ => return None,
        })
    }
}

fn numbers(part: &[u32]) -> String {
    part.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Names of fields, quoted where they are no atoms.
fn names(fields: &[String]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let name = |field: &String| match !field.is_empty() && field.bytes().all(plain) {
        true => field.clone(),
        false => format!("\"{}\"", field.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    fields.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn label(section: &Section) -> String {
    let mut name = numbers(&section.part);
    let text = match &section.text {
        SectionText::All => String::new(),
        SectionText::Header => "HEADER".into(),
        SectionText::HeaderFields(fields) => format!("HEADER.FIELDS ({})", names(fields)),
        SectionText::HeaderFieldsNot(fields) => format!("HEADER.FIELDS.NOT ({})", names(fields)),
        SectionText::Text => "TEXT".into(),
        SectionText::Mime => "MIME".into(),
    };
    if !name.is_empty() && !text.is_empty() {
        name.push('.');
    }
    let origin = section.partial.map(|(from, _)| format!("<{from}>")).unwrap_or_default();
    format!("{}[{name}{text}]{origin}", if section.binary { "BINARY" } else { "BODY" })
}

/// Writes a section under its name. A content that cannot be read ends the connection: the response is begun.
pub(super) async fn put(wire: &mut Wire, source: &Source<'_>, asked: &Asked) -> Result<(), ReadError> {
    let section = &asked.section;
    let piece = source.piece(section).await.map_err(broke_off)?;
    wire.out.extend_from_slice(asked.label.as_bytes());
    wire.out.push(b' ');
    if asked.size {
        let size = size(piece).await.map_err(broke_off)?;
        reply::put(&mut wire.out, format_args!("{size}"));
        return Ok(());
    }
    match piece {
        Piece::Nothing => wire.out.extend_from_slice(b"NIL"),
        Piece::Header(header) => put_known(&mut wire.out, section, |out| out.extend_from_slice(header)),
        Piece::Fields(header, filter) => put_known(&mut wire.out, section, |out| filter.all(header, out)),
        Piece::Stored(content, range) => {
            let range = cut(section, range);
            reply::put(&mut wire.out, format_args!("{{{}}}\r\n", range.end - range.start));
            copy(wire, &content, range).await?;
        }
        Piece::Filtered(content, range, filter) if range.end - range.start <= AT_ONCE => {
            let octets = content.read(range).await.map_err(broke_off)?;
            put_known(&mut wire.out, section, |out| filter.all(&octets, out));
        }
        Piece::Filtered(content, range, filter) => {
            // Read twice: a literal's size is told before it.
            let wanted = cut(section, 0..u64::MAX);
            let measure = measure(&content, range.clone(), filter.clone(), &wanted).await.map_err(broke_off)?;
            let wanted = wanted.start.min(measure.size)..wanted.end.min(measure.size);
            let sign = if section.binary && measure.nul { "~" } else { "" };
            reply::put(&mut wire.out, format_args!("{sign}{{{}}}\r\n", wanted.end - wanted.start));
            let mut filtered = Filtered::new(&content, range, filter);
            while let Some((from, octets)) = filtered.next().await.map_err(broke_off)? {
                wire.out.extend_from_slice(within(octets, from, &wanted));
                wire.relieve().await?;
                if from + octets.len() as u64 >= wanted.end {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Writes the literal of what is written into memory; its size goes before it afterwards.
fn put_known(out: &mut Vec<u8>, section: &Section, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let range = cut(section, 0..(out.len() - start) as u64);
    out.truncate(start + range.end as usize);
    // A literal with NUL is only for BINARY (RFC 3516 §4.2).
    let octets = &out[start + range.start as usize..];
    let sign = if section.binary && octets.contains(&0) { "~" } else { "" };
    let size = format!("{sign}{{{}}}\r\n", octets.len());
    out.splice(start..start + range.start as usize, size.into_bytes());
}

async fn size(piece: Piece<'_>) -> Result<u64, Error> {
    Ok(match piece {
        Piece::Stored(_, range) => range.end - range.start,
        Piece::Filtered(content, range, filter) => measure(&content, range, filter, &(0..u64::MAX)).await?.size,
        Piece::Header(octets) | Piece::Fields(octets, _) => octets.len() as u64,
        Piece::Nothing => 0,
    })
}

/// What a filter lets through of a range.
struct Measure {
    /// How much it is, or so much that all that is wanted is in it.
    size: u64,
    /// Whether NUL is in what is wanted.
    nul: bool,
}

async fn measure(
    content: &Content,
    range: Range<u64>,
    filter: Filter<'_>,
    wanted: &Range<u64>,
) -> Result<Measure, Error> {
    let (mut filtered, mut measure) = (Filtered::new(content, range, filter), Measure { size: 0, nul: false });
    while measure.size < wanted.end
        && let Some((from, octets)) = filtered.next().await?
    {
        measure.size = from + octets.len() as u64;
        measure.nul = measure.nul || memchr::memchr(0, within(octets, from, wanted)).is_some();
    }
    Ok(measure)
}

/// Those octets, of which the first is the one at `from`, that are in a range.
fn within<'a>(octets: &'a [u8], from: u64, range: &Range<u64>) -> &'a [u8] {
    let at = |place: u64| (place.saturating_sub(from) as usize).min(octets.len());
    &octets[at(range.start)..at(range.end)]
}

/// The part of it that `<from.count>` asks for.
fn cut(section: &Section, range: Range<u64>) -> Range<u64> {
    match section.partial {
        None => range,
        Some((from, count)) => {
            let start = range.end.min(range.start.saturating_add(from));
            start..range.end.min(start.saturating_add(count))
        }
    }
}

/// Streams a range of a message.
async fn copy(wire: &mut Wire, content: &Content, range: Range<u64>) -> Result<(), ReadError> {
    let mut reader = content.reader(range);
    while let Some(piece) = reader.next().await.map_err(broke_off)? {
        wire.out.extend_from_slice(&piece);
        wire.relieve().await?;
    }
    Ok(())
}

/// A content that cannot be read to its end, when its response is begun.
fn broke_off(error: Error) -> ReadError {
    tracing::error!(%error, detail = error.detail(), "a message could not be read to its end");
    ReadError::Io(std::io::Error::other("the content broke off"))
}

impl Source<'_> {
    /// Whether a part is asked for without its transfer encoding, and nobody knows that (RFC 3516 §4.3).
    pub(super) fn is_undecodable(&self, section: &Section) -> bool {
        let known = |part: &Part| TransferDecoder::new(part.encoding_or_default()).is_some();
        section.binary && self.part(&section.part).is_some_and(|part| !known(part))
    }

    fn part(&self, numbers: &[u32]) -> Option<&Part> {
        if numbers.is_empty() {
            return None;
        }
        let structure = self.structure.as_ref()?;
        structure.find(numbers).and_then(|at| structure.parts.get(at))
    }

    /// What a section is made of.
    async fn piece<'a>(&'a self, section: &'a Section) -> Result<Piece<'a>, Error> {
        if section.part.is_empty() {
            return self.of_message(&section.text).await;
        }
        let (Some(structure), Some(part)) = (&self.structure, self.part(&section.part)) else {
            return Ok(Piece::Nothing);
        };
        // The header and text of a part are those of the message it holds (RFC 9051 §6.4.5.1).
        let held = part.children.first().filter(|_| part.is_message()).and_then(|&at| structure.parts.get(at));
        Ok(match (&section.text, held) {
            (SectionText::All, _) if section.binary => self.decoded(part)?,
            (SectionText::All, _) => self.stored(part.body())?,
            (SectionText::Mime, _) => self.stored(part.header())?,
            (SectionText::Text, Some(held)) => self.stored(held.body())?,
            (text, Some(held)) => of_header(text, self.content()?, held.header()),
            (_, None) => Piece::Nothing,
        })
    }

    async fn of_message<'a>(&'a self, text: &'a SectionText) -> Result<Piece<'a>, Error> {
        Ok(match text {
            SectionText::All => Piece::Stored(self.content()?, 0..u64::from(self.reading.message.size)),
            SectionText::Text => match self.structure.as_ref().and_then(|structure| structure.parts.first()) {
                Some(root) => self.stored(root.body())?,
                None => Piece::Nothing,
            },
            SectionText::Mime => Piece::Nothing,
            text => match self.reading.details.and_then(|details| details.header.as_deref()) {
                Some(header) => match fields(text) {
                    Some(filter) => Piece::Fields(header, filter),
                    None => Piece::Header(header),
                },
                // A very long header is not kept apart.
                None => of_header(text, self.reading.content().await?, self.header().await?),
            },
        })
    }

    /// A part without its transfer encoding (RFC 3516 §4.3).
    fn decoded(&self, part: &Part) -> Result<Piece<'static>, Error> {
        Ok(match TransferDecoder::new(part.encoding_or_default()) {
            Some(decoder) if decoder.is_plain() => self.stored(part.body())?,
            Some(decoder) => Piece::Filtered(self.content()?, wide(part.body()), Filter::Decoded(decoder)),
            None => Piece::Nothing,
        })
    }

    /// Where the message's header is.
    async fn header(&self) -> Result<Range<usize>, Error> {
        let Reading { mailbox, message, details } = self.reading;
        let mut structure = details.map(|details| details.structure.clone()).unwrap_or_default();
        if structure.is_empty() {
            let wanted = Wanted { structure: true, ..Wanted::default() };
            let known = mailbox.details(message.uid, message.uid, wanted).await?.pop();
            structure = known.map(|known| known.structure).unwrap_or_default();
        }
        let structure: Option<Structure> = serde_json::from_str(&structure).ok();
        structure.and_then(|structure| structure.parts.first().map(Part::header)).ok_or(Error::NotFound)
    }

    fn stored(&self, range: Range<usize>) -> Result<Piece<'static>, Error> {
        Ok(Piece::Stored(self.content()?, wide(range)))
    }

    fn content(&self) -> Result<Content, Error> {
        self.content.clone().ok_or_else(|| Error::internal("no content"))
    }
}

/// A header, or those of its fields that are asked for.
fn of_header(text: &SectionText, content: Content, header: Range<usize>) -> Piece<'_> {
    match fields(text) {
        Some(filter) => Piece::Filtered(content, wide(header), filter),
        None => Piece::Stored(content, wide(header)),
    }
}

/// What lets the fields through that are asked for; `None` for all.
fn fields(text: &SectionText) -> Option<Filter<'_>> {
    match text {
        SectionText::HeaderFields(names) => Some(Filter::Fields(Fields::new(names, true))),
        SectionText::HeaderFieldsNot(names) => Some(Filter::Fields(Fields::new(names, false))),
        _ => None,
    }
}

fn wide(range: Range<usize>) -> Range<u64> {
    range.start as u64..range.end as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_named_as_they_were_asked_for() {
        let section = Section {
            part: vec![1, 2],
            text: SectionText::HeaderFields(vec!["a".into(), "B".into()]),
            partial: Some((5, 10)),
            peek: true,
            binary: false,
        };
        assert_eq!(label(&section), "BODY[1.2.HEADER.FIELDS (a B)]<5>");
        assert_eq!(cut(&section, 100..200), 105..115);
        assert_eq!(cut(&section, 100..103), 103..103);
    }
}
