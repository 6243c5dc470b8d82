//! Sending: what the queue holds goes to other servers (RFC 5321 §4.5.4). A dispatcher asks the queue which
//! destinations are due and gives each as many couriers as its window allows; couriers claim recipients and take them
//! to the hosts of their destination.

pub mod answer;
mod client;
mod config;
mod courier;
mod dane;
mod der;
mod dispatcher;
mod fetch;
mod hosts;
pub(crate) mod letter;
pub(crate) mod notice;
pub(crate) mod notices;
mod policies;
mod policy;
mod presence;
mod route;
mod schedule;
mod scrub;
mod secure_dns;
pub mod sts;
mod tls;
mod trouble;
mod window;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::Shutdown;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use storage::Queue;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub use config::{Config, Dane, Route, RouteTls};

use crate::Smtp;
use crate::dns::Health;
use client::Patience;
use dispatcher::Dispatcher;
use policies::Policies;
use presence::Presence;
use secure_dns::SecureDns;
use tls::Clients;
use trouble::Trouble;

/// How often DNS servers are asked again that say nothing.
const SILENT: Duration = Duration::from_secs(3);
/// How long a message waits for them before its turn comes again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long DNS servers may have no network of their own after they were started.
const STARTING: Duration = Duration::from_secs(120);
/// How often the DNS servers are asked anew whether they pass signatures on.
const PROBE: Duration = Duration::from_secs(300);

/// Whether the DNS servers pass signatures on.
#[derive(Clone)]
enum Proof {
    /// They have said nothing yet.
    Unknown,
    /// They do not, or nobody wants to know.
    Absent,
    /// They do.
    There(Box<SecureDns>),
}

/// What all couriers share.
pub(crate) struct Outbound {
    smtp: Arc<Smtp>,
    queue: Queue,
    presence: Presence,
    clients: Clients,
    policies: Policies,
    proof: watch::Sender<Proof>,
    patience: Patience,
    /// How many destinations that something is due for wait for a connection, since all that may be are there.
    waiting: AtomicUsize,
}

impl Outbound {
    fn new(smtp: Arc<Smtp>, queue: Queue, stop: Shutdown) -> Outbound {
        let config = &smtp.config.outbound;
        let roots = Arc::new(roots(config));
        let clients = Clients::new(roots);
        let (authority, https) = (smtp.services.auth.clone(), clients.verified());
        let policies = Policies::new(authority, smtp.dns.clone(), https, config.private_policies);
        let patience = Patience {
            connect: Duration::from_secs(config.connect_timeout),
            answer: Duration::from_secs(config.answer_timeout),
            end: Duration::from_secs(config.end_timeout),
            stop,
        };
        Outbound {
            smtp,
            queue,
            presence: Presence::new(),
            clients,
            policies,
            proof: watch::Sender::new(Proof::Unknown),
            patience,
            waiting: AtomicUsize::new(0),
        }
    }

    /// What proves the answers of DNS, where anything does. As long as nobody knows, nothing may be sent: it could go
    /// to whom DANE would have kept it from.
    async fn secure(&self) -> Result<Option<SecureDns>, Trouble> {
        let mut proof = self.proof.subscribe();
        let known = timeout(PATIENCE, proof.wait_for(|proof| !matches!(proof, Proof::Unknown))).await;
        match known.ok().and_then(Result::ok).as_deref() {
            Some(Proof::There(secure)) => Ok(Some((**secure).clone())),
            Some(Proof::Absent) => Ok(None),
            Some(Proof::Unknown) | None => Err(Trouble::passing("4.4.3", "the DNS servers do not answer".to_owned())),
        }
    }

    /// Whether this server is stopping.
    fn is_stopping(&self) -> bool {
        self.patience.stop.is_requested()
    }

