//! BODY[...] and BINARY[...]: parts of a message's content, streamed where they are large.

use std::borrow::Cow;
use std::ops::Range;

use protocol::{ReadError, Wire};
use storage::message::{Part, Structure, decode_transfer};
use storage::{Content, Error, Wanted};

use super::Reading;
use bytes::Bytes;

use crate::codec::{Item, Section, SectionText};

/// Where a message's parts come from.
pub(super) struct Source<'a> {
    pub(super) reading: &'a Reading<'a>,
    pub(super) content: Option<Content>,
    pub(super) structure: Option<Structure>,
}

/// What a section is made of.
enum Piece {
    /// A range of the message.
    Stored(Range<u64>),
    /// Made here.
    Made(Vec<u8>),
    /// There is no such part.
    Nothing,
}

/// The section that an item asks for, with the name it is answered under.
pub(super) fn asked(item: &Item) -> Option<(String, Cow<'_, Section>)> {
    let whole = |text| Cow::Owned(Section { part: vec![], text, partial: None, peek: true, binary: false });
    match item {
        Item::Section(section) => Some((label(section), Cow::Borrowed(section))),
        Item::BinarySize(part) => {
            let section =
                Section { part: part.clone(), text: SectionText::All, partial: None, peek: true, binary: true };
            Some((format!("BINARY.SIZE[{}]", numbers(part)), Cow::Owned(section)))
        }
        Item::Rfc822 => Some(("RFC822".into(), whole(SectionText::All))),
        Item::Rfc822Header => Some(("RFC822.HEADER".into(), whole(SectionText::Header))),
        Item::Rfc822Text => Some(("RFC822.TEXT".into(), whole(SectionText::Text))),
        _ => None,
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

/// Writes a section under its name; the error when it could not be read.
pub(super) async fn put(
    wire: &mut Wire,
    source: &Source<'_>,
    label: &str,
    section: &Section,
) -> Result<Option<Error>, ReadError> {
    let piece = match source.piece(section).await {
        Ok(piece) => piece,
        Err(error) => return Ok(Some(error)),
    };
    wire.out.extend_from_slice(label.as_bytes());
    wire.out.push(b' ');
    if label.starts_with("BINARY.SIZE") {
        let size = match piece {
            Piece::Stored(range) => range.end - range.start,
            Piece::Made(octets) => octets.len() as u64,
            Piece::Nothing => 0,
        };
        wire.out.extend_from_slice(size.to_string().as_bytes());
        return Ok(None);
    }
    match piece {
        Piece::Nothing => wire.out.extend_from_slice(b"NIL"),
        Piece::Made(octets) => {
            let range = cut(section, 0..octets.len() as u64);
            let octets = &octets[range.start as usize..range.end as usize];
            // A literal with NUL is only for BINARY (RFC 3516 §4.2).
            let sign = if section.binary && octets.contains(&0) { "~" } else { "" };
            wire.out.extend_from_slice(format!("{sign}{{{}}}\r\n", octets.len()).as_bytes());
            wire.out.extend_from_slice(octets);
        }
        Piece::Stored(range) => {
            let range = cut(section, range);
            let Some(content) = &source.content else { return Ok(Some(Error::internal("no content"))) };
            wire.out.extend_from_slice(format!("{{{}}}\r\n", range.end - range.start).as_bytes());
            copy(wire, content, range).await?;
        }
    }
    Ok(None)
}

/// The part of it that `<from.count>` asks for.
fn cut(section: &Section, range: Range<u64>) -> Range<u64> {
    match section.partial {
        None => range,
        Some((from, count)) => {
            let start = range.end.min(range.start + u64::from(from));
            start..range.end.min(start + u64::from(count))
        }
    }
}

/// Streams a range of a message. A content that breaks off within ends the connection: the literal's length was told.
async fn copy(wire: &mut Wire, content: &Content, range: Range<u64>) -> Result<(), ReadError> {
    let mut reader = content.reader(range);
    loop {
        match reader.next().await {
            Ok(Some(piece)) => {
                wire.out.extend_from_slice(&piece);
                wire.relieve().await?;
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::error!(%error, detail = error.detail(), "a message could not be read to its end");
                return Err(ReadError::Io(std::io::Error::other("the content broke off")));
            }
        }
    }
}

impl Source<'_> {
    /// Whether an item asks for a part without its transfer encoding, and nobody knows that (RFC 3516 §4.3).
    pub(super) fn is_undecodable(&self, item: &Item) -> bool {
        let part = match item {
            Item::BinarySize(part) => part,
            Item::Section(section) if section.binary => &section.part,
            _ => return false,
        };
        self.part(part).is_some_and(|part| decode_transfer(part.encoding_or_default(), b"").is_none())
    }

    fn part(&self, numbers: &[u32]) -> Option<&Part> {
        if numbers.is_empty() {
            return None;
        }
        let structure = self.structure.as_ref()?;
        structure.find(numbers).and_then(|at| structure.parts.get(at))
    }

    /// What a section is made of.
    async fn piece(&self, section: &Section) -> Result<Piece, Error> {
        if section.part.is_empty() {
            return self.of_message(section).await;
        }
        let (Some(structure), Some(part)) = (&self.structure, self.part(&section.part)) else {
            return Ok(Piece::Nothing);
        };
        // The header and text of a part are those of the message it holds (RFC 9051 §6.4.5.1).
        let within = part.children.first().filter(|_| part.is_message()).and_then(|&at| structure.parts.get(at));
        Ok(match (&section.text, within) {
            (SectionText::All, _) if section.binary => return self.decoded(part).await,
            (SectionText::All, _) => stored(part.body()),
            (SectionText::Mime, _) => stored(part.header()),
            (SectionText::Header, Some(within)) => stored(within.header()),
            (SectionText::Text, Some(within)) => stored(within.body()),
            (SectionText::HeaderFields(names), Some(within)) => {
                Piece::Made(fields(&self.bytes(within.header()).await?, names, true))
            }
            (SectionText::HeaderFieldsNot(names), Some(within)) => {
                Piece::Made(fields(&self.bytes(within.header()).await?, names, false))
            }
            (_, None) => Piece::Nothing,
        })
    }

    async fn of_message(&self, section: &Section) -> Result<Piece, Error> {
        Ok(match &section.text {
            SectionText::All => Piece::Stored(0..u64::from(self.reading.message.size)),
            SectionText::Header => Piece::Made(self.header().await?.into_owned()),
            SectionText::HeaderFields(names) => Piece::Made(fields(&self.header().await?, names, true)),
            SectionText::HeaderFieldsNot(names) => Piece::Made(fields(&self.header().await?, names, false)),
            SectionText::Text => match self.structure.as_ref().and_then(|structure| structure.parts.first()) {
                Some(root) => stored(root.body()),
                None => Piece::Nothing,
            },
            SectionText::Mime => Piece::Nothing,
        })
    }

    /// A part without its transfer encoding (RFC 3516 §4.3).
    async fn decoded(&self, part: &Part) -> Result<Piece, Error> {
        let plain = matches!(part.encoding_or_default(), "7bit" | "8bit" | "binary");
        if plain {
            return Ok(stored(part.body()));
        }
        let body = self.bytes(part.body()).await?;
        let octets = decode_transfer(part.encoding_or_default(), &body);
        Ok(octets.map_or(Piece::Nothing, |octets| Piece::Made(octets.into_owned())))
    }

    /// The message's header: as it is kept, or of one that is very long from the content.
    async fn header(&self) -> Result<Cow<'_, [u8]>, Error> {
        if let Some(header) = self.reading.details.and_then(|details| details.header.as_deref()) {
            return Ok(Cow::Borrowed(header));
        }
        let Reading { mailbox, message, .. } = self.reading;
        let wanted = Wanted { structure: true, ..Wanted::default() };
        let details = mailbox.details(message.uid, message.uid, wanted).await?;
        let structure: Option<Structure> =
            details.first().and_then(|details| serde_json::from_str(&details.structure).ok());
        let header = structure.and_then(|structure| structure.parts.first().map(Part::header));
        let header = header.ok_or(Error::NotFound)?;
        let content = mailbox.content(message).await?;
        Ok(Cow::Owned(read(&content, header).await?.to_vec()))
    }

    async fn bytes(&self, range: Range<usize>) -> Result<Bytes, Error> {
        let content = self.content.as_ref().ok_or_else(|| Error::internal("no content"))?;
        read(content, range).await
    }
}

