//! Who goes where: destinations that something is due for get couriers, as many as their windows allow, those that have
//! waited longest first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::Outbound;
use super::courier::{self, BATCH, LEASE, Report};
use super::window::Window;

/// How many expired or late recipients are looked at together.
const TOGETHER: u32 = 50;
/// How many claims are made in one transaction.
const CLAIMS: usize = 64;
/// How often the queue is looked at for what other nodes put in, or what has become due unnoticed.
const LOOK: Duration = Duration::from_secs(5);
/// How long it is between two looks at least: each walks over all destinations.
const BREATH: Duration = Duration::from_millis(20);
/// After this time without the database it is asked again.
const AWAY: Duration = Duration::from_secs(2);

/// Sends couriers.
pub(super) struct Dispatcher {
    outbound: Arc<Outbound>,
    windows: HashMap<String, Window>,
    couriers: JoinSet<Report>,
    /// Where each of them goes, and whether anybody has reached that before.
    destinations: HashMap<Id, (String, bool)>,
}

/// Whose window a destination has: its own, or that of the host which the configuration names for it.
fn shared<'a>(outbound: &'a Outbound, destination: &'a str) -> &'a str {
    outbound.smtp.config.outbound.route(destination).map_or(destination, |route| &route.host)
}

impl Dispatcher {
    pub(super) fn new(outbound: Arc<Outbound>) -> Dispatcher {
        Dispatcher { outbound, windows: HashMap::new(), couriers: JoinSet::new(), destinations: HashMap::new() }
    }

    /// Sends without end.
    pub(super) async fn run(&mut self) {
        loop {
            let begun = Instant::now();
            let next = match self.dispatch().await {
                Ok(next) => next.unwrap_or(LOOK).min(LOOK),
                Err(error) => {
                    tracing::warn!(%error, detail = error.detail(), "the queue cannot be read; it is tried again");
                    AWAY
                }
            };
            // What takes long is done less often.
            let breath = BREATH.max(begun.elapsed() * 4);
            let (until, soonest) = (Instant::now() + next, Instant::now() + breath);
            tokio::select! {
                () = self.outbound.queue.filled() => {}
                () = tokio::time::sleep_until(until) => {}
                Some(ended) = self.couriers.join_next_with_id() => self.ended(ended).await,
            }
            tokio::time::sleep_until(soonest).await;
            while let Some(ended) = self.couriers.try_join_next_with_id() {
                self.ended(ended).await;
            }
        }
    }

    /// Sends couriers where something is due; the time until something else is.
    async fn dispatch(&mut self) -> Result<Option<Duration>, storage::Error> {
        let config = &self.outbound.smtp.config.outbound;
        let (most, each) = (config.connections as usize, config.per_destination);
        if self.couriers.len() >= most {
            return Ok(None);
        }
        let due = self.outbound.queue.due().await?;
        if due.expired {
            self.give_up().await?;
        }
        if due.late {
            self.warn().await?;
        }
        // Hosts that may be silent do not keep all others waiting.
        let mut untried = self.destinations.values().filter(|(_, reached)| !reached).count();
        let mut free = most - self.couriers.len();
        let mut wanted = Vec::new();
        for destination in due.destinations {
            let name = shared(&self.outbound, &destination).to_owned();
            let window = self.windows.entry(name).or_insert_with(|| Window::new(each));
            let room = match window.was_reached() {
                true => free,
                false => free.min((most / 2).max(1).saturating_sub(untried)),
            };
            let count = window.room().min(room);
            free -= count;
            untried += if window.was_reached() { 0 } else { count };
            wanted.extend(std::iter::repeat_n(destination, count));
            if free == 0 {
                break;
            }
        }
        for some in wanted.chunks(CLAIMS) {
            for (destination, claims) in self.outbound.queue.claim_each(some, BATCH, LEASE).await? {
                self.send(destination, claims);
            }
        }
        self.windows.retain(|_, window| !window.is_over());
        Ok(due.next)
    }

    fn send(&mut self, destination: String, claims: Vec<storage::Claim>) {
        let Some(window) = self.windows.get_mut(shared(&self.outbound, &destination)) else { return };
        window.begin();
        let (outbound, to) = (self.outbound.clone(), destination.clone());
        let courier = self.couriers.spawn(async move { courier::deliver(&outbound, &to, claims).await });
        self.destinations.insert(courier.id(), (destination, window.was_reached()));
    }

    /// Brings back what was tried for too long, also where its destination rests.
    async fn give_up(&mut self) -> Result<(), storage::Error> {
        loop {
            let claims = self.outbound.queue.claim_expired(TOGETHER, LEASE).await?;
            if claims.is_empty() {
                return Ok(());
            }
            courier::give_up(&self.outbound, claims).await;
        }
    }

    /// Tells the senders of what takes long.
    async fn warn(&mut self) -> Result<(), storage::Error> {
        let late = self.outbound.queue.late(TOGETHER).await?;
        courier::warn(&self.outbound, late).await;
        Ok(())
    }

    async fn ended(&mut self, ended: Result<(Id, Report), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((destination, _)) = self.destinations.remove(&id) else { return };
        let Some(window) = self.windows.get_mut(shared(&self.outbound, &destination)) else { return };
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
    pub(super) async fn drain(&mut self) {
        while self.couriers.join_next().await.is_some() {}
    }
}
