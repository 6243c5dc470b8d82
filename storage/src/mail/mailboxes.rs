//! Mailboxes: their names, their special uses and what is counted of them.

use super::messages::Away;
use super::view::Flags;
use super::{Mail, copy};
use crate::db::{Deed, Read, Row, Tx, params};
use crate::{Actor, Error, Timestamp};

/// The longest name, in bytes.
const LENGTH: usize = 500;
/// The most mailboxes an account may have.
const MOST: i64 = 10_000;

/// What a new account has: names with their special uses (RFC 6154 §2).
const FIRST: [(&str, Option<&str>); 6] = [
    ("INBOX", None),
    ("Archive", Some("\\Archive")),
    ("Drafts", Some("\\Drafts")),
    ("Junk", Some("\\Junk")),
    ("Sent", Some("\\Sent")),
    ("Trash", Some("\\Trash")),
];

/// What is counted of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Changes when UIDs begin anew (RFC 9051 §2.3.1.1).
    pub uidvalidity: u32,
    /// No smaller than the UID of the next message.
    pub uidnext: u32,
    /// The newest mod-sequence (RFC 7162).
    pub modseq: u64,
    /// Messages.
    pub messages: u32,
    /// Those without `\Seen`.
    pub unseen: u32,
    /// Those with `\Deleted`.
    pub deleted: u32,
    /// The bytes of all.
    pub bytes: u64,
    /// The bytes of those with `\Deleted`.
    pub deleted_bytes: u64,
}

/// A mailbox as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxInfo {
    /// Its number, never used twice.
    pub id: i64,
    /// Its name, the levels separated by `/`.
    pub name: String,
    /// Its special use with the backslash (RFC 6154).
    pub special: Option<String>,
    /// What is counted of it.
    pub counts: Counts,
}

const COLUMNS: &str =
    "id, name, special, uidvalidity, uidnext, highestmodseq, messages, unseen, deleted, bytes, deleted_bytes";

fn info(row: &Row<'_>) -> Result<MailboxInfo, Error> {
    let counts = Counts {
        uidvalidity: row.int(3)? as u32,
        uidnext: row.int(4)? as u32,
        modseq: row.int(5)? as u64,
        messages: row.int(6)? as u32,
        unseen: row.int(7)? as u32,
        deleted: row.int(8)? as u32,
        bytes: row.int(9)? as u64,
        deleted_bytes: row.int(10)? as u64,
    };
    Ok(MailboxInfo { id: row.int(0)?, name: row.text(1)?, special: row.optional_text(2)?, counts })
}

