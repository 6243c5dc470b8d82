//! STATUS (RFC 9051 §6.3.11 and the extensions that add items).

use storage::MailboxInfo;

use super::select::mailbox_id;
use crate::codec::StatusItem;
use crate::reply::{Reply, put_mailbox};
use crate::session::{Context, Enabled, Outcome};

/// STATUS.
pub(crate) async fn status(context: &mut Context<'_>, name: &str, items: &[StatusItem]) -> Outcome {
    if items.contains(&StatusItem::HighestModSeq) {
        context.user.enabled.condstore = true;
    }
    Ok(match context.user.mail.mailbox(name).await {
        Ok(mailbox) => {
            let recent = match items.contains(&StatusItem::Recent) {
                true => context.user.mail.recent(mailbox.id).await,
                false => Ok(0),
            };
            let told = match recent {
                Ok(recent) => Told { items, recent, limit: context.imap.config.max_message.0 },
                Err(error) => return Ok(Reply::from(&error)),
            };
            put_status(&mut context.wire.out, &context.user.enabled, &mailbox, &told);
            Reply::ok("That is how it stands")
        }
        Err(error) => Reply::from(&error),
    })
}

/// What is told of a mailbox beyond its counts.
pub(crate) struct Told<'a> {
    pub(crate) items: &'a [StatusItem],
    pub(crate) recent: u32,
    /// The largest message taken.
    pub(crate) limit: u64,
}

/// Writes the STATUS response of a mailbox.
pub(crate) fn put_status(out: &mut Vec<u8>, enabled: &Enabled, mailbox: &MailboxInfo, told: &Told<'_>) {
    out.extend_from_slice(b"* STATUS ");
    put_mailbox(out, &mailbox.name, enabled.utf8());
    out.extend_from_slice(b" (");
    let counts = &mailbox.counts;
    for (at, item) in told.items.iter().enumerate() {
        let value = match item {
            StatusItem::Messages => counts.messages.to_string(),
            StatusItem::Recent => told.recent.to_string(),
            StatusItem::UidNext => counts.uidnext.to_string(),
            StatusItem::UidValidity => counts.uidvalidity.to_string(),
            StatusItem::Unseen => counts.unseen.to_string(),
            StatusItem::Deleted => counts.deleted.to_string(),
            StatusItem::DeletedStorage => counts.deleted_bytes.to_string(),
            StatusItem::Size => counts.bytes.to_string(),
            StatusItem::HighestModSeq => counts.modseq.to_string(),
            StatusItem::MailboxId => format!("({})", mailbox_id(mailbox.id)),
            StatusItem::AppendLimit => told.limit.to_string(),
        };
        let space = if at > 0 { " " } else { "" };
        out.extend_from_slice(format!("{space}{} {value}", item.name()).as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}
