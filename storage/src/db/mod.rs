//! The thin layer that hides the driver: statements in the dialect that SQLite and PostgreSQL share (`$1` parameters,
//! `RETURNING`, `ON CONFLICT`), run inside a transaction.
//!
//! [`Db::read`] gives a consistent snapshot; [`Db::write`] is durable when it returns. The closures are synchronous
//! and may be run again, so they touch nothing but the transaction.

mod schema;
mod sqlite;

use crate::audit::{Entry, Head};
use crate::{Actor, Error, Timestamp};

pub(crate) use sqlite::{Db, Read, Row, file};

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
    pub action: &'static str,
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

impl Tx<'_> {
    /// Runs a statement that changes rows; the number of rows it touched.
    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<usize, Error> {
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
    /// [`Error::OverQuota`] when `delta` grows the account above its quota, [`Error::NotFound`] without the account.
    pub(crate) fn change(&mut self, actor: &Actor, account: i64, delta: i64, deed: &Deed<'_>) -> Result<(), Error> {
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
        self.changes.push(Change { account, number, action, object });
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
