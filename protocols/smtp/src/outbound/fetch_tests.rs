use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::outbound::sts::Mode;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mx.example.org\nmax_age: 1\n";

/// A web server that has a certificate for that name, and the client that trusts its authority.
fn pair(name: &str) -> (ServerConfig, Arc<ClientConfig>) {
    let [top_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
    let mut top = CertificateParams::default();
    top.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = top.self_signed(&top_key).unwrap().der().clone();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &Issuer::new(top, top_key)).unwrap().der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let server = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (server, Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Serves one answer; the port, and the request that comes.
async fn serve(server: ServerConfig, answer: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(stream).await else { return String::new() };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        // The client may have seen enough before the end.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        String::from_utf8(request).unwrap()
    });
    (port, served)
}

async fn fetched(head: &str, body: &[u8]) -> Result<Policy, String> {
    let (server, client) = pair("mta-sts.example.org");
    let answer = [format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    let (port, _) = serve(server, answer).await;
    fetch("example.org", &[HERE], port, client, true).await
}

#[tokio::test]
async fn a_policy_comes_from_its_host() {
    let (server, client) = pair("mta-sts.example.org");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=utf-8\r\n\r\n{POLICY}");
    let (port, served) = serve(server, answer.into_bytes()).await;
    let policy = fetch("example.org", &[HERE], port, client, true).await.unwrap();
    assert_eq!((policy.mode, policy.mx), (Mode::Enforce, vec!["mx.example.org".to_owned()]));
    let request = served.await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: mta-sts.example.org:{port}\r\n")), "{request}");
}

#[tokio::test]
async fn another_answer_is_no_policy() {
    let plain = "200 OK\r\nContent-Type: text/plain";
    assert!(fetched(plain, POLICY.as_bytes()).await.is_ok());
    let long = format!("{POLICY}{}", "\n".repeat(LONGEST));
    for (head, body, why) in [
        ("301 Moved\r\nLocation: https://example.org/", POLICY.as_bytes(), "301"),
        ("404 Not Found\r\nContent-Type: text/plain", POLICY.as_bytes(), "404"),
        ("206 Partial Content\r\nContent-Type: text/plain", POLICY.as_bytes(), "206"),
        ("200 OK\r\nContent-Type: text/html", POLICY.as_bytes(), "not text/plain"),
        ("200 OK\r\nContent-Type: text/plainer", POLICY.as_bytes(), "not text/plain"),
        ("200 OK", POLICY.as_bytes(), "not text/plain"),
        (plain, b"\xff", "no text"),
        (plain, b"version: STSv2", "version"),
        (plain, long.as_bytes(), "limit"),
    ] {
        let said = fetched(head, body).await.unwrap_err();
        assert!(said.contains(why), "{head:?}: {said}");
    }
}

#[tokio::test]
async fn a_head_has_an_end() {
    let head = format!("200 OK\r\nContent-Type: text/plain\r\nX: {}", "x".repeat(2 * HEAD));
    let said = fetched(&head, POLICY.as_bytes()).await.unwrap_err();
    assert!(said.contains("broke off"), "{said}");
}

#[tokio::test]
async fn the_host_must_be_the_one_that_it_says() {
    let answer = || format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{POLICY}").into_bytes();
    let (wrong, client) = pair("example.org");
    let (port, _) = serve(wrong, answer()).await;
    let said = fetch("example.org", &[HERE], port, client, true).await.unwrap_err();
    assert!(said.contains("not valid for name"), "{said}");
    let ((right, _), (_, stranger)) = (pair("mta-sts.example.org"), pair("mta-sts.example.org"));
    let (port, _) = serve(right, answer()).await;
    let said = fetch("example.org", &[HERE], port, stranger, true).await.unwrap_err();
    assert!(said.contains("UnknownIssuer") || said.contains("BadSignature"), "{said}");
}

#[tokio::test]
async fn no_host_of_this_network_is_asked() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = pair("mta-sts.example.org").1;
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().into();
    let said = fetch("example.org", &[HERE, mapped], port, client, false).await.unwrap_err();
    assert_eq!(said, "mta-sts.example.org has no public address");
    let asked = timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(asked.is_err(), "nobody came");
}

#[tokio::test]
async fn a_host_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = pair("mta-sts.example.org").1;
    let time = Duration::from_millis(50);
    let said = fetch_within(time, "example.org", &[HERE], port, client, true).await.unwrap_err();
    assert_eq!(said, "the policy did not come in time");
    drop(listener);
}

#[test]
fn addresses_of_this_network_are_not_public() {
    for private in [
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "3fff::1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
    ] {
        assert!(!is_public(private.parse().unwrap()), "{private}");
    }
    for public in [
        "1.1.1.1",
        "9.9.9.9",
        "100.63.0.1",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2a00:1450::1",
        "2606:4700::1",
        "2001:4860::1",
        "64:ff9b::101:101",
        "2002:101:101::1",
        "::ffff:1.1.1.1",
    ] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
}
