//! The rows of the queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Claim, Due, Fate, Manner, Notice, Onward, Queued, Terms, limit, millis};
use crate::audit::Entry;
use crate::blobs::release;
use crate::db::{Read, Row, Tx, Value, params};
use crate::lease::clock;
use crate::{Actor, Error, Timestamp, TraceId};

/// The most rows that one statement claims, however many recipients a message has.
const MOST: u32 = 1000;
/// How many destinations one statement names.
const NAMES: usize = 64;
/// What is due so soon after another recipient of the same message goes with it, in milliseconds.
const TOGETHER: i64 = 1000;

/// A message on its way into the queue.
#[derive(Clone, Copy)]
pub(crate) struct NewQueued<'a> {
    pub(crate) trace: TraceId,
    pub(crate) head: &'a str,
    pub(crate) blob: i64,
    pub(crate) size: u64,
    pub(crate) manner: &'a Manner,
    pub(crate) onward: &'a [Onward],
    pub(crate) terms: Terms,
}

/// Puts the recipients of a message that leaves this server into the queue. Its content is referred to already.
///
/// # Errors
/// [`Error::TooMany`] when the account has sent to as many as it may in an hour.
pub(crate) fn enqueue(tx: &mut Tx<'_>, actor: &Actor, message: &NewQueued<'_>) -> Result<(), Error> {
    let NewQueued { trace, head, blob, size, manner, onward, terms } = *message;
    let size = size + head.len() as u64;
    actor.may_change()?;
    let now = clock(tx)?;
    if let (Some(account), Some(hourly)) = (actor.account, terms.hourly) {
        limit::count(tx, account, onward.len() as i64, hourly, now)?;
    }
    let id = tx.returning(
        "INSERT INTO queued (blob, trace, account, head, size, manner, arrived, recipients)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
        params![blob, trace.as_str(), actor.account, head, size as i64, &json(manner)?, now, onward.len() as i64],
        |row| row.int(0),
    )?;
    let id = id.ok_or_else(|| Error::internal("a queued message's row was not returned"))?;
    let expires = now.saturating_add(millis(terms.lifetime));
    let warning = terms.warning.map(|warning| now.saturating_add(millis(warning)));
    for to in onward {
        let from = to.from.as_str();
        let warns = warning.filter(|_| to.notice.delay && !from.is_empty());
        tx.run(
            "INSERT INTO queue (message, sender, recipient, destination, notice, due, expires, warns)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            params![id, from, &to.address, &to.destination, &json(&to.notice)?, now, expires, warns],
        )?;
        let detail = format!("from=<{from}> size={size} message={id} via={}", to.destination);
        let (action, target) = ("mail.queue", to.address.as_str());
        tx.record(&Entry { actor, action, change: None, target, outcome: "done", detail: &detail })?;
    }
    Ok(())
}

/// What is to be done now.
pub(super) fn due(tx: &Read<'_>) -> Result<Due, Error> {
    let now = clock(tx)?;
    // From one destination to the next by the index, however many rows each has.
    let found = tx.rows(
        "WITH RECURSIVE names (name) AS (
             SELECT MIN(destination) FROM queue WHERE held = 0
             UNION ALL
             SELECT (SELECT MIN(destination) FROM queue WHERE held = 0 AND destination > names.name)
             FROM names WHERE names.name IS NOT NULL
         )
         SELECT names.name, (SELECT MIN(due) FROM queue WHERE held = 0 AND destination = names.name), resting.until
         FROM names LEFT JOIN resting ON resting.destination = names.name WHERE names.name IS NOT NULL",
        &[],
        |row| {
            let due = row.optional_int(1)?.unwrap_or(i64::MAX);
            Ok((row.text(0)?, due.max(row.optional_int(2)?.unwrap_or(0))))
        },
    )?;
    let next = found.iter().map(|(_, due)| *due).filter(|due| *due > now).min();
    let mut due: Vec<(i64, String)> =
        found.into_iter().filter(|(_, due)| *due <= now).map(|(name, due)| (due, name)).collect();
    due.sort();
    let is_any = |sql: &str| Ok::<_, Error>(tx.row(sql, params![now], |_| Ok(()))?.is_some());
    Ok(Due {
        destinations: due.into_iter().map(|(_, name)| name).collect(),
        next: next.map(|next| Duration::from_millis((next - now) as u64)),
        expired: is_any(&format!("SELECT 1 FROM queue WHERE {} LIMIT 1", expired("$1")))?,
        late: is_any("SELECT 1 FROM queue WHERE warns <= $1 AND held = 0 LIMIT 1")?,
    })
}

