//! MTA Strict Transport Security (RFC 8461): the record that says that there is a policy, and the policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest policy that is read (RFC 8461 §3.3 leaves the limit to us).
pub(crate) const LONGEST: usize = 64 << 10;
/// The most patterns of a policy.
const MOST_MX: usize = 100;
/// The longest life of a policy, in seconds (RFC 8461 §3.2).
const MOST_AGE: u32 = 31_557_600;
/// What every record begins with.
const RECORD: &str = "v=STSv1;";

/// The id of the policy that a domain has, by the TXT records at `_mta-sts` (RFC 8461 §3.1); each one's strings must be
/// joined already. `None` where the records say of no policy, or not clearly.
pub(crate) fn id<'a>(records: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut of_sts = records.into_iter().filter_map(|record| record.strip_prefix(RECORD));
    let (Some(record), None) = (of_sts.next(), of_sts.next()) else { return None };
    let fields = record.split(';').map(|field| field.trim_matches([' ', '\t']));
    let id = fields.filter_map(|field| field.strip_prefix("id=")).next()?;
    let is_well = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_well.then(|| id.to_owned())
}

/// What a domain asks of those who send to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Mail goes to no host that does not fit the policy.
    Enforce,
    /// Mail goes everywhere; that a host does not fit is reported (RFC 8460).
    Testing,
    /// There is no policy any more.
    None,
}

/// A policy (RFC 8461 §3.2). As text it is what a server gives out, and what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(into = "String", try_from = "String")]
pub struct Policy {
    /// What it asks.
    pub mode: Mode,
    /// The names of the mail hosts, in lower case; `*.` stands for one label.
    pub mx: Vec<String>,
    /// How long it holds after it was fetched, in seconds.
    pub max_age: u32,
}

impl Policy {
    /// Whether a mail host is one of the policy's (RFC 8461 §4.1).
    pub(crate) fn admits(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.mx.iter().any(|pattern| fits(pattern, host))
    }

    /// The policy as a server gives it out.
    pub fn text(&self) -> String {
        self.to_string()
    }

    /// An id that changes with the policy (RFC 8461 §3.1).
    pub fn id(&self) -> String {
        let hash = blake3::hash(self.text().as_bytes());
        hash.to_hex().chars().take(20).collect()
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        };
        write!(out, "version: STSv1\r\nmode: {mode}\r\n")?;
        self.mx.iter().try_for_each(|pattern| write!(out, "mx: {pattern}\r\n"))?;
        write!(out, "max_age: {}\r\n", self.max_age)
    }
}

impl From<Policy> for String {
    fn from(policy: Policy) -> String {
        policy.text()
    }
}

impl TryFrom<String> for Policy {
    type Error = String;

    fn try_from(text: String) -> Result<Policy, String> {
        text.parse()
    }
}

impl FromStr for Policy {
    /// A sentence.
    type Err = String;

    fn from_str(text: &str) -> Result<Policy, String> {
        if text.len() > LONGEST {
            return Err(format!("the policy is longer than {LONGEST} bytes"));
        }
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches([' ', '\t']);
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or("the policy has a line that is no field")?;
            let value = value.trim_start_matches([' ', '\t']);
            // Of fields that stand twice the first counts, but for mx, and those that nobody knows are ignored.
            match key {
                "version" => drop(version.get_or_insert(value)),
                "mode" => drop(mode.get_or_insert(value)),
                "max_age" => drop(max_age.get_or_insert(value)),
                "mx" if mx.len() == MOST_MX => return Err(format!("the policy has more than {MOST_MX} mx")),
                "mx" => mx.push(pattern(value).ok_or("an mx of the policy is no name of a host")?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err("the policy is not of version STSv1".into());
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err("the mode of the policy is none that RFC 8461 knows".into()),
        };
        if mx.is_empty() && mode != Mode::None {
            return Err("the policy names no mx".into());
        }
        let max_age = max_age.and_then(age).ok_or("the max_age of the policy is no number of seconds")?;
        Ok(Policy { mode, mx, max_age })
    }
}

/// Whether a name fits a pattern, in which `*.` at the start stands for one label (RFC 6125 §6.4.3).
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent))
        }
        None => name.eq_ignore_ascii_case(pattern),
    }
}

