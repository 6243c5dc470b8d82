//! Reading a content.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::bucket::{Object, Stream};
use crate::Error;

/// How much is read from a file at once.
const READ: u64 = 256 << 10;

/// A content that can be read.
#[derive(Clone)]
pub enum Content {
    /// Small enough to be in memory.
    Small(Bytes),
    /// A file, open for as long as this lives.
    File {
        /// The file.
        file: Arc<File>,
        /// Its length in bytes.
        size: u64,
    },
    /// An object in a bucket.
    Object(Object),
}

impl Content {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Small(content) => content.len() as u64,
            Content::File { size, .. } => *size,
            Content::Object(object) => object.size,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, when it is in memory.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Content::Small(content) => Some(content.clone()),
            Content::File { .. } | Content::Object(_) => None,
        }
    }

    /// Reads a part of it, cut at its end.
    pub fn reader(&self, range: Range<u64>) -> ContentReader {
        let end = range.end.min(self.len());
        ContentReader { content: self.clone(), at: range.start.min(end), end, ahead: None, stream: None }
    }

    /// A part of it in memory, cut at its end.
    ///
    /// # Errors
    /// As [`ContentReader::next`].
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let mut reader = self.reader(range);
        if let Content::Small(_) = self {
            return Ok(reader.next().await?.unwrap_or_default());
        }
        let mut bytes = Vec::with_capacity((reader.end - reader.at) as usize);
        while let Some(piece) = reader.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.into())
    }
}

/// Reads a content piece by piece; a file one piece ahead of its caller.
pub struct ContentReader {
    content: Content,
    at: u64,
    end: u64,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    stream: Option<Stream>,
}

impl ContentReader {
    /// The next piece, at most 256 KiB; `None` at the end.
    ///
    /// # Errors
    /// When the disk fails; [`Error::Unavailable`] when the bucket does not answer.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match &self.content {
            Content::Small(content) => {
                let piece = content.slice(self.at as usize..self.end as usize);
                self.at = self.end;
                Ok((!piece.is_empty()).then_some(piece))
            }
            Content::File { file, .. } => {
                let Some(task) = self.ahead.take().or_else(|| read_ahead(file, &mut self.at, self.end)) else {
                    return Ok(None);
                };
                let piece = task.await.map_err(Error::internal)??;
                self.ahead = read_ahead(file, &mut self.at, self.end);
                Ok(Some(piece))
            }
            Content::Object(object) => {
                if self.at == self.end {
                    return Ok(None);
                }
                let piece = object.next(&mut self.stream, self.at..self.end).await?;
                self.at += piece.len() as u64;
                Ok(Some(piece))
            }
        }
    }
}

fn read_ahead(file: &Arc<File>, at: &mut u64, end: u64) -> Option<JoinHandle<io::Result<Bytes>>> {
    let (file, offset, length) = (file.clone(), *at, (end - *at).min(READ));
    *at += length;
    (length > 0).then(|| {
        // Made here and not on the thread that fills it: memory freed where it was made is used again at once.
        let mut piece = vec![0; length as usize];
        tokio::task::spawn_blocking(move || {
            file.read_exact_at(&mut piece, offset)?;
            Ok(Bytes::from(piece))
        })
    })
}
