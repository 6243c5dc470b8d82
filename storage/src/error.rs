//! Facts, never protocol codes. Each protocol's `reply.rs` matches them without a `_` arm.

use std::borrow::Cow;

/// Why the store did not do what was asked. `Display` is the sentence for the peer; [`Error::detail`] is ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing stands at that path or under that name.
    #[error("no such file or folder")]
    NotFound,
    /// This account may not do that.
    #[error("{0}")]
    Denied(Cow<'static, str>),
    /// This account has done that too often; the sentence says when it may again.
    #[error("{0}")]
    TooMany(Cow<'static, str>),
    /// The account's quota does not allow it.
    #[error("the quota is used up; delete something or ask the administrator for more")]
    OverQuota,
    /// The server's disk is nearly full.
    #[error("the server has no space left; try again later or tell the administrator")]
    Full,
    /// Somebody else holds it.
    #[error("it is in use by somebody else; try again")]
    Busy,
    /// It exists already.
    #[error("it exists already")]
    Exists,
    /// Not possible as asked; the sentence says why.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The caller's [`crate::Check`] does not hold any more.
    #[error("it was changed meanwhile")]
    Changed,
    /// The database or the blob store cannot be reached just now.
    #[error("the store cannot be reached just now; try again")]
    Unavailable(String),
    /// A fault of ours.
    #[error("an internal error; the server's log has the details")]
    Internal(String),
}

impl Error {
    /// An [`Error::Invalid`] with this sentence.
    pub fn invalid(sentence: impl Into<Cow<'static, str>>) -> Self {
        Error::Invalid(sentence.into())
    }

    /// An [`Error::Internal`] of which the log tells `detail`.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        Error::Internal(detail.to_string())
    }

    /// What the log should say beyond the sentence for the peer.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Error::Unavailable(detail) | Error::Internal(detail) => Some(detail),
            _ => None,
        }
    }

    /// Whether the outcome is a refusal that the audit log records, as opposed to a question answered with "no".
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Error::Denied(_) | Error::TooMany(_) | Error::OverQuota | Error::Full => true,
            Error::NotFound
            | Error::Busy
            | Error::Exists
            | Error::Invalid(_)
            | Error::Changed
            | Error::Unavailable(_)
            | Error::Internal(_) => false,
        }
    }
}

/// A library's error in one text with its causes, each of which may say what the one above leaves out.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::Full,
            _ => Error::Unavailable(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Error::Full,
            Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::SystemIoFailure | Code::CannotOpen) => {
                Error::Unavailable(error.to_string())
            }
            Some(Code::ConstraintViolation) => Error::Exists,
            _ => Error::Internal(error.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    /// For a row that does not hold what it should; what a statement says is judged by its session.
    fn from(error: tokio_postgres::Error) -> Self {
        Error::Internal(error.to_string())
    }
}
