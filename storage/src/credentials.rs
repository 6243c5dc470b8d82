//! What an account proves itself with.

use crate::accounts::{ACCOUNT, Account, account_of};
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
            .look(move |tx| {
                let sql = format!(
                    "SELECT {ACCOUNT}, credential, proof, verifier FROM accounts LEFT JOIN (
                         SELECT id AS credential, account, kind AS proof, verifier FROM credentials) AS held
                     ON held.account = accounts.id
                     WHERE name = $1 AND kind = 'user' AND removed IS NULL ORDER BY credential"
                );
                let rows = tx.rows(&sql, params![&name], |row| {
                    let credential = match row.optional_int(7)? {
                        Some(id) => Some(Credential { id, kind: row.text(8)?, verifier: row.text(9)? }),
                        None => None,
                    };
                    Ok((account_of(row)?, credential))
                })?;
                let account = rows.first().map(|(account, _)| account.clone());
                let credentials = rows.into_iter().filter_map(|(_, credential)| credential).collect();
                Ok(account.map(|account| (account, credentials)))
            })
            .await
    }

    /// The generation of an account: raised by every change of it, so that what was learnt of it before is old.
    pub fn generation(&self, account: i64) -> u64 {
        self.caches().generation(account)
    }
}
