//! The templates, and the fields that keep pages safe.

use askama::Template;
use auth::WebSession;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::assets::VERSION;
use super::folder::{Entry, Mail, Step};
use super::login::sentence;
use crate::body::Body;
use crate::ops::content::NOSNIFF;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Nothing but our own files, nowhere but to us, in nobody's frame.
const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'",
);
/// A page that needs nothing at all.
const CSP_BARE: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage<'a> {
    pub(super) csrf: &'a str,
    pub(super) name: &'a str,
    pub(super) error: &'a str,
    pub(super) next: &'a str,
}

#[derive(Template)]
#[template(path = "folder.html")]
pub(super) struct FolderPage<'a> {
    pub(super) session: &'a WebSession,
    pub(super) title: &'a str,
    pub(super) steps: Vec<Step<'a>>,
    /// The folder's encoded path.
    pub(super) here: String,
    pub(super) used: String,
    pub(super) entries: Vec<Entry>,
    pub(super) next: Option<String>,
    pub(super) mail: Option<Mail<'a>>,
}

#[derive(Template)]
#[template(path = "rename.html")]
pub(super) struct RenamePage<'a> {
    pub(super) session: &'a WebSession,
    pub(super) name: &'a str,
    pub(super) action: String,
    pub(super) back: String,
}

#[derive(Template)]
#[template(path = "delete.html")]
pub(super) struct DeletePage<'a> {
    pub(super) session: &'a WebSession,
    pub(super) name: &'a str,
    pub(super) folder: bool,
    pub(super) action: String,
    pub(super) back: String,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    status: StatusCode,
    message: &'a str,
}

/// A page of the portal.
pub(super) fn page(template: &impl Template) -> Response<Body> {
    html(template, CSP)
}

/// A page outside the portal, without style or script.
pub(crate) fn bare(template: &impl Template) -> Response<Body> {
    html(template, CSP_BARE)
}

/// The page for an answer that is not what was asked for.
pub(crate) fn error(status: StatusCode, message: &str) -> Response<Body> {
    page(&ErrorPage { status, message: &sentence(message) })
}

/// To another page, with GET (RFC 9110 §15.4.4).
pub(super) fn see_other(target: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let fields = response.headers_mut();
    fields.insert(header::LOCATION, HeaderValue::try_from(target).unwrap_or(HeaderValue::from_static("/")));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn html(template: &impl Template, csp: HeaderValue) -> Response<Body> {
    let text = template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a page could not be made");
        String::from("<!doctype html><title>Error</title><p>An internal error.")
    });
    let mut response = Response::new(Body::full(text));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HTML);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::CONTENT_SECURITY_POLICY, csp);
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    // Not `no-referrer`: with it a browser sends `Origin: null` with our own forms.
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    fields.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    fields.insert(opener, HeaderValue::from_static("same-origin"));
    response
}
