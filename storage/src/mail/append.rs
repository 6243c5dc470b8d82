//! Putting messages into a mailbox at its owner's wish: one or several, all of them or none.

use bytes::Bytes;

use super::keywords::Giver;
use super::messages::{self, Incoming};
use super::parse::Parsed;
use super::{Mail, mailboxes};
use crate::blobs::{BlobRow, Staged, Staging};
use crate::db::{Deed, Tx};
use crate::{Error, Timestamp};

/// How much of a message that was made here is written at once.
const PIECE: usize = 256 << 10;

/// Messages on their way into a mailbox. Dropping it leaves nothing behind.
pub struct Append {
    mail: Mail,
    mailbox: String,
    /// The most bytes the account has room for, as it was at the start; the transaction decides in the end.
    room: Option<u64>,
    taken: u64,
    /// The bytes of `whole` that are in memory.
    held: usize,
    whole: Vec<(Staged, Ready)>,
    coming: Option<Coming>,
}

struct Coming {
    flags: Vec<String>,
    received: Timestamp,
    staging: Staging,
}

/// A message as the transaction needs it.
struct Ready {
    row: BlobRow,
    parsed: Parsed,
    flags: Vec<String>,
    received: Timestamp,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The UIDVALIDITY of the mailbox.
    pub uidvalidity: u32,
    /// The UID of the first message; those of the others follow.
    pub first: u32,
    /// How many messages there are.
    pub messages: u32,
}

impl Mail {
    /// Begins to put messages into a mailbox.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such mailbox.
    pub async fn append(&self, mailbox: &str) -> Result<Append, Error> {
        self.mailbox(mailbox).await?;
        let usage = self.usage().await?;
        let room = usage.quota.map(|quota| quota.saturating_sub(usage.used));
        let (mail, mailbox) = (self.clone(), mailbox.to_owned());
        Ok(Append { mail, mailbox, room, taken: 0, held: 0, whole: Vec::new(), coming: None })
    }
}

impl Append {
    /// How many messages may wait for each other.
    pub const MESSAGES: usize = 1000;
    /// How many of their bytes may be in memory meanwhile.
    pub const HELD: usize = 16 << 20;

    /// Begins a message of `size` bytes; without `received` it came just now.
    ///
    /// # Errors
    /// [`Error::OverQuota`] when it is certain that there is no room for it; [`Error::Full`]; [`Error::Invalid`] when
    /// too many wait already.
    pub async fn begin(&mut self, flags: Vec<String>, received: Option<Timestamp>, size: u64) -> Result<(), Error> {
        self.taken = self.taken.saturating_add(size);
        let over = self.room.is_some_and(|room| self.taken > room);
        let staged = match self.has_room() {
            false => Err(Error::invalid("too many messages in one command; send them in several")),
            true if over => Err(Error::OverQuota),
            true => self.mail.store.blobs().stage(),
        };
        match staged {
            Ok(staging) => {
                let received = received.unwrap_or_else(Timestamp::now);
                self.coming = Some(Coming { flags, received, staging });
                Ok(())
            }
            Err(error) => {
                self.mail.store.refused(&self.mail.actor, "mail.append", &self.mailbox, &error).await;
                Err(error)
            }
        }
    }

    fn has_room(&self) -> bool {
        self.whole.len() < Append::MESSAGES && self.held < Append::HELD
    }

    /// Takes the next bytes of the message.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let coming = self.coming.as_mut().ok_or_else(|| Error::internal("no message has begun"))?;
        let result = coming.staging.write(bytes).await;
        if let Err(error) = &result
            && error.is_refusal()
        {
            self.mail.store.refused(&self.mail.actor, "mail.append", &self.mailbox, error).await;
        }
        result
    }

    /// The message is whole.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub async fn end(&mut self) -> Result<(), Error> {
        let Some(Coming { flags, received, staging }) = self.coming.take() else { return Ok(()) };
        let (staged, parsed) = messages::prepare(staging).await?;
        let row = staged.row();
        self.held += staged.held() + parsed.held() + flags.iter().map(String::len).sum::<usize>();
        self.whole.push((staged, Ready { row, parsed, flags, received }));
        Ok(())
    }

    /// The message is whole, and what is `made` of it is kept in its stead. Both are in memory meanwhile, so that such
    /// messages take turns.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub async fn end_as(&mut self, made: fn(&[u8]) -> Vec<u8>) -> Result<(), Error> {
        let Some(Coming { flags, received, staging }) = self.coming.take() else { return Ok(()) };
        let came = staging.finish().await?;
        let turn = messages::turn().await?;
        let content = came.open()?.read(0..came.size).await?;
        let mut made =
            tokio::task::spawn_blocking(move || Bytes::from(made(&content))).await.map_err(Error::internal)?;
        self.coming = Some(Coming { flags, received, staging: self.mail.store.blobs().stage()? });
        while !made.is_empty() {
            self.write(made.split_to(made.len().min(PIECE))).await?;
        }
        drop(turn);
        self.end().await
    }

    /// Puts all of them into the mailbox: durable, and with an audit record, when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the mailbox is gone; [`Error::OverQuota`]; [`Error::Full`]; [`Error::Invalid`] for a
    /// flag that cannot be.
    pub async fn commit(self) -> Result<Appended, Error> {
        // On a task of its own: a caller that goes away (a lost connection) must not leave it half done.
        tokio::spawn(self.commit_whole()).await.map_err(Error::internal)?
    }

    async fn commit_whole(self) -> Result<Appended, Error> {
        let Append { mail, mailbox, whole, .. } = self;
        let (staged, ready): (Vec<Staged>, Vec<Ready>) = whole.into_iter().unzip();
        let (owner, target) = (mail.clone(), mailbox.clone());
        let appended = mail.change("mail.append", &mailbox, move |tx| append(tx, &owner, &target, &ready)).await;
        for staged in staged {
            staged.settle(&appended);
        }
        appended
    }
}

fn append(tx: &mut Tx<'_>, mail: &Mail, target: &str, ready: &[Ready]) -> Result<Appended, Error> {
    let account = mail.account;
    let mailbox = mailboxes::find(tx, account, target)?;
    let mut keywords = Giver::new(mail);
    let (mut incoming, mut bytes) = (Vec::with_capacity(ready.len()), 0);
    for message in ready {
        let size = message.row.size as i64;
        let flags = keywords.flags(tx, &message.flags, true)?;
        let blob = messages::keep(tx, &message.row, 1, &message.parsed)?;
        let thread = messages::thread(tx, account, &message.parsed.ids, &message.row.hex())?;
        incoming.push(Incoming { blob, size, flags, received: message.received, thread });
        bytes += size;
    }
    let first = messages::insert(tx, account, mailbox.id, &incoming)?;
    let count = incoming.len() as u32;
    let hashes: Vec<String> = ready.iter().map(|message| message.row.hex()).take(10).collect();
    let detail = format!("uid={first} messages={count} size={bytes} blob={}", hashes.join(","));
    let deed = Deed { action: "mail.append", object: mailbox.id, target, detail: &detail };
    tx.change(&mail.actor, account, bytes, &deed)?;
    Ok(Appended { uidvalidity: mailbox.counts.uidvalidity, first, messages: count })
}
