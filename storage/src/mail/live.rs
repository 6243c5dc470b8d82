//! The mailboxes that somebody has open: one view of each in the process, brought up to date when it is asked for, and
//! those who wait for changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use super::view::{Flags, Message, View};
use super::{Keywords, Mail};
use crate::db::{Change, Read, Row, params};
use crate::{Error, Timestamp};

/// How many messages are kept in views that nobody holds just now.
const REMEMBERED: u64 = 1_000_000;

const MESSAGE: &str = "uid, size, flags, modseq, received, blob";

/// The mailboxes of one process that are open, or were lately.
pub(crate) struct Lives {
    open: Mutex<HashMap<i64, Weak<Live>>>,
    /// Each with how many messages it had when it was opened.
    recent: Cache<i64, (u64, Arc<Live>), ByMessages>,
}

#[derive(Clone)]
struct ByMessages;

impl Weighter<i64, (u64, Arc<Live>)> for ByMessages {
    fn weight(&self, _: &i64, (messages, _): &(u64, Arc<Live>)) -> u64 {
        messages + 100
    }
}

/// One of them.
struct Live {
    id: i64,
    account: i64,
    /// Raised by every change of the mailbox that this process hears of.
    heard: watch::Sender<u64>,
    /// The newest view, and how many changes had been heard of before it was read.
    view: RwLock<Option<(u64, Arc<View>)>>,
    /// Held by the one who reads a new view.
    reading: tokio::sync::Mutex<()>,
    /// How many changes were heard of; the same as `heard`, for who does not wait.
    changes: AtomicU64,
    /// The number of the newest of them in the account's feed.
    newest: AtomicI64,
    /// The first UID that no session was told of; 0 while that is not known here.
    recent: AtomicU32,
}

impl Lives {
    pub(crate) fn new() -> Lives {
        Lives { open: Mutex::default(), recent: Cache::with_weighter(1000, REMEMBERED, ByMessages) }
    }

    /// Tells who has the changed mailboxes open.
    pub(crate) fn note(&self, changes: &[Change]) {
        let mail = changes.iter().filter(|change| change.action.starts_with("mail"));
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (change, live) in mail.filter_map(|change| Some((change, open.get(&change.object)?.upgrade()?))) {
            // Where nodes share a store a change is told twice, and an earlier one of another node perhaps after it:
            // who has read what stands there since this one knows both.
            if live.newest.fetch_max(change.number, Ordering::AcqRel) >= change.number {
                continue;
            }
            let number = live.changes.fetch_add(1, Ordering::AcqRel) + 1;
            live.heard.send_replace(number);
        }
    }

    /// The first UID of a mailbox that no session of this process was told of, as far as that is known here; else 0.
    pub(super) fn recent(&self, id: i64) -> u32 {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&id).and_then(Weak::upgrade).map_or(0, |live| live.recent.load(Ordering::Acquire))
    }

    fn open(&self, id: i64, account: i64) -> Arc<Live> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = open.get(&id).and_then(Weak::upgrade) {
            return live;
        }
        if open.len() > 64 && open.len().is_power_of_two() {
            open.retain(|_, live| live.strong_count() > 0);
        }
        let live = Arc::new(Live {
            id,
            account,
            heard: watch::Sender::new(0),
            view: RwLock::new(None),
            reading: tokio::sync::Mutex::default(),
            changes: AtomicU64::new(0),
            newest: AtomicI64::new(0),
            recent: AtomicU32::new(0),
        });
        open.insert(id, Arc::downgrade(&live));
        live
    }
}

