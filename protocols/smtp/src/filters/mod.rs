//! What others say of a message before it is taken: lists of addresses in DNS, greylisting, rspamd and clamd; and what
//! becomes of the message by all that.

pub(crate) mod clamd;
pub mod config;
mod content;
pub mod decision;
pub(crate) mod dnsbl;
pub(crate) mod greylist;
pub(crate) mod marks;
pub(crate) mod report;
pub(crate) mod rspamd;
pub(crate) mod scan;

/// How much of a message is in memory at once on its way to a filter.
const CHUNK: usize = 64 << 10;

/// Why a filter tells nothing of a message; for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// It would not take a message of that size at any time.
    #[error("{0} takes no message of this size; raise its limit to that of max_message")]
    TooLarge(&'static str),
    /// It is not there, or does not do its work now.
    #[error("{0}")]
    Away(String),
    /// The message itself could not be read from where it is kept.
    #[error("the message could not be read: {0}")]
    Message(String),
}

/// Text from a filter, reduced to printable ASCII and `most` characters.
fn printable(text: &str, most: usize) -> String {
    text.chars().filter(|sign| (' '..='~').contains(sign)).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_end_and_no_control_survives() {
        assert_eq!(printable("a\r\nB: c\0\u{7f}\u{1b}[m ü~", 20), "aB: c[m ~");
        assert_eq!(printable("abcdef", 3), "abc");
    }
}
