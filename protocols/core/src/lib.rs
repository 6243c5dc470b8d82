//! The contract every protocol of Wharfinger keeps.
//!
//! A protocol crate exports one [`Module`]; the daemon reads its table, builds it once with its part of the
//! configuration, and hands every accepted connection to [`Protocol::serve`] as a [`Conn`]. Whatever listens, speaks
//! TLS, counts connections or ends them on shutdown stands here and in the daemon, so that no protocol does it its
//! own way.

mod conn;
mod data;
mod deflate;
mod end_point;
mod ends;
mod idle;
mod line;
mod networks;
mod pace;
mod proxy;
mod sasl;
mod size;
mod tls;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use auth::Authority;

pub use conn::{Conn, Listener, Shutdown, ShutdownTrigger};
pub use data::{DataConn, DataError, DataSide, Passive, PassivePorts, Protection};
pub use deflate::Deflate;
pub use ends::{Ends, Proxies, Unintroduced};
pub use idle::{check_timeout, stranger_idle};
pub use line::{Framer, Line, LongLine, ReadError};
pub use networks::{BadNetwork, Network, Networks};
pub use pace::{Paced, Progress};
pub use sasl::{Broken, Carrier, SASL_LINE};
pub use size::Size;
pub use tls::{Resumption, Stream, TlsService};
pub use wire::{TlsWish, Wire};

/// A future that owns what it needs, as trait objects must.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the daemon knows of a protocol before it runs: one static table entry.
pub struct Module {
    /// The table of the configuration, the audit tag and the metric label.
    pub name: &'static str,
    /// The listeners it has when the configuration names none.
    pub ports: &'static [Port],
    /// The ALPN protocol ids it answers to (RFC 7301); a client that offers only others is refused, because one
    /// certificate serves many protocols here (ALPACA).
    pub alpn: &'static [&'static str],
    /// Who may take up a TLS session of its again.
    pub resumption: Resumption,
    /// Makes the protocol from its table of the configuration; an unknown key is an error.
    pub build: fn(toml::Table, Services) -> Result<Arc<dyn Protocol>, ConfigError>,
    /// Every key of its table, for the nearest-name hint; the table of defaults serialised.
    pub defaults: fn() -> toml::Table,
}

/// One listener of a module's default table.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// The name of its table in the configuration: `[listen.submissions]`.
    pub name: &'static str,
    /// What is spoken there, `protocol = "submission"`; a module may speak several.
    pub protocol: &'static str,
    /// The port that IANA assigns; 0 for none, which is listened for only where the configuration says so.
    pub number: u16,
    /// When TLS begins.
    pub tls: TlsMode,
}

/// When TLS begins on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Never: for a redirect to HTTPS, or behind something that ends TLS.
    None,
    /// On the client's command (STARTTLS, AUTH TLS).
    Starttls,
    /// With the first byte.
    Implicit,
}

/// One protocol, built and ready: shared by all its connections.
pub trait Protocol: Send + Sync {
    /// Speaks one connection to its end.
    fn serve(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, Closed>;

    /// The complete answer for a connection that cannot be served, since a limit is reached; empty where the protocol
    /// can say nothing yet (implicit TLS).
    fn busy(&self) -> &'static [u8];

    /// Work that no connection starts (the outbound queue, retention): runs until shutdown.
    fn background(self: Arc<Self>, stop: Shutdown) -> Option<BoxFuture<'static, ()>> {
        let _ = stop;
        None
    }
}

/// What a protocol may use. It never holds the store: without a log-in there is no home, without a recipient no
/// delivery.
#[derive(Clone)]
pub struct Services {
    /// Logs in, resolves recipients and sites.
    pub auth: Arc<Authority>,
    /// The name this host calls itself by in greetings and headers.
    pub hostname: Arc<str>,
    /// What the daemon listens for, so that one protocol can tell where the others are.
    pub listeners: Arc<[Offered]>,
    /// The policy of TLS that is given out for the domains of this host (MTA-STS, RFC 8461), as text.
    pub mta_sts: Option<Arc<str>>,
}

/// A listener, as others may tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// What is spoken there, as in [`Port::protocol`].
    pub protocol: &'static str,
    /// The port it is bound to.
    pub port: u16,
    /// When TLS begins.
    pub tls: TlsMode,
}

/// Why a connection ended; a label of the `wharfinger_connections_closed` metric and the debug log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The client said goodbye, or closed between commands.
    Quit,
    /// The client vanished in the middle of something.
    Lost,
    /// Nothing came for too long, or too slowly.
    Idle,
    /// The client broke a limit or the protocol so that going on made no sense.
    Abuse,
    /// A trusted balancer did not say whom it speaks for.
    Proxy,
    /// The TLS handshake failed.
    Tls,
    /// The daemon drains.
    Shutdown,
    /// What the client logged in by is not valid any more.
    Withdrawn,
}

impl Closed {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Closed::Quit => "quit",
            Closed::Lost => "lost",
            Closed::Idle => "idle",
            Closed::Abuse => "abuse",
            Closed::Withdrawn => "withdrawn",
            Closed::Proxy => "proxy",
            Closed::Tls => "tls",
            Closed::Shutdown => "shutdown",
        }
    }
}

/// A table of the configuration that a module cannot take; the message names the key and says what would be right.
#[derive(Debug, thiserror::Error)]
#[error("[{module}] {message}")]
pub struct ConfigError {
    /// The module's name.
    pub module: &'static str,
    /// One sentence for the administrator.
    pub message: String,
}

/// Reads a module's table into its config type, which refuses unknown keys (`#[serde(deny_unknown_fields, default)]`).
///
/// # Errors
/// When a key is unknown or a value has the wrong type; the message is serde's and names the key.
pub fn read_config<T: serde::de::DeserializeOwned>(module: &'static str, table: toml::Table) -> Result<T, ConfigError> {
    T::deserialize(table).map_err(|error| ConfigError { module, message: error.to_string().replace('\n', " ") })
}

/// How long to wait for the client's next command before the connection is closed, unless a protocol's config says.
pub const IDLE: Duration = Duration::from_secs(300);
