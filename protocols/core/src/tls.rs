//! TLS for every protocol: one service for each module, whose certificate can be changed while it runs.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use auth::Tls;

use crate::pace::Paced;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// The TLS side of one protocol: its ALPN ids and ticket keys are its own, so that a session of one service is never
/// taken up at another.
#[derive(Clone)]
pub struct TlsService {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl TlsService {
    /// A service that starts with `config`.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        TlsService { config: Arc::new(RwLock::new(config)) }
    }

    /// Replaces the configuration for all handshakes to come (a new certificate on SIGHUP).
    pub fn replace(&self, config: Arc<ServerConfig>) {
        *self.config.write().unwrap_or_else(std::sync::PoisonError::into_inner) = config;
    }

    /// Answers a handshake. `binding` goes into the session tickets, so that a later connection can prove that it
    /// belongs to the same client session (see [`Stream::resumed_binding`]).
    pub(crate) async fn accept(&self, tcp: Paced<TcpStream>, binding: &[u8]) -> io::Result<Stream> {
        let config = self.config.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let handshake = TlsAcceptor::from(config).accept_with(tcp, |tls| tls.set_resumption_data(binding));
        match tokio::time::timeout(HANDSHAKE, handshake).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream?))),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")),
        }
    }
}

/// A connection's byte stream, with or without TLS.
pub enum Stream {
    /// As it comes from the network.
    Plain(Paced<TcpStream>),
    /// Inside TLS.
    Tls(Box<TlsStream<Paced<TcpStream>>>),
}

impl Stream {
    /// What was agreed on; `None` without TLS.
    pub fn tls(&self) -> Option<Tls> {
        let Stream::Tls(stream) = self else { return None };
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        Some(Tls { version, cipher })
    }

    /// The binding that the resumed TLS session carried; `None` when the handshake was a full one.
    pub fn resumed_binding(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.get_ref().1.received_resumption_data(),
        }
    }

    /// The protocol agreed by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The socket beneath.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp.inner(),
            Stream::Tls(stream) => stream.get_ref().0.inner(),
        }
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
