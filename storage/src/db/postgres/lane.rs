//! The threads that read and write, each with its own connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;

use super::Shared;
use super::follow::{self, Positions};
use super::options::Target;
use super::session::{Fate, READ_ONLY, READ_WRITE, Refused, Session};
use crate::Error;
use crate::audit::Head;
use crate::circuit::Backoff;
use crate::db::job::{ReadJob, WriteJob};
use crate::db::{Change, Read, Tx, params, schema};

/// The advisory locks of Wharfinger: this, and the number of a chain.
const LOCKS: i64 = 0x5748_4152;
/// The chains of another process with our name are this far apart.
const STRIDE: i64 = 1000;
/// How many processes may run under one name.
const PROCESSES: i64 = 100;
/// How many writes share one commit at the most: PostgreSQL grows slower with more than 64 parts of a transaction.
const BATCH: usize = 32;
/// How long the server has to end a connection that we have lost.
const EVICTION: Duration = Duration::from_secs(3);

/// A runtime of a thread's own: it drives the connection while the thread waits for it.
pub(super) fn runtime() -> Result<Arc<Runtime>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(Arc::new).map_err(Error::internal)
}

/// Brings the database to the newest schema, which one node does while others wait; where the chains end then.
///
/// # Errors
/// [`Error::Invalid`] with a sentence that says what to do.
pub(super) fn prepare(target: &Target) -> Result<Positions, Error> {
    let session = inspect(target)?;
    session.begin(Some(READ_WRITE));
    session.query("SELECT pg_advisory_xact_lock($1)", params![LOCKS << 32])?;
    schema::migrate(&Read::postgres(&session)).map_err(|error| match error {
        Error::Internal(why) if why.contains("42501") => Error::invalid(format!(
            "the PostgreSQL user may not create tables: make it the owner of the database ({why})"
        )),
        other => other,
    })?;
    let ends = follow::ends(&Read::postgres(&session))?;
    session.commit()?;
    Ok(ends)
}

/// Looks whether the database can be used.
///
/// # Errors
/// [`Error::Invalid`] with a sentence that says what to do.
pub(super) fn inspect(target: &Target) -> Result<Session, Error> {
    let session = first_session(target, &runtime()?)?;
    let setting = |name: &str| -> Result<String, Error> {
        let rows = session.query("SELECT current_setting($1)", params![name])?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or_default())
    };
    let encoding = setting("server_encoding")?;
    if encoding != "UTF8" {
        return Err(Error::invalid(format!(
            "the PostgreSQL database has the encoding {encoding}; make one with ENCODING 'UTF8'"
        )));
    }
    if setting("server_version_num")?.parse::<u32>().is_ok_and(|version| version < 130_000) {
        return Err(Error::invalid("PostgreSQL is older than version 13; upgrade it"));
    }
    if setting("fsync")? == "off" {
        tracing::warn!("PostgreSQL runs with fsync = off: a crash of its machine loses what was acknowledged");
    }
    Ok(session)
}

/// The first connection; a server that just starts gets the time of one statement for it.
fn first_session(target: &Target, runtime: &Arc<Runtime>) -> Result<Session, Error> {
    let deadline = Instant::now() + target.limit;
    let mut backoff = Backoff::new();
    loop {
        let Refused { told, code } = match Session::connect(target, runtime, None) {
            Ok(session) => return Ok(session),
            Err(refused) => refused,
        };
        let fault = match code {
            Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
                Some("correct the user and password in [storage] url")
            }
            Some(SqlState::INVALID_CATALOG_NAME) => {
                Some("create it, with the user as its owner, or correct [storage] url")
            }
            _ if told.contains("certificate") => Some("correct [storage] ca, or the host's name in [storage] url"),
            _ if told.contains("password") => Some("put the password into [storage] url"),
            _ => None,
        };
        if let Some(advice) = fault {
            return Err(Error::invalid(format!("PostgreSQL at {} says: {told}; {advice}", target.place())));
        }
        if Instant::now() >= deadline {
            return Err(Error::invalid(format!(
                "PostgreSQL at {} cannot be reached ({told}); start it or correct [storage] url",
                target.place()
            )));
        }
        std::thread::sleep(backoff.delay());
    }
}

