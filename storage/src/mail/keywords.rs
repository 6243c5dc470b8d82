//! Keywords: the flags that users and clients make up (RFC 9051 §2.3.2), a bit for each name in an account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Flags, Mail};
use crate::Error;
use crate::cache::Caches;
use crate::db::{Change, Read, Tx, params};

/// The lowest bit of a keyword; the ones below are the system's flags.
const FIRST: u32 = 5;
/// The highest one: the sign of the column is left alone.
const LAST: u32 = 62;
/// The longest name, in bytes.
const LENGTH: usize = 255;

/// How long it is remembered that an account has no keyword to spare: what was expunged gives its keywords up unheard.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Of how many accounts that is remembered.
const MOST: usize = 10_000;

/// The system's flags by name.
const SYSTEM: [(&str, Flags); 5] = [
    ("\\Seen", Flags::SEEN),
    ("\\Answered", Flags::ANSWERED),
    ("\\Flagged", Flags::FLAGGED),
    ("\\Deleted", Flags::DELETED),
    ("\\Draft", Flags::DRAFT),
];

/// What the keyword bits of an account mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keywords(Vec<(u32, String)>);

impl Keywords {
    pub(super) fn load(tx: &Read<'_>, account: i64) -> Result<Keywords, Error> {
        let sql = "SELECT bit, name FROM keywords WHERE account = $1 ORDER BY bit";
        Ok(Keywords(tx.rows(sql, params![account], |row| Ok((row.int(0)? as u32, row.text(1)?)))?))
    }

    /// The names of all keywords.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, name)| name.as_str())
    }

    /// Whether there can be more of them.
    pub fn has_room(&self) -> bool {
        self.0.len() <= (LAST - FIRST) as usize
    }

    /// The names of the flags that are set, the system's first.
    pub fn of(&self, flags: Flags) -> impl Iterator<Item = &str> {
        let system = SYSTEM.iter().filter(move |(_, flag)| flags.has(*flag)).map(|(name, _)| *name);
        let keywords = self.0.iter().filter(move |(bit, _)| flags.0 >> bit & 1 == 1);
        system.chain(keywords.map(|(_, name)| name.as_str()))
    }

    /// The bits of a name, in any case; none for a keyword that no message has.
    pub fn flag(&self, name: &str) -> Flags {
        let system = SYSTEM.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, flag)| *flag);
        let keyword = || {
            let known = self.0.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
            known.map_or(Flags::default(), |(bit, _)| Flags(1 << bit))
        };
        system.unwrap_or_else(keyword)
    }
}

/// The accounts of which every keyword has a message, so that they are not looked through again and again for one that
/// has none.
#[derive(Default)]
pub(crate) struct FullAccounts(Mutex<HashMap<i64, Instant>>);

impl FullAccounts {
    /// Forgets those whose flags have changed.
    pub(crate) fn note(&self, changes: &[Change]) {
        let flagged = changes.iter().filter(|change| change.action == "mail.flag");
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for change in flagged {
            full.remove(&change.account);
        }
    }

    fn has(&self, account: i64) -> bool {
        let full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        full.get(&account).is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    fn add(&self, account: i64) {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() >= MOST {
            full.clear();
        }
        full.insert(account, Instant::now());
    }
}

/// Gives the keywords of an account their bits, within one transaction.
pub(super) struct Giver {
    account: i64,
    caches: Arc<Caches>,
    /// The bits that messages will have when the transaction ends, which no row shows yet.
    given: u64,
}

impl Giver {
    pub(super) fn new(mail: &Mail) -> Giver {
        Giver { account: mail.account, caches: mail.store.caches().clone(), given: 0 }
    }

    /// The bits of names; a keyword that is new to the account gets one if `make`, and is left out otherwise.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no keyword, or when there are too many.
    pub(super) fn flags(&mut self, tx: &mut Tx<'_>, names: &[String], make: bool) -> Result<Flags, Error> {
        let only_system = names.iter().all(|name| name.starts_with('\\'));
        let mut known = if only_system { Keywords::default() } else { Keywords::load(tx, self.account)? };
        let mut flags = 0;
        for name in names {
            let found = known.flag(name);
            let bits = if found != Flags::default() || !make { found } else { self.add(tx, name, &mut known)? };
            flags |= bits.0;
            self.given |= bits.0;
        }
        Ok(Flags(flags))
    }

    fn add(&self, tx: &mut Tx<'_>, name: &str, known: &mut Keywords) -> Result<Flags, Error> {
        if name.starts_with('\\') || name.is_empty() || name.len() > LENGTH {
            return Err(Error::invalid(format!("{name:?} cannot be a flag")));
        }
        let free = (FIRST..=LAST).find(|bit| known.0.iter().all(|(taken, _)| taken != bit));
        let bit = match free {
            Some(bit) => bit,
            None => self.unused(tx)?.ok_or_else(|| Error::invalid("there are too many different keywords"))?,
        };
        tx.execute(
            "INSERT INTO keywords (account, bit, name) VALUES ($1, $2, $3)
             ON CONFLICT (account, bit) DO UPDATE SET name = excluded.name",
            params![self.account, i64::from(bit), name],
        )?;
        known.0.retain(|(taken, _)| *taken != bit);
        known.0.push((bit, name.to_owned()));
        Ok(Flags(1 << bit))
    }

    /// A keyword's bit that no message of the account has any more.
    fn unused(&self, tx: &Read<'_>) -> Result<Option<u32>, Error> {
        if self.caches.full_accounts().has(self.account) {
            return Ok(None);
        }
        let all = (FIRST..=LAST).fold(0_i64, |all, bit| all | 1 << bit);
        // Most messages have one of a few combinations.
        let sql = "SELECT DISTINCT flags & CAST($2 AS BIGINT) FROM (
                SELECT flags FROM messages JOIN mailboxes ON mailboxes.id = mailbox WHERE mailboxes.account = $1
                UNION ALL SELECT flags FROM expunged WHERE account = $1 AND blob IS NOT NULL) AS held";
        let used =
            tx.rows(sql, params![self.account, all], |row| row.int(0))?.into_iter().fold(0, |used, bits| used | bits);
        if used == all {
            self.caches.full_accounts().add(self.account);
        }
        let used = used as u64 | self.given;
        Ok((FIRST..=LAST).find(|bit| used >> bit & 1 == 0))
    }
}
