//! How far a transfer has come: a bar on a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const EVERY: Duration = Duration::from_secs(5);

/// Counts towards a total.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    told: Option<Instant>,
    done: u64,
    total: u64,
    what: String,
}

impl Progress {
    /// Nothing is told unless `shown`.
    pub(super) fn new(shown: bool) -> Progress {
        let bar = (shown && std::io::stderr().is_terminal()).then(|| ProgressBar::new(0));
        if let (Some(bar), Ok(style)) = (&bar, ProgressStyle::with_template("{wide_bar} {percent:>3} %  {eta}  {msg}"))
        {
            bar.set_style(style);
        }
        let told = (shown && bar.is_none()).then(Instant::now);
        Progress { bar, told, done: 0, total: 0, what: String::new() }
    }

    /// There is more to do than was known.
    pub(super) fn expect(&mut self, more: u64) {
        self.total += more;
        if let Some(bar) = &self.bar {
            bar.set_length(self.total);
        }
    }

    /// What is being done now.
    pub(super) fn at(&mut self, what: &str) {
        crate::commands::printable(what).clone_into(&mut self.what);
        if let Some(bar) = &self.bar {
            bar.set_message(self.what.clone());
        }
    }

    /// So much more is done.
    pub(super) fn add(&mut self, more: u64) {
        self.done += more;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
        if let Some(told) = &mut self.told
            && told.elapsed() >= EVERY
        {
            *told = Instant::now();
            let percent = (self.done * 100).checked_div(self.total).unwrap_or(0).min(100);
            let _ = writeln!(std::io::stderr(), "{percent} %  {}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
