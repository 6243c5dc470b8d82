//! A cursor over the text of a command: the words of RFC 9051 §9, each read once from left to right.

use std::borrow::Cow;

use super::sequence::{self, Numbers, SequenceSet};
use super::{Literal, literal_at_end, mailbox};

/// What was read, or a sentence for the client.
pub(super) type Parsed<T> = Result<T, &'static str>;

/// Reads a command. A word that fails may leave the cursor anywhere: whoever fails gives up.
pub(super) struct Lexer<'a> {
    rest: &'a [u8],
    utf8: bool,
}

impl<'a> Lexer<'a> {
    /// Before the first octet; `utf8` says whether mailbox names come as UTF-8.
    pub(super) fn new(text: &'a [u8], utf8: bool) -> Lexer<'a> {
        Lexer { rest: text, utf8 }
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next octet.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Steps over this octet if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        if next {
            self.rest = &self.rest[1..];
        }
        next
    }

    /// Steps over this text, in any case, if it is next.
    pub(super) fn eat_text(&mut self, text: &str) -> bool {
        let next = self.rest.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text.as_bytes()));
        if next {
            self.rest = &self.rest[text.len()..];
        }
        next
    }

    /// This octet and no other.
    pub(super) fn expect(&mut self, byte: u8, otherwise: &'static str) -> Parsed<()> {
        if self.eat(byte) { Ok(()) } else { Err(otherwise) }
    }

    /// Exactly one space.
    pub(super) fn space(&mut self) -> Parsed<()> {
        match self.rest {
            [] => Err("an argument is missing"),
            [b' ', b' ', ..] => Err("one space stands between arguments, not two"),
            _ => self.expect(b' ', "a space is missing between two arguments"),
        }
    }

    /// Whether another argument follows. Spaces at the end of a command are none (some clients send them).
    pub(super) fn more(&self) -> bool {
        !self.rest.iter().all(|&byte| byte == b' ')
    }

    /// The end of the command.
    pub(super) fn end(&self) -> Parsed<()> {
        if self.more() { Err("more arguments than the command takes, or something unreadable in them") } else { Ok(()) }
    }

    /// As many octets as satisfy `wanted`; perhaps none.
    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|&byte| !wanted(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    /// The words of a list `(one two)` with one space between them; perhaps none.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect(b'(', "a list in parentheses is missing")?;
        let mut items = Vec::new();
        if self.eat(b')') {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(b')') {
                return Ok(items);
            }
            if self.rest.is_empty() {
                return Err("a parenthesis is not closed");
            }
            self.space()?;
        }
    }

    /// As [`Lexer::list`], with at least one word.
    pub(super) fn list_of_some<T>(&mut self, item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let items = self.list(item)?;
        if items.is_empty() { Err("a list is empty that must not be") } else { Ok(items) }
    }
}

/// Words.
impl<'a> Lexer<'a> {
    /// The tag: an astring's characters without `+`.
    pub(super) fn tag(&mut self) -> Parsed<String> {
        let tag = self.take_while(|byte| is_astring_char(byte) && byte != b'+');
        if tag.is_empty() {
            return Err("a command begins with its tag");
        }
        Ok(ascii(tag).to_owned())
    }

