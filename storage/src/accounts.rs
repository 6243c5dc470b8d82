//! Accounts.

use crate::blobs::release_all;
use crate::credentials::{Verifier, set_password};
use crate::db::{Deed, Read, Row, SYSTEM, Tx, params};
use crate::files::create_root;
use crate::mail::create_first;
use crate::{Actor, Error, Store, Timestamp};

/// What an account may do beyond its own data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing.
    User,
    /// Administers the server.
    Admin,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Admin => "admin",
        }
    }
}

/// An account.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Account {
    /// Its number, never used twice.
    pub id: i64,
    /// What its owner logs in with.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The most bytes of mail and files; `None` is without limit.
    pub quota: Option<i64>,
    /// The bytes it uses.
    pub used: i64,
    /// Whether it may not log in; mail still arrives.
    pub disabled: bool,
    /// Milliseconds since the Unix epoch.
    pub created: i64,
}

/// What a new account is to be.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The most bytes of mail and files.
    pub quota: Option<i64>,
    /// What its password is checked against.
    pub verifier: Option<Verifier>,
}

pub(crate) const ACCOUNT: &str = "id, name, role, quota, used, disabled, created";

pub(crate) fn account_of(row: &Row<'_>) -> Result<Account, Error> {
    let role = if row.text(2)? == "admin" { Role::Admin } else { Role::User };
    Ok(Account {
        id: row.int(0)?,
        name: row.text(1)?,
        role,
        quota: row.optional_int(3)?,
        used: row.int(4)?,
        disabled: row.bool(5)?,
        created: row.int(6)?,
    })
}

pub(crate) fn account_by_name(tx: &Read<'_>, name: &str) -> Result<Option<Account>, Error> {
    let sql = format!("SELECT {ACCOUNT} FROM accounts WHERE name = $1 AND kind = 'user' AND removed IS NULL");
    tx.row(&sql, params![name], account_of)
}

/// The account of that name, which nobody else changes until the transaction ends.
pub(crate) fn locked(tx: &mut Tx<'_>, name: &str) -> Result<Account, Error> {
    // The system first: nobody else gives accounts, addresses or domains another shape meanwhile.
    tx.lock(SYSTEM)?;
    let account = existing(tx, name)?;
    tx.lock(account.id)?;
    Ok(account)
}

/// Whether an account may grow by `size` bytes, as [`Tx::change`] will decide.
pub(crate) fn has_room(tx: &Read<'_>, account: i64, size: i64) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM accounts WHERE id = $1 AND (quota IS NULL OR quota - used >= $2)";
    Ok(tx.row(sql, params![account, size], |_| Ok(()))?.is_some())
}

pub(crate) fn existing(tx: &Read<'_>, name: &str) -> Result<Account, Error> {
    account_by_name(tx, name)?.ok_or_else(|| Error::invalid(format!("there is no account {name}")))
}

/// Whether `name` may be an account's name: it stands in addresses, paths and URLs.
fn check_name(name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || b"._-".contains(&byte))
        && name.bytes().next().is_some_and(plain)
        && !name.contains("..")
        && !name.ends_with('.');
    if good {
        Ok(())
    } else {
        Err(Error::invalid("a name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit"))
    }
}

/// A domain in the form it is compared in: small letters, and ASCII where it is an international one (RFC 5890
/// §2.3.2.1), since mail may come to either.
pub fn ascii_domain(domain: &str) -> String {
    idna::domain_to_ascii(domain).unwrap_or_else(|_| lower(domain))
}

/// Whether a host or a domain may have that name (RFC 5321 §2.3.5, RFC 1035 §2.3.4): labels of letters, digits and
/// hyphens within.
pub fn is_domain_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A name or address in the form it is compared in.
pub(crate) fn lower(text: &str) -> String {
    text.trim().to_lowercase()
}