/// A number of seconds of up to ten digits. Who writes more than the most means long, so it counts as the most: without
/// its policy the domain would be worse off.
fn age(digits: &str) -> Option<u32> {
    let is_well = (1..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = is_well.then(|| digits.parse().ok())??;
    Some(u32::try_from(seconds).unwrap_or(MOST_AGE).min(MOST_AGE))
}

/// A name of a host, or `*.` before one, in lower case; a final dot means nothing.
fn pattern(value: &str) -> Option<String> {
    let value = value.strip_suffix('.').unwrap_or(value);
    let name = value.strip_prefix("*.").unwrap_or(value);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, String> {
        text.parse()
    }

    #[test]
    fn one_record_with_an_id_says_that_there_is_a_policy() {
        let of = |records: &[&str]| id(records.iter().copied());
        assert_eq!(of(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(of(&["v=spf1 -all", "v=STSv1;id=a ; x=y"]).as_deref(), Some("a"));
        assert_eq!(of(&["v=STSv1; x=y; id=1; id=2"]).as_deref(), Some("1"), "the first counts");
        assert_eq!(of(&["v=STSv1; id=1;", "v=STSv1; id=1;"]), None, "two records");
        assert_eq!(of(&["v=STSv1; id=1;", "v=STSv2; id=2;"]).as_deref(), Some("1"));
        for wrong in ["v=STSv1", "v=STSv1;", "v=STSv1; id=;", "v=STSv1; id=a-b;", "V=STSv1; id=1;", " v=STSv1; id=1;"] {
            assert_eq!(of(&[wrong]), None, "{wrong:?}");
        }
        let (long, longer) = ("a".repeat(32), "a".repeat(33));
        assert_eq!(of(&[&format!("v=STSv1; id={long}")]), Some(long));
        assert_eq!(of(&[&format!("v=STSv1; id={longer}")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_policy_is_read_whatever_ends_its_lines() {
        let text =
            "version: STSv1\nmode: enforce\nmx: Mail.Example.com\nmx:*.example.net.  \nnew: x\nmax_age: 604800\n\n";
        let expected = Policy {
            mode: Mode::Enforce,
            mx: vec!["mail.example.com".into(), "*.example.net".into()],
            max_age: 604_800,
        };
        assert_eq!(policy(text), Ok(expected.clone()));
        assert_eq!(policy(&text.replace('\n', "\r\n")), Ok(expected.clone()));
        assert_eq!(policy(&expected.text()), Ok(expected));
    }

    #[test]
    fn of_fields_that_stand_twice_the_first_counts() {
        let found = policy("mode: testing\nversion: STSv1\nmode: enforce\nmx: a.b\nmax_age: 1\nmax_age: 2").unwrap();
        assert_eq!((found.mode, found.max_age), (Mode::Testing, 1));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let well = "version: STSv1\nmode: enforce\nmx: a.b\nmax_age: 1\n";
        assert!(policy(well).is_ok());
        for (from, to) in [
            ("STSv1", "STSv2"),
            ("version: STSv1\n", ""),
            ("mode: enforce", "mode: Enforce"),
            ("mode: enforce\n", ""),
            ("mx: a.b\n", ""),
            ("a.b", "a b"),
            ("a.b", "*.*.b"),
            ("a.b", "a*.b"),
            ("a.b", "*."),
            ("a.b", ""),
            ("a.b", "a..b"),
            ("a.b", "bücher.de"),
            ("max_age: 1\n", ""),
            ("max_age: 1", "max_age: +1"),
            ("max_age: 1", "max_age: 12345678901"),
            ("max_age: 1", "max_age: 1s"),
            ("mx: a.b", "<html>"),
        ] {
            assert!(policy(&well.replace(from, to)).is_err(), "{from:?} as {to:?}");
        }
        assert_eq!(policy("version: STSv1\nmode: none\nmax_age: 0").unwrap().mx, Vec::<String>::new());
        assert_eq!(policy(&well.replace(": 1", ": 9999999999")).unwrap().max_age, MOST_AGE);
        assert_eq!(policy(&well.replace(": 1", ": 31557601")).unwrap().max_age, MOST_AGE);
    }

    #[test]
    fn a_policy_has_an_end() {
        let well = "version: STSv1\nmode: enforce\nmax_age: 1\n";
        assert_eq!(policy(&format!("{well}{}", "mx: a.b\n".repeat(MOST_MX))).unwrap().mx.len(), MOST_MX);
        assert!(policy(&format!("{well}{}", "mx: a.b\n".repeat(MOST_MX + 1))).is_err());
        assert!(policy(&format!("{well}mx: a.b\n{}", "\n".repeat(LONGEST))).is_err());
    }

    #[test]
    fn a_wildcard_is_one_label() {
        let policy = policy("version: STSv1\nmode: enforce\nmx: mail.a.example\nmx: *.b.example\nmax_age: 1").unwrap();
        for host in ["mail.a.example", "MAIL.A.example.", "x.b.example", "X.B.Example"] {
            assert!(policy.admits(host), "{host}");
        }
        for host in ["a.example", "x.mail.a.example", "b.example", "x.y.b.example", ".b.example", "xb.example", "", "*"]
        {
            assert!(!policy.admits(host), "{host}");
        }
    }

    #[test]
    fn a_policy_is_stored_as_its_text() {
        let policy = Policy { mode: Mode::Testing, mx: vec!["a.b".into()], max_age: 86_400 };
        assert_eq!(policy.text(), "version: STSv1\r\nmode: testing\r\nmx: a.b\r\nmax_age: 86400\r\n");
        let stored = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&stored).unwrap(), policy);
        assert!(serde_json::from_str::<Policy>("\"mode: none\"").is_err());
    }
}
