//! Frames between the side that has the files and the side that has the store: a line of JSON each, and behind those of
//! a message its bytes.

use std::io;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter, Take};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// The longest line.
const LINE: u64 = 1 << 20;
/// The longest piece of a message.
const PIECE: usize = 64 << 10;

/// What is asked of the storing side.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// The mailboxes: answered by [`Tell::Mailbox`] for each and [`Tell::End`].
    Mailboxes,
    /// What a mailbox holds: answered by [`Tell::Held`] for each message and [`Tell::End`].
    Held {
        /// Its name; none of that name holds nothing.
        mailbox: String,
    },
    /// A message for a mailbox, which is made if it is not there. Its bytes follow; there is no answer.
    Put {
        /// The mailbox, the same for all until [`Ask::Commit`].
        mailbox: String,
        flags: Vec<String>,
        /// Milliseconds since the Unix epoch.
        received: i64,
        size: u64,
    },
    /// A mailbox, which is made if it is not there, before what it holds is asked for: answered by [`Tell::End`] or
    /// [`Tell::Refused`]. From then on no other import goes into the account.
    Make {
        /// Its name.
        mailbox: String,
    },
    /// Stores all that was put: answered by [`Tell::End`] or [`Tell::Refused`], and then none of them is stored.
    Commit,
    /// The content of messages: answered by [`Tell::Message`] with its bytes for each that is there, and [`Tell::End`].
    Fetch {
        /// The mailbox.
        mailbox: String,
        uids: Vec<u32>,
    },
}

/// What the storing side answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Tell {
    /// A mailbox.
    Mailbox { name: String, uidvalidity: u32, messages: u32 },
    /// A message in a mailbox.
    Held(Held),
    /// The bytes of a message follow.
    Message { uid: u32, size: u64 },
    /// That is all.
    End,
    /// It was not done.
    Refused {
        why: String,
        /// Whether another message may fare better.
        message: bool,
    },
}

/// A message in a mailbox.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) uid: u32,
    /// The start of its content's hash, in hexadecimal.
    pub(super) hash: String,
    /// Milliseconds since the Unix epoch.
    pub(super) received: i64,
    pub(super) flags: Vec<String>,
    pub(super) size: u64,
}

/// The start of a content's hash, in hexadecimal.
pub(super) fn short_hash(hash: &[u8]) -> String {
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What a side reads from: the control socket has limited its first line.
pub(crate) type Reading = BufReader<Take<OwnedReadHalf>>;

/// One side's end.
pub(crate) struct Link {
    read: Reading,
    write: BufWriter<OwnedWriteHalf>,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> Link {
        let (read, write) = stream.into_split();
        Link::of(BufReader::with_capacity(PIECE, read.take(u64::MAX)), write)
    }

    /// Goes on with a conversation that began otherwise.
    pub(super) fn of(mut read: Reading, write: OwnedWriteHalf) -> Link {
        read.get_mut().set_limit(u64::MAX);
        Link { read, write: BufWriter::with_capacity(PIECE, write) }
    }

    /// Sends a frame that bytes or other frames follow.
    pub(super) async fn begin(&mut self, frame: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(frame)?;
        line.push(b'\n');
        self.write.write_all(&line).await
    }

    /// Sends bytes of a message.
    pub(super) async fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes).await
    }

    /// Sends a frame that the other side acts on.
    pub(super) async fn send(&mut self, frame: &impl Serialize) -> io::Result<()> {
        self.begin(frame).await?;
        self.write.flush().await
    }

    /// The next frame; `None` at the end.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        let read = (&mut self.read).take(LINE).read_until(b'\n', &mut line).await?;
        if read == 0 { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
    }

    /// The next piece of a message of which `left` bytes are still to come.
    pub(super) async fn piece(&mut self, left: &mut u64) -> io::Result<Option<Bytes>> {
        if *left == 0 {
            return Ok(None);
        }
        let buffered = self.read.fill_buf().await?;
        let length = buffered.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let piece = Bytes::copy_from_slice(&buffered[..length]);
        self.read.consume(length);
        *left -= length as u64;
        Ok(Some(piece))
    }

    /// What the storing side tells next.
    pub(super) async fn told(&mut self) -> Result<Tell, String> {
        match self.next().await {
            Ok(Some(tell)) => Ok(tell),
            Ok(None) => Err("the storing side has ended; run the command again, it goes on where it was".into()),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Asks, where the answer is read afterwards.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<(), String> {
        self.send(ask).await.map_err(|error| broken(&error))
    }
}

/// What the user is told when the other side is gone.
pub(super) fn broken(error: &io::Error) -> String {
    format!("the storing side is gone ({error}); run the command again, it goes on where it was")
}
