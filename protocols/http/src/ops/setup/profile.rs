//! Apple's configuration profile: a property list that an iPhone or a Mac installs after asking its owner.

use askama::Template;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};

use super::{Mailbox, Offer, Offers, document, local, parameter};
use crate::body::Body;
use crate::reply::Refusal;
use crate::session::Link;

const KIND: HeaderValue = HeaderValue::from_static("application/x-apple-aspen-config");

#[derive(Template)]
#[template(path = "setup/profile.xml")]
struct Profile<'a> {
    address: &'a str,
    host: &'a str,
    mailbox: Mailbox,
    incoming: Offer,
    outgoing: Offer,
    /// What makes a second installation replace the first: both follow from the address.
    profile: String,
    account: String,
}

impl<'a> Profile<'a> {
    /// A profile is for one account, which has a mailbox and a way to submit messages; none when either is missing.
    fn new(offers: &'a Offers, address: &'a str) -> Option<Profile<'a>> {
        let ((mailbox, incoming), outgoing) = (offers.best().next()?, *offers.submission.first()?);
        let [profile, account] = ["profile", "account"].map(|what| uuid(what, address));
        Some(Profile { address, host: &offers.host, mailbox, incoming, outgoing, profile, account })
    }
}

/// `GET /email.mobileconfig?email=ADDRESS`.
pub(super) async fn answer(link: &Link, head: &Parts) -> Result<Response<Body>, Refusal> {
    let missing =
        || Refusal::new(StatusCode::BAD_REQUEST, "name the mail address, as /email.mobileconfig?email=ADDRESS");
    let address = parameter(head, "email").ok_or_else(missing)?;
    local(link, &address).await?;
    let profile = Profile::new(&link.server.offers, &address).ok_or_else(Refusal::not_found)?;
    let mut response = document(&profile, KIND)?;
    let name = HeaderValue::from_static("attachment; filename=\"email.mobileconfig\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

/// Where the profile for an address is; none when there can be no profile.
pub(crate) fn link(offers: &Offers, address: &str) -> Option<String> {
    Profile::new(offers, address)?;
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("email", address).finish();
    Some(format!("/email.mobileconfig?{query}"))
}

/// A UUID that follows from the address, in whatever case (RFC 9562 §5.8: version 8, made from a SHA-256 hash).
fn uuid(what: &str, address: &str) -> String {
    let hash = Sha256::digest(format!("wharfinger {what} {}", address.to_lowercase()));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xf << 76) | (0x8 << 76);
    let number = number & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{number:032X}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Offered, TlsMode};

    fn offers(protocols: &[&'static str]) -> Offers {
        let listener = |&protocol| Offered { protocol, port: 7, tls: TlsMode::Implicit };
        Offers::new("mail.example.org", &protocols.iter().map(listener).collect::<Vec<_>>())
    }

    #[test]
    fn a_profile_needs_both_directions() {
        let made = |protocols: &[&'static str]| link(&offers(protocols), "a+b@c");
        assert_eq!(made(&["imap", "submission"]).as_deref(), Some("/email.mobileconfig?email=a%2Bb%40c"));
        assert!(made(&["pop3", "submission"]).is_some());
        assert!(made(&["submission"]).is_none() && made(&["imap"]).is_none());
    }

    #[test]
    fn the_mailbox_is_read_by_imap_where_that_is_offered() {
        let text = |protocols: &[&'static str]| Profile::new(&offers(protocols), "a&b@c").unwrap().render().unwrap();
        assert!(text(&["pop3", "imap", "submission"]).contains("<string>EmailTypeIMAP</string>"));
        let text = text(&["pop3", "submission"]);
        assert!(
            text.contains("<string>EmailTypePOP</string>") && text.contains("<string>a&#38;b@c</string>"),
            "{text}"
        );
        assert!(!text.contains("a&b"));
    }

    #[test]
    fn identifiers_follow_from_the_address() {
        let id = uuid("profile", "Alice@Example.org");
        assert_eq!(id, uuid("profile", "alice@example.org"));
        assert_ne!(id, uuid("account", "alice@example.org"));
        assert_ne!(id, uuid("profile", "bob@example.org"));
        assert_eq!((id.len(), &id[14..15]), (36, "8"));
        assert!("89AB".contains(&id[19..20]), "{id}");
    }
}
