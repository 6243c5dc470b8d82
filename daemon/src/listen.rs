//! Listening: the one place where connections are accepted, counted and handed to their protocol.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use protocol::{Closed, Conn, Listener, Protocol, Shutdown};
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
    address: IpAddr,
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

    /// A place for a connection from `address`, or which limit stands against it.
    fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, &'static str> {
        let address = address.to_canonical();
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        if self.taken() >= limits.connections {
            return Err("connections");
        }
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_insert(0);
        if *count >= limits.per_address {
            return Err("per_address");
        }
        *count += 1;
        self.all.fetch_add(1, Ordering::AcqRel);
        Ok(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.places.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
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
    let protocol = door.protocol.read().unwrap_or_else(PoisonError::into_inner).clone();
    match door.places.take(remote.ip()) {
        Ok(place) => {
            let door = door.clone();
            tokio::spawn(serve(door, protocol, tcp, remote, place));
        }
        Err(limit) => {
            metrics::counter!("wharfinger_connections_refused", "protocol" => door.module, "limit" => limit)
                .increment(1);
            tracing::debug!(%remote, limit, "a connection was refused");
            if door.listener.mode != protocol::TlsMode::Implicit {
                tokio::spawn(turn_away(tcp, protocol));
            }
        }
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

async fn serve(door: Door, protocol: Arc<dyn Protocol>, tcp: TcpStream, remote: SocketAddr, place: Place) {
    let (listener, module) = (door.listener, door.module);
    metrics::counter!("wharfinger_connections", "protocol" => module).increment(1);
    metrics::gauge!("wharfinger_connections_open", "protocol" => module).increment(1.0);
    let closed = match Conn::open(tcp, remote, listener.clone(), door.stop, Box::new(place)).await {
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
    metrics::counter!("wharfinger_connections_closed", "protocol" => module, "why" => closed.as_str()).increment(1);
}
