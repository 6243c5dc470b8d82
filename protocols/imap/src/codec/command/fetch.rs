//! FETCH (RFC 9051 §6.4.5).

use super::super::lexer::{Lexer, Parsed};
use super::super::{Command, Item, Section, SectionText};

/// `FETCH numbers items [(modifiers)]`.
pub(super) fn fetch(uid: bool, lexer: &mut Lexer<'_>) -> Parsed<Command> {
    let numbers = lexer.numbers()?;
    lexer.space()?;
    let items = items(lexer)?;
    let (mut changed_since, mut vanished) = (None, false);
    if lexer.more() {
        lexer.space()?;
        lexer.list_of_some(|lexer| {
            match lexer.name()?.as_str() {
                "CHANGEDSINCE" => {
                    lexer.space()?;
                    changed_since = Some(lexer.number64()?);
                }
                "VANISHED" => vanished = true,
                _ => return Err("unknown modifier of FETCH; CHANGEDSINCE and VANISHED are known"),
            }
            Ok(())
        })?;
    }
    if vanished && !(uid && changed_since.is_some()) {
        // RFC 7162 §3.2.6
        return Err("VANISHED needs UID FETCH and CHANGEDSINCE");
    }
    Ok(Command::Fetch { uid, numbers, items, changed_since, vanished })
}

/// One item, several in parentheses, or a macro, which stands alone.
fn items(lexer: &mut Lexer<'_>) -> Parsed<Vec<Item>> {
    if lexer.peek() == Some(b'(') {
        return lexer.list_of_some(|lexer| {
            let name = item_name(lexer);
            item(&name, lexer)
        });
    }
    let name = item_name(lexer);
    let mut items = vec![Item::Flags, Item::InternalDate, Item::Size];
    match name.as_str() {
        "FAST" => {}
        "ALL" => items.push(Item::Envelope),
        "FULL" => items.extend([Item::Envelope, Item::Body]),
        name => return Ok(vec![item(name, lexer)?]),
    }
    Ok(items)
}

/// The name of an item, in upper case, up to a section.
fn item_name(lexer: &mut Lexer<'_>) -> String {
    let name = lexer.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    String::from_utf8_lossy(name).to_ascii_uppercase()
}

/// The item of this name, and what belongs to it.
fn item(name: &str, lexer: &mut Lexer<'_>) -> Parsed<Item> {
    Ok(match name {
        "UID" => Item::Uid,
        "FLAGS" => Item::Flags,
        "INTERNALDATE" => Item::InternalDate,
        "RFC822.SIZE" => Item::Size,
        "ENVELOPE" => Item::Envelope,
        "BODY" if lexer.peek() != Some(b'[') => Item::Body,
        "BODYSTRUCTURE" => Item::BodyStructure,
        "MODSEQ" => Item::ModSeq,
        "EMAILID" => Item::EmailId,
        "THREADID" => Item::ThreadId,
        "SAVEDATE" => Item::SaveDate,
        "PREVIEW" => Item::Preview(lexer.eat_text(" (LAZY)")),
        "BODY" => section(false, lexer)?,
        "BODY.PEEK" => section(true, lexer)?,
        "BINARY" => binary(false, lexer)?,
        "BINARY.PEEK" => binary(true, lexer)?,
        "BINARY.SIZE" => Item::BinarySize(part_alone(lexer)?),
        "RFC822" => Item::Rfc822,
        "RFC822.HEADER" => Item::Rfc822Header,
        "RFC822.TEXT" => Item::Rfc822Text,
        "ALL" | "FAST" | "FULL" => return Err("ALL, FAST and FULL stand alone, not in a list"),
        _ => return Err("unknown item of FETCH"),
    })
}

/// `[section]<partial>` of BODY.
fn section(peek: bool, lexer: &mut Lexer<'_>) -> Parsed<Item> {
    lexer.expect(b'[', "a section in brackets is missing")?;
    let part = part(lexer)?;
    let text = match item_name(lexer).as_str() {
        "" => SectionText::All,
        "HEADER" => SectionText::Header,
        "HEADER.FIELDS" => SectionText::HeaderFields(fields(lexer)?),
        "HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(fields(lexer)?),
        "TEXT" => SectionText::Text,
        "MIME" if part.ends_with_dot => SectionText::Mime,
        "MIME" => return Err("MIME belongs to a part: BODY[1.MIME]"),
        _ => return Err("unknown section"),
    };
    if part.ends_with_dot && text == SectionText::All {
        return Err("a section ends with a dot");
    }
    lexer.expect(b']', "a section is not closed with ]")?;
    let partial = partial(lexer)?;
    Ok(Item::Section(Section { part: part.numbers, text, partial, peek, binary: false }))
}

/// `[part]<partial>` of BINARY.
fn binary(peek: bool, lexer: &mut Lexer<'_>) -> Parsed<Item> {
    let part = part_alone(lexer)?;
    let partial = partial(lexer)?;
    Ok(Item::Section(Section { part, text: SectionText::All, partial, peek, binary: true }))
}

/// `[1.2]`, or `[]` for the whole message (RFC 3516 §4.1).
fn part_alone(lexer: &mut Lexer<'_>) -> Parsed<Vec<u32>> {
    lexer.expect(b'[', "a section in brackets is missing")?;
    let part = part(lexer)?;
    if part.ends_with_dot {
        return Err("a section ends with a dot");
    }
    lexer.expect(b']', "BINARY takes the number of a part alone")?;
    Ok(part.numbers)
}

/// The number of a part.
struct Part {
    numbers: Vec<u32>,
    ends_with_dot: bool,
}

/// `1.2`, or `1.2.` before a name.
fn part(lexer: &mut Lexer<'_>) -> Parsed<Part> {
    let mut part = Part { numbers: Vec::new(), ends_with_dot: false };
    while lexer.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        part.numbers.push(lexer.nz_number()?);
        part.ends_with_dot = lexer.eat(b'.');
        if !part.ends_with_dot {
            if lexer.peek() != Some(b']') {
                return Err("a dot stands between a part's number and what follows");
            }
            break;
        }
    }
    Ok(part)
}

/// ` (name ...)`. A field's name is printable ASCII (RFC 5322 §2.2); the response repeats it.
fn fields(lexer: &mut Lexer<'_>) -> Parsed<Vec<String>> {
    lexer.space()?;
    lexer.list_of_some(|lexer| {
        let name = lexer.text()?;
        let printable = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if printable && !name.is_empty() { Ok(name) } else { Err("no field of a header has such a name") }
    })
}

/// `<from.count>`, if it is there; numbers of 63 bits (RFC 9051 §9, partial-range).
fn partial(lexer: &mut Lexer<'_>) -> Parsed<Option<(u64, u64)>> {
    if !lexer.eat(b'<') {
        return Ok(None);
    }
    let from = lexer.number64()?;
    lexer.expect(b'.', "a partial is <from.count>")?;
    let count = lexer.number64()?;
    lexer.expect(b'>', "a partial is <from.count>")?;
    if count == 0 {
        return Err("a partial of no octets");
    }
    Ok(Some((from, count)))
}
