//! Who goes where: destinations that something is due for get couriers, as many as their windows allow, and while there
//! are not enough, each as many as the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use storage::{Claim, Portion};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::Outbound;
use super::courier::{self, LEASE, NAMES, Progress, Report};
use super::presence::Moment;
use super::window::Window;

/// How many expired or late recipients are looked at together.
const TOGETHER: u32 = 50;
/// For how many ways claims are made in one transaction.
const WAYS: usize = 16;
/// How often the queue is looked at for what other nodes put in, or what has become due unnoticed.
const LOOK: Duration = Duration::from_secs(5);
/// How often windows are looked at whether they have grown, while something waits for that or may do so.
const GROWTH: Duration = Duration::from_millis(200);
/// How long it is between two looks at least: each walks over all destinations.
const BREATH: Duration = Duration::from_millis(20);
/// How often it is looked at whether something waits for a connection while all of them are there.
const CROWD: Duration = Duration::from_secs(1);
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
    /// Whether something may be due that its window keeps waiting.
    held_back: bool,
    /// When the queue was looked at last.
    looked: Option<Instant>,
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
    progress: Arc<Progress>,
}

/// Where something is due, and how many couriers are to go.
struct Wanted {
    way: String,
    /// Whether the configuration names its host.
    is_routed: bool,
    destinations: Vec<String>,
    couriers: usize,
    /// How many recipients each of them has first.
    first: u32,
}

impl Wanted {
    fn portion(&self) -> Portion {
        // As many as there are rows to claim, since something is due for each; more for what else their messages have.
        let most = self.couriers.saturating_mul(self.first as usize).max(NAMES);
        let destinations = self.destinations.iter().take(most).cloned().collect();
        Portion { destinations, parts: self.couriers, each: self.first }
    }
}

/// In their turn: whose last one was longest ago comes first, and one that was not reached alternates with another one,
/// so that neither many that are dead nor many that are new keep the others waiting.
fn in_turn(mut wanted: Vec<Wanted>, windows: &HashMap<String, Window>) -> Vec<Wanted> {
    wanted.sort_by_key(|one| windows.get(&one.way).map(Window::turn));
    let has_missed = |one: &Wanted| windows.get(&one.way).is_some_and(Window::has_missed);
    let (missed, others): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(has_missed);
    let (mut missed, mut others) = (missed.into_iter(), others.into_iter());
    let mut turns = Vec::new();
    while missed.len() + others.len() > 0 {
        turns.extend(others.next());
        turns.extend(missed.next());
    }
    turns
}

/// What one way may have, and how many couriers it gets.
struct Share {
    room: usize,
    busy: usize,
    was_reached: bool,
    is_slow: bool,
    couriers: usize,
}

/// How many connections may be made still, and how many of them to hosts that nobody has reached.
struct Free {
    all: usize,
    untried: usize,
}

impl Share {
    fn of(window: &Window) -> Share {
        let (room, busy) = (window.room(), window.busy());
        Share { room, busy, was_reached: window.was_reached(), is_slow: window.is_slow(), couriers: 0 }
    }
}

