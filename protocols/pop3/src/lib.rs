//! POP3: a user's INBOX taken message by message, and emptied (RFC 1939).
//!
//! [`codec`] turns lines into commands and contents into lines, [`commands`] says what is legal where, the session
//! keeps the state and the one loop, `ops` does the work, [`reply`] knows the response codes.

pub mod codec;
pub mod commands;
pub mod config;
mod ops;
pub mod reply;
mod session;

use std::sync::Arc;
use std::time::Duration;

use protocol::{BoxFuture, Closed, ConfigError, Conn, Module, Port, Protocol, Resumption, Services, TlsMode};

use config::Config;

/// The protocol as the daemon knows it.
pub const MODULE: Module = Module {
    name: "pop3",
    ports: &[
        Port { name: "pop3", protocol: "pop3", number: 110, tls: TlsMode::Starttls },
        Port { name: "pop3s", protocol: "pop3", number: 995, tls: TlsMode::Implicit },
    ],
    alpn: &["pop3"],
    resumption: Resumption::Service,
    build,
    defaults: || toml::Table::try_from(Config::default()).unwrap_or_default(),
};

/// The protocol, built: what all its sessions share.
struct Pop3 {
    config: Config,
    services: Services,
}

impl Pop3 {
    fn idle(&self) -> Duration {
        Duration::from_secs(self.config.idle_timeout)
    }
}

fn build(table: toml::Table, services: Services) -> Result<Arc<dyn Protocol>, ConfigError> {
    let config: Config = protocol::read_config(MODULE.name, table)?;
    config.check()?;
    Ok(Arc::new(Pop3 { config, services }))
}

impl Protocol for Pop3 {
    fn serve(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, Closed> {
        Box::pin(session::run(self, conn))
    }

    fn busy(&self) -> &'static [u8] {
        b"-ERR [SYS/TEMP] Too many connections; try again later\r\n"
    }
}