/// A thread's connection.
struct Line {
    shared: Arc<Shared>,
    runtime: Arc<Runtime>,
    session: Option<Session>,
}

impl Line {
    fn new(shared: &Arc<Shared>) -> Result<Line, Error> {
        Ok(Line { shared: shared.clone(), runtime: runtime()?, session: None })
    }

    /// Connects, trying again until `deadline` or until the circuit opens; `ready` makes the connection fit for use.
    fn connect(
        &mut self,
        deadline: Instant,
        mut ready: impl FnMut(&Session) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        while self.session.is_none() {
            let target = &self.shared.target;
            let connected = Session::connect(target, &self.runtime, None).map_err(|refused| refused.told);
            let connected = connected.and_then(|session| match ready(&session) {
                Ok(()) => Ok(session),
                Err(error) => Err(error.detail().map_or_else(|| error.to_string(), str::to_owned)),
            });
            match connected {
                Ok(session) => {
                    self.shared.circuit.succeeded();
                    self.session = Some(session);
                }
                Err(why) => {
                    self.shared.circuit.failed(&why);
                    if self.shared.circuit.open().is_some() || Instant::now() >= deadline || self.shared.is_closed() {
                        return Err(Error::Unavailable(format!("PostgreSQL is away: {why}")));
                    }
                    std::thread::sleep(backoff.delay());
                }
            }
        }
        Ok(())
    }

