//! One connection to PostgreSQL, driven by the thread that uses it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Statement};

use super::Target;
use crate::Error;
use crate::db::Value;
use crate::error::with_causes;

/// How a write begins.
pub(super) const READ_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
/// How a read of several statements begins.
pub(super) const READ_ONLY: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// How the first part that can be undone alone begins. It does not wait for long, whatever somebody else holds: that
/// one may wait for what this transaction holds already, and PostgreSQL looks for such a circle only after a second.
const FIRST_PART: &str = "SET LOCAL lock_timeout = '5ms'; SAVEPOINT part";
/// How the next one begins.
const NEXT_PART: &str = "RELEASE SAVEPOINT part; SAVEPOINT part";
/// How long a server may take until a connection to it can be used.
const CONNECT: Duration = Duration::from_secs(5);
/// How many statements a session keeps prepared.
const STATEMENTS: usize = 256;

/// What became of a session's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Every statement went well.
    Good,
    /// A statement failed: PostgreSQL lets the transaction do nothing more.
    Failed,
    /// Somebody else was in the way; the same may succeed when it is run again.
    Conflict,
    /// Somebody else holds what this part of the transaction wants, and it may not wait for that.
    Blocked,
    /// The connection is gone or of no use any more.
    Lost,
}

/// A statement that was sent, and whose outcome is not known yet.
type Sent = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>;

/// Why there is no connection.
pub(super) struct Refused {
    /// In one line.
    pub(super) told: String,
    /// What the server called it, where it did.
    pub(super) code: Option<SqlState>,
}

/// Opens one connection: the client, the task that drives it, and the number of the server's process.
async fn open(
    config: &tokio_postgres::Config,
    target: &Target,
    notified: Option<mpsc::UnboundedSender<()>>,
) -> Result<(Client, JoinHandle<()>, i32), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(target.tls.clone()).await?;
    let driver = tokio::spawn(async move {
        // Ends when the connection does; whoever waits for an answer hears of it.
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let (AsyncMessage::Notification(_), Some(notified)) = (message, &notified) {
                let _ = notified.send(());
            }
        }
    });
    client.batch_execute(&target.settings()).await?;
    let process = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
    Ok((client, driver, process))
}

/// One connection, and the transaction on it.
pub(crate) struct Session {
    runtime: Arc<Runtime>,
    client: Arc<Client>,
    driver: JoinHandle<()>,
    statements: RefCell<HashMap<String, Statement>>,
    limit: Duration,
    /// How the transaction begins; sent together with its first statement.
    begin: Cell<Option<&'static str>>,
    /// Whether the transaction has a savepoint.
    part: Cell<bool>,
    /// Whether statements of an earlier part were still on their way when this one began, and nothing has shown since
    /// that they went well: a fault may be theirs.
    carried: Cell<bool>,
    fate: Cell<Fate>,
    patient: Cell<bool>,
    sent: RefCell<Vec<Sent>>,
    /// The number of the server's process for this connection.
    pub(super) process: i32,
}

impl Session {
    /// Connects to the first of the servers that takes writes; none may take longer than [`CONNECT`]. Notifications
    /// that come in are told to `notified`.
    pub(super) fn connect(
        target: &Target,
        runtime: &Arc<Runtime>,
        notified: Option<mpsc::UnboundedSender<()>>,
    ) -> Result<Session, Refused> {
        let mut refused = Refused { told: "there is no server".into(), code: None };
        for config in &target.servers {
            let opened =
                runtime.block_on(async { tokio::time::timeout(CONNECT, open(config, target, notified.clone())).await });
            match opened {
                Ok(Ok((client, driver, process))) => {
                    return Ok(Session {
                        runtime: runtime.clone(),
                        client: Arc::new(client),
                        driver,
                        statements: RefCell::default(),
                        limit: target.limit,
                        begin: Cell::new(None),
                        part: Cell::new(false),
                        carried: Cell::new(false),
                        fate: Cell::new(Fate::Good),
                        patient: Cell::new(true),
                        sent: RefCell::default(),
                        process,
                    });
                }
                Ok(Err(error)) => refused = Refused { told: with_causes(&error), code: error.code().cloned() },
                Err(_) => refused.told = format!("no answer within {} s", CONNECT.as_secs()),
            }
        }
        Err(refused)
    }

    /// Begins a transaction with the next statement, so that it costs no journey of its own; with `None` each statement
    /// is one.
    pub(super) fn begin(&self, sql: Option<&'static str>) {
        self.begin.set(sql);
        self.part.set(false);
        self.carried.set(false);
        self.fate.set(Fate::Good);
        self.patient.set(true);
    }

