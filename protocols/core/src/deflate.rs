//! Compression of a connection (RFC 4978, RFC 1951): everything in both directions from some moment on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once.
const READ: usize = 4 << 10;
/// How much compressed data waits at the most before more is taken.
const WAITING: usize = 64 << 10;
/// How much room the compressor is given at once.
const ROOM: usize = 8 << 10;

/// A stream whose content is compressed on its way.
pub struct Deflate<S> {
    inner: S,
    /// Made when there is something to write and let go when it was sent: it takes more memory than all else of an idle
    /// session, and what follows a flush needs nothing of what was before.
    compressor: Option<Box<Compress>>,
    /// Whether something was written since the last flush.
    dirty: bool,
    /// What is compressed and not sent yet.
    out: Vec<u8>,
    sent: usize,
    decompressor: Decompress,
    /// What has come and is not decompressed yet.
    come: Vec<u8>,
    taken: usize,
}

impl<S> Deflate<S> {
    /// Compresses what goes through `inner`.
    pub fn new(inner: S) -> Self {
        let decompressor = Decompress::new(false);
        let (out, come) = (Vec::new(), Vec::new());
        Deflate { inner, compressor: None, dirty: false, out, sent: 0, decompressor, come, taken: 0 }
    }

    /// The stream inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Compresses `input`, all of it.
    fn compress(&mut self, mut input: &[u8], flush: FlushCompress) -> io::Result<()> {
        let compressor = self.compressor.get_or_insert_with(|| Box::new(Compress::new(Compression::fast(), false)));
        loop {
            self.out.reserve(ROOM);
            let before = compressor.total_in();
            let status = compressor.compress_vec(input, &mut self.out, flush).map_err(io::Error::other)?;
            input = &input[(compressor.total_in() - before) as usize..];
            let full = self.out.len() == self.out.capacity();
            if status == Status::BufError || input.is_empty() && !full {
                return Ok(());
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Deflate<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.out[self.sent..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        self.sent = 0;
        self.out.clear();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deflate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            let room = buf.initialize_unfilled();
            let (came, made) = (this.decompressor.total_in(), this.decompressor.total_out());
            let result = this.decompressor.decompress(&this.come[this.taken..], room, FlushDecompress::Sync);
            this.taken += (this.decompressor.total_in() - came) as usize;
            let made = (this.decompressor.total_out() - made) as usize;
            if this.taken == this.come.len() {
                (this.come, this.taken) = (Vec::new(), 0);
            }
            match result {
                Err(error) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
                Ok(_) if made > 0 => {
                    buf.advance(made);
                    return Poll::Ready(Ok(()));
                }
                // The end of the compressed data is the end of the connection.
                Ok(Status::StreamEnd) => return Poll::Ready(Ok(())),
                Ok(_) => {}
            }
            let mut space = [0; READ];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.come.extend_from_slice(read.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deflate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.out.len() - this.sent > WAITING {
            ready!(this.poll_drain(cx))?;
        }
        this.dirty = true;
        this.compress(buf, FlushCompress::None)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.dirty {
            this.compress(&[], FlushCompress::Sync)?;
            this.dirty = false;
            this.compressor = None;
        }
        ready!(this.poll_drain(cx))?;
        this.out = Vec::new();
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let (one, other) = tokio::io::duplex(1000);
        let (mut one, mut other) = (Deflate::new(one), Deflate::new(other));
        let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 20) as u8).collect();
        for content in [&b"hello"[..], b"", &b"hello again, hello again".repeat(1000), &large] {
            let sending = async {
                one.write_all(content).await.unwrap();
                one.flush().await.unwrap();
            };
            let mut come = vec![0; content.len()];
            let (_, read) = tokio::join!(sending, other.read_exact(&mut come));
            read.unwrap();
            assert!(come == content);
        }
        assert!(one.compressor.is_none(), "an idle stream holds no compressor");
        one.shutdown().await.unwrap();
        assert_eq!(other.read(&mut [0; 10]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn rubbish_is_an_error() {
        let (mut one, other) = tokio::io::duplex(1000);
        one.write_all(b"\xff\xff\xff this is not compressed").await.unwrap();
        assert!(Deflate::new(other).read(&mut [0; 10]).await.is_err());
    }
}
