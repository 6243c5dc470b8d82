//! How many connections a destination is given at once. It grows while they go well and shrinks while they fail, each
//! time by a part of what it is, so that a server that is slow or away is not stormed (as Postfix does it,
//! SCHEDULER_README: "1/concurrency" feedback).

use std::time::Duration;

use tokio::time::Instant;

/// Where it begins.
const FIRST: f64 = 5.0;
/// How long a destination rests first, and at most.
const REST: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(3600));

/// The window of one destination on this node.
#[derive(Debug, Clone)]
pub(super) struct Window {
    size: f64,
    limit: f64,
    /// Connections that are there or on their way.
    busy: u32,
    /// Groups of failures in a row, each as large as the window.
    failures: u32,
    failed: f64,
    missed: Option<Instant>,
    rests: Option<Instant>,
    was_reached: bool,
    is_slow: bool,
    turn: Instant,
}

impl Window {
    /// One that grows up to `limit`.
    pub(super) fn new(limit: u32) -> Window {
        let limit = f64::from(limit.max(1));
        let size = FIRST.min(limit);
        Window {
            size,
            limit,
            busy: 0,
            failures: 0,
            failed: 0.0,
            missed: None,
            rests: None,
            was_reached: false,
            is_slow: false,
            turn: Instant::now(),
        }
    }

    /// How many more connections may be made.
    pub(super) fn room(&self) -> usize {
        match self.rests {
            Some(until) if until > Instant::now() => 0,
            _ => (self.size.floor().max(1.0) as usize).saturating_sub(self.busy as usize),
        }
    }

    /// How many connections are there or on their way.
    pub(super) fn busy(&self) -> usize {
        self.busy as usize
    }

    /// When a connection began or ended last, or the first one was wanted.
    pub(super) fn turn(&self) -> Instant {
        self.turn
    }

    /// Whether it was not reached, and not since.
    pub(super) fn has_missed(&self) -> bool {
        self.missed.is_some()
    }

    /// Whether the destination was reached the last time.
    pub(super) fn was_reached(&self) -> bool {
        self.was_reached
    }

    /// Whether it took long for a message the last time.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Whether it has taken long for a message.
    pub(super) fn set_slow(&mut self, slow: bool) {
        self.is_slow = slow;
    }

    /// Whether it need not be kept: nobody is on the way, and no failure is young enough to count.
    pub(super) fn is_over(&self) -> bool {
        self.busy == 0 && self.missed.is_none_or(|missed| missed.elapsed() > REST.1 * 2)
    }

    /// A connection is made.
    pub(super) fn begin(&mut self) {
        self.busy += 1;
        self.turn = Instant::now();
    }

    /// A connection has ended.
    pub(super) fn end(&mut self) {
        self.busy = self.busy.saturating_sub(1);
        self.turn = Instant::now();
    }

    /// The destination has answered so many messages, whatever it said of them; whether it had rested.
    pub(super) fn grow(&mut self, answered: u32) -> bool {
        let rested = self.failures > 0;
        (self.failures, self.failed, self.missed, self.rests) = (0, 0.0, None, None);
        self.was_reached = true;
        for _ in 0..answered.min(1000) {
            self.size = (self.size + 1.0 / self.size).min(self.limit);
        }
        rested
    }

    /// The destination was not reached; how long it must rest, where it must.
    pub(super) fn missed(&mut self) -> Option<Duration> {
        self.missed = Some(Instant::now());
        self.was_reached = false;
        self.failed += 1.0 / self.size;
        self.size = (self.size - 1.0 / self.size).max(1.0);
        if self.failed < 1.0 {
            return None;
        }
        self.failed = 0.0;
        self.failures = self.failures.saturating_add(1);
        // The next one finds out alone.
        self.size = 1.0;
        Some((REST.0 * 2_u32.saturating_pow(self.failures.min(10) - 1)).min(REST.1))
    }

    /// No connection is made for so long.
    pub(super) fn rest(&mut self, time: Duration) {
        self.rests = Some(Instant::now() + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_for_each_round_that_goes_well() {
        let mut window = Window::new(20);
        for _ in 0..5 {
            assert!(window.room() > 0);
            window.begin();
        }
        assert!(window.room() == 0);
        window.grow(6);
        assert!(window.room() > 0, "a sixth");
        window.grow(1000);
        (0..15).for_each(|_| window.begin());
        assert!(window.room() == 0, "twenty are the limit");
        (0..20).for_each(|_| window.end());
        assert!(window.is_over());
    }

    #[test]
    fn it_rests_longer_each_time() {
        let mut window = Window::new(20);
        let mut rests = vec![];
        for _ in 0..60 {
            rests.extend(window.missed());
        }
        assert_eq!(rests[..3], [REST.0, REST.0 * 2, REST.0 * 4]);
        assert_eq!(rests.last(), Some(&REST.1));
        assert!(!window.is_over(), "what failed is remembered");
        assert!(window.grow(1) && !window.grow(1));
        assert!(window.is_over());
        window.rest(REST.0);
        assert_eq!(window.room(), 0);
        window.grow(1);
        assert!(window.room() > 0, "who was reached rests no more");
    }
}
