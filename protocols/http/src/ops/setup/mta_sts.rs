//! The policy of TLS of the domains here, for servers that send them mail (MTA-STS, RFC 8461 §3.3).

use http::request::Parts;
use http::{HeaderValue, Response};

use super::response;
use crate::body::Body;
use crate::codec::host;
use crate::reply::Refusal;
use crate::session::{Link, authority};

/// `GET https://mta-sts.DOMAIN/.well-known/mta-sts.txt`.
pub(super) async fn answer(link: &Link, head: &Parts) -> Result<Response<Body>, Refusal> {
    let asked = authority(head).and_then(host).unwrap_or_default().to_ascii_lowercase();
    let domain = asked.strip_prefix("mta-sts.").ok_or_else(Refusal::not_found)?;
    let policy = link.server.mta_sts.as_deref().ok_or_else(Refusal::not_found)?;
    if !link.server.auth.domains().await?.iter().any(|known| known == domain) {
        return Err(Refusal::not_found());
    }
    Ok(response(policy.to_owned(), HeaderValue::from_static("text/plain; charset=utf-8")))
}
