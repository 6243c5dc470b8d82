//! Reading the audit log, and proving it.

use super::Record;
use crate::db::{Read, Row, params};
use crate::{Error, Store};

const COLUMNS: &str =
    "chain, seq, node, time, actor, name, protocol, peer, tls, trace, action, account, change, object, target,
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
    #[error("record {seq} of chain {chain} was altered: its content does not match its hash")]
    Altered {
        /// The chain.
        chain: i64,
        /// The record.
        seq: i64,
    },
    /// A record does not follow the one before it: one was altered, left out or put in.
    #[error(
        "record {seq} of chain {chain} does not follow record {}: one of them was altered, removed or inserted",
        seq - 1
    )]
    Unchained {
        /// The chain.
        chain: i64,
        /// The record.
        seq: i64,
    },
    /// The chain ends elsewhere than it did.
    #[error(
        "chain {chain} of the log ends at record {found} and should end at record {expected}: its tail was cut or \
         altered"
    )]
    Cut {
        /// The chain.
        chain: i64,
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

    /// Reads the whole log, as it is when it begins, and proves that it is what was written: every hash, every link,
    /// the end of each chain, and that there are as many records of changes as changes.
    ///
    /// # Errors
    /// The first record that is wrong.
    pub async fn verify_audit(&self) -> Result<Verified, Broken> {
        let Ends { heads, beyond, counted } = self.db().read(ends).await.map_err(Broken::Unreadable)?;
        let mut verified = Verified { records: 0, changes: 0, counted };
        for head in heads {
            self.verify_chain(head, &mut verified).await?;
        }
        if let Some(beyond) = beyond {
            return Err(beyond);
        }
        if verified.counted != verified.changes {
            return Err(Broken::Uncounted { recorded: verified.changes, counted: verified.counted });
        }
        Ok(verified)
    }

    /// Follows one chain to its end, a page at a time: the log may be longer than a transaction should last.
    async fn verify_chain(&self, head: End, verified: &mut Verified) -> Result<(), Broken> {
        let End { chain, seq: expected, hash } = head;
        let sql =
            format!("SELECT {COLUMNS} FROM audit WHERE chain = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4");
        let (mut seq, mut previous) = (0, vec![0; 32]);
        loop {
            let sql = sql.clone();
            let page = self
                .db()
                .look(move |tx| tx.rows(&sql, params![chain, seq, expected, PAGE], |row| Ok(record(row))))
                .await
                .map_err(Broken::Unreadable)?;
            if page.is_empty() {
                break;
            }
            for record in page {
                // A value of another type than was written does not even read back: that too is an altered record.
                let record = record.map_err(|error| match error {
                    Error::Internal(_) => Broken::Altered { chain, seq: seq + 1 },
                    other => Broken::Unreadable(other),
                })?;
                if record.seq != seq + 1 || record.previous != previous {
                    return Err(Broken::Unchained { chain, seq: record.seq });
                }
                if record.digest() != record.hash {
                    return Err(Broken::Altered { chain, seq: record.seq });
                }
                seq = record.seq;
                previous = record.hash;
                verified.records += 1;
                verified.changes += i64::from(record.change.is_some());
            }
        }
        if seq != expected || previous != hash { Err(Broken::Cut { chain, found: seq, expected }) } else { Ok(()) }
    }
}

/// Where a chain says that it ends.
struct End {
    chain: i64,
    seq: i64,
    hash: Vec<u8>,
}

/// The log and the accounts of one moment.
struct Ends {
    heads: Vec<End>,
    /// A record behind the end of its chain, or of a chain that there is not: nobody writes such.
    beyond: Option<Broken>,
    /// How many changes the accounts count.
    counted: i64,
}

fn ends(tx: &Read<'_>) -> Result<Ends, Error> {
    let sql = "SELECT id, seq, hash FROM chains ORDER BY id";
    let end = |row: &Row<'_>| Ok(End { chain: row.int(0)?, seq: row.int(1)?, hash: row.bytes(2)? });
    let heads = tx.rows(sql, &[], end)?;
    let (mut beyond, mut chain) = (None, i64::MIN);
    loop {
        let sql = "SELECT MIN(chain) FROM audit WHERE chain > $1";
        let Some(next) = tx.row(sql, params![chain], |row| row.optional_int(0))?.flatten() else { break };
        chain = next;
        let expected = heads.iter().find(|head| head.chain == chain).map_or(0, |head| head.seq);
        let sql = "SELECT MAX(seq) FROM audit WHERE chain = $1";
        let found = tx.row(sql, params![chain], |row| row.optional_int(0))?.flatten().unwrap_or(0);
        if found > expected {
            beyond.get_or_insert(Broken::Cut { chain, found, expected });
        }
    }
    let sql = "SELECT CAST(COALESCE(SUM(changes), 0) AS BIGINT) FROM accounts";
    let counted = tx.row(sql, &[], |row| row.int(0))?.unwrap_or(0);
    Ok(Ends { heads, beyond, counted })
}

fn select(tx: &Read<'_>, filter: &Filter) -> Result<Vec<Record>, Error> {
    let by_trace = if filter.trace.is_some() { "trace = $4" } else { "CAST($4 AS TEXT) IS NULL" };
    let sql = format!(
        "SELECT {COLUMNS} FROM audit
         WHERE {by_trace} AND (CAST($1 AS TEXT) IS NULL OR name = $1)
         AND (CAST($2 AS TEXT) IS NULL OR action = $2 OR action LIKE $2 || '.%')
         AND (CAST($3 AS TEXT) IS NULL OR outcome = $3)
         ORDER BY time DESC, chain DESC, seq DESC LIMIT $5"
    );
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let values = params![
        filter.name.as_deref(),
        filter.action.as_deref(),
        filter.outcome.as_deref(),
        filter.trace.as_deref(),
        limit
    ];
    let mut records = tx.rows(&sql, values, record)?;
    records.reverse();
    Ok(records)
}

fn record(row: &Row<'_>) -> Result<Record, Error> {
    Ok(Record {
        chain: row.int(0)?,
        seq: row.int(1)?,
        node: row.text(2)?,
        time: row.int(3)?,
        actor: row.optional_int(4)?,
        name: row.text(5)?,
        protocol: row.text(6)?,
        peer: row.text(7)?,
        tls: row.text(8)?,
        trace: row.text(9)?,
        action: row.text(10)?,
        account: row.optional_int(11)?,
        change: row.optional_int(12)?,
        object: row.optional_int(13)?,
        target: row.text(14)?,
        outcome: row.text(15)?,
        detail: row.text(16)?,
        previous: row.bytes(17)?,
        hash: row.bytes(18)?,
    })
}
