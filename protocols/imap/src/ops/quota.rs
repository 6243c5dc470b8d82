//! Quotas (RFC 9208): one root for all of an account's mailboxes, which counts its files too. An account without a
//! quota has no root: nothing can be told of one that has no limit (RFC 9208 §7, quota-list).

use crate::reply::{Reply, Untagged, put_mailbox};
use crate::session::{Context, Outcome};

/// The name of the one quota root.
const ROOT: &str = "";

/// GETQUOTA.
pub(crate) async fn get(context: &mut Context<'_>, root: &str) -> Outcome {
    let quota = match quota(context).await {
        Ok(quota) => quota.filter(|_| root == ROOT),
        Err(error) => return Ok(Reply::from(&error)),
    };
    let Some(quota) = quota else { return Ok(Reply::no("There is no such quota root").with("NONEXISTENT")) };
    context.wire.untagged(quota);
    Ok(Reply::ok("That is the quota"))
}

/// GETQUOTAROOT.
pub(crate) async fn root(context: &mut Context<'_>, mailbox: &str) -> Outcome {
    let quota = match quota(context).await {
        Ok(quota) => quota,
        Err(error) => return Ok(Reply::from(&error)),
    };
    let out = &mut context.wire.out;
    out.extend_from_slice(b"* QUOTAROOT ");
    put_mailbox(out, mailbox, context.user.enabled.utf8());
    let Some(quota) = quota else {
        out.extend_from_slice(b"\r\n");
        return Ok(Reply::ok("There is no quota"));
    };
    out.extend_from_slice(format!(" \"{ROOT}\"\r\n").as_bytes());
    context.wire.untagged(quota);
    Ok(Reply::ok("That is the quota"))
}

/// What is told of the root, when there is one: in units of 1024 octets (RFC 9208 §5.1), the used ones rounded up.
/// Messages are counted without a limit, so that only octets are told.
async fn quota(context: &Context<'_>) -> Result<Option<String>, storage::Error> {
    let usage = context.user.mail.usage().await?;
    let used = usage.used.div_ceil(1024);
    Ok(usage.quota.map(|quota| format!("QUOTA \"{ROOT}\" (STORAGE {used} {})", quota / 1024)))
}
