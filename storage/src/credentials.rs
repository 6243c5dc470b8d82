//! What an account proves itself with.

use crate::accounts::{Account, account_by_name};
use crate::db::params;
use crate::{Error, Store};

/// One credential of an account.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its number.
    pub id: i64,
    /// What kind of proof it takes: `password`.
    pub kind: String,
    /// What a proof is checked against, for a password a PHC string.
    pub verifier: String,
}

impl Store {
    /// The account of that name with its credentials, in one snapshot.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn credentials(&self, name: &str) -> Result<Option<(Account, Vec<Credential>)>, Error> {
        let name = name.trim().to_lowercase();
        self.db()
            .read(move |tx| {
                let Some(account) = account_by_name(tx, &name)? else { return Ok(None) };
                let sql = "SELECT id, kind, verifier FROM credentials WHERE account = $1 ORDER BY id";
                let credentials = tx.rows(sql, params![account.id], |row| {
                    Ok(Credential { id: row.int(0)?, kind: row.text(1)?, verifier: row.text(2)? })
                })?;
                Ok(Some((account, credentials)))
            })
            .await
    }

    /// The generation of an account: raised by every change of it, so that what was learnt of it before is old.
    pub fn generation(&self, account: i64) -> u64 {
        self.caches().generation(account)
    }
}
