//! What an account proves itself with: its password, and app passwords that each open a part of it.

use std::collections::BTreeMap;

use crate::accounts::{ACCOUNT, Account, account_of, locked, lower};
use crate::db::{Deed, Row, Tx, params};
use crate::{Actor, Error, Store, Timestamp};

/// The most app passwords of one account: all are looked at when one logs in.
const APP_PASSWORDS: i64 = 100;
/// The longest label, in bytes.
const LABEL: usize = 64;

/// What a secret is checked against; the secret itself is kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    /// A PHC string for a password, the BLAKE3 hash of an app password.
    pub hash: String,
    /// The keys of SCRAM, written as in RFC 5803: one value, or several separated by spaces; empty for none.
    pub scram: String,
}

/// What kind of secret a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The one its owner chose.
    Password,
    /// One that was made here for a device or a program.
    AppPassword,
}

/// What a credential opens.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Scope {
    /// Where it is taken: of `smtp`, `imap`, `pop3`, `ftp`, `http`; none is everywhere.
    pub protocols: Vec<String>,
    /// Whether it may only read.
    pub read_only: bool,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires: Option<i64>,
}

/// One credential of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its number.
    pub id: i64,
    /// What kind it is.
    pub kind: Kind,
    /// What a proof is checked against.
    pub verifier: Verifier,
    /// What an app password is for, in its owner's words.
    pub label: String,
    /// What it opens.
    pub scope: Scope,
    /// Milliseconds since the Unix epoch.
    pub created: i64,
}

/// What a new app password is to be.
#[derive(Debug, Clone)]
pub struct NewAppPassword {
    /// What it is for, in its owner's words.
    pub label: String,
    /// What it opens.
    pub scope: Scope,
    /// What it is checked against.
    pub verifier: Verifier,
}

impl Store {
    /// The account of that name with its credentials, in one snapshot.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn credentials(&self, name: &str) -> Result<Option<(Account, Vec<Credential>)>, Error> {
        let name = lower(name);
        self.db()
            .look(move |tx| {
                let sql = format!(
                    "SELECT {ACCOUNT}, credential, proof, hash, scram, label, protocols, read_only, expires, made
                     FROM accounts LEFT JOIN (
                         SELECT id AS credential, account, kind AS proof, hash, scram, label, protocols, read_only,
                         expires, created AS made FROM credentials) AS held
                     ON held.account = accounts.id
                     WHERE name = $1 AND kind = 'user' AND removed IS NULL ORDER BY credential"
                );
                let rows = tx.rows(&sql, params![&name], |row| Ok((account_of(row)?, credential_of(row, 7)?)))?;
                let account = rows.first().map(|(account, _)| account.clone());
                let credentials = rows.into_iter().filter_map(|(_, credential)| credential).collect();
                Ok(account.map(|account| (account, credentials)))
            })
            .await
    }

    /// Adds an app password to an account; its number.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such account, when the label cannot be, or when there are too many.
    pub async fn add_app_password(&self, actor: &Actor, name: &str, new: NewAppPassword) -> Result<i64, Error> {
        if new.label.is_empty() || new.label.len() > LABEL || new.label.chars().any(char::is_control) {
            return Err(Error::invalid(format!("a label is 1 to {LABEL} bytes of text")));
        }
        let (actor, name) = (actor.clone(), lower(name));
        self.db()
            .write(move |tx| {
                let account = locked(tx, &name)?;
                let count = "SELECT COUNT(*) FROM credentials WHERE account = $1 AND kind = 'app-password'";
                if tx.row(count, params![account.id], |row| row.int(0))?.unwrap_or(0) >= APP_PASSWORDS {
                    return Err(Error::invalid(format!("{name} has {APP_PASSWORDS} app passwords; remove some")));
                }
                let id = insert(tx, account.id, Kind::AppPassword, &new)?;
                let detail = format!("id={id} label={:?} {}", new.label, new.scope);
                let deed =
                    Deed { action: "account.app-password.add", object: account.id, target: &name, detail: &detail };
                tx.change(&actor, account.id, 0, &deed)?;
                Ok(id)
            })
            .await
    }

    /// Removes an app password.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such account or it has no such app password.
    pub async fn remove_app_password(&self, actor: &Actor, name: &str, id: i64) -> Result<(), Error> {
        let (actor, name) = (actor.clone(), lower(name));
        self.db()
            .write(move |tx| {
                let account = locked(tx, &name)?;
                let sql = "DELETE FROM credentials WHERE id = $1 AND account = $2 AND kind = 'app-password'
                           RETURNING label";
                let label = tx.returning(sql, params![id, account.id], |row| row.text(0))?;
                let label = label.ok_or_else(|| Error::invalid(format!("{name} has no app password {id}")))?;
                let detail = format!("id={id} label={label:?}");
                let action = "account.app-password.remove";
                let deed = Deed { action, object: account.id, target: &name, detail: &detail };
                tx.change(&actor, account.id, 0, &deed)
            })
            .await
    }

    /// Keeps another verifier of the secret that `held` is of, unless that was changed meanwhile; whether it is kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such account.
    pub async fn renew_verifier(
        &self,
        actor: &Actor,
        name: &str,
        held: &Credential,
        verifier: Verifier,
    ) -> Result<bool, Error> {
        let (actor, name, held) = (actor.clone(), lower(name), held.clone());
        self.db()
            .write(move |tx| {
                let account = locked(tx, &name)?;
                let old = &held.verifier;
                let known = tx.execute(
                    "UPDATE credentials SET hash = $3, scram = $4
                     WHERE id = $1 AND account = $2 AND hash = $5 AND scram = $6",
                    params![held.id, account.id, &verifier.hash, &verifier.scram, &old.hash, &old.scram],
                )?;
                if known == 0 {
                    return Ok(false);
                }
                let detail = held.to_string();
                let action = "account.verifier";
                tx.change(&actor, account.id, 0, &Deed { action, object: account.id, target: &name, detail: &detail })?;
                Ok(true)
            })
            .await
    }

    /// At which costs passwords are kept, and how many at each: what their verifiers begin with, up to the salt. A
    /// thousand are looked at, which is enough to tell.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn password_costs(&self) -> Result<Vec<(String, u64)>, Error> {
        let sql = "SELECT hash FROM credentials WHERE kind = 'password' ORDER BY id LIMIT 1000";
        let costs = self.db().look(move |tx| {
            tx.rows(sql, &[], |row| {
                let hash = row.text(0)?;
                Ok(hash.rsplitn(3, '$').last().unwrap_or_default().to_owned())
            })
        });
        let mut counts = BTreeMap::new();
        for cost in costs.await? {
            *counts.entry(cost).or_insert(0) += 1;
        }
        Ok(counts.into_iter().collect())
    }

    /// The generation of an account: raised by every change of it, so that what was learnt of it before is old.
    pub fn generation(&self, account: i64) -> u64 {
        self.caches().generation(account)
    }
}