impl Live {
    fn known(&self) -> Option<(u64, Arc<View>)> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A mailbox that is open. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Mailbox {
    pub(super) mail: Mail,
    live: Arc<Live>,
    name: Arc<str>,
    /// The UIDVALIDITY it was opened with: with another one it is not the same mailbox any more.
    uidvalidity: u32,
    heard: watch::Receiver<u64>,
}

impl Mail {
    /// Opens a mailbox.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn open(&self, name: &str) -> Result<Mailbox, Error> {
        let found = self.mailbox(name).await?;
        let (id, uidvalidity) = (found.id, found.counts.uidvalidity);
        let live = self.store.caches().lives().open(id, self.account);
        let mailbox =
            Mailbox { mail: self.clone(), heard: live.heard.subscribe(), live, name: name.into(), uidvalidity };
        let messages = mailbox.view().await?.len();
        self.store.caches().lives().recent.insert(id, (u64::from(messages), mailbox.live.clone()));
        Ok(mailbox)
    }
}

impl Mailbox {
    /// Its number, never used twice.
    pub fn id(&self) -> i64 {
        self.live.id
    }

    /// Its name when it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The mailbox as it is now: all that was acknowledged before is in it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was deleted, or its UIDs begin anew since it was opened.
    pub async fn view(&self) -> Result<Arc<View>, Error> {
        let view = self.newest_view().await?;
        if view.uidvalidity == self.uidvalidity { Ok(view) } else { Err(Error::NotFound) }
    }

    async fn newest_view(&self) -> Result<Arc<View>, Error> {
        let live = &self.live;
        let wanted = live.changes.load(Ordering::Acquire);
        let shared = self.mail.store.db().is_shared();
        let newest = if shared { Some(self.newest().await?) } else { None };
        let current = |known: &(u64, Arc<View>)| match newest {
            // Other nodes change it too, and may have been heard of less lately than they have acknowledged.
            Some(newest) => known.1.modseq == newest,
            None => known.0 >= wanted,
        };
        if let Some(known) = live.known()
            && current(&known)
        {
            return Ok(known.1);
        }
        let _reading = live.reading.lock().await;
        let known = live.known();
        if let Some(known) = &known
            && current(known)
        {
            return Ok(known.1.clone());
        }
        // Read before the rows: what changes in between is read again the next time.
        let heard = live.changes.load(Ordering::Acquire);
        let (id, account, before) = (live.id, live.account, known.map(|(_, view)| view));
        let known_modseq = before.as_ref().map(|view| view.modseq);
        let view = self
            .mail
            .store
            .db()
            .read(move |tx| match &before {
                Some(before) => renew(tx, id, account, before),
                None => load(tx, id, account).map(Arc::new),
            })
            .await?;
        if known_modseq.is_some_and(|known| view.modseq < known) {
            // The database has lost changes, with their numbers: those are given once more.
            live.newest.store(0, Ordering::Release);
        }
        *live.view.write().unwrap_or_else(PoisonError::into_inner) = Some((heard, view.clone()));
        Ok(view)
    }

    async fn newest(&self) -> Result<u64, Error> {
        let id = self.live.id;
        let sql = "SELECT highestmodseq FROM mailboxes WHERE id = $1";
        let found = self.mail.store.db().look(move |tx| tx.row(sql, params![id], |row| row.int(0))).await?;
        found.map(|modseq| modseq as u64).ok_or(Error::NotFound)
    }

