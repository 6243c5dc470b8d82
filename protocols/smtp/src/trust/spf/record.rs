//! SPF records (RFC 7208 §3, §4.6.1, §12). The whole record is parsed before any of it is evaluated: an error anywhere
//! in it is a permerror (§4.6).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::MacroString;

/// A record above this size is refused: no sender has one, and it bounds what a check keeps in memory.
const LONGEST: usize = 16 * 1024;
/// The version section (§4.5).
const VERSION: &[u8] = b"v=spf1";

/// A record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// In their order.
    pub(super) directives: Vec<Directive>,
    /// Whose record decides when no directive matches (§6.1).
    pub(super) redirect: Option<MacroString>,
    /// Where the explanation of a fail is (§6.2).
    pub(super) explanation: Option<MacroString>,
}

/// A mechanism and what its match means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// Pass, when it is not written.
    pub(super) qualifier: Qualifier,
    /// What the client must be.
    pub(super) mechanism: Mechanism,
}

/// What a match means (§4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qualifier {
    /// `+`
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

/// A mechanism (§5). One without domain-spec is about the domain of the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    /// Matches always.
    All,
    /// The record of another domain passes.
    Include(MacroString),
    /// An address of the name.
    A(Option<MacroString>, Prefix),
    /// An address of one of the domain's mail hosts.
    Mx(Option<MacroString>, Prefix),
    /// A validated name of the client is below that name.
    Ptr(Option<MacroString>),
    /// A network of version 4.
    Ip4(Ipv4Addr, u8),
    /// A network of version 6.
    Ip6(Ipv6Addr, u8),
    /// The name has an address of version 4.
    Exists(MacroString),
}

/// How many bits of an address count: the dual-cidr-length (§5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    /// In an address of version 4.
    pub(super) four: u8,
    /// In one of version 6.
    pub(super) six: u8,
}

impl Record {
    /// Whether a TXT record is meant for SPF: the version is followed by a space or by nothing (§4.5).
    pub(super) fn is_one(text: &[u8]) -> bool {
        text.split_at_checked(VERSION.len()).is_some_and(|(version, rest)| {
            version.eq_ignore_ascii_case(VERSION) && matches!(rest.first(), None | Some(b' '))
        })
    }

    /// Parses what [`Record::is_one`] found.
    pub(super) fn parse(text: &[u8]) -> Option<Record> {
        if text.len() > LONGEST || !text.is_ascii() {
            return None;
        }
        let mut record = Record::default();
        for term in std::str::from_utf8(text.get(VERSION.len()..)?).ok()?.split(' ').filter(|term| !term.is_empty()) {
            match modifier(term) {
                Some((name, value)) => record.modify(name, value)?,
                None => record.directives.push(Directive::parse(term)?),
            }
        }
        Some(record)
    }

    /// Those that are known may stand once (§6); their syntax is never that of an unknown one.
    fn modify(&mut self, name: &str, value: &str) -> Option<()> {
        let place = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            _ => return MacroString::is_valid(value).then_some(()),
        };
        if place.is_some() {
            return None;
        }
        *place = Some(MacroString::domain_spec(value)?);
        Some(())
    }
}

/// The name and value of a modifier: `=` stands behind the name, before any `:` or `/` (§4.6.1).
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
    is_name.then_some((name, value))
}

impl Directive {
    fn parse(term: &str) -> Option<Directive> {
        let (qualifier, rest) = match term.as_bytes().first()? {
            b'+' => (Qualifier::Pass, &term[1..]),
            b'-' => (Qualifier::Fail, &term[1..]),
            b'~' => (Qualifier::SoftFail, &term[1..]),
            b'?' => (Qualifier::Neutral, &term[1..]),
            _ => (Qualifier::Pass, term),
        };
        Some(Directive { qualifier, mechanism: Mechanism::parse(rest)? })
    }
}

