//! A message while it comes in and is judged: its header apart, its body in memory as long as it is small and in an
//! unnamed file otherwise. What it is stored with stands before it and is known last.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use auth::Authority;
use bytes::{Bytes, BytesMut};
use storage::Error;
use tokio::io::{AsyncRead, ReadBuf};

use crate::trust::body::{BodyHasher, BodyHashes};
use crate::trust::fields::{Field, lines};

/// The longest header, with the empty line, and the most lines it may have: each is looked at for each signature.
pub(crate) const HEADER: usize = 1 << 20;
pub(crate) const LINES: usize = 5000;
/// How much of a body is kept in memory.
const MEMORY: usize = 256 << 10;
/// How much of a file is read at once.
const PIECE: usize = 256 << 10;

/// Takes a message.
pub(crate) struct Spool {
    authority: Arc<Authority>,
    header: BytesMut,
    /// Of the header.
    lines: usize,
    /// Whether the empty line came.
    in_body: bool,
    hasher: BodyHasher,
    /// Copied, since a piece may hold on to far more than itself.
    memory: BytesMut,
    file: Option<File>,
    ascii: bool,
    len: u64,
}

/// Why a message cannot be taken further.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Its header is too long.
    Header,
    /// There is no room for it.
    Store(Error),
}

/// A message that has come.
pub(crate) struct Spooled {
    /// The header with the empty line at its end, where it has one.
    pub(crate) header: Bytes,
    /// The hashes of the body.
    pub(crate) hashes: BodyHashes,
    /// What of the body came before the rest.
    first: Bytes,
    body: Arc<Body>,
    /// Whether the body is ASCII alone.
    pub(crate) ascii: bool,
    /// The bytes of header and body.
    pub(crate) len: u64,
}

enum Body {
    Memory(Bytes),
    File(Arc<File>),
}

impl Spool {
    pub(crate) fn new(authority: Arc<Authority>) -> Self {
        Spool {
            authority,
            header: BytesMut::new(),
            lines: 0,
            in_body: false,
            hasher: BodyHasher::new(),
            memory: BytesMut::new(),
            file: None,
            ascii: true,
            len: 0,
        }
    }

    /// Takes the next bytes.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Failed> {
        self.len += bytes.len() as u64;
        let bytes = if self.in_body { bytes } else { self.take_header(bytes)? };
        if bytes.is_empty() {
            return Ok(());
        }
        self.hasher.push(&bytes);
        self.ascii &= bytes.is_ascii();
        self.memory.extend_from_slice(&bytes);
        if self.memory.len() > MEMORY { self.spill().await.map_err(Failed::Store) } else { Ok(()) }
    }

    /// Takes what belongs to the header; what is left belongs to the body.
    fn take_header(&mut self, mut bytes: Bytes) -> Result<Bytes, Failed> {
        let known = self.header.len();
        // The empty line may have begun before.
        let from = known.saturating_sub(3);
        let room = (HEADER + 4 - known).min(bytes.len());
        self.header.extend_from_slice(&bytes[..room]);
        let end = match self.header.starts_with(b"\r\n") {
            true => Some(2),
            false => memchr::memmem::find(&self.header[from..], b"\r\n\r\n").map(|at| from + at + 4),
        };
        let rest = match end {
            Some(end) => {
                self.in_body = true;
                self.header.truncate(end);
                let _ = bytes.split_to(end - known);
                Ok(bytes)
            }
            None if self.header.len() > HEADER => Err(Failed::Header),
            None => Ok(Bytes::new()),
        };
        self.lines += memchr::memchr_iter(b'\n', &self.header[known.min(self.header.len())..]).count();
        if self.lines > LINES { Err(Failed::Header) } else { rest }
    }

    /// Moves what is kept into the file.
    async fn spill(&mut self) -> Result<(), Error> {
        let (memory, file, authority) = (self.memory.split(), self.file.take(), self.authority.clone());
        let work = move || {
            authority.has_space()?;
            let mut file = file.map_or_else(|| authority.scratch(), Ok)?;
            file.write_all(&memory)?;
            Ok::<File, Error>(file)
        };
        self.file = Some(tokio::task::spawn_blocking(work).await.map_err(Error::internal)??);
        Ok(())
    }

    /// The whole message.
    pub(crate) async fn finish(mut self) -> Result<Spooled, Error> {
        if self.file.is_some() {
            self.spill().await?;
        }
        // A field that does not end would be seen by some who read it and not by others.
        if !self.in_body && !self.header.is_empty() && !self.header.ends_with(b"\r\n") {
            self.header.extend_from_slice(b"\r\n");
            self.len += 2;
        }
        let body = match self.file {
            Some(file) => Body::File(Arc::new(file)),
            None => Body::Memory(self.memory.freeze()),
        };
        Ok(Spooled {
            header: self.header.freeze(),
            hashes: self.hasher.finish(),
            first: Bytes::new(),
            body: Arc::new(body),
            ascii: self.ascii,
            len: self.len,
        })
    }
}

