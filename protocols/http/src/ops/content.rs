//! GET and HEAD of a file, for whoever serves it: conditional requests, single and multiple ranges, safe headers.

use std::collections::VecDeque;
use std::fmt::Write;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use storage::{Content, Node, Timestamp, TraceId};

use crate::body::{Body, Piece};
use crate::codec::{Conditions, Field, Selection, Validators, Verdict, encode_path, select};
use crate::reply::Refusal;

/// `X-Content-Type-Options: nosniff`.
pub(crate) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ACCEPT_RANGES: HeaderValue = HeaderValue::from_static("bytes");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const REVALIDATE_PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const ANYONE: HeaderValue = HeaderValue::from_static("*");

/// A file of a user may hold anything: without scripts, without this origin, it cannot reach the portal's cookie.
const CSP_FILE: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'",
);
/// A site may have scripts of its own; without `allow-same-origin` they run in an origin that is nobody's.
const CSP_SITE: HeaderValue = HeaderValue::from_static(
    "sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-modals allow-downloads \
     allow-top-navigation-by-user-activation",
);

/// For whom a file is served; it decides the safe headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Anyone: a page of a web site.
    Site,
    /// The account's own programs, under `/dav`.
    Programs,
    /// The account's browser, which shows what is harmless and stores what is not.
    Browser,
    /// The account's browser, which stores it.
    Download,
}

/// A file to be served.
pub(crate) struct File<'a> {
    pub(crate) name: &'a str,
    pub(crate) etag: &'a str,
    pub(crate) modified: Timestamp,
    pub(crate) content: Content,
}

impl<'a> File<'a> {
    /// The file of a node.
    pub(crate) fn of(node: &'a Node, content: Content) -> File<'a> {
        File { name: &node.name, etag: &node.etag, modified: node.modified, content }
    }
}

/// Answers GET or HEAD for a file.
///
/// # Errors
/// 412 and 416.
pub(crate) fn answer(head: &Parts, file: File<'_>, to: Audience) -> Result<Response<Body>, Refusal> {
    let conditions = conditions(&head.headers);
    let validators = Validators { etag: file.etag, modified: file.modified.seconds() };
    let verdict = if conditions.is_empty() { Verdict::Proceed } else { conditions.judge(true, Some(validators)) };
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    fields.reserve(12);
    fields.insert(header::ETAG, etag(file.etag));
    fields.insert(header::LAST_MODIFIED, http_date(file.modified));
    fields.insert(header::CACHE_CONTROL, if to == Audience::Site { REVALIDATE } else { REVALIDATE_PRIVATE });
    match verdict {
        Verdict::Failed => return Err(Refusal::precondition()),
        Verdict::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Verdict::Proceed => {}
    }
    let media_type = media_type(file.name);
    fields.insert(header::ACCEPT_RANGES, ACCEPT_RANGES);
    safe_fields(fields, file.name, &media_type, to);
    let content = file.content;
    let length = content.len();
    // RFC 9110 §14.2: Range is defined for GET alone.
    let range = head.headers.get(header::RANGE).filter(|_| head.method == Method::GET);
    let range = range.filter(|_| conditions.range_counts(validators, Timestamp::now().seconds()));
    match range.map_or(Selection::Whole, |range| select(range.as_bytes(), length)) {
        Selection::Whole => {
            fields.insert(header::CONTENT_TYPE, media_type);
            *response.body_mut() = Body::range(content, 0..length);
        }
        Selection::Unsatisfiable => return Err(Refusal::range(length)),
        Selection::Parts(parts) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            if let [part] = &parts[..] {
                let fields = response.headers_mut();
                fields.insert(header::CONTENT_TYPE, media_type);
                fields.insert(header::CONTENT_RANGE, value(format!("bytes {}-{}/{length}", part.start, part.end - 1)));
                *response.body_mut() = Body::range(content, part.clone());
            } else {
                multipart(&mut response, &parts, &media_type, content);
            }
        }
    }
    Ok(response)
}

