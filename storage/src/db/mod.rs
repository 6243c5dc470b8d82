//! The thin layer that hides the driver: statements in the dialect that SQLite and PostgreSQL share (`$1` parameters,
//! `RETURNING`, `ON CONFLICT`), run inside a transaction.
//!
//! [`Db::read`] gives a consistent snapshot; [`Db::write`] is durable when it returns. The closures are synchronous
//! and may be run again, so they touch nothing but the transaction.

mod dialect;
mod job;
mod postgres;
mod row;
mod schema;
mod sqlite;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use crate::audit::{Entry, Head};
use crate::{Actor, Error, Timestamp};

pub use postgres::{Postgres, PostgresTls};

pub(crate) use dialect::Dialect;
pub(crate) use row::{Read, Row};

/// Which engine keeps the rows.
#[derive(Debug, Clone, Default)]
pub enum Engine {
    /// The embedded one: a file in the data folder, for one process.
    #[default]
    Sqlite,
    /// PostgreSQL, for any number of nodes.
    Postgres(Postgres),
}

/// What is told of changes.
type Listener = Arc<dyn Fn(&[Change]) + Send + Sync>;

/// Who hears of changes.
#[derive(Clone)]
pub(crate) struct Listeners {
    /// At each commit of this process, before it is acknowledged, where `changed` comes later.
    pub(crate) committed: Listener,
    /// Every change of every process, in the order of each account.
    pub(crate) changed: Listener,
}

/// The database.
#[derive(Clone)]
pub(crate) enum Db {
    Sqlite(sqlite::Pool),
    Postgres(postgres::Pool),
}

impl Db {
    /// Opens or makes the database and brings it to the newest schema. `node` is the name under which the audit log
    /// knows this process. Its threads end when the last clone is gone.
    pub(crate) fn open(engine: &Engine, data: &Path, node: &str, listeners: Listeners) -> Result<Db, Error> {
        match engine {
            Engine::Sqlite => sqlite::Pool::open(&data.join("wharfinger.db"), node, listeners).map(Db::Sqlite),
            Engine::Postgres(options) => postgres::Pool::open(options, node, listeners).map(Db::Postgres),
        }
    }

    /// Looks whether the database can be used, without changing it.
    pub(crate) fn probe(engine: &Engine, node: &str) -> Result<(), Error> {
        match engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres(options) => postgres::probe(options, node),
        }
    }

    /// Whether other processes may change what is stored.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Db::Postgres(_))
    }

    /// Runs `work` on a consistent snapshot. The closure may be run again.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Read<'_>) -> Result<T, Error> + Send + 'static,
    {
        match self {
            Db::Sqlite(pool) => pool.read(work).await,
            Db::Postgres(pool) => pool.read(work, false).await,
        }
    }

    /// Runs `work`, which is one statement and so needs no snapshot around it.
    pub(crate) async fn look<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&Read<'_>) -> Result<T, Error> + Send + 'static,
    {
        match self {
            Db::Sqlite(pool) => pool.read(work).await,
            Db::Postgres(pool) => pool.read(work, true).await,
        }
    }

    /// Runs `work` in a transaction; what it did is durable when this returns `Ok`, and undone when it returns an
    /// error; with [`Error::Unavailable`] it may be either. The closure may be run again, so it must not change
    /// anything but the transaction.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        match self {
            Db::Sqlite(pool) => pool.write(work).await,
            Db::Postgres(pool) => pool.write(work, false).await,
        }
    }

    /// As [`Db::write`], for work that locks every account it touches before all else ([`Tx::lock`]), or touches none:
    /// it may share its commit with others that do so.
    pub(crate) async fn write_grouped<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    {
        match self {
            Db::Sqlite(pool) => pool.write(work).await,
            Db::Postgres(pool) => pool.write(work, true).await,
        }
    }
}

fn closed() -> Error {
    Error::Unavailable("the store is closed".into())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop).map_err(Error::internal)
}

/// The id of the account that changes of the whole system (domains, aliases) are counted under.
pub(crate) const SYSTEM: i64 = 0;