    /// An atom.
    pub(super) fn atom(&mut self) -> Parsed<&'a str> {
        let atom = self.take_while(is_atom_char);
        if atom.is_empty() { Err("an atom is missing") } else { Ok(ascii(atom)) }
    }

    /// An atom that is a name of the protocol, in upper case.
    pub(super) fn name(&mut self) -> Parsed<String> {
        Ok(self.atom()?.to_ascii_uppercase())
    }

    /// An atom, quoted string or literal.
    pub(super) fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        let atom = self.take_while(is_astring_char);
        if atom.is_empty() { self.string() } else { Ok(Cow::Borrowed(atom)) }
    }

    /// A quoted string or literal.
    pub(super) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.rest {
            [b'"', ..] => self.quoted(),
            [b'{', ..] | [b'~', b'{', ..] => self.literal().map(Cow::Borrowed),
            [] => Err("an argument is missing"),
            _ => Err("a string is missing"),
        }
    }

    /// A string, or `NIL`.
    pub(super) fn nstring(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if self.nil() { Ok(None) } else { self.string().map(Some) }
    }

    /// `NIL`, where nothing else begins so.
    pub(super) fn nil(&mut self) -> bool {
        self.eat_text("NIL")
    }

    /// An astring that is UTF-8.
    pub(super) fn text(&mut self) -> Parsed<String> {
        utf8(self.astring()?)
    }

    /// `"..."`, in which `\` stands before `"` and `\` alone. UTF-8 is taken whether or not it was enabled.
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        let inside = &self.rest[1..];
        let special = memchr::memchr2(b'"', b'\\', inside).ok_or("a quoted string has no end")?;
        let (mut text, mut at) = (Cow::Borrowed(&inside[..special]), special);
        while inside[at] == b'\\' {
            let escaped = inside.get(at + 1).filter(|byte| matches!(byte, b'"' | b'\\'));
            let escaped = *escaped.ok_or("in a quoted string \\ stands before \" and \\ alone")?;
            let from = at + 2;
            let length = memchr::memchr2(b'"', b'\\', &inside[from..]).ok_or("a quoted string has no end")?;
            text.to_mut().push(escaped);
            text.to_mut().extend_from_slice(&inside[from..from + length]);
            at = from + length;
        }
        self.rest = &inside[at + 1..];
        // Every other CHAR may stand in it, TAB too (RFC 9051 §9, TEXT-CHAR).
        if text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            return Err("a quoted string holds no NUL, CR or LF");
        }
        if std::str::from_utf8(&text).is_err() {
            return Err("a quoted string is UTF-8");
        }
        Ok(text)
    }

    /// `{n}`, `{n+}` or `~{n}`, the end of the line and n octets.
    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let line = memchr::memmem::find(self.rest, b"\r\n").ok_or("a literal does not end its line")?;
        let (announced, after) = (&self.rest[..line], &self.rest[line + 2..]);
        let literal = announcement(announced).ok_or("a literal is announced as {number}")?;
        let size = usize::try_from(literal.size).ok().filter(|&size| size <= after.len());
        let (octets, rest) = after.split_at(size.ok_or("a literal is shorter than announced")?);
        if !literal.binary && octets.contains(&0) {
            return Err("a literal holds no NUL");
        }
        self.rest = rest;
        Ok(octets)
    }
}

/// Arguments of many commands.
impl Lexer<'_> {
    /// A mailbox's name.
    pub(super) fn mailbox(&mut self) -> Parsed<String> {
        let raw = self.astring()?;
        mailbox::decode(&raw, self.utf8).ok_or(super::NO_NAME)
    }

    /// A pattern of LIST: `*` and `%` may stand in it without quotes. `None` for one that no name can be as.
    pub(super) fn pattern(&mut self) -> Parsed<Option<String>> {
        let atom = self.take_while(|byte| is_astring_char(byte) || matches!(byte, b'*' | b'%'));
        let raw = if atom.is_empty() { self.string()? } else { Cow::Borrowed(atom) };
        Ok(mailbox::decode(&raw, self.utf8))
    }

    /// A number of 32 bits.
    pub(super) fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| "a number has more than 32 bits")
    }

    /// A number of 32 bits that is not 0.
    pub(super) fn nz_number(&mut self) -> Parsed<u32> {
        self.number().and_then(|number| if number == 0 { Err("a number must not be 0") } else { Ok(number) })
    }

    /// A number of 63 bits: sizes and mod-sequences.
    pub(super) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() {
            return Err("a number is missing");
        }
        let number = ascii(digits).parse().ok().filter(|&number: &u64| number <= i64::MAX as u64);
        number.ok_or("a number has more than 63 bits")
    }

    /// A sequence set.
    pub(super) fn sequence_set(&mut self) -> Parsed<SequenceSet> {
        let text = self.take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b':' | b','));
        if text.iter().filter(|&&byte| byte == b',').count() >= sequence::RANGES {
            return Err("a sequence set has too many ranges");
        }
        sequence::parse(text).ok_or("a sequence set is missing or malformed")
    }

    /// A sequence set, or `$`.
    pub(super) fn numbers(&mut self) -> Parsed<Numbers> {
        if self.eat(b'$') { Ok(Numbers::Saved) } else { self.sequence_set().map(Numbers::Set) }
    }
}

/// The literal that `text` announces, where it is nothing but an announcement.
pub(super) fn announcement(text: &[u8]) -> Option<Literal> {
    let plain = text.strip_prefix(b"~").unwrap_or(text);
    let inside = plain.strip_prefix(b"{")?;
    if inside.contains(&b'{') { None } else { literal_at_end(text) }
}

/// A string as UTF-8.
pub(super) fn utf8(octets: Cow<'_, [u8]>) -> Parsed<String> {
    String::from_utf8(octets.into_owned()).map_err(|_| "a string is not UTF-8")
}

/// `ATOM-CHAR`.
pub(super) fn is_atom_char(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// `ASTRING-CHAR`.
fn is_astring_char(byte: u8) -> bool {
    is_atom_char(byte) || byte == b']'
}

/// Octets that were found to be ASCII.
fn ascii(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap_or_default()
}
