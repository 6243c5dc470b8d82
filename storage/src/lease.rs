//! Leases: work that one node at a time does. A lease runs out by the database's clock, so that the nodes' own clocks
//! do not matter; who lost it is turned away by its token, so that two never write at once.

use std::time::Duration;

use crate::db::{Read, Tx, params};
use crate::{Error, Store};

/// A piece of work that is ours until it runs out or is given up.
#[derive(Debug, Clone)]
pub struct Lease {
    name: String,
    holder: String,
    token: i64,
}

impl Store {
    /// Takes the lease of that name for `time`, or makes the one that we hold last so long from now; `None` while
    /// another node holds it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lease(&self, name: &str, time: Duration) -> Result<Option<Lease>, Error> {
        let (name, holder) = (name.to_owned(), self.holder().to_owned());
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        // Nobody else can have a store of one process open: what another one held is left over.
        let alone = !self.db().is_shared();
        self.db()
            .write(move |tx| {
                let now = clock(tx)?;
                let token = tx.returning(
                    "INSERT INTO leases (name, holder, token, expires) VALUES ($1, $2, 1, $3)
                     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires,
                     token = leases.token + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END
                     WHERE leases.holder = excluded.holder OR leases.expires < $4 OR $5 <> 0 RETURNING token",
                    params![&name, &holder, now.saturating_add(time), now, alone],
                    |row| row.int(0),
                )?;
                Ok(token.map(|token| Lease { name: name.clone(), holder: holder.clone(), token }))
            })
            .await
    }

    /// Gives a lease up, so that another node need not wait for its end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), Error> {
        let sql = "UPDATE leases SET expires = 0, holder = '' WHERE name = $1 AND holder = $2 AND token = $3";
        self.db().write(move |tx| tx.execute(sql, params![&lease.name, &lease.holder, lease.token]).map(drop)).await
    }
}

impl Tx<'_> {
    /// Lets this transaction go on only while the lease is ours, and keeps others from taking it until it ends.
    ///
    /// # Errors
    /// [`Error::Busy`] when another node has it.
    pub(crate) fn holds(&mut self, lease: &Lease) -> Result<(), Error> {
        let sql = "UPDATE leases SET token = token WHERE name = $1 AND holder = $2 AND token = $3";
        match self.execute(sql, params![&lease.name, &lease.holder, lease.token])? {
            0 => Err(Error::Busy),
            _ => Ok(()),
        }
    }
}

pub(crate) fn clock(tx: &Read<'_>) -> Result<i64, Error> {
    let now = tx.row(tx.dialect().clock(), &[], |row| row.int(0))?;
    now.ok_or_else(|| Error::internal("the database does not know the time"))
}
