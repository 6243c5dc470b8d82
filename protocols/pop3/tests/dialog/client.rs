//! A client that says what it is told to, and the server's side around it: a listener, TLS, a drain.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Closed, Conn, Ends, Listener, PassivePorts, Services, Shutdown, ShutdownTrigger, TlsMode, TlsService};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
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
    certificate: CertificateDer<'static>,
}

impl Client {
    /// Connects and reads the greeting.
    pub(crate) async fn connect(world: &World) -> Client {
        Client::connect_with(world, "").await
    }

    /// The same with a configuration.
    pub(crate) async fn connect_with(world: &World, config: &str) -> Client {
        let services =
            Services { auth: world.authority.clone(), hostname: "pop.example.org".into(), listeners: Arc::default() };
        let module =
            (pop3::MODULE.build)(config.parse().unwrap(), services).map_err(|error| error.to_string()).unwrap();
        let (certificate, tls) = certificate();
        let listener = Arc::new(Listener {
            name: "pop3".to_owned(),
            protocol: "pop3",
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
        client.expect("+OK pop.example.org Wharfinger POP3").await;
        client
    }

    /// A client with TLS in which nobody is logged in.
    pub(crate) async fn secured(world: &World) -> Client {
        let mut client = Client::connect(world).await;
        client.start_tls().await;
        client
    }

    /// A client in the TRANSACTION state of alice.
    pub(crate) async fn logged_in(world: &World) -> Client {
        let mut client = Client::secured(world).await;
        client.dialog(&[("USER alice", "+OK"), ("PASS secret-of-alice", "+OK Welcome")]).await;
        client
    }

    /// Sends octets as they are.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.wire.as_mut().unwrap().write_all(octets.as_ref()).await.unwrap();
    }

    /// The octets up to the next `end`, and it.
    async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.input.windows(end.len()).position(|octets| octets == end) {
                let rest = self.input.split_off(at + end.len());
                return std::mem::replace(&mut self.input, rest);
            }
            let read = self.wire.as_mut().unwrap().read_buf(&mut self.input);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("an answer in time");
            assert_ne!(read.unwrap(), 0, "an answer, not the end");
        }
    }

    /// The next line.
    pub(crate) async fn reply(&mut self) -> String {
        String::from_utf8(self.until(b"\r\n").await).unwrap()
    }

    /// The next line, which must begin so.
    pub(crate) async fn expect(&mut self, prefix: &str) -> String {
        let reply = self.reply().await;
        assert!(reply.starts_with(prefix), "expected {prefix}, got {reply}");
        reply
    }

    /// Says a line that is answered by +OK and more lines, and takes these as they came, without the last dot.
    pub(crate) async fn lines(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n")).await;
        self.expect("+OK").await;
        // A response of no lines has its CRLF before the dot in the line above.
        self.input.splice(0..0, *b"\r\n");
        let octets = self.until(b"\r\n.\r\n").await;
        String::from_utf8(octets[2..].to_vec()).unwrap().strip_suffix(".\r\n").unwrap_or_default().to_owned()
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

    /// STLS with its handshake.
    pub(crate) async fn start_tls(&mut self) {
        self.dialog(&[("STLS", "+OK Begin TLS")]).await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("pop.example.org").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let secured = connector.connect(name, self.wire.take().unwrap()).await.unwrap();
        self.wire = Some(Box::new(secured));
    }
}

fn certificate() -> (CertificateDer<'static>, TlsService) {
    let made = rcgen::generate_simple_self_signed(["pop.example.org".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key);
    (certificate, TlsService::new(Arc::new(config.unwrap()), protocol::Resumption::Service))
}
