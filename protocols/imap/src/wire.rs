//! The session's end of the connection: commands and messages in, responses out, written together where the client
//! pipelines.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Conn, Line, Progress, ReadError};

/// How much is held back at the most before it is sent.
const HELD: usize = 64 << 10;

/// A connection and the responses not sent yet.
pub(crate) struct Wire {
    pub(crate) conn: Conn,
    pub(crate) out: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(conn: Conn) -> Self {
        Wire { conn, out: Vec::new() }
    }

    /// Adds an untagged response, which stands between `* ` and the line's end.
    pub(crate) fn untagged(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(b"* ");
        self.out.extend_from_slice(text.as_ref());
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = self.conn.write(&self.out).await;
        // An idle session must not keep a large buffer.
        self.out = Vec::new();
        sent
    }

    /// Sends what waits when it is much, and keeps the space for more.
    pub(crate) async fn relieve(&mut self) -> io::Result<()> {
        if self.out.len() < HELD {
            return Ok(());
        }
        let sent = self.conn.write(&self.out).await;
        self.out.clear();
        sent
    }

    /// The next line. Responses go out before the client is waited for, and not while it has sent more already.
    pub(crate) async fn line(&mut self, limit: usize, idle: Duration) -> Result<Line, ReadError> {
        if !self.conn.has_line() || self.out.len() > HELD {
            self.flush().await?;
        }
        self.conn.line(limit, idle).await
    }

    /// Asks for a literal that the client waits with.
    pub(crate) async fn invite(&mut self) -> io::Result<()> {
        self.out.extend_from_slice(b"+ Ready for the literal\r\n");
        self.flush().await
    }

    /// The next of `left` octets of a literal, at the pace they must come at; what follows them stays where it is.
    pub(crate) async fn octets(&mut self, progress: &mut Progress, left: u64) -> Result<Bytes, ReadError> {
        if !self.conn.has_input() {
            self.flush().await?;
        }
        let mut chunk = self.conn.chunk(progress.deadline()).await?;
        if !progress.moved(chunk.len()) {
            return Err(ReadError::Idle);
        }
        if let Ok(left) = usize::try_from(left)
            && chunk.len() >= left
        {
            // Also when nothing follows: an idle session must not keep the large buffer.
            self.conn.unread(&chunk.split_off(left));
        }
        Ok(chunk)
    }

    /// Drops octets of a literal that is refused.
    pub(crate) async fn skip(&mut self, octets: u64) -> Result<(), ReadError> {
        let (mut left, mut progress) = (octets, Progress::default());
        while left > 0 {
            left -= self.octets(&mut progress, left).await?.len() as u64;
        }
        Ok(())
    }
}
