//! Who goes where: destinations that something is due for get couriers, as many as their windows allow, those that have
//! waited longest first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use storage::Claim;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::Outbound;
use super::courier::{self, BATCH, LEASE, Report};
use super::presence::Moment;
use super::window::Window;

/// How many expired or late recipients are looked at together.
const TOGETHER: u32 = 50;
/// For how many ways claims are made in one transaction.
const WAYS: usize = 16;
/// How often the queue is looked at for what other nodes put in, or what has become due unnoticed.
const LOOK: Duration = Duration::from_secs(5);
/// How often windows are looked at whether they have grown, while something waits for that.
const GROWTH: Duration = Duration::from_millis(200);
/// How long it is between two looks at least: each walks over all destinations.
const BREATH: Duration = Duration::from_millis(20);
/// When senders are told again who could not be told.
const LATER: Duration = Duration::from_secs(300);
/// How long the host of a route rests at most: all mail may wait for it, and for who mends it.
const ROUTE_REST: Duration = Duration::from_secs(60);
/// After this time without the database it is asked again.
const AWAY: Duration = Duration::from_secs(2);
/// When what is due is claimed again after the database was away: later than couriers have asked it again.
const AFTER: Duration = Duration::from_secs(5);

/// Sends couriers.
pub(super) struct Dispatcher {
    outbound: Arc<Outbound>,
    windows: HashMap<String, Window>,
    couriers: JoinSet<Report>,
    /// Where each of them goes.
    errands: HashMap<Id, Errand>,
    /// When senders could not be told last that it takes long.
    unwarned: Option<Instant>,
    /// Whether something is due that its window keeps waiting.
    held_back: bool,
    /// Whether the database did not answer the last time.
    was_away: bool,
}

/// Where a courier goes.
struct Errand {
    /// Whose window it takes a place of.
    way: String,
    /// The destination that DNS knows the hosts of; `None` where the configuration names one for it.
    destination: Option<String>,
    /// Whether anybody has reached it before.
    reached: bool,
    /// How many messages a server has answered since it was looked at.
    answered: Arc<AtomicU32>,
}

/// Where something is due, and how many couriers are to go.
struct Wanted {
    way: String,
    /// Whether the configuration names its host.
    is_routed: bool,
    destinations: Vec<String>,
    couriers: usize,
}

impl Dispatcher {
    pub(super) fn new(outbound: Arc<Outbound>) -> Dispatcher {
        Dispatcher {
            outbound,
            windows: HashMap::new(),
            couriers: JoinSet::new(),
            errands: HashMap::new(),
            unwarned: None,
            held_back: false,
            was_away: false,
        }
    }

