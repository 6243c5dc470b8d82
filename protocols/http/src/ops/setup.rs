//! What mail clients ask to set themselves up: Thunderbird's autoconfig, Outlook's autodiscover, Apple's profile.
//!
//! Nobody logs in for them, so they tell nothing but what listens here. Which domains are local is known to whoever
//! reads their DNS; whether an address of theirs exists makes no difference to any answer.

mod autoconfig;
mod autodiscover;
mod mta_sts;
mod offers;
mod profile;

use askama::Template;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::body::Body;
use crate::codec::{host, mail_domain};
use crate::commands::{Document, Place};
use crate::ops::content::NOSNIFF;
use crate::ops::plain;
use crate::reply::Refusal;
use crate::session::{Link, authority};

pub(crate) use offers::{Mailbox, Offer, Offers};
pub(crate) use profile::link as profile_link;

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");

/// Answers a request for one of the documents.
pub(crate) async fn answer(
    link: &Link,
    head: &Parts,
    body: &mut Incoming,
    document: Document<'_>,
) -> Result<Response<Body>, Refusal> {
    let place = Place::Setup(document);
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    match document {
        _ if head.method == Method::OPTIONS => Ok(plain::options(place)),
        Document::Autodiscover if head.method == Method::POST => autodiscover::answer(link, body).await,
        _ if !reads => Err(Refusal::method(place.methods())),
        Document::Autoconfig => autoconfig::answer(link, head).await,
        Document::Autodiscover => autodiscover::nothing_asked(),
        Document::AutodiscoverUrl(address) => autodiscover::url(link, head, address).await,
        Document::Profile => profile::answer(link, head).await,
        Document::MtaSts => mta_sts::answer(link, head).await,
    }
}

/// The domain of an address that a client wants to set up: 400 when it is no address, 404 when its domain is not ours.
async fn local(link: &Link, text: &str) -> Result<String, Refusal> {
    let bad = || Refusal::new(StatusCode::BAD_REQUEST, "this is not a mail address");
    let domain = mail_domain(text).ok_or_else(bad)?.to_lowercase();
    let known = link.server.auth.domains().await?.contains(&domain);
    let foreign = || Refusal::new(StatusCode::NOT_FOUND, "this server has no mail for that domain");
    known.then_some(domain).ok_or_else(foreign)
}

/// The domain that a request means which names no address: the one that the client asked, without the name that only
/// stands for this service; or else the first there is.
pub(crate) async fn domain_asked(link: &Link, head: &Parts) -> Result<Option<String>, Refusal> {
    let asked = authority(head).and_then(host).unwrap_or_default().to_ascii_lowercase();
    let asked = asked.strip_prefix("autoconfig.").unwrap_or(&asked);
    let domains = link.server.auth.domains().await?;
    Ok(domains.iter().find(|domain| *domain == asked).or(domains.first()).cloned())
}

/// A parameter of the query, whose name may be in any case; none when it is empty.
fn parameter(head: &Parts, name: &str) -> Option<String> {
    let query = head.uri.query().unwrap_or_default();
    let found = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
}

/// The document as an answer.
fn document(template: &impl Template, kind: HeaderValue) -> Result<Response<Body>, Refusal> {
    let text = template.render().map_err(|error| Refusal::from(storage::Error::Internal(error.to_string())))?;
    Ok(response(text, kind))
}

fn response(text: String, kind: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, kind);
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}
