//! Data connections beside a control connection (FTP): ports from a pool, peers that must be the control peer, TLS
//! sessions bound to the control session.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::conn::Conn;
use crate::ends::{Ends, Proxies};
use crate::line::ReadError;
use crate::pace::{Paced, Progress};
use crate::tls::{self, Stream};

/// How long the client has to open the data connection, or to accept ours.
const OPEN: Duration = Duration::from_secs(30);
/// How many connections from foreign addresses one passive port turns away before it is closed.
const STRANGERS: u32 = 16;
/// How much is read at once.
const READ: usize = 256 << 10;

/// The ports that passive data connections may use.
pub struct PassivePorts {
    range: RangeInclusive<u16>,
    /// Whose data connections begin with a PROXY header, as their control connections do.
    proxies: Arc<Proxies>,
    state: Mutex<Pool>,
}

#[derive(Default)]
struct Pool {
    next: u16,
    used: std::collections::HashSet<u16>,
}

/// A reserved port; free again when dropped.
struct Reserved {
    ports: Arc<PassivePorts>,
    port: u16,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.ports.pool().used.remove(&self.port);
    }
}

impl PassivePorts {
    /// A pool over `range`, where clients connect themselves.
    pub fn new(range: RangeInclusive<u16>) -> Arc<Self> {
        PassivePorts::behind(range, Arc::default())
    }

