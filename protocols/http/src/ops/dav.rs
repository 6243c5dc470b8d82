//! `/dav/`: the files of the account that logs in with every request.

use askama::Template;
use auth::{Offer, Secret, Session};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use storage::{Error, Remove, TraceId, VPath};
use zeroize::Zeroizing;

use crate::body::Body;
use crate::codec::{Verdict, encode_path};
use crate::commands::Place;
use crate::ops::content::{self, Audience, File};
use crate::ops::portal::folder::{self, Entry};
use crate::ops::upload::{self, insert_trace};
use crate::ops::{home_path, plain, portal::pages};
use crate::reply::Refusal;
use crate::session::Link;

/// Answers a request for a file or folder; `encoded` is the path behind `/dav`.
pub(crate) async fn answer(
    link: &Link,
    head: &Parts,
    body: &mut Incoming,
    encoded: &str,
) -> Result<Response<Body>, Refusal> {
    let place = Place::Dav(encoded);
    if head.method == Method::OPTIONS {
        return Ok(plain::options(place));
    }
    let session = log_in(link, &head.headers).await?;
    let path = home_path(encoded)?;
    match head.method.as_str() {
        "GET" | "HEAD" => read(head, &session, &path).await,
        "PUT" if encoded.ends_with('/') => Err(Refusal::method(place.methods())),
        "PUT" => upload::put(link, head, body, &session, &path).await,
        "DELETE" => delete(head, &session, &path).await,
        "MKCOL" => make_folder(head, body, &session, &path).await,
        _ => Err(Refusal::method(place.methods())),
    }
}

/// RFC 7617.
async fn log_in(link: &Link, headers: &HeaderMap) -> Result<Session, Refusal> {
    let offer = headers.get(header::AUTHORIZATION).and_then(credentials).ok_or_else(Refusal::challenge)?;
    Ok(link.server.auth.login_again(&link.peer, offer).await?)
}

fn credentials(field: &HeaderValue) -> Option<Offer> {
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(token.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("Basic"))?;
    let pair = Zeroizing::new(String::from_utf8(decoded).ok()?);
    let (name, password) = pair.split_once(':')?;
    Some(Offer::Password { name: name.to_owned(), password: Secret::new(password.to_owned()) })
}

async fn read(head: &Parts, session: &Session, path: &VPath) -> Result<Response<Body>, Refusal> {
    match session.home.open(path).await {
        Ok((node, found)) => content::answer(head, File::of(&node, found), Audience::Programs),
        Err(Error::Invalid(_)) => match session.home.stat(path).await {
            Ok(node) if node.is_folder() => list(head, session, path).await,
            // Something below a file.
            Ok(_) | Err(Error::Invalid(_)) => Err(Refusal::not_found()),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "index.html")]
struct Index<'a> {
    path: &'a VPath,
    base: String,
    parent: bool,
    entries: Vec<Entry>,
    next: Option<String>,
}

/// A folder as a page of links, for people; programs will ask with PROPFIND.
async fn list(head: &Parts, session: &Session, path: &VPath) -> Result<Response<Body>, Refusal> {
    let page = folder::page(&session.home, path, head.uri.query()).await?;
    let slash = if path.is_root() { "" } else { "/" };
    let base = format!("/dav{}{slash}", encode_path(path.as_str()));
    let index = Index { path, base, parent: !path.is_root(), entries: page.entries, next: page.next };
    Ok(pages::bare(&index))
}

/// RFC 9110 §9.3.5, RFC 4918 §9.6: a folder goes with all it holds.
async fn delete(head: &Parts, session: &Session, path: &VPath) -> Result<Response<Body>, Refusal> {
    // RFC 4918 §9.6.1.
    if head.headers.get("depth").is_some_and(|depth| !depth.as_bytes().eq_ignore_ascii_case(b"infinity")) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a folder is deleted with all it holds: Depth is infinity"));
    }
    if path.is_root() {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "the home itself cannot be deleted"));
    }
    let trace = TraceId::new();
    let check = upload::check(content::conditions(&head.headers));
    session.home.with_trace(trace).remove(path, Remove::Tree, Some(check)).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    insert_trace(response.headers_mut(), trace);
    Ok(response)
}

/// RFC 4918 §9.3.1.
async fn make_folder(
    head: &Parts,
    body: &Incoming,
    session: &Session,
    path: &VPath,
) -> Result<Response<Body>, Refusal> {
    if !body.is_end_stream() {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a folder is made without a body"));
    }
    let there = match session.home.stat(path).await {
        Ok(node) => Some(node),
        Err(Error::NotFound) => None,
        Err(error) => return Err(error.into()),
    };
    let conditions = content::conditions(&head.headers);
    if conditions.judge(false, there.as_deref().map(content::validators)) != Verdict::Proceed {
        return Err(Refusal::precondition());
    }
    let trace = TraceId::new();
    let made = session.home.with_trace(trace).mkdir(path).await;
    made.map_err(|error| match error {
        Error::Exists => Refusal::method("GET, HEAD, DELETE, OPTIONS"),
        Error::NotFound => Refusal::new(StatusCode::CONFLICT, "the folder for it does not exist"),
        error => error.into(),
    })?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    insert_trace(response.headers_mut(), trace);
    Ok(response)
}
