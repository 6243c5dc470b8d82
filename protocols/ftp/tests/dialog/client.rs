//! A client that says what it is told to, on the control connection and on those for data.

use std::ops::{Deref, DerefMut};

use dialog::{Connection, Served, Spoken, Wire};
use rustls::SupportedProtocolVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::World;

/// One control connection to a server of its own.
pub(crate) struct Client(Connection);

impl Client {
    /// Connects and reads the greeting.
    pub(crate) async fn connect(world: &World) -> Client {
        Client::connect_with(world, "", &rustls::version::TLS13).await
    }

    /// The same with a configuration and one version of TLS.
    pub(crate) async fn connect_with(world: &World, config: &str, tls: &'static SupportedProtocolVersion) -> Client {
        let (module, hostname) = (&ftp::MODULE, "ftp.example.org");
        let served = Served { module, protocol: "ftp", hostname, config, tls };
        let mut client = Client(Connection::open(world, served).await);
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
        self.secure().await;
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
        if self.is_secure() { self.secured(tcp).await } else { Box::new(tcp) }
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
}

impl Spoken for Client {
    async fn reply(&mut self) -> String {
        self.numbered().await
    }
}

impl Deref for Client {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
