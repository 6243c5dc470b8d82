//! Listening: the one place where connections are accepted, counted and handed to their protocol.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use protocol::{Closed, Conn, Ends, Listener, Protocol, Proxies, Shutdown, Unintroduced};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::config::Limits;

/// How many connections wait in the kernel to be accepted.
const BACKLOG: u32 = 4096;

/// Who is connected, and how many may be.
pub(crate) struct Places {
    limits: RwLock<Limits>,
    all: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection's place; given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    /// The client it is counted for, once that is known.
    address: Option<IpAddr>,
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Arc<Places> {
        Arc::new(Places { limits: RwLock::new(limits), all: AtomicUsize::new(0), addresses: Mutex::default() })
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn taken(&self) -> usize {
        self.all.load(Ordering::Acquire)
    }

    /// A place for a connection from who knows whom, or which limit stands against it.
    fn enter(self: &Arc<Self>) -> Result<Place, &'static str> {
        let most = self.limits.read().unwrap_or_else(PoisonError::into_inner).connections;
        // Given back by the drop when there were too many already.
        let place = Place { places: self.clone(), address: None };
        if self.all.fetch_add(1, Ordering::AcqRel) < most { Ok(place) } else { Err("connections") }
    }
}

impl Place {
    /// Counts the connection for its client, or tells which limit stands against it.
    fn belongs_to(&mut self, address: IpAddr) -> Result<(), &'static str> {
        let address = address.to_canonical();
        let most = self.places.limits.read().unwrap_or_else(PoisonError::into_inner).per_address;
        let mut addresses = self.places.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.get(&address).copied().unwrap_or(0);
        if count >= most {
            return Err("per_address");
        }
        addresses.insert(address, count + 1);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(address) = self.address {
            let mut addresses = self.places.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = addresses.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    addresses.remove(&address);
                }
            }
        }
        self.places.all.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A protocol that a reload may replace for the connections to come.
pub(crate) type Current = Arc<RwLock<Arc<dyn Protocol>>>;

/// What an accept loop works with.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) listener: Arc<Listener>,
    pub(crate) module: &'static str,
    pub(crate) protocol: Current,
    pub(crate) places: Arc<Places>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) stop: Shutdown,
}

/// Binds an address.
///
/// # Errors
/// One sentence that names the address.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart must not wait for the connections of the process before.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
            _ => "check the address in [listen]",
        };
        format!("{address} cannot be listened on: {error}; {hint}")
    })
}

/// Accepts connections until the task is aborted or the daemon drains.
pub(crate) fn accept(socket: Arc<TcpListener>, door: Door) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut stop = door.stop.clone();
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stop.requested() => return,
            };
            match accepted {
                Ok((tcp, remote)) => admit(&door, tcp, remote),
                Err(error) => {
                    // Out of file descriptors: those who are connected must leave first.
                    tracing::warn!(%error, listener = door.listener.name, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    })
}

fn admit(door: &Door, tcp: TcpStream, remote: SocketAddr) {
    let place = match door.places.enter() {
        Ok(place) => place,
        Err(limit) => return refuse(door, tcp, remote, limit),
    };
    if door.proxies.trusts(remote.ip()) {
        // Until it has said whom it speaks for it counts against the limit of all connections alone.
        tokio::spawn(introduce(door.clone(), tcp, remote, place));
    } else if let Ok(ends) = Ends::of(&tcp) {
        seat(door, tcp, ends, place);
    }
}

/// Waits until a balancer has said whom it speaks for.
async fn introduce(door: Door, mut tcp: TcpStream, remote: SocketAddr, place: Place) {
    let mut stop = door.stop.clone();
    let ends = tokio::select! {
        ends = door.proxies.ends(&mut tcp) => ends,
        () = stop.requested() => return,
    };
    let error = match ends {
        Ok(ends) => return seat(&door, tcp, ends, place),
        Err(error) => error,
    };
    let listener = &door.listener.name;
    match error {
        Unintroduced::Silent => tracing::debug!(%remote, listener, %error, "a balancer looked whether we listen"),
        _ => tracing::warn!(%remote, listener, %error, "a connection of an address in `proxies` was refused"),
    }
    metrics::counter!("wharfinger_connections", "protocol" => door.module).increment(1);
    count_closed(door.module, Closed::Proxy);
}

/// Serves a connection whose client is known, unless that has too many.
fn seat(door: &Door, tcp: TcpStream, ends: Ends, mut place: Place) {
    match place.belongs_to(ends.remote.ip()) {
        Ok(()) => {
            let protocol = door.protocol.read().unwrap_or_else(PoisonError::into_inner).clone();
            tokio::spawn(serve(door.clone(), protocol, tcp, ends, place));
        }
        Err(limit) => refuse(door, tcp, ends.remote, limit),
    }
}

fn refuse(door: &Door, tcp: TcpStream, remote: SocketAddr, limit: &'static str) {
    metrics::counter!("wharfinger_connections_refused", "protocol" => door.module, "limit" => limit).increment(1);
    tracing::debug!(%remote, limit, "a connection was refused");
    if door.listener.mode != protocol::TlsMode::Implicit {
        let protocol = door.protocol.read().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::spawn(turn_away(tcp, protocol));
    }
}

/// Tells a client that is too many why, for as long as it takes to say it.
async fn turn_away(mut tcp: TcpStream, protocol: Arc<dyn Protocol>) {
    let say = async {
        let _ = tcp.write_all(protocol.busy()).await;
        let _ = tcp.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), say).await;
}

async fn serve(door: Door, protocol: Arc<dyn Protocol>, tcp: TcpStream, ends: Ends, place: Place) {
    let (listener, module, remote) = (door.listener, door.module, ends.remote);
    metrics::counter!("wharfinger_connections", "protocol" => module).increment(1);
    metrics::gauge!("wharfinger_connections_open", "protocol" => module).increment(1.0);
    let closed = match Conn::open(tcp, ends, listener.clone(), door.stop, Box::new(place)).await {
        Ok(conn) => {
            let trace = conn.peer().trace;
            tracing::debug!(%remote, listener = listener.name, %trace, "connected");
            let closed = protocol.serve(conn).await;
            tracing::debug!(%remote, %trace, closed = closed.as_str(), "disconnected");
            closed
        }
        Err(error) => {
            tracing::debug!(%remote, listener = listener.name, %error, "no TLS handshake");
            Closed::Tls
        }
    };
    metrics::gauge!("wharfinger_connections_open", "protocol" => module).decrement(1.0);
    count_closed(module, closed);
}

fn count_closed(module: &'static str, why: Closed) {
    metrics::counter!("wharfinger_connections_closed", "protocol" => module, "why" => why.as_str()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_for_each_client() {
        let places = Places::new(Limits { connections: 3, per_address: 2, drain: 0 });
        let from = |address: &str| {
            let mut place = places.enter()?;
            place.belongs_to(address.parse().expect("an address")).map(|()| place)
        };
        let one = from("192.0.2.1");
        let two = from("::ffff:192.0.2.1");
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(from("192.0.2.1").err(), Some("per_address"), "both spellings are one address");
        assert_eq!(places.taken(), 2, "a refused one gives its place back");
        let unknown = places.enter();
        assert_eq!(from("192.0.2.2").err(), Some("connections"), "one that was not introduced yet counts in all");
        drop(unknown);
        drop(one);
        let three = from("192.0.2.1");
        assert!(three.is_ok());
        drop((two, three));
        assert_eq!(places.taken(), 0);
        assert!(places.addresses.lock().expect("unpoisoned").is_empty(), "nothing is kept of those who left");
    }
}
