//! Lists of addresses (RFC 5322 §3.4 with its obsolete forms), read as they are: IMAP clients decode encoded words
//! themselves. One pass, no recursion.

use serde::{Deserialize, Serialize};

use super::header::{cut, unfold};
use super::{ADDRESSES, FIELD};

/// An address of a header, as RFC 9051 §7.5.2 wants it. A group is told of by a start, which has a mailbox and no host,
/// and an end, which has neither. Of an address that lacks its mailbox or its domain that one is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The display name, or the comment that stands for it; encoded words are not decoded.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The obsolete source route.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What stands before the `@`, or the name of a group.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<String>,
    /// The domain.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// The most that is read of a field of authors, in bytes.
const AUTHORS: usize = 16 << 10;

/// Whom a field names as authors (RFC 5322 §3.6.2), for who must be sure of it: what other readers may see is told as
/// well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authors {
    /// The addresses, as users of this server see them.
    pub addresses: Vec<Address>,
    /// Addresses that stand where a name should: some readers show those.
    pub named: Vec<Address>,
    /// Whether that is all that anybody may see in it.
    pub is_whole: bool,
    /// Whether all words of each address belong together.
    pub is_plain: bool,
}

impl Authors {
    /// Reads the value of a field as it stands in the header.
    pub fn read(value: &[u8]) -> Authors {
        let (text, mut addresses) = (unfold(value, AUTHORS), Vec::new());
        let (all, Doubts { named, hidden, joined }) = listed(&text, &mut addresses);
        Authors { addresses, named, is_whole: all && !hidden && value.len() <= AUTHORS, is_plain: !joined }
    }
}

/// Adds the addresses of a field, which is unfolded, to those known, as long as there is room.
pub(super) fn read(field: &str, list: &mut Vec<Address>) {
    listed(field, list);
}

/// The same; whether there was room for all of them, and what is in doubt.
fn listed(field: &str, list: &mut Vec<Address>) -> (bool, Doubts) {
    let mut reader = Reader { list, group: false, pending: Pending::default(), doubts: Doubts::default() };
    let mut tokens = Tokens { rest: field, is_open: false };
    for token in tokens.by_ref() {
        if reader.list.len() >= ADDRESSES {
            return (false, reader.doubts);
        }
        reader.take(token);
    }
    reader.end_address();
    if reader.group {
        reader.list.push(Address::default());
    }
    let Doubts { named, hidden, joined } = reader.doubts;
    (true, Doubts { named, hidden: hidden || tokens.is_open, joined })
}

/// What other readers may see otherwise.
#[derive(Default)]
struct Doubts {
    /// Addresses that were taken for a name.
    named: Vec<Address>,
    /// Something was left out, or taken for a part of something else, that may hold an address or end a domain.
    hidden: bool,
    /// What stands before an `@` is of several words.
    joined: bool,
}

/// What an address list is made of.
#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// Atoms, with the dots between them.
    Atom(&'a str),
    Quoted(String),
    Comment(String),
    /// `[192.0.2.1]`, with its brackets.
    Literal(&'a str),
    /// One of `,:;<>@`.
    Special(u8),
}

struct Tokens<'a> {
    rest: &'a str,
    /// Whether what was enclosed has no end.
    is_open: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        // What closes something that was never opened has no meaning.
        let closes = |char: char| char.is_whitespace() || matches!(char, ')' | ']' | '\\');
        self.rest = self.rest.trim_start_matches(closes);
        let text = self.rest;
        let first = *text.as_bytes().first()?;
        let (token, used) = match first {
            b',' | b':' | b';' | b'<' | b'>' | b'@' => (Token::Special(first), 1),
            b'"' => {
                let (quoted, used) = until(text, |byte| byte == b'"');
                self.is_open |= used.is_none();
                (Token::Quoted(quoted), used.unwrap_or(text.len()))
            }
            b'(' => {
                let mut depth = 1_usize;
                let (comment, used) = until(text, |byte| {
                    match byte {
                        b'(' => depth += 1,
                        b')' => depth -= 1,
                        _ => {}
                    }
                    depth == 0
                });
                self.is_open |= used.is_none();
                (Token::Comment(comment.trim().to_owned()), used.unwrap_or(text.len()))
            }
            b'[' => {
                let end = text.find(']').map(|at| at + 1);
                self.is_open |= end.is_none();
                let end = end.unwrap_or(text.len());
                (Token::Literal(&text[..end]), end)
            }
            _ => {
                let special = |char: char| char.is_whitespace() || ",:;<>@\"()[]\\".contains(char);
                let end = text.find(special).unwrap_or(text.len());
                (Token::Atom(&text[..end]), end)
            }
        };
        self.rest = &text[used..];
        Some(token)
    }
}