impl Mechanism {
    fn parse(text: &str) -> Option<Mechanism> {
        let (name, rest) = text.split_at(text.find([':', '/']).unwrap_or(text.len()));
        let required = || rest.strip_prefix(':');
        Some(match name.to_ascii_lowercase().as_str() {
            "all" if rest.is_empty() => Mechanism::All,
            "include" => Mechanism::Include(MacroString::domain_spec(required()?)?),
            "exists" => Mechanism::Exists(MacroString::domain_spec(required()?)?),
            "ptr" => Mechanism::Ptr(optional(rest)?),
            "a" => {
                let (rest, prefix) = dual_prefix(rest)?;
                Mechanism::A(optional(rest)?, prefix)
            }
            "mx" => {
                let (rest, prefix) = dual_prefix(rest)?;
                Mechanism::Mx(optional(rest)?, prefix)
            }
            "ip4" => {
                let (network, bits) = network(required()?, 32)?;
                Mechanism::Ip4(network.parse().ok()?, bits)
            }
            "ip6" => {
                let (network, bits) = network(required()?, 128)?;
                Mechanism::Ip6(network.parse().ok()?, bits)
            }
            _ => return None,
        })
    }
}

/// `[":" domain-spec]`.
fn optional(rest: &str) -> Option<Option<MacroString>> {
    if rest.is_empty() { Some(None) } else { MacroString::domain_spec(rest.strip_prefix(':')?).map(Some) }
}

/// Takes the dual-cidr-length from the end; from there, because a domain-spec may hold slashes itself.
fn dual_prefix(text: &str) -> Option<(&str, Prefix)> {
    let (text, six) = match text.rsplit_once("//") {
        Some((before, bits)) if is_digits(bits) => (before, length(bits, 128)?),
        _ => (text, 128),
    };
    let (text, four) = match text.rsplit_once('/') {
        Some((before, bits)) if is_digits(bits) => (before, length(bits, 32)?),
        _ => (text, 32),
    };
    Some((text, Prefix { four, six }))
}

