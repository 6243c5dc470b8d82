//! The session's end of the connection: lines in, replies and contents out, together where the client pipelines.

use std::io;
use std::time::Duration;

use protocol::{Conn, Line, ReadError};

use crate::reply::Reply;

/// So much waits before it is sent in any case: memory is bounded, and each write is worth its while.
const FULL: usize = 64 << 10;

/// A connection and what is not sent yet.
pub(crate) struct Wire {
    pub(crate) conn: Conn,
    out: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(conn: Conn) -> Self {
        Wire { conn, out: Vec::new() }
    }

    /// Adds a reply to what goes out next.
    pub(crate) fn put(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    /// Lets `write` add to what goes out next, and sends it when it has become much.
    pub(crate) async fn fill(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        write(&mut self.out);
        if self.out.len() < FULL {
            return Ok(());
        }
        let sent = self.conn.write(&self.out).await;
        self.out.clear();
        sent
    }

    /// Sends what waits, and keeps no memory for it: the client may be silent for long.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            self.out = Vec::new();
            return Ok(());
        }
        let sent = self.conn.write(&self.out).await;
        self.out = Vec::new();
        sent
    }

    /// The next line. Replies go out before the client is waited for, and not while it has sent more already
    /// (RFC 2449 §6.6).
    pub(crate) async fn line(&mut self, limit: usize, idle: Duration) -> Result<Line, ReadError> {
        if !self.conn.has_line() || self.out.len() >= FULL {
            self.flush().await?;
        }
        self.conn.line(limit, idle).await
    }
}
