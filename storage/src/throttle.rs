//! The ledger of failed log-ins, in the store so that every node sees it. What follows from it is up to `auth`.

use std::time::Duration;

use crate::audit::Entry;
use crate::db::{Read, params};
use crate::{Actor, Error, Store, Timestamp};

/// What the ledger says of one key: an account, a network, or an account seen from a network.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Failures since the last success, or since they were forgotten.
    pub failures: i64,
    /// The newest failure.
    pub last: Timestamp,
    /// The newest success; the epoch for none.
    pub good: Timestamp,
}

/// What follows from the ledger, as `auth` has it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// How long a log-in must wait, by the standings of its keys in order; `None` when it may be judged now.
    pub wait: fn(&[Standing], Timestamp) -> Option<Duration>,
    /// After this many seconds without a failure the count begins anew.
    pub forget: i64,
}

/// How a log-in ended.
#[derive(Debug, Clone)]
pub struct Login {
    /// Who logged in, or a stranger.
    pub actor: Actor,
    /// The name it was tried with, for the audit log.
    pub name: String,
    /// Whether it may come in.
    pub good: bool,
    /// More about it, for the audit log.
    pub detail: String,
    /// What failures count under; a success forgets those under the first.
    pub keys: Vec<String>,
}

impl Store {
    /// The standing of each key, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn standings(&self, keys: Vec<String>) -> Result<Vec<Standing>, Error> {
        let sql = "SELECT failures, last, good FROM throttle WHERE key = $1";
        self.db().read(move |tx| standings(tx, sql, &keys)).await
    }

    /// Records a log-in in the audit log and in the ledger, in one transaction. A failure counts under each of its
    /// keys, a success forgets what counted under the first; the others stay, or an attacker with one account of his
    /// own could clear his network's count again and again.
    ///
    /// The ledger is asked again here, where no other log-in counts at the same time: of many that were let try at
    /// once, only those are judged that could have been tried one after the other. What was held back instead is not
    /// recorded and counts nothing; the standings that hold it back are returned, none for a log-in that was recorded.
    ///
    /// # Errors
    /// When the store fails; then the log-in must not succeed either.
    pub async fn record_login(&self, login: Login, rule: Rule) -> Result<Option<Vec<Standing>>, Error> {
        self.db()
            .write(move |tx| {
                let now = Timestamp::now();
                let held = standings(tx, tx.dialect().lock_standing(), &login.keys)?;
                if (rule.wait)(&held, now).is_some() {
                    return Ok(Some(held));
                }
                if login.good {
                    tx.execute(
                        "INSERT INTO throttle (key, failures, last, good) VALUES ($1, 0, 0, $2)
                         ON CONFLICT (key) DO UPDATE SET failures = 0, good = excluded.good",
                        params![login.keys.first(), now],
                    )?;
                } else {
                    for key in &login.keys {
                        tx.execute(
                            "INSERT INTO throttle (key, failures, last, good) VALUES ($1, 1, $2, 0)
                             ON CONFLICT (key) DO UPDATE SET last = excluded.last, failures =
                             CASE WHEN throttle.last < $3 THEN 1 ELSE throttle.failures + 1 END",
                            params![key, now, Timestamp(now.0 - rule.forget * 1000)],
                        )?;
                    }
                }
                let (action, outcome) = ("auth.login", if login.good { "done" } else { "failed" });
                let Login { actor, name, detail, .. } = &login;
                tx.record(&Entry { actor, action, change: None, target: name, outcome, detail })?;
                Ok(None)
            })
            .await
    }
}

fn standings(tx: &Read<'_>, sql: &str, keys: &[String]) -> Result<Vec<Standing>, Error> {
    let standing = |key: &String| {
        let found = tx.row(sql, params![key], |row| {
            let (last, good) = (Timestamp(row.int(1)?), Timestamp(row.int(2)?));
            Ok(Standing { failures: row.int(0)?, last, good })
        })?;
        Ok(found.unwrap_or_default())
    };
    keys.iter().map(standing).collect()
}
