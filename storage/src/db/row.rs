//! Statements and rows, the same for both engines.

use rusqlite::{CachedStatement, Connection};

use super::{Dialect, Value, params, postgres};
use crate::Error;

/// A snapshot: what both kinds of transaction can do.
pub(crate) struct Read<'a> {
    on: On<'a>,
}

#[derive(Clone, Copy)]
enum On<'a> {
    Sqlite(&'a Connection),
    Postgres(&'a postgres::Session),
}

impl<'a> Read<'a> {
    pub(super) fn sqlite(connection: &'a Connection) -> Self {
        Read { on: On::Sqlite(connection) }
    }

    pub(super) fn postgres(session: &'a postgres::Session) -> Self {
        Read { on: On::Postgres(session) }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.on {
            On::Sqlite(_) => Dialect::Sqlite,
            On::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Every row of a query.
    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        match self.on {
            On::Sqlite(connection) => {
                let mut statement = bound(connection, sql, params)?;
                let mut rows = statement.raw_query();
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    all.push(map(&Row::Sqlite(row))?);
                }
                Ok(all)
            }
            On::Postgres(session) => session.query(sql, params)?.iter().map(|row| map(&Row::Postgres(row))).collect(),
        }
    }

    /// Many numbers: the rows of one column, or with PostgreSQL an array of them in one row, since a row of its own for
    /// each takes longer to pass on than to find.
    pub(crate) fn numbers(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<i64>, Error> {
        match self.on {
            On::Sqlite(_) => self.rows(sql, params, |row| row.int(0)),
            On::Postgres(session) => {
                let rows = session.query(sql, params)?;
                let all: Option<Vec<i64>> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
                Ok(all.unwrap_or_default())
            }
        }
    }

    /// The first row of a query; the statement is run to its end all the same.
    pub(crate) fn row<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        map: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self.on {
            On::Sqlite(connection) => {
                let mut statement = bound(connection, sql, params)?;
                let mut rows = statement.raw_query();
                let Some(row) = rows.next()? else { return Ok(None) };
                let first = map(&Row::Sqlite(row))?;
                while rows.next()?.is_some() {}
                Ok(Some(first))
            }
            On::Postgres(session) => {
                session.query(sql, params)?.first().map(|row| map(&Row::Postgres(row))).transpose()
            }
        }
    }

    /// Finds an account and keeps others from changing it. In a transaction that holds others already it does not wait.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone; [`Error::Busy`] when it would have to wait.
    pub(super) fn lock(&self, account: i64) -> Result<(), Error> {
        let patient = match self.on {
            On::Sqlite(_) => true,
            On::Postgres(session) => session.is_patient(),
        };
        let found = self.row(self.dialect().lock_account(patient), params![account], |_| Ok(()))?;
        match (found, self.on) {
            (Some(()), _) => Ok(()),
            (None, On::Postgres(session)) if !patient => {
                session.block();
                Err(Error::Busy)
            }
            (None, _) => Err(Error::NotFound),
        }
    }

    /// Runs a statement without waiting for its outcome, where that saves a journey.
    pub(super) fn run(&self, sql: &str, params: &[Value<'_>]) -> Result<(), Error> {
        match self.on {
            On::Sqlite(_) => self.execute(sql, params).map(drop),
            On::Postgres(session) => session.send(sql, params),
        }
    }

    /// Runs a statement that changes rows; how many.
    pub(crate) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, Error> {
        match self.on {
            On::Sqlite(connection) => Ok(bound(connection, sql, params)?.raw_execute()?),
            On::Postgres(session) => session.execute(sql, params),
        }
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), Error> {
        match self.on {
            On::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            On::Postgres(session) => session.batch(sql),
        }
    }
}

/// A statement of SQLite with its values.
fn bound<'a>(connection: &'a Connection, sql: &str, params: &[Value<'_>]) -> Result<CachedStatement<'a>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
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

/// A row of a result; columns are counted from 0.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    pub(crate) fn int(&self, at: usize) -> Result<i64, Error> {
        match self {
            Row::Sqlite(row) => Ok(row.get(at)?),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    pub(crate) fn optional_int(&self, at: usize) -> Result<Option<i64>, Error> {
        match self {
            Row::Sqlite(row) => Ok(row.get(at)?),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    pub(crate) fn text(&self, at: usize) -> Result<String, Error> {
        match self {
            Row::Sqlite(row) => Ok(row.get(at)?),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    pub(crate) fn optional_text(&self, at: usize) -> Result<Option<String>, Error> {
        match self {
            Row::Sqlite(row) => Ok(row.get(at)?),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    pub(crate) fn bytes(&self, at: usize) -> Result<Vec<u8>, Error> {
        match self {
            Row::Sqlite(row) => Ok(row.get(at)?),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    pub(crate) fn optional_bytes(&self, at: usize) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Row::Sqlite(row) => Ok(row.get(at)?),
            Row::Postgres(row) => Ok(row.try_get(at)?),
        }
    }

    pub(crate) fn bool(&self, at: usize) -> Result<bool, Error> {
        Ok(self.int(at)? != 0)
    }
}