    /// Sends without end.
    pub(super) async fn run(&mut self) {
        loop {
            let begun = Instant::now();
            let next = match self.dispatch().await {
                Ok(next) => next.unwrap_or(LOOK).min(if self.held_back { GROWTH } else { LOOK }),
                Err(error) => {
                    tracing::warn!(%error, detail = error.detail(), "the queue cannot be read; it is tried again");
                    self.was_away = true;
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
        self.grow().await?;
        if self.couriers.len() >= most {
            return Ok(None);
        }
        let mut due = self.outbound.queue.due().await?;
        if std::mem::take(&mut self.was_away) {
            // First what was sent is written down, whose claims may have run out meanwhile.
            tokio::time::sleep(AFTER).await;
            due = self.outbound.queue.due().await?;
        }
        let late = due.late && self.unwarned.is_none_or(|since| since.elapsed() > LATER);
        let more = (due.expired && self.give_up().await?) | (late && self.warn().await?);
        let (wanted, full) = self.wanted(due.destinations, most, each);
        let mut short = false;
        for some in wanted.chunks(WAYS) {
            // No more of them than there are rows to claim: something is due for each.
            let group = |wanted: &Wanted| {
                let names = wanted.destinations.iter().take(wanted.couriers * BATCH as usize);
                (names.cloned().collect(), wanted.couriers)
            };
            let (groups, moment): (Vec<_>, _) = (some.iter().map(group).collect(), Moment::now());
            let claimed = self.outbound.queue.claim_each(&groups, BATCH, LEASE).await?;
            for (wanted, parts) in some.iter().zip(claimed) {
                short |= parts.len() < wanted.couriers;
                let destinations: Arc<[String]> = wanted.destinations.clone().into();
                parts.into_iter().for_each(|claims| self.send(wanted, &destinations, (claims, moment)));
            }
        }
        self.windows.retain(|_, window| !window.is_over());
        // Who was kept for what is not there can go elsewhere.
        Ok(if more || (full && short) { Some(Duration::ZERO) } else { due.next })
    }

    /// Lets the windows of those grow who are on their way and whom servers answer.
    async fn grow(&mut self) -> Result<(), storage::Error> {
        let mut awake = Vec::new();
        for errand in self.errands.values_mut() {
            let answered = errand.answered.swap(0, Ordering::Relaxed);
            let Some(window) = self.windows.get_mut(&errand.way).filter(|_| answered > 0) else { continue };
            errand.reached = true;
            if window.grow(answered) {
                awake.extend(errand.destination.clone());
            }
        }
        for destination in awake {
            self.outbound.queue.wake(&destination).await?;
        }
        Ok(())
    }

    /// How many couriers are to go where, and whether there are none left. What goes to one host goes together.
    fn wanted(&mut self, due: Vec<String>, most: usize, each: u32) -> (Vec<Wanted>, bool) {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut places = HashMap::new();
        for destination in due {
            let route = self.outbound.smtp.config.outbound.route(&destination);
            let (is_routed, way) = (route.is_some(), route.map_or(&destination, |route| &route.host).clone());
            let place = *places.entry(way.clone()).or_insert_with(|| {
                wanted.push(Wanted { way, is_routed, destinations: Vec::new(), couriers: 0 });
                wanted.len() - 1
            });
            wanted[place].destinations.push(destination);
        }
        self.held_back = false;
        // Hosts that may be silent do not keep all others waiting.
        let mut untried = self.errands.values().filter(|errand| !errand.reached).count();
        let mut free = most - self.couriers.len();
        for one in &mut wanted {
            let window = self.windows.entry(one.way.clone()).or_insert_with(|| Window::new(each));
            let room = match window.was_reached() {
                true => free,
                false => free.min((most / 2).max(1).saturating_sub(untried)),
            };
            one.couriers = window.room().min(room);
            self.held_back |= one.couriers == 0;
            free -= one.couriers;
            untried += if window.was_reached() { 0 } else { one.couriers };
            if free == 0 {
                break;
            }
        }
        wanted.retain(|one| one.couriers > 0);
        (wanted, free == 0 || untried >= (most / 2).max(1))
    }

    fn send(&mut self, wanted: &Wanted, destinations: &Arc<[String]>, claims: (Vec<Claim>, Moment)) {
        let Some(window) = self.windows.get_mut(&wanted.way) else { return };
        window.begin();
        let (outbound, destinations) = (self.outbound.clone(), destinations.clone());
        let answered = Arc::new(AtomicU32::new(0));
        let counter = answered.clone();
        let deliver = async move { courier::deliver(&outbound, destinations, claims, counter).await };
        let courier = self.couriers.spawn(deliver);
        let destination = wanted.destinations.first().filter(|_| !wanted.is_routed).cloned();
        let (way, reached) = (wanted.way.clone(), window.was_reached());
        self.errands.insert(courier.id(), Errand { way, destination, reached, answered });
    }

    /// Brings some back that was tried for too long and is not tried now; whether there may be more.
    async fn give_up(&mut self) -> Result<bool, storage::Error> {
        let claims = self.outbound.queue.claim_expired(TOGETHER, LEASE).await?;
        let is_full = claims.len() >= TOGETHER as usize;
        Ok(courier::give_up(&self.outbound, claims).await && is_full)
    }

    /// Tells the senders of some that takes long; whether there may be more.
    async fn warn(&mut self) -> Result<bool, storage::Error> {
        let late = self.outbound.queue.late(TOGETHER).await?;
        let is_full = late.len() >= TOGETHER as usize;
        let told = courier::warn(&self.outbound, late).await;
        self.unwarned = (!told).then(Instant::now);
        Ok(told && is_full)
    }

    async fn ended(&mut self, ended: Result<(Id, Report), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(Errand { way, destination, answered, .. }) = self.errands.remove(&id) else { return };
        let Some(window) = self.windows.get_mut(&way) else { return };
        window.end();
        // What a courier that broke down had claimed is tried again when the time of its claims is over.
        let Ok((_, report)) = ended else { return tracing::error!(way, "a courier broke down") };
        let queue = &self.outbound.queue;
        let noted = if report.reached {
            let answered = answered.load(Ordering::Relaxed).max(1);
            window.grow(answered);
            match destination {
                // Perhaps another node, whose way there is broken, has it rest.
                Some(destination) => queue.wake(&destination).await,
                None => Ok(()),
            }
        } else if let Some(said) = report.missed
            && let Some(rest) = window.missed()
        {
            let rest = rest.min(Duration::from_secs(self.outbound.smtp.config.outbound.rest_most));
            match destination {
                Some(destination) => queue.rest(&destination, rest, &said).await,
                // Several destinations would rest and wake with that host.
                None => {
                    window.rest(rest.min(ROUTE_REST));
                    Ok(())
                }
            }
        } else {
            Ok(())
        };
        if let Err(error) = noted {
            tracing::warn!(%error, way, "that a destination rests could not be written down");
        }
    }

    /// Lets those who are on their way end.
    pub(super) async fn drain(&mut self) {
        while self.couriers.join_next().await.is_some() {}
    }
}
