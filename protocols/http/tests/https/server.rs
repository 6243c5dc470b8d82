//! A server for the tests, and a client that sends exactly what it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::{Authority, Role, Secret};
use protocol::{Conn, Ends, Listener, Offered, PassivePorts, Services, Shutdown, ShutdownTrigger, TlsMode, TlsService};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use storage::{Actor, NewAccount, Options, Store};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const CONFIG: &str = "redirect_port = 8443\nmax_upload = 1048576\nmail_host = \"mail.example\"";
/// What clients are told of.
const LISTENERS: &[Offered] = &[
    Offered { protocol: "imap", port: 143, tls: TlsMode::Starttls },
    Offered { protocol: "imap", port: 993, tls: TlsMode::Implicit },
    Offered { protocol: "pop3", port: 110, tls: TlsMode::None },
    Offered { protocol: "submission", port: 465, tls: TlsMode::Implicit },
];
const QUOTA: i64 = 800_000;

pub(crate) struct Server {
    plain: SocketAddr,
    tls: SocketAddr,
    client: TlsConnector,
    store: Store,
    _stop: ShutdownTrigger,
    _folder: tempfile::TempDir,
}

/// An answer: all of it as text, and its parts.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) body: Vec<u8>,
}

impl Server {
    /// Starts one with the account `alice`.
    pub(crate) async fn start() -> Server {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let options = Options { domains: vec!["localhost".into()], ..Options::embedded(folder.path().to_owned()) };
        let store = Store::open(options).await.unwrap();
        let cheap = auth::Config { argon2_memory: 8, argon2_passes: 1, ..auth::Config::default() };
        let authority = Authority::new(store.clone(), cheap, Duration::from_secs(3600)).unwrap();
        let verifier = authority.verifier("alice", Secret::new("the password".into())).await.unwrap();
        let alice = NewAccount { name: "alice".into(), role: Role::User, quota: Some(QUOTA), verifier: Some(verifier) };
        store.add_account(&administrator(), alice).await.unwrap();

        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let chain = vec![made.cert.der().clone()];
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();

        let services =
            Services { auth: authority, hostname: "localhost".into(), listeners: LISTENERS.into(), mta_sts: None };
        let web = (http_files::MODULE.build)(CONFIG.parse().unwrap(), services).unwrap();
        let (trigger, stop) = Shutdown::channel();
        let service = TlsService::new(Arc::new(config), protocol::Resumption::Service);
        let mut addresses = Vec::new();
        for (protocol, mode) in [("http", TlsMode::None), ("https", TlsMode::Implicit)] {
            let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(socket.local_addr().unwrap());
            let (tls, passive) = (Some(service.clone()), PassivePorts::new(1..=1));
            let listener = Arc::new(Listener { name: protocol.into(), protocol, mode, tls, passive });
            let (web, stop) = (web.clone(), stop.clone());
            tokio::spawn(async move {
                while let Ok((tcp, _)) = socket.accept().await {
                    let ends = Ends::of(&tcp).unwrap();
                    let opened = Conn::open(tcp, ends, listener.clone(), stop.clone(), Box::new(()));
                    let web = web.clone();
                    tokio::spawn(async move {
                        if let Ok(conn) = opened.await {
                            web.serve(conn).await;
                        }
                    });
                }
            });
        }
        let client = TlsConnector::from(Arc::new(client));
        Server { plain: addresses[0], tls: addresses[1], client, store, _stop: trigger, _folder: folder }
    }

    async fn connect(&self) -> impl AsyncRead + AsyncWrite + Unpin {
        let tcp = TcpStream::connect(self.tls).await.unwrap();
        self.client.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// Sends these bytes over TLS and reads until the server closes.
    pub(crate) async fn raw(&self, text: &str) -> Reply {
        exchange(self.connect().await, text.as_bytes(), b"").await
    }

    /// Sends a head, which gets its `Host` and the request to close, and a body.
    pub(crate) async fn ask(&self, head: &str, body: &[u8]) -> Reply {
        let head = format!("{head}Host: localhost\r\nConnection: close\r\n\r\n");
        exchange(self.connect().await, head.as_bytes(), body).await
    }

    /// The same without TLS; the head has its own `Host`.
    pub(crate) async fn plain(&self, head: &str) -> Reply {
        let tcp = TcpStream::connect(self.plain).await.unwrap();
        exchange(tcp, format!("{head}Connection: close\r\n\r\n").as_bytes(), b"").await
    }

    /// Sends a part of a request, closes the connection, and waits until the server has seen it.
    pub(crate) async fn send_and_leave(&self, head: &str, body: &[u8]) {
        let mut stream = self.connect().await;
        stream.write_all(format!("{head}Host: localhost\r\n\r\n").as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    /// Says more than is answered, and listens to the answer late.
    pub(crate) async fn say_on(&self, head: &str, more: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = self.connect().await;
        let head = format!("{head}Host: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = stream.write_all(more).await;
            let _ = stream.flush().await;
        }
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        read.expect("the server closes").map(|_| answer)
    }

    /// A request of alice's for a path under `/dav`.
    pub(crate) async fn dav(&self, method: &str, path: &str, more: &str) -> Reply {
        let log_in = basic("alice", "the password");
        let body: &[u8] = if more.contains("Content-Length: 1\r\n") { b"x" } else { b"" };
        self.ask(&format!("{method} /dav/{path} HTTP/1.1\r\n{log_in}{more}"), body).await
    }

    pub(crate) async fn get(&self, path: &str, more: &str) -> Reply {
        self.dav("GET", path, more).await
    }

    pub(crate) async fn put(&self, path: &str, body: &[u8], more: &str) -> Reply {
        let log_in = basic("alice", "the password");
        let length = body.len();
        self.ask(&format!("PUT /dav/{path} HTTP/1.1\r\n{log_in}{more}Content-Length: {length}\r\n"), body).await
    }

    /// Takes alice's account out of service.
    pub(crate) async fn disable(&self) {
        self.store.disable_account(&administrator(), "alice", true).await.unwrap();
    }

    /// The bytes that count against alice's quota.
    pub(crate) async fn usage(&self) -> i64 {
        self.store.account("alice").await.unwrap().unwrap().used
    }
}

fn administrator() -> Actor {
    Actor::command_line()
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &[u8], body: &[u8]) -> Reply {
    stream.write_all(head).await.unwrap();
    // A server that refuses may close before it has read everything.
    let _ = stream.write_all(body).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("the server answers and closes");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
    Reply { status, text, body: answer[end + 4..].to_vec() }
}

impl Reply {
    /// The value of a field; empty when there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The value of a cookie that is set.
    pub(crate) fn cookie(&self, name: &str) -> String {
        field(&self.text, &format!("set-cookie: {name}=")).trim_end_matches(';').to_owned()
    }
}

/// What stands behind `before`, up to the next quote, semicolon or line end.
pub(crate) fn field(text: &str, before: &str) -> String {
    let at = text.find(before).expect(before) + before.len();
    text[at..].split(['"', ';', '\r']).next().unwrap_or_default().to_owned()
}

/// The field that logs in.
pub(crate) fn basic(name: &str, password: &str) -> String {
    use base64::Engine;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}
