//! The base subject of a message (RFC 5256 §2.1), by which SORT and THREAD compare.

/// A subject without what replying and forwarding add to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseSubject {
    /// What is left, in the case it was written in.
    pub text: String,
    /// Whether anything told that it is a reply or was forwarded.
    pub reply: bool,
}

/// The base subject of a subject whose encoded words are decoded.
pub fn base_subject(decoded: &str) -> BaseSubject {
    // (1) One space wherever there is any.
    let subject = decoded.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut text, mut reply) = (subject.as_str(), false);
    loop {
        // (2) Trailers.
        while let Some(rest) = strip_end(text, "(fwd)") {
            (text, reply) = (rest.trim_end(), true);
        }
        // (3) to (5) Leaders, and blobs that have something behind them.
        loop {
            if let Some(rest) = without_leader(text) {
                (text, reply) = (rest, true);
            } else if let Some(rest) = without_blob(text).filter(|rest| !rest.is_empty()) {
                text = rest;
            } else {
                break;
            }
        }
        // (6) `[fwd: ...]` around all of it.
        match strip_start(text, "[fwd:").and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => (text, reply) = (inner.trim(), true),
            None => return BaseSubject { text: text.to_owned(), reply },
        }
    }
}

/// What follows `re:`, `fw:` or `fwd:`, which may have blobs before it and one before its colon.
fn without_leader(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(behind) = without_blob(rest) {
        rest = behind;
    }
    let rest = ["re", "fwd", "fw"].iter().find_map(|word| strip_start(rest, word))?.trim_start();
    let rest = without_blob(rest).unwrap_or(rest);
    rest.strip_prefix(':').map(str::trim_start)
}

/// What follows `[...]`, when there is no bracket within.
fn without_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    inner[end..].strip_prefix(']').map(str::trim_start)
}

fn strip_start<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    let head = text.get(..start.len())?;
    head.eq_ignore_ascii_case(start).then(|| &text[start.len()..])
}

fn strip_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(end.len())?;
    text.get(at..)?.eq_ignore_ascii_case(end).then(|| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_subjects() {
        for (subject, base, reply) in [
            ("", "", false),
            ("Hello \t world ", "Hello world", false),
            ("Re: Hello", "Hello", true),
            ("RE: fw: FWD : Hello", "Hello", true),
            ("Re [3]: Hello (fwd) (FWD)", "Hello", true),
            ("[list] Re: [x] Hello", "Hello", true),
            ("[list] Hello", "Hello", false),
            ("[list]", "[list]", false),
            ("[a][b] [c]", "[c]", false),
            ("[fwd: Re: Hello]", "Hello", true),
            ("[Fwd: [fwd: Hello (fwd)]]", "Hello", true),
            ("[fwd Hello]", "[fwd Hello]", false),
            ("Report: x", "Report: x", false),
            ("Re:", "", true),
            ("Re: Re:Re", "Re", true),
            ("Grüße (fwd)", "Grüße", true),
            ("[[x] y", "[[x] y", false),
        ] {
            let found = base_subject(subject);
            assert_eq!((found.text.as_str(), found.reply), (base, reply), "{subject}");
        }
    }
}