    /// The UIDs, first and last, of messages that no session was told of before; from now on they are no others'
    /// recent messages (RFC 3501 §2.3.2).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_recent(&self, view: &View) -> Result<Option<(u32, u32)>, Error> {
        let (id, next) = (self.live.id, view.uidnext);
        let known = self.live.recent.fetch_max(next, Ordering::AcqRel);
        if known >= next {
            return Ok(None);
        }
        let db = self.mail.store.db().clone();
        let claim = async move {
            db.write(move |tx| {
                let before = recent(tx, id)?;
                let sql = "UPDATE mailboxes SET recent = $2 WHERE id = $1 AND recent < $2";
                let claimed = tx.execute(sql, params![id, i64::from(next)])? > 0;
                Ok(claimed.then_some((before, next - 1)))
            })
            .await
        };
        if known == 0 || self.mail.store.db().is_shared() {
            return claim.await;
        }
        // In one process this session has them already; that it does after a restart too needs no waiting for.
        tokio::spawn(claim);
        Ok(Some((known, next - 1)))
    }

    /// As [`Mailbox::claim_recent`], for a session that leaves them to others.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recent(&self, view: &View) -> Result<Option<(u32, u32)>, Error> {
        let (id, next) = (self.live.id, view.uidnext);
        let known = match self.live.recent.load(Ordering::Acquire) {
            0 => self.mail.store.db().look(move |tx| recent(tx, id)).await?,
            known => known,
        };
        Ok((known < next).then(|| (known, next - 1)))
    }

    /// Returns when something has changed since [`Mailbox::view`] was last asked for by this handle, or since this
    /// returned.
    pub async fn changed(&mut self) {
        // The sender lives as long as this handle.
        let _ = self.heard.changed().await;
    }

    /// What has changed until now wakes [`Mailbox::changed`] no more.
    pub fn seen(&mut self) {
        self.heard.mark_unchanged();
    }
}

fn recent(tx: &Read<'_>, id: i64) -> Result<u32, Error> {
    let sql = "SELECT recent FROM mailboxes WHERE id = $1";
    tx.row(sql, params![id], |row| Ok(row.int(0)? as u32))?.ok_or(Error::NotFound)
}

fn head(tx: &Read<'_>, id: i64) -> Result<(u32, u32, u64, u64), Error> {
    let sql = "SELECT uidvalidity, uidnext, highestmodseq, floor FROM mailboxes WHERE id = $1";
    let head = |row: &Row<'_>| Ok((row.int(0)? as u32, row.int(1)? as u32, row.int(2)? as u64, row.int(3)? as u64));
    tx.row(sql, params![id], head)?.ok_or(Error::NotFound)
}

fn message(row: &Row<'_>) -> Result<Message, Error> {
    Ok(Message {
        uid: row.int(0)? as u32,
        size: row.int(1)? as u32,
        flags: Flags(row.int(2)? as u64),
        modseq: row.int(3)? as u64,
        received: Timestamp(row.int(4)?),
        blob: row.int(5)?,
    })
}

fn load(tx: &Read<'_>, id: i64, account: i64) -> Result<View, Error> {
    let (uidvalidity, uidnext, modseq, _) = head(tx, id)?;
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE mailbox = $1 ORDER BY uid");
    let messages = tx.rows(&sql, params![id], message)?;
    Ok(View::new((uidvalidity, uidnext, modseq), Arc::new(Keywords::load(tx, account)?), &messages))
}

/// The view after what has changed since `before`, at the cost of what has changed.
fn renew(tx: &Read<'_>, id: i64, account: i64, before: &Arc<View>) -> Result<Arc<View>, Error> {
    let (uidvalidity, uidnext, modseq, floor) = head(tx, id)?;
    let same = uidvalidity == before.uidvalidity;
    if same && modseq == before.modseq {
        return Ok(before.clone());
    }
    // What is older than what is known is of a standby that took over and had not heard of all: no change leads there.
    if !same || before.modseq < floor || modseq < before.modseq {
        return load(tx, id, account).map(Arc::new);
    }
    let since = before.modseq as i64;
    let sql = format!("SELECT {MESSAGE} FROM messages WHERE mailbox = $1 AND modseq > $2 ORDER BY uid");
    let changed = tx.rows(&sql, params![id, since], message)?;
    let sql = "SELECT uid FROM expunged WHERE mailbox = $1 AND modseq > $2 ORDER BY uid";
    let gone = tx.rows(sql, params![id, since], |row| Ok(row.int(0)? as u32))?;
    let mut keywords = before.keywords.clone();
    let known = Keywords::load(tx, account)?;
    if *keywords != known {
        keywords = Arc::new(known);
    }
    Ok(Arc::new(before.updated((uidnext, modseq), keywords, &changed, &gone)))
}
