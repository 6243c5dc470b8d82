//! Where PostgreSQL is, and how it is spoken to.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::Error;

/// How to reach PostgreSQL.
#[derive(Clone)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`; several hosts, separated by commas, are tried in turn until one
    /// takes writes.
    pub url: String,
    /// How many connections to hold, beside one that listens.
    pub connections: usize,
    /// Whether the connection is encrypted.
    pub tls: PostgresTls,
    /// PEM file with the authorities that sign the server's certificate; `None` takes the system's.
    pub ca: Option<PathBuf>,
    /// How long one statement may take.
    pub limit: Duration,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL holds a password.
        formatter.debug_struct("Postgres").field("connections", &self.connections).field("tls", &self.tls).finish()
    }
}

/// Whether the connection to PostgreSQL is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostgresTls {
    /// Never.
    Off,
    /// Always, and the certificate must be good for the host's name.
    Verify,
    /// As `Verify`, but for hosts on loopback and Unix sockets as `Off`.
    #[default]
    Auto,
}

/// The options, understood.
pub(super) struct Target {
    /// One for each host, each tried alone: one that hangs must not keep us from the others.
    pub(super) servers: Vec<tokio_postgres::Config>,
    pub(super) tls: MakeRustlsConnect,
    pub(super) limit: Duration,
}

impl Target {
    /// # Errors
    /// [`Error::Invalid`] with a sentence that names the key of the configuration.
    pub(super) fn new(options: &Postgres, node: &str) -> Result<Target, Error> {
        let wrong = |why: String| {
            Error::invalid(format!(
                "[storage] url is not a PostgreSQL URL ({why}); write postgres://user:password@host:5432/database"
            ))
        };
        let config = tokio_postgres::Config::from_str(&options.url).map_err(|error| wrong(error.to_string()))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host".into()));
        }
        if config.get_dbname().is_none() || config.get_user().is_none() {
            return Err(wrong("it names no user or no database".into()));
        }
        let near = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        };
        let encrypt = match options.tls {
            PostgresTls::Off => false,
            PostgresTls::Verify => true,
            PostgresTls::Auto => !config.get_hosts().iter().all(near),
        };
        let ports = config.get_ports().to_vec();
        let servers = config.get_hosts().iter().enumerate().map(|(at, host)| {
            let mut server = tokio_postgres::Config::new();
            server.port(ports.get(at).or(ports.first()).copied().unwrap_or(5432));
            match host {
                Host::Tcp(name) => server.host(name),
                Host::Unix(path) => server.host_path(path),
            };
            server.user(config.get_user().unwrap_or_default()).dbname(config.get_dbname().unwrap_or_default());
            if let Some(password) = config.get_password() {
                server.password(password);
            }
            if let Some(options) = config.get_options() {
                server.options(options);
            }
            server
                .application_name(format!("wharfinger {node}"))
                .ssl_mode(if encrypt { SslMode::Require } else { SslMode::Disable })
                .target_session_attrs(TargetSessionAttrs::ReadWrite)
                .connect_timeout(Duration::from_secs(5))
                .tcp_user_timeout(options.limit)
                .keepalives_idle(Duration::from_secs(30));
            server
        });
        let servers = servers.collect();
        let roots = if encrypt { roots(options)? } else { rustls::RootCertStore::empty() };
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Target { servers, tls: MakeRustlsConnect::new(tls), limit: options.limit })
    }

    /// What every connection is set to.
    pub(super) fn settings(&self) -> String {
        let limit = self.limit.as_millis();
        format!(
            "SET statement_timeout = {limit}; SET lock_timeout = {limit}; \
             SET idle_in_transaction_session_timeout = {}; SET client_min_messages = warning; \
             SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')",
            limit * 3
        )
    }

    /// The servers, as a sentence names them.
    pub(super) fn place(&self) -> String {
        let place = |server: &tokio_postgres::Config| {
            let port = server.get_ports().first().copied().unwrap_or(5432);
            match server.get_hosts().first() {
                Some(Host::Tcp(name)) => format!("{name}:{port}"),
                Some(Host::Unix(path)) => path.display().to_string(),
                None => String::new(),
            }
        };
        self.servers.iter().map(place).collect::<Vec<_>>().join(", ")
    }
}

fn roots(options: &Postgres) -> Result<rustls::RootCertStore, Error> {
    let mut roots = rustls::RootCertStore::empty();
    match &options.ca {
        Some(file) => {
            let wrong = |why: String| Error::invalid(format!("[storage] ca = {}: {why}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))? {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is no certificate in it".into()));
            }
        }
        None => {
            // One unreadable authority of the system must not stop the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}
