//! A client that says what it is told to.

use std::ops::{Deref, DerefMut};

use dialog::{Connection, Served, Spoken};

use crate::world::World;

/// One connection to a server of its own.
pub(crate) struct Client(Connection);

impl Client {
    /// Connects to a listener that speaks `protocol`, and reads the greeting.
    pub(crate) async fn connect(world: &World, protocol: &'static str) -> Client {
        Client::connect_with(world, protocol, "").await
    }

    /// The same with a configuration.
    pub(crate) async fn connect_with(world: &World, protocol: &'static str, config: &str) -> Client {
        let (module, hostname, tls) = (&smtp::MODULE, "mx.example.org", &rustls::version::TLS13);
        let mut client = Client(Connection::open(world, Served { module, protocol, hostname, config, tls }).await);
        client.expect("220 mx.example.org ").await;
        client
    }

    /// STARTTLS with its handshake.
    pub(crate) async fn start_tls(&mut self) {
        self.dialog(&[("STARTTLS", "220 2.0.0 ")]).await;
        self.secure().await;
    }

    /// A client that greeted, began TLS, greeted again, and is logged in as alice.
    pub(crate) async fn logged_in(world: &World) -> Client {
        Client::logged_in_with(world, "").await
    }

    /// The same with a configuration.
    pub(crate) async fn logged_in_with(world: &World, config: &str) -> Client {
        let mut client = Client::connect_with(world, "submission", config).await;
        client.start_tls().await;
        client
            .dialog(&[("EHLO client.example", "250-"), ("AUTH PLAIN AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "235 2.7.0 ")])
            .await;
        client
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
