//! Forms: read within bounds, and only from our own pages.

use auth::WebSession;
use http::request::Parts;
use http::{HeaderName, StatusCode, header};
use hyper::body::Incoming;
use subtle::ConstantTimeEq;

use crate::ops::whole_body;
use crate::reply::Refusal;
use crate::session::authority;

/// The longest form.
const LIMIT: usize = 64 << 10;
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The fields of a form.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the form of a request that comes from one of our pages.
    pub(super) async fn read(head: &Parts, body: &mut Incoming) -> Result<Form, Refusal> {
        check_origin(head)?;
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is not a form"));
        }
        let whole = whole_body(body, LIMIT).await?;
        Ok(Form(form_urlencoded::parse(&whole).into_owned().collect()))
    }

    /// The value of a field; empty when the form does not have it.
    pub(super) fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether it carries the session's token.
    pub(super) fn check(&self, session: &WebSession) -> Result<(), Refusal> {
        check_token(Some(self.field("csrf")), session)
    }
}

fn foreign() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "this did not come from a page of this server; reload the page and try again")
}

/// Browsers say where a request comes from; what comes from elsewhere is refused whatever else it carries.
pub(super) fn check_origin(head: &Parts) -> Result<(), Refusal> {
    let field = |name| head.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if field(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(foreign());
    }
    let ours = |origin: &str| origin.strip_prefix("https://").is_some_and(|host| Some(host) == authority(head));
    if field(header::ORIGIN).is_some_and(|origin| !ours(origin)) { Err(foreign()) } else { Ok(()) }
}

/// Whether `token` is the session's.
pub(super) fn check_token(token: Option<&str>, session: &WebSession) -> Result<(), Refusal> {
    if same(token.unwrap_or_default(), &session.csrf) { Ok(()) } else { Err(foreign()) }
}

/// Compares secrets in constant time; an empty one is never right.
pub(super) fn same(one: &str, other: &str) -> bool {
    !other.is_empty() && bool::from(one.as_bytes().ct_eq(other.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn requests_from_elsewhere_are_refused() {
        let check = |fields: &[(&str, &str)]| {
            let mut request = Request::builder().uri("/login").header("host", "files.example:2443");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            check_origin(&request.body(()).unwrap().into_parts().0).is_ok()
        };
        assert!(check(&[]), "clients that are no browsers send neither");
        assert!(check(&[("origin", "https://files.example:2443"), ("sec-fetch-site", "same-origin")]));
        assert!(check(&[("sec-fetch-site", "none")]));
        for origin in ["https://files.example", "http://files.example:2443", "https://evil.example", "null", ""] {
            assert!(!check(&[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            assert!(!check(&[("sec-fetch-site", site)]), "{site}");
        }
    }

    #[test]
    fn an_empty_token_is_never_right() {
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("", "") && !same("ab", "abc"));
    }
}