/// Claims rows of these destinations in their order, and what their messages have for the others of them; and of how
/// many at their head nothing was due any more before that.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    destinations: &[String],
    holder: &str,
    most: u32,
    time: i64,
) -> Result<(Vec<Claim>, usize), Error> {
    let (mut claims, mut empty) = (Vec::new(), 0);
    for destination in destinations {
        let left = most.saturating_sub(claims.len() as u32);
        if left == 0 {
            break;
        }
        let found = claim_of(tx, destination, holder, left, time)?;
        empty += usize::from(found.len() < left as usize);
        claims.extend(found);
    }
    if destinations.len() > 1 {
        let mut left = BTreeMap::new();
        for Claim { message, .. } in &claims {
            *left.entry(message.id).or_insert(message.recipients) -= 1;
        }
        left.retain(|_, recipients| *recipients > 0);
        for (message, names) in left.keys().flat_map(|id| destinations.chunks(NAMES).map(move |names| (id, names))) {
            if claims.len() < MOST as usize {
                claims.extend(claim_rest(tx, *message, names, holder, time)?);
            }
        }
    }
    sort(&mut claims);
    Ok((claims, empty))
}

/// Claims what else a message has for these destinations, [`NAMES`] of them at most, which go one way: the recipients
/// of a message go together (RFC 5321 §4.5.4.1).
fn claim_rest(
    tx: &mut Tx<'_>,
    message: i64,
    destinations: &[String],
    holder: &str,
    time: i64,
) -> Result<Vec<Claim>, Error> {
    let Some(last) = destinations.last() else { return Ok(Vec::new()) };
    let now = clock(tx)?;
    // Always as many names, so that it is one statement to the database.
    let names: Vec<String> = (5..5 + NAMES).map(|number| format!("${number}")).collect();
    let sql = claiming(&format!(
        "SELECT id FROM queue WHERE message = $3 AND destination IN ({}) AND held = 0 AND +due <= $4 LIMIT {MOST} {}",
        names.join(", "),
        tx.dialect().unlocked()
    ));
    let mut values = params![now.saturating_add(time), holder, message, now + TOGETHER].to_vec();
    values.extend((0..NAMES).map(|at| Value::from(destinations.get(at).unwrap_or(last).as_str())));
    claimed(tx, &sql, &values)
}

/// Claims rows of a destination: those that have been due for longest, and whoever their messages are for there
/// besides, since the recipients of a message go together (RFC 5321 §4.5.4.1).
fn claim_of(tx: &mut Tx<'_>, destination: &str, holder: &str, most: u32, time: i64) -> Result<Vec<Claim>, Error> {
    let now = clock(tx)?;
    let unlocked = tx.dialect().unlocked();
    // The plus keeps SQLite from walking over all that is due for the destination: a message has few rows.
    let sql = claiming(&format!(
        "SELECT id FROM queue WHERE destination = $4 AND held = 0 AND +due <= $6 AND message IN (
             SELECT message FROM queue WHERE destination = $4 AND held = 0 AND due <= $5
             ORDER BY due LIMIT $3 {unlocked}
         ) LIMIT {MOST} {unlocked}"
    ));
    let values = params![now.saturating_add(time), holder, i64::from(most), destination, now, now + TOGETHER];
    claimed(tx, &sql, values)
}

/// Rows whose senders are to be told that it takes long.
pub(super) fn late(tx: &Read<'_>, most: u32) -> Result<Vec<Claim>, Error> {
    let sql = "SELECT id, message, recipient, destination, notice, attempts, claim, expires, said, sender FROM queue
         WHERE warns <= $1 AND held = 0 ORDER BY warns LIMIT $2";
    claimed(tx, sql, params![clock(tx)?, i64::from(most)])
}

/// Which rows are given up without another try, at the time that a parameter has: what is due is tried, and given up
/// when that fails.
fn expired(now: &str) -> String {
    format!(
        "expires <= {now} AND held = 0 AND holder = '' AND (due > {now} OR EXISTS (
             SELECT 1 FROM resting WHERE resting.destination = queue.destination AND resting.until > {now}))"
    )
}

/// Claims rows whose time is over and that nobody tries now.
pub(super) fn claim_expired(tx: &mut Tx<'_>, holder: &str, most: u32, time: i64) -> Result<Vec<Claim>, Error> {
    let now = clock(tx)?;
    let unlocked = tx.dialect().unlocked();
    let sql = claiming(&format!("SELECT id FROM queue WHERE {} ORDER BY expires LIMIT $3 {unlocked}", expired("$4")));
    claimed(tx, &sql, params![now.saturating_add(time), holder, i64::from(most), now])
}

/// Claims rows: until `$1`, for the process `$2`.
fn claiming(rows: &str) -> String {
    format!(
        "UPDATE queue SET due = $1, holder = $2, claim = claim + 1 WHERE id IN ({rows})
         RETURNING id, message, recipient, destination, notice, attempts, claim, expires, said, sender"
    )
}

