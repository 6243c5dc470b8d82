//! The body of an answer: one type, so that small contents need no box and large ones stream with bounded memory.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use storage::{Content, ContentReader, Error};

use crate::session::Activity;

/// The body of an answer; its length is always known.
#[derive(Default)]
pub(crate) struct Body {
    source: Source,
    left: u64,
    activity: Option<Arc<Activity>>,
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Full(Bytes),
    Pieces(Box<Pieces>),
}

/// A part of a streamed body.
pub(crate) enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// This part of the content.
    Range(Range<u64>),
}

struct Pieces {
    content: Content,
    queue: VecDeque<Piece>,
    reading: Reading,
}

type Next = Pin<Box<dyn Future<Output = (ContentReader, Result<Option<Bytes>, Error>)> + Send>>;

enum Reading {
    /// Between two pieces.
    Nothing,
    /// In a range, with nothing asked of the disk.
    Range(ContentReader),
    /// Waiting for the disk.
    Next(Next),
}

impl Body {
    /// Nothing.
    pub(crate) fn empty() -> Body {
        Body::default()
    }

    /// All of these bytes.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body { left: bytes.len() as u64, source: Source::Full(bytes), activity: None }
    }

    /// One range of a content; it must lie inside.
    pub(crate) fn range(content: Content, range: Range<u64>) -> Body {
        match content.bytes() {
            // A content in memory is smaller than any address.
            Some(bytes) => Body::full(bytes.slice(range.start as usize..range.end as usize)),
            None => Body::pieces(content, VecDeque::from([Piece::Range(range)])),
        }
    }

    /// Pieces one after another.
    pub(crate) fn pieces(content: Content, queue: VecDeque<Piece>) -> Body {
        let left = queue.iter().map(Piece::len).sum();
        let pieces = Pieces { content, queue, reading: Reading::Nothing };
        Body { left, source: Source::Pieces(Box::new(pieces)), activity: None }
    }

    /// The bytes still to come.
    pub(crate) fn len(&self) -> u64 {
        self.left
    }

    /// Tells `activity` of every piece that goes out.
    pub(crate) fn watched_by(&mut self, activity: Arc<Activity>) {
        self.activity = Some(activity);
    }
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Range(range) => range.end - range.start,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let bytes = match &mut self.source {
            Source::Empty => None,
            Source::Full(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Source::Pieces(pieces) => ready!(pieces.poll_next(cx))?,
        };
        let Some(bytes) = bytes else { return Poll::Ready(None) };
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if let Some(activity) = &self.activity {
            activity.touch();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Pieces {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            self.reading = match std::mem::replace(&mut self.reading, Reading::Nothing) {
                Reading::Nothing => match self.queue.pop_front() {
                    None => return Poll::Ready(Ok(None)),
                    Some(Piece::Bytes(bytes)) => return Poll::Ready(Ok(Some(bytes))),
                    Some(Piece::Range(range)) => Reading::Range(self.content.reader(range)),
                },
                Reading::Range(mut reader) => Reading::Next(Box::pin(async move {
                    let next = reader.next().await;
                    (reader, next)
                })),
                Reading::Next(mut next) => match next.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.reading = Reading::Next(next);
                        return Poll::Pending;
                    }
                    Poll::Ready((_, Ok(None))) => Reading::Nothing,
                    Poll::Ready((_, Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready((reader, Ok(Some(bytes)))) => {
                        self.reading = Reading::Range(reader);
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                },
            };
        }
    }
}
