//! The embedded engine: one writer thread with group commit, readers on connections of their own.

use std::path::Path;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rusqlite::Connection;

use super::job::{self, ReadJob, WriteJob};
use super::{Change, Listeners, Read, Tx, closed, schema, spawn};
use crate::Error;
use crate::audit::Head;

/// How many writes share one commit at the most, so that the first of them does not wait for ever.
const BATCH: usize = 512;
/// Readers; each is a thread with its own connection.
const READERS: usize = 3;
/// KiB of pages that each connection keeps; hot reads are cached above it.
const CACHE: i32 = 4096;
/// Pages of the write-ahead log (4 KiB each) after which the writer folds it into the database.
const CHECKPOINT: u32 = 8192;

/// The threads of one database.
#[derive(Clone)]
pub(crate) struct Pool {
    writer: Sender<Box<dyn WriteJob>>,
    readers: Sender<Box<dyn ReadJob>>,
}

impl Pool {
    /// Opens or makes the database in `path`, brings it to the newest schema, and starts its threads.
    pub(super) fn open(path: &Path, node: &str, listeners: Listeners) -> Result<Pool, Error> {
        let connection = connect(path)?;
        let tx = connection.unchecked_transaction()?;
        schema::migrate(&Read::sqlite(&tx))?;
        let head = Head::claim(&Read::sqlite(&tx), node, 0)?;
        tx.commit()?;

        let (writer, jobs) = unbounded();
        let mut state = Writer { connection, head, listeners };
        spawn("store-writer", move || state.run(&jobs))?;
        let (readers, jobs) = unbounded();
        for _ in 0..READERS {
            let (connection, jobs) = (connect(path)?, jobs.clone());
            spawn("store-reader", move || serve_reads(&connection, &jobs))?;
        }
        Ok(Pool { writer, readers })
    }

    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Read<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (job, answered) = job::read(work, false);
        self.readers.send(job).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (job, answered) = job::write(work, true);
        self.writer.send(job).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: the log is synced at every commit, so that an acknowledgement outlives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -CACHE)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(256);
    Ok(connection)
}

fn serve_reads(connection: &Connection, jobs: &Receiver<Box<dyn ReadJob>>) {
    while let Ok(mut job) = jobs.recv() {
        match connection.unchecked_transaction() {
            Ok(snapshot) => {
                job.run(&Read::sqlite(&snapshot));
                job.answer(Ok(()));
            }
            Err(error) => job.answer(Err(error.into())),
        }
    }
}

struct Writer {
    connection: Connection,
    head: Head,
    listeners: Listeners,
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Box<dyn WriteJob>>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            let committed = self.commit(&mut batch, jobs);
            if let Err(error) = &committed {
                tracing::error!(%error, detail = error.detail(), writes = batch.len(), "a commit failed");
            }
            for job in batch {
                job.answer(committed.clone());
            }
        }
    }

    /// Runs everything that waits in one transaction, each job in a savepoint, and commits once.
    fn commit(&mut self, batch: &mut Vec<Box<dyn WriteJob>>, jobs: &Receiver<Box<dyn WriteJob>>) -> Result<(), Error> {
        let before = self.head.clone();
        let result = self.run_batch(batch, jobs);
        match result {
            Ok(changes) => {
                (self.listeners.changed)(&changes);
                Ok(())
            }
            Err(error) => {
                self.head = before;
                if !self.connection.is_autocommit() {
                    let _ = self.connection.execute_batch("ROLLBACK");
                }
                Err(error)
            }
        }
    }

    fn run_batch(
        &mut self,
        batch: &mut Vec<Box<dyn WriteJob>>,
        jobs: &Receiver<Box<dyn WriteJob>>,
    ) -> Result<Vec<Change>, Error> {
        let read = || Read::sqlite(&self.connection);
        let run = |sql: &'static str| read().execute(sql, &[]);
        let mut changes = Vec::new();
        run("BEGIN IMMEDIATE")?;
        let start = self.head.seq;
        let mut at = 0;
        loop {
            run("SAVEPOINT job")?;
            let head = self.head.clone();
            let mut tx = Tx::new(read(), &mut self.head);
            let keep = batch[at].run(&mut tx);
            let done = tx.changes;
            if self.connection.is_autocommit() {
                // SQLite rolls the whole transaction back by itself when the disk is full.
                return Err(Error::Full);
            }
            if keep {
                changes.extend(done);
            } else {
                run("ROLLBACK TO job")?;
                self.head = head;
            }
            run("RELEASE job")?;
            at += 1;
            if at == BATCH {
                break;
            }
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        self.head.save(&read(), start)?;
        run("COMMIT")?;
        Ok(changes)
    }
}
