//! Quotas (RFC 9208): one root for all of an account's mailboxes, which counts its files too.

use crate::reply::{Reply, Untagged, put_mailbox};
use crate::session::{Context, Outcome};

/// The name of the one quota root.
const ROOT: &str = "";

/// GETQUOTA.
pub(crate) async fn get(context: &mut Context<'_>, root: &str) -> Outcome {
    if root != ROOT {
        return Ok(Reply::no("There is no such quota root").with("NONEXISTENT"));
    }
    tell(context).await
}

/// GETQUOTAROOT.
pub(crate) async fn root(context: &mut Context<'_>, mailbox: &str) -> Outcome {
    let out = &mut context.wire.out;
    out.extend_from_slice(b"* QUOTAROOT ");
    put_mailbox(out, mailbox, context.user.enabled.utf8());
    out.extend_from_slice(format!(" \"{ROOT}\"\r\n").as_bytes());
    tell(context).await
}

async fn tell(context: &mut Context<'_>) -> Outcome {
    let usage = match context.user.mail.usage().await {
        Ok(usage) => usage,
        Err(error) => return Ok(Reply::from(&error)),
    };
    // In units of 1024 octets (RFC 9208 §5.1), the used ones rounded up. Messages are counted without a limit, which
    // there is no way to tell: only what has a limit is told.
    let line = match usage.quota {
        Some(quota) => format!("QUOTA \"{ROOT}\" (STORAGE {} {})", usage.used.div_ceil(1024), quota / 1024),
        None => format!("QUOTA \"{ROOT}\" ()"),
    };
    context.wire.untagged(line);
    Ok(Reply::ok("That is the quota"))
}