/// RFC 9110 §14.6: several ranges as `multipart/byteranges`.
fn multipart(
    response: &mut Response<Body>,
    parts: &[std::ops::Range<u64>],
    media_type: &HeaderValue,
    content: Content,
) {
    // 80 bits of time and chance: no content holds it but by being made to after the fact.
    let boundary = TraceId::new();
    let media_type = media_type.to_str().unwrap_or("application/octet-stream");
    let length = content.len();
    let mut queue = VecDeque::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let (first, last) = (part.start, part.end - 1);
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
        );
        queue.push_back(Piece::Bytes(head.into()));
        queue.push_back(Piece::Range(part.clone()));
    }
    queue.push_back(Piece::Bytes(format!("\r\n--{boundary}--\r\n").into()));
    let kind = value(format!("multipart/byteranges; boundary={boundary}"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    *response.body_mut() = Body::pieces(content, queue);
}

/// The conditions of a request.
pub(crate) fn conditions(headers: &HeaderMap) -> Conditions {
    let mut conditions = Conditions::default();
    for (name, value) in headers {
        let field = match *name {
            header::IF_MATCH => Field::Match,
            header::IF_NONE_MATCH => Field::NoneMatch,
            header::IF_MODIFIED_SINCE => Field::ModifiedSince,
            header::IF_UNMODIFIED_SINCE => Field::UnmodifiedSince,
            header::IF_RANGE => Field::Range,
            _ => continue,
        };
        conditions.add(field, value.as_bytes());
    }
    conditions
}

/// What conditions compare a node by.
pub(crate) fn validators(node: &Node) -> Validators<'_> {
    Validators { etag: &node.etag, modified: node.modified.seconds() }
}

/// An entity tag as the field writes it.
pub(crate) fn etag(etag: &str) -> HeaderValue {
    value(format!("\"{etag}\""))
}

/// A point in time as the field writes it (RFC 9110 §5.6.7).
pub(crate) fn http_date(at: Timestamp) -> HeaderValue {
    // The format knows years up to 9999.
    let last = std::time::Duration::from_secs(253_402_300_799);
    let time = at.to_system_time().min(std::time::UNIX_EPOCH + last);
    value(httpdate::fmt_http_date(time))
}

/// Text that is legal in a field by how it is made.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The media type of a file, by its name.
pub(crate) fn media_type(name: &str) -> HeaderValue {
    match mime_guess::from_path(name).first_raw() {
        None => HeaderValue::from_static("application/octet-stream"),
        Some("text/html") => HeaderValue::from_static("text/html; charset=utf-8"),
        Some("text/css") => HeaderValue::from_static("text/css; charset=utf-8"),
        Some("text/javascript") => HeaderValue::from_static("text/javascript; charset=utf-8"),
        Some("text/plain") => HeaderValue::from_static("text/plain; charset=utf-8"),
        Some(text) if text.starts_with("text/") => value(format!("{text}; charset=utf-8")),
        Some(other) => HeaderValue::from_static(other),
    }
}

fn safe_fields(fields: &mut HeaderMap, name: &str, media_type: &HeaderValue, to: Audience) {
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if to == Audience::Site {
        fields.insert(header::CONTENT_SECURITY_POLICY, CSP_SITE);
        // In that origin of nobody's, module scripts and fonts of the site count as another origin's. Everything
        // here is public and no cookie is looked at, so anyone may read it.
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYONE);
        return;
    }
    fields.insert(header::CONTENT_SECURITY_POLICY, CSP_FILE);
    fields.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    if to == Audience::Download || (to == Audience::Browser && !harmless(media_type)) {
        fields.insert(header::CONTENT_DISPOSITION, disposition(name));
    }
}

/// What a browser shows without running anything.
fn harmless(media_type: &HeaderValue) -> bool {
    let media_type = media_type.to_str().unwrap_or_default();
    let family = media_type.split('/').next().unwrap_or_default();
    media_type.starts_with("text/plain")
        || matches!(family, "audio" | "video")
        || (family == "image" && !media_type.starts_with("image/svg"))
}

/// RFC 6266 §4.1: a name of plain ASCII for old clients, the real one for all others (RFC 8187 §3.2).
fn disposition(name: &str) -> HeaderValue {
    let mut text = String::from("attachment; filename=\"");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._ ()+,=@".contains(c) { c } else { '_' };
    text.extend(name.chars().map(plain));
    let _ = write!(text, "\"; filename*=UTF-8''{}", encode_path(name));
    value(text)
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
