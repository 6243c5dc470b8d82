//! Reading the audit log, and proving it.

use super::Record;
use crate::db::{Read, Row, params};
use crate::{Error, Store};

const COLUMNS: &str =
    "node, seq, time, actor, name, protocol, peer, tls, trace, action, account, change, object, target,
    outcome, detail, previous, hash";
/// How many records are read at once while the chain is verified.
const PAGE: i64 = 2000;

/// Which records [`Store::audit`] returns; every field that is set narrows the choice.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The actor's name.
    pub name: Option<String>,
    /// The action, or the family before its dot: `file` finds `file.put`.
    pub action: Option<String>,
    /// `done`, `refused` or `failed`.
    pub outcome: Option<String>,
    /// The trace id.
    pub trace: Option<String>,
    /// Only records after this one.
    pub after: Option<i64>,
    /// At most this many, the newest ones.
    pub limit: usize,
}

/// A proof that the log is whole.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// All records.
    pub records: i64,
    /// Those that record a change of data.
    pub changes: i64,
    /// The changes that the accounts have counted themselves; equal to `changes`.
    pub counted: i64,
}

/// The first place where the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A record's content is not what its hash was made over.
    #[error("record {seq} of node {node} was altered: its content does not match its hash")]
    Altered {
        /// The chain.
        node: i64,
        /// The record.
        seq: i64,
    },
    /// A record does not follow the one before it: one was altered, left out or put in.
    #[error(
        "record {seq} of node {node} does not follow record {}: one of them was altered, removed or inserted",
        seq - 1
    )]
    Unchained {
        /// The chain.
        node: i64,
        /// The record.
        seq: i64,
    },
    /// The chain ends elsewhere than it did.
    #[error(
        "the log of node {node} ends at record {found} and should end at record {expected}: its tail was cut or altered"
    )]
    Cut {
        /// The chain.
        node: i64,
        /// The newest record there is.
        found: i64,
        /// The newest record there should be.
        expected: i64,
    },
    /// The data has more or fewer changes than the log.
    #[error("the log records {recorded} changes, the accounts count {counted}")]
    Uncounted {
        /// Records of changes.
        recorded: i64,
        /// What the accounts count.
        counted: i64,
    },
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Unreadable(Error),
}

impl Store {
    /// The records that `filter` chooses, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(&self, filter: Filter) -> Result<Vec<Record>, Error> {
        self.db().read(move |tx| select(tx, &filter)).await
    }

    /// Reads the whole log and proves that it is what was written: every hash, every link, the end of each chain, and
    /// that there are as many records of changes as changes.
    ///
    /// # Errors
    /// The first record that is wrong.
    pub async fn verify_audit(&self) -> Result<Verified, Broken> {
        let result = self.db().read(|tx| Ok(verify(tx))).await;
        result.map_err(Broken::Unreadable)?
    }
}

fn select(tx: &Read<'_>, filter: &Filter) -> Result<Vec<Record>, Error> {
    let by_trace = if filter.trace.is_some() { "trace = $4" } else { "CAST($4 AS TEXT) IS NULL" };
    let sql = format!(
        "SELECT {COLUMNS} FROM audit
         WHERE {by_trace} AND (CAST($1 AS TEXT) IS NULL OR name = $1)
         AND (CAST($2 AS TEXT) IS NULL OR action = $2 OR action LIKE $2 || '.%')
         AND (CAST($3 AS TEXT) IS NULL OR outcome = $3) AND seq > $5
         ORDER BY time DESC, seq DESC LIMIT $6"
    );
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let values = params![
        filter.name.as_deref(),
        filter.action.as_deref(),
        filter.outcome.as_deref(),
        filter.trace.as_deref(),
        filter.after.unwrap_or(0),
        limit
    ];
    let mut records = tx.rows(&sql, values, record)?;
    records.reverse();
    Ok(records)
}

fn verify(tx: &Read<'_>) -> Result<Verified, Broken> {
    let mut verified = Verified { records: 0, changes: 0, counted: 0 };
    let heads = tx
        .rows("SELECT node, seq, hash FROM audit_heads ORDER BY node", &[], |row| {
            Ok((row.int(0)?, row.int(1)?, row.bytes(2)?))
        })
        .map_err(Broken::Unreadable)?;
    for (node, expected, hash) in heads {
        let (found, last) = verify_chain(tx, node, &mut verified)?;
        if found != expected || last != hash {
            return Err(Broken::Cut { node, found, expected });
        }
    }
    let counted = tx.row("SELECT CAST(COALESCE(SUM(changes), 0) AS BIGINT) FROM accounts", &[], |row| row.int(0));
    verified.counted = counted.map_err(Broken::Unreadable)?.unwrap_or(0);
    let all = tx.row("SELECT COUNT(*) FROM audit", &[], |row| row.int(0)).map_err(Broken::Unreadable)?.unwrap_or(0);
    if all != verified.records {
        // Records of a node that has no head: nobody writes such.
        return Err(Broken::Cut { node: -1, found: all, expected: verified.records });
    }
    if verified.counted != verified.changes {
        return Err(Broken::Uncounted { recorded: verified.changes, counted: verified.counted });
    }
    Ok(verified)
}

/// Follows one chain to its end: the number and hash of its last record.
fn verify_chain(tx: &Read<'_>, node: i64, verified: &mut Verified) -> Result<(i64, Vec<u8>), Broken> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE node = $1 AND seq > $2 ORDER BY seq LIMIT $3");
    let (mut seq, mut previous) = (0, vec![0; 32]);
    loop {
        let page = tx.rows(&sql, params![node, seq, PAGE], |row| Ok(record(row))).map_err(Broken::Unreadable)?;
        if page.is_empty() {
            return Ok((seq, previous));
        }
        for record in page {
            // A value of another type than was written does not even read back: that too is an altered record.
            let record = record.map_err(|error| match error {
                Error::Internal(_) => Broken::Altered { node, seq: seq + 1 },
                other => Broken::Unreadable(other),
            })?;
            if record.seq != seq + 1 || record.previous != previous {
                return Err(Broken::Unchained { node, seq: record.seq });
            }
            if record.digest() != record.hash {
                return Err(Broken::Altered { node, seq: record.seq });
            }
            seq = record.seq;
            previous = record.hash;
            verified.records += 1;
            verified.changes += i64::from(record.change.is_some());
        }
    }
}

fn record(row: &Row<'_>) -> Result<Record, Error> {
    Ok(Record {
        node: row.int(0)?,
        seq: row.int(1)?,
        time: row.int(2)?,
        actor: row.optional_int(3)?,
        name: row.text(4)?,
        protocol: row.text(5)?,
        peer: row.text(6)?,
        tls: row.text(7)?,
        trace: row.text(8)?,
        action: row.text(9)?,
        account: row.optional_int(10)?,
        change: row.optional_int(11)?,
        object: row.optional_int(12)?,
        target: row.text(13)?,
        outcome: row.text(14)?,
        detail: row.text(15)?,
        previous: row.bytes(16)?,
        hash: row.bytes(17)?,
    })
}
