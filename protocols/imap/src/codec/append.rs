//! The text of APPEND around its messages (RFC 9051 §6.3.12, RFC 3502, RFC 6855 §4).

use super::Fault;
use super::command::flag_list;
use super::dates::date_time;
use super::lexer::{Lexer, Parsed, announcement};

/// Reads the text from the tag to the first line's end that announces a literal, without its CRLF. Once the session
/// has taken the literal of [`First::More`] into the text, with the line behind it, it comes again with all of it.
///
/// # Errors
/// See [`Fault`]. A line that announces no literal is one.
pub fn first(text: &[u8], utf8: bool) -> Result<First, Fault> {
    let mut lexer = Lexer::new(text, utf8);
    let tag = lexer.tag().map_err(|text| Fault { tag: None, text })?;
    match behind_tag(&mut lexer) {
        Ok(Some((mailbox, head))) => Ok(First::Message { tag, mailbox, head }),
        Ok(None) => Ok(First::More),
        Err(text) => Err(Fault { tag: Some(tag), text }),
    }
}

/// Reads the text behind a message's octets, up to the line's end: `None` ends the command, otherwise another message
/// follows (RFC 3502). The `)` behind a message that came as `UTF8 (~{n}` is not part of it.
///
/// # Errors
/// See [`Fault`]; the tag is known from [`first`].
pub fn next(text: &[u8]) -> Result<Option<Head>, Fault> {
    let mut lexer = Lexer::new(text, false);
    if !lexer.more() {
        return Ok(None);
    }
    head(&mut lexer).map(Some).map_err(|text| Fault { tag: None, text })
}

/// What stands before the literal of one message. Optional flags and date; the mailbox with the first message alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The flags, as they came, each once.
    pub flags: Vec<String>,
    /// The internal date in milliseconds since the Unix epoch.
    pub received: Option<i64>,
    /// Whether the message comes as `UTF8 (~{n} ... )`: a `)` follows its octets.
    pub utf8: bool,
}

/// What the text up to the end of a line, which announces a literal, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// The literal is a message for this mailbox.
    Message {
        /// The tag.
        tag: String,
        /// Where to.
        mailbox: String,
        /// What is said of the message.
        head: Head,
    },
    /// The literal is the mailbox's name: it belongs to the text.
    More,
}

/// The command's name, the mailbox and what is said of the first message; `None` if the mailbox is still to come.
fn behind_tag(lexer: &mut Lexer<'_>) -> Parsed<Option<(String, Head)>> {
    lexer.space()?;
    if !lexer.eat_text("APPEND") {
        return Err("APPEND was expected");
    }
    lexer.space()?;
    if announcement(lexer.rest()).is_some() {
        return Ok(None);
    }
    let mailbox = lexer.mailbox()?;
    Ok(Some((mailbox, head(lexer)?)))
}

/// ` [(flags) ]["date" ]literal`, or `UTF8 (literal` at the end.
fn head(lexer: &mut Lexer<'_>) -> Parsed<Head> {
    let mut head = Head { flags: Vec::new(), received: None, utf8: false };
    lexer.space().map_err(|_| NO_MESSAGE)?;
    if lexer.peek() == Some(b'(') {
        head.flags = flag_list(lexer)?;
        lexer.space().map_err(|_| NO_MESSAGE)?;
    }
    if lexer.peek() == Some(b'"') {
        head.received = Some(date_time(lexer)?);
        lexer.space().map_err(|_| NO_MESSAGE)?;
    }
    head.utf8 = lexer.eat_text("UTF8 (");
    match announcement(lexer.rest()) {
        Some(literal) if literal.binary || !head.utf8 => Ok(head),
        Some(_) => Err("a message in UTF8 is a literal8: ~{number}"),
        None => Err(NO_MESSAGE),
    }
}

const NO_MESSAGE: &str = "APPEND takes a message, announced as {number} at the end of the line";
