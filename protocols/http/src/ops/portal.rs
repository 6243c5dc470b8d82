//! The pages for browsers: log in, look at folders, upload, download, rename, delete.
//!
//! Every page works without JavaScript but the upload, which needs it to show its progress. Whatever changes something
//! carries the session's token and comes from a page of this origin.

mod assets;
mod changes;
pub(crate) mod folder;
mod forms;
mod login;
pub(crate) mod pages;

use auth::WebSession;
use http::request::Parts;
use http::{HeaderName, Method, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::body::Body;
use crate::codec::cookie;
use crate::commands::Place;
use crate::ops::{home_path, plain, upload};
use crate::reply::Refusal;
use crate::session::Link;

/// The session's cookie. Its prefix keeps it from other hosts, other paths and plain HTTP (RFC 6265bis §4.1.3.2).
const COOKIE: &str = "__Host-wharfinger";
/// Carries the session's token where there is no form.
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// Answers a request for a page.
pub(crate) async fn answer(
    link: &Link,
    head: &Parts,
    body: &mut Incoming,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    let (room, rest) = split(path);
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    match (head.method.as_str(), room) {
        ("OPTIONS", _) => Ok(plain::options(Place::Portal(path))),
        (_, "") if reads && rest == "/" => login::page(link, head).await,
        (_, "assets") if reads => assets::answer(rest),
        ("POST", "login") => login::log_in(link, head, body).await,
        ("POST", "logout") => login::log_out(link, head, body).await,
        (_, "files") if reads => match session(link, head).await? {
            Some(session) => folder::answer(link, head, &session, rest).await,
            None => Ok(login::ask(head)),
        },
        ("PUT", "files") => {
            let session = required(link, head).await?;
            forms::check_origin(head)?;
            let token = head.headers.get(CSRF).and_then(|token| token.to_str().ok());
            forms::check_token(token, &session)?;
            upload::put(link, head, body, &session.session, &home_path(rest)?).await
        }
        ("POST", "folder") => changes::make_folder(link, head, body, rest).await,
        (_, "rename") if reads => changes::rename_page(link, head, rest).await,
        ("POST", "rename") => changes::rename(link, head, body, rest).await,
        (_, "delete") if reads => changes::delete_page(link, head, rest).await,
        ("POST", "delete") => changes::delete(link, head, body, rest).await,
        (_, "login" | "logout" | "folder") if reads => Ok(pages::see_other("/")),
        (_, "login" | "logout" | "folder" | "rename" | "delete" | "files" | "assets") => {
            Err(Refusal::method(Place::Portal(path).methods()))
        }
        _ if reads => Err(Refusal::not_found()),
        _ => Err(Refusal::method("GET, HEAD, OPTIONS")),
    }
}

/// The first name of a path, and what follows with its slash.
fn split(path: &str) -> (&str, &str) {
    let inner = path.strip_prefix('/').unwrap_or(path);
    match inner.find('/') {
        Some(slash) => (&inner[..slash], &inner[slash..]),
        None => (inner, "/"),
    }
}

/// The session that the request's cookie names.
async fn session(link: &Link, head: &Parts) -> Result<Option<WebSession>, Refusal> {
    match cookie_of(head, COOKIE) {
        Some(token) => Ok(link.server.auth.web_session(&link.peer, token).await?),
        None => Ok(None),
    }
}

/// The session, where nothing can be done without one.
async fn required(link: &Link, head: &Parts) -> Result<WebSession, Refusal> {
    let ended = || Refusal::new(StatusCode::FORBIDDEN, "you are not logged in any more; log in and try again");
    session(link, head).await?.ok_or_else(ended)
}

/// A cookie may come in several fields (RFC 9113 §8.2.3).
fn cookie_of<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    let fields = head.headers.get_all(header::COOKIE).iter();
    fields.filter_map(|field| field.to_str().ok()).find_map(|field| cookie(field, name))
}
