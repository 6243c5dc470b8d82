//! The keys that mail of our domains is signed with (RFC 6376). A new one is shown in DNS before it is used, and an old
//! one as long as mail that it signed is on its way.

use serde::Serialize;

use crate::accounts::ascii_domain;
use crate::db::{Deed, Read, Row, SYSTEM, Tx, params};
use crate::{Actor, Error, Store, Timestamp};

/// What a key is for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its record is to be put into DNS; nothing is signed with it yet.
    Next,
    /// Mail is signed with it.
    Active,
    /// Mail is not signed with it any more; its record stays until what it signed has arrived.
    Retired,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Next => "next",
            State::Active => "active",
            State::Retired => "retired",
        }
    }
}

/// A key on its way into the store.
#[derive(Clone)]
pub struct NewDkimKey {
    /// Where in DNS its record is, before `._domainkey`.
    pub selector: String,
    /// `rsa` or `ed25519`, as in the record.
    pub algorithm: &'static str,
    /// PKCS #8.
    pub secret: Vec<u8>,
    /// The text of its record.
    pub public: String,
}

/// A key.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct DkimKey {
    /// Whose mail it signs.
    pub domain: String,
    /// Where in DNS its record is, before `._domainkey`.
    pub selector: String,
    /// `rsa` or `ed25519`, as in the record.
    pub algorithm: String,
    /// PKCS #8.
    #[serde(skip)]
    pub secret: Vec<u8>,
    /// The text of its record.
    pub public: String,
    /// What it is for now.
    pub state: State,
    /// Since when, in milliseconds since the Unix epoch.
    pub changed: i64,
}

impl Store {
    /// The keys of a domain, those in use first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dkim_keys(&self, domain: &str) -> Result<Vec<DkimKey>, Error> {
        let domain = ascii_domain(domain);
        self.db().look(move |tx| keys(tx, &domain)).await
    }

    /// Adds keys that wait for their records to be in DNS.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the domain is not a local one or has others that wait; [`Error::Exists`].
    pub async fn add_dkim_keys(&self, actor: &Actor, domain: &str, new: Vec<NewDkimKey>) -> Result<(), Error> {
        let (actor, domain) = (actor.clone(), ascii_domain(domain));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                let known = keys(tx, &domain)?;
                if known.iter().any(|key| key.state == State::Next) {
                    return Err(Error::invalid(format!(
                        "{domain} has keys that wait already; publish their records and use them first"
                    )));
                }
                // Without any, these are used at once: mail is not worse for a signature that nobody can check yet.
                let state = if known.is_empty() { State::Active } else { State::Next };
                new.iter().try_for_each(|key| insert(tx, &domain, key, state))?;
                let selectors: Vec<&str> = new.iter().map(|key| key.selector.as_str()).collect();
                let (target, detail) = (domain.as_str(), format!("selectors={}", selectors.join(",")));
                tx.change(&actor, SYSTEM, 0, &Deed { action: "domain.keys", object: 0, target, detail: &detail })
            })
            .await
    }

    /// Signs with the keys that wait, and no more with those that were used; false when none wait.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn use_next_dkim_keys(&self, actor: &Actor, domain: &str) -> Result<bool, Error> {
        let (actor, domain) = (actor.clone(), ascii_domain(domain));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                if !keys(tx, &domain)?.iter().any(|key| key.state == State::Next) {
                    return Ok(false);
                }
                for (from, to) in [(State::Active, State::Retired), (State::Next, State::Active)] {
                    let sql = "UPDATE dkim_keys SET state = $3, changed = $4 WHERE domain = $1 AND state = $2";
                    tx.run(sql, params![&domain, from.as_str(), to.as_str(), Timestamp::now()])?;
                }
                let target = domain.as_str();
                tx.change(&actor, SYSTEM, 0, &Deed { action: "domain.keys", object: 0, target, detail: "used=next" })?;
                Ok(true)
            })
            .await
    }

    /// Forgets a domain's keys that were retired before `before`; how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_dkim_keys(&self, actor: &Actor, domain: &str, before: Timestamp) -> Result<usize, Error> {
        let (actor, domain) = (actor.clone(), ascii_domain(domain));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                let sql = "DELETE FROM dkim_keys WHERE domain = $1 AND state = 'retired' AND changed < $2";
                let gone = tx.execute(sql, params![&domain, before])?;
                if gone > 0 {
                    let (target, detail) = (domain.as_str(), format!("forgotten={gone}"));
                    tx.change(&actor, SYSTEM, 0, &Deed { action: "domain.keys", object: 0, target, detail: &detail })?;
                }
                Ok(gone)
            })
            .await
    }
}

pub(crate) fn insert(tx: &mut Tx<'_>, domain: &str, key: &NewDkimKey, state: State) -> Result<(), Error> {
    tx.run(
        "INSERT INTO dkim_keys (domain, selector, algorithm, secret, public, state, changed)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![domain, &key.selector, key.algorithm, &key.secret[..], &key.public, state.as_str(), Timestamp::now()],
    )
}

fn keys(tx: &Read<'_>, domain: &str) -> Result<Vec<DkimKey>, Error> {
    let sql = "SELECT domain, selector, algorithm, secret, public, state, changed FROM dkim_keys WHERE domain = $1
         ORDER BY CASE state WHEN 'active' THEN 0 WHEN 'next' THEN 1 ELSE 2 END, changed, selector";
    let key = |row: &Row<'_>| {
        Ok(DkimKey {
            domain: row.text(0)?,
            selector: row.text(1)?,
            algorithm: row.text(2)?,
            secret: row.bytes(3)?,
            public: row.text(4)?,
            state: match row.text(5)?.as_str() {
                "next" => State::Next,
                "active" => State::Active,
                _ => State::Retired,
            },
            changed: row.int(6)?,
        })
    };
    tx.rows(sql, params![domain], key)
}
