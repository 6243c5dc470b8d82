//! Delivering a message: streamed into one blob, one transaction for all recipients.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use super::parse::{self, Parsed};
use crate::blobs::{BlobRow, Staged, Staging};
use crate::db::{Deed, Tx, params};
use crate::{Actor, Error, Store, Timestamp, TraceId};

/// Up to this size a message is parsed at once; larger ones take turns, since each is held in memory meanwhile.
const PARSED_AT_ONCE: u64 = 1 << 20;

/// The turn of large messages at the parser.
static LARGE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(1));

/// An account a message goes to.
#[derive(Debug, Clone)]
pub struct Target {
    /// The account.
    pub account: i64,
    /// The address it was reached by, for the audit log.
    pub address: String,
    /// The part after `+`, which may name a mailbox.
    pub detail: Option<String>,
}

/// Who a message is from and to.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The id of the mail transaction.
    pub trace: TraceId,
    /// The reverse path; empty for a notification.
    pub from: String,
    /// Where it goes.
    pub to: Vec<Target>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The bytes of the message as it was stored.
    pub size: u64,
    /// In how many mailboxes it lies.
    pub mailboxes: usize,
}

/// A message on its way in. Dropping it delivers nothing and leaves nothing behind.
pub struct Delivery {
    store: Store,
    actor: Actor,
    envelope: Envelope,
    /// Made when the first bytes come, so that a full disk is told of as an error of the message.
    staging: Option<Staging>,
}

impl Store {
    /// Begins a delivery. For `auth`, which has resolved every recipient.
    pub fn delivery(&self, mut actor: Actor, envelope: Envelope) -> Delivery {
        actor.peer.trace = envelope.trace;
        Delivery { store: self.clone(), actor, envelope, staging: None }
    }
}

impl Delivery {
    fn staging(&mut self) -> Result<&mut Staging, Error> {
        if self.staging.is_none() {
            self.staging = Some(self.store.blobs().stage()?);
        }
        self.staging.as_mut().ok_or_else(|| Error::internal("no staging"))
    }

    /// Takes the next bytes of the message.
    ///
    /// # Errors
    /// [`Error::Full`]; the delivery is over then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let result = match self.staging() {
            Ok(staging) => staging.write(bytes).await,
            Err(error) => Err(error),
        };
        self.note(result).await
    }

    /// The bytes that came so far.
    pub fn len(&self) -> u64 {
        self.staging.as_ref().map_or(0, Staging::len)
    }

    /// Whether no bytes came so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Delivers the message: durable in every mailbox, with an audit record for each, when this returns.
    ///
    /// # Errors
    /// [`Error::OverQuota`] when any of the recipients has no room, and then nobody has the message; [`Error::Full`].
    pub async fn commit(mut self) -> Result<Delivered, Error> {
        // On a task of its own: a caller that goes away (a lost connection) must not leave it half done.
        let whole = tokio::spawn(async move {
            let result = self.commit_whole().await;
            self.note(result).await
        });
        whole.await.map_err(Error::internal)?
    }

    async fn commit_whole(&mut self) -> Result<Delivered, Error> {
        self.staging()?;
        let staging = self.staging.take().ok_or_else(|| Error::internal("no staging"))?;
        let (staged, parsed) = match staging.small() {
            // The common case costs no thread: a small message is parsed in microseconds.
            Some(message) => {
                let parsed = parse::parse(message);
                (staging.finish().await?, parsed)
            }
            None => {
                let staged = staging.finish().await?;
                let parsed = parse_large(&staged).await?;
                (staged, parsed)
            }
        };
        let (actor, envelope, row) = (self.actor.clone(), self.envelope.clone(), staged.row());
        let delivered = self.store.db().write_grouped(move |tx| deliver(tx, &actor, &envelope, &row, &parsed)).await;
        staged.settle(&delivered);
        delivered
    }

    /// Records a refusal.
    async fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && error.is_refusal()
        {
            let target = self.envelope.to.iter().map(|to| to.address.as_str()).collect::<Vec<_>>().join(",");
            let written = self.store.record(&self.actor, "mail.deliver", &target, "refused", &error.to_string()).await;
            if let Err(error) = written {
                tracing::warn!(%error, "a refusal could not be recorded");
            }
        }
        result
    }
}

async fn parse_large(staged: &Staged) -> Result<Parsed, Error> {
    let _turn = if staged.size > PARSED_AT_ONCE { Some(LARGE.acquire().await.map_err(Error::internal)?) } else { None };
    let content = staged.content();
    let mut message = BytesMut::with_capacity(content.len() as usize);
    let mut reader = content.reader(0..content.len());
    while let Some(piece) = reader.next().await? {
        message.extend_from_slice(&piece);
    }
    tokio::task::spawn_blocking(move || parse::parse(&message)).await.map_err(Error::internal)
}

fn deliver(
    tx: &mut Tx<'_>,
    actor: &Actor,
    envelope: &Envelope,
    row: &BlobRow,
    parsed: &Parsed,
) -> Result<Delivered, Error> {
    // Someone who is reached by two addresses gets one copy.
    let mut targets: Vec<&Target> = Vec::new();
    for target in &envelope.to {
        if !targets.iter().any(|known| known.account == target.account && known.detail == target.detail) {
            targets.push(target);
        }
    }
    if targets.is_empty() {
        return Err(Error::invalid("a message needs a recipient"));
    }
    targets.sort_by_key(|target| target.account);
    for target in &targets {
        tx.lock(target.account)?;
    }
    let blob = row.refer(tx, targets.len() as i64)?;
    let size = row.size as i64;
    let trace = envelope.trace.as_str();
    for target in &targets {
        let mailbox = super::mailbox(tx, target.account, target.detail.as_deref())?;
        let (uid, modseq) = tx
            .returning(
                "UPDATE mailboxes SET uidnext = uidnext + 1, highestmodseq = highestmodseq + 1 WHERE id = $1
                 RETURNING uidnext - 1, highestmodseq",
                params![mailbox],
                |row| Ok((row.int(0)?, row.int(1)?)),
            )?
            .ok_or_else(|| Error::internal("a mailbox vanished"))?;
        tx.run(
            "INSERT INTO messages
             (mailbox, uid, modseq, flags, keywords, received, blob, size, envelope, structure, preview, trace)
             VALUES ($1, $2, $3, 0, '', $4, $5, $6, $7, $8, $9, $10)",
            params![
                mailbox,
                uid,
                modseq,
                Timestamp::now(),
                blob,
                size,
                &parsed.envelope,
                &parsed.structure,
                &parsed.preview,
                trace
            ],
        )?;
        let detail = format!("from=<{}> size={} blob={} uid={uid}", envelope.from, row.size, row.hex());
        tx.change(
            actor,
            target.account,
            size,
            &Deed { action: "mail.deliver", object: mailbox, target: &target.address, detail: &detail },
        )?;
    }
    Ok(Delivered { size: row.size, mailboxes: targets.len() })
}
