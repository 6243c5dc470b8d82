//! What each place does with a request.

pub(crate) mod content;
pub(crate) mod dav;
pub(crate) mod plain;
pub(crate) mod portal;
pub(crate) mod site;
pub(crate) mod upload;

use storage::VPath;

use crate::codec::decode_path;
use crate::reply::Refusal;
use http::StatusCode;

/// The path in a home that an encoded path of a request names.
pub(crate) fn home_path(encoded: &str) -> Result<VPath, Refusal> {
    let path = decode_path(encoded).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.as_str()))?;
    VPath::parse(&path).map_err(|error| Refusal::from(error).with_status(StatusCode::BAD_REQUEST))
}
