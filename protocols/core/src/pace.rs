//! Deadlines on progress: a peer that takes or gives next to nothing is let go, however it spreads its bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a write may wait for the peer to take anything at all.
const WRITE_WINDOW: Duration = Duration::from_secs(120);

/// A stream whose writes fail with `TimedOut` when the peer takes nothing for two minutes.
///
/// Reads are left alone: only the session knows whether silence is legal there.
pub struct Paced<S> {
    inner: S,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Paced { inner, waiting: None }
    }

    /// The stream inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn pace<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_WINDOW)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads too slowly"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.pace(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.pace(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.pace(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.pace(cx, result)
    }
}

/// The rate a bulk transfer into the server must keep, averaged over windows of a minute.
#[derive(Debug)]
pub struct Progress {
    window: Instant,
    bytes: usize,
}

/// The window over which the rate of a transfer is averaged.
const WINDOW: Duration = Duration::from_secs(60);
/// The least that must come in one window: 128 bytes a second.
const LEAST: usize = 128 * 60;

impl Default for Progress {
    fn default() -> Self {
        Progress { window: Instant::now(), bytes: 0 }
    }
}

impl Progress {
    /// The moment by which the next bytes must have come.
    pub fn deadline(&self) -> Instant {
        self.window + WINDOW
    }

    /// Counts bytes that came; false when the transfer is too slow to go on.
    #[must_use]
    pub fn moved(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let now = Instant::now();
        if now < self.deadline() {
            return true;
        }
        let enough = self.bytes >= LEAST;
        *self = Progress { window: now, bytes: 0 };
        enough
    }
}
