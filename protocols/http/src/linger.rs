//! The last of a connection: what the client still says when the server has said all.
//!
//! A socket that is closed while octets lie unread in it, or come after, is reset, and what was sent last may never
//! arrive (RFC 9112 §9.6). A slow download over HTTP/2 tells of its windows all the time. So the server stops to send,
//! and reads on until the client closes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use protocol::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long the client may be silent, and how long all of it may take.
const SILENCE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);

/// A stream that is lent to hyper, and comes back when it is dropped there.
pub(crate) struct Lent {
    /// There until it is dropped.
    stream: Option<Stream>,
    back: Arc<Mutex<Option<Stream>>>,
}

/// Where the stream comes back.
pub(crate) struct Owner(Arc<Mutex<Option<Stream>>>);

impl Lent {
    pub(crate) fn new(stream: Stream) -> (Lent, Owner) {
        let back = Arc::new(Mutex::new(None));
        (Lent { stream: Some(stream), back: back.clone() }, Owner(back))
    }

    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut Stream>> {
        let stream = self.get_mut().stream.as_mut();
        stream.map(Pin::new).ok_or_else(|| io::Error::other("the stream was given back"))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = self.stream.take();
    }
}

impl Owner {
    /// Sends no more and reads until the client closes, or for as long as is reasonable.
    pub(crate) async fn linger(self) {
        let Some(mut stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let last = async {
            tokio::time::timeout(SILENCE, stream.shutdown()).await??;
            let mut dropped = vec![0; 4096];
            while tokio::time::timeout(SILENCE, stream.read(&mut dropped)).await?? > 0 {}
            Ok::<_, io::Error>(())
        };
        // However it ends, nobody is left to be told.
        let _ = tokio::time::timeout(LONGEST, last).await;
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
