//! rspamd over its HTTP protocol: one request for a message, answered by a report in JSON.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config::Rspamd;
use super::content::Content;
use super::report::Report;
use super::{Failure, printable};

/// The longest answer that is read.
const ANSWER: usize = 1 << 20;
/// How many octets of recipients are told.
const RECIPIENTS: usize = 48 << 10;
/// The port of a normal worker.
const PORT: u16 = 11333;
const NAMED: &str = "the spam filter";

/// Where rspamd is.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// The host, with brackets around an IPv6 address, and the port.
    authority: String,
    path: String,
    password: Option<HeaderValue>,
    largest: u64,
}

/// What rspamd is told of a message beside its content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    /// The address of the client.
    pub(crate) client: IpAddr,
    /// The name of that address in DNS, where one is known.
    pub(crate) hostname: Option<&'a str>,
    /// The name that the client greeted with.
    pub(crate) helo: &'a str,
    /// The user who is logged in.
    pub(crate) user: Option<&'a str>,
    /// The sender, without brackets; empty for the null path.
    pub(crate) from: &'a str,
    /// The recipients, without brackets.
    pub(crate) to: &'a [&'a str],
    /// What the logs call the message.
    pub(crate) id: &'a str,
    /// The version and cipher of TLS.
    pub(crate) tls: Option<(&'a str, &'a str)>,
}

impl Service {
    /// One at an `http` URL, with `/checkv2` behind its path; nothing for any other, or a password that cannot be sent.
    pub(crate) fn new(config: &Rspamd) -> Option<Service> {
        let uri: Uri = config.url.parse().ok()?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        if uri.scheme_str() != Some("http") || authority.host().is_empty() || uri.query().is_some() {
            return None;
        }
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => PORT,
            port => port.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
        };
        let mut password = None;
        if !config.password.is_empty() {
            let mut value = HeaderValue::from_str(&config.password).ok()?;
            value.set_sensitive(true);
            password = Some(value);
        }
        let path = format!("{}/checkv2", uri.path().trim_end_matches('/'));
        Some(Service {
            authority: format!("{}:{port}", authority.host()),
            path,
            password,
            largest: config.max_message.0,
        })
    }
}

/// Has a message of that length judged; `limit` holds for the whole.
///
/// # Errors
/// Says why there is no report.
pub(crate) async fn check<R>(
    service: &Service,
    envelope: &Envelope<'_>,
    message: R,
    length: u64,
    limit: Duration,
) -> Result<Report, Failure>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    // It closes the connection without a word on one that is too large for it.
    if length > service.largest {
        return Err(Failure::TooLarge(NAMED));
    }
    let head = head(service, envelope, length);
    let checked = async {
        let body = exchange(service, head, message, length).await?;
        Report::read(&body).map_err(|why| Failure::Away(format!("{NAMED} answered what is not understood: {why}")))
    };
    timeout(limit, checked)
        .await
        .unwrap_or_else(|_| Err(Failure::Away(format!("{NAMED} did not answer within {} s", limit.as_secs()))))
}

/// The fields of the request. Nothing that a client sends may keep it from being made: what a field cannot carry is
/// left out, and recipients end before rspamd, which takes 80 KiB of fields, would close the connection.
fn head(service: &Service, envelope: &Envelope<'_>, length: u64) -> HeaderMap {
    let mut head = HeaderMap::new();
    let mut tell = |name: &'static str, value: &str| {
        let value: String = value.chars().filter(|sign| !sign.is_control()).collect();
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            head.append(HeaderName::from_static(name), value);
        }
    };
    tell("host", &service.authority);
    tell("ip", &envelope.client.to_canonical().to_string());
    tell("helo", envelope.helo);
    tell("from", &format!("<{}>", envelope.from));
    let mut room = RECIPIENTS;
    for to in envelope.to {
        let Some(rest) = room.checked_sub("rcpt: <>\r\n".len() + to.len()) else { break };
        room = rest;
        tell("rcpt", &format!("<{to}>"));
    }
    if let [only] = envelope.to {
        tell("deliver-to", only);
    }
    tell("queue-id", envelope.id);
    for (name, value) in [
        ("hostname", envelope.hostname),
        ("user", envelope.user),
        ("tls-version", envelope.tls.map(|(version, _)| version)),
        ("tls-cipher", envelope.tls.map(|(_, cipher)| cipher)),
    ] {
        if let Some(value) = value {
            tell(name, value);
        }
    }
    head.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(password) = &service.password {
        head.insert(HeaderName::from_static("password"), password.clone());
    }
    head
}

/// The body of a good answer.
async fn exchange<R>(service: &Service, head: HeaderMap, message: R, length: u64) -> Result<Bytes, Failure>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    let unreached = |error: std::io::Error| Failure::Away(format!("{NAMED} cannot be reached: {error}"));
    let broke = |error: hyper::Error| {
        let why =
            if error.is_canceled() { "the connection ended before the request".into() } else { error.to_string() };
        Failure::Away(format!("{NAMED} broke off: {why}"))
    };
    let (content, unread) = Content::new(message, length);
    let stream = TcpStream::connect(&service.authority).await.map_err(unreached)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let mut request = Request::post(&service.path).body(content).map_err(|error| Failure::Away(error.to_string()))?;
    *request.headers_mut() = head;
    let mut answered = pin!(async move {
        let response = sender.send_request(request).await.map_err(broke)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER).collect().await.map_err(|error| {
            let endless = error.is::<LengthLimitError>();
            Failure::Away(format!("{NAMED} {}", if endless { "answers without end" } else { "broke off its answer" }))
        })?;
        Ok((status, body.to_bytes()))
    });
    let answered = tokio::select! {
        biased;
        answered = &mut answered => answered,
        // It ends first where the server closes it; what has come by then is still to be had.
        _ = connection => answered.await,
    };
    if let Some(why) = unread.get() {
        return Err(Failure::Message(why.clone()));
    }
    match answered? {
        (StatusCode::OK, body) => Ok(body),
        (StatusCode::PAYLOAD_TOO_LARGE, _) => Err(Failure::TooLarge(NAMED)),
        (status, body) => {
            let told = printable(&String::from_utf8_lossy(&body), 200);
            Err(Failure::Away(format!("{NAMED} answered {}: {told}", status.as_u16())))
        }
    }
}

#[cfg(test)]
mod tests;