    /// A pool over `range`, to which these balancers forward.
    pub fn behind(range: RangeInclusive<u16>, proxies: Arc<Proxies>) -> Arc<Self> {
        let pool = Pool { next: *range.start(), ..Pool::default() };
        Arc::new(PassivePorts { range, proxies, state: Mutex::new(pool) })
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next free port in turn, so that one just closed is not reused at once.
    fn reserve(self: &Arc<Self>) -> Option<Reserved> {
        let mut pool = self.pool();
        for _ in self.range.clone() {
            let port = pool.next;
            pool.next = if port == *self.range.end() { *self.range.start() } else { port + 1 };
            if pool.used.insert(port) {
                return Some(Reserved { ports: self.clone(), port });
            }
        }
        None
    }

    fn listen(self: &Arc<Self>, address: IpAddr) -> io::Result<(TcpListener, Reserved)> {
        for _ in self.range.clone() {
            let Some(reserved) = self.reserve() else { break };
            let target = SocketAddr::new(address, reserved.port);
            let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            match socket.bind(target).and_then(|()| socket.listen(4)) {
                Ok(listener) => return Ok((listener, reserved)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "every passive port is in use"))
    }
}

/// Why there is no data connection.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The client did not open it in time, or did not accept ours.
    #[error("the data connection was not opened in time")]
    Late,
    /// Only foreign addresses connected.
    #[error("the data connection came from an address that is not the control connection's")]
    Foreign,
    /// The TLS session on it is not a resumption of the control session's, so it may be someone else's.
    #[error("the data connection does not resume the TLS session of the control connection")]
    Unbound,
    /// The network or the TLS handshake failed.
    #[error("the data connection failed: {0}")]
    Io(#[from] io::Error),
}

/// A passive port that waits for the client of one control connection.
pub struct Passive {
    listener: TcpListener,
    address: SocketAddr,
    client: IpAddr,
    reserved: Reserved,
}

impl Passive {
    /// Where the client must connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// How a data connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// No TLS.
    Clear,
    /// TLS; the session must resume the control connection's when `bound`.
    Private {
        /// Whether a session that does not resume the control connection's is refused.
        bound: bool,
    },
}

/// An open data connection. It belongs to the control peer: its address was checked, and its TLS session too.
pub struct DataConn {
    stream: Stream,
    input: BytesMut,
    progress: Progress,
    _reserved: Option<Reserved>,
}

/// What of the control connection a data connection needs; cheap to take along into a task.
#[derive(Clone)]
pub struct DataSide {
    tls: Option<Arc<rustls::ServerConfig>>,
    client: IpAddr,
    arrival: IpAddr,
    ports: Arc<PassivePorts>,
}

impl Conn {
    /// The side of this connection that opens data connections.
    pub fn data_side(&self) -> DataSide {
        DataSide {
            tls: self.tls_config(),
            client: self.peer().remote.ip(),
            arrival: self.arrival(),
            ports: self.listener().passive.clone(),
        }
    }
}

impl DataSide {
    /// The same, for data that the client sends. It gets no TLS 1.3 tickets: one that writes alone leaves them unread,
    /// and its system then ends the connection with a reset, in which the last of the data may be lost. curl does so.
    #[must_use]
    pub fn receiving(mut self) -> Self {
        if let Some(config) = &mut self.tls {
            Arc::make_mut(config).send_tls13_tickets = 0;
        }
        self
    }

    /// Opens a passive port on the address that the control connection arrived at; a balancer forwards to it.
    ///
    /// # Errors
    /// When no port of the pool is free.
    pub fn passive(&self) -> io::Result<Passive> {
        let (listener, reserved) = self.ports.listen(self.arrival)?;
        let address = listener.local_addr()?;
        Ok(Passive { listener, address, client: self.client, reserved })
    }

    /// Waits for the client on `passive`; others who connect are turned away.
    ///
    /// # Errors
    /// See [`DataError`].
    pub async fn accept(&self, passive: Passive, protection: Protection) -> Result<DataConn, DataError> {
        let deadline = tokio::time::Instant::now() + OPEN;
        let mut strangers = 0;
        loop {
            let accepted = tokio::time::timeout_at(deadline, passive.listener.accept()).await;
            let Ok(accepted) = accepted else {
                return Err(if strangers > 0 { DataError::Foreign } else { DataError::Late });
            };
            let (mut tcp, remote) = accepted?;
            match self.ports.proxies.ends(&mut tcp).await {
                Ok(Ends { remote, .. }) if remote.ip().to_canonical() == passive.client.to_canonical() => {
                    return self.open(tcp, protection, Some(passive.reserved)).await;
                }
                Ok(Ends { remote, .. }) => {
                    let client = passive.client;
                    tracing::warn!(%remote, %client, "a data connection from a foreign address was refused");
                }
                Err(error) => tracing::warn!(%remote, %error, "a balancer's data connection was refused"),
            }
            strangers += 1;
            if strangers == STRANGERS {
                return Err(DataError::Foreign);
            }
        }
    }

    /// Connects to the client for an active transfer; only its own address is allowed (RFC 2577 §3, the bounce attack).
    ///
    /// # Errors
    /// See [`DataError`].
    pub async fn connect(&self, target: SocketAddr, protection: Protection) -> Result<DataConn, DataError> {
        if target.ip() != self.client || target.port() < 1024 {
            return Err(DataError::Foreign);
        }
        let tcp = tokio::time::timeout(OPEN, TcpStream::connect(target)).await.map_err(|_| DataError::Late)??;
        self.open(tcp, protection, None).await
    }

    async fn open(
        &self,
        tcp: TcpStream,
        protection: Protection,
        reserved: Option<Reserved>,
    ) -> Result<DataConn, DataError> {
        tcp.set_nodelay(true)?;
        let tcp = Paced::new(tcp);
        let stream = match (protection, &self.tls) {
            (Protection::Clear, _) => Stream::Plain(tcp),
            (Protection::Private { .. }, None) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "the control connection has no TLS").into());
            }
            (Protection::Private { bound }, Some(config)) => {
                let stream = tls::accept(config.clone(), tcp).await?;
                if bound && !stream.resumed() {
                    return Err(DataError::Unbound);
                }
                stream
            }
        };
        Ok(DataConn { stream, input: BytesMut::new(), progress: Progress::default(), _reserved: reserved })
    }
}

impl DataConn {
    /// The next bytes that came; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the connection breaks (under TLS also when it ends without close_notify, since what came may be cut short),
    /// or when data comes more slowly than 128 bytes a second.
    pub async fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        // One large buffer is filled again and again; a chunk that was consumed gives its memory back to it.
        if self.input.capacity() < READ / 4 {
            self.input.reserve(READ);
        }
        let deadline = self.progress.deadline();
        let read = tokio::time::timeout_at(deadline, self.stream.read_buf(&mut self.input)).await;
        let count = read.map_err(|_| ReadError::Idle)??;
        if count == 0 {
            return Ok(None);
        }
        if !self.progress.moved(count) {
            return Err(ReadError::Idle);
        }
        Ok(Some(self.input.split().freeze()))
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// When the connection fails or the peer takes nothing for two minutes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends what is left and ends the connection in order.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn finish(mut self) -> io::Result<()> {
        self.stream.flush().await?;
        match self.stream.shutdown().await {
            // The client may have closed first: all of the data was flushed.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }
}
