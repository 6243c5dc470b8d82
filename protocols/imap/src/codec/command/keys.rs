//! Search keys (RFC 9051 §6.4.4).

use std::borrow::Cow;

use super::super::dates::date;
use super::super::lexer::{Lexer, Parsed, utf8};
use super::super::{Address, Key};

/// How deep keys may nest, and how many there may be: a search is evaluated for each message.
const DEPTH: usize = 50;
const KEYS: usize = 1000;

/// Keys to the end of the command, all of which must hold. Without a charset, text is UTF-8.
pub(super) fn parse(charset: Option<&str>, lexer: &mut Lexer<'_>) -> Parsed<Key> {
    let mut keys = Keys { charset: Charset::of(charset), left: KEYS };
    let mut all = vec![keys.key(DEPTH, lexer)?];
    while lexer.more() {
        lexer.space()?;
        all.push(keys.key(DEPTH, lexer)?);
    }
    Ok(together(all))
}

/// One key as itself, several as [`Key::And`].
fn together(mut keys: Vec<Key>) -> Key {
    match keys.pop() {
        Some(key) if keys.is_empty() => key,
        Some(key) => {
            keys.push(key);
            Key::And(keys)
        }
        None => Key::All,
    }
}

/// How text is read.
#[derive(Clone, Copy)]
enum Charset {
    Utf8,
    Latin1,
    /// The session will refuse it.
    Unknown,
}

impl Charset {
    fn of(name: Option<&str>) -> Charset {
        match name {
            None | Some("UTF-8" | "US-ASCII") => Charset::Utf8,
            Some("ISO-8859-1") => Charset::Latin1,
            Some(_) => Charset::Unknown,
        }
    }
}

/// What holds for all keys of a command.
struct Keys {
    charset: Charset,
    left: usize,
}

impl Keys {
    /// A key that nests at most `depth` levels below itself.
    fn key(&mut self, depth: usize, lexer: &mut Lexer<'_>) -> Parsed<Key> {
        let depth = depth.checked_sub(1).ok_or("search keys nest too deep")?;
        self.left = self.left.checked_sub(1).ok_or("too many search keys")?;
        match lexer.peek() {
            Some(b'(') => return Ok(together(lexer.list_of_some(|lexer| self.key(depth, lexer))?)),
            Some(b'0'..=b'9' | b'*' | b'$') => return Ok(Key::Numbers(lexer.numbers()?)),
            _ => {}
        }
        let name = lexer.name().map_err(|_| "a search key is missing")?;
        if let Some(key) = alone(&name) {
            return Ok(key);
        }
        lexer.space().map_err(|_| "unknown search key, or its argument is missing")?;
        match name.as_str() {
            "NOT" => Ok(Key::Not(Box::new(self.key(depth, lexer)?))),
            "OR" => {
                let one = self.key(depth, lexer)?;
                lexer.space()?;
                Ok(Key::Or(Box::new(one), Box::new(self.key(depth, lexer)?)))
            }
            "UID" => Ok(Key::Uid(lexer.numbers()?)),
            name => match with_number(name, lexer)? {
                Some(key) => Ok(key),
                None => self.with_text(name, lexer),
            },
        }
    }

    /// Keys that take a string.
    fn with_text(&self, name: &str, lexer: &mut Lexer<'_>) -> Parsed<Key> {
        Ok(match name {
            "KEYWORD" => Key::Keyword(lexer.atom()?.to_owned(), true),
            "UNKEYWORD" => Key::Keyword(lexer.atom()?.to_owned(), false),
            "EMAILID" => Key::EmailId(object_id(lexer)?),
            "THREADID" => Key::ThreadId(object_id(lexer)?),
            "HEADER" => {
                let field = lexer.text()?;
                lexer.space()?;
                Key::Header(field, self.text(lexer)?)
            }
            "FROM" => Key::Address(Address::From, self.text(lexer)?),
            "TO" => Key::Address(Address::To, self.text(lexer)?),
            "CC" => Key::Address(Address::Cc, self.text(lexer)?),
            "BCC" => Key::Address(Address::Bcc, self.text(lexer)?),
            "SUBJECT" => Key::Subject(self.text(lexer)?),
            "BODY" => Key::Body(self.text(lexer)?),
            "TEXT" => Key::Text(self.text(lexer)?),
            _ => return Err("unknown search key"),
        })
    }

