//! Replies (RFC 959 §4.2), and the one match from facts to their codes.

use auth::Denied;
use protocol::DataError;
use storage::Error;

/// A reply of one line or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Reply { code, lines: vec![text.into()] }
    }

    /// A reply whose first and last line are given, with more between them.
    pub fn lines(code: u16, first: &str, between: impl IntoIterator<Item = String>, last: &str) -> Self {
        let mut lines = vec![first.to_owned()];
        lines.extend(between);
        lines.push(last.to_owned());
        Reply { code, lines }
    }

    /// Its three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The bytes that go out. Lines between the first and the last are set in by a space, so that none of them can be
    /// taken for the last (RFC 959 §4.2).
    pub fn render(&self) -> Vec<u8> {
        let last = self.lines.len().saturating_sub(1);
        let mut text = String::new();
        for (at, line) in self.lines.iter().enumerate() {
            // A client's words come back in replies: none of them may begin a line of its own.
            let line: String = line.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
            match at {
                _ if at == last => text.push_str(&format!("{} {line}\r\n", self.code)),
                0 => text.push_str(&format!("{}-{line}\r\n", self.code)),
                _ => text.push_str(&format!(" {line}\r\n")),
            }
        }
        text.into_bytes()
    }
}

/// A sentence as a reply says it.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

impl From<&Error> for Reply {
    fn from(error: &Error) -> Self {
        if let Some(detail) = error.detail() {
            tracing::error!(detail, "the store failed");
        }
        let code = match error {
            Error::NotFound | Error::Denied(_) | Error::Exists | Error::Invalid(_) => 550,
            Error::OverQuota => 552,
            Error::Full => 452,
            Error::Busy | Error::Changed | Error::TooMany(_) => 450,
            Error::Unavailable(_) | Error::Internal(_) => 451,
        };
        Reply::new(code, sentence(&error.to_string()))
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        Reply::from(&error)
    }
}

impl From<&Denied> for Reply {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::BadCredentials | Denied::Throttled { .. } => Reply::new(530, sentence(&denied.to_string())),
            Denied::Cleartext => Reply::new(530, "A password is only taken over TLS; send AUTH TLS first."),
            Denied::Unavailable(error) => Reply::from(error),
        }
    }
}

impl From<&DataError> for Reply {
    fn from(error: &DataError) -> Self {
        match error {
            DataError::Late | DataError::Foreign | DataError::Io(_) => Reply::new(425, sentence(&error.to_string())),
            // RFC 4217 §10.2: 522 is said of a data connection's TLS that is not as it must be.
            DataError::Unbound => Reply::new(522, sentence(&error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_lines_that_nobody_can_forge() {
        assert_eq!(Reply::new(200, "Ok.").render(), b"200 Ok.\r\n");
        let many = Reply::lines(211, "Features:", ["SIZE".into(), "211 x\r\n226 y".into()], "End");
        assert_eq!(many.render(), b"211-Features:\r\n SIZE\r\n 211 x??226 y\r\n211 End\r\n");
        assert_eq!(Reply::from(&Error::Full).code(), 452);
        assert_eq!(Reply::from(&Error::OverQuota).code(), 552);
    }
}
