//! SMTP: receiving mail from other servers, submission of mail by users, and sending it on (RFC 5321, RFC 6409); LMTP
//! (RFC 2033).
//!
//! [`codec`] and [`scan`] turn octets into commands and content, [`commands`] says what is legal where, the session
//! keeps the state and the one loop, `ops` does the work, [`reply`] knows the codes. A message that has come goes
//! through `pipeline`, which asks [`trust`] whom it is from and [`filters`] what they think of it; [`outbound`] sends
//! what the queue holds.

pub mod codec;
pub mod commands;
pub mod config;
pub mod dns;
pub mod filters;
mod ops;
pub mod outbound;
mod pipeline;
mod received;
pub mod reply;
pub mod scan;
mod session;
mod spool;
pub mod trust;

use std::sync::Arc;
use std::time::Duration;

use protocol::{
    BoxFuture, Closed, ConfigError, Conn, Module, Networks, Port, Protocol, Resumption, Services, Shutdown, TlsMode,
};

use config::Config;
use dns::Dns;
use trust::keys::Keys;

/// The protocol as the daemon knows it.
pub const MODULE: Module = Module {
    name: "smtp",
    ports: &[
        Port { name: "smtp", protocol: "smtp", number: 25, tls: TlsMode::Starttls },
        Port { name: "submission", protocol: SUBMISSION, number: 587, tls: TlsMode::Starttls },
        Port { name: "submissions", protocol: SUBMISSION, number: 465, tls: TlsMode::Implicit },
        Port { name: "lmtp", protocol: LMTP, number: 0, tls: TlsMode::Starttls },
    ],
    alpn: &["smtp"],
    resumption: Resumption::Service,
    build,
    defaults: || toml::Table::try_from(Config::default()).unwrap_or_default(),
};

/// What a listener speaks that takes mail from users alone.
const SUBMISSION: &str = "submission";
/// What a listener speaks that takes mail from a server of this site (RFC 2033).
const LMTP: &str = "lmtp";

/// The protocol, built: what all its sessions share.
struct Smtp {
    config: Config,
    services: Services,
    keys: Keys,
    dns: Dns,
    filters: Filters,
    /// The networks of this site's own machines.
    trusted: Networks,
}

/// The programs that judge messages, where there are any.
struct Filters {
    rspamd: Option<filters::rspamd::Service>,
    clamd: Option<filters::clamd::Address>,
}

impl Smtp {
    fn idle(&self) -> Duration {
        Duration::from_secs(self.config.idle_timeout)
    }
}

fn build(table: toml::Table, services: Services) -> Result<Arc<dyn Protocol>, ConfigError> {
    let config: Config = protocol::read_config(MODULE.name, table)?;
    config.check()?;
    let dns = Dns::new(&config.dns).map_err(|message| ConfigError { module: MODULE.name, message })?;
    let wrong = |message| ConfigError { module: MODULE.name, message };
    outbound::check(&config).map_err(wrong)?;
    let trusted = config.trust.networks().map_err(|message| ConfigError { module: MODULE.name, message })?;
    let (rspamd, clamd) = (&config.rspamd, &config.clamd);
    let filters = Filters {
        rspamd: filters::rspamd::Service::new(rspamd).filter(|_| !rspamd.url.is_empty()),
        clamd: filters::clamd::Address::new(&clamd.address),
    };
    Ok(Arc::new(Smtp { config, services, keys: Keys::default(), dns, filters, trusted }))
}

impl Protocol for Smtp {
    fn serve(self: Arc<Self>, conn: Conn) -> BoxFuture<'static, Closed> {
        Box::pin(session::run(self, conn))
    }

    fn background(self: Arc<Self>, stop: Shutdown) -> Option<BoxFuture<'static, ()>> {
        Some(Box::pin(outbound::run(self, stop)))
    }

    fn busy(&self) -> &'static [u8] {
        b"421 4.3.2 Too many connections; try again later\r\n"
    }
}
