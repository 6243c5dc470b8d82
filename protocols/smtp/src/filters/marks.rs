//! The header fields that tell recipients and their clients what the filters found.

use super::decision::Decision;
use super::report::Report;

/// The fields that clients believe. Ours are among them.
const BELIEVED: [&str; 8] = [
    "X-Spam-Flag",
    "X-Spam-Score",
    "X-Spam-Status",
    "X-Junk-Reason",
    "X-Spam",
    "X-Spam-Level",
    "X-Spam-Report",
    "X-Spam-Checker-Version",
];
/// The most symbols that are told.
const SYMBOLS: usize = 100;
/// RFC 5322 §2.1.1.
const LINE: usize = 78;

/// The names of the fields that a message must not bring along: who sends it could write what it likes in them.
pub(crate) fn forgeable(report: Option<&Report>) -> Vec<String> {
    let added = report.into_iter().flat_map(|report| &report.fields).map(|(name, _)| name.as_str());
    let mut names: Vec<String> = BELIEVED.into_iter().map(str::to_owned).collect();
    for name in added {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The fields for a message that is delivered, with their line ends; none where no filter has anything to say.
pub(crate) fn fields(decision: &Decision, report: Option<&Report>) -> String {
    let mut text = String::new();
    let reason = match decision {
        Decision::Junk(reason) => Some(reason),
        _ => None,
    };
    if report.is_none() && reason.is_none() {
        return text;
    }
    let (flag, word) = if reason.is_some() { ("YES", " Yes,") } else { ("NO", " No,") };
    field(&mut text, "X-Spam-Flag", [format!(" {flag}")]);
    if let Some(report) = report {
        field(&mut text, "X-Spam-Score", [format!(" {:.1}", report.score)]);
        field(&mut text, "X-Spam-Status", status(word, report));
    }
    if let Some(reason) = reason {
        field(&mut text, "X-Junk-Reason", words(reason));
    }
    let added = report.map_or(&[][..], |report| &report.fields);
    let ours = |name: &str| BELIEVED[..4].iter().any(|known| known.eq_ignore_ascii_case(name));
    for (name, value) in added.iter().filter(|(name, _)| !ours(name)) {
        field(&mut text, name, words(value));
    }
    text
}

/// As SpamAssassin writes it, which is what clients read.
fn status(word: &str, report: &Report) -> Vec<String> {
    let score = format!(" score={:.1}", report.score);
    let mut pieces = vec![word.to_owned(), score, format!(" required={:.1}", report.required), " tests=".to_owned()];
    let count = report.symbols.len().min(SYMBOLS);
    for (at, (name, _)) in report.symbols.iter().take(SYMBOLS).enumerate() {
        pieces.push(if at + 1 < count { format!("{name},") } else { name.clone() });
    }
    if count == 0 {
        pieces.push("none".to_owned());
    }
    pieces
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(|word| format!(" {word}")).collect()
}

/// Writes a field, folded between its pieces (RFC 5322 §2.2.3).
fn field(text: &mut String, name: &str, pieces: impl IntoIterator<Item = String>) {
    text.push_str(name);
    text.push(':');
    let mut width = name.len() + 1;
    for piece in pieces {
        if width + piece.len() > LINE && width > name.len() + 1 {
            text.push_str("\r\n\t");
            text.push_str(piece.trim_start());
            width = 1 + piece.trim_start().len();
        } else {
            text.push_str(&piece);
            width += piece.len();
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::report::Action;

    fn report(symbols: usize) -> Report {
        let symbols = (0..symbols).map(|number| (format!("SYMBOL_NUMBER_{number}"), 1.0)).collect();
        let added = vec![("X-Spamd-Bar".into(), "+++".into()), ("x-spam-flag".into(), "NO".into())];
        Report { action: Action::AddHeader, score: 7.26, required: 15.0, symbols, said: None, fields: added }
    }

    #[test]
    fn the_fields_are_those_that_clients_know() {
        let junk = Decision::Junk("spam, score 7.3 of 15.0".into());
        assert_eq!(
            fields(&junk, Some(&report(2))),
            "X-Spam-Flag: YES\r\n\
             X-Spam-Score: 7.3\r\n\
             X-Spam-Status: Yes, score=7.3 required=15.0 \
             tests=SYMBOL_NUMBER_0,\r\n\tSYMBOL_NUMBER_1\r\n\
             X-Junk-Reason: spam, score 7.3 of 15.0\r\n\
             X-Spamd-Bar: +++\r\n"
        );
        assert!(
            fields(&Decision::Take, Some(&report(0)))
                .contains("X-Spam-Status: No, score=7.3 required=15.0 tests=none\r\n")
        );
        assert_eq!(fields(&junk, None), "X-Spam-Flag: YES\r\nX-Junk-Reason: spam, score 7.3 of 15.0\r\n");
        assert_eq!(fields(&Decision::Take, None), "");
    }

    #[test]
    fn lines_are_folded_and_read_back_whole() {
        let report = report(500);
        let reason = format!("one {} two", "long".repeat(40));
        let text = fields(&Decision::Junk(reason.clone()), Some(&report));
        assert!(text.ends_with("\r\n") && !text.replace("\r\n", "").contains(['\r', '\n']));
        let lines: Vec<&str> = text.trim_end().split("\r\n").collect();
        assert!(lines.iter().all(|line| line.len() <= LINE || line.contains("longlong")), "{text}");
        assert!(lines.iter().all(|line| line.starts_with(['X', '\t']) && !line.trim().is_empty()), "{text}");
        let unfolded = text.replace("\r\n\t", "\t");
        let status = unfolded.lines().find_map(|line| line.split_once("tests=").map(|(_, tests)| tests)).unwrap();
        let told: Vec<&str> = status.split(',').map(str::trim).collect();
        assert_eq!(told.len(), SYMBOLS);
        assert!(told.iter().zip(&report.symbols).all(|(told, (name, _))| told == name));
        let told = unfolded.lines().find_map(|line| line.strip_prefix("X-Junk-Reason: ")).unwrap();
        assert_eq!(told.replace('\t', " "), reason);
    }

    #[test]
    fn what_is_written_cannot_be_brought_along() {
        let names = forgeable(Some(&report(1)));
        let text = fields(&Decision::Junk("a".into()), Some(&report(1)));
        for line in text.lines().filter(|line| !line.starts_with('\t')) {
            let name = line.split(':').next().unwrap();
            assert!(names.iter().any(|known| known.eq_ignore_ascii_case(name)), "{name}");
        }
        assert_eq!(names.len(), BELIEVED.len() + 1, "each once");
    }
}