/// Gives each of them a courier that has none, then a second one, and so on, so that hosts that are slow and get much
/// do not have all; how many ways wait for a connection to be given up.
fn share_out(shares: &mut [Share], free: &mut Free) -> usize {
    for level in 1.. {
        let mut is_open = false;
        for share in &mut *shares {
            if free.all == 0 || share.couriers >= share.room || !share.was_reached && free.untried == 0 {
                continue;
            }
            is_open = true;
            if share.busy + share.couriers < level {
                share.couriers += 1;
                free.all -= 1;
                free.untried -= usize::from(!share.was_reached);
            }
        }
        if !is_open {
            break;
        }
    }
    let waits = |share: &&Share| free.all == 0 && share.room > 0 && share.busy == 0 && share.couriers == 0;
    let (reached, untried): (Vec<&Share>, Vec<&Share>) =
        shares.iter().filter(waits).partition(|share| share.was_reached);
    reached.len() + untried.len().min(free.untried)
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
            looked: None,
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
        let is_full = self.couriers.len() >= most;
        if is_full && self.looked.is_some_and(|looked| looked.elapsed() < CROWD) {
            return Ok(Some(CROWD));
        }
        self.looked = Some(Instant::now());
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
            let (portions, moment) = (some.iter().map(Wanted::portion).collect(), Moment::now());
            let claimed = self.outbound.queue.claim_each(portions, LEASE).await?;
            for (wanted, parts) in some.iter().zip(claimed) {
                short |= parts.len() < wanted.couriers;
                let claimed = parts.iter().map(Vec::len).sum::<usize>();
                self.held_back |= claimed >= wanted.couriers.saturating_mul(wanted.first as usize);
                let destinations: Arc<[String]> = wanted.destinations.clone().into();
                parts.into_iter().for_each(|claims| self.send(wanted, &destinations, (claims, moment)));
            }
        }
        // Who was kept for what is not there can go elsewhere.
        Ok(if more || (full && short) { Some(Duration::ZERO) } else { due.next })
    }

    /// Lets the windows of those grow who are on their way and whom servers answer.
    async fn grow(&mut self) -> Result<(), storage::Error> {
        let mut awake = Vec::new();
        for errand in self.errands.values_mut() {
            let answered = errand.progress.answered.swap(0, Ordering::Relaxed);
            let Some(window) = self.windows.get_mut(&errand.way).filter(|_| answered > 0) else { continue };
            errand.reached = true;
            window.set_slow(errand.progress.slow.load(Ordering::Relaxed));
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
                wanted.push(Wanted { way, is_routed, destinations: Vec::new(), couriers: 0, first: 0 });
                wanted.len() - 1
            });
            wanted[place].destinations.push(destination);
        }
        for one in &wanted {
            self.windows.entry(one.way.clone()).or_insert_with(|| Window::new(each));
        }
        self.windows.retain(|way, window| !window.is_over() || places.contains_key(way));
        let mut wanted = in_turn(wanted, &self.windows);
        let mut shares: Vec<Share> =
            wanted.iter().filter_map(|one| self.windows.get(&one.way)).map(Share::of).collect();
        // Hosts that may be silent do not keep all others waiting.
        let untried = self.errands.values().filter(|errand| !errand.reached).count();
        let mut free =
            Free { all: most.saturating_sub(self.couriers.len()), untried: (most / 2).max(1).saturating_sub(untried) };
        let waiting = share_out(&mut shares, &mut free);
        for (one, share) in wanted.iter_mut().zip(&shares) {
            (one.couriers, one.first) = (share.couriers, courier::first(share.is_slow));
        }
        self.held_back = shares.iter().any(|share| share.couriers == 0);
        let leaving = self.errands.values().filter(|errand| errand.progress.leaves.load(Ordering::Relaxed)).count();
        self.outbound.waiting.store(waiting.saturating_sub(leaving), Ordering::Relaxed);
        wanted.retain(|one| one.couriers > 0);
        (wanted, free.all == 0 || free.untried == 0)
    }

    fn send(&mut self, wanted: &Wanted, destinations: &Arc<[String]>, claims: (Vec<Claim>, Moment)) {
        let Some(window) = self.windows.get_mut(&wanted.way) else { return };
        window.begin();
        let (outbound, destinations) = (self.outbound.clone(), destinations.clone());
        let progress = Arc::new(Progress::default());
        progress.slow.store(window.is_slow(), Ordering::Relaxed);
        let seen = progress.clone();
        let deliver = async move { courier::deliver(&outbound, destinations, claims, seen).await };
        let courier = self.couriers.spawn(deliver);
        let destination = wanted.destinations.first().filter(|_| !wanted.is_routed).cloned();
        let (way, reached) = (wanted.way.clone(), window.was_reached());
        self.errands.insert(courier.id(), Errand { way, destination, reached, progress });
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
        let Some(Errand { way, destination, progress, .. }) = self.errands.remove(&id) else { return };
        let Some(window) = self.windows.get_mut(&way) else { return };
        window.end();
        // What a courier that broke down had claimed is tried again when the time of its claims is over.
        let Ok((_, report)) = ended else { return tracing::error!(way, "a courier broke down") };
        let queue = &self.outbound.queue;
        let noted = if report.reached {
            window.grow(progress.answered.load(Ordering::Relaxed).max(1));
            window.set_slow(progress.slow.load(Ordering::Relaxed));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What each way gets of so many connections, of which so many may go to who was not reached; and how many wait.
    fn shared(ways: &[(usize, usize, bool)], all: usize, untried: usize) -> (Vec<usize>, usize) {
        let share = |&(room, busy, was_reached): &_| Share { room, busy, was_reached, is_slow: false, couriers: 0 };
        let mut shares: Vec<Share> = ways.iter().map(share).collect();
        let waiting = share_out(&mut shares, &mut Free { all, untried });
        (shares.iter().map(|share| share.couriers).collect(), waiting)
    }

    #[test]
    fn whose_last_turn_was_longest_ago_comes_first() {
        let mut windows = HashMap::new();
        let make = |name: &str| {
            std::thread::sleep(Duration::from_millis(2));
            (name.to_owned(), Window::new(5))
        };
        windows.extend(["a", "dead a", "b", "dead b", "dead c", "c"].map(make));
        for name in ["dead a", "dead b", "dead c"] {
            windows.get_mut(name).unwrap().missed();
        }
        let mut order = |used: &[&str]| -> Vec<String> {
            for name in used {
                std::thread::sleep(Duration::from_millis(2));
                windows.get_mut(*name).unwrap().begin();
            }
            let want = |way: &String| Wanted {
                way: way.clone(),
                is_routed: false,
                destinations: vec![way.clone()],
                couriers: 0,
                first: 0,
            };
            in_turn(windows.keys().map(want).collect(), &windows).into_iter().map(|one| one.way).collect()
        };
        assert_eq!(order(&[]), ["a", "dead a", "b", "dead b", "c", "dead c"]);
        assert_eq!(order(&["a", "dead b"]), ["b", "dead a", "c", "dead c", "a", "dead b"]);
    }

    #[test]
    fn each_gets_as_many_as_the_others() {
        assert_eq!(shared(&[(5, 0, true), (20, 0, true), (1, 0, true)], 100, 0), (vec![5, 20, 1], 0), "all they may");
        assert_eq!(shared(&[(5, 0, true), (20, 0, true), (1, 0, true)], 8, 0), (vec![4, 3, 1], 0));
        assert_eq!(
            shared(&[(16, 4, true), (20, 0, true), (20, 1, true)], 5, 0),
            (vec![0, 3, 2], 0),
            "what they have counts"
        );
        assert_eq!(shared(&[(5, 0, true), (5, 0, true), (5, 0, true)], 2, 0), (vec![1, 1, 0], 1), "one waits");
        assert_eq!(
            shared(&[(5, 3, true), (0, 0, true), (5, 0, true)], 0, 0),
            (vec![0, 0, 0], 1),
            "who has none, and may"
        );
    }

    #[test]
    fn those_that_nobody_has_reached_do_not_get_all() {
        assert_eq!(shared(&[(5, 0, false), (5, 0, true), (5, 0, false)], 9, 3), (vec![2, 5, 1], 0));
        assert_eq!(
            shared(&[(5, 0, false), (5, 0, false), (5, 0, true)], 9, 0),
            (vec![0, 0, 5], 0),
            "nor are they waited for"
        );
        assert_eq!(
            shared(&[(5, 0, false), (5, 0, false), (5, 0, true)], 0, 1),
            (vec![0, 0, 0], 2),
            "but as far as they may"
        );
    }
}
