//! PostgreSQL, the store of many nodes. Each thread has a connection of its own: some read, some write, one follows
//! what the other nodes change.
//!
//! A write is one transaction on one connection, and each writing connection has its own chain of the audit log, so
//! that writes do not wait for each other. An account is locked by who changes it. Where a connection breaks while it
//! commits, the end of its chain tells afterwards whether the commit was made.

mod follow;
mod lane;
mod options;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::Notify;

use super::job::{self, ReadJob, WriteJob};
use super::{Listeners, Read, Tx, closed, spawn};
use crate::Error;
use crate::circuit::Circuit;

pub use options::{Postgres, PostgresTls};

pub(crate) use session::Session;

use lane::{Reader, Writer};
use options::Target;

/// The threads of one database.
#[derive(Clone)]
pub(crate) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    reads: Sender<Box<dyn ReadJob>>,
    writes: Sender<Box<dyn WriteJob>>,
    shared: Arc<Shared>,
}

/// What the threads share.
struct Shared {
    target: Target,
    node: Arc<str>,
    listeners: Listeners,
    circuit: Circuit,
    /// Told after each commit of ours that changed something.
    committed: Notify,
    /// Set when the pool is gone.
    closed: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.committed.notify_one();
    }
}

impl Pool {
    /// Connects, brings the database to the newest schema and starts the threads.
    ///
    /// # Errors
    /// [`Error::Invalid`] with a sentence for the administrator.
    pub(super) fn open(options: &Postgres, node: &str, listeners: Listeners) -> Result<Pool, Error> {
        let target = Target::new(options, node)?;
        let positions = lane::prepare(&target)?;
        let shared = Arc::new(Shared {
            target,
            node: node.into(),
            listeners,
            circuit: Circuit::new("PostgreSQL"),
            committed: Notify::new(),
            closed: AtomicBool::new(false),
        });
        let (reads, read_jobs) = unbounded();
        let (writes, write_jobs) = unbounded();
        let readers = (options.connections / 3).max(1);
        for _ in 0..readers {
            let (reader, jobs) = (Reader::new(&shared)?, read_jobs.clone());
            spawn("store-reader", move || reader.run(&jobs))?;
        }
        for lane in 0..options.connections.saturating_sub(readers).max(1) {
            let (writer, jobs) = (Writer::new(&shared, lane as i64)?, write_jobs.clone());
            spawn("store-writer", move || writer.run(&jobs))?;
        }
        follow::start(&shared, positions)?;
        Ok(Pool { inner: Arc::new(Inner { reads, writes, shared }) })
    }

    pub(super) async fn read<T, F>(&self, work: F, single: bool) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Read<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.inner.shared.away()?;
        let (job, answered) = job::read(work, single);
        self.inner.reads.send(job).map_err(|_| closed())?;
        self.inner.in_time(answered).await
    }

    pub(super) async fn write<T, F>(&self, work: F, grouped: bool) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.inner.shared.away()?;
        let (job, answered) = job::write(work, grouped);
        self.inner.writes.send(job).map_err(|_| closed())?;
        self.inner.in_time(answered).await
    }
}

/// Looks whether the database can be used.
///
/// # Errors
/// [`Error::Invalid`] with a sentence for the administrator.
pub(super) fn probe(options: &Postgres, node: &str) -> Result<(), Error> {
    lane::inspect(&Target::new(options, node)?).map(drop)
}

impl Inner {
    /// Waits for an answer, but not for ever: a thread may be busy with others who have to wait as well.
    async fn in_time<T>(&self, answered: tokio::sync::oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(self.shared.target.limit * 2, answered).await {
            Ok(answer) => answer.map_err(|_| closed())?,
            Err(_) => Err(Error::Unavailable("PostgreSQL has too much to do".into())),
        }
    }
}

impl Shared {
    /// While PostgreSQL is away everybody hears so at once; the threads themselves try to reach it.
    fn away(&self) -> Result<(), Error> {
        self.circuit.open().map_or(Ok(()), |why| Err(Error::Unavailable(format!("PostgreSQL is away: {why}"))))
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
