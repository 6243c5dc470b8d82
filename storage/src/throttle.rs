//! The ledger of failed log-ins, in the store so that every node sees it. What follows from it is up to `auth`.

use crate::audit::Entry;
use crate::db::params;
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

impl Store {
    /// The standing of each key, in order.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn standings(&self, keys: Vec<String>) -> Result<Vec<Standing>, Error> {
        self.db()
            .read(move |tx| {
                let sql = "SELECT failures, last, good FROM throttle WHERE key = $1";
                let standing = |key: &String| {
                    let found = tx.row(sql, params![key], |row| {
                        let (last, good) = (Timestamp(row.int(1)?), Timestamp(row.int(2)?));
                        Ok(Standing { failures: row.int(0)?, last, good })
                    })?;
                    Ok(found.unwrap_or_default())
                };
                keys.iter().map(standing).collect()
            })
            .await
    }

    /// Records a log-in in the audit log and in the ledger, in one transaction. A success forgets the failures under
    /// `keys`; a failure counts under each of them, beginning anew when the last one is older than `forget` seconds.
    ///
    /// # Errors
    /// When the store fails; then the log-in must not succeed either.
    pub async fn record_login(
        &self,
        actor: &Actor,
        name: &str,
        outcome: &'static str,
        detail: &str,
        keys: Vec<String>,
        forget: i64,
    ) -> Result<(), Error> {
        let (actor, name, detail) = (actor.clone(), name.to_owned(), detail.to_owned());
        self.db()
            .write(move |tx| {
                let now = Timestamp::now();
                for key in &keys {
                    if outcome == "done" {
                        tx.execute(
                            "INSERT INTO throttle (key, failures, last, good) VALUES ($1, 0, 0, $2)
                             ON CONFLICT (key) DO UPDATE SET failures = 0, good = excluded.good",
                            params![key, now],
                        )?;
                    } else {
                        tx.execute(
                            "INSERT INTO throttle (key, failures, last, good) VALUES ($1, 1, $2, 0)
                             ON CONFLICT (key) DO UPDATE SET last = excluded.last, failures =
                             CASE WHEN throttle.last < $3 THEN 1 ELSE throttle.failures + 1 END",
                            params![key, now, Timestamp(now.0 - forget * 1000)],
                        )?;
                    }
                }
                let action = "auth.login";
                tx.record(&Entry { actor: &actor, action, change: None, target: &name, outcome, detail: &detail })
            })
            .await
    }
}
