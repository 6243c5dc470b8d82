//! Accounts, their addresses, and the domains whose mail is kept here.

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

/// A name, domain or address in the form it is compared in.
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

    /// Makes `address` an alias of one account or more, in place of what it was.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is not in a local domain, or an account there is not.
    pub async fn set_alias(&self, actor: &Actor, address: &str, names: Vec<String>) -> Result<(), Error> {
        let (actor, address) = (actor.clone(), lower(address));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                let domain = address.rsplit_once('@').map(|(_, domain)| domain).unwrap_or_default();
                if !is_local(tx, domain)? {
                    return Err(Error::invalid(format!("{address} is not in a domain of this server; add it first")));
                }
                tx.execute("DELETE FROM addresses WHERE address = $1", params![&address])?;
                for name in &names {
                    let account = existing(tx, &lower(name))?;
                    let sql = "INSERT INTO addresses (address, account) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                    tx.execute(sql, params![&address, account.id])?;
                }
                tx.change(
                    &actor,
                    SYSTEM,
                    0,
                    &Deed {
                        action: "alias.set",
                        object: 0,
                        target: &address,
                        detail: &format!("to={}", names.join(",")),
                    },
                )
            })
            .await
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    pub async fn remove_alias(&self, actor: &Actor, address: &str) -> Result<(), Error> {
        let (actor, address) = (actor.clone(), lower(address));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                if tx.execute("DELETE FROM addresses WHERE address = $1", params![&address])? == 0 {
                    return Err(Error::invalid(format!("there is no alias {address}")));
                }
                tx.change(&actor, SYSTEM, 0, &Deed { action: "alias.remove", object: 0, target: &address, detail: "" })
            })
            .await
    }

    /// All aliases as pairs of address and account name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn aliases(&self) -> Result<Vec<(String, String)>, Error> {
        let sql = "SELECT address, name FROM addresses JOIN accounts ON accounts.id = account ORDER BY address, name";
        self.db().read(move |tx| tx.rows(sql, &[], |row| Ok((row.text(0)?, row.text(1)?)))).await
    }

    /// Takes on the mail of a domain.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Invalid`] when it is not a domain's name.
    pub async fn add_domain(&self, actor: &Actor, domain: &str) -> Result<(), Error> {
        let (actor, domain) = (actor.clone(), lower(domain));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if domain.len() > 253 || !domain.split('.').all(label) {
            return Err(Error::invalid(format!("{domain:?} is not a domain name")));
        }
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                let sql = "INSERT INTO domains (name, created) VALUES ($1, $2)";
                tx.execute(sql, params![&domain, Timestamp::now()])?;
                tx.change(&actor, SYSTEM, 0, &Deed { action: "domain.add", object: 0, target: &domain, detail: "" })
            })
            .await
    }

    /// Gives a domain up; mail for it is refused from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not a local one.
    pub async fn remove_domain(&self, actor: &Actor, domain: &str) -> Result<(), Error> {
        let (actor, domain) = (actor.clone(), lower(domain));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                if tx.execute("DELETE FROM domains WHERE name = $1", params![&domain])? == 0 {
                    return Err(Error::invalid(format!("{domain} is not a domain of this server")));
                }
                tx.change(&actor, SYSTEM, 0, &Deed { action: "domain.remove", object: 0, target: &domain, detail: "" })
            })
            .await
    }

    /// The local domains by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn domains(&self) -> Result<Vec<String>, Error> {
        self.db().look(|tx| tx.rows("SELECT name FROM domains ORDER BY name", &[], |row| row.text(0))).await
    }

    /// Which accounts `local`@`domain` stands for: `None` when the domain is not local, empty when nobody has it.
    /// A part after `+` is ignored unless the whole address is an alias (RFC 5233); `postmaster` is always somebody
    /// (RFC 5321 §4.5.1).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn resolve(&self, local: &str, domain: &str) -> Result<Option<Vec<i64>>, Error> {
        let (local, domain) = (lower(local), lower(domain));
        self.db().read(move |tx| resolve(tx, &local, &domain)).await
    }
}

fn resolve(tx: &Read<'_>, local: &str, domain: &str) -> Result<Option<Vec<i64>>, Error> {
    if !is_local(tx, domain)? {
        return Ok(None);
    }
    let base = local.split_once('+').map_or(local, |(base, _)| base);
    for part in [local, base] {
        let address = format!("{part}@{domain}");
        let sql = "SELECT account FROM addresses WHERE address = $1 ORDER BY account";
        let accounts = tx.rows(sql, params![&address], |row| row.int(0))?;
        if !accounts.is_empty() {
            return Ok(Some(accounts));
        }
    }
    if let Some(account) = account_by_name(tx, base)? {
        return Ok(Some(vec![account.id]));
    }
    if base == "postmaster" {
        let sql = "SELECT id FROM accounts WHERE role = 'admin' AND removed IS NULL ORDER BY id";
        return tx.rows(sql, &[], |row| row.int(0)).map(Some);
    }
    Ok(Some(Vec::new()))
}

fn is_local(tx: &Read<'_>, domain: &str) -> Result<bool, Error> {
    Ok(tx.row("SELECT 1 FROM domains WHERE name = $1", params![domain], |_| Ok(()))?.is_some())
}