fn claimed(tx: &Read<'_>, sql: &str, values: &[crate::db::Value<'_>]) -> Result<Vec<Claim>, Error> {
    let rows = tx.rows(sql, values, |row| {
        let notice: Notice = serde_json::from_str(&row.text(4)?).unwrap_or_default();
        let (id, message, number, attempts) = (row.int(0)?, row.int(1)?, row.int(6)?, row.int(5)?);
        Ok((id, message, row.text(2)?, row.text(3)?, notice, attempts, number, row.int(7)?, row.text(8)?, row.text(9)?))
    })?;
    let mut messages: HashMap<i64, Arc<Queued>> = HashMap::new();
    let mut claims = Vec::new();
    for (id, message, recipient, destination, notice, attempts, number, expires, said, from) in rows {
        let message = match messages.get(&message) {
            Some(known) => known.clone(),
            None => {
                let found = Arc::new(queued(tx, message)?);
                messages.insert(message, found.clone());
                found
            }
        };
        let (attempts, expires) = (u32::try_from(attempts).unwrap_or(u32::MAX), Timestamp(expires));
        claims.push(Claim { id, message, from, recipient, destination, notice, attempts, expires, said, number });
    }
    sort(&mut claims);
    Ok(claims)
}

/// Those of one message go over the wire together.
fn sort(claims: &mut [Claim]) {
    claims.sort_by(|one, next| (one.message.id, &one.from, one.id).cmp(&(next.message.id, &next.from, next.id)));
}

pub(super) fn queued(tx: &Read<'_>, id: i64) -> Result<Queued, Error> {
    let sql = "SELECT trace, account, head, size, manner, arrived, blob, recipients FROM queued WHERE id = $1";
    let message = |row: &Row<'_>| {
        Ok(Queued {
            id,
            trace: TraceId::parse(&row.text(0)?).unwrap_or_default(),
            account: row.optional_int(1)?,
            head: row.text(2)?,
            size: row.int(3)? as u64,
            manner: serde_json::from_str(&row.text(4)?).unwrap_or_default(),
            arrived: Timestamp(row.int(5)?),
            blob: row.int(6)?,
            recipients: row.int(7)?,
        })
    };
    tx.row(sql, params![id], message)?.ok_or_else(|| Error::internal(format!("queued message {id} has no row")))
}

/// Ends a claim; whether it was held still.
pub(super) fn settle(tx: &mut Tx<'_>, actor: &Actor, claim: &Claim, fate: &Fate) -> Result<bool, Error> {
    let (touched, action, outcome, said) = match fate {
        Fate::Warned => {
            let sql = "UPDATE queue SET warns = NULL WHERE id = $1 AND warns IS NOT NULL";
            return Ok(tx.execute(sql, params![claim.id])? > 0);
        }
        Fate::Deferred(said, delay) => {
            let due = clock(tx)?.saturating_add(millis(*delay));
            let touched = tx.execute(
                "UPDATE queue SET due = $3, attempts = attempts + 1, said = $4, claim = claim + 1, holder = ''
                 WHERE id = $1 AND claim = $2",
                params![claim.id, claim.number, due, said],
            )?;
            (touched, "mail.defer", "failed", said)
        }
        Fate::Sent(said) | Fate::Failed(said) => {
            // What was sent was sent, whoever has claimed it since.
            let gone = match fate {
                Fate::Sent(_) => tx.execute("DELETE FROM queue WHERE id = $1", params![claim.id])?,
                _ => tx.execute("DELETE FROM queue WHERE id = $1 AND claim = $2", params![claim.id, claim.number])?,
            };
            if gone > 0 {
                leave(tx, claim.message.id)?;
            }
            (gone, "mail.send", if matches!(fate, Fate::Sent(_)) { "done" } else { "failed" }, said)
        }
    };
    // Also when somebody took the row out of the queue meanwhile.
    if touched == 0 && !matches!(fate, Fate::Sent(_)) {
        return Ok(false);
    }
    let mut actor = actor.clone();
    actor.peer.trace = claim.message.trace;
    let detail = format!("message={} try={} {said}", claim.message.id, claim.attempts + 1);
    let target = claim.recipient.as_str();
    tx.record(&Entry { actor: &actor, action, change: None, target, outcome, detail: &detail })?;
    Ok(touched > 0)
}

/// Counts a recipient off a message, which leaves with its last one.
pub(super) fn leave(tx: &mut Tx<'_>, message: i64) -> Result<(), Error> {
    let last = "DELETE FROM queued WHERE id = $1 AND recipients = 1 RETURNING blob";
    if let Some(blob) = tx.returning(last, params![message], |row| row.int(0))? {
        return release(tx, blob);
    }
    let left = tx.returning(
        "UPDATE queued SET recipients = recipients - 1 WHERE id = $1 RETURNING recipients, blob",
        params![message],
        |row| Ok((row.int(0)?, row.int(1)?)),
    )?;
    if let Some((0, blob)) = left {
        tx.run("DELETE FROM queued WHERE id = $1", params![message])?;
        release(tx, blob)?;
    }
    Ok(())
}

fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::internal)
}
