//! Mail: mailboxes and messages. A message is parsed once, when it arrives, and delivered to all of its recipients in
//! one transaction, with one blob.
//!
//! Whoever reads a mailbox works on a [`View`] of it: its messages with their flags, in memory once for the process,
//! shared by all who have it open, and brought up to date by what has changed since.

mod append;
mod changes;
mod copy;
mod delivery;
mod index;
mod keywords;
mod live;
mod mailboxes;
mod maildrop;
mod messages;
pub mod parse;
mod read;
mod search;
mod summary;
mod uids;
mod undelete;
mod view;

use crate::db::{Tx, params};
use crate::{Actor, Error, Store, Usage};

pub use append::{Append, Appended};
pub use changes::{FlagChange, Flagged};
pub use copy::Copied;
pub use delivery::{Delivered, Delivery, Envelope, Target};
pub use index::fold;
pub use keywords::Keywords;
pub use live::Mailbox;
pub use mailboxes::{Counts, MailboxInfo};
pub use maildrop::MaildropLock;
pub use read::{Details, Wanted};
pub use search::Field;
pub use uids::{Uids, is_among, ranges};
pub use undelete::Expunged;
pub use view::{Diff, Flags, Message, View};

pub(crate) use index::{Turn, Vocabularies, forget_documents, vocabularies};
pub(crate) use keywords::FullAccounts;
pub(crate) use live::Lives;
pub(crate) use mailboxes::create_first;
pub(crate) use maildrop::Maildrops;
pub(crate) use summary::subject;

/// The mail of one account, for the one who logged in. Made by `auth` alone.
#[derive(Clone)]
pub struct Mail {
    store: Store,
    account: i64,
    actor: Actor,
}

impl Store {
    /// The mail of `account` as `actor` uses it. For `auth`, which has checked that it may.
    pub fn mail(&self, account: i64, actor: Actor) -> Mail {
        Mail { store: self.clone(), account, actor }
    }
}

impl Mail {
    /// What the account uses and may use.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self) -> Result<Usage, Error> {
        self.store.home(self.account, self.actor.clone()).usage().await
    }

    /// How many messages the account has.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn messages(&self) -> Result<u64, Error> {
        let account = self.account;
        let sql = "SELECT CAST(COALESCE(SUM(messages), 0) AS BIGINT) FROM mailboxes WHERE account = $1";
        let count = self.store.db().look(move |tx| tx.row(sql, params![account], |row| row.int(0))).await?;
        Ok(count.unwrap_or(0) as u64)
    }

    async fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        target: &str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.store.change(self.account, &self.actor, action, target, work).await
    }
}