    /// Whether a connection is to be given up for another destination.
    fn gives_way(&self) -> bool {
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| waiting.checked_sub(1)).is_ok()
    }

    /// The time until the next try of a message of that age, with so much of chance as a number has.
    fn delay(&self, age: Duration, chance: u64) -> Duration {
        let config = &self.smtp.config.outbound;
        let bounds = (Duration::from_secs(config.retry_least), Duration::from_secs(config.retry_most));
        schedule::delay(age, bounds, chance as f64 / u64::MAX as f64)
    }
}

/// Whether the files that the configuration names can be read.
///
/// # Errors
/// A sentence that names the key.
pub(crate) fn check(config: &crate::config::Config) -> Result<(), String> {
    if let Some(path) = &config.outbound.roots {
        let wrong = |why| format!("outbound.roots: {} cannot be read: {why}", path.display());
        if certificates(path).map_err(wrong)?.is_empty() {
            return Err(format!("outbound.roots: {} holds no certificate", path.display()));
        }
    }
    if config.dns.trust_anchors.is_some() {
        SecureDns::new(&config.dns).map_err(|why| format!("dns.trust_anchors: {why}"))?;
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| error.to_string())
}

/// The certificates that others are verified by.
fn roots(config: &Config) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = match &config.roots {
        None => Ok(rustls_native_certs::load_native_certs().certs),
        Some(path) => certificates(path),
    };
    match found {
        Ok(found) => drop(roots.add_parsable_certificates(found)),
        Err(why) => tracing::error!(why, "the certificates that others are verified by cannot be read"),
    }
    if roots.is_empty() {
        tracing::warn!("no certificates to verify other servers by: what needs that is not sent");
    }
    roots
}

/// Any number; the same ones for all would let many do the same at the same moment.
fn chance() -> u64 {
    let mut octets = [0; 8];
    // Without a random source the order is always the same, and nothing worse.
    let _ = getrandom::fill(&mut octets);
    u64::from_le_bytes(octets)
}

/// Sends until shutdown.
pub(crate) async fn run(smtp: Arc<Smtp>, mut stop: Shutdown) {
    let queue = smtp.services.auth.queue();
    let outbound = Arc::new(Outbound::new(smtp, queue, stop.clone()));
    let proving = tokio::spawn(prove(outbound.clone(), stop.clone()));
    let present = outbound.clone();
    // As long as anybody is on the way, also while this server stops: only the end of `run` ends it.
    let presence = tokio::spawn(async move { present.presence.keep(&present.queue).await });
    let mut dispatcher = Dispatcher::new(outbound);
    tokio::select! {
        () = stop.requested() => {}
        () = dispatcher.run() => {}
    }
    proving.abort();
    dispatcher.drain().await;
    presence.abort();
}

/// Finds out whether the DNS servers pass signatures on, until they do: without them DANE can prove nothing.
async fn prove(outbound: Arc<Outbound>, mut stop: Shutdown) {
    let config = &outbound.smtp.config;
    let absent = || drop(outbound.proof.send_replace(Proof::Absent));
    if config.outbound.dane == Dane::Off {
        return absent();
    }
    let secure = match SecureDns::new(&config.dns) {
        Ok(secure) => secure,
        Err(why) => {
            tracing::error!(why, "DANE is not used");
            return absent();
        }
    };
    let (begun, mut told) = (Instant::now(), false);
    loop {
        let mut wait = SILENT;
        // Before the probe: who begins to answer within it may have missed a part of it.
        let health = outbound.smtp.dns.health(secure.top()).await;
        match secure.probe().await {
            Ok(()) => {
                tracing::info!("DANE is used: the DNS servers pass signatures on");
                return drop(outbound.proof.send_replace(Proof::There(Box::new(secure))));
            }
            // Who says something else says no; who is silent, or fails for a while, may only have to start first.
            Err(why) if health == Health::Good || (health == Health::Failing && begun.elapsed() > STARTING) => {
                if !told {
                    tracing::warn!(why, "DANE is not used as long as that is so");
                }
                (told, wait) = (true, PROBE);
                absent();
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