impl Store {
    /// Adds an account with its home and its INBOX.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Invalid`] for a name that is not allowed.
    pub async fn add_account(&self, actor: &Actor, new: NewAccount) -> Result<Account, Error> {
        check_name(&new.name)?;
        let actor = actor.clone();
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                let id = tx.returning(
                    // Above all that were ever given: an account of this name that was removed had mailboxes of the
                    // same names (RFC 9051 §2.3.1.1).
                    "INSERT INTO accounts (name, kind, role, quota, created, uidvalidity)
                     VALUES ($1, 'user', $2, $3, $4, (SELECT MAX(uidvalidity) FROM accounts)) RETURNING id",
                    params![&new.name, new.role.as_str(), new.quota, Timestamp::now()],
                    |row| row.int(0),
                )?;
                let id = id.ok_or_else(|| Error::internal("an account's row was not returned"))?;
                let root = create_root(tx, id)?;
                tx.execute("UPDATE accounts SET root = $2 WHERE id = $1", params![id, root])?;
                create_first(tx, id)?;
                if let Some(verifier) = &new.verifier {
                    set_password(tx, id, verifier)?;
                }
                let detail = format!("role={}", new.role.as_str());
                tx.change(
                    &actor,
                    id,
                    0,
                    &Deed { action: "account.add", object: id, target: &new.name, detail: &detail },
                )?;
                existing(tx, &new.name)
            })
            .await
    }

    /// The account of that name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account(&self, name: &str) -> Result<Option<Account>, Error> {
        let name = lower(name);
        self.db().look(move |tx| account_by_name(tx, &name)).await
    }

    /// All accounts by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn accounts(&self) -> Result<Vec<Account>, Error> {
        let sql = format!("SELECT {ACCOUNT} FROM accounts WHERE kind = 'user' AND removed IS NULL ORDER BY name");
        self.db().look(move |tx| tx.rows(&sql, &[], account_of)).await
    }

    /// Whether an account has room for `size` bytes more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn has_room(&self, account: i64, size: u64) -> Result<bool, Error> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.db().look(move |tx| has_room(tx, account, size)).await
    }

    /// Gives an account another password; its web sessions end, its app passwords stay.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such account.
    pub async fn change_password(&self, actor: &Actor, name: &str, verifier: Verifier) -> Result<(), Error> {
        self.change_account(actor, name, "account.passwd", move |tx, account| {
            tx.execute("DELETE FROM web_sessions WHERE account = $1", params![account.id])?;
            set_password(tx, account.id, &verifier)
        })
        .await
    }

    /// Forbids or allows an account to log in; when forbidden its web sessions end.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such account.
    pub async fn disable_account(&self, actor: &Actor, name: &str, disabled: bool) -> Result<(), Error> {
        let action = if disabled { "account.disable" } else { "account.enable" };
        self.change_account(actor, name, action, move |tx, account| {
            tx.execute("DELETE FROM web_sessions WHERE account = $1", params![account.id])?;
            tx.execute("UPDATE accounts SET disabled = $2 WHERE id = $1", params![account.id, disabled]).map(drop)
        })
        .await
    }

    /// Sets the most bytes of mail and files an account may use.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such account.
    pub async fn set_quota(&self, actor: &Actor, name: &str, quota: Option<i64>) -> Result<(), Error> {
        self.change_account(actor, name, "account.quota", move |tx, account| {
            tx.execute("UPDATE accounts SET quota = $2 WHERE id = $1", params![account.id, quota]).map(drop)
        })
        .await
    }

    /// Removes an account with all its mail and files. Its row stays under a name nobody can have, so that the audit
    /// log goes on to mean what it meant.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such account.
    pub async fn remove_account(&self, actor: &Actor, name: &str) -> Result<(), Error> {
        self.change_account(actor, name, "account.remove", |tx, account| {
            let id = account.id;
            release_all(
                tx,
                "SELECT blob, COUNT(*) AS number FROM (
                     SELECT blob FROM nodes WHERE account = $1 AND blob IS NOT NULL
                     UNION ALL SELECT blob FROM messages JOIN mailboxes ON mailboxes.id = mailbox
                     WHERE mailboxes.account = $1
                     UNION ALL SELECT blob FROM expunged WHERE account = $1 AND blob IS NOT NULL) AS held
                 GROUP BY blob",
                id,
            )?;
            for sql in [
                "DELETE FROM messages WHERE mailbox IN (SELECT id FROM mailboxes WHERE account = $1)",
                "DELETE FROM mailboxes WHERE account = $1",
                "DELETE FROM mailbox_names WHERE account = $1",
                "DELETE FROM subscriptions WHERE account = $1",
                "DELETE FROM keywords WHERE account = $1",
                "DELETE FROM expunged WHERE account = $1",
                "DELETE FROM threads WHERE account = $1",
                "DELETE FROM nodes WHERE account = $1",
                "DELETE FROM addresses WHERE account = $1",
                "DELETE FROM credentials WHERE account = $1",
                "DELETE FROM web_sessions WHERE account = $1",
            ] {
                tx.execute(sql, params![id])?;
            }
            tx.execute(
                "UPDATE accounts SET name = name || '#' || id, removed = $2, used = 0, root = NULL WHERE id = $1",
                params![id, Timestamp::now()],
            )
            .map(drop)
        })
        .await
    }

    async fn change_account(
        &self,
        actor: &Actor,
        name: &str,
        action: &'static str,
        mut work: impl FnMut(&mut Tx<'_>, &Account) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let (actor, name) = (actor.clone(), lower(name));
        self.db()
            .write(move |tx| {
                let account = locked(tx, &name)?;
                work(tx, &account)?;
                tx.change(&actor, account.id, 0, &Deed { action, object: account.id, target: &name, detail: "" })
            })
            .await
    }
}
