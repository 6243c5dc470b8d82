//! The outbound queue: one row for each recipient of a message that leaves this server (RFC 5321 §4.5.4.1). Whoever
//! works on a row claims it for a while; the number of the claim turns away who lost it, so that any node may work on
//! any row, and none is worked on twice at once.

mod command;
mod limit;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use command::{Listed, Which};
pub(crate) use rows::{NewQueued, enqueue};

use crate::blobs::Content;
use crate::db::params;
use crate::lease::clock;
use crate::{Actor, Delivery, Error, Store, Timestamp, TraceId};

/// How a message asks to be passed on, whoever it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manner {
    /// Whether an address or the header is beyond ASCII (RFC 6531).
    pub utf8: bool,
    /// What its content is made of.
    pub body: Body,
    /// Whether it may go over verified TLS alone (RFC 8689).
    pub require_tls: bool,
    /// Whether it goes even where TLS cannot be as others ask for (RFC 8689 §3).
    pub tls_optional: bool,
    /// How much of it comes back when it cannot be delivered (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// The sender's own name for this transaction, as it came (RFC 3461 §4.4).
    pub envid: Option<String>,
}

/// What a content is made of (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// ASCII in lines.
    #[default]
    SevenBit,
    /// Lines of any octets.
    EightBit,
    /// Any octets.
    Binary,
}

/// How much of a message comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Return {
    /// The header alone.
    Header,
    /// All of it.
    Full,
}

/// What the sender wants to hear about a recipient (RFC 3461 §4.1, §4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// That it was delivered.
    pub success: bool,
    /// That it cannot be delivered.
    pub failure: bool,
    /// That it takes long.
    pub delay: bool,
    /// Whether the sender said so, and it must be passed on.
    pub said: bool,
    /// The address the sender had written, as it came.
    pub original: Option<String>,
}

impl Default for Notice {
    fn default() -> Self {
        Notice { success: false, failure: true, delay: true, said: false, original: None }
    }
}

/// A recipient on another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onward {
    /// The reverse path that it is told; empty for a notification.
    pub from: String,
    /// Its address.
    pub address: String,
    /// Whose connections it shares: a domain in small letters and ASCII, or an address in brackets.
    pub destination: String,
    /// What the sender wants to hear about it.
    pub notice: Notice,
}

/// How long a message is tried, and how much an account may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long it is tried.
    pub lifetime: Duration,
    /// After which time the sender is told that it takes long.
    pub warning: Option<Duration>,
    /// To how many recipients an account may send in an hour.
    pub hourly: Option<u32>,
}

/// A message in the queue.
#[derive(Debug, Clone)]
pub struct Queued {
    /// Its number.
    pub id: i64,
    /// The id of the transaction it came by.
    pub trace: TraceId,
    /// The account that sent it; `None` for what came from elsewhere, or from this server itself.
    pub account: Option<i64>,
    /// Fields that go before its content.
    pub head: String,
    /// Its bytes, with those fields.
    pub size: u64,
    /// How it asks to be passed on.
    pub manner: Manner,
    /// When it came.
    pub arrived: Timestamp,
    blob: i64,
    /// How many recipients are left of it.
    recipients: i64,
}

/// A row that somebody works on until its time is over.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The row's number.
    pub id: i64,
    /// The message.
    pub message: Arc<Queued>,
    /// The reverse path; empty for a notification.
    pub from: String,
    /// Whom it is for.
    pub recipient: String,
    /// Whose connections it shares.
    pub destination: String,
    /// What the sender wants to hear about it.
    pub notice: Notice,
    /// How often it was tried before.
    pub attempts: u32,
    /// When it is given up.
    pub expires: Timestamp,
    /// How the newest try ended; empty for none.
    pub said: String,
    number: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// The destinations that something is due for, those that have waited longest first.
    pub destinations: Vec<String>,
    /// How long it is until something is due for another one.
    pub next: Option<Duration>,
    /// Whether something is to be given up.
    pub expired: bool,
    /// Whether a sender is to be told that it takes long.
    pub late: bool,
}

/// How a try ended, in the words of the server that said so, or in ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was taken.
    Sent(String),
    /// It may be taken later, and is tried again after this time.
    Deferred(String, Duration),
    /// It will never be taken.
    Failed(String),
    /// The sender was told that it takes long; it is tried as before.
    Warned,
}

