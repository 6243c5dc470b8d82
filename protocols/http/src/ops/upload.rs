//! PUT of a file, for `/dav` and the portal: everything that can refuse it does so before the body is asked for, since
//! `100 Continue` goes out with the first read of it (RFC 9110 §10.1.1).

use std::sync::Arc;

use auth::Session;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use protocol::Progress;
use storage::{Check, Error, PutOptions, Timestamp, TraceId, Upload, VPath};

use crate::body::Body;
use crate::codec::{Conditions, Verdict};
use crate::ops::content;
use crate::reply::Refusal;
use crate::session::Link;

/// Under which a change is found with `wharfinger trace`.
pub(crate) const TRACE: HeaderName = HeaderName::from_static("trace-id");
/// The time of the last change as the client knows it, in seconds since the Unix epoch; Nextcloud's clients send it.
const MTIME: HeaderName = HeaderName::from_static("x-oc-mtime");

/// Takes a file: 201 when it is new, 204 when it replaces another, and only once it is on stable storage.
pub(crate) async fn put(
    link: &Link,
    head: &Parts,
    body: &mut Incoming,
    session: &Session,
    path: &VPath,
) -> Result<Response<Body>, Refusal> {
    let limit = link.server.config.max_upload;
    let length = announced(&head.headers, limit)?;
    let conditions = content::conditions(&head.headers);
    let trace = TraceId::new();
    let home = session.home.with_trace(trace);
    let modified = head.headers.get(MTIME).and_then(mtime);
    let options = PutOptions { check: Some(check(conditions)), length, modified, ..PutOptions::default() };
    let mut upload = home.put(path, options).await.map_err(refused)?;
    receive(body, &mut upload, limit).await?;
    let stored = upload.commit().await.map_err(refused)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = if stored.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    let fields = response.headers_mut();
    fields.insert(header::ETAG, content::etag(&stored.node.etag));
    fields.insert(header::LAST_MODIFIED, content::http_date(stored.node.modified));
    if modified.is_some() {
        fields.insert(MTIME, HeaderValue::from_static("accepted"));
    }
    insert_trace(fields, trace);
    Ok(response)
}

/// Names the change in the answer.
pub(crate) fn insert_trace(fields: &mut HeaderMap, trace: TraceId) {
    if let Ok(value) = HeaderValue::from_str(trace.as_str()) {
        fields.insert(TRACE, value);
    }
}

/// The conditions of a request, for the store to evaluate inside its transaction.
pub(crate) fn check(conditions: Conditions) -> Check {
    Arc::new(move |node| match conditions.judge(false, node.map(content::validators)) {
        Verdict::Proceed => Ok(()),
        Verdict::NotModified | Verdict::Failed => Err(Error::Changed),
    })
}

/// A missing parent is a conflict (RFC 4918 §9.7.1): the path itself need not be there. A folder takes no content
/// (§9.7.2).
fn refused(error: Error) -> Refusal {
    match error {
        Error::NotFound => Refusal::new(StatusCode::CONFLICT, "the folder for it does not exist"),
        Error::Exists => Refusal::method("GET, HEAD, DELETE, OPTIONS"),
        Error::Changed => Refusal::precondition(),
        error => error.into(),
    }
}

/// What the head says of the body; its length when it is known.
fn announced(headers: &HeaderMap, limit: u64) -> Result<Option<u64>, Refusal> {
    // RFC 9110 §14.4: a part must not be taken for the whole.
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a file is put as a whole, without Content-Range"));
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a file is put without Content-Encoding"));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > limit) { Err(too_large()) } else { Ok(length) }
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the file is larger than this server takes")
}

/// The body, piece by piece, to the store; a client that is too slow or sends too much is refused.
async fn receive(body: &mut Incoming, upload: &mut Upload, limit: u64) -> Result<(), Refusal> {
    let mut progress = Progress::default();
    loop {
        let frame = match tokio::time::timeout_at(progress.deadline(), body.frame()).await {
            Ok(None) => return Ok(()),
            Ok(Some(frame)) => frame.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the file broke off"))?,
            Err(_) if progress.moved(0) => continue,
            Err(_) => return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the file came too slowly")),
        };
        let Ok(bytes) = frame.into_data() else { continue };
        if !progress.moved(bytes.len()) {
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the file came too slowly"));
        }
        if upload.len().saturating_add(bytes.len() as u64) > limit {
            return Err(too_large());
        }
        upload.write(bytes).await?;
    }
}

/// Seconds, perhaps with a fraction.
fn mtime(value: &HeaderValue) -> Option<Timestamp> {
    let seconds: i64 = value.to_str().ok()?.split('.').next()?.parse().ok()?;
    Some(Timestamp::from_seconds(seconds)).filter(|time| time.0 >= 0)
}