/// An address with the length of its prefix, if that is given.
fn network(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((network, bits)) => Some((network, length(bits, most)?)),
        None => Some((text, most)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// The length of a prefix: a number without leading zeros.
fn length(bits: &str, most: u8) -> Option<u8> {
    let has_leading_zero = bits.len() > 1 && bits.starts_with('0');
    (is_digits(bits) && !has_leading_zero).then(|| bits.parse().ok())?.filter(|bits| *bits <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(text: &str) -> MacroString {
        MacroString::domain_spec(text).unwrap()
    }

    fn parse(terms: &str) -> Option<Record> {
        Record::parse(format!("v=spf1 {terms}").as_bytes())
    }

    #[test]
    fn a_record_is_known_by_its_version() {
        for good in ["v=spf1", "V=SPF1", "v=spf1 ", "v=spf1 nonsense"] {
            assert!(Record::is_one(good.as_bytes()), "{good}");
        }
        for other in ["", "v=spf", "v=spf10", "v=spf1\t-all", " v=spf1", "v=spf2 -all", "spf2.0/pra"] {
            assert!(!Record::is_one(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn mechanisms() {
        let whole = Prefix { four: 32, six: 128 };
        for (term, qualifier, mechanism) in [
            ("all", Qualifier::Pass, Mechanism::All),
            ("-ALL", Qualifier::Fail, Mechanism::All),
            ("?a", Qualifier::Neutral, Mechanism::A(None, whole)),
            ("~MX:a.example", Qualifier::SoftFail, Mechanism::Mx(Some(spec("a.example")), whole)),
            ("a/24", Qualifier::Pass, Mechanism::A(None, Prefix { four: 24, six: 128 })),
            ("mx//64", Qualifier::Pass, Mechanism::Mx(None, Prefix { four: 32, six: 64 })),
            ("+a:b/c.d/0//0", Qualifier::Pass, Mechanism::A(Some(spec("b/c.d")), Prefix { four: 0, six: 0 })),
            ("a:%{d2/}", Qualifier::Pass, Mechanism::A(Some(spec("%{d2/}")), whole)),
            ("ptr", Qualifier::Pass, Mechanism::Ptr(None)),
            ("ptr:a.example.", Qualifier::Pass, Mechanism::Ptr(Some(spec("a.example.")))),
            ("include:a.example", Qualifier::Pass, Mechanism::Include(spec("a.example"))),
            ("exists:%{ir}.a.example", Qualifier::Pass, Mechanism::Exists(spec("%{ir}.a.example"))),
            ("ip4:192.0.2.0/24", Qualifier::Pass, Mechanism::Ip4(Ipv4Addr::new(192, 0, 2, 0), 24)),
            ("ip4:192.0.2.1", Qualifier::Pass, Mechanism::Ip4(Ipv4Addr::new(192, 0, 2, 1), 32)),
            ("ip6:2001:db8::/32", Qualifier::Pass, Mechanism::Ip6("2001:db8::".parse().unwrap(), 32)),
            ("ip6:::192.0.2.1", Qualifier::Pass, Mechanism::Ip6("::192.0.2.1".parse().unwrap(), 128)),
        ] {
            let directives = vec![Directive { qualifier, mechanism }];
            assert_eq!(parse(term), Some(Record { directives, ..Record::default() }), "{term}");
        }
    }

    #[test]
    fn one_wrong_term_spoils_the_record() {
        for bad in [
            "moo",
            "-",
            "+-all",
            "all.",
            "all/8",
            "all:a.example",
            "a:",
            "a/",
            "a/33",
            "a/24/64",
            "a//129",
            "a/024",
            "a:/24",
            "a:example",
            "a:192.0.2.1",
            "mx:a.example/x",
            "ptr/24",
            "ptr:",
            "include",
            "include:",
            "include:a.example/24",
            "exists",
            "ip4",
            "ip4:",
            "ip4:192.0.2",
            "ip4:192.0.2.01",
            "ip4:192.0.2.1/",
            "ip4:192.0.2.1/33",
            "ip4:192.0.2.1//32",
            "ip4:192.0.2.1:25",
            "ip4:::1",
            "ip6",
            "ip6:192.0.2.1",
            "ip6:::1/129",
            "ip6:::1%1",
            "redirect:a.example",
            "redirect=",
            "redirect=-all",
            "exp=",
            "exp=a",
            "1up=a",
            "=a",
            "a=%x",
            "+a=b",
            "a\tmx",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
            assert_eq!(parse(&format!("+all {bad}")), None, "{bad}");
        }
        assert_eq!(Record::parse(b"v=spf1 a:\xff.example"), None);
        assert_eq!(parse(&"a ".repeat(LONGEST)), None);
    }

    #[test]
    fn modifiers() {
        let record = parse("  exp=x.example  REDIRECT=%{d}  a-1_.=:/%%  default=+ ").unwrap();
        let (redirect, explanation) = (Some(spec("%{d}")), Some(spec("x.example")));
        assert_eq!(record, Record { directives: vec![], redirect, explanation });
        for twice in ["exp=x.example exp=x.example", "redirect=x.example -all Redirect=y.example"] {
            assert_eq!(parse(twice), None, "{twice}");
        }
        assert!(parse("moo=1 moo=2").is_some());
    }

    proptest! {
        #[test]
        fn only_the_terms_count(terms in "([-+~?aimxp46 :=/.%{}drs0-9]|\\PC| all| a| ip4:192.0.2.1){0,20}") {
            let record = parse(&terms);
            prop_assert_eq!(parse(&terms.replace(' ', "  ")), parse(&format!("{terms} ")));
            prop_assert!(record.is_none() || terms.is_ascii());
            prop_assert_eq!(parse(&format!("{terms} moo")), None);
        }
    }
}
