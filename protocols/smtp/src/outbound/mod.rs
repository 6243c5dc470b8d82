//! Sending: what the queue holds goes to other servers (RFC 5321 §4.5.4). A dispatcher asks the queue which
//! destinations are due and gives each as many couriers as its window allows; couriers claim recipients and take them to the hosts
//! of their destination.

pub mod answer;
mod client;
mod config;
mod courier;
mod dane;
mod der;
mod fetch;
mod hosts;
mod letter;
pub(crate) mod notice;
pub(crate) mod notices;
mod policies;
mod policy;
mod route;
mod schedule;
mod scrub;
mod secure_dns;
pub mod sts;
mod tls;
mod trouble;
mod window;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::Shutdown;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use storage::Queue;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

pub use config::{Config, Dane, Route, RouteTls};

use crate::Smtp;
use client::Patience;
use courier::{LEASE, Report};
use policies::Policies;
use secure_dns::SecureDns;
use tls::Clients;
use window::Window;

/// How many recipients a courier takes along.
const BATCH: u32 = 50;
/// How often the queue is looked at for what other nodes put in, or what has become due unnoticed.
const LOOK: Duration = Duration::from_secs(5);
/// How often the DNS servers are asked anew whether they pass signatures on.
const PROBE: Duration = Duration::from_secs(300);
/// After this time without the database it is asked again.
const AWAY: Duration = Duration::from_secs(2);

/// What all couriers share.
pub(crate) struct Outbound {
    smtp: Arc<Smtp>,
    queue: Queue,
    clients: Clients,
    policies: Policies,
    /// Set when the DNS servers are known to pass signatures on.
    secure: OnceLock<SecureDns>,
    patience: Patience,
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
        Outbound { smtp, queue, clients, policies, secure: OnceLock::new(), patience }
    }

    /// The time until the next try of a message of that age.
    fn delay(&self, age: Duration) -> Duration {
        let config = &self.smtp.config.outbound;
        let bounds = (Duration::from_secs(config.retry_least), Duration::from_secs(config.retry_most));
        schedule::delay(age, bounds, chance() as f64 / u64::MAX as f64)
    }
}

/// The certificates that others are verified by.
fn roots(config: &Config) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    match &config.roots {
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        Some(path) => match CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(certificates) => drop(roots.add_parsable_certificates(certificates)),
            Err(error) => tracing::error!(path = %path.display(), %error, "nobody can be verified by these roots"),
        },
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
    while let Err(error) = queue.recover().await {
        tracing::warn!(%error, detail = error.detail(), "the queue cannot be read; it is tried again");
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(AWAY) => {}
        }
    }
    let outbound = Arc::new(Outbound::new(smtp, queue, stop.clone()));
    let proving = tokio::spawn(prove(outbound.clone(), stop.clone()));
    let mut dispatcher =
        Dispatcher { outbound, windows: HashMap::new(), couriers: JoinSet::new(), destinations: HashMap::new() };
    tokio::select! {
        () = stop.requested() => {}
        () = dispatcher.run() => {}
    }
    proving.abort();
    dispatcher.drain().await;
}

/// Finds out whether the DNS servers pass signatures on, until they do: without them DANE can prove nothing.
async fn prove(outbound: Arc<Outbound>, mut stop: Shutdown) {
    let config = &outbound.smtp.config;
    if config.outbound.dane == Dane::Off {
        return;
    }
    let secure = match SecureDns::new(&config.dns) {
        Ok(secure) => secure,
        Err(why) => return tracing::error!(why, "DANE is not used"),
    };
    let mut told = false;
    loop {
        match secure.probe().await {
            Ok(()) => return drop(outbound.secure.set(secure)),
            Err(why) if !told => tracing::warn!(why, "DANE is not used as long as that is so"),
            Err(_) => {}
        }
        told = true;
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(PROBE) => {}
        }
    }
}

struct Dispatcher {
    outbound: Arc<Outbound>,
    windows: HashMap<String, Window>,
    couriers: JoinSet<Report>,
    /// Where each of them goes.
    destinations: HashMap<Id, String>,
}

impl Dispatcher {
    async fn run(&mut self) {
        loop {
            let next = match self.dispatch().await {
                Ok(next) => next.unwrap_or(LOOK).min(LOOK),
                Err(error) => {
                    tracing::warn!(%error, detail = error.detail(), "the queue cannot be read; it is tried again");
                    AWAY
                }
            };
            let until = Instant::now() + next;
            tokio::select! {
                () = self.outbound.queue.filled() => {}
                () = tokio::time::sleep_until(until) => {}
                Some(ended) = self.couriers.join_next_with_id() => self.ended(ended).await,
            }
        }
    }

    /// Sends couriers where something is due; the time until something else is.
    async fn dispatch(&mut self) -> Result<Option<Duration>, storage::Error> {
        let most = self.outbound.smtp.config.outbound.connections as usize;
        let each = self.outbound.smtp.config.outbound.per_destination;
        let due = self.outbound.queue.due().await?;
        if due.expired {
            self.give_up().await?;
        }
        if due.late {
            self.warn().await?;
        }
        for destination in due.destinations {
            let window = self.windows.entry(destination.clone()).or_insert_with(|| Window::new(each));
            while window.has_room() && self.couriers.len() < most {
                let claims = self.outbound.queue.claim(&destination, BATCH, LEASE).await?;
                if claims.is_empty() {
                    break;
                }
                window.begin();
                let (outbound, to) = (self.outbound.clone(), destination.clone());
                let courier = self.couriers.spawn(async move { courier::deliver(&outbound, &to, claims).await });
                self.destinations.insert(courier.id(), destination.clone());
            }
        }
        self.windows.retain(|_, window| !window.is_idle() || window.failures() > 0);
        Ok(due.next)
    }

    /// Brings back what was tried for too long, also where its destination rests.
    async fn give_up(&mut self) -> Result<(), storage::Error> {
        loop {
            let claims = self.outbound.queue.claim_expired(BATCH, LEASE).await?;
            if claims.is_empty() {
                return Ok(());
            }
            courier::give_up(&self.outbound, claims).await;
        }
    }

    /// Tells the senders of what takes long.
    async fn warn(&mut self) -> Result<(), storage::Error> {
        let late = self.outbound.queue.late(BATCH).await?;
        courier::warn(&self.outbound, late).await;
        Ok(())
    }

    async fn ended(&mut self, ended: Result<(Id, Report), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(destination) = self.destinations.remove(&id) else { return };
        let Some(window) = self.windows.get_mut(&destination) else { return };
        window.end();
        // What a courier that broke down had claimed is tried again when the time of its claims is over.
        let Ok((_, report)) = ended else { return tracing::error!(destination, "a courier broke down") };
        let noted = if report.reached {
            match window.reached() {
                true => self.outbound.queue.wake(&destination).await,
                false => Ok(()),
            }
        } else if let Some(said) = report.missed
            && let Some(rest) = window.missed()
        {
            let rest = rest.min(Duration::from_secs(self.outbound.smtp.config.outbound.rest_most));
            self.outbound.queue.rest(&destination, window.failures(), rest, &said).await
        } else {
            Ok(())
        };
        if let Err(error) = noted {
            tracing::warn!(%error, destination, "that a destination rests could not be written down");
        }
    }

    /// Lets those who are on their way end.
    async fn drain(&mut self) {
        while self.couriers.join_next().await.is_some() {}
    }
}