/// What is claimed together, since it goes one way.
#[derive(Debug, Clone)]
pub struct Portion {
    /// Where it goes.
    pub destinations: Vec<String>,
    /// In how many parts at most.
    pub parts: usize,
    /// How many rows are claimed for each of them, and with them all that their messages have.
    pub each: u32,
}

/// Fewer rows are no part, unless fewer are claimed for each: a connection has its price.
const PART: u32 = 2;

/// The queue, for whoever empties it. For `auth`, which hands it on.
#[derive(Clone)]
pub struct Queue {
    store: Store,
}

impl Store {
    /// The outbound queue.
    pub fn queue(&self) -> Queue {
        Queue { store: self.clone() }
    }

    /// Gives free again what a process had claimed that ended, where no other one can have it.
    pub(crate) async fn recover_queue(&self) -> Result<(), Error> {
        if self.db().is_shared() {
            return Ok(());
        }
        let sql = "UPDATE queue SET due = $1, holder = '', claim = claim + 1 WHERE holder <> ''";
        self.db().write(move |tx| tx.run(sql, params![Timestamp::now()])).await
    }
}

impl Queue {
    /// Waits until something was put into the queue by this process.
    pub async fn filled(&self) {
        self.store.queue_filled().notified().await;
    }

    /// Says that this process is there, which keeps others from taking what it has claimed for so long.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn attend(&self, time: Duration) -> Result<(), Error> {
        if !self.store.db().is_shared() {
            return Ok(());
        }
        self.store.lease(&format!("queue {}", self.store.holder()), time).await.map(drop)
    }

    /// Gives free again what processes had claimed that are not there any more; how many rows. Who is there after all
    /// has lost its claims: their numbers are older.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn free_absent(&self) -> Result<usize, Error> {
        let holder = self.store.holder().to_owned();
        let freed = self.store.db().write(move |tx| {
            let now = clock(tx)?;
            tx.run("DELETE FROM leases WHERE name LIKE 'queue %' AND expires < $1", params![now])?;
            tx.execute(
                "UPDATE queue SET due = $1, holder = '', claim = claim + 1 WHERE holder <> '' AND holder <> $2
                 AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.name = 'queue ' || queue.holder)",
                params![now, &holder],
            )
        });
        let freed = freed.await?;
        if freed > 0 {
            self.store.queue_filled().notify_one();
        }
        Ok(freed)
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn due(&self) -> Result<Due, Error> {
        self.store.db().read(rows::due).await
    }

    /// Claims rows of these destinations that are due, the oldest first, for so long: `most` of them, and what the same
    /// messages have due for any of them. And of how many destinations at their head nothing is due any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim(
        &self,
        destinations: &[String],
        most: u32,
        time: Duration,
    ) -> Result<(Vec<Claim>, usize), Error> {
        let (destinations, holder) = (destinations.to_vec(), self.store.holder().to_owned());
        self.store.db().write_grouped(move |tx| rows::claim(tx, &destinations, &holder, most, millis(time))).await
    }

    /// Claims several portions, each in its parts, so that all of it is on its way at once: with much the same number
    /// of messages, each of which is in one part. Fewer parts where less is due.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_each(&self, portions: Vec<Portion>, time: Duration) -> Result<Vec<Vec<Vec<Claim>>>, Error> {
        let holder = self.store.holder().to_owned();
        let claim = move |tx: &mut crate::db::Tx<'_>| {
            let each = |portion: &Portion| {
                let most = portion.each.saturating_mul(u32::try_from(portion.parts).unwrap_or(u32::MAX));
                let (claims, _) = rows::claim(tx, &portion.destinations, &holder, most, millis(time))?;
                Ok(divided(claims, portion))
            };
            portions.iter().map(each).collect()
        };
        self.store.db().write_grouped(claim).await
    }

    /// Claims rows whose time is over, wherever they go, and that are not due: what is due is tried once more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_expired(&self, most: u32, time: Duration) -> Result<Vec<Claim>, Error> {
        let holder = self.store.holder().to_owned();
        self.store.db().write_grouped(move |tx| rows::claim_expired(tx, &holder, most, millis(time))).await
    }

    /// Rows whose senders are to be told that it takes long, not claimed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn late(&self, most: u32) -> Result<Vec<Claim>, Error> {
        self.store.db().read(move |tx| rows::late(tx, most)).await
    }

    /// Makes claims last so long from now; whether all of them still hold. Asked right before a message is handed over,
    /// so that nobody else hands it over at the same time.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew(&self, claims: &[Claim], time: Duration) -> Result<bool, Error> {
        let claims: Vec<(i64, i64)> = claims.iter().map(|claim| (claim.id, claim.number)).collect();
        self.store
            .db()
            .write_grouped(move |tx| {
                let until = clock(tx)?.saturating_add(millis(time));
                let mut all = true;
                for (id, number) in &claims {
                    let sql = "UPDATE queue SET due = $3 WHERE id = $1 AND claim = $2";
                    all &= tx.execute(sql, params![*id, *number, until])? > 0;
                }
                Ok(all)
            })
            .await
    }

    /// Ends claims: what was sent or failed leaves the queue, the rest waits. Each has its audit record, and the
    /// notifications that follow are delivered or queued in the same transaction: none is lost, and none is sent twice.
    /// A claim that was lost meanwhile changes nothing; whoever has it now tells of it.
    ///
    /// # Errors
    /// [`Error::OverQuota`] when a notification has no room, [`Error::Busy`] when there are notifications and a claim
    /// was lost, which they may tell of; when the store fails. Then nothing is changed.
    pub async fn settle(&self, actor: Actor, fates: Vec<(Claim, Fate)>, notices: Vec<Delivery>) -> Result<(), Error> {
        let tells = !notices.is_empty();
        let work = move |tx: &mut crate::db::Tx<'_>| {
            fates.iter().try_for_each(|(claim, fate)| match rows::settle(tx, &actor, claim, fate)? {
                // What was sent was sent.
                false if tells && !matches!(fate, Fate::Sent(_)) => Err(Error::Busy),
                _ => Ok(()),
            })
        };
        Delivery::commit_all(&self.store, notices, work).await.map(drop)
    }

    /// Lets a destination rest that could not be reached: nothing is due for it before. `said` is why.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rest(&self, destination: &str, time: Duration, said: &str) -> Result<(), Error> {
        let (destination, said) = (destination.to_owned(), said.to_owned());
        self.store
            .db()
            .write_grouped(move |tx| {
                let now = clock(tx)?;
                tx.run("DELETE FROM resting WHERE until <= $1", params![now])?;
                tx.run(
                    "INSERT INTO resting (destination, until, said) VALUES ($1, $2, $3)
                     ON CONFLICT (destination) DO UPDATE SET until = excluded.until, said = excluded.said",
                    params![&destination, now.saturating_add(millis(time)), &said],
                )
            })
            .await
    }

    /// A destination was reached: it need not rest, whoever said so.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn wake(&self, destination: &str) -> Result<(), Error> {
        let name = destination.to_owned();
        let rests = move |tx: &crate::db::Read<'_>| {
            Ok(tx.row("SELECT 1 FROM resting WHERE destination = $1", params![&name], |_| Ok(()))?.is_some())
        };
        // Few do, and to write takes longer.
        if !self.store.db().read(rests).await? {
            return Ok(());
        }
        let destination = destination.to_owned();
        let sql = "DELETE FROM resting WHERE destination = $1";
        self.store.db().write_grouped(move |tx| tx.run(sql, params![&destination])).await
    }

    /// The content of a message in the queue.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it left the queue meanwhile; [`Error::Internal`] when it was lost.
    pub async fn content(&self, message: &Queued) -> Result<Content, Error> {
        self.store.content(message.blob).await?.map_err(|located| {
            Error::internal(format!("queued message {} is lost: {located} is not there", message.id))
        })
    }
}

/// Claims in no more than so many parts of much the same number of messages, each message in one of them: what one
/// has more recipients takes hardly longer.
fn divided(claims: Vec<Claim>, portion: &Portion) -> Vec<Vec<Claim>> {
    let messages = claims.chunk_by(|one, next| one.message.id == next.message.id).count();
    let (share, least) = (messages.div_ceil(portion.parts.max(1)), PART.min(portion.each) as usize);
    let (mut divided, mut shared): (Vec<Vec<Claim>>, usize) = (Vec::new(), 0);
    for claim in claims {
        match divided.last_mut() {
            Some(part) if part.last().is_some_and(|last| last.message.id == claim.message.id) => part.push(claim),
            Some(part) if shared < share || part.len() < least => {
                part.push(claim);
                shared += 1;
            }
            _ => {
                divided.push(vec![claim]);
                shared = 1;
            }
        }
    }
    divided
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
