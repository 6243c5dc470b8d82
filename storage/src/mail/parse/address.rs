//! Lists of addresses (RFC 5322 §3.4 with its obsolete forms), read as they are: IMAP clients decode encoded words
//! themselves. One pass, no recursion.

use serde::{Deserialize, Serialize};

use super::{ADDRESSES, FIELD, header::cut};

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

/// Adds the addresses of a field, which is unfolded, to those known, as long as there is room.
pub(super) fn read(field: &str, list: &mut Vec<Address>) {
    let mut reader = Reader { list, group: false, pending: Pending::default() };
    for token in Tokens(field) {
        if reader.list.len() >= ADDRESSES {
            return;
        }
        reader.take(token);
    }
    reader.end_address();
    if reader.group {
        reader.list.push(Address::default());
    }
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

struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        // What closes something that was never opened has no meaning.
        self.0 = self.0.trim_start_matches(|char: char| char.is_whitespace() || matches!(char, ')' | ']' | '\\'));
        let text = self.0;
        let first = *text.as_bytes().first()?;
        let (token, used) = match first {
            b',' | b':' | b';' | b'<' | b'>' | b'@' => (Token::Special(first), 1),
            b'"' => {
                let (quoted, used) = until(text, |byte| byte == b'"');
                (Token::Quoted(quoted), used)
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
                (Token::Comment(comment.trim().to_owned()), used)
            }
            b'[' => {
                let end = text.find(']').map_or(text.len(), |at| at + 1);
                (Token::Literal(&text[..end]), end)
            }
            _ => {
                let special = |char: char| char.is_whitespace() || ",:;<>@\"()[]\\".contains(char);
                let end = text.find(special).unwrap_or(text.len());
                (Token::Atom(&text[..end]), end)
            }
        };
        self.0 = &text[used..];
        Some(token)
    }
}

/// Reads what is enclosed, without its backslashes, to the byte that ends it or to the end of the field; also how long
/// it was.
fn until(text: &str, mut ends: impl FnMut(u8) -> bool) -> (String, usize) {
    let mut content = Vec::new();
    let mut escaped = false;
    for (at, &byte) in text.as_bytes().iter().enumerate().skip(1) {
        if !escaped && byte == b'\\' {
            escaped = true;
            continue;
        }
        if !escaped && ends(byte) {
            return (String::from_utf8(content).unwrap_or_default(), at + 1);
        }
        escaped = false;
        content.push(byte);
    }
    (String::from_utf8(content).unwrap_or_default(), text.len())
}

/// Puts tokens together to addresses.
struct Reader<'a> {
    list: &'a mut Vec<Address>,
    group: bool,
    pending: Pending,
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
                address.name = address.phrase();
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
        let local = self.words.concat();
        self.words.clear();
        self.mailbox = Some(match (self.mailbox.take(), self.host.take()) {
            (Some(mailbox), Some(host)) => format!("{mailbox}@{host}"),
            _ => local,
        });
        self.host = Some(String::new());
    }

    /// What stood before the `<`.
    fn phrase(&mut self) -> Option<String> {
        let words = std::mem::take(&mut self.words).join(" ");
        match (self.mailbox.take(), self.host.take()) {
            (Some(mailbox), Some(host)) => Some(format!("{mailbox}@{host}")),
            _ => (!words.is_empty()).then_some(words),
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
    fn a_list_has_an_end() {
        let mut list = Vec::new();
        read(&"a@b.example, ".repeat(50_000), &mut list);
        assert_eq!(list.len(), ADDRESSES);
        for open in ["(", "\"", "<", "[", ":", "@", "a ", "\\"] {
            read(&open.repeat(100_000), &mut Vec::new());
        }
    }
}
