//! One connection, and the server's side around it: a listener, TLS, a drain.

use std::ops::DerefMut;
use std::sync::Arc;
use std::time::Duration;

use protocol::{
    Closed, Conn, Ends, Listener, Module, PassivePorts, Services, Shutdown, ShutdownTrigger, TlsMode, TlsService,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::World;

/// A byte stream with or without TLS.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// What is served.
#[derive(Clone, Copy)]
pub struct Served<'a> {
    /// The module.
    pub module: &'static Module,
    /// What its listener speaks.
    pub protocol: &'static str,
    /// The name of the host.
    pub hostname: &'static str,
    /// The module's part of the configuration.
    pub config: &'a str,
    /// The version of TLS.
    pub tls: &'static SupportedProtocolVersion,
}

/// One connection to a server of its own.
pub struct Connection {
    wire: Option<Box<dyn Wire>>,
    /// What came and was not taken yet.
    pub input: Vec<u8>,
    /// Drains the server.
    pub stop: ShutdownTrigger,
    /// Resumes its own sessions, as data connections of FTP must.
    pub tls: TlsConnector,
    hostname: &'static str,
    secure: bool,
    served: JoinHandle<Closed>,
}

impl Connection {
    /// Connects in the clear.
    pub async fn open(world: &World, served: Served<'_>) -> Connection {
        let Served { module, protocol, hostname, config, tls } = served;
        let (auth, listeners) = (world.authority.clone(), Arc::default());
        let services = Services { auth, hostname: hostname.into(), listeners, mta_sts: None };
        let built = (module.build)(config.parse().unwrap(), services).map_err(|error| error.to_string()).unwrap();
        let (connector, service) = both_sides(module, hostname, tls);
        let listener = Arc::new(Listener {
            name: protocol.to_owned(),
            protocol,
            mode: TlsMode::Starttls,
            tls: Some(service),
            passive: PassivePorts::new(30_000..=32_000),
        });
        let (stop, shutdown) = Shutdown::channel();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (tcp, _) = socket.accept().await.unwrap();
            let ends = Ends::of(&tcp).unwrap();
            let conn = Conn::open(tcp, ends, listener, shutdown, Box::new(())).await.unwrap();
            built.serve(conn).await
        });
        let wire: Box<dyn Wire> = Box::new(TcpStream::connect(address).await.unwrap());
        let (wire, input) = (Some(wire), Vec::new());
        Connection { wire, input, stop, tls: connector, hostname, secure: false, served }
    }

    /// Begins TLS, which the server has agreed to.
    pub async fn secure(&mut self) {
        let plain = self.wire.take().unwrap();
        self.wire = Some(self.secured(plain).await);
        self.secure = true;
    }

    /// Whether TLS runs.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// TLS to the same server over another stream, with the same session.
    pub async fn secured(&self, plain: impl Wire + 'static) -> Box<dyn Wire> {
        self.secured_by(&self.tls, plain).await
    }

    /// TLS to the same server as another client would begin it.
    pub async fn secured_by(&self, tls: &TlsConnector, plain: impl Wire + 'static) -> Box<dyn Wire> {
        let name = ServerName::try_from(self.hostname).unwrap();
        Box::new(tls.connect(name, plain).await.unwrap())
    }

    /// Sends octets as they are.
    pub async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let wire = self.wire.as_mut().unwrap();
        wire.write_all(octets.as_ref()).await.unwrap();
        wire.flush().await.unwrap();
    }

    /// Whatever comes next, which is not the end.
    pub async fn more(&mut self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(64 << 10);
        let read = self.wire.as_mut().unwrap().read_buf(&mut octets);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer in time");
        assert_ne!(read.unwrap(), 0, "an answer, not the end behind {:?}", String::from_utf8_lossy(&self.input));
        octets
    }

    /// The octets up to the next `end`, and it.
    pub async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.input.windows(end.len()).position(|octets| octets == end) {
                return self.taken(at + end.len());
            }
            let octets = self.more().await;
            self.input.extend(octets);
        }
    }

    /// The next reply of a protocol whose replies begin with three digits, of one line or several (RFC 5321 §4.2.1,
    /// RFC 959 §4.2).
    pub async fn numbered(&mut self) -> String {
        let mut from = 0;
        loop {
            while let Some(end) = self.input[from..].iter().position(|&byte| byte == b'\n') {
                let line = &self.input[from..from + end + 1];
                from += end + 1;
                if line[..3].iter().all(u8::is_ascii_digit) && line[3] == b' ' {
                    return String::from_utf8(self.taken(from)).unwrap();
                }
            }
            let octets = self.more().await;
            self.input.extend(octets);
        }
    }

    /// The first `count` octets of what came.
    pub fn taken(&mut self, count: usize) -> Vec<u8> {
        let rest = self.input.split_off(count);
        std::mem::replace(&mut self.input, rest)
    }

    /// Whether nothing is said for a moment.
    pub async fn is_silent(&mut self) -> bool {
        let read = self.wire.as_mut().unwrap().read_buf(&mut self.input);
        let _ = tokio::time::timeout(Duration::from_millis(300), read).await;
        self.input.is_empty()
    }

    /// Whether the server closes now, with nothing more to say; and why.
    pub async fn ended(&mut self) -> Closed {
        // A reset is an end too: octets of ours were left unread.
        let _ = self.wire.as_mut().unwrap().read_to_end(&mut self.input).await;
        assert_eq!(String::from_utf8_lossy(&self.input), "", "nothing more is said");
        (&mut self.served).await.unwrap()
    }

    /// Closes without a word.
    pub async fn vanish(&mut self) -> Closed {
        drop(self.wire.take());
        (&mut self.served).await.unwrap()
    }
}

/// A client of a protocol in which each line has its reply.
pub trait Spoken: DerefMut<Target = Connection> {
    /// The next reply.
    fn reply(&mut self) -> impl Future<Output = String>;

    /// The next reply, which must begin so.
    #[track_caller]
    fn expect(&mut self, prefix: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.reply().await;
            assert!(reply.starts_with(prefix), "{caller}: expected {prefix}, got {reply}");
            reply
        }
    }

    /// Says one line for each pair and expects its reply.
    fn dialog(&mut self, script: &[(&str, &str)]) -> impl Future<Output = ()> {
        async move {
            for (line, prefix) in script {
                self.send(format!("{line}\r\n")).await;
                let reply = self.reply().await;
                assert!(reply.starts_with(prefix), "{line}: expected {prefix}, got {reply}");
            }
        }
    }
}

/// A client that trusts a server made anew, and that server.
fn both_sides(
    module: &Module,
    hostname: &str,
    version: &'static SupportedProtocolVersion,
) -> (TlsConnector, TlsService) {
    let made = rcgen::generate_simple_self_signed([hostname.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder_with_protocol_versions(&[version]);
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
    let mut server = server.unwrap();
    server.send_tls13_tickets = 16;
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let service = TlsService::new(Arc::new(server), module.resumption).with_certificate(&certificate);
    (TlsConnector::from(Arc::new(client)), service)
}
