//! Mail access: IMAP4rev2 and IMAP4rev1 with their extensions (RFC 9051, RFC 3501).
//!
//! [`codec`] turns octets into commands, [`commands`] says what is legal where, [`capabilities`] what is offered to
//! whom, the session keeps the state and the one loop, `ops` does the work, [`reply`] knows the responses.

pub mod capabilities;
pub mod codec;
pub mod commands;
pub mod config;
mod ops;
pub mod reply;
mod selected;
mod session;

use std::sync::Arc;
use std::time::Duration;

use protocol::{BoxFuture, Closed, ConfigError, Conn, Module, Port, Protocol, Resumption, Services, TlsMode};

use config::Config;

/// The protocol as the daemon knows it.
pub const MODULE: Module = Module {
    name: "imap",
    ports: &[
        Port { name: "imap", protocol: "imap", number: 143, tls: TlsMode::Starttls },
        Port { name: "imaps", protocol: "imap", number: 993, tls: TlsMode::Implicit },
    ],
    alpn: &["imap"],
    resumption: Resumption::Service,
    build,
    defaults: || toml::Table::try_from(Config::default()).unwrap_or_default(),
};

/// The protocol, built: what all its sessions share.
struct Imap {
    config: Config,
    services: Services,
}

impl Imap {
    fn idle(&self) -> Duration {
        Duration::from_secs(self.config.idle_timeout)
    }
}

fn build(table: toml::Table, services: Services) -> Result<Arc<dyn Protocol>, ConfigError> {
    let config: Config = protocol::read_config(MODULE.name, table)?;
    config.check()?;
    Ok(Arc::new(Imap { config, services }))
}

impl Protocol for Imap {
    fn serve(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, Closed> {
        Box::pin(session::run(self, conn))
    }

    fn busy(&self) -> &'static [u8] {
        b"* BYE [UNAVAILABLE] Too many connections; try again later\r\n"
    }
}
