//! What clamd says of a message, from its answer.

use super::{Failure, printable};

/// Who answers, in what is told of it.
pub(crate) const NAMED: &str = "the virus scanner";

/// The longest name of a virus that is kept, and the longest answer that is told of.
const NAME: usize = 100;
const TOLD: usize = 200;

/// What clamd says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scan {
    /// It found nothing.
    Clean,
    /// It found what has that name, which is printable ASCII.
    Found(String),
}

/// Reads an answer of clamd(8): `stream: OK`, `stream: NAME FOUND`, and what ends with `ERROR`.
///
/// # Errors
/// Says why there is no verdict.
pub(crate) fn verdict(answer: &[u8]) -> Result<Scan, Failure> {
    if answer == b"stream: OK" {
        return Ok(Scan::Clean);
    }
    let text = printable(&String::from_utf8_lossy(answer), answer.len());
    if let Some(name) = text.strip_prefix("stream: ").and_then(|text| text.strip_suffix(" FOUND")) {
        return Ok(Scan::Found(printable(name, NAME)));
    }
    if text.starts_with("INSTREAM size limit exceeded") {
        return Err(Failure::TooLarge(NAMED));
    }
    Err(Failure::Away(format!("{NAMED} answered: {}", printable(&text, TOLD))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read() {
        assert_eq!(verdict(b"stream: OK"), Ok(Scan::Clean));
        assert_eq!(verdict(b"stream: Eicar-Test FOUND"), Ok(Scan::Found("Eicar-Test".into())));
        let hostile = verdict(b"stream: a\r\nX: b\x1b\xff FOUND");
        assert_eq!(hostile, Ok(Scan::Found("aX: b".into())));
        let long = verdict(&[b"stream: ".as_slice(), &[b'a'; 3000], b" FOUND"].concat());
        assert_eq!(long, Ok(Scan::Found("a".repeat(NAME))));
        assert_eq!(verdict(b"INSTREAM size limit exceeded. ERROR"), Err(Failure::TooLarge(NAMED)));
        assert!(matches!(verdict(b"stream: OK\r"), Err(Failure::Away(_))), "nearly clean is not");
        for other in ["stream: Can't allocate memory ERROR", "stream: OK, nearly", ""] {
            assert_eq!(verdict(other.as_bytes()), Err(Failure::Away(format!("{NAMED} answered: {other}"))));
        }
    }
}
