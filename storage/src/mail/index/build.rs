//! Keeping the index: what is new comes in soon, at its own pace, so that it is in nobody's way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, broadcast};

use super::super::parse::Text;
use super::AT_ONCE;
use super::words::{fold, words};
use crate::db::{Change, Row, Tx, params};
use crate::{Error, Lease, Store};

/// How many documents are read at once.
const BATCH: i64 = 100;
/// How many words are written at once: the database has one writer, which others wait for.
const WORDS: usize = 2000;
/// The most that the words of a field may take, in bytes (PostgreSQL: 1 MiB). A document with more is always read, as
/// is one with a header of which the text is not all.
const FIELD: usize = 900 << 10;
/// What stands before each of them there, at most.
const PREFIX: usize = 20;
/// How many documents or words are forgotten at once.
const FORGOTTEN: i64 = 500;
/// How long the documents of a burst are waited for.
const GATHER: Duration = Duration::from_millis(300);
/// How often it is looked for what was missed.
const LOOK: Duration = Duration::from_secs(60);
/// How long a node keeps the work to itself.
const TURN: Duration = Duration::from_secs(120);

/// What `documents.indexed` says.
const WAITING: i64 = 0;
const INDEXED: i64 = 1;
const ALWAYS_READ: i64 = 2;

/// The turn at the index within this process, with the lease that keeps other nodes from it, and since when.
pub(crate) type Turn = Mutex<Option<(Lease, Instant)>>;

