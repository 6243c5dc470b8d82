//! Outlook's autodiscover: plain XML ([MS-OXDSCLI]), and the JSON that tells where to ask for it.

use askama::Template;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Offers, XML, document, local, parameter, response};
use crate::body::Body;
use crate::codec::autodiscover::{LIMIT, RESPONSE, Wrong, address};
use crate::codec::{decode_path, host};
use crate::ops::whole_body;
use crate::reply::Refusal;
use crate::session::{Link, authority};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Outlook takes one server for each type, so it gets the best.
#[derive(Template)]
#[template(path = "setup/autodiscover.xml")]
struct Settings<'a> {
    address: &'a str,
    offers: &'a Offers,
}

#[derive(Template)]
#[template(path = "setup/autodiscover_error.xml")]
struct Failure {
    /// The time of the day in UTC.
    time: String,
    code: u16,
    message: &'static str,
}

/// `POST /autodiscover/autodiscover.xml`. What is wrong with a request stands in the answer, whose status is 200
/// ([MS-OXDSCLI] §2.2.4.1.1.2).
pub(super) async fn answer(link: &Link, body: &mut Incoming) -> Result<Response<Body>, Refusal> {
    let address = match address(&whole_body(body, LIMIT).await?) {
        Ok(address) => address,
        Err(wrong) => return failure(wrong),
    };
    match local(link, &address).await {
        Err(refusal) if refusal.status == StatusCode::BAD_REQUEST => failure(Wrong::Request),
        Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {
            error(500, "The email address cannot be found: its domain is not one of this server.")
        }
        Err(refusal) => Err(refusal),
        Ok(_) if link.server.offers.is_empty() => failure(Wrong::Schema),
        Ok(_) => document(&Settings { address: &address, offers: &link.server.offers }, XML),
    }
}

/// `GET` asks for no settings; Outlook only looks whether somebody is there.
pub(super) fn nothing_asked() -> Result<Response<Body>, Refusal> {
    failure(Wrong::Request)
}

/// `GET /autodiscover/autodiscover.json?Email=ADDRESS&Protocol=AutodiscoverV1`, or with the address in the path.
pub(super) async fn url(link: &Link, head: &Parts, in_path: Option<&str>) -> Result<Response<Body>, Refusal> {
    let asked = match in_path {
        Some(encoded) => {
            let decoded = decode_path(encoded);
            Some(decoded.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.as_str()))?.into_owned())
        }
        None => parameter(head, "Email"),
    };
    if let Some(asked) = asked {
        local(link, &asked).await?;
    }
    if !parameter(head, "Protocol").is_some_and(|name| name.eq_ignore_ascii_case("AutodiscoverV1")) {
        let wrong = serde_json::json!({
            "ErrorCode": "InvalidProtocol",
            "ErrorMessage": "The only protocol here is AutodiscoverV1.",
        });
        let mut response = response(wrong.to_string(), JSON);
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    }
    let bad = || Refusal::new(StatusCode::BAD_REQUEST, "the Host field is not a name or an address");
    let here = authority(head).filter(|authority| host(authority).is_some()).ok_or_else(bad)?;
    let url = format!("https://{here}/autodiscover/autodiscover.xml");
    let found = serde_json::json!({ "Protocol": "AutodiscoverV1", "Url": url });
    Ok(response(found.to_string(), JSON))
}

fn failure(wrong: Wrong) -> Result<Response<Body>, Refusal> {
    match wrong {
        Wrong::Request => error(600, "Invalid Request"),
        Wrong::Schema => error(601, "Provider is not available"),
    }
}

fn error(code: u16, message: &'static str) -> Result<Response<Body>, Refusal> {
    let clock = format_description!("[hour]:[minute]:[second].[subsecond digits:7]");
    let time = OffsetDateTime::now_utc().format(clock).unwrap_or_default();
    document(&Failure { time, code, message }, XML)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Offered, TlsMode};

    #[test]
    fn one_server_of_each_type() {
        let listener = |protocol, port, tls| Offered { protocol, port, tls };
        let offers = Offers::new(
            "mail.example.org",
            &[
                listener("pop3", 110, TlsMode::Starttls),
                listener("imap", 143, TlsMode::Starttls),
                listener("imap", 993, TlsMode::Implicit),
                listener("submission", 587, TlsMode::Starttls),
            ],
        );
        let text = Settings { address: "a&b@example.org", offers: &offers }.render().unwrap();
        let count = |what: &str| text.matches(what).count();
        assert_eq!(count("<Protocol>"), 3);
        for what in ["IMAP</Type>", "POP3</Type>", "SMTP</Type>", "<Port>993<", "<Port>110<", "<Port>587<"] {
            assert_eq!(count(what), 1, "{what} in {text}");
        }
        assert_eq!((count("<Encryption>SSL<"), count("<Encryption>TLS<")), (1, 2));
        assert_eq!(count("<LoginName>a&#38;b@example.org</LoginName>"), 3);
        assert!(!text.contains("a&b"));
    }
}