    /// Text in the charset of the search.
    fn text(&self, lexer: &mut Lexer<'_>) -> Parsed<String> {
        let octets: Cow<'_, [u8]> = lexer.astring()?;
        match self.charset {
            Charset::Utf8 => utf8(octets),
            Charset::Latin1 => Ok(octets.iter().map(|&octet| char::from(octet)).collect()),
            Charset::Unknown => Ok(String::from_utf8_lossy(&octets).into_owned()),
        }
    }
}

/// Keys that take nothing.
fn alone(name: &str) -> Option<Key> {
    Some(match name {
        "ALL" => Key::All,
        "ANSWERED" => Key::Flag("\\Answered", true),
        "UNANSWERED" => Key::Flag("\\Answered", false),
        "DELETED" => Key::Flag("\\Deleted", true),
        "UNDELETED" => Key::Flag("\\Deleted", false),
        "DRAFT" => Key::Flag("\\Draft", true),
        "UNDRAFT" => Key::Flag("\\Draft", false),
        "FLAGGED" => Key::Flag("\\Flagged", true),
        "UNFLAGGED" => Key::Flag("\\Flagged", false),
        "SEEN" => Key::Flag("\\Seen", true),
        "UNSEEN" => Key::Flag("\\Seen", false),
        "NEW" => Key::And(vec![Key::Recent(true), Key::Flag("\\Seen", false)]),
        "RECENT" => Key::Recent(true),
        "OLD" => Key::Recent(false),
        "SAVEDATESUPPORTED" => Key::SaveDateSupported,
        _ => return None,
    })
}

/// Keys that take a date or a number.
fn with_number(name: &str, lexer: &mut Lexer<'_>) -> Parsed<Option<Key>> {
    Ok(Some(match name {
        "BEFORE" => Key::Before(date(lexer)?),
        "ON" => Key::On(date(lexer)?),
        "SINCE" => Key::Since(date(lexer)?),
        "SENTBEFORE" => Key::SentBefore(date(lexer)?),
        "SENTON" => Key::SentOn(date(lexer)?),
        "SENTSINCE" => Key::SentSince(date(lexer)?),
        "SAVEDBEFORE" => Key::SavedBefore(date(lexer)?),
        "SAVEDON" => Key::SavedOn(date(lexer)?),
        "SAVEDSINCE" => Key::SavedSince(date(lexer)?),
        "OLDER" => Key::Older(lexer.nz_number()?),
        "YOUNGER" => Key::Younger(lexer.nz_number()?),
        "LARGER" => Key::Larger(lexer.number64()?),
        "SMALLER" => Key::Smaller(lexer.number64()?),
        "MODSEQ" => Key::ModSeq(modseq(lexer)?),
        _ => return Ok(None),
    }))
}

/// `[entry-name entry-type] n` (RFC 7162 §3.1.5). The entry is left aside, as §3.1.5 allows: a message has one
/// mod-sequence for all of its flags.
fn modseq(lexer: &mut Lexer<'_>) -> Parsed<u64> {
    if lexer.peek() == Some(b'"') {
        lexer.string()?;
        lexer.space()?;
        if !matches!(lexer.name()?.as_str(), "ALL" | "PRIV" | "SHARED") {
            return Err("the type of an entry is all, priv or shared");
        }
        lexer.space()?;
    }
    lexer.number64()
}

/// An object's identifier (RFC 8474 §7).
fn object_id(lexer: &mut Lexer<'_>) -> Parsed<String> {
    let id = lexer.atom()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if id.len() > 255 || !id.bytes().all(allowed) {
        return Err("an object identifier is malformed");
    }
    Ok(id.to_owned())
}
