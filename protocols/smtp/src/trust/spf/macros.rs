//! Macros (RFC 7208 §7). They are parsed with the record, since an error anywhere in it is a permerror, and expanded
//! when their term is evaluated.

use std::borrow::Cow;
use std::net::IpAddr;

/// How long a DNS name may be; a longer one loses labels on its left (§7.3).
pub(super) const NAME: usize = 253;
/// How long an explanation may be: it goes into one reply line (§6.2 leaves the limit to us).
const EXPLANATION: usize = 400;

/// A macro-string that kept its grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Piece>);

/// What the macro letters stand for (§7.2).
pub(super) struct Values<'a> {
    /// `l`: the local-part of the sender.
    pub(super) local: &'a str,
    /// `o`: the domain of the sender.
    pub(super) origin: &'a str,
    /// `d`: the domain whose record is evaluated.
    pub(super) domain: &'a str,
    /// `i`, `c` and `v`: the client.
    pub(super) client: IpAddr,
    /// `p`: the validated name of the client.
    pub(super) validated: &'a str,
    /// `h`: what the client calls itself.
    pub(super) helo: &'a str,
    /// `r`: the host that checks.
    pub(super) receiver: &'a str,
    /// `t`: the time, in seconds since 1970.
    pub(super) time: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Expand(Expand),
}

/// `%{letter transformers delimiters}`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expand {
    /// In lower case.
    letter: char,
    /// The letter was in upper case: escaped as in URLs.
    escapes: bool,
    /// How many parts stay, counted from the right.
    keeps: usize,
    reverses: bool,
    delimiters: String,
}

impl MacroString {
    /// A domain-spec: a macro-string that ends in a macro or in a top label.
    pub(super) fn domain_spec(text: &str) -> Option<MacroString> {
        let (parsed, end) = parse(text, "slodiphv", false)?;
        let ends_in_macro = end.is_empty() && !text.is_empty();
        let ends_in_label =
            || end.strip_suffix('.').unwrap_or(end).rsplit_once('.').is_some_and(|(_, label)| is_toplabel(label));
        (ends_in_macro || ends_in_label()).then_some(parsed)
    }

    /// The text of an explanation: with spaces, and with the letters that no other place may use.
    pub(super) fn explanation(text: &str) -> Option<MacroString> {
        parse(text, "slodiphcrtv", true).map(|(parsed, _)| parsed)
    }

    /// Whether the value of an unknown modifier keeps the grammar; nothing else is asked of it.
    pub(super) fn is_valid(text: &str) -> bool {
        parse(text, "slodiphcrtv", false).is_some()
    }

    /// Whether a letter is used.
    pub(super) fn uses(&self, letter: char) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Expand(expand) if expand.letter == letter))
    }

    /// The name a domain-spec stands for, without final dot; not checked to be one. `None` when it uses a local-part
    /// outside of ASCII, which never matches (RFC 8616 §4).
    pub(super) fn name(&self, values: &Values<'_>) -> Option<String> {
        let mut name = String::new();
        for piece in &self.0 {
            piece.append(values, &mut name)?;
            // The left side is lost in any case; what stays holds more than one name.
            if name.len() > 16 * NAME {
                let cut = name.floor_char_boundary(name.len() - 8 * NAME);
                name.drain(..cut);
            }
        }
        let mut rest = name.strip_suffix('.').unwrap_or(&name);
        while rest.len() > NAME {
            (_, rest) = rest.split_once('.')?;
        }
        Some(rest.to_owned())
    }

    /// What an explanation says: printable ASCII, cut where it gets too long. `None` when it holds anything else.
    pub(super) fn text(&self, values: &Values<'_>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            piece.append(values, &mut text)?;
            if text.len() > EXPLANATION {
                break;
            }
        }
        let is_printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        text.truncate(text.floor_char_boundary(EXPLANATION));
        (is_printable && !text.trim().is_empty()).then_some(text)
    }
}

