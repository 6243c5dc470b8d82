//! What the pages need beside HTML; part of the program, under names that change with the content, so that browsers
//! may keep them for ever.

use http::{HeaderValue, Response, header};

use crate::body::Body;
use crate::ops::content::{NOSNIFF, media_type};
use crate::reply::Refusal;

const STYLE: &[u8] = include_bytes!("../../../assets/portal.css");
const SCRIPT: &[u8] = include_bytes!("../../../assets/portal.js");
const ICON: &[u8] = include_bytes!("../../../assets/icon.svg");

/// The part of their URLs that changes with any of them.
pub(super) const VERSION: u32 = fingerprint(fingerprint(fingerprint(0x811c_9dc5, STYLE), SCRIPT), ICON);

/// FNV-1a: no secret is in it, and it can be computed by the compiler.
const fn fingerprint(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash
}

/// Answers `/assets/VERSION/NAME`. Another version gets the same content, for as short as can be.
pub(super) fn answer(rest: &str) -> Result<Response<Body>, Refusal> {
    let (version, name) = rest.trim_start_matches('/').split_once('/').ok_or_else(Refusal::not_found)?;
    let bytes = match name {
        "portal.css" => STYLE,
        "portal.js" => SCRIPT,
        "icon.svg" => ICON,
        _ => return Err(Refusal::not_found()),
    };
    let current = u32::from_str_radix(version, 16) == Ok(VERSION);
    let keep = if current { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = Response::new(Body::full(bytes));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, media_type(name));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Ok(response)
}
