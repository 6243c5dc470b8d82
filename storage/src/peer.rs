//! Who acts, from where, and under which trace id.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::sync::watch;

use crate::{Error, Timestamp};

/// The digits of a trace id, in the order of their values, so that ids sort by time (Crockford's base 32, lower case).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The name of one piece of work (a connection, a mail transaction) in replies, logs and the audit log: sixteen
/// characters, 48 bits of time and 32 of chance, so that ids are unique and sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; TraceId::LEN]);

impl TraceId {
    /// Its length in characters.
    pub const LEN: usize = 16;

    /// A new one.
    pub fn new() -> Self {
        let mut chance = [0; 4];
        // Uniqueness within a millisecond is all that is lost without a random source.
        let _ = getrandom::fill(&mut chance);
        let time = u128::try_from(Timestamp::now().0).unwrap_or(0);
        let value = ((time << 32) | u128::from(u32::from_be_bytes(chance))) & ((1 << 80) - 1);
        let mut text = [0; TraceId::LEN];
        for (at, digit) in text.iter_mut().enumerate() {
            *digit = DIGITS[(value >> (5 * (TraceId::LEN - 1 - at)) & 31) as usize];
        }
        TraceId(text)
    }

    /// Reads one that a user typed, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        let text: [u8; TraceId::LEN] = text.trim().to_ascii_lowercase().as_bytes().try_into().ok()?;
        text.iter().all(|digit| DIGITS.contains(digit)).then_some(TraceId(text))
    }

    /// Its sixteen characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Default for TraceId {
    fn default() -> Self {
        TraceId::new()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: &'static str,
}

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What is spoken: `smtp`, `submission`, `ftp`, `https`, `cli`.
    pub protocol: &'static str,
    /// The client's address.
    pub remote: SocketAddr,
    /// Our address that the client reached.
    pub local: SocketAddr,
    /// TLS, when it runs.
    pub tls: Option<Tls>,
    /// The id of the connection.
    pub trace: TraceId,
}

impl Peer {
    /// The administrator at this machine's command line.
    pub fn command_line() -> Self {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Peer { protocol: "cli", remote: nowhere, local: nowhere, tls: None, trace: TraceId::new() }
    }

    /// The daemon itself, which sends mail on and tells of it.
    pub fn daemon() -> Self {
        Peer { protocol: "daemon", ..Peer::command_line() }
    }

    /// The address as the audit log writes it; `local` for the command line and the daemon.
    pub fn address(&self) -> String {
        if matches!(self.protocol, "cli" | "daemon") {
            "local".to_owned()
        } else {
            self.remote.ip().to_canonical().to_string()
        }
    }
}

/// Whether what a session was opened by still opens the door: it may be withdrawn while the session goes on.
#[derive(Debug, Clone, Default)]
pub struct Pass(Option<watch::Receiver<bool>>);

impl Pass {
    /// A pass, and what withdraws it by saying `true`.
    pub fn issue() -> (watch::Sender<bool>, Pass) {
        let (sender, receiver) = watch::channel(false);
        (sender, Pass(Some(receiver)))
    }

    /// Whether it is withdrawn.
    pub fn is_withdrawn(&self) -> bool {
        self.0.as_ref().is_some_and(|withdrawn| *withdrawn.borrow())
    }

    /// Waits until it is withdrawn.
    pub async fn withdrawn(&mut self) {
        if let Some(withdrawn) = &mut self.0
            && withdrawn.wait_for(|withdrawn| *withdrawn).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Who makes a change, for its audit record.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account; `None` for a stranger (a mail client that did not log in) and for the command line.
    pub account: Option<i64>,
    /// Its name as it was then; empty for a stranger.
    pub name: String,
    /// Where from.
    pub peer: Peer,
    /// Whether the credential it came with may only read.
    pub read_only: bool,
    /// What it came in by.
    pub pass: Pass,
}

impl Actor {
    /// The administrator at this machine's command line.
    pub fn command_line() -> Self {
        Actor::nobody(Peer::command_line())
    }

    /// The daemon itself, which sends mail on and tells of it.
    pub fn daemon() -> Self {
        Actor::nobody(Peer::daemon())
    }

    fn nobody(peer: Peer) -> Self {
        Actor { account: None, name: String::new(), peer, read_only: false, pass: Pass::default() }
    }

    /// Whether it may change anything.
    ///
    /// # Errors
    /// [`Error::Denied`] when it may only read, or may not be here any more.
    pub(crate) fn may_change(&self) -> Result<(), Error> {
        if self.pass.is_withdrawn() {
            return Err(Error::Denied("the password of this session is not valid any more; log in anew".into()));
        }
        if self.read_only {
            return Err(Error::Denied("this app password is read-only".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_unique_sort_by_time_and_read_back() {
        let first = TraceId::new();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| TraceId::new()).collect();
        // Of a thousand within a millisecond two are the same once in 8,600 runs; twice that never happens.
        assert!(ids.len() >= 999);
        assert!(ids.iter().all(|id| *id > first));
        assert_eq!(TraceId::parse(&first.as_str().to_uppercase()), Some(first));
        assert!(TraceId::parse("short").is_none() && TraceId::parse("uuuuuuuuuuuuuuuu").is_none());
    }
}
