//! Thunderbird's autoconfig: Mozilla's clientConfig 1.1, which other clients read too.

use askama::Template;
use http::Response;
use http::request::Parts;

use super::{Offers, XML, document, domain_asked, local, parameter};
use crate::body::Body;
use crate::reply::Refusal;
use crate::session::Link;

/// The client puts the address in by itself: the document has the placeholder whatever was asked.
#[derive(Template)]
#[template(path = "setup/autoconfig.xml")]
struct Autoconfig<'a> {
    domain: &'a str,
    offers: &'a Offers,
}

/// `GET /mail/config-v1.1.xml?emailaddress=ADDRESS`.
pub(super) async fn answer(link: &Link, head: &Parts) -> Result<Response<Body>, Refusal> {
    let domain = match parameter(head, "emailaddress") {
        Some(address) => Some(local(link, &address).await?),
        None => domain_asked(link, head).await?,
    };
    let offers = &link.server.offers;
    let domain = domain.filter(|_| !offers.is_empty()).ok_or_else(Refusal::not_found)?;
    document(&Autoconfig { domain: &domain, offers }, XML)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Offered, TlsMode};

    #[test]
    fn the_document_has_what_listens_in_order() {
        let listener = |protocol, port, tls| Offered { protocol, port, tls };
        let offers = Offers::new(
            "mail.example.org",
            &[
                listener("imap", 143, TlsMode::Starttls),
                listener("imap", 993, TlsMode::Implicit),
                listener("submission", 465, TlsMode::Implicit),
            ],
        );
        let text = Autoconfig { domain: "a&b", offers: &offers }.render().unwrap();
        assert!(text.starts_with("<?xml version=\"1.0\"") && text.contains("<domain>a&#38;b</domain>"), "{text}");
        let [ssl, starttls, out] = ["<port>993<", "<port>143<", "<port>465<"].map(|port| text.find(port).unwrap());
        assert!(ssl < starttls && starttls < out);
        let count = |what: &str| text.matches(what).count();
        assert_eq!(count("<incomingServer type=\"imap\">") + count("<outgoingServer type=\"smtp\">"), 3);
        assert_eq!((count("<socketType>SSL<"), count("<socketType>STARTTLS<")), (2, 1));
        assert_eq!(count("<username>%EMAILADDRESS%</username>"), 3);
        assert_eq!(count("<authentication>password-cleartext</authentication>"), 3);
    }
}
