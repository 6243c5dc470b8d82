//! A message as the body of a request: it is read as fast as it is sent, and no more of it than was announced.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use super::CHUNK;

/// The body.
pub(crate) struct Content<R> {
    reader: R,
    left: u64,
    /// Why the message could not be read: who sends the body tells only that something failed.
    broken: Arc<OnceLock<String>>,
}

impl<R> Content<R> {
    /// A body of that length, and where it is told why the message could not be read.
    pub(crate) fn new(reader: R, length: u64) -> (Self, Arc<OnceLock<String>>) {
        let broken = Arc::new(OnceLock::new());
        (Content { reader, left: length, broken: broken.clone() }, broken)
    }
}

impl<R: AsyncRead + Unpin> Body for Content<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let most = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = vec![0; most];
        let mut buffer = ReadBuf::new(&mut chunk);
        let read = ready!(Pin::new(&mut self.reader).poll_read(context, &mut buffer));
        let length = buffer.filled().len();
        let read = match read {
            Ok(()) if length == 0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            other => other,
        };
        Poll::Ready(Some(match read {
            Ok(()) => {
                self.left -= length as u64;
                chunk.truncate(length);
                Ok(Frame::data(chunk.into()))
            }
            Err(error) => {
                let _ = self.broken.set(error.to_string());
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn as_much_as_announced_is_sent() {
        let message: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
        let (content, broken) = Content::new(&message[..], 150_000);
        assert_eq!(content.size_hint().exact(), Some(150_000));
        assert_eq!(content.collect().await.unwrap().to_bytes(), message[..150_000]);
        assert_eq!(broken.get(), None);
    }

    #[tokio::test]
    async fn a_message_that_ends_early_is_an_error() {
        let (content, broken) = Content::new(&b"short"[..], 9);
        assert!(content.collect().await.is_err());
        assert!(broken.get().is_some());
    }
}
