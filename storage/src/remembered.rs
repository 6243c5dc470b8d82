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

/// When a sender came to a recipient, from a network, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The first try since it was forgotten.
    pub first: u64,
    /// The latest one.
    pub last: u64,
    /// How many were let through.
    pub passed: u64,
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

    /// Notes that a sender came, as `note` says by the present second and what is known of it; both are given back.
    /// What has not come for `forget` seconds is forgotten, and what was never let through after `window` seconds.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sender_came(
        &self,
        key: [u8; 16],
        forget: u64,
        window: u64,
        note: impl Fn(u64, Option<Seen>) -> Seen + Send + Sync + 'static,
    ) -> Result<(u64, Option<Seen>), Error> {
        let seconds = |row: &Row<'_>, at| Ok::<u64, Error>(row.int(at)?.max(0) as u64);
        self.db()
            .write_grouped(move |tx| {
                let now = (clock(tx)? / 1000) as u64;
                tx.run("DELETE FROM greylist WHERE last < $1", params![now.saturating_sub(forget) as i64])?;
                let begun = now.saturating_sub(window) as i64;
                tx.run("DELETE FROM greylist WHERE taken = 0 AND first < $1", params![begun])?;
                let known =
                    tx.row("SELECT first, last, taken FROM greylist WHERE key = $1", params![&key[..]], |row| {
                        Ok(Seen { first: seconds(row, 0)?, last: seconds(row, 1)?, passed: seconds(row, 2)? })
                    })?;
                let Seen { first, last, passed } = note(now, known);
                tx.run(
                    "INSERT INTO greylist (key, first, last, taken) VALUES ($1, $2, $3, $4) ON CONFLICT (key)
                     DO UPDATE SET first = excluded.first, last = excluded.last, taken = excluded.taken",
                    params![&key[..], first as i64, last as i64, passed as i64],
                )?;
                Ok((now, known))
            })
            .await
    }
}
