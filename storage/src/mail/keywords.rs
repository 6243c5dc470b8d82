//! Keywords: the flags that users and clients make up (RFC 9051 §2.3.2), a bit for each name in an account.

use crate::Error;
use crate::db::{Read, Tx, params};

use super::Flags;

/// The lowest bit of a keyword; the ones below are the system's flags.
const FIRST: u32 = 5;
/// The highest one: the sign of the column is left alone.
const LAST: u32 = 62;
/// The longest name, in bytes.
const LENGTH: usize = 255;

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

/// The bits of names; a keyword that is new to the account gets one if `make`, and is left out otherwise.
///
/// # Errors
/// [`Error::Invalid`] for what is no keyword, or when there are too many.
pub(super) fn flags(tx: &mut Tx<'_>, account: i64, names: &[String], make: bool) -> Result<Flags, Error> {
    let only_system = names.iter().all(|name| name.starts_with('\\'));
    let mut known = if only_system { Keywords::default() } else { Keywords::load(tx, account)? };
    let mut flags = 0;
    for name in names {
        let found = known.flag(name);
        let bits = if found != Flags::default() || !make { found } else { add(tx, account, name, &mut known)? };
        flags |= bits.0;
    }
    Ok(Flags(flags))
}

fn add(tx: &mut Tx<'_>, account: i64, name: &str, known: &mut Keywords) -> Result<Flags, Error> {
    if name.starts_with('\\') || name.is_empty() || name.len() > LENGTH {
        return Err(Error::invalid(format!("{name:?} cannot be a flag")));
    }
    let free = (FIRST..=LAST).find(|bit| known.0.iter().all(|(taken, _)| taken != bit));
    let bit = match free {
        Some(bit) => bit,
        None => unused(tx, account)?.ok_or_else(|| Error::invalid("there are too many different keywords"))?,
    };
    tx.execute(
        "INSERT INTO keywords (account, bit, name) VALUES ($1, $2, $3)
         ON CONFLICT (account, bit) DO UPDATE SET name = excluded.name",
        params![account, i64::from(bit), name],
    )?;
    known.0.retain(|(taken, _)| *taken != bit);
    known.0.push((bit, name.to_owned()));
    Ok(Flags(1 << bit))
}

/// A keyword's bit that no message of the account has any more.
fn unused(tx: &Read<'_>, account: i64) -> Result<Option<u32>, Error> {
    for bit in FIRST..=LAST {
        let sql = "SELECT 1 FROM (
                SELECT flags FROM messages JOIN mailboxes ON mailboxes.id = mailbox WHERE mailboxes.account = $1
                UNION ALL SELECT flags FROM expunged WHERE account = $1 AND blob IS NOT NULL) AS held
            WHERE flags & $2 <> 0 LIMIT 1";
        if tx.row(sql, params![account, 1_i64 << bit], |_| Ok(()))?.is_none() {
            return Ok(Some(bit));
        }
    }
    Ok(None)
}
