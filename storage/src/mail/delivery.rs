//! Delivering a message: streamed into one blob, one transaction for all recipients, here and elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::messages::{self, Incoming};
use super::parse::Parsed;
use super::view::Flags;
use crate::accounts::has_room;
use crate::audit::Entry;
use crate::blobs::{BlobRow, Staged, Staging};
use crate::db::{Deed, Read, Tx, params};
use crate::queue::{self, Manner, NewQueued, Onward, Terms};
use crate::{Actor, Error, Store, Timestamp, TraceId};

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
    /// Where it goes here.
    pub to: Vec<Target>,
    /// Why it goes to the mailbox for junk; `None` for mail that does not.
    pub junk: Option<String>,
    /// Fields that go before it where it goes on.
    pub head: String,
    /// The account that keeps a copy of what it has sent.
    pub sent: Option<i64>,
    /// Whom it goes on to.
    pub onward: Vec<Onward>,
    /// How it asks to be passed on.
    pub manner: Manner,
    /// How long it is tried.
    pub terms: Terms,
}

impl Envelope {
    /// One for mailboxes here.
    pub fn here(trace: TraceId, from: String, to: Vec<Target>) -> Envelope {
        let terms = Terms { lifetime: Duration::ZERO, warning: None, hourly: None };
        Envelope {
            trace,
            from,
            to,
            junk: None,
            head: String::new(),
            sent: None,
            onward: Vec::new(),
            manner: Manner::default(),
            terms,
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The bytes of the message as it was stored.
    pub size: u64,
    /// In how many mailboxes it lies.
    pub mailboxes: usize,
    /// To how many recipients it goes on.
    pub queued: usize,
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

    /// Has it put into the mailbox for junk, and not passed on to other servers: they would take this one for who sends
    /// junk.
    pub fn junk(&mut self, why: String) {
        let onward: Vec<String> = self.envelope.onward.drain(..).map(|to| to.address).collect();
        let left_out =
            if onward.is_empty() { String::new() } else { format!("; not forwarded to {}", onward.join(",")) };
        self.envelope.junk = Some(why + &left_out);
    }

    /// Fields that go before it where it goes on to other servers.
    pub fn head(&mut self, fields: String) {
        self.envelope.head = fields;
    }

    /// Has a copy put into the mailbox for sent mail of that account.
    pub fn keep_sent(&mut self, account: i64) {
        self.envelope.sent = Some(account);
    }

    /// The bytes that came so far.
    pub fn len(&self) -> u64 {
        self.staging.as_ref().map_or(0, Staging::len)
    }

    /// Whether no bytes came so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The accounts that have no room for what was written; empty where nobody else would get it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn without_room(&self) -> Result<BTreeSet<i64>, Error> {
        if self.envelope.to.is_empty() || self.envelope.to.len() + self.envelope.onward.len() == 1 {
            return Ok(BTreeSet::new());
        }
        let (envelope, size) = (self.envelope.clone(), self.len() as i64);
        let full = self.store.db().read(move |tx| {
            let mut needs: BTreeMap<i64, i64> = BTreeMap::new();
            let copies = copies(tx, &envelope)?.into_iter().map(|(_, target)| target.account);
            for account in copies {
                *needs.entry(account).or_default() += size;
            }
            let (mut full, mut others) = (BTreeSet::new(), !envelope.onward.is_empty());
            for account in envelope.to.iter().map(|target| target.account).collect::<BTreeSet<i64>>() {
                match has_room(tx, account, needs.get(&account).copied().unwrap_or_default())? {
                    true => others = true,
                    false => drop(full.insert(account)),
                }
            }
            Ok(if others { full } else { BTreeSet::new() })
        });
        full.await
    }

    /// Delivers nothing to these accounts, which have no room for it: the audit log says so of each address.
    pub async fn leave_out(&mut self, full: &BTreeSet<i64>) {
        let is_full = |target: &Target| full.contains(&target.account);
        let (out, to) = std::mem::take(&mut self.envelope.to).into_iter().partition(is_full);
        self.envelope.to = to;
        self.refused(&out, &[], &Error::OverQuota).await;
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

    /// Delivers the message together with others: all of them, or none.
    ///
    /// # Errors
    /// As [`Delivery::commit`].
    pub async fn commit_with(self, mut others: Vec<Delivery>) -> Result<Delivered, Error> {
        if others.is_empty() {
            return self.commit().await;
        }
        let (store, actor, envelope) = (self.store.clone(), self.actor.clone(), self.envelope.clone());
        others.insert(0, self);
        let done = Delivery::commit_all(&store, others, |_| Ok(())).await;
        let done = done.and_then(|all| all.into_iter().next().ok_or_else(|| Error::internal("nothing was delivered")));
        Delivery { store, actor, envelope, staging: None }.note(done).await
    }

    /// Delivers several messages together with another change: all of it, or nothing.
    ///
    /// # Errors
    /// As [`Delivery::commit`]; those of `work`.
    pub(crate) async fn commit_all(
        store: &Store,
        deliveries: Vec<Delivery>,
        work: impl Fn(&mut Tx<'_>) -> Result<(), Error> + Send + Sync + 'static,
    ) -> Result<Vec<Delivered>, Error> {
        let store = store.clone();
        let whole = tokio::spawn(async move {
            let (mut staged, mut parts) = (Vec::new(), Vec::new());
            for mut delivery in deliveries {
                let (one, parsed) = delivery.prepare().await?;
                parts.push((delivery.actor.clone(), delivery.envelope.clone(), one.row(), parsed));
                staged.push(one);
            }
            let queues = parts.iter().any(|(_, envelope, ..)| !envelope.onward.is_empty());
            let done = store.db().write_grouped(move |tx| {
                work(tx)?;
                parts.iter().map(|(actor, envelope, row, parsed)| deliver(tx, actor, envelope, row, parsed)).collect()
            });
            let done = done.await;
            staged.into_iter().for_each(|one| one.settle(&done));
            if queues && done.is_ok() {
                store.queue_filled().notify_one();
            }
            done
        });
        whole.await.map_err(Error::internal)?
    }

    async fn prepare(&mut self) -> Result<(Staged, Parsed), Error> {
        self.staging()?;
        let staging = self.staging.take().ok_or_else(|| Error::internal("no staging"))?;
        messages::prepare(staging).await
    }

    async fn commit_whole(&mut self) -> Result<Delivered, Error> {
        let (staged, parsed) = self.prepare().await?;
        let (actor, envelope, row) = (self.actor.clone(), self.envelope.clone(), staged.row());
        let delivered = self.store.db().write_grouped(move |tx| deliver(tx, &actor, &envelope, &row, &parsed)).await;
        staged.settle(&delivered);
        if delivered.as_ref().is_ok_and(|delivered| delivered.queued > 0) {
            self.store.queue_filled().notify_one();
        }
        delivered
    }

    /// Records a refusal.
    async fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && error.is_refusal()
        {
            self.refused(&self.envelope.to, &self.envelope.onward, error).await;
        }
        result
    }

    async fn refused(&self, to: &[Target], onward: &[Onward], why: &Error) {
        let onward = onward.iter().map(|to| to.address.as_str());
        let addresses = to.iter().map(|to| to.address.as_str()).chain(onward).collect::<Vec<_>>().join(",");
        let written = self.store.record(&self.actor, "mail.deliver", &addresses, "refused", &why.to_string()).await;
        if let Err(error) = written {
            tracing::warn!(%error, "a refusal could not be recorded");
        }
    }
}

fn deliver(
    tx: &mut Tx<'_>,
    actor: &Actor,
    envelope: &Envelope,
    row: &BlobRow,
    parsed: &Parsed,
) -> Result<Delivered, Error> {
    if envelope.to.is_empty() && envelope.onward.is_empty() {
        return Err(Error::invalid("a message needs a recipient"));
    }
    let accounts: BTreeSet<i64> = envelope.to.iter().map(|target| target.account).chain(envelope.sent).collect();
    accounts.iter().try_for_each(|account| tx.lock(*account))?;
    let copies = copies(tx, envelope)?;
    let own = match envelope.sent {
        Some(account) => kept(tx, actor, envelope, account, row.size as i64, &copies)?,
        None => None,
    };
    let queued = envelope.onward.len();
    let refs = copies.len() as i64 + i64::from(queued > 0) + i64::from(own.is_some());
    let blob =
        if copies.is_empty() && own.is_none() { row.refer(tx, refs)? } else { messages::keep(tx, row, refs, parsed)? };
    if queued > 0 {
        let Envelope { trace, head, manner, onward, terms, .. } = envelope;
        let message = NewQueued { trace: *trace, head, blob, size: row.size, manner, onward, terms: *terms };
        queue::enqueue(tx, actor, &message)?;
    }
    let size = row.size as i64;
    let received = Timestamp::now();
    let from = envelope.from.as_str();
    let copies = copies.iter().map(|(mailbox, target)| (*mailbox, target.account, target.address.as_str(), false));
    // Its sender has read it.
    let own = own.map(|(mailbox, account)| (mailbox, account, from, true));
    let mut mailboxes = 0;
    for (mailbox, account, address, seen) in copies.chain(own) {
        mailboxes += 1;
        let thread = messages::thread(tx, account, &parsed.ids, &row.hex())?;
        let flags = if seen { Flags::SEEN } else { Flags::default() };
        let incoming = Incoming { blob, size, flags, received, thread };
        let uid = messages::insert(tx, account, mailbox, &[incoming])?;
        let junk = envelope.junk.as_deref().map(|why| format!(" junk={why}")).unwrap_or_default();
        let detail = format!("from=<{}> size={} blob={} uid={uid}{junk}", envelope.from, row.size, row.hex());
        tx.change(
            actor,
            account,
            size,
            &Deed { action: "mail.deliver", object: mailbox, target: address, detail: &detail },
        )?;
    }
    Ok(Delivered { size: row.size, mailboxes, queued })
}

/// The mailboxes it goes to, by their accounts: one that is reached by several addresses gets one copy.
fn copies<'a>(tx: &Read<'_>, envelope: &'a Envelope) -> Result<Vec<(i64, &'a Target)>, Error> {
    // However many addresses an account is reached by, it is asked for each mailbox once.
    let detail = |target: &Target| target.detail.clone().filter(|_| envelope.junk.is_none());
    let mut targets: Vec<(i64, Option<String>, &Target)> =
        envelope.to.iter().map(|target| (target.account, detail(target), target)).collect();
    targets.sort_by(|(one, detail, _), (next, other, _)| (one, detail).cmp(&(next, other)));
    targets.dedup_by(|(one, detail, _), (next, other, _)| one == next && detail == other);
    let mut copies: Vec<(i64, &Target)> = Vec::new();
    for account in targets.chunk_by(|(one, ..), (next, ..)| one == next) {
        let (mut known, mut inbox) = (BTreeSet::new(), None);
        for (account, detail, target) in account {
            let named = match (&envelope.junk, detail) {
                (Some(_), _) => special(tx, *account, "\\Junk")?,
                (None, Some(detail)) => named(tx, *account, detail)?,
                (None, None) => None,
            };
            let mailbox = match (named, inbox) {
                (Some(named), _) => named,
                (None, Some(inbox)) => inbox,
                (None, None) => *inbox.insert(self::inbox(tx, *account)?),
            };
            if known.insert(mailbox) {
                copies.push((mailbox, target));
            }
        }
    }
    Ok(copies)
}

/// Where its sender keeps a copy, if there is room for it: without it the message goes all the same.
fn kept(
    tx: &mut Tx<'_>,
    actor: &Actor,
    envelope: &Envelope,
    account: i64,
    size: i64,
    copies: &[(i64, &Target)],
) -> Result<Option<(i64, i64)>, Error> {
    let Some(mailbox) = special(tx, account, "\\Sent")? else { return Ok(None) };
    let received = copies.iter().filter(|(_, target)| target.account == account).count() as i64;
    if has_room(tx, account, size * (received + 1))? {
        return Ok(Some((mailbox, account)));
    }
    let (action, target, detail) = ("mail.deliver", envelope.from.as_str(), "no room for the copy in Sent");
    tx.record(&Entry { actor, action, change: None, target, outcome: "refused", detail })?;
    Ok(None)
}

/// The mailbox of a special use (RFC 6154).
fn special(tx: &Read<'_>, account: i64, of: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT id FROM mailboxes WHERE account = $1 AND special = $2 ORDER BY id LIMIT 1";
    tx.row(sql, params![account, of], |row| row.int(0))
}

/// The mailbox that the part after `+` names. Those with a special use are their owner's to fill: nobody else puts
/// something among the drafts or what was sent, or where it is removed or not looked at.
fn named(tx: &Read<'_>, account: i64, name: &str) -> Result<Option<i64>, Error> {
    let sql = "SELECT id FROM mailboxes WHERE account = $1 AND name = $2 AND (special IS NULL OR name = 'INBOX')";
    tx.row(sql, params![account, name], |row| row.int(0))
}

fn inbox(tx: &Read<'_>, account: i64) -> Result<i64, Error> {
    named(tx, account, "INBOX")?.ok_or_else(|| Error::internal(format!("account {account} has no INBOX")))
}
