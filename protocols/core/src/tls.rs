//! TLS for every protocol: one service for each module, whose certificate can be changed while it runs.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use auth::Tls;

use crate::deflate::Deflate;
use crate::end_point::end_point;
use crate::pace::Paced;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Who may take up a TLS session again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// Any later connection to the same service.
    Service,
    /// Only the data connections of the control connection that the session began on: what resumes it has proved whose
    /// it is (RFC 4217 §10.2). rustls tells what a ticket carries in TLS 1.3 alone, so every control connection has
    /// ticket keys and a session store of its own instead.
    Connection,
}

/// The TLS side of one protocol: its ALPN ids and ticket keys are its own, so that a session of one service is never
/// taken up at another.
#[derive(Clone)]
pub struct TlsService {
    identity: Arc<RwLock<Identity>>,
    resumption: Resumption,
}

/// What a handshake goes by.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) config: Arc<ServerConfig>,
    /// The hash of the certificate that `config` serves; rustls does not tell which that is.
    pub(crate) end_point: Option<Arc<[u8]>>,
}

impl TlsService {
    /// A service that starts with `config`.
    pub fn new(config: Arc<ServerConfig>, resumption: Resumption) -> Self {
        TlsService { identity: Arc::new(RwLock::new(Identity { config, end_point: None })), resumption }
    }

    /// The same service, for which log-ins can be bound to `certificate`, which is the one it serves.
    #[must_use]
    pub fn with_certificate(self, certificate: &CertificateDer<'_>) -> Self {
        self.identity.write().unwrap_or_else(PoisonError::into_inner).end_point = end_point(certificate);
        self
    }

    /// Replaces the configuration, and the certificate it serves, for all handshakes to come.
    pub fn replace(&self, config: Arc<ServerConfig>, certificate: &CertificateDer<'_>) {
        let fresh = Identity { config, end_point: end_point(certificate) };
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// What the next connection's handshake goes by.
    pub(crate) fn identity(&self) -> io::Result<Identity> {
        let identity = self.identity.read().unwrap_or_else(PoisonError::into_inner).clone();
        if self.resumption == Resumption::Service {
            return Ok(identity);
        }
        let mut own = (*identity.config).clone();
        own.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
        own.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
        Ok(Identity { config: Arc::new(own), ..identity })
    }
}

/// How many TLS sessions without tickets one control connection remembers.
const SESSIONS: usize = 16;

/// Answers a handshake.
pub(crate) async fn accept(config: Arc<ServerConfig>, tcp: Paced<TcpStream>) -> io::Result<Stream> {
    let handshake = TlsAcceptor::from(config).accept(tcp);
    match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream?))),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")),
    }
}

/// A connection's byte stream, with or without TLS, with or without compression within.
pub enum Stream {
    /// As it comes from the network.
    Plain(Paced<TcpStream>),
    /// Inside TLS.
    Tls(Box<TlsStream<Paced<TcpStream>>>),
    /// Compressed, inside one of the others.
    Deflate(Box<Deflate<Stream>>),
}

impl Stream {
    /// The TLS stream, where there is one.
    fn secured(&self) -> Option<&TlsStream<Paced<TcpStream>>> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(stream),
            Stream::Deflate(stream) => stream.inner().secured(),
        }
    }

    /// What was agreed on; `None` without TLS.
    pub fn tls(&self) -> Option<Tls> {
        let session = self.secured()?.get_ref().1;
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        };
        let cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        Some(Tls { version, cipher })
    }

    /// The data of the channel binding `tls-exporter` (RFC 9266 §2). Before TLS 1.3 it is sound only with an extension
    /// that rustls does not tell of.
    pub(crate) fn exporter(&self) -> Option<[u8; 32]> {
        let session = self.secured()?.get_ref().1;
        let sound = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        let exported = session.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None);
        exported.ok().filter(|_| sound)
    }

    /// Whether an earlier TLS session was taken up again.
    pub fn resumed(&self) -> bool {
        let kind = self.secured().and_then(|stream| stream.get_ref().1.handshake_kind());
        kind == Some(rustls::HandshakeKind::Resumed)
    }

    /// The protocol agreed by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.secured().and_then(|stream| stream.get_ref().1.alpn_protocol())
    }

    /// The socket beneath.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp.inner(),
            Stream::Tls(stream) => stream.get_ref().0.inner(),
            Stream::Deflate(stream) => stream.inner().tcp(),
        }
    }
}

macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
            Stream::Deflate($stream) => $call,
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
            Stream::Deflate(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