/// Parses a macro-string; also what stands behind its last macro.
fn parse<'a>(text: &'a str, letters: &str, with_spaces: bool) -> Option<(MacroString, &'a str)> {
    let is_literal = |octet| matches!(octet, b'!'..=b'$' | b'&'..=b'~') || with_spaces && octet == b' ';
    let (mut pieces, mut rest) = (Vec::new(), text);
    loop {
        let (literal, tail) = rest.split_once('%').map_or((rest, None), |(literal, tail)| (literal, Some(tail)));
        if !literal.bytes().all(is_literal) {
            return None;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        let Some(tail) = tail else { return Some((MacroString(pieces), rest)) };
        let (piece, behind) = match tail.chars().next()? {
            '%' => (Piece::Literal("%".into()), &tail[1..]),
            '_' => (Piece::Literal(" ".into()), &tail[1..]),
            '-' => (Piece::Literal("%20".into()), &tail[1..]),
            '{' => {
                let (inside, behind) = tail[1..].split_once('}')?;
                (Piece::Expand(Expand::parse(inside, letters)?), behind)
            }
            _ => return None,
        };
        pieces.push(piece);
        rest = behind;
    }
}

/// A top label: letters, digits and inner hyphens, but not digits alone.
fn is_toplabel(label: &str) -> bool {
    label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().any(|octet| !octet.is_ascii_digit())
}

impl Expand {
    fn parse(inside: &str, letters: &str) -> Option<Expand> {
        let mut rest = inside.chars();
        let letter = rest.next()?;
        if !letters.contains(letter.to_ascii_lowercase()) {
            return None;
        }
        let rest = rest.as_str();
        let (digits, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let keeps = match digits {
            "" => usize::MAX,
            // No part at all is an error; more parts than a number can hold are all of them.
            digits if digits.bytes().all(|digit| digit == b'0') => return None,
            digits => digits.parse().unwrap_or(usize::MAX),
        };
        let delimiters = rest.strip_prefix(['r', 'R']).unwrap_or(rest);
        delimiters.chars().all(|delimiter| ".-+,/_=".contains(delimiter)).then(|| Expand {
            letter: letter.to_ascii_lowercase(),
            escapes: letter.is_ascii_uppercase(),
            keeps,
            reverses: delimiters.len() < rest.len(),
            delimiters: if delimiters.is_empty() { ".".into() } else { delimiters.to_owned() },
        })
    }

    fn append(&self, values: &Values<'_>, text: &mut String) -> Option<()> {
        let value = values.of(self.letter)?;
        let mut parts: Vec<&str> = value.split(|at| self.delimiters.contains(at)).collect();
        if self.reverses {
            parts.reverse();
        }
        let value = parts[parts.len().saturating_sub(self.keeps)..].join(".");
        if !self.escapes {
            text.push_str(&value);
            return Some(());
        }
        for octet in value.bytes() {
            match octet {
                b'-' | b'.' | b'_' | b'~' => text.push(char::from(octet)),
                octet if octet.is_ascii_alphanumeric() => text.push(char::from(octet)),
                octet => text.push_str(&format!("%{octet:02X}")),
            }
        }
        Some(())
    }
}

impl Piece {
    fn append(&self, values: &Values<'_>, text: &mut String) -> Option<()> {
        match self {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Expand(expand) => expand.append(values, text)?,
        }
        Some(())
    }
}

impl<'a> Values<'a> {
    fn of(&self, letter: char) -> Option<Cow<'a, str>> {
        Some(match letter {
            's' | 'l' if !self.local.is_ascii() => return None,
            's' => format!("{}@{}", self.local, self.origin).into(),
            'l' => self.local.into(),
            'o' => self.origin.into(),
            'd' => self.domain.into(),
            'i' => dotted(self.client).into(),
            'p' => self.validated.into(),
            'v' => if self.client.is_ipv4() { "in-addr" } else { "ip6" }.into(),
            'h' => self.helo.into(),
            'c' => self.client.to_string().into(),
            'r' => self.receiver.into(),
            't' => self.time.to_string().into(),
            _ => return None,
        })
    }
}

/// An address as a DNS name has it, but forwards: that of version 6 in single digits.
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => four.to_string(),
        IpAddr::V6(six) => {
            let digits: Vec<String> = (0..32).rev().map(|at| format!("{:X}", six.to_bits() >> (4 * at) & 15)).collect();
            digits.join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'static> = Values {
        local: "strong-bad",
        origin: "email.example.com",
        domain: "email.example.com",
        client: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)),
        validated: "mx.example.org",
        helo: "mail.example.net",
        receiver: "mx.example.org",
        time: 1_700_000_000,
    };

    fn name(spec: &str, values: &Values<'_>) -> Option<String> {
        MacroString::domain_spec(spec).and_then(|parsed| parsed.name(values))
    }

    fn text(text: &str, values: &Values<'_>) -> Option<String> {
        MacroString::explanation(text).and_then(|parsed| parsed.text(values))
    }

    /// Those of §7.4.
    #[test]
    fn examples_of_the_rfc() {
        for (spec, expanded) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ] {
            assert_eq!(name(spec, &VALUES).as_deref(), Some(expanded), "{spec}");
        }
        let six = Values { client: "2001:db8::cb01".parse().unwrap(), ..VALUES };
        let expanded = "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com";
        assert_eq!(name("%{ir}.%{v}._spf.%{d2}", &six).as_deref(), Some(expanded));
    }

    #[test]
    fn a_domain_spec_ends_in_a_macro_or_a_top_label() {
        for good in ["a.example", "a.example.", "a.b.x1", "_a.1-2", "%{d}", "x%%", "%{i}.example", "a:b/c.example"] {
            assert!(MacroString::domain_spec(good).is_some(), "{good}");
        }
        for bad in ["", ".", "example", "example.", "a.1", "a.-b", "a.b-", "a..", "%{d}example", "a.b c", "a.b:1"] {
            assert_eq!(MacroString::domain_spec(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_wrong_macro_is_an_error() {
        for bad in ["%", "%a", "%{", "%{}", "%{d", "%{x}", "%{d0}", "%{d00r}", "%{dr2}", "%{d!}", "%{dd}", "%(d)", "é"]
        {
            assert!(!MacroString::is_valid(bad), "{bad}");
            assert_eq!(MacroString::explanation(bad), None, "{bad}");
        }
        // These letters are for explanations (§7.2).
        for letter in ["%{c}", "%{r}", "%{t}", "%{R}"] {
            assert_eq!(MacroString::domain_spec(letter), None, "{letter}");
            assert!(MacroString::explanation(letter).is_some(), "{letter}");
        }
        assert!(MacroString::is_valid("%{d99999999999999999999999r.-+,/_=}"));
        assert!(MacroString::is_valid(""));
    }

    #[test]
    fn upper_case_escapes() {
        let values = Values { local: "a/b c~%", helo: "x", ..VALUES };
        assert_eq!(name("%{L}.%{H}", &values).as_deref(), Some("a%2Fb%20c~%25.x"));
        assert_eq!(name("%{L1R/}.example", &values).as_deref(), Some("a.example"));
        assert_eq!(name("a%%b%_c%-d.example", &values).as_deref(), Some("a%b c%20d.example"));
    }

    #[test]
    fn a_long_name_loses_its_left() {
        let label = "a".repeat(62);
        let long = name(&format!("x.%{{i}}.{}example", format!("{label}.").repeat(3)), &VALUES).unwrap();
        assert_eq!(long, format!("x.192.0.2.3.{label}.{label}.{label}.example"));
        // 254 octets, and one label less.
        let longer = name(&format!("x.%{{d}}.%{{d}}.%{{i}}.{}%{{d}}", format!("{label}.").repeat(3)), &VALUES).unwrap();
        let domain = "email.example.com";
        assert_eq!(longer, format!("{domain}.{domain}.192.0.2.3.{label}.{label}.{label}.{domain}"));
        assert_eq!(longer.len(), NAME - 1);
        // Without bound this would be half a megabyte, and one label of it is none.
        let endless = "%{s}.".repeat(4000);
        assert!(name(&format!("{endless}end.example"), &VALUES).unwrap().ends_with(".com.end.example"));
        assert_eq!(name(&format!("{}.example", "a".repeat(300)), &VALUES).as_deref(), Some("example"));
        assert_eq!(name(&format!("a.{}%%", "a".repeat(300)), &VALUES), None);
    }

    #[test]
    fn an_explanation_is_short_and_printable() {
        assert_eq!(
            text("%{c} is not %{h}'s, says %{r}.", &VALUES).unwrap(),
            "192.0.2.3 is not mail.example.net's, says mx.example.org."
        );
        assert_eq!(text("at %{t}: %{p}", &VALUES).as_deref(), Some("at 1700000000: mx.example.org"));
        assert_eq!(text(&"%{s} ".repeat(4000), &VALUES).map(|said| said.len()), Some(EXPLANATION));
        let sly = Values { helo: "a\r\n250 ok", local: "ö", ..VALUES };
        for wrong in ["%{h}", "%{l}", "%{S}", " ", ""] {
            assert_eq!(text(wrong, &sly), None, "{wrong}");
        }
        assert_eq!(text("%{H}", &sly).as_deref(), Some("a%0D%0A250%20ok"));
    }

    /// RFC 8616 §4.
    #[test]
    fn a_local_part_outside_of_ascii_is_no_name() {
        let values = Values { local: "jörg", ..VALUES };
        for spec in ["%{l}.example", "%{L}.example", "%{s1}.example"] {
            assert_eq!(name(spec, &values), None, "{spec}");
        }
        assert_eq!(name("%{o}", &values).as_deref(), Some("email.example.com"));
    }
}
