//! What stands between us and a service that may be away: growing delays between tries, and a circuit breaker that
//! answers at once instead of letting everybody wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;

/// The first delay between two tries.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(3);
/// For how long everything must have failed before the circuit opens.
const PATIENCE: Duration = Duration::from_secs(1);
/// A failure that is older says nothing about now, when nobody has asked since.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Delays that grow from 50 ms to 3 s, each with chance in it, so that many who wait do not come back at once.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff { next: SHORTEST }
    }

    /// How long to wait now: between half of the delay and all of it.
    pub(crate) fn delay(&mut self) -> Duration {
        let mut chance = [0; 1];
        // Without chance the delays are only less well spread.
        let _ = getrandom::fill(&mut chance);
        let delay = self.next.mul_f64(0.5 + f64::from(chance[0]) / 512.0);
        self.next = (self.next * 2).min(LONGEST);
        delay
    }
}

/// Knows whether a service answers. Closed while it does; open once it has failed for a second without a success
/// between: then [`Circuit::check`] says so at once, but for one caller now and then who may try.
pub(crate) struct Circuit {
    what: &'static str,
    /// Whether there is something to say at the next success.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failing: Option<Failing>,
}

struct Failing {
    since: Instant,
    last: Instant,
    why: String,
    backoff: Backoff,
    /// When the next caller may try.
    retry: Instant,
}

impl Circuit {
    /// A closed circuit to `what`, as the log names it.
    pub(crate) fn new(what: &'static str) -> Self {
        Circuit { what, failing: AtomicBool::new(false), state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a caller may try.
    ///
    /// # Errors
    /// [`Error::Unavailable`] while the circuit is open and it is not time for a try.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut state = self.state();
        let Some(failing) = &mut state.failing else { return Ok(()) };
        let now = Instant::now();
        if !failing.is_long() {
            return Ok(());
        }
        if now >= failing.retry {
            failing.retry = now + failing.backoff.delay();
            return Ok(());
        }
        Err(Error::Unavailable(format!("{} is away: {}", self.what, failing.why)))
    }

    /// Why the circuit is open; `None` while it is closed.
    pub(crate) fn open(&self) -> Option<String> {
        let state = self.state();
        let failing = state.failing.as_ref()?;
        failing.is_long().then(|| failing.why.clone())
    }

    /// The service answered.
    pub(crate) fn succeeded(&self) {
        if !self.failing.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state();
        self.failing.store(false, Ordering::Release);
        if let Some(failing) = state.failing.take() {
            tracing::info!(seconds = failing.since.elapsed().as_secs(), "{} answers again", self.what);
        }
    }

    /// The service did not answer, or not as it should.
    pub(crate) fn failed(&self, why: &str) {
        let (mut state, now) = (self.state(), Instant::now());
        self.failing.store(true, Ordering::Release);
        match &mut state.failing {
            Some(failing) if failing.last.elapsed() < FORGOTTEN => {
                failing.last = now;
                failing.why = why.to_owned();
            }
            other => {
                tracing::warn!(why, "{} does not answer", self.what);
                let backoff = Backoff::new();
                *other = Some(Failing { since: now, last: now, why: why.to_owned(), backoff, retry: now });
            }
        }
    }
}

impl Failing {
    /// Whether it was seen to fail for long enough to give up for the moment.
    fn is_long(&self) -> bool {
        self.last.duration_since(self.since) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_longest() {
        let mut backoff = Backoff::new();
        let delays: Vec<Duration> = (0..10).map(|_| backoff.delay()).collect();
        assert!(delays[0] >= SHORTEST / 2 && delays[0] <= SHORTEST);
        assert!(delays[9] >= LONGEST / 2 && delays[9] <= LONGEST);
    }

    #[test]
    fn a_circuit_opens_when_all_fails_and_closes_on_the_first_success() {
        let circuit = Circuit::new("the test");
        circuit.failed("no route");
        assert_eq!((circuit.check(), circuit.open()), (Ok(()), None), "a short fault opens nothing");
        if let Some(failing) = &mut circuit.state().failing {
            failing.since -= PATIENCE;
        }
        assert_eq!(circuit.check(), Ok(()), "one may try");
        let refused = Error::Unavailable("the test is away: no route".into());
        assert_eq!(circuit.check(), Err(refused), "the next one hears why");
        assert_eq!(circuit.open().as_deref(), Some("no route"));
        circuit.succeeded();
        assert_eq!((circuit.check(), circuit.open()), (Ok(()), None));
    }
}