    /// Begins a part of the transaction that can be undone alone, with the next statement.
    pub(super) fn begin_part(&self) {
        self.patient.set(false);
        self.carried.set(!self.sent.borrow().is_empty());
        // One that was not sent yet does for this part too.
        if self.begin.get().is_none() {
            self.begin.set(Some(if self.part.get() { NEXT_PART } else { FIRST_PART }));
        }
    }

    /// Undoes the part that was begun last; whether the transaction can go on.
    pub(super) fn undo_part(&self) -> bool {
        if self.fate() == Fate::Lost || self.carried.get() {
            return false;
        }
        if self.begin.take().is_none() {
            // What was sent in this part fails with it, or is undone.
            let sent: Vec<Sent> = self.sent.take();
            let undo = async {
                for sent in sent {
                    let _ = sent.await;
                }
                self.client.batch_execute("ROLLBACK TO SAVEPOINT part").await
            };
            if self.run("ROLLBACK TO SAVEPOINT", undo).is_err() {
                return false;
            }
        }
        self.fate.set(Fate::Good);
        true
    }

    /// Ends the transaction; whether the server said that it is kept.
    pub(super) fn commit(&self) -> Result<(), Error> {
        if !self.has_begun() {
            return Ok(());
        }
        // Sent together with what is still on its way: when any of that failed, this undoes all, and says so.
        self.run("COMMIT", self.client.batch_execute("COMMIT"))
    }

    /// Undoes the transaction.
    pub(super) fn rollback(&self) {
        let begun = self.has_begun();
        let sent: Vec<Sent> = self.sent.take();
        if begun && self.fate() != Fate::Lost {
            let fate = self.fate();
            let undo = async {
                for sent in sent {
                    let _ = sent.await;
                }
                self.client.batch_execute("ROLLBACK").await
            };
            if self.run("ROLLBACK", undo).is_ok() {
                self.fate.set(fate);
            }
        }
    }

    /// Whether the transaction may wait for a lock.
    pub(crate) fn is_patient(&self) -> bool {
        self.patient.get()
    }

    /// The transaction would have to wait.
    pub(crate) fn block(&self) {
        self.fate.set(Fate::Blocked);
    }

    pub(super) fn fate(&self) -> Fate {
        if self.client.is_closed() { Fate::Lost } else { self.fate.get() }
    }

