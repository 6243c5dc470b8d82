//! The session's end of the connection: lines in, replies out, written together where the client pipelines.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Conn, Line, Progress, ReadError};

use crate::reply::Reply;

/// A connection and the replies not sent yet.
pub(crate) struct Wire {
    pub(crate) conn: Conn,
    out: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(conn: Conn) -> Self {
        Wire { conn, out: Vec::new() }
    }

    /// Adds a reply to those that go out next.
    pub(crate) fn put(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let sent = self.conn.write(&self.out).await;
        self.out = Vec::new();
        sent
    }

    /// The next line. Replies go out before the client is waited for, and not while it has sent more already
    /// (RFC 2920 §3.2).
    pub(crate) async fn line(&mut self, limit: usize, idle: Duration) -> Result<Line, ReadError> {
        if !self.conn.has_line() || self.out.len() > 16 << 10 {
            self.flush().await?;
        }
        self.conn.line(limit, idle).await
    }

    /// The next octets of a message, and the pace they come at.
    pub(crate) async fn chunk(&mut self, progress: &mut Progress) -> Result<Bytes, ReadError> {
        if !self.conn.has_input() {
            self.flush().await?;
        }
        let chunk = self.conn.chunk(progress.deadline()).await?;
        if progress.moved(chunk.len()) { Ok(chunk) } else { Err(ReadError::Idle) }
    }
}
