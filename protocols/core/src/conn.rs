//! One accepted connection: bounded lines in, bytes out, TLS when the protocol asks for it.

use std::any::Any;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use auth::{ChannelBinding, Pass, Peer, TraceId};

use crate::TlsMode;
use crate::data::PassivePorts;
use crate::deflate::Deflate;
use crate::ends::Ends;
use crate::line::{Framer, Line, ReadError};
use crate::pace::Paced;
use crate::tls::{self, Stream, TlsService};

/// How much is read at once while commands are awaited; small, since ten thousand connections may wait.
const COMMAND_READ: usize = 4 << 10;
/// How much is read first.
const FIRST_READ: usize = 512;
/// How much is read at once while bulk data streams.
const BULK_READ: usize = 64 << 10;

/// What the daemon knows of the listener a connection came by.
pub struct Listener {
    /// The name of its table in the configuration.
    pub name: String,
    /// What is spoken there: one of the protocols of the module.
    pub protocol: &'static str,
    /// When TLS begins.
    pub mode: TlsMode,
    /// The module's TLS side; `None` where TLS never begins.
    pub tls: Option<TlsService>,
    /// The pool that data connections take their ports from.
    pub passive: Arc<PassivePorts>,
}

/// Tells that the daemon drains: sessions end when they are next between commands.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// The daemon's end of [`Shutdown`].
pub struct ShutdownTrigger(watch::Sender<bool>);

impl Shutdown {
    /// A pair of the daemon's end and the sessions' end.
    pub fn channel() -> (ShutdownTrigger, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Shutdown(receiver))
    }

    /// Returns when the daemon begins to drain.
    pub async fn requested(&mut self) {
        // An error means that the daemon's end is gone, which is a shutdown too.
        let _ = self.0.wait_for(|&stop| stop).await;
    }

    /// Whether the daemon drains.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

impl ShutdownTrigger {
    /// Begins the drain.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }
}

/// One accepted connection.
pub struct Conn {
    stream: Stream,
    input: BytesMut,
    framer: Framer,
    peer: Peer,
    /// The address of this host that the connection arrived at, whatever the client was told to connect to.
    arrival: IpAddr,
    listener: Arc<Listener>,
    stop: Shutdown,
    /// What whoever is logged in goes on by.
    pass: Pass,
    /// What the TLS handshake went by; data connections go by the same.
    tls: Option<tls::Identity>,
    /// Gives the connection's place under the limits back when it is dropped.
    _place: Box<dyn Any + Send + Sync>,
}

impl Conn {
    /// Takes a connection that the daemon accepted, between `ends`; on an implicit-TLS listener the handshake happens
    /// here.
    ///
    /// # Errors
    /// When the TLS handshake fails or takes too long.
    pub async fn open(
        tcp: TcpStream,
        ends: Ends,
        listener: Arc<Listener>,
        stop: Shutdown,
        place: Box<dyn Any + Send + Sync>,
    ) -> io::Result<Conn> {
        // Without it one small reply per segment waits 40 ms for the peer's delayed acknowledgement.
        tcp.set_nodelay(true)?;
        let arrival = tcp.local_addr()?.ip();
        let trace = TraceId::new();
        let peer = Peer { protocol: listener.protocol, remote: ends.remote, local: ends.local, tls: None, trace };
        let implicit = listener.mode == TlsMode::Implicit;
        let conn = Conn {
            stream: Stream::Plain(Paced::new(tcp)),
            input: BytesMut::new(),
            framer: Framer::default(),
            peer,
            arrival,
            listener,
            stop,
            pass: Pass::default(),
            tls: None,
            _place: place,
        };
        if implicit { conn.start_tls().await } else { Ok(conn) }
    }