impl Store {
    /// Keeps the index of words until the last other handle is gone. Of several nodes one does it.
    pub async fn index(&self) {
        let weak = self.downgrade();
        let mut feed = self.follow();
        loop {
            let Some(store) = weak.upgrade() else { return };
            let begun = Instant::now();
            let indexed = store.index_some(BATCH).await;
            drop(store);
            match indexed {
                // Half of its time is for others.
                Ok(1..) => tokio::time::sleep(begun.elapsed().min(LOOK)).await,
                Ok(0) => {
                    let _ = tokio::time::timeout(LOOK, mail(&mut feed)).await;
                    tokio::time::sleep(GATHER).await;
                    feed = feed.resubscribe();
                }
                Err(error) => {
                    tracing::warn!(%error, detail = error.detail(), "indexing failed; it is tried again");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// Takes up to `limit` documents into the index; how many. None when another node does it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn index_some(&self, limit: i64) -> Result<usize, Error> {
        let mut turn = self.index_turn().lock().await;
        // The first condition is that of the index on the rows, which is not seen to follow from the second.
        let sql =
            "SELECT id, account, blob FROM documents WHERE indexed <> 1 AND indexed = 0 ORDER BY account, id LIMIT $1";
        let waiting =
            self.db().look(move |tx| tx.rows(sql, params![limit], |row| Ok((row.int(0)?, row.int(1)?, row.int(2)?))));
        let waiting = waiting.await?;
        if waiting.is_empty() {
            return Ok(0);
        }
        let Some(lease) = self.index_lease(&mut turn).await? else { return Ok(0) };
        let (number, mut batch, mut size) = (waiting.len(), Vec::new(), 0);
        for (id, account, blob) in waiting {
            let document = self.read_document(id, account, blob).await?;
            size += document.header.len() + document.body.len();
            batch.push(document);
            if size >= WORDS {
                self.write_documents(&lease, std::mem::take(&mut batch)).await?;
                size = 0;
            }
        }
        self.write_documents(&lease, batch).await?;
        Ok(number)
    }

    async fn read_document(&self, id: i64, account: i64, blob: i64) -> Result<Document, Error> {
        let text = match self.text_of(blob).await {
            // A content that is lost has no words; whoever opens the message is told.
            Ok(text) => text.unwrap_or_default(),
            Err(error @ Error::Unavailable(_)) => return Err(error),
            // It must not keep the others from the index, and searches stay exact without it.
            Err(error) => {
                tracing::warn!(account, blob, detail = error.detail(), "a message is not indexed, and always read");
                return Ok(Document { id, account, blob, indexed: ALWAYS_READ, ..Document::default() });
            }
        };
        if text.header.len() + text.body.len() < AT_ONCE {
            return Ok(Document::new((id, account, blob), &text));
        }
        tokio::task::spawn_blocking(move || Document::new((id, account, blob), &text)).await.map_err(Error::internal)
    }

    /// Writes documents, after their words, a few at a time.
    async fn write_documents(&self, lease: &Lease, mut documents: Vec<Document>) -> Result<(), Error> {
        // FTS5 gathers rows whose numbers ascend, and begins a new segment where they do not.
        documents.sort_unstable_by_key(|document| (document.account, document.blob));
        for (account, terms) in terms(&documents) {
            let lease = lease.clone();
            self.db()
                .write(move |tx| {
                    tx.holds(&lease)?;
                    tx.run(tx.dialect().add_terms(), params![account, &terms])
                })
                .await?;
        }
        let lease = lease.clone();
        self.db()
            .write(move |tx| {
                tx.holds(&lease)?;
                for document in &documents {
                    document.write(tx)?;
                }
                Ok(())
            })
            .await
    }

    /// Empties the index of an account, or of all, so that it is made again; how many documents it has.
    ///
    /// # Errors
    /// When the store fails; [`Error::Busy`] when another node is at the index.
    pub async fn reindex(&self, account: Option<i64>) -> Result<usize, Error> {
        let mut turn = self.index_turn().lock().await;
        let (mut after, mut number) = (0, 0);
        loop {
            let lease = self.patient_index_lease(&mut turn).await?;
            let reset = self.db().write(move |tx| {
                tx.holds(&lease)?;
                reset(tx, account, after)
            });
            let (last, some) = reset.await?;
            number += some;
            let Some(last) = last else { break };
            after = last;
        }
        // With no document left that counts on them.
        loop {
            let lease = self.patient_index_lease(&mut turn).await?;
            let gone = self.db().write(move |tx| {
                tx.holds(&lease)?;
                let first = || tx.row("SELECT MIN(account) FROM terms", &[], |row| row.optional_int(0));
                let of = match account {
                    Some(account) => account,
                    None => first()?.flatten().unwrap_or_default(),
                };
                remove_terms(tx, of)
            });
            if gone.await? == 0 {
                break;
            }
        }
        // This process may end now, and others shall not wait for it.
        if let Some((lease, _)) = turn.take() {
            self.release_lease(lease).await?;
        }
        Ok(number)
    }

    /// Forgets the words of accounts that were removed.
    pub(crate) async fn forget_words(&self) -> Result<(), Error> {
        let sql = "SELECT id FROM accounts WHERE removed IS NOT NULL
                   AND EXISTS (SELECT 1 FROM terms WHERE terms.account = accounts.id)";
        let removed = self.db().look(move |tx| tx.rows(sql, &[], |row| row.int(0))).await?;
        for account in removed {
            while self.db().write(move |tx| remove_terms(tx, account)).await? > 0 {}
        }
        Ok(())
    }

    /// The same right, waited for as long as a node may keep it.
    async fn patient_index_lease(&self, turn: &mut Option<(Lease, Instant)>) -> Result<Lease, Error> {
        let begun = Instant::now();
        loop {
            match self.index_lease(turn).await? {
                Some(lease) => return Ok(lease),
                None if begun.elapsed() > TURN * 2 => return Err(Error::Busy),
                None => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// The right to change the index, which a node keeps for a while.
    async fn index_lease(&self, turn: &mut Option<(Lease, Instant)>) -> Result<Option<Lease>, Error> {
        if let Some((lease, since)) = turn
            && since.elapsed() < TURN / 2
        {
            return Ok(Some(lease.clone()));
        }
        let lease = self.lease("index", TURN).await?;
        *turn = lease.clone().map(|lease| (lease, Instant::now()));
        Ok(lease)
    }
}

/// Waits for a change of mail.
async fn mail(feed: &mut broadcast::Receiver<Change>) {
    while let Ok(change) = feed.recv().await {
        if change.action.starts_with("mail.") {
            return;
        }
    }
}

/// A document with its words.
#[derive(Default)]
struct Document {
    id: i64,
    account: i64,
    blob: i64,
    indexed: i64,
    header: BTreeSet<String>,
    body: BTreeSet<String>,
}

impl Document {
    fn new((id, account, blob): (i64, i64, i64), text: &Text) -> Document {
        let words = |text: &str| -> BTreeSet<String> { words(&fold(text)).map(str::to_owned).collect() };
        let (header, body) = (words(&text.header), words(&text.body));
        let bytes = |words: &BTreeSet<String>| words.iter().map(|word| word.len() + PREFIX).sum::<usize>();
        let large = bytes(&header).max(bytes(&body)) > FIELD;
        if text.header_is_cut || large || place(account, blob).is_none() {
            return Document { id, account, blob, indexed: ALWAYS_READ, ..Document::default() };
        }
        Document { id, account, blob, indexed: INDEXED, header, body }
    }

    fn write(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        let sql = "UPDATE documents SET indexed = $2 WHERE id = $1 AND indexed = 0";
        let place = place(self.account, self.blob).filter(|_| self.indexed == INDEXED);
        if tx.execute(sql, params![self.id, self.indexed])? == 1
            && let Some(place) = place
        {
            let line = |words: &BTreeSet<String>| {
                let words: Vec<String> = words.iter().map(|word| marked(self.account, word)).collect();
                words.join(" ")
            };
            let (header, body) = (line(&self.header), line(&self.body));
            tx.run(tx.dialect().add_text(), params![place, &header, &body])?;
        }
        Ok(())
    }
}

/// How many bits of the number of a row of `texts` are the content's.
const BLOB: u32 = 40;

/// The number of a document's row in `texts`, which tells its content without another look; `None` when the numbers
/// are too large for that.
fn place(account: i64, blob: i64) -> Option<i64> {
    (account >> (i64::BITS - 1 - BLOB) == 0 && blob >> BLOB == 0).then_some(account << BLOB | blob)
}

/// The content of a row of `texts`.
pub(super) fn blob_at(place: i64) -> i64 {
    place & ((1 << BLOB) - 1)
}

/// A word as it stands in `texts`: an account's search meets none of another's.
pub(super) fn marked(account: i64, word: &str) -> String {
    format!("{account}x{word}")
}

/// The words of documents, some of an account at a time, with spaces between them.
fn terms(documents: &[Document]) -> Vec<(i64, String)> {
    let mut accounts: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    for document in documents {
        let words = document.header.iter().chain(&document.body).map(String::as_str);
        accounts.entry(document.account).or_default().extend(words);
    }
    let mut pieces = Vec::new();
    for (account, words) in accounts {
        let words: Vec<&str> = words.into_iter().collect();
        pieces.extend(words.chunks(WORDS).map(|some| (account, some.join(" "))));
    }
    pieces
}

/// Takes the next documents out of the index; the last one looked at, and how many were meant.
fn reset(tx: &mut Tx<'_>, account: Option<i64>, after: i64) -> Result<(Option<i64>, usize), Error> {
    let sql = "SELECT id, account, blob, indexed FROM documents WHERE id > $1 ORDER BY id LIMIT $2";
    let document = |row: &Row<'_>| Ok((row.int(0)?, row.int(1)?, row.int(2)?, row.int(3)?));
    let some = tx.rows(sql, params![after, FORGOTTEN], document)?;
    let mut number = 0;
    for &(id, of, blob, indexed) in some.iter().filter(|(_, of, ..)| account.is_none_or(|account| account == *of)) {
        number += 1;
        if indexed != WAITING {
            tx.run("DELETE FROM texts WHERE rowid = $1", params![place(of, blob)])?;
            tx.run("UPDATE documents SET indexed = 0 WHERE id = $1", params![id])?;
        }
    }
    Ok((some.last().map(|(id, ..)| *id), number))
}

/// Removes some words of an account, the first of all first, by which it is seen that the others are not to be counted
/// on either; how many.
fn remove_terms(tx: &mut Tx<'_>, account: i64) -> Result<usize, Error> {
    let sql = "DELETE FROM terms WHERE id IN (SELECT id FROM terms WHERE account = $1 ORDER BY id LIMIT $2)";
    tx.execute(sql, params![account, FORGOTTEN * 4])
}

/// Forgets a content that is gone. Its words stay: others may have them.
pub(crate) fn forget_documents(tx: &mut Tx<'_>, blob: i64) -> Result<(), Error> {
    for account in tx.rows("SELECT account FROM documents WHERE blob = $1", params![blob], |row| row.int(0))? {
        tx.run("DELETE FROM texts WHERE rowid = $1", params![place(account, blob)])?;
    }
    tx.run("DELETE FROM documents WHERE blob = $1", params![blob])?;
    Ok(())
}
