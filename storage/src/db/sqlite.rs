//! The embedded engine: one writer thread with group commit, readers on connections of their own.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::{CachedStatement, Connection};
use tokio::sync::oneshot;

use super::{Change, Tx, Value, schema};
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

/// What the writer tells after each commit, before it answers anyone.
pub(crate) type OnCommit = Arc<dyn Fn(&[Change]) + Send + Sync>;

type ReadJob = Box<dyn FnOnce(&Read<'_>) + Send>;

/// The database.
#[derive(Clone)]
pub(crate) struct Db {
    writer: Sender<Box<dyn WriteJob>>,
    readers: Sender<ReadJob>,
}

impl Db {
    /// Opens or makes the database in `path`, brings it to the newest schema, and starts its threads, which end when
    /// the last clone is gone. `node` names the audit chain.
    pub(crate) fn open(path: &Path, node: i64, on_commit: OnCommit) -> Result<Db, Error> {
        let connection = connect(path)?;
        let tx = connection.unchecked_transaction()?;
        schema::migrate(&Read { connection: &tx })?;
        let head = Head::load(&Read { connection: &tx }, node)?;
        tx.commit()?;

        let (writer, jobs) = channel();
        let mut state = Writer { connection, head, on_commit };
        spawn("store-writer", move || state.run(&jobs))?;
        let (readers, jobs) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..READERS {
            let (path, jobs) = (path.to_owned(), jobs.clone());
            let connection = connect(&path)?;
            spawn("store-reader", move || serve_reads(&connection, &jobs))?;
        }
        Ok(Db { writer, readers })
    }

    /// Runs `work` on a consistent snapshot.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Read<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: ReadJob = Box::new(move |tx| {
            let _ = answer.send(work(tx));
        });
        self.readers.send(job).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// Runs `work` in a transaction; what it did is durable when this returns `Ok`, and undone when it returns an
    /// error. The closure may be run again, so it must not change anything but the transaction.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.writer.send(Box::new(Pending { work, result: None, answer })).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(Error::internal)
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

fn serve_reads(connection: &Connection, jobs: &Mutex<Receiver<ReadJob>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let snapshot = match connection.unchecked_transaction() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                // The job's answer channel is dropped with it, which its caller sees as Unavailable.
                tracing::error!(%error, "no read transaction");
                continue;
            }
        };
        let run = AssertUnwindSafe(|| job(&Read { connection: &snapshot }));
        if std::panic::catch_unwind(run).is_err() {
            tracing::error!("a read panicked");
        }
    }
}

/// A write that waits for the writer.
trait WriteJob: Send {
    /// Does the work; whether its changes shall stay.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Answers the caller, after the commit or in spite of it.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Pending<T, F> {
    work: F,
    result: Option<Result<T, Error>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send> WriteJob for Pending<T, F> {
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let run = std::panic::catch_unwind(AssertUnwindSafe(|| (self.work)(tx)));
        let result = run.unwrap_or_else(|_| Err(Error::internal("a write panicked")));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(result), Ok(())) => result,
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(Error::internal("a write was not run")),
        };
        let _ = self.answer.send(result);
    }
}

struct Writer {
    connection: Connection,
    head: Head,
    on_commit: OnCommit,
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
                (self.on_commit)(&changes);
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
        let read = || Read { connection: &self.connection };
        let run = |sql: &'static str| read().execute(sql, &[]);
        let mut changes = Vec::new();
        run("BEGIN IMMEDIATE")?;
        let start = self.head.seq;
        let mut at = 0;
        loop {
            run("SAVEPOINT job")?;
            let head = self.head.clone();
            let mut tx = Tx { read: read(), head: &mut self.head, changes: Vec::new() };
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
        if self.head.seq != start {
            self.head.save(&read())?;
        }
        run("COMMIT")?;
        Ok(changes)
    }
}

/// A snapshot: what both kinds of transaction can do.
pub(crate) struct Read<'a> {
    connection: &'a Connection,
}

impl Read<'_> {
    fn prepare(&self, sql: &str, params: &[Value<'_>]) -> Result<CachedStatement<'_>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for index in 1..=statement.parameter_count() {
            // `$2` is a name to SQLite, numbered by first appearance: the digits say which value it means.
            let number = statement.parameter_name(index).and_then(|name| name[1..].parse::<usize>().ok());
            let value = number.and_then(|number| params.get(number.wrapping_sub(1)));
            match value.ok_or_else(|| Error::internal(format!("a parameter is missing in: {sql}")))? {
                Value::Null => statement.raw_bind_parameter(index, rusqlite::types::Null)?,
                Value::Int(value) => statement.raw_bind_parameter(index, value)?,
                Value::Text(value) => statement.raw_bind_parameter(index, value)?,
                Value::Bytes(value) => statement.raw_bind_parameter(index, value)?,
            }
        }
        Ok(statement)
    }

    /// Every row of a query.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.prepare(sql, params)?;
        let mut rows = statement.raw_query();
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(map(&Row(row))?);
        }
        Ok(all)
    }

    /// The first row of a query; the statement is run to its end all the same.
    pub(crate) fn row<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        map: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.prepare(sql, params)?;
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else { return Ok(None) };
        let first = map(&Row(row))?;
        while rows.next()?.is_some() {}
        Ok(Some(first))
    }

    pub(super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, Error> {
        Ok(self.prepare(sql, params)?.raw_execute()?)
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), Error> {
        Ok(self.connection.execute_batch(sql)?)
    }
}

/// A row of a result.
pub(crate) struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    pub(crate) fn int(&self, at: usize) -> Result<i64, Error> {
        Ok(self.0.get(at)?)
    }

    pub(crate) fn optional_int(&self, at: usize) -> Result<Option<i64>, Error> {
        Ok(self.0.get(at)?)
    }

    pub(crate) fn text(&self, at: usize) -> Result<String, Error> {
        Ok(self.0.get(at)?)
    }

    pub(crate) fn optional_text(&self, at: usize) -> Result<Option<String>, Error> {
        Ok(self.0.get(at)?)
    }

    pub(crate) fn bytes(&self, at: usize) -> Result<Vec<u8>, Error> {
        Ok(self.0.get(at)?)
    }

    pub(crate) fn bool(&self, at: usize) -> Result<bool, Error> {
        Ok(self.int(at)? != 0)
    }
}

/// Where the database of a data folder stands.
pub(crate) fn file(data: &Path) -> PathBuf {
    data.join("wharfinger.db")
}
