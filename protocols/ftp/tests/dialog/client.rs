//! A client that says what it is told to, and the server's side around it: a listener, TLS, a drain.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Closed, Conn, Ends, Listener, PassivePorts, Services, Shutdown, ShutdownTrigger, TlsMode, TlsService};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::world::World;

/// A byte stream with or without TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// One control connection to a server of its own.
pub(crate) struct Client {
    wire: Option<Box<dyn Wire>>,
    input: Vec<u8>,
    pub(crate) stop: ShutdownTrigger,
    served: JoinHandle<Closed>,
    /// Resumes its own sessions, as data connections must.
    pub(crate) tls: TlsConnector,
    secure: bool,
}

impl Client {
    /// Connects and reads the greeting.
    pub(crate) async fn connect(world: &World) -> Client {
        Client::connect_with(world, "", &rustls::version::TLS13).await
    }

    /// The same with a configuration and one version of TLS.
    pub(crate) async fn connect_with(world: &World, config: &str, tls: &'static SupportedProtocolVersion) -> Client {
        let (auth, hostname) = (world.authority.clone(), "ftp.example.org".into());
        let services = Services { auth, hostname, listeners: Arc::default() };
        let module = (ftp::MODULE.build)(config.parse().unwrap(), services).map_err(|error| error.to_string()).unwrap();
        let (connector, service) = both_sides(tls);
        let listener = Arc::new(Listener {
            name: "ftp".to_owned(),
            protocol: "ftp",
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
            module.serve(conn).await
        });
        let wire: Box<dyn Wire> = Box::new(TcpStream::connect(address).await.unwrap());
        let mut client = Client { wire: Some(wire), input: Vec::new(), stop, served, tls: connector, secure: false };
        client.expect("220 ftp.example.org ").await;
        client
    }

    /// A client under TLS that is logged in as `name` and whose data goes over TLS.
    pub(crate) async fn logged_in(world: &World, name: &str) -> Client {
        let mut client = Client::connect(world).await;
        client.log_in(name).await;
        client
    }

    /// AUTH TLS and all that follows it.
    pub(crate) async fn log_in(&mut self, name: &str) {
        self.start_tls().await;
        self.dialog(&[("PBSZ 0", "200 "), ("PROT P", "200 "), (&format!("USER {name}"), "331 ")]).await;
        self.dialog(&[(&format!("PASS secret-of-{name}"), "230 ")]).await;
    }

    /// AUTH TLS with its handshake.
    pub(crate) async fn start_tls(&mut self) {
        self.dialog(&[("AUTH TLS", "234 ")]).await;
        let plain = self.wire.take().unwrap();
        self.wire = Some(Box::new(self.tls.connect(server_name(), plain).await.unwrap()));
        self.secure = true;
    }

    /// Sends octets as they are.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        let wire = self.wire.as_mut().unwrap();
        wire.write_all(octets.as_ref()).await.unwrap();
        wire.flush().await.unwrap();
    }

    /// The next reply, of one line or several.
    pub(crate) async fn reply(&mut self) -> String {
        let mut from = 0;
        loop {
            while let Some(end) = self.input[from..].iter().position(|&byte| byte == b'\n') {
                let line = from..from + end + 1;
                from = line.end;
                let line = &self.input[line];
                if line[..3].iter().all(u8::is_ascii_digit) && line[3] == b' ' {
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

    /// EPSV; the port to connect to.
    pub(crate) async fn port(&mut self) -> u16 {
        self.send("EPSV\r\n").await;
        let reply = self.expect("229 ").await;
        reply.split('|').nth(3).unwrap().parse().unwrap()
    }

    /// Opens the data connection at `port`, bound to this session where TLS runs.
    pub(crate) async fn data(&self, port: u16) -> Box<dyn Wire> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if self.secure { Box::new(self.tls.connect(server_name(), tcp).await.unwrap()) } else { Box::new(tcp) }
    }

    /// Uploads with `command`; the last reply.
    pub(crate) async fn put(&mut self, command: &str, content: &[u8]) -> String {
        let port = self.port().await;
        self.send(format!("{command}\r\n")).await;
        self.expect("150 ").await;
        let mut data = self.data(port).await;
        data.write_all(content).await.unwrap();
        data.shutdown().await.unwrap();
        self.reply().await
    }

    /// Downloads with `command`, which must succeed.
    pub(crate) async fn get(&mut self, command: &str) -> Vec<u8> {
        let port = self.port().await;
        self.send(format!("{command}\r\n")).await;
        self.expect("150 ").await;
        let (mut data, mut content) = (self.data(port).await, Vec::new());
        data.read_to_end(&mut content).await.unwrap();
        self.expect("226 ").await;
        content
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
}

pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from("ftp.example.org").unwrap()
}

/// A client that trusts a server made anew, and that server.
fn both_sides(version: &'static SupportedProtocolVersion) -> (TlsConnector, TlsService) {
    let made = rcgen::generate_simple_self_signed(["ftp.example.org".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let client = ClientConfig::builder_with_protocol_versions(&[version]);
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut server = server.unwrap();
    server.send_tls13_tickets = 16;
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    (TlsConnector::from(Arc::new(client)), TlsService::new(Arc::new(server), ftp::MODULE.resumption))
}