/// Reads what is enclosed, without its backslashes, to the byte that ends it or to the end of the field; also how long
/// it was, where it has an end.
fn until(text: &str, mut ends: impl FnMut(u8) -> bool) -> (String, Option<usize>) {
    let mut content = Vec::new();
    let mut escaped = false;
    for (at, &byte) in text.as_bytes().iter().enumerate().skip(1) {
        if !escaped && byte == b'\\' {
            escaped = true;
            continue;
        }
        if !escaped && ends(byte) {
            return (String::from_utf8(content).unwrap_or_default(), Some(at + 1));
        }
        escaped = false;
        content.push(byte);
    }
    (String::from_utf8(content).unwrap_or_default(), None)
}

/// Puts tokens together to addresses.
struct Reader<'a> {
    list: &'a mut Vec<Address>,
    group: bool,
    pending: Pending,
    doubts: Doubts,
}

/// What is known of the address that is being read.
#[derive(Default)]
struct Pending {
    /// Words that may be a name or a mailbox: what follows them will tell.
    words: Vec<String>,
    comment: Option<String>,
    name: Option<String>,
    route: Option<String>,
    mailbox: Option<String>,
    host: Option<String>,
    place: At,
    /// Whether the mailbox is of several words.
    is_joined: bool,
    /// Whether something else may be seen in it.
    hides: bool,
}

/// Where in an address the reader is.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Not between `<` and `>`.
    #[default]
    Outside,
    Angle,
    /// In the route, which begins with `@` and ends with `:`.
    Route,
    /// After the `>`.
    Behind,
}

impl Reader<'_> {
    fn take(&mut self, token: Token<'_>) {
        let address = &mut self.pending;
        address.hides |= hides(&token, address);
        match (token, address.place) {
            (Token::Comment(comment), _) => address.comment = Some(comment),
            (Token::Special(b','), At::Outside | At::Angle | At::Behind) => self.end_address(),
            (Token::Special(b';'), _) => {
                self.end_address();
                if std::mem::take(&mut self.group) {
                    self.list.push(Address::default());
                }
            }
            (Token::Special(b'<'), At::Outside) => {
                let (name, named) = address.phrase();
                address.name = name;
                self.doubts.named.extend(named);
                address.place = At::Angle;
            }
            (Token::Special(b'>'), At::Angle | At::Route) => address.place = At::Behind,
            (Token::Special(b':'), At::Route) => address.place = At::Angle,
            (Token::Special(b':'), At::Outside) if !self.group && address.mailbox.is_none() => {
                let name = address.words.join(" ");
                self.group = true;
                self.pending = Pending::default();
                self.push(Address { mailbox: Some(name), ..Address::default() });
            }
            (Token::Special(b'@'), At::Angle) if address.words.is_empty() && address.mailbox.is_none() => {
                address.place = At::Route;
                address.route = Some("@".into());
            }
            (Token::Special(b'@'), At::Outside | At::Angle) => address.at_sign(),
            (_, At::Behind) | (Token::Special(b'<' | b'>'), _) => {}
            (Token::Special(other), _) => address.word(&char::from(other).to_string()),
            (Token::Atom(word) | Token::Literal(word), _) => address.word(word),
            (Token::Quoted(word), _) => address.word(&word),
        }
    }

    fn end_address(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        // Nobody writes routes any more, and not all read them.
        self.doubts.hidden |= pending.hides || pending.route.is_some();
        self.doubts.joined |= pending.is_joined || pending.mailbox.is_none() && joined(&pending.words);
        if let Some(address) = pending.finish() {
            self.push(address);
        }
    }

    fn push(&mut self, mut address: Address) {
        let Address { name, route, mailbox, host } = &mut address;
        for text in [name, route, mailbox, host].into_iter().flatten() {
            cut(text, FIELD);
        }
        self.list.push(address);
    }
}