impl Mail {
    /// All mailboxes in the order of their names.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn mailboxes(&self) -> Result<Vec<MailboxInfo>, Error> {
        let account = self.account;
        let sql = format!("SELECT {COLUMNS} FROM mailboxes WHERE account = $1 ORDER BY name");
        self.store.db().look(move |tx| tx.rows(&sql, params![account], info)).await
    }

    /// The mailbox of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn mailbox(&self, name: &str) -> Result<MailboxInfo, Error> {
        let (account, name) = (self.account, name.to_owned());
        let sql = format!("SELECT {COLUMNS} FROM mailboxes WHERE account = $1 AND name = $2");
        self.store.db().look(move |tx| tx.row(&sql, params![account, &name], info)).await?.ok_or(Error::NotFound)
    }

    /// How many messages of a mailbox no session was told of (RFC 3501 §2.3.2).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recent(&self, mailbox: i64) -> Result<u32, Error> {
        // What a session of this process has just been told of is not in the rows yet.
        let told = i64::from(self.store.caches().lives().recent(mailbox));
        let sql = "SELECT COUNT(*) FROM messages JOIN mailboxes ON mailboxes.id = mailbox
             WHERE mailbox = $1 AND uid >= recent AND uid >= $2";
        let count = self.store.db().look(move |tx| tx.row(sql, params![mailbox, told], |row| row.int(0))).await?;
        Ok(count.unwrap_or(0) as u32)
    }

    /// The names that are subscribed to, in their order; there need not be mailboxes of these names.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscriptions(&self) -> Result<Vec<String>, Error> {
        let account = self.account;
        let sql = "SELECT name FROM subscriptions WHERE account = $1 ORDER BY name";
        self.store.db().look(move |tx| tx.rows(sql, params![account], |row| row.text(0))).await
    }

    /// Makes a mailbox, perhaps with a special use.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Invalid`] for a name or a special use that cannot be.
    pub async fn create(&self, name: &str, special: Option<String>) -> Result<MailboxInfo, Error> {
        check_name(name)?;
        let (account, actor, wanted) = (self.account, self.actor.clone(), name.to_owned());
        self.change("mailbox.create", name, move |tx| {
            make(tx, &actor, account, &wanted, special.as_deref())?;
            find(tx, account, &wanted)
        })
        .await
    }

    /// Deletes a mailbox with its messages, which can be restored for a while like others that were expunged.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for INBOX.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        if name == "INBOX" {
            return Err(Error::invalid("INBOX cannot be deleted"));
        }
        let (account, actor, target) = (self.account, self.actor.clone(), name.to_owned());
        self.change("mailbox.delete", name, move |tx| {
            let MailboxInfo { id, counts, .. } = find(tx, account, &target)?;
            let away = Away { mailbox: id, account, modseq: counts.modseq as i64 + 1, name: Some(&target) };
            away.take(tx, (0, i64::MAX), Flags::default())?;
            tx.execute("DELETE FROM mailboxes WHERE id = $1", params![id])?;
            give_up(tx, account, &target, counts.uidvalidity)?;
            let detail = format!("messages={} size={}", counts.messages, counts.bytes);
            tx.change(&actor, account, -(counts.bytes as i64), &deed("mailbox.delete", id, &target, &detail))
        })
        .await
    }

    /// Gives a mailbox another name, and those below it with it. INBOX stays, and its messages go into a new mailbox of
    /// the other name (RFC 9051 §6.3.6).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] when one of the new names is taken; [`Error::Invalid`].
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        check_name(to)?;
        if to.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(Error::invalid("a mailbox cannot be renamed into itself"));
        }
        if from == "INBOX" {
            return self.empty_inbox(to).await;
        }
        let (account, actor, from, to) = (self.account, self.actor.clone(), from.to_owned(), to.to_owned());
        let target = from.clone();
        self.change("mailbox.rename", &target, move |tx| {
            let family = family(tx, account, &from)?;
            if family.is_empty() {
                return Err(Error::NotFound);
            }
            for (id, name, uidvalidity) in &family {
                let new = format!("{to}{}", &name[from.len()..]);
                check_name(&new)?;
                if exists(tx, account, &new)? {
                    return Err(Error::Exists);
                }
                // The name may have had a mailbox before: what a client remembers of that one must not fit this one.
                let sql = "SELECT uidvalidity FROM mailbox_names WHERE account = $1 AND name = $2";
                let last = tx.row(sql, params![account, &new], |row| row.int(0))?.unwrap_or(0);
                let validity =
                    if last < i64::from(*uidvalidity) { i64::from(*uidvalidity) } else { next_validity(tx, account)? };
                give_up(tx, account, name, *uidvalidity)?;
                // The mod-sequence tells who has it open, on whichever node, to look again.
                tx.execute(
                    "UPDATE mailboxes SET name = $2, uidvalidity = $3, highestmodseq = highestmodseq + 1 WHERE id = $1",
                    params![*id, &new, validity],
                )?;
                let detail = format!("to={new}");
                tx.change(&actor, account, 0, &deed("mailbox.rename", *id, name, &detail))?;
            }
            Ok(())
        })
        .await
    }

    /// Moves all of INBOX into a new mailbox.
    async fn empty_inbox(&self, to: &str) -> Result<(), Error> {
        let (mail, to) = (self.clone(), to.to_owned());
        self.change("mailbox.rename", "INBOX", move |tx| {
            let inbox = find(tx, mail.account, "INBOX")?;
            let id = create(tx, mail.account, &to, None)?;
            tx.change(&mail.actor, mail.account, 0, &deed("mailbox.create", id, &to, "from=INBOX"))?;
            copy::relocate(tx, &mail, inbox.id, (&vec![(1, u32::MAX)], 0), &to).map(drop)
        })
        .await
    }

    /// Subscribes to a name, or no more.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that cannot be.
    pub async fn subscribe(&self, name: &str, on: bool) -> Result<(), Error> {
        check_name(name)?;
        let (account, actor, target) = (self.account, self.actor.clone(), name.to_owned());
        self.change("mailbox.subscribe", name, move |tx| subscribe(tx, &actor, account, &target, on)).await
    }
}

fn subscribe(tx: &mut Tx<'_>, actor: &Actor, account: i64, name: &str, on: bool) -> Result<(), Error> {
    let sql = if on {
        "INSERT INTO subscriptions (account, name) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM subscriptions WHERE account = $1 AND name = $2"
    };
    tx.execute(sql, params![account, name])?;
    let detail = format!("subscribed={on}");
    tx.change(actor, account, 0, &deed("mailbox.subscribe", account, name, &detail))
}

fn deed<'a>(action: &'static str, object: i64, target: &'a str, detail: &'a str) -> Deed<'a> {
    Deed { action, object, target, detail }
}

/// Makes the mailboxes of a new account.
pub(crate) fn create_first(tx: &mut Tx<'_>, account: i64) -> Result<(), Error> {
    for (name, special) in FIRST {
        create(tx, account, name, special)?;
        tx.run("INSERT INTO subscriptions (account, name) VALUES ($1, $2)", params![account, name])?;
    }
    Ok(())
}

