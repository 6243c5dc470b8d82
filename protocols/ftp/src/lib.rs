//! FTP with explicit and implicit TLS (RFC 959, RFC 4217).
//!
//! [`codec`] turns lines into commands, [`commands`] says what is legal where, the session keeps the state and the one
//! loop, `ops` does the work, [`reply`] knows the codes. Listening and data connections are `protocols/core`'s.

pub mod codec;
pub mod commands;
pub mod config;
mod ops;
mod pattern;
pub mod reply;
mod session;

use std::sync::Arc;
use std::time::Duration;

use protocol::{BoxFuture, Closed, ConfigError, Conn, Module, Port, Protocol, Resumption, Services, TlsMode};

use config::Config;

/// The protocol as the daemon knows it.
pub const MODULE: Module = Module {
    name: "ftp",
    ports: &[
        Port { name: "ftp", protocol: "ftp", number: 21, tls: TlsMode::Starttls },
        Port { name: "ftps", protocol: "ftp", number: 990, tls: TlsMode::Implicit },
    ],
    alpn: &["ftp"],
    resumption: Resumption::Connection,
    build,
    defaults: || toml::Table::try_from(Config::default()).unwrap_or_default(),
};

/// The protocol, built: what all its sessions share.
struct Ftp {
    config: Config,
    services: Services,
}

impl Ftp {
    fn idle(&self) -> Duration {
        Duration::from_secs(self.config.idle_timeout)
    }
}

fn build(table: toml::Table, services: Services) -> Result<Arc<dyn Protocol>, ConfigError> {
    let config: Config = protocol::read_config(MODULE.name, table)?;
    config.check()?;
    Ok(Arc::new(Ftp { config, services }))
}

impl Protocol for Ftp {
    fn serve(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, Closed> {
        Box::pin(session::run(self, conn))
    }

    fn busy(&self) -> &'static [u8] {
        b"421 Too many connections; try again later.\r\n"
    }
}
