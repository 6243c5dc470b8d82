//! The session's end of a connection of lines: commands and messages in, replies out, written together where the client
//! pipelines.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use crate::{Closed, Conn, Line, Progress, ReadError};

/// So much waits before it is sent in any case: memory is bounded, and each write is worth its while.
const FULL: usize = 64 << 10;

/// A connection and what is not sent yet.
pub struct Wire {
    /// The connection.
    pub conn: Conn,
    /// What goes out next.
    pub out: Vec<u8>,
}

/// What comes of a client's wish to begin TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsWish {
    /// It may: the reply is sent, and the handshake follows.
    Granted,
    /// TLS runs already.
    Active,
    /// The listener has no TLS, or begins with it.
    Unavailable,
    /// Octets stand behind the command, sent in the clear, perhaps by somebody else: an attack or a client that is
    /// badly broken, and neither is gone on with (RFC 3207 §6, CVE-2011-0411).
    Injected,
}

impl Wire {
    /// The wire of a session that begins.
    pub fn new(conn: Conn) -> Self {
        Wire { conn, out: Vec::new() }
    }

    /// Sends what waits, and keeps no memory for it: the client may be silent for long.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        if out.is_empty() { Ok(()) } else { self.conn.write(&out).await }
    }

    /// Sends what waits when it is much, and keeps the space for more.
    ///
    /// # Errors
    /// When the connection fails, or whoever is logged in may not be here any more.
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.out.len() < FULL {
            return Ok(());
        }
        if self.conn.is_withdrawn() {
            return Err(io::Error::other("the password of the session is not valid any more"));
        }
        let sent = self.conn.write(&self.out).await;
        self.out.clear();
        sent
    }

    /// The next line. Replies go out before the client is waited for, and not while it has sent more already
    /// (RFC 2920 §3.2, RFC 2449 §6.6).
    ///
    /// # Errors
    /// As [`Conn::line`].
    pub async fn line(&mut self, limit: usize, idle: Duration) -> Result<Line, ReadError> {
        if !self.conn.has_line() || self.out.len() >= FULL {
            self.flush().await?;
        }
        self.conn.line(limit, idle).await
    }

    /// The next octets of a message, at the pace they must come at.
    ///
    /// # Errors
    /// As [`Conn::chunk`].
    pub async fn chunk(&mut self, progress: &mut Progress) -> Result<Bytes, ReadError> {
        if !self.conn.has_input() {
            self.flush().await?;
        }
        let chunk = self.conn.chunk(progress.deadline()).await?;
        if progress.moved(chunk.len()) { Ok(chunk) } else { Err(ReadError::Idle) }
    }

    /// The next of `left` octets of a message whose length was said; what follows them stays where it is.
    ///
    /// # Errors
    /// As [`Conn::chunk`].
    pub async fn octets(&mut self, progress: &mut Progress, left: u64) -> Result<Bytes, ReadError> {
        let mut chunk = self.chunk(progress).await?;
        if let Ok(left) = usize::try_from(left)
            && chunk.len() >= left
        {
            // Also when nothing follows: an idle session must not keep the large buffer.
            self.conn.unread(&chunk.split_off(left));
        }
        Ok(chunk)
    }

    /// Drops octets of a message that is refused.
    ///
    /// # Errors
    /// As [`Conn::chunk`].
    pub async fn skip(&mut self, octets: u64) -> Result<(), ReadError> {
        let (mut left, mut progress) = (octets, Progress::default());
        while left > 0 {
            left -= self.octets(&mut progress, left).await?.len() as u64;
        }
        Ok(())
    }

    /// Whether TLS may begin now, behind a command that asks for it.
    pub fn tls_wish(&self) -> TlsWish {
        if self.conn.secure() {
            TlsWish::Active
        } else if !self.conn.can_start_tls() {
            TlsWish::Unavailable
        } else if self.conn.has_input() {
            TlsWish::Injected
        } else {
            TlsWish::Granted
        }
    }

    /// The handshake; a new session follows it, so that nothing learnt in the clear survives (RFC 3207 §4.2).
    ///
    /// # Errors
    /// When it fails.
    pub async fn start_tls(self) -> Result<Conn, Closed> {
        self.conn.start_tls().await.map_err(|error| {
            tracing::debug!(%error, "TLS handshake failed");
            Closed::Tls
        })
    }
}
