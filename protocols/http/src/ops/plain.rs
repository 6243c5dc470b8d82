//! Plain HTTP: where HTTPS is, and whether the server is well.

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::body::Body;
use crate::codec::host;
use crate::commands::{Document, Place};
use crate::ops::content::NOSNIFF;
use crate::reply::Refusal;
use crate::session::{Link, authority};

/// `/healthz`.
pub(crate) fn health(head: &Parts) -> Result<Response<Body>, Refusal> {
    match head.method {
        Method::GET | Method::HEAD => Ok(text("ok\n")),
        Method::OPTIONS => Ok(options(Place::Health)),
        _ => Err(Refusal::method(Place::Health.methods())),
    }
}

/// The same place on HTTPS, by the name the client used (RFC 9110 §15.4.9: the method stays).
pub(crate) fn redirect(link: &Link, head: &Parts, place: Place<'_>) -> Result<Response<Body>, Refusal> {
    let bad = || Refusal::new(StatusCode::BAD_REQUEST, "the Host field is not a name or an address");
    let host = authority(head).and_then(host).ok_or_else(bad)?;
    let port = match link.server.config.https_port(link.peer.local.port()) {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let slash = if path.starts_with('/') { "" } else { "/" };
    let target = HeaderValue::try_from(format!("https://{host}{port}{slash}{path}")).map_err(|_| bad())?;
    let mut response = text("Use HTTPS.\n");
    *response.status_mut() = match place {
        // The one that Outlook knows ([MS-OXDISCO] §3.1.5.4); the GET only asks where to POST.
        Place::Setup(Document::Autodiscover) if head.method == Method::GET => StatusCode::FOUND,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    response.headers_mut().insert(header::LOCATION, target);
    Ok(response)
}

/// OPTIONS: the methods of a place.
pub(crate) fn options(place: Place<'_>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(place.methods()));
    response
}

fn text(text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
