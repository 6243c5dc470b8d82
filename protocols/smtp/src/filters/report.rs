//! What rspamd says of a message, from its JSON.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::printable;

/// The most symbols of a report that are kept, the weightiest first.
const SYMBOLS: usize = 200;
/// The most header fields that are taken over, and the longest value of one.
const FIELDS: usize = 20;
const VALUE: usize = 900;
/// Scores beyond this say no more than this.
const SCORE: f64 = 10_000.0;

/// What rspamd wants done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Nothing is wrong with it.
    #[serde(rename = "no action", alias = "accept")]
    None,
    /// It is a little suspect: where rspamd does greylisting itself, it asks for `SoftReject` instead.
    Greylist,
    /// It is spam, to be marked as such.
    #[serde(rename = "add header")]
    AddHeader,
    /// It is spam, to be marked as such in its subject.
    #[serde(rename = "rewrite subject")]
    RewriteSubject,
    /// It is to come again later.
    #[serde(rename = "soft reject")]
    SoftReject,
    /// It is to be refused.
    Reject,
    /// It is to be taken and thrown away.
    Discard,
    /// It is to be kept where its recipients do not see it.
    Quarantine,
}

/// What rspamd says of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Report {
    /// What is to be done.
    pub(crate) action: Action,
    /// How much speaks against it.
    pub(crate) score: f64,
    /// How much must speak against it for a refusal.
    pub(crate) required: f64,
    /// The names of what was found, with what each counts, the weightiest first. The names are printable ASCII without
    /// spaces, commas and semicolons.
    pub(crate) symbols: Vec<(String, f64)>,
    /// What the client is to be told; printable ASCII.
    pub(crate) said: Option<String>,
    /// The header fields that are to be added, all with names that begin with `X-`; printable ASCII.
    pub(crate) fields: Vec<(String, String)>,
}

impl Report {
    /// Reads the body of an answer, which is bounded already.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn read(body: &[u8]) -> Result<Report, serde_json::Error> {
        let answer: Answer = serde_json::from_slice(body)?;
        let bounded = |score: f64| score.clamp(-SCORE, SCORE);
        let symbols = answer.symbols.into_iter().map(|(name, symbol)| (word(&name), bounded(symbol.score)));
        let mut symbols: Vec<_> = symbols.filter(|(name, _)| !name.is_empty()).collect();
        symbols.sort_by(|(one, this), (other, that)| that.abs().total_cmp(&this.abs()).then_with(|| one.cmp(other)));
        symbols.truncate(SYMBOLS);
        let said = answer.messages.get("smtp_message").and_then(Value::as_str).map(|said| printable(said, 200));
        Ok(Report {
            action: answer.action,
            score: bounded(answer.score),
            required: bounded(answer.required_score),
            symbols,
            said: said.map(|said| said.trim().to_owned()).filter(|said| !said.is_empty()),
            fields: fields(&answer.milter),
        })
    }
}

/// The parts of an answer that are used.
#[derive(Deserialize)]
struct Answer {
    action: Action,
    score: f64,
    required_score: f64,
    #[serde(default)]
    symbols: HashMap<String, Symbol>,
    #[serde(default)]
    messages: Value,
    #[serde(default)]
    milter: Value,
}

#[derive(Deserialize)]
struct Symbol {
    #[serde(default)]
    score: f64,
}

/// The name of a symbol, fit for a list of them in a header field.
fn word(name: &str) -> String {
    name.chars().filter(|sign| sign.is_ascii_graphic() && !matches!(sign, ',' | ';')).take(64).collect()
}