    pub(crate) fn query(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<tokio_postgres::Row>, Error> {
        self.run(sql, async {
            let statement = self.prepared(sql, params).await?;
            let values = values(params);
            self.with_begin(self.client.query(&statement, &values)).await
        })
    }

    pub(crate) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize, Error> {
        let count = self.run(sql, async {
            let statement = self.prepared(sql, params).await?;
            let values = values(params);
            self.with_begin(self.client.execute(&statement, &values)).await
        })?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Sends a statement and does not wait for it.
    pub(crate) fn send(&self, sql: &str, params: &[Value<'_>]) -> Result<(), Error> {
        let known = self.statements.borrow().get(sql).cloned();
        // One that is not prepared yet costs a journey anyway, and so does the transaction's beginning.
        let (Some(statement), None) = (known, self.begin.get()) else { return self.execute(sql, params).map(drop) };
        let (client, values) = (self.client.clone(), params.iter().map(Owned::from).collect::<Vec<_>>());
        let mut sent: Sent = Box::pin(async move {
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            client.execute(&statement, &values).await
        });
        match self.runtime.block_on(poll_once(&mut sent)) {
            None => self.sent.borrow_mut().push(sent),
            // Answered before anything was sent: the connection is gone.
            Some(done) => return self.run(sql, async { done }).map(drop),
        }
        Ok(())
    }

    /// Forgets a beginning that was not sent; whether there is a transaction all the same.
    fn has_begun(&self) -> bool {
        !self.begin.take().is_some_and(|begin| begin.starts_with("BEGIN"))
    }

    pub(crate) fn batch(&self, sql: &str) -> Result<(), Error> {
        self.run(sql, self.with_begin(self.client.batch_execute(sql)))
    }

    /// Lets the connection's own work go on while `other` waits.
    pub(super) fn wait<T>(&self, other: impl Future<Output = T>) -> T {
        self.runtime.block_on(other)
    }

    async fn prepared(&self, sql: &str, params: &[Value<'_>]) -> Result<Statement, tokio_postgres::Error> {
        if let Some(known) = self.statements.borrow().get(sql) {
            return Ok(known.clone());
        }
        // Left to itself PostgreSQL takes the `$2` of `$2 <= 0` for 32 bits.
        let types: Vec<Type> = params.iter().map(Value::postgres_type).collect();
        let statement = self.client.prepare_typed(sql, &types).await?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Sends `work` right behind the transaction's beginning, where that was not sent yet.
    async fn with_begin<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        match self.begin.take() {
            None => work.await,
            Some(begin) => {
                self.part.set(begin.contains("SAVEPOINT"));
                let (begun, done) = tokio::join!(self.client.batch_execute(begin), work);
                begun?;
                done
            }
        }
    }

    fn run<T>(&self, sql: &str, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
        let sent: Vec<Sent> = self.sent.take();
        let limited = async {
            tokio::time::timeout(self.limit, async {
                let sent = async {
                    for sent in sent {
                        sent.await?;
                    }
                    Ok(())
                };
                // They were sent before, so they are answered before, and nobody hears of `work` until somebody has
                // taken all that is said of them; the first that failed is the one to blame.
                let (sent, done) = tokio::join!(sent, work);
                sent.and(done)
            })
            .await
        };
        match self.runtime.block_on(limited) {
            Ok(Ok(value)) => {
                self.carried.set(false);
                Ok(value)
            }
            Ok(Err(error)) => {
                let blocked = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && !self.is_patient();
                let (fate, error) = judge(&error, sql);
                self.fate.set(if blocked { Fate::Blocked } else { fate });
                Err(error)
            }
            Err(_) => {
                self.fate.set(Fate::Lost);
                Err(Error::Unavailable(format!("PostgreSQL did not answer within {} s", self.limit.as_secs())))
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A task is dropped only by its runtime, and the socket with it: the server must not keep our locks.
        self.driver.abort();
        let _ = self.runtime.block_on(&mut self.driver);
    }
}

/// What an error means for the transaction, and for whoever asked.
fn judge(error: &tokio_postgres::Error, sql: &str) -> (Fate, Error) {
    let Some(told) = error.as_db_error() else {
        let fate = if error.is_closed()
            || std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
        {
            Fate::Lost
        } else {
            Fate::Failed
        };
        let text = with_causes(error);
        return match fate {
            Fate::Lost => (fate, Error::Unavailable(text)),
            _ => (fate, Error::internal(format!("{text} in: {sql}"))),
        };
    };
    let code = told.code();
    let text = format!("{} (SQLSTATE {})", told.message(), code.code());
    if *code == SqlState::UNIQUE_VIOLATION {
        return (Fate::Failed, Error::Exists);
    }
    if *code == SqlState::DISK_FULL {
        return (Fate::Failed, Error::Full);
    }
    if [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
        .contains(code)
    {
        return (Fate::Conflict, Error::Busy);
    }
    // Connection exceptions, a server that stops or has not started yet, one that became a standby.
    let lost =
        code.code().starts_with("08") || code.code().starts_with("57P") || *code == SqlState::READ_ONLY_SQL_TRANSACTION;
    if lost {
        return (Fate::Lost, Error::Unavailable(text));
    }
    // Out of memory or connections, or cancelled by the time limit.
    if code.code().starts_with("53") || *code == SqlState::QUERY_CANCELED {
        return (Fate::Failed, Error::Unavailable(text));
    }
    (Fate::Failed, Error::internal(format!("{text} in: {sql}")))
}

/// Polls a future once, so that what it has to send is on its way.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut *future).poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A value that outlives its statement's call.
#[derive(Debug)]
enum Owned {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl From<&Value<'_>> for Owned {
    fn from(value: &Value<'_>) -> Self {
        match *value {
            Value::Null => Owned::Null,
            Value::Int(value) => Owned::Int(value),
            Value::Text(value) => Owned::Text(value.to_owned()),
            Value::Bytes(value) => Owned::Bytes(value.to_owned()),
        }
    }
}

impl ToSql for Owned {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let value = match self {
            Owned::Null => Value::Null,
            Owned::Int(value) => Value::Int(*value),
            Owned::Text(value) => Value::Text(value),
            Owned::Bytes(value) => Value::Bytes(value),
        };
        value.to_sql(ty, out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn values<'a>(params: &'a [Value<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

impl Value<'_> {
    fn postgres_type(&self) -> Type {
        match self {
            Value::Null => Type::UNKNOWN,
            Value::Int(_) => Type::INT8,
            Value::Text(_) => Type::TEXT,
            Value::Bytes(_) => Type::BYTEA,
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (*self, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Value::Int(value), &Type::INT4) => i32::try_from(value)?.to_sql(ty, out),
            // PostgreSQL takes no NUL; nothing that is looked up by text can hold one.
            (Value::Text(value), &Type::TEXT) if value.contains('\0') => {
                value.replace('\0', "\u{fffd}").to_sql(ty, out)
            }
            (Value::Text(value), &Type::TEXT) => value.to_sql(ty, out),
            (Value::Bytes(value), &Type::BYTEA) => value.to_sql(ty, out),
            (value, ty) => Err(format!("{value:?} is given where {ty} is wanted").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