fn stored(range: Range<usize>) -> Piece {
    Piece::Stored(range.start as u64..range.end as u64)
}

async fn read(content: &Content, range: Range<usize>) -> Result<Bytes, Error> {
    content.read(range.start as u64..range.end as u64).await
}

/// The fields of a header that are named, or are not named, with the empty line behind them.
fn fields(header: &[u8], names: &[String], named: bool) -> Vec<u8> {
    let mut chosen = Vec::with_capacity(header.len().min(2048));
    let (mut at, mut taking) = (0, false);
    while at < header.len() {
        let end = memchr::memchr(b'\n', &header[at..]).map_or(header.len(), |end| at + end + 1);
        let line = &header[at..end];
        if line == b"\r\n" || line == b"\n" {
            break;
        }
        if !matches!(line[0], b' ' | b'\t') {
            let name = memchr::memchr(b':', line).map_or(&line[..0], |colon| line[..colon].trim_ascii_end());
            taking = names.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(name)) == named;
        }
        if taking {
            chosen.extend_from_slice(line);
        }
        at = end;
    }
    chosen.extend_from_slice(b"\r\n");
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_chosen_with_their_continuations() {
        let header = b"From: a\r\nSubject: b\r\n c\r\nX-Subject: d\r\nsubject : e\r\n\r\n";
        let names = vec!["SUBJECT".to_owned()];
        assert_eq!(fields(header, &names, true), b"Subject: b\r\n c\r\nsubject : e\r\n\r\n");
        assert_eq!(fields(header, &names, false), b"From: a\r\nX-Subject: d\r\n\r\n");
        assert_eq!(fields(b"", &names, false), b"\r\n");
    }

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