impl Spooled {
    /// The body from its start.
    pub(crate) fn body(&self) -> BodyReader {
        BodyReader { first: self.first.clone(), body: self.body.clone(), at: 0 }
    }

    /// The message with a header of nothing but fields: at the first line that is none begins the body, as everybody
    /// would show it.
    pub(crate) async fn with_fields_alone(self) -> Result<Spooled, Error> {
        let fields = lines(&self.header).take_while(|line| Field::parse(line).is_some());
        let end = fields.map(<[u8]>::len).sum();
        if self.header[end..] == *b"\r\n" {
            return Ok(self);
        }
        let Spooled { mut header, body, ascii, .. } = self;
        let first = header.split_off(end);
        let len = self.len + 2;
        let ascii = ascii && first.is_ascii();
        let header = Bytes::from([&header[..], b"\r\n"].concat());
        let mut whole = Spooled { header, hashes: self.hashes, first, body, ascii, len };
        let (mut hasher, mut reader) = (BodyHasher::new(), whole.body());
        while let Some(piece) = reader.next().await? {
            hasher.push(&piece);
        }
        whole.hashes = hasher.finish();
        Ok(whole)
    }

    /// The whole message from its start, as it came.
    pub(crate) fn reader(&self) -> Reader {
        Reader { body: Some(self.body()), piece: self.header.clone(), next: None }
    }
}

/// Reads a body, piece by piece.
pub(crate) struct BodyReader {
    first: Bytes,
    body: Arc<Body>,
    /// How much of it was read.
    at: u64,
}

impl BodyReader {
    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.first.is_empty() {
            return Ok(Some(std::mem::take(&mut self.first)));
        }
        let at = self.at;
        match &*self.body {
            Body::Memory(body) => {
                self.at = body.len() as u64;
                Ok((at < self.at).then(|| body.clone()))
            }
            Body::File(file) => {
                let file = file.clone();
                let read = move || {
                    let mut piece = vec![0; PIECE];
                    let count = file.read_at(&mut piece, at)?;
                    piece.truncate(count);
                    Ok::<Vec<u8>, io::Error>(piece)
                };
                let piece = tokio::task::spawn_blocking(read).await.map_err(Error::internal)?.map_err(Error::from)?;
                self.at += piece.len() as u64;
                Ok((!piece.is_empty()).then(|| Bytes::from(piece)))
            }
        }
    }
}

/// A piece on its way, with who reads it.
type Next = Pin<Box<dyn Future<Output = (BodyReader, Result<Option<Bytes>, Error>)> + Send>>;

/// Reads a whole message, for who wants a stream of octets.
pub(crate) struct Reader {
    body: Option<BodyReader>,
    piece: Bytes,
    next: Option<Next>,
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            if let Some(mut body) = self.body.take() {
                self.next = Some(Box::pin(async move {
                    let piece = body.next().await;
                    (body, piece)
                }));
            }
            let Some(next) = &mut self.next else { return Poll::Ready(Ok(())) };
            let (body, piece) = ready!(next.as_mut().poll(cx));
            self.next = None;
            match piece {
                Ok(Some(piece)) => (self.piece, self.body) = (piece, Some(body)),
                Ok(None) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let count = buf.remaining().min(self.piece.len());
        buf.put_slice(&self.piece.split_to(count));
        Poll::Ready(Ok(()))
    }
}