impl Pending {
    fn word(&mut self, word: &str) {
        match (self.place, &mut self.route, &mut self.host) {
            (At::Route, Some(text), _) | (_, _, Some(text)) => text.push_str(word),
            _ => self.words.push(word.to_owned()),
        }
    }

    /// An `@`: what stood before it is the mailbox, and what follows the domain.
    fn at_sign(&mut self) {
        self.is_joined |= joined(&self.words);
        let local = self.words.concat();
        self.words.clear();
        self.mailbox = Some(match (self.mailbox.take(), self.host.take()) {
            (Some(mut mailbox), Some(host)) => {
                mailbox.push('@');
                mailbox.push_str(&host);
                mailbox
            }
            _ => local,
        });
        self.host = Some(String::new());
    }

    /// What stood before the `<`, and the address that it looks like.
    fn phrase(&mut self) -> (Option<String>, Option<Address>) {
        let words = std::mem::take(&mut self.words).join(" ");
        self.is_joined = false;
        match (self.mailbox.take(), self.host.take()) {
            (Some(mailbox), Some(host)) => {
                let name = format!("{mailbox}@{host}");
                // `Ann @ Home` is no address, whatever comes between.
                let letter = |char: char| char.is_alphanumeric() || "-_.".contains(char);
                let is_one = mailbox.contains('@') || (host.contains('.') && host.chars().all(letter));
                self.hides &= is_one;
                let named = || Address { mailbox: Some(mailbox), host: Some(host), ..Address::default() };
                (Some(name), is_one.then(named))
            }
            _ => ((!words.is_empty()).then_some(words), None),
        }
    }

    fn finish(mut self) -> Option<Address> {
        let comment = self.comment.filter(|comment| !comment.is_empty());
        if self.place == At::Outside && self.mailbox.is_none() {
            // No address at all: a single word is taken for a local user, several for a name.
            return match self.words.len() {
                0 => None,
                1 => Some(Address { name: comment, mailbox: self.words.pop(), host: Some(String::new()), route: None }),
                _ => {
                    let name = Some(self.words.join(" "));
                    Some(Address { name, mailbox: Some(String::new()), host: Some(String::new()), route: None })
                }
            };
        }
        let mailbox = self.mailbox.unwrap_or_else(|| self.words.concat());
        let host = self.host.unwrap_or_default();
        Some(Address { name: self.name.or(comment), route: self.route, mailbox: Some(mailbox), host: Some(host) })
    }
}

/// Whether words that make one local part are not those of RFC 5322 §4.4, between which there is a dot.
fn joined(words: &[String]) -> bool {
    words.windows(2).any(|pair| !(pair[0].ends_with('.') || pair[1].starts_with('.')))
}