/// Makes a mailbox as its owner wishes, if there may be one more; its number. The account is locked.
fn make(tx: &mut Tx<'_>, actor: &Actor, account: i64, name: &str, special: Option<&str>) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM mailboxes WHERE account = $1";
    if tx.row(sql, params![account], |row| row.int(0))?.unwrap_or(0) >= MOST {
        return Err(Error::invalid("there are too many mailboxes"));
    }
    let id = create(tx, account, name, special)?;
    let detail = special.map(|special| format!("use={special}")).unwrap_or_default();
    tx.change(actor, account, 0, &deed("mailbox.create", id, name, &detail))?;
    Ok(id)
}

/// Makes a mailbox that is gone again, for messages that come back to it; its number. The account is locked.
pub(super) fn make_again(tx: &mut Tx<'_>, actor: &Actor, account: i64, name: &str) -> Result<i64, Error> {
    let id = make(tx, actor, account, name, None)?;
    subscribe(tx, actor, account, name, true)?;
    Ok(id)
}

/// Makes a mailbox; its number. The account is locked.
pub(super) fn create(tx: &mut Tx<'_>, account: i64, name: &str, special: Option<&str>) -> Result<i64, Error> {
    if exists(tx, account, name)? {
        return Err(Error::Exists);
    }
    let validity = next_validity(tx, account)?;
    let made = tx.returning(
        "INSERT INTO mailboxes (account, name, special, uidvalidity, uidnext, highestmodseq, floor)
         VALUES ($1, $2, $3, $4, 1, 1, 0) RETURNING id",
        params![account, name, special, validity],
        |row| row.int(0),
    )?;
    made.ok_or_else(|| Error::internal("a mailbox's row was not returned"))
}

/// The mailbox of that name.
pub(super) fn find(tx: &Read<'_>, account: i64, name: &str) -> Result<MailboxInfo, Error> {
    let sql = format!("SELECT {COLUMNS} FROM mailboxes WHERE account = $1 AND name = $2");
    tx.row(&sql, params![account, name], info)?.ok_or(Error::NotFound)
}

fn exists(tx: &Read<'_>, account: i64, name: &str) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM mailboxes WHERE account = $1 AND name = $2";
    Ok(tx.row(sql, params![account, name], |_| Ok(()))?.is_some())
}

/// The mailbox of that name and those below it: number, name, UIDVALIDITY.
fn family(tx: &Read<'_>, account: i64, name: &str) -> Result<Vec<(i64, String, u32)>, Error> {
    // '0' follows '/' in the order of bytes.
    let sql =
        "SELECT id, name, uidvalidity FROM mailboxes WHERE account = $1 AND (name = $2 OR name > $3 AND name < $4)
         ORDER BY name";
    let (first, last) = (format!("{name}/"), format!("{name}0"));
    tx.rows(sql, params![account, name, &first, &last], |row| Ok((row.int(0)?, row.text(1)?, row.int(2)? as u32)))
}

/// A UIDVALIDITY that no mailbox of the account ever had: seconds, and one more than the last where several are made
/// within one (RFC 9051 §2.3.1.1).
fn next_validity(tx: &mut Tx<'_>, account: i64) -> Result<i64, Error> {
    let given = tx.returning(
        "UPDATE accounts SET uidvalidity = CASE WHEN uidvalidity < $2 THEN $2 ELSE uidvalidity + 1 END
         WHERE id = $1 RETURNING uidvalidity",
        params![account, Timestamp::now().seconds()],
        |row| row.int(0),
    )?;
    given.ok_or(Error::NotFound)
}

/// Remembers the UIDVALIDITY of a name that its mailbox gives up.
fn give_up(tx: &mut Tx<'_>, account: i64, name: &str, uidvalidity: u32) -> Result<(), Error> {
    tx.run(
        "INSERT INTO mailbox_names (account, name, uidvalidity) VALUES ($1, $2, $3)
         ON CONFLICT (account, name) DO UPDATE SET uidvalidity = excluded.uidvalidity
         WHERE mailbox_names.uidvalidity < excluded.uidvalidity",
        params![account, name, i64::from(uidvalidity)],
    )
}

/// Whether a name can be a mailbox's: it is told in lists, matched against patterns and seen as a path of files.
fn check_name(name: &str) -> Result<(), Error> {
    let level = |level: &str| !level.is_empty() && level != "." && level != ".." && level.trim() == level;
    let letter = |letter: char| !letter.is_control() && !matches!(letter, '*' | '%' | '\u{2028}' | '\u{2029}');
    if name.is_empty() || name.len() > LENGTH || !name.split('/').all(level) || !name.chars().all(letter) {
        return Err(Error::invalid("that cannot be the name of a mailbox"));
    }
    Ok(())
}
