//! Certificates, and the TLS side of each module: its own ALPN ids and ticket keys.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{Module, Resumption, TlsService};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ProducesTickets;
use sha2::{Digest, Sha256};

use crate::config::{Config, TlsVersion};
use crate::modules::MODULES;

/// How many years the self-signed certificate lasts.
const YEARS: i32 = 10;
/// How many tickets a TLS 1.3 client gets where any later connection may use one, and where data connections do: those
/// of a client that uses each ticket once and only uploads must last for the whole session.
const TICKETS: usize = 2;
const TICKETS_FOR_DATA: usize = 16;

/// The TLS services of all modules.
pub(crate) struct Tls {
    services: HashMap<&'static str, TlsService>,
    tickets: Mutex<Tickets>,
}

impl Tls {
    /// # Errors
    /// A sentence that names the file at fault.
    pub(crate) fn new(config: &Config) -> Result<Tls, String> {
        let identity = Identity::load(config)?;
        let tickets = Tickets::new(identity.certificate())?;
        let mut services = HashMap::new();
        for module in MODULES {
            let server = identity.server(config, module, &tickets)?;
            let service = TlsService::new(server, module.resumption).with_certificate(identity.certificate());
            services.insert(module.name, service);
        }
        Ok(Tls { services, tickets: Mutex::new(tickets) })
    }

    pub(crate) fn service(&self, module: &Module) -> Option<TlsService> {
        self.services.get(module.name).cloned()
    }

    /// Takes the certificate and key anew; on an error everything stays as it was.
    pub(crate) fn reload(&self, config: &Config) -> Result<(), String> {
        let identity = Identity::load(config)?;
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = match tickets.certificate == *identity.certificate() {
            true => None,
            false => Some(Tickets::new(identity.certificate())?),
        };
        let mut fresh = Vec::new();
        for module in MODULES {
            let Some(service) = self.services.get(module.name) else { continue };
            fresh.push((service, identity.server(config, module, renewed.as_ref().unwrap_or(&tickets))?));
        }
        for (service, server) in fresh {
            service.replace(server, identity.certificate());
        }
        if let Some(renewed) = renewed {
            *tickets = renewed;
        }
        Ok(())
    }
}

/// The ticket keys of each module. They outlast a reload, so that clients can go on to resume, and end with the
/// certificate: a client that resumes sees none, and binds its log-in to the one its session began with (RFC 5929 §4).
struct Tickets {
    certificate: CertificateDer<'static>,
    keys: HashMap<&'static str, Arc<dyn ProducesTickets>>,
}

impl Tickets {
    fn new(certificate: &CertificateDer<'static>) -> Result<Tickets, String> {
        let key = || rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| error.to_string());
        let keys = MODULES.iter().map(|module| Ok((module.name, key()?))).collect::<Result<_, String>>()?;
        Ok(Tickets { certificate: certificate.clone(), keys })
    }
}

/// A certificate chain with its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    place: PathBuf,
}

/// The SHA-256 of the key of this server's certificate in hexadecimal, as a TLSA record has it (RFC 6698 §2.1.3).
///
/// # Errors
/// A sentence that names the file at fault.
pub(crate) fn key_digest(config: &Config) -> Result<String, String> {
    let identity = Identity::load(config)?;
    let certificate = webpki::EndEntityCert::try_from(identity.certificate())
        .map_err(|error| format!("{} cannot be read: {error}", identity.place.display()))?;
    let key = certificate.subject_public_key_info();
    Ok(Sha256::digest(&*key).iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Identity {
    fn load(config: &Config) -> Result<Identity, String> {
        let (certificate, key) = if config.tls.certificate.as_os_str().is_empty() {
            self_signed(config)?
        } else {
            (config.tls.certificate.clone(), config.tls.key.clone())
        };
        let wrong = |path: &Path, error: rustls::pki_types::pem::Error| {
            format!("{} cannot be used: {error}; a PEM file is expected", path.display())
        };
        let chain = CertificateDer::pem_file_iter(&certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(&certificate, error))?;
        if chain.is_empty() {
            return Err(format!("{} holds no certificate", certificate.display()));
        }
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| wrong(&key, error))?;
        Ok(Identity { chain, key, place: certificate })
    }

    /// The server's own; a chain that was loaded has it.
    fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    fn server(&self, config: &Config, module: &Module, tickets: &Tickets) -> Result<Arc<ServerConfig>, String> {
        let versions: &[&rustls::SupportedProtocolVersion] = match config.tls.min_version {
            TlsVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V13 => &[&rustls::version::TLS13],
        };
        let mut server = ServerConfig::builder_with_protocol_versions(versions)
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(|error| format!("{} and its key cannot be used: {error}", self.place.display()))?;
        server.alpn_protocols = module.alpn.iter().map(|id| id.as_bytes().to_vec()).collect();
        if let Some(keys) = tickets.keys.get(module.name) {
            server.ticketer = keys.clone();
        }
        server.send_tls13_tickets = match module.resumption {
            Resumption::Service => TICKETS,
            Resumption::Connection => TICKETS_FOR_DATA,
        };
        Ok(Arc::new(server))
    }
}

/// The certificate made at the first start, in the data folder.
fn self_signed(config: &Config) -> Result<(PathBuf, PathBuf), String> {
    let folder = config.data.join("tls");
    let (certificate, key) = (folder.join("self-signed.pem"), folder.join("self-signed.key"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let wrong = |error: &dyn std::fmt::Display| format!("no self-signed certificate can be made: {error}");
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    if !names.contains(&config.hostname) {
        names.push(config.hostname.clone());
    }
    let pair = rcgen::KeyPair::generate().map_err(|error| wrong(&error))?;
    let mut parameters = rcgen::CertificateParams::new(names).map_err(|error| wrong(&error))?;
    parameters.distinguished_name.push(rcgen::DnType::CommonName, config.hostname.as_str());
    let now = time::OffsetDateTime::now_utc();
    parameters.not_before = now - time::Duration::days(1);
    parameters.not_after = now.replace_year(now.year() + YEARS).unwrap_or(now + time::Duration::days(3650));
    let signed = parameters.self_signed(&pair).map_err(|error| wrong(&error))?;
    std::fs::create_dir_all(&folder).map_err(|error| wrong(&error))?;
    write_private(&key, &pair.serialize_pem()).map_err(|error| wrong(&error))?;
    write_private(&certificate, &signed.pem()).map_err(|error| wrong(&error))?;
    Ok((certificate, key))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
