//! From facts to status codes: the one place where an error becomes an answer.

use std::borrow::Cow;

use auth::Denied;
use http::{HeaderValue, Response, StatusCode, header};
use storage::Error;

use crate::body::Body;
use crate::ops::content::NOSNIFF;
use crate::ops::portal::pages;

/// An answer that is not what was asked for. Handlers return it; the session writes it, as a page or as plain text.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    message: Cow<'static, str>,
    more: More,
}

/// What a status code needs beside it.
#[derive(Debug, PartialEq, Eq)]
enum More {
    Nothing,
    /// RFC 9110 §15.5.6: the methods that are allowed.
    Allow(&'static str),
    /// RFC 9110 §11.6.1, RFC 7617 §2.1: how to log in.
    Challenge,
    /// RFC 9110 §10.2.3: seconds until it may work.
    RetryAfter(u64),
    /// RFC 9110 §15.5.17: how long the representation is.
    Length(u64),
}

impl Refusal {
    /// With one sentence for the client.
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { status, message: message.into(), more: More::Nothing }
    }

    /// 404.
    pub(crate) fn not_found() -> Refusal {
        Error::NotFound.into()
    }

    /// 412.
    pub(crate) fn precondition() -> Refusal {
        Error::Changed.into()
    }

    /// 405, with the methods that are allowed.
    pub(crate) fn method(allow: &'static str) -> Refusal {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done here");
        Refusal { more: More::Allow(allow), ..refusal }
    }

    /// 401 that asks for a name and a password.
    pub(crate) fn challenge() -> Refusal {
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "log in with your name and password");
        Refusal { more: More::Challenge, ..refusal }
    }

    /// 416 for a representation of this length.
    pub(crate) fn range(length: u64) -> Refusal {
        let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "it is shorter than that");
        Refusal { more: More::Length(length), ..refusal }
    }

    /// The same refusal with a status that says it better here.
    pub(crate) fn with_status(self, status: StatusCode) -> Refusal {
        Refusal { status, ..self }
    }

    /// The sentence for the client.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The answer: a page for browsers, a line of text for all others.
    pub(crate) fn answer(self, browser: bool) -> Response<Body> {
        let mut response = if browser {
            pages::error(self.status, &self.message)
        } else {
            let mut response = Response::new(Body::full(format!("{}\n", self.message)));
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
            response
        };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.more {
            More::Nothing => {}
            More::Allow(methods) => drop(headers.insert(header::ALLOW, HeaderValue::from_static(methods))),
            More::Challenge => {
                let challenge = HeaderValue::from_static(r#"Basic realm="Wharfinger", charset="UTF-8""#);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            More::RetryAfter(seconds) => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds))),
            More::Length(length) => {
                if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        if let Some(detail) = error.detail() {
            tracing::error!(detail, "the store failed");
        }
        let (status, more) = match &error {
            Error::NotFound => (StatusCode::NOT_FOUND, More::Nothing),
            Error::Denied(_) => (StatusCode::FORBIDDEN, More::Nothing),
            Error::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, More::Nothing),
            Error::OverQuota | Error::Full => (StatusCode::INSUFFICIENT_STORAGE, More::Nothing),
            Error::Busy => (StatusCode::LOCKED, More::Nothing),
            Error::Exists | Error::Invalid(_) => (StatusCode::CONFLICT, More::Nothing),
            Error::Changed => (StatusCode::PRECONDITION_FAILED, More::Nothing),
            Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, More::RetryAfter(5)),
            Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, More::Nothing),
        };
        Refusal { status, message: error.to_string().into(), more }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        let (status, more) = match denied {
            Denied::BadCredentials => (StatusCode::UNAUTHORIZED, More::Challenge),
            Denied::Throttled { retry } => (StatusCode::TOO_MANY_REQUESTS, More::RetryAfter(retry.as_secs().max(1))),
            Denied::Cleartext => (StatusCode::FORBIDDEN, More::Nothing),
            Denied::Unavailable(error) => return error.into(),
        };
        Refusal { status, message: message.into(), more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_their_codes() {
        for (error, status) in [
            (Error::NotFound, 404),
            (Error::Denied("no".into()), 403),
            (Error::TooMany("no".into()), 429),
            (Error::OverQuota, 507),
            (Error::Full, 507),
            (Error::Busy, 423),
            (Error::Exists, 409),
            (Error::invalid("no"), 409),
            (Error::Changed, 412),
            (Error::Unavailable("disk".into()), 503),
            (Error::Internal("secret".into()), 500),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!(refusal.status.as_u16(), status);
            assert!(!refusal.message().contains("secret"), "the peer never sees our own message");
        }
    }

    #[test]
    fn answers_carry_what_their_code_needs() {
        let field = |refusal: Refusal, name| refusal.answer(false).headers()[name].to_str().unwrap().to_owned();
        assert_eq!(field(Refusal::method("GET, HEAD"), header::ALLOW), "GET, HEAD");
        assert_eq!(field(Refusal::range(10), header::CONTENT_RANGE), "bytes */10");
        assert!(field(Refusal::challenge(), header::WWW_AUTHENTICATE).starts_with("Basic realm="));
        assert_eq!(field(Error::Unavailable(String::new()).into(), header::RETRY_AFTER), "5");
        assert!(Refusal::challenge().answer(true).headers()[header::CONTENT_TYPE].to_str().unwrap().contains("html"));
    }
}
