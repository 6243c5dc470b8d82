//! Domains whose mail is kept here, and addresses that stand for others.

use std::collections::BTreeSet;

use crate::accounts::{account_by_name, ascii_domain, existing, is_domain_name, lower};
use crate::db::{Deed, Read, SYSTEM, params};
use crate::dkim::{self, NewDkimKey};
use crate::{Actor, Error, Store, Timestamp};

/// How many aliases in a row lead from an address to what it stands for.
const DEPTH: usize = 8;
/// For how many an address may stand.
const MOST: usize = 1000;

/// What an address of a local domain stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Accounts.
    pub accounts: BTreeSet<i64>,
    /// Addresses of other servers.
    pub onward: BTreeSet<String>,
}

impl Resolved {
    /// Whether nobody has the address.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.onward.is_empty()
    }
}

impl Store {
    /// Makes `address` an alias of accounts and of addresses, in place of what it was. `@domain` stands for every
    /// address there that nobody has.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an address that is not in a local domain, or an account there is not.
    pub async fn set_alias(&self, actor: &Actor, address: &str, targets: Vec<String>) -> Result<(), Error> {
        let (actor, address) = (actor.clone(), known_as(address));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                let domain = address.rsplit_once('@').map(|(_, domain)| domain).unwrap_or_default();
                if !is_local(tx, domain)? {
                    return Err(Error::invalid(format!("{address} is not in a domain of this server; add it first")));
                }
                if targets.len() > MOST {
                    return Err(Error::invalid(format!("an address stands for {MOST} others at most")));
                }
                tx.execute("DELETE FROM addresses WHERE address = $1", params![&address])?;
                for target in &targets {
                    let (account, onward) = match target.rsplit_once('@') {
                        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => (SYSTEM, target.as_str()),
                        Some(_) => return Err(Error::invalid(format!("{target} is not an address"))),
                        None => (existing(tx, &lower(target))?.id, ""),
                    };
                    let sql =
                        "INSERT INTO addresses (address, account, onward) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
                    tx.execute(sql, params![&address, account, onward])?;
                }
                let detail = format!("to={}", targets.join(","));
                tx.change(
                    &actor,
                    SYSTEM,
                    0,
                    &Deed { action: "alias.set", object: 0, target: &address, detail: &detail },
                )
            })
            .await
    }

    /// Removes an alias.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    pub async fn remove_alias(&self, actor: &Actor, address: &str) -> Result<(), Error> {
        let (actor, address) = (actor.clone(), known_as(address));
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

    /// All aliases as pairs of an address and an account's name or another address.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn aliases(&self) -> Result<Vec<(String, String)>, Error> {
        let sql = "SELECT address, CASE WHEN onward = '' THEN name ELSE onward END
             FROM addresses JOIN accounts ON accounts.id = account ORDER BY 1, 2";
        self.db().read(move |tx| tx.rows(sql, &[], |row| Ok((row.text(0)?, row.text(1)?)))).await
    }

    /// Takes on the mail of a domain, which is signed with these keys.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Invalid`] when it is not a domain's name.
    pub async fn add_domain(&self, actor: &Actor, domain: &str, keys: Vec<NewDkimKey>) -> Result<(), Error> {
        let (actor, domain) = (actor.clone(), ascii_domain(domain));
        if !is_domain_name(&domain) {
            return Err(Error::invalid(format!("{domain:?} is not a domain name")));
        }
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                let sql = "INSERT INTO domains (name, created) VALUES ($1, $2)";
                tx.execute(sql, params![&domain, Timestamp::now()])?;
                keys.iter().try_for_each(|key| dkim::insert(tx, &domain, key, dkim::State::Active))?;
                tx.change(&actor, SYSTEM, 0, &Deed { action: "domain.add", object: 0, target: &domain, detail: "" })
            })
            .await
    }

    /// Gives a domain up; mail for it is refused from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not a local one.
    pub async fn remove_domain(&self, actor: &Actor, domain: &str) -> Result<(), Error> {
        let (actor, domain) = (actor.clone(), ascii_domain(domain));
        self.db()
            .write(move |tx| {
                tx.lock(SYSTEM)?;
                if tx.execute("DELETE FROM domains WHERE name = $1", params![&domain])? == 0 {
                    return Err(Error::invalid(format!("{domain} is not a domain of this server")));
                }
                tx.run("DELETE FROM dkim_keys WHERE domain = $1", params![&domain])?;
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

    /// What `local`@`domain` stands for: `None` when the domain is not local, empty when nobody has it. A part after
    /// `+` is ignored unless the whole address is an alias (RFC 5233); an alias that leads to itself stands there for
    /// the account of that name; `postmaster` is always somebody (RFC 5321 §4.5.1).
    ///
    /// # Errors
    /// When the store fails; [`Error::Invalid`] when it stands for too many.
    pub async fn resolve(&self, local: &str, domain: &str) -> Result<Option<Resolved>, Error> {
        let (local, domain) = (lower(local), ascii_domain(domain));
        self.db()
            .read(move |tx| {
                let too_many =
                    || Error::invalid(format!("the aliases of {local}@{domain} lead too far, or to too many"));
                if !is_local(tx, &domain)? {
                    return Ok(None);
                }
                let mut found = Resolved::default();
                // Addresses, each with those that have led to it.
                let mut open = vec![((local.clone(), domain.clone()), Vec::new())];
                for _ in 0..DEPTH {
                    for (address, mut path) in std::mem::take(&mut open) {
                        let (led_here, mut next) = (path.contains(&address), Vec::new());
                        stands_for(tx, &address, led_here, &mut found, &mut next)?;
                        path.push(address);
                        open.extend(next.into_iter().map(|address| (address, path.clone())));
                        if found.accounts.len() + found.onward.len() + open.len() > MOST {
                            return Err(too_many());
                        }
                    }
                    if open.is_empty() {
                        return Ok(Some(found));
                    }
                }
                Err(too_many())
            })
            .await
    }
}

/// Adds what one address stands for, and to `open` the local addresses among it. One that has led to itself stands for
/// its account alone.
fn stands_for(
    tx: &Read<'_>,
    (local, domain): &(String, String),
    led_here: bool,
    found: &mut Resolved,
    open: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    let base = local.split_once('+').map_or(local.as_str(), |(base, _)| base);
    if !led_here
        && (alias(tx, &format!("{local}@{domain}"), found, open)?
            || (base != local && alias(tx, &format!("{base}@{domain}"), found, open)?))
    {
        return Ok(());
    }
    if let Some(account) = account_by_name(tx, base)? {
        found.accounts.insert(account.id);
    } else if base == "postmaster" {
        let sql = "SELECT id FROM accounts WHERE role = 'admin' AND removed IS NULL";
        found.accounts.extend(tx.rows(sql, &[], |row| row.int(0))?);
    } else if !led_here {
        alias(tx, &format!("@{domain}"), found, open)?;
    }
    Ok(())
}

/// Adds what an alias stands for; whether there is one of that name.
fn alias(tx: &Read<'_>, address: &str, found: &mut Resolved, open: &mut Vec<(String, String)>) -> Result<bool, Error> {
    let sql = "SELECT account, onward FROM addresses WHERE address = $1";
    let targets = tx.rows(sql, params![address], |row| Ok((row.int(0)?, row.text(1)?)))?;
    for (account, onward) in &targets {
        match onward.rsplit_once('@') {
            None => drop(found.accounts.insert(*account)),
            Some((local, domain)) if is_local(tx, &ascii_domain(domain))? => {
                open.push((lower(local), ascii_domain(domain)));
            }
            Some(_) => drop(found.onward.insert(onward.clone())),
        }
    }
    Ok(!targets.is_empty())
}

/// An address in the form it is compared in.
fn known_as(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", lower(local), ascii_domain(domain)),
        None => lower(address),
    }
}

fn is_local(tx: &Read<'_>, domain: &str) -> Result<bool, Error> {
    Ok(tx.row("SELECT 1 FROM domains WHERE name = $1", params![domain], |_| Ok(()))?.is_some())
}
