//! The queue as the administrator sees it.

use serde::Serialize;

use super::{Queue, rows};
use crate::accounts::{ascii_domain, lower};
use crate::audit::Entry;
use crate::db::{Read, Row, Tx, params};
use crate::lease::clock;
use crate::{Actor, Error};

/// A recipient that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The row's number.
    pub id: i64,
    /// The number of its message.
    pub message: i64,
    /// The trace id of the transaction the message came by.
    pub trace: String,
    /// The reverse path; empty for a notification.
    pub from: String,
    /// Whom it is for.
    pub recipient: String,
    /// Whose connections it shares.
    pub destination: String,
    /// The message's bytes.
    pub size: i64,
    /// When it came, in milliseconds since the Unix epoch.
    pub arrived: i64,
    /// When it is tried next, in milliseconds since the Unix epoch.
    pub due: i64,
    /// When it is given up, in milliseconds since the Unix epoch.
    pub expires: i64,
    /// How often it was tried.
    pub attempts: i64,
    /// Whether it waits for the administrator.
    pub held: bool,
    /// Whether it is being sent now.
    pub sending: bool,
    /// How the newest try ended, of it or of another one to its destination; empty for none.
    pub said: String,
}

/// Which rows are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// One.
    Row(i64),
    /// Those of a message, by the trace id of its transaction.
    Trace(String),
    /// Those to a destination: a domain, or an address in brackets.
    Destination(String),
    /// Those from or to an address.
    Address(String),
}

impl Which {
    /// The condition, in which `$1` is the value.
    fn condition(&self) -> (&'static str, String) {
        match self {
            Which::All => ("$1 = ''", String::new()),
            Which::Row(id) => ("CAST(queue.id AS TEXT) = $1", id.to_string()),
            Which::Trace(trace) => ("trace = $1", trace.clone()),
            Which::Destination(name) => ("queue.destination = $1", ascii_domain(name)),
            Which::Address(address) => ("(LOWER(recipient) = $1 OR LOWER(sender) = $1)", lower(address)),
        }
    }
}

impl Queue {
    /// How many rows [`Queue::list`] gives at most.
    pub const LISTED: usize = 10_000;

    /// What waits, the oldest first: behind the row of that number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, which: Which, after: i64) -> Result<Vec<Listed>, Error> {
        self.store.db().read(move |tx| list(tx, &which, after)).await
    }

    /// Has rows tried at once, also those that are held, and their destinations as well; how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn retry(&self, actor: Actor, which: Which) -> Result<usize, Error> {
        let retried = self.each(actor, "queue.retry", which, |tx, row| {
            tx.run("DELETE FROM resting WHERE destination = $1", params![&row.destination])?;
            let now = clock(tx)?;
            // What is being sent now is not sent a second time beside that.
            let sql = "UPDATE queue SET held = 0, due = CASE WHEN holder = '' THEN $2 ELSE due END WHERE id = $1";
            Ok(tx.execute(sql, params![row.id, now])? > 0)
        });
        let retried = retried.await?;
        self.store.queue_filled().notify_one();
        Ok(retried)
    }

    /// Holds rows until somebody has them tried; how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn hold(&self, actor: Actor, which: Which) -> Result<usize, Error> {
        let sql = "UPDATE queue SET held = 1 WHERE id = $1";
        let hold = move |tx: &mut Tx<'_>, row: &Listed| Ok(tx.execute(sql, params![row.id])? > 0);
        self.each(actor, "queue.hold", which, hold).await
    }

    /// Takes rows out of the queue that are not being sent now; nobody is told. How many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, actor: Actor, which: Which) -> Result<usize, Error> {
        let take = |tx: &mut Tx<'_>, row: &Listed| {
            let sql = "DELETE FROM queue WHERE id = $1 AND (holder = '' OR due <= $2)";
            let taken = tx.execute(sql, params![row.id, clock(tx)?])? > 0;
            if taken {
                rows::leave(tx, row.message)?;
            }
            Ok(taken)
        };
        self.each(actor, "queue.drop", which, take).await
    }

    async fn each(
        &self,
        actor: Actor,
        action: &'static str,
        which: Which,
        work: impl Fn(&mut Tx<'_>, &Listed) -> Result<bool, Error> + Send + Sync + Copy + 'static,
    ) -> Result<usize, Error> {
        let (mut count, mut after) = (0, 0);
        loop {
            let (actor, which) = (actor.clone(), which.clone());
            let some = self.store.db().write(move |tx| {
                let (found, mut count) = (list(tx, &which, after)?, 0);
                for row in &found {
                    if !work(tx, row)? {
                        continue;
                    }
                    count += 1;
                    let mut actor = actor.clone();
                    actor.peer.trace = crate::TraceId::parse(&row.trace).unwrap_or_default();
                    let (target, detail) = (row.recipient.as_str(), format!("message={}", row.message));
                    tx.record(&Entry {
                        actor: &actor,
                        action,
                        change: None,
                        target,
                        outcome: "done",
                        detail: &detail,
                    })?;
                }
                Ok((count, found.len(), found.last().map(|row| row.id)))
            });
            let (done, found, last) = some.await?;
            count += done;
            match last {
                Some(last) if found == Self::LISTED => after = last,
                _ => return Ok(count),
            }
        }
    }
}

fn list(tx: &Read<'_>, which: &Which, after: i64) -> Result<Vec<Listed>, Error> {
    let (condition, value) = which.condition();
    let sql = format!(
        "SELECT queue.id, message, trace, sender, recipient, queue.destination, size, arrived, due, expires, attempts,
         held, holder, CASE WHEN queue.said = '' THEN COALESCE(resting.said, '') ELSE queue.said END
         FROM queue JOIN queued ON queued.id = queue.message
         LEFT JOIN resting ON resting.destination = queue.destination AND resting.until > $4
         WHERE queue.id > $2 AND {condition} ORDER BY queue.id LIMIT $3"
    );
    let row = |row: &Row<'_>| {
        Ok(Listed {
            id: row.int(0)?,
            message: row.int(1)?,
            trace: row.text(2)?,
            from: row.text(3)?,
            recipient: row.text(4)?,
            destination: row.text(5)?,
            size: row.int(6)?,
            arrived: row.int(7)?,
            due: row.int(8)?,
            expires: row.int(9)?,
            attempts: row.int(10)?,
            held: row.bool(11)?,
            sending: !row.text(12)?.is_empty(),
            said: row.text(13)?,
        })
    };
    tx.rows(&sql, params![&value, after, Queue::LISTED as i64, clock(tx)?], row)
}
