//! A client that says what it is told to, and the server's side around it: a listener, TLS, a drain.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Closed, Conn, Ends, Listener, PassivePorts, Services, Shutdown, ShutdownTrigger, TlsMode, TlsService};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::world::World;

/// A byte stream with or without TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One connection to a server of its own.
pub(crate) struct Client {
    wire: Option<Box<dyn Wire>>,
    input: Vec<u8>,
    pub(crate) stop: ShutdownTrigger,
    served: JoinHandle<Closed>,
    certificate: rustls::pki_types::CertificateDer<'static>,
}

impl Client {
    /// Connects to a listener that speaks `protocol`, and reads the greeting.
    pub(crate) async fn connect(world: &World, protocol: &'static str) -> Client {
        Client::connect_with(world, protocol, "").await
    }

    /// The same with a configuration.
    pub(crate) async fn connect_with(world: &World, protocol: &'static str, config: &str) -> Client {
        let (auth, hostname) = (world.authority.clone(), "mx.example.org".into());
        let services = Services { auth, hostname, listeners: Arc::default() };
        let module =
            (smtp::MODULE.build)(config.parse().unwrap(), services).map_err(|error| error.to_string()).unwrap();
        let (certificate, tls) = certificate();
        let listener = Arc::new(Listener {
            name: protocol.to_owned(),
            protocol,
            mode: TlsMode::Starttls,
            tls: Some(tls),
            passive: PassivePorts::new(1..=1),
        });
        let (stop, shutdown) = Shutdown::channel();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (tcp, _) = socket.accept().await.unwrap();
            let ends = Ends::of(&tcp).unwrap();
            let conn = Conn::open(tcp, ends, listener, shutdown, Box::new(())).await.unwrap();
            module.serve(conn).await
        });
        let wire: Box<dyn Wire> = Box::new(TcpStream::connect(address).await.unwrap());
        let mut client = Client { wire: Some(wire), input: Vec::new(), stop, served, certificate };
        client.expect("220 mx.example.org ESMTP").await;
        client
    }

    /// Sends octets as they are.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.wire.as_mut().unwrap().write_all(octets.as_ref()).await.unwrap();
    }

    /// The next reply, of one line or several.
    pub(crate) async fn reply(&mut self) -> String {
        let mut from = 0;
        loop {
            while let Some(end) = self.input[from..].iter().position(|&byte| byte == b'\n') {
                let line = from..from + end + 1;
                from = line.end;
                if self.input[line][3] == b' ' {
                    let rest = self.input.split_off(from);
                    return String::from_utf8(std::mem::replace(&mut self.input, rest)).unwrap();
                }
            }
            let read = self.wire.as_mut().unwrap().read_buf(&mut self.input);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("a reply in time");
            assert_ne!(read.unwrap(), 0, "a reply, not the end");
        }
    }

    /// The next reply, which must begin so.
    #[track_caller]
    pub(crate) fn expect(&mut self, prefix: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.reply().await;
            assert!(reply.starts_with(prefix), "{caller}: expected {prefix}, got {reply}");
            reply
        }
    }

    /// Says one line for each pair and expects its reply.
    pub(crate) async fn dialog(&mut self, script: &[(&str, &str)]) {
        for (line, prefix) in script {
            self.send(format!("{line}\r\n")).await;
            let reply = self.reply().await;
            assert!(reply.starts_with(prefix), "{line}: expected {prefix}, got {reply}");
        }
    }

    /// Whether the server closes now, with nothing more to say; and why.
    pub(crate) async fn ended(mut self) -> Closed {
        assert_eq!(self.input, b"", "nothing more is said");
        // A reset is an end too: octets of ours were left unread.
        let _ = self.wire.as_mut().unwrap().read_to_end(&mut self.input).await;
        assert_eq!(self.input, b"", "nothing more is said");
        self.served.await.unwrap()
    }

    /// Closes without a word.
    pub(crate) async fn vanish(mut self) -> Closed {
        drop(self.wire.take());
        self.served.await.unwrap()
    }

    /// STARTTLS with its handshake.
    pub(crate) async fn start_tls(&mut self) {
        self.dialog(&[("STARTTLS", "220 2.0.0 ")]).await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("mx.example.org").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let secured = connector.connect(name, self.wire.take().unwrap()).await.unwrap();
        self.wire = Some(Box::new(secured));
    }

    /// A client that greeted, began TLS, greeted again, and is logged in as alice.
    pub(crate) async fn logged_in(world: &World) -> Client {
        let mut client = Client::connect(world, "submission").await;
        client.start_tls().await;
        client
            .dialog(&[("EHLO client.example", "250-"), ("AUTH PLAIN AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "235 2.7.0 ")])
            .await;
        client
    }
}

fn certificate() -> (rustls::pki_types::CertificateDer<'static>, TlsService) {
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
    let service = TlsService::new(Arc::new(config.unwrap()), protocol::Resumption::Service);
    let service = service.with_certificate(&certificate);
    (certificate, service)
}
