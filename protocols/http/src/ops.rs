//! What each place does with a request.

pub(crate) mod content;
pub(crate) mod dav;
pub(crate) mod plain;
pub(crate) mod portal;
pub(crate) mod setup;
pub(crate) mod site;
pub(crate) mod upload;

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use storage::VPath;

use crate::codec::decode_path;
use crate::reply::Refusal;

/// How long a body that is read as a whole may take to come.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The path in a home that an encoded path of a request names.
pub(crate) fn home_path(encoded: &str) -> Result<VPath, Refusal> {
    let path = decode_path(encoded).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.as_str()))?;
    VPath::parse(&path).map_err(|error| Refusal::from(error).with_status(StatusCode::BAD_REQUEST))
}

/// The body of a request, at most `limit` bytes.
pub(crate) async fn whole_body(body: &mut Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let whole = tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await;
    let whole = whole.map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request came too slowly"))?;
    let whole = whole.map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long"))?;
    Ok(whole.to_bytes())
}
