//! Mail: mailboxes and messages. A message is parsed once, when it arrives, and delivered to all of its recipients in
//! one transaction, with one blob.

mod delivery;
mod parse;

use crate::db::{Read, Tx, params};
use crate::{Error, Timestamp};

pub use delivery::{Delivered, Delivery, Envelope, Target};

/// Makes the INBOX of a new account.
pub(crate) fn create_inbox(tx: &mut Tx<'_>, account: i64) -> Result<(), Error> {
    // UIDVALIDITY only has to grow when a name is used again (RFC 9051 §2.3.1.1): seconds do.
    tx.execute(
        "INSERT INTO mailboxes (account, name, uidvalidity, uidnext, highestmodseq) VALUES ($1, 'INBOX', $2, 1, 1)",
        params![account, Timestamp::now().seconds()],
    )
    .map(drop)
}

/// The mailbox a message goes to: the one named by the part after `+`, where there is one of that name, or INBOX.
fn mailbox(tx: &Read<'_>, account: i64, detail: Option<&str>) -> Result<i64, Error> {
    let named = |name: &str| {
        let sql = "SELECT id FROM mailboxes WHERE account = $1 AND name = $2";
        tx.row(sql, params![account, name], |row| row.int(0))
    };
    if let Some(detail) = detail
        && let Some(found) = named(detail)?
    {
        return Ok(found);
    }
    named("INBOX")?.ok_or_else(|| Error::internal(format!("account {account} has no INBOX")))
}
