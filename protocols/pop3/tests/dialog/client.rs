//! A client that says what it is told to.

use std::ops::{Deref, DerefMut};

use dialog::{Connection, Served, Spoken};

use crate::world::World;

/// One connection to a server of its own.
pub(crate) struct Client(Connection);

impl Client {
    /// Connects and reads the greeting.
    pub(crate) async fn connect(world: &World) -> Client {
        Client::connect_with(world, "").await
    }

    /// The same with a configuration.
    pub(crate) async fn connect_with(world: &World, config: &str) -> Client {
        let (module, hostname, tls) = (&pop3::MODULE, "pop.example.org", &rustls::version::TLS13);
        let served = Served { module, protocol: "pop3", hostname, config, tls };
        let mut client = Client(Connection::open(world, served).await);
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

    /// STLS with its handshake.
    pub(crate) async fn start_tls(&mut self) {
        self.dialog(&[("STLS", "+OK Begin TLS")]).await;
        self.secure().await;
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
}

impl Spoken for Client {
    async fn reply(&mut self) -> String {
        String::from_utf8(self.until(b"\r\n").await).unwrap()
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