    /// While the circuit is open nobody brings work: somebody has to see when the server is back.
    fn knock(&mut self, mut ready: impl FnMut(&Session) -> Result<(), Error>) {
        while self.shared.circuit.open().is_some() && !self.shared.is_closed() {
            if self.shared.circuit.check().is_ok() {
                let answers = self.session.as_ref().is_some_and(|session| session.query("SELECT 1", &[]).is_ok());
                if answers {
                    self.shared.circuit.succeeded();
                } else {
                    self.session = None;
                    let _ = self.connect(Instant::now(), &mut ready);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.target.limit
    }
}

/// A thread that reads.
pub(super) struct Reader {
    line: Line,
}

impl Reader {
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Reader, Error> {
        Ok(Reader { line: Line::new(shared)? })
    }

    pub(super) fn run(mut self, jobs: &Receiver<Box<dyn ReadJob>>) {
        while let Ok(mut job) = jobs.recv() {
            if job.is_forsaken() {
                continue;
            }
            let (done, single) = (self.read(&mut *job), job.is_single());
            job.answer(done);
            // Nobody waits for that.
            if let Some(session) = self.line.session.as_ref().filter(|_| !single) {
                session.rollback();
            }
            self.line.knock(|_| Ok(()));
        }
    }

    fn read(&mut self, job: &mut dyn ReadJob) -> Result<(), Error> {
        let deadline = self.line.deadline();
        let mut backoff = Backoff::new();
        loop {
            self.line.connect(deadline, |_| Ok(()))?;
            let Some(session) = &self.line.session else { continue };
            session.begin((!job.is_single()).then_some(READ_ONLY));
            job.run(&Read::postgres(session));
            match session.fate() {
                Fate::Good | Fate::Failed | Fate::Blocked => {
                    self.line.shared.circuit.succeeded();
                    return Ok(());
                }
                Fate::Conflict => session.rollback(),
                Fate::Lost => self.line.session = None,
            }
            if Instant::now() >= deadline {
                return Err(Error::Unavailable("PostgreSQL did not answer in time".into()));
            }
            std::thread::sleep(backoff.delay());
        }
    }
}

type Job = Box<dyn WriteJob>;

/// A thread that writes, and the end of its chain.
pub(super) struct Writer {
    line: Line,
    chain: Chain,
    /// Jobs that it has taken and not done.
    aside: VecDeque<Job>,
}

struct Chain {
    lane: i64,
    head: Option<Head>,
    /// The server's process of the connection that held the chain last.
    process: i32,
}

/// How a transaction ended.
enum End {
    /// Committed, or undone as its work wished.
    Done,
    /// Somebody was in the way.
    Conflict,
    /// The connection broke, and nothing was committed.
    Lost,
    /// The connection broke while this was to be the new end of the chain.
    Unsure(Head),
}

impl Writer {
    pub(super) fn new(shared: &Arc<Shared>, lane: i64) -> Result<Writer, Error> {
        Ok(Writer { line: Line::new(shared)?, chain: Chain { lane, head: None, process: 0 }, aside: VecDeque::new() })
    }

    pub(super) fn run(mut self, jobs: &Receiver<Box<dyn WriteJob>>) {
        let node = self.line.shared.node.clone();
        while let Some(first) = self.aside.pop_front().or_else(|| jobs.recv().ok()) {
            if first.is_forsaken() {
                continue;
            }
            let mut batch = vec![first];
            let done = self.write(&mut batch, jobs);
            for job in batch {
                job.answer(done.clone());
            }
            self.line.knock(|session| self.chain.hold(session, &node));
        }
    }

    /// Runs writes until they are committed, or until their time is over: the first of them, and others that wait and
    /// can share its commit.
    fn write(&mut self, batch: &mut Vec<Job>, jobs: &Receiver<Job>) -> Result<(), Error> {
        let (deadline, node) = (self.line.deadline(), self.line.shared.node.clone());
        let mut backoff = Backoff::new();
        let mut unsure: Option<Head> = None;
        let mut most = if batch[0].is_grouped() { BATCH } else { 1 };
        loop {
            self.line.connect(deadline, |session| self.chain.hold(session, &node))?;
            let Some(session) = &self.line.session else { continue };
            let ended = match unsure.take() {
                Some(wanted) => match self.chain.resolve(session, &wanted) {
                    Ok(true) => return Ok(()),
                    Ok(false) => End::Conflict,
                    Err(_) if session.fate() == Fate::Lost => End::Unsure(wanted),
                    // It may have been made all the same.
                    Err(error) => return Err(Error::Unavailable(error.to_string())),
                },
                // Whoever sent it may have sent something newer since.
                None if batch[0].is_forsaken() => return Err(Error::Unavailable("nobody waits for it".into())),
                None => self.transact(batch, jobs, most)?,
            };
            match ended {
                End::Done => {
                    self.line.shared.circuit.succeeded();
                    return Ok(());
                }
                End::Conflict => {}
                End::Lost => self.line.session = None,
                End::Unsure(head) => {
                    unsure = Some(head);
                    self.line.session = None;
                }
            }
            if unsure.is_none() {
                // The others did not cause it, or did not suffer from it: each has a transaction of its own now.
                most = 1;
                self.aside.extend(batch.drain(1..));
            }
            if Instant::now() >= deadline {
                return Err(Error::Unavailable("PostgreSQL did not answer in time".into()));
            }
            std::thread::sleep(backoff.delay());
        }
    }

    /// One transaction: the first job of `batch`, then as many as wait, at most `most` in all. A job that fails is
    /// undone alone and stays in the batch, to be answered; one that would have to wait for a lock is put aside.
    fn transact(&mut self, batch: &mut Vec<Job>, jobs: &Receiver<Job>, most: usize) -> Result<End, Error> {
        let (Some(session), Some(before)) = (&self.line.session, &self.chain.head) else { return Ok(End::Lost) };
        let mut head = before.clone();
        session.begin(Some(READ_WRITE));
        let (keep, mut changes) = run(session, &mut *batch[0], &mut head);
        match session.fate() {
            Fate::Good if keep => {}
            Fate::Failed if keep => {
                session.rollback();
                return Err(Error::internal("a transaction went on after a statement that failed"));
            }
            Fate::Good | Fate::Failed => {
                session.rollback();
                return Ok(End::Done);
            }
            fate => return Ok(abort(session, fate)),
        }
        while batch.len() < most {
            let Some(job) = self.aside.pop_front().or_else(|| jobs.try_recv().ok()) else { break };
            if job.is_forsaken() {
                continue;
            }
            if !job.is_grouped() {
                self.aside.push_front(job);
                break;
            }
            batch.push(job);
            session.begin_part();
            let (at, start) = (batch.len() - 1, head.clone());
            let (keep, done) = run(session, &mut *batch[at], &mut head);
            match session.fate() {
                Fate::Good if keep => changes.extend(done),
                Fate::Lost | Fate::Conflict => return Ok(abort(session, session.fate())),
                Fate::Failed if keep => return Ok(abort(session, Fate::Conflict)),
                fate => {
                    head = start;
                    if fate == Fate::Blocked {
                        self.aside.extend(batch.pop());
                    }
                    if !session.undo_part() {
                        // What failed may belong to the part before: each has a transaction of its own then.
                        let fate = if session.fate() == Fate::Lost { Fate::Lost } else { Fate::Conflict };
                        return Ok(abort(session, fate));
                    }
                    if fate == Fate::Blocked {
                        break;
                    }
                }
            }
        }
        if let Err(error) = head.save(&Read::postgres(session), before.seq) {
            return match session.fate() {
                Fate::Failed if batch.len() == 1 => {
                    session.rollback();
                    Err(error)
                }
                Fate::Failed | Fate::Conflict | Fate::Blocked => Ok(abort(session, Fate::Conflict)),
                // Only a fault of ours could let two connections write to one chain: then the lock is taken anew.
                Fate::Good | Fate::Lost => Ok(abort(session, Fate::Lost)),
            };
        }
        if let Err(error) = session.commit() {
            return match session.fate() {
                Fate::Lost if head != *before => Ok(End::Unsure(head)),
                Fate::Conflict | Fate::Blocked => Ok(End::Conflict),
                Fate::Failed if batch.len() > 1 => Ok(End::Conflict),
                _ => Err(error),
            };
        }
        self.chain.head = Some(head);
        if !changes.is_empty() {
            (self.line.shared.listeners.committed)(&changes);
            self.line.shared.committed.notify_one();
        }
        Ok(End::Done)
    }
}

/// Runs one job in the transaction of a session: whether its changes shall stay, and what they are.
fn run(session: &Session, job: &mut dyn WriteJob, head: &mut Head) -> (bool, Vec<Change>) {
    let mut tx = Tx::new(Read::postgres(session), head);
    let keep = job.run(&mut tx);
    (keep, tx.changes)
}

/// Gives a transaction up.
fn abort(session: &Session, fate: Fate) -> End {
    session.rollback();
    if fate == Fate::Conflict { End::Conflict } else { End::Lost }
}

impl Chain {
    /// Makes sure that this connection alone writes to its chain, and learns where the chain ends. The chain of before
    /// is taken again where that can be; otherwise any that is free.
    fn hold(&mut self, session: &Session, node: &str) -> Result<(), Error> {
        let tx = Read::postgres(session);
        let mut found = None;
        if let Some(head) = &self.head
            && self.evict(session, head.chain)?
        {
            found = Some(self.lane);
        }
        for process in 0..PROCESSES {
            if found.is_some() {
                break;
            }
            let lane = self.lane % STRIDE + process * STRIDE;
            let chain = Head::claim(&tx, node, lane)?.chain;
            found = try_lock(session, chain)?.then_some(lane);
        }
        let lane = found.ok_or_else(|| Error::internal(format!("too many processes call themselves {node}")))?;
        self.lane = lane;
        self.head = Some(Head::claim(&tx, node, lane)?);
        self.process = session.process;
        Ok(())
    }

    /// Takes the lock of the chain that we had. Our lost connection may still hold it: the server has to end it first.
    fn evict(&self, session: &Session, chain: i64) -> Result<bool, Error> {
        let deadline = Instant::now() + EVICTION;
        while !try_lock(session, chain)? {
            session.query(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
                 AND pid = $1 AND CAST(classid AS BIGINT) = $2 AND CAST(objid AS BIGINT) = $3",
                params![i64::from(self.process), LOCKS, chain],
            )?;
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// Whether the transaction that would have ended the chain with `wanted` was committed, for good.
    fn resolve(&self, session: &Session, wanted: &Head) -> Result<bool, Error> {
        let Some(head) = self.head.as_ref().filter(|head| head.chain == wanted.chain) else {
            return Err(Error::Unavailable(
                "PostgreSQL was lost in a commit, and it is not known if it was made".into(),
            ));
        };
        if head != wanted {
            return Ok(false);
        }
        // A commit whose wait for the standby was cut off is there, but not safe yet; one behind it waits for both.
        session.execute("UPDATE chains SET seq = seq WHERE id = $1", params![head.chain])?;
        Ok(true)
    }
}

fn try_lock(session: &Session, chain: i64) -> Result<bool, Error> {
    let rows = session.query("SELECT pg_try_advisory_lock($1)", params![LOCKS << 32 | chain])?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
}
