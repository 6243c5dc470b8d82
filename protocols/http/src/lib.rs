//! HTTPS: the account's files under `/dav/`, web sites under `/~NAME/`, what mail clients set themselves up with, and
//! the portal for browsers on all other paths. Plain HTTP only says that the server is well and where HTTPS is, and
//! answers Thunderbird.

mod body;
mod codec;
mod commands;
mod config;
mod linger;
mod ops;
mod reply;
mod session;

use std::sync::Arc;

use protocol::{ConfigError, Module, Port, Protocol, Resumption, Services, TlsMode};

pub use config::Config;

/// What the daemon needs to know of HTTP.
pub const MODULE: Module = Module {
    name: "http",
    ports: &[
        Port { name: "http", protocol: "http", number: 80, tls: TlsMode::None },
        Port { name: "https", protocol: "https", number: 443, tls: TlsMode::Implicit },
    ],
    alpn: &["h2", "http/1.1"],
    resumption: Resumption::Service,
    build,
    defaults: || toml::Table::try_from(Config::default()).unwrap_or_default(),
};

fn build(table: toml::Table, services: Services) -> Result<Arc<dyn Protocol>, ConfigError> {
    let config: Config = protocol::read_config(MODULE.name, table)?;
    config.check()?;
    Ok(Arc::new(session::Server::new(config, services)))
}
