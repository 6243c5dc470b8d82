//! The policy of a domain from its web server (RFC 8461 §3.3). Whoever sends mail here can name a domain, so what is
//! asked is little, and never a host of this network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::sts::{LONGEST, Policy};

/// How long all of it may take (RFC 8461 §3.3).
const ALL: Duration = Duration::from_secs(60);
/// How long one address may take to be reached.
const CONNECT: Duration = Duration::from_secs(10);
/// The most addresses that are tried.
const ADDRESSES: usize = 4;
/// The most bytes before the policy.
const HEAD: usize = 16 << 10;

/// The host that has the policy of a domain.
pub(crate) fn host(domain: &str) -> String {
    format!("mta-sts.{domain}")
}

/// Fetches the policy of a domain from its policy host, which has these addresses. The host must show a certificate for
/// its name that `tls` takes; private addresses are asked only where that is allowed.
///
/// # Errors
/// A sentence.
pub(crate) async fn fetch(
    domain: &str,
    addresses: &[IpAddr],
    port: u16,
    tls: Arc<ClientConfig>,
    allow_private: bool,
) -> Result<Policy, String> {
    fetch_within(ALL, domain, addresses, port, tls, allow_private).await
}

async fn fetch_within(
    time: Duration,
    domain: &str,
    addresses: &[IpAddr],
    port: u16,
    tls: Arc<ClientConfig>,
    allow_private: bool,
) -> Result<Policy, String> {
    let fetched = async {
        let stream = connect(&host(domain), addresses, port, tls, allow_private).await?;
        let authority = if port == 443 { host(domain) } else { format!("{}:{port}", host(domain)) };
        get(stream, &authority).await?.parse()
    };
    timeout(time, fetched).await.unwrap_or_else(|_| Err("the policy did not come in time".into()))
}

/// A connection to the first address that has one; a certificate that is wrong there is wrong everywhere.
async fn connect(
    host: &str,
    addresses: &[IpAddr],
    port: u16,
    tls: Arc<ClientConfig>,
    allow_private: bool,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name of a host"))?;
    let mut why = format!("{host} has no public address");
    for address in addresses.iter().filter(|address| allow_private || is_public(**address)).take(ADDRESSES) {
        match timeout(CONNECT, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => {
                let handshake = TlsConnector::from(tls).connect(name, stream).await;
                return handshake.map_err(|error| format!("TLS with {host} failed: {error}"));
            }
            Ok(Err(error)) => why = format!("{host} cannot be reached: {error}"),
            Err(_) => why = format!("{host} cannot be reached in time"),
        }
    }
    Err(why)
}

/// Asks for the policy; the text of the answer.
async fn get(stream: TlsStream<TcpStream>, authority: &str) -> Result<String, String> {
    let broken = |error: hyper::Error| format!("the policy host broke off: {error}");
    let mut client = hyper::client::conn::http1::Builder::new();
    let handshake = client.max_buf_size(HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    // It ends with this set.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let request = Request::get("/.well-known/mta-sts.txt")
        .header(HOST, authority)
        .header(USER_AGENT, "Wharfinger")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(broken)?;
    text(response).await
}

/// The text of an answer, if it is a policy's: no other status than 200 counts, and nobody is sent elsewhere.
async fn text(response: Response<Incoming>) -> Result<String, String> {
    if response.status() != StatusCode::OK {
        return Err(format!("the policy host answers {}", response.status()));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("text/plain") {
        return Err("what the policy host answers is not text/plain".into());
    }
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    let body = body.map_err(|error| format!("the policy cannot be read: {error}"))?.to_bytes();
    String::from_utf8(body.into()).map_err(|_| "the policy is no text".into())
}

/// Whether an address may be one of the Internet's: not this host's, this network's or nobody's (RFC 6890).
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    let is_special = [a, b, c] == [192, 0, 0] || (a == 198 && b & 0xfe == 18);
    !(a == 0
        || a >= 224
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || is_shared
        || is_special)
}

/// What carries an address of version 4 within is as public as that one.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        // Teredo, and what is for documents.
        [0x2001, 0 | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
