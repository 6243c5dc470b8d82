//! Secrets of the store itself: made once, the same on all nodes and after every restart.

use crate::db::params;
use crate::{Error, Store};

impl Store {
    /// The secret of that name, made when it is first asked for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn secret(&self, name: &'static str) -> Result<[u8; 32], Error> {
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(Error::internal)?;
        let known = "SELECT value FROM secrets WHERE name = $1";
        let value = match self.db().read(move |tx| tx.row(known, params![name], |row| row.bytes(0))).await? {
            Some(value) => value,
            None => {
                let make = "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                let made = self.db().write(move |tx| {
                    tx.execute(make, params![name, &fresh[..]])?;
                    // Another node may have been faster.
                    tx.row(known, params![name], |row| row.bytes(0))
                });
                made.await?.unwrap_or_default()
            }
        };
        value.try_into().map_err(|_| Error::internal(format!("the secret {name} of the store is damaged")))
    }
}