    /// Begins TLS. The plaintext connection is consumed: what the client sent before the handshake is dropped, so that
    /// nothing injected ahead of it is ever taken for a command (RFC 3207 §4.2, RFC 4217 §4.1).
    ///
    /// # Errors
    /// When the handshake fails, when TLS runs already, or when the listener has no TLS.
    pub async fn start_tls(mut self) -> io::Result<Conn> {
        let Stream::Plain(tcp) = self.stream else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS runs already"));
        };
        let Some(service) = &self.listener.tls else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this listener has no TLS"));
        };
        let identity = service.identity()?;
        self.stream = tls::accept(identity.config.clone(), tcp).await?;
        self.tls = Some(identity);
        self.input = BytesMut::new();
        self.framer = Framer::default();
        self.peer.tls = self.stream.tls();
        Ok(self)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The address of this host that the connection arrived at: where its data connections can be waited for.
    pub(crate) fn arrival(&self) -> IpAddr {
        self.arrival
    }

    /// Ends the session when `pass` is withdrawn: then no other line comes.
    pub fn admit(&mut self, pass: Pass) {
        self.pass = pass;
    }

    /// Whether whoever is logged in may not be here any more.
    pub fn is_withdrawn(&self) -> bool {
        self.pass.is_withdrawn()
    }

    /// The listener the connection came by.
    pub fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// Whether TLS runs.
    pub fn secure(&self) -> bool {
        self.peer.tls.is_some()
    }

    /// What a log-in on this connection can be bound to; nothing without TLS.
    pub fn channel_binding(&self) -> ChannelBinding {
        let end_point = self.tls.as_ref().and_then(|identity| identity.end_point.clone());
        ChannelBinding { exporter: self.stream.exporter(), end_point }
    }

    /// Whether the client may begin TLS now.
    pub fn can_start_tls(&self) -> bool {
        self.listener.mode == TlsMode::Starttls && self.listener.tls.is_some() && !self.secure()
    }

    /// Compresses everything that follows, in both directions (RFC 4978).
    #[must_use]
    pub fn compress(mut self) -> Conn {
        self.stream = Stream::Deflate(Box::new(Deflate::new(self.stream)));
        self
    }

    /// Whether everything is compressed.
    pub fn is_compressed(&self) -> bool {
        matches!(self.stream, Stream::Deflate(_))
    }

    /// Tells that the daemon drains.
    pub fn shutdown(&self) -> Shutdown {
        self.stop.clone()
    }

    /// What the TLS handshake went by.
    pub(crate) fn tls_config(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.tls.as_ref().map(|identity| identity.config.clone())
    }

    /// Whether a whole line is there already: with PIPELINING replies may wait until it is not (RFC 2920 §3.2).
    pub fn has_line(&self) -> bool {
        self.input.contains(&b'\n')
    }

    /// Whether bytes are there already that nobody has read.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// The next line of at most `limit` bytes, waiting at most `idle` for it.
    ///
    /// # Errors
    /// See [`ReadError`]; after [`ReadError::TooLong`] the session may go on, after any other it is over.
    pub async fn line(&mut self, limit: usize, idle: Duration) -> Result<Line, ReadError> {
        let deadline = tokio::time::Instant::now() + idle;
        loop {
            if self.pass.is_withdrawn() {
                return Err(ReadError::Withdrawn);
            }
            if let Some(line) = self.framer.next(&mut self.input, limit)? {
                return Ok(line);
            }
            let between = self.input.is_empty();
            // Until the first bytes of it have come a line needs little room: thousands may wait for theirs.
            self.input.reserve(if between { FIRST_READ } else { COMMAND_READ });
            let read = tokio::select! {
                biased;
                read = self.stream.read_buf(&mut self.input) => read,
                () = self.stop.requested(), if between => return Err(ReadError::Shutdown),
                () = self.pass.withdrawn() => return Err(ReadError::Withdrawn),
                () = tokio::time::sleep_until(deadline) => return Err(ReadError::Idle),
            };
            // A peer that closes TCP without TLS's close_notify between commands has closed all the same.
            match read {
                Ok(0) => return Err(ReadError::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ReadError::Closed),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next bytes of bulk data, whatever has come, at most 64 KiB; what a line reader left is given first.
    ///
    /// # Errors
    /// [`ReadError::Closed`] at the end of the stream, [`ReadError::Idle`] when nothing comes by `deadline`.
    pub async fn chunk(&mut self, deadline: tokio::time::Instant) -> Result<Bytes, ReadError> {
        self.framer = Framer::default();
        if self.input.is_empty() {
            self.input.reserve(BULK_READ);
            let read = tokio::time::timeout_at(deadline, self.stream.read_buf(&mut self.input)).await;
            if read.map_err(|_| ReadError::Idle)?? == 0 {
                return Err(ReadError::Closed);
            }
        }
        Ok(self.input.split().freeze())
    }

    /// Gives back bytes of a chunk that belong to what follows the bulk data; the next read gets them first.
    pub fn unread(&mut self, rest: &[u8]) {
        let mut input = BytesMut::with_capacity(rest.len() + self.input.len());
        input.extend_from_slice(rest);
        input.extend_from_slice(&self.input);
        self.input = input;
        self.framer = Framer::default();
    }

    /// Writes all of `bytes` and sends them.
    ///
    /// # Errors
    /// When the connection fails or the peer takes nothing for two minutes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Ends the connection in order (TLS close_notify, then FIN); waits a moment at most.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(5), self.stream.shutdown()).await;
    }

    /// The stream itself, for a protocol that brings its own framing (HTTP), with the peer and the connection's place.
    pub fn into_stream(self) -> (Stream, Peer, Box<dyn Any + Send + Sync>) {
        (self.stream, self.peer, self._place)
    }
}