/// The header fields that are to be added. A value is a text, an object with one, or a list of those. What would change
/// the meaning of the message, or claim to be ours, is left out: only names with `X-` are taken.
fn fields(milter: &Value) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let Some(added) = milter.get("add_headers").and_then(Value::as_object) else { return fields };
    for (name, values) in added {
        let is_name = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        let prefixed = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
        if !is_name || !prefixed || !(3..=76).contains(&name.len()) {
            continue;
        }
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        for value in values {
            let text = value.get("value").unwrap_or(value).as_str();
            // Words alone are kept, which undoes folding.
            let words = |text: &str| printable(&text.split_whitespace().collect::<Vec<_>>().join(" "), VALUE);
            fields.extend(text.map(|text| (name.clone(), words(text))));
        }
    }
    fields.truncate(FIELDS);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Report {
        Report::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_report_is_read_with_the_weightiest_symbols_first() {
        let report = read(
            r#"{"is_skipped": false, "score": 7.25, "required_score": 15.0, "action": "add header",
                "thresholds": {"reject": 15.0}, "message-id": "x", "time_real": 0.1,
                "symbols": {"MISSING_DATE": {"name": "MISSING_DATE", "score": 1.0, "options": ["a"]},
                            "SPAM": {"score": 7.5}, "GOOD": {"score": -2.5}, "B": {"score": 1}, "ZERO": {}},
                "messages": {"smtp_message": " Looks\r\nbad "}}"#,
        );
        assert_eq!((report.action, report.score, report.required), (Action::AddHeader, 7.25, 15.0));
        let symbols: Vec<_> = report.symbols.iter().map(|(name, score)| (name.as_str(), *score)).collect();
        assert_eq!(symbols, [("SPAM", 7.5), ("GOOD", -2.5), ("B", 1.0), ("MISSING_DATE", 1.0), ("ZERO", 0.0)]);
        assert_eq!(report.said.as_deref(), Some("Looksbad"));
        assert!(report.fields.is_empty());
    }

    #[test]
    fn every_action_has_its_word() {
        for (word, action) in [
            ("no action", Action::None),
            ("accept", Action::None),
            ("greylist", Action::Greylist),
            ("add header", Action::AddHeader),
            ("rewrite subject", Action::RewriteSubject),
            ("soft reject", Action::SoftReject),
            ("reject", Action::Reject),
            ("discard", Action::Discard),
            ("quarantine", Action::Quarantine),
        ] {
            let report = read(&format!(r#"{{"action": "{word}", "score": 0, "required_score": 1}}"#));
            assert_eq!(report.action, action);
        }
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let deep =
            format!(r#"{{"action": "reject", "score": 1, "required_score": 1, "milter": {}"#, "[".repeat(100_000));
        for wrong in [
            "",
            "{}",
            "[]",
            "{\"error\": \"no\"}",
            r#"{"action": "dance", "score": 1, "required_score": 1}"#,
            r#"{"action": "reject", "score": "much", "required_score": 1}"#,
            r#"{"action": "reject", "score": NaN, "required_score": 1}"#,
            &deep,
        ] {
            assert!(Report::read(wrong.as_bytes()).is_err(), "{}", &wrong[..wrong.len().min(60)]);
        }
    }

    #[test]
    fn fields_cannot_break_out_and_are_few() {
        let report = read(
            r#"{"action": "no action", "score": 1e300, "required_score": -1e300,
                "symbols": {"A,B;\r\nX: c d\u0000": {"score": 1}, "\u00fc": {"score": 5}},
                "milter": {"remove_headers": {"X-A": 0}, "add_headers": {
                    "X-Plain": "one", "x-object": {"value": "two\r\n\tfolded \u00fc", "order": 0},
                    "X-List": ["a", {"value": "b"}, 7, null], "X-Bad\r\nBcc": "c", "X-A:b": "c", "X-": "c",
                    "Subject": "d", "Authentication-Results": "e", "X-Inject": "f\r\nBcc: g@b.example\r\n\r\nh",
                    "\u00e4\u00e4-x": "i", "X-Number": 5}}}"#,
        );
        let fields: Vec<_> = report.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            fields,
            [
                ("X-Inject", "f Bcc: g@b.example h"),
                ("X-List", "a"),
                ("X-List", "b"),
                ("X-Plain", "one"),
                ("x-object", "two folded ")
            ]
        );
        assert_eq!(report.symbols, [("ABX:cd".to_owned(), 1.0)]);
        assert_eq!((report.score, report.required), (SCORE, -SCORE));
        let many: Vec<String> = (0..1000).map(|number| format!(r#""X-{number}": "{}""#, "v".repeat(5000))).collect();
        let symbols: Vec<String> = (0..1000).map(|number| format!(r#""S{number}": {{"score": {number}}}"#)).collect();
        let (symbols, added) = (symbols.join(","), many.join(","));
        let rest = format!(r#""symbols": {{{symbols}}}, "milter": {{"add_headers": {{{added}}}}}"#);
        let many = format!(r#"{{"action": "reject", "score": 1, "required_score": 1, {rest}}}"#);
        let report = read(&many);
        assert_eq!((report.fields.len(), report.fields[0].1.len(), report.symbols.len()), (FIELDS, VALUE, SYMBOLS));
        assert_eq!(report.symbols[0].0, "S999");
    }
}