/// A parameter of a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Int(i64::from(value))
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(value: Timestamp) -> Self {
        Value::Int(value.0)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Bytes(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The parameters of a statement, `$1` first.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::db::Value::from($value)),*] };
}
pub(crate) use params;

/// A committed change of one account, as the change feed tells it.
#[derive(Debug, Clone)]
pub struct Change {
    /// Whose; 0 for the system's own.
    pub account: i64,
    /// Its number among that account's changes, from 1 without a gap.
    pub number: i64,
    /// What was done, as in the audit log.
    pub action: Cow<'static, str>,
    /// The id of the node, mailbox or row it was done to.
    pub object: i64,
}

/// What a change is, as its audit record tells it.
pub(crate) struct Deed<'a> {
    /// `family.deed`, as `file.put`.
    pub(crate) action: &'static str,
    /// The id of the node, mailbox or row it is done to.
    pub(crate) object: i64,
    /// Its path, address or name.
    pub(crate) target: &'a str,
    /// More about it, as `key=value` pairs.
    pub(crate) detail: &'a str,
}

/// A transaction that may change things.
pub(crate) struct Tx<'a> {
    read: Read<'a>,
    head: &'a mut Head,
    changes: Vec<Change>,
}

impl<'a> std::ops::Deref for Tx<'a> {
    type Target = Read<'a>;

    fn deref(&self) -> &Read<'a> {
        &self.read
    }
}

impl<'a> Tx<'a> {
    fn new(read: Read<'a>, head: &'a mut Head) -> Self {
        Tx { read, head, changes: Vec::new() }
    }
}

impl Tx<'_> {
    /// Keeps others from changing an account, its files and its mail until this transaction ends. Whoever locks
    /// several does so in the order of their numbers, [`SYSTEM`] first, so that nobody waits in a circle.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the account is gone.
    pub(crate) fn lock(&mut self, account: i64) -> Result<(), Error> {
        self.read.lock(account)
    }

    /// Runs a statement that changes rows, however many. It may be sent without waiting for its outcome: a fault of it
    /// shows at the latest when the transaction is committed.
    pub(crate) fn run(&mut self, sql: &str, params: &[Value<'_>]) -> Result<(), Error> {
        self.read.run(sql, params)
    }

    /// Runs a statement that changes rows; the number of rows it touched.
    pub(crate) fn execute(&mut self, sql: &str, params: &[Value<'_>]) -> Result<usize, Error> {
        self.read.execute(sql, params)
    }

    /// Runs a statement that changes rows and returns the first row it touched.
    pub(crate) fn returning<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.read.row(sql, params, map)
    }

    /// The one way a change ends: counts `delta` bytes against the quota of `account`, gives the change its number in
    /// the account's feed, and writes its audit record, all in this transaction.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that may only read; [`Error::OverQuota`] when `delta` grows the account above its
    /// quota, [`Error::NotFound`] without the account.
    pub(crate) fn change(&mut self, actor: &Actor, account: i64, delta: i64, deed: &Deed<'_>) -> Result<(), Error> {
        actor.may_change()?;
        let Deed { action, object, target, detail } = *deed;
        let number = self.returning(
            "UPDATE accounts SET used = used + $2, changes = changes + 1
             WHERE id = $1 AND ($2 <= 0 OR quota IS NULL OR used + $2 <= quota) RETURNING changes",
            params![account, delta],
            |row| row.int(0),
        )?;
        let Some(number) = number else {
            let known = self.row("SELECT 1 FROM accounts WHERE id = $1", params![account], |_| Ok(()))?;
            return Err(if known.is_some() { Error::OverQuota } else { Error::NotFound });
        };
        self.changes.push(Change { account, number, action: Cow::Borrowed(action), object });
        let entry = Entry { actor, action, change: Some((account, number, object)), target, outcome: "done", detail };
        self.record(&entry)
    }

    /// Writes an audit record of something that changed no data: a log-in, a refusal.
    pub(crate) fn record(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let (record, head) = entry.seal(self.head);
        record.insert(self)?;
        *self.head = head;
        Ok(())
    }
}