/// Whether another reader may see an address, or the end of one, where this one sees none.
fn hides(token: &Token<'_>, address: &Pending) -> bool {
    match (token, address.place) {
        (Token::Special(b'<'), At::Angle | At::Route | At::Behind) => true,
        (Token::Special(b'@'), At::Behind) => true,
        // Where an address stands, there is one `@`.
        (Token::Special(b'@'), _) => address.mailbox.is_some(),
        (Token::Literal(text), place) => {
            let is_host = place != At::Behind && address.host.as_ref().is_some_and(String::is_empty);
            !is_host && text.contains(['@', '<', '"', '('])
        }
        (Token::Quoted(_), _) => address.host.is_some(),
        (Token::Atom(word), At::Outside | At::Angle) => {
            let goes_on = |host: &String| host.is_empty() || host.ends_with('.') || word.starts_with('.');
            address.host.as_ref().is_some_and(|host| !goes_on(host))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each address as `name|route|mailbox|host`, what is missing as `-`.
    fn told(field: &str) -> String {
        let mut list = Vec::new();
        read(field, &mut list);
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".into());
        let tell = |a: &Address| [&a.name, &a.route, &a.mailbox, &a.host].map(part).join("|");
        list.iter().map(tell).collect::<Vec<_>>().join(" ; ")
    }

    #[test]
    fn addresses_are_read() {
        for (field, expected) in [
            ("", ""),
            ("a@b.example", "-|-|a|b.example"),
            ("Ann <a@b>, <c@d>", "Ann|-|a|b ; -|-|c|d"),
            ("\"Joe \\\"Q\\\" Public, Jr.\" <j@x>", "Joe \"Q\" Public, Jr.|-|j|x"),
            ("=?utf-8?q?J=C3=BC?= X <j@x>", "=?utf-8?q?J=C3=BC?= X|-|j|x"),
            ("a@b (Ann (the) \\) first)", "Ann (the) ) first|-|a|b"),
            ("(x) a (y) @ (z) b . c (Ann)", "Ann|-|a|b.c"),
            ("\"john doe\"@x, j . d @ x", "-|-|john doe|x ; -|-|j.d|x"),
            ("X <@a,@b:c@d>", "X|@a,@b|c|d"),
            ("a@[192.0.2.1]", "-|-|a|[192.0.2.1]"),
            ("undisclosed-recipients:;", "-|-|undisclosed-recipients|- ; -|-|-|-"),
            ("My Friends: a@b, C <c@d>; e@f", "-|-|My Friends|- ; -|-|a|b ; C|-|c|d ; -|-|-|- ; -|-|e|f"),
            ("g: a@b", "-|-|g|- ; -|-|a|b ; -|-|-|-"),
            ("root", "-|-|root|"),
            ("A B C, <root>, <>, <@>", "A B C|-|| ; -|-|root| ; -|-|| ; -|@||"),
            ("a@b@c", "-|-|a@b|c"),
            ("a@b <c@d>", "a@b|-|c|d"),
            ("Ann <a@b, c@d", "Ann|-|a|b ; -|-|c|d"),
            ("\"never closed <a@b>, c@d", "-|-|never closed <a@b>, c@d|"),
            ("(never closed a@b", ""),
            (",,, ;;; >>> )))]]", ""),
            ("a@b> , grüße@x.example", "-|-|a|b ; -|-|grüße|x.example"),
        ] {
            assert_eq!(told(field), expected, "{field}");
        }
    }

    #[test]
    fn authors_are_told_with_what_others_may_see() {
        let plain = |value: &str| {
            let authors = Authors::read(value.as_bytes());
            authors.is_whole && authors.is_plain && authors.named.is_empty() && !authors.addresses.is_empty()
        };
        for value in [
            " Ann <a@b.example>\r\n",
            "a@b",
            "\"x@y <\" <a@b> (z@y <)",
            "a @ b . c",
            "j . d@b",
            "[GitHub] Ann <a@[192.0.2.1]>, c@d",
            "Ann @ Home and Away <a@b>",
            "=?UTF-8?Q?J=C3=BCrgen=20@=20Firma.de?= <a@b>",
            "g: a@b, c@d;",
            "Ann <a@b> (Ann)",
        ] {
            assert!(plain(value), "{value}");
        }
        for value in [
            "(a@b",
            "\"a\" <a@b> \"",
            "a@b, [c@d",
            "[c@d, ] <a@b>",
            "<a@b> c@d",
            "<a@b> <c@d>",
            "<a <c@d>",
            "a@b@c",
            "a@b c",
            "a@b \"c\"",
            "[(] <a@b> )",
            "<@x,c@d:a@b>",
            "c@d.e f <a@b>",
            "c@d@e <a@b>",
        ] {
            assert!(!Authors::read(value.as_bytes()).is_whole, "{value}");
        }
        assert!(!Authors::read(b"me+ c@d").is_plain && !Authors::read(b"<me+ c@d>").is_plain);
        let authors = Authors::read(b"c@d.e <a@b>");
        assert_eq!((authors.named[0].host.as_deref(), authors.addresses.len()), (Some("d.e"), 1));
        let many = "a@b, ".repeat(ADDRESSES + 1);
        assert!(Authors::read(&many.as_bytes()[..5 * (ADDRESSES - 1)]).is_whole, "a few less are all of them");
        assert!(!Authors::read(many.as_bytes()).is_whole, "those that are not kept may be others'");
        let long = format!("({}) a@b", "x".repeat(AUTHORS));
        assert!(!Authors::read(long.as_bytes()).is_whole, "what is not read may be others'");
    }

    #[test]
    fn a_list_has_an_end() {
        let mut list = Vec::new();
        read(&"a@b.example, ".repeat(50_000), &mut list);
        assert_eq!(list.len(), ADDRESSES);
        for open in ["(", "\"", "<", "[", ":", "@", "a ", "\\"] {
            read(&open.repeat(100_000), &mut Vec::new());
        }
    }
}