/// Gives an account another password; what else it has stays.
pub(crate) fn set_password(tx: &mut Tx<'_>, account: i64, verifier: &Verifier) -> Result<(), Error> {
    tx.execute("DELETE FROM credentials WHERE account = $1 AND kind = 'password'", params![account])?;
    let new = NewAppPassword { label: String::new(), scope: Scope::default(), verifier: verifier.clone() };
    insert(tx, account, Kind::Password, &new).map(drop)
}

fn insert(tx: &mut Tx<'_>, account: i64, kind: Kind, new: &NewAppPassword) -> Result<i64, Error> {
    let (scope, verifier) = (&new.scope, &new.verifier);
    let protocols = scope.protocols.join(",");
    let id = tx.returning(
        "INSERT INTO credentials (account, kind, hash, scram, label, protocols, read_only, expires, created)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
        params![
            account,
            kind.as_str(),
            &verifier.hash,
            &verifier.scram,
            &new.label,
            &protocols,
            scope.read_only,
            scope.expires,
            Timestamp::now()
        ],
        |row| row.int(0),
    )?;
    id.ok_or_else(|| Error::internal("a credential's row was not returned"))
}

/// The credential whose columns begin at `at`; `None` where the account has none.
fn credential_of(row: &Row<'_>, at: usize) -> Result<Option<Credential>, Error> {
    let Some(id) = row.optional_int(at)? else { return Ok(None) };
    let kind = if row.text(at + 1)? == Kind::Password.as_str() { Kind::Password } else { Kind::AppPassword };
    let verifier = Verifier { hash: row.text(at + 2)?, scram: row.text(at + 3)? };
    let protocols = row.text(at + 5)?;
    let protocols = protocols.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let scope = Scope { protocols, read_only: row.bool(at + 6)?, expires: row.optional_int(at + 7)? };
    Ok(Some(Credential { id, kind, verifier, label: row.text(at + 4)?, scope, created: row.int(at + 8)? }))
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Password => "password",
            Kind::AppPassword => "app-password",
        }
    }
}

/// The credential's name in the audit log.
impl std::fmt::Display for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Password => formatter.write_str("password"),
            Kind::AppPassword => write!(formatter, "app-password {} {:?}", self.id, self.label),
        }
    }
}

/// As the audit log tells it.
impl std::fmt::Display for Scope {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocols = if self.protocols.is_empty() { "all".to_owned() } else { self.protocols.join(",") };
        write!(formatter, "protocols={protocols} read_only={}", self.read_only)?;
        self.expires.map_or(Ok(()), |expires| write!(formatter, " expires={expires}"))
    }
}
