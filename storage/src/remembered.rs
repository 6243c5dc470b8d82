//! What is remembered of other servers: the TLS policies of their domains, and who came before.

use crate::db::{Row, params};
use crate::lease::clock;
use crate::{Error, Store, Timestamp};

/// A domain's policy of TLS (MTA-STS, RFC 8461) as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPolicy {
    /// As the domain's TXT record said it.
    pub id: String,
    /// The text of the policy.
    pub policy: String,
    /// Until when it holds.
    pub expires: Timestamp,
}

/// When a sender came, of a network, to a recipient.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The first time, in milliseconds since the Unix epoch.
    pub first: i64,
    /// The last time before now; the first one where there was none.
    pub last: i64,
    /// Now.
    pub now: i64,
    /// How often its mail was let through.
    pub taken: i64,
}

impl Store {
    /// What is known of a domain's policy, unless it does not hold any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tls_policy(&self, domain: &str) -> Result<Option<TlsPolicy>, Error> {
        let domain = domain.to_owned();
        let sql = "SELECT id, policy, expires FROM tls_policies WHERE domain = $1 AND expires > $2";
        let policy =
            |row: &Row<'_>| Ok(TlsPolicy { id: row.text(0)?, policy: row.text(1)?, expires: Timestamp(row.int(2)?) });
        self.db().look(move |tx| tx.row(sql, params![&domain, Timestamp::now()], policy)).await
    }

    /// Remembers a domain's policy.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_tls_policy(&self, domain: &str, policy: TlsPolicy) -> Result<(), Error> {
        let domain = domain.to_owned();
        let sql = "INSERT INTO tls_policies (domain, id, policy, expires) VALUES ($1, $2, $3, $4)
             ON CONFLICT (domain) DO UPDATE SET id = excluded.id, policy = excluded.policy,
             expires = excluded.expires";
        let gone = "DELETE FROM tls_policies WHERE expires < $1";
        self.db()
            .write_grouped(move |tx| {
                tx.run(gone, params![Timestamp::now()])?;
                tx.run(sql, params![&domain, &policy.id, &policy.policy, policy.expires])
            })
            .await
    }

    /// Notes that a sender came; when it did before. What was last there before `forget` (milliseconds since the Unix
    /// epoch) is forgotten.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn seen(&self, key: [u8; 16], forget: i64) -> Result<Seen, Error> {
        self.db()
            .write_grouped(move |tx| {
                let now = clock(tx)?;
                tx.run("DELETE FROM greylist WHERE last < $1", params![forget])?;
                let known =
                    tx.row("SELECT first, last, taken FROM greylist WHERE key = $1", params![&key[..]], |row| {
                        Ok(Seen { first: row.int(0)?, last: row.int(1)?, now, taken: row.int(2)? })
                    })?;
                tx.run(
                    "INSERT INTO greylist (key, first, last, taken) VALUES ($1, $2, $2, 0)
                     ON CONFLICT (key) DO UPDATE SET last = excluded.last",
                    params![&key[..], now],
                )?;
                Ok(known.unwrap_or(Seen { first: now, last: now, now, taken: 0 }))
            })
            .await
    }

    /// Notes that mail of a sender was let through.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn let_through(&self, key: [u8; 16]) -> Result<(), Error> {
        let sql = "UPDATE greylist SET taken = taken + 1 WHERE key = $1";
        self.db().write_grouped(move |tx| tx.run(sql, params![&key[..]])).await
    }
}
