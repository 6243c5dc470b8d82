//! The field that tells the readers of a message what was said of it (RFC 8601).

use std::borrow::Cow;
use std::fmt::Display;

use super::arc::ArcVerdict;
use super::dkim::DkimVerdict;
use super::spf::Outcome;
use super::verdicts::{Verdict, Verdicts};

/// The longest value that a sender can put into the field; paths and domains are shorter (RFC 5321 §4.5.3.1).
const MAX_VALUE: usize = 320;

impl Verdicts {
    /// The `Authentication-Results` field, with its line end.
    pub(crate) fn authentication_results(&self, authserv_id: &str) -> String {
        format!("Authentication-Results: {}", self.results(authserv_id))
    }

    /// What stands in that field, also for the one of an ARC set (RFC 8617 §4.1.1).
    pub(super) fn results(&self, authserv_id: &str) -> String {
        let mut results = Results { text: pvalue(authserv_id).into_owned(), column: 0 };
        results.spf(self);
        results.dkim(&self.dkim);
        results.clause("dmarc", &self.dmarc.result);
        if self.dmarc.result != Verdict::None {
            results.property("header.from", &self.dmarc.domain);
            results.property("policy.dmarc", &self.dmarc.policy.to_string());
        } else if let Some(fault) = self.malformed_from {
            results.comment(&fault.to_string());
        }
        results.clause("arc", &self.arc);
        if self.arc != ArcVerdict::None {
            results.property("smtp.remote-ip", &self.client.to_canonical().to_string());
        }
        results.text + "\r\n"
    }
}

struct Results {
    text: String,
    column: usize,
}

impl Results {
    fn spf(&mut self, verdicts: &Verdicts) {
        // The null path is judged by the name in HELO, and that once (RFC 7208 §2.4).
        if !verdicts.mail_from.is_empty() {
            self.one_spf(&verdicts.spf, "smtp.mailfrom", &verdicts.mail_from);
            self.one_spf(&verdicts.helo, "smtp.helo", &verdicts.helo_name);
        } else {
            self.one_spf(&verdicts.spf, "smtp.helo", &verdicts.helo_name);
        }
    }

    fn one_spf(&mut self, outcome: &Outcome, property: &str, value: &str) {
        self.clause("spf", outcome);
        self.property(property, value);
    }

    fn dkim(&mut self, verdicts: &[DkimVerdict]) {
        if verdicts.is_empty() {
            self.clause("dkim", &Verdict::None);
        }
        let texts: Vec<String> = verdicts.iter().filter_map(DkimVerdict::text).collect();
        for verdict in verdicts {
            self.clause("dkim", &verdict.result);
            if let Some(reason) = verdict.reason {
                self.comment(reason);
            }
            if let (Some(signature), Some(text)) = (&verdict.signature, verdict.text()) {
                self.property("header.d", &signature.d);
                self.property("header.s", &signature.s);
                self.property("header.a", signature.a.name());
                self.property("header.b", beginning(&text, &texts));
            }
        }
    }

    /// Begins the result of one method.
    fn clause(&mut self, method: &str, result: &impl Display) {
        let text = format!("{method}={result}");
        self.text.push_str(";\r\n\t");
        self.text.push_str(&text);
        self.column = 8 + text.len();
    }

    /// Adds what a sender chose, in a form that cannot be read as anything else.
    fn property(&mut self, name: &str, value: &str) {
        self.word(&format!("{name}={}", pvalue(value)));
    }

    /// Adds words of our own.
    fn comment(&mut self, text: &str) {
        self.word(&format!("({text})"));
    }

    fn word(&mut self, word: &str) {
        if self.column + 1 + word.len() > 78 {
            self.text.push_str("\r\n\t");
            self.column = 8;
        } else {
            self.text.push(' ');
            self.column += 1;
        }
        self.text.push_str(word);
        self.column += word.len();
    }
}

/// So much of a signature as tells it from the others, and 8 characters at least (RFC 6008 §4).
fn beginning<'a>(text: &'a str, all: &[String]) -> &'a str {
    let alone = |length: &usize| {
        text.get(..*length).is_none_or(|start| all.iter().filter(|other| other.starts_with(start)).count() < 2)
    };
    let length = [8, 16, 32].into_iter().find(alone).unwrap_or(64);
    text.get(..length).unwrap_or(text)
}

/// A value as it is, if it is a token, a domain or an address, and otherwise as a quoted string (RFC 8601 §2.2).
fn pvalue(value: &str) -> Cow<'_, str> {
    let domain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    let local = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let plain = value.split_once('@').map_or_else(|| domain(value), |(name, host)| local(name) && domain(host));
    if plain && value.len() <= MAX_VALUE {
        return Cow::Borrowed(value);
    }
    let mut quoted = String::from("\"");
    for letter in value.chars().take(MAX_VALUE) {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ if !letter.is_ascii() && letter.is_alphanumeric() => quoted.push(letter),
            _ => quoted.push('?'),
        }
    }
    Cow::Owned(quoted + "\"")
}
