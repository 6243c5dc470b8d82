//! LIST and LSUB (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154, RFC 3501 §6.3.9).

use std::collections::{BTreeMap, BTreeSet};

use storage::MailboxInfo;

use super::status::{Told, put_status};
use crate::codec::mailbox::Pattern;
use crate::codec::{List, StatusItem};
use crate::reply::{Reply, Untagged, put_mailbox};
use crate::session::{Context, Outcome};

/// How many names are matched before others have their turn.
const TURN: usize = 64;

/// A name that may be listed.
#[derive(Default)]
struct Name {
    /// The mailbox; `None` where only the name is subscribed to, or has mailboxes below it.
    mailbox: Option<MailboxInfo>,
    subscribed: bool,
    children: bool,
    /// Whether a name below it that no pattern matches is subscribed to (CHILDINFO).
    subscribed_below: bool,
}

/// LIST or LSUB.
pub(crate) async fn list(context: &mut Context<'_>, list: &List) -> Outcome {
    if !list.extended && list.patterns == [""] {
        context.wire.untagged(format!("{} (\\Noselect) \"/\" \"\"", if list.lsub { "LSUB" } else { "LIST" }));
        return Ok(Reply::ok("Listed"));
    }
    if list.recursive && !list.subscribed {
        return Ok(Reply::bad("RECURSIVEMATCH goes with another selection option (RFC 5258 §3.1)"));
    }
    let mail = &context.user.mail;
    let looked = async { Ok::<_, storage::Error>((mail.mailboxes().await?, mail.subscriptions().await?)) };
    let (mailboxes, subscriptions) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return Ok(Reply::from(&error)),
    };
    let names = names(mailboxes, subscriptions);
    let matched = matched(list, names.keys().map(String::as_str)).await;
    let mut names_below = BTreeSet::new();
    // LSUB has it as a level that is not subscribed itself (RFC 3501 §6.3.9).
    if list.recursive || list.lsub {
        for (name, _) in names.iter().filter(|(name, known)| known.subscribed && !matched.contains(name.as_str())) {
            names_below.extend(parents(name).filter(|parent| matched.contains(parent)).map(str::to_owned));
        }
    }
    for name in matched {
        let Some(known) = names.get(name) else { continue };
        let below = names_below.contains(name);
        let known = Name { subscribed_below: below, mailbox: known.mailbox.clone(), ..*known };
        if is_wanted(list, &known) {
            let recent = match (&known.mailbox, list.return_status.contains(&StatusItem::Recent)) {
                (Some(mailbox), true) => context.user.mail.recent(mailbox.id).await,
                _ => Ok(0),
            };
            let limit = context.imap.config.max_message.0;
            let told = match recent {
                Ok(recent) => Told { items: &list.return_status, recent, limit },
                Err(error) => return Ok(Reply::from(&error)),
            };
            tell(context, list, (name, &known), &told);
        }
        context.wire.relieve().await?;
    }
    Ok(Reply::ok("Listed"))
}

/// Those of the names that a pattern means. Others have their turn meanwhile: many long names against many patterns
/// take a while.
async fn matched<'a>(list: &List, names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let patterns: Vec<Pattern> =
        list.patterns.iter().map(|pattern| Pattern::new(&absolute(&list.reference, pattern))).collect();
    let mut matched = BTreeSet::new();
    for (at, name) in names.enumerate() {
        if patterns.iter().any(|pattern| pattern.matches(name)) {
            matched.insert(name);
        }
        if at % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    matched
}

/// Every name there is: mailboxes, the levels above them, and what is subscribed to.
fn names(mailboxes: Vec<MailboxInfo>, subscriptions: Vec<String>) -> BTreeMap<String, Name> {
    let mut names: BTreeMap<String, Name> = BTreeMap::new();
    for mailbox in mailboxes {
        for parent in parents(&mailbox.name) {
            names.entry(parent.to_owned()).or_default().children = true;
        }
        let name = mailbox.name.clone();
        names.entry(name).or_default().mailbox = Some(mailbox);
    }
    for name in subscriptions {
        for parent in parents(&name) {
            names.entry(parent.to_owned()).or_default();
        }
        names.entry(name).or_default().subscribed = true;
    }
    names
}

/// The levels above a name.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// A pattern behind its reference (RFC 9051 §6.3.9).
fn absolute(reference: &str, pattern: &str) -> String {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    format!("{reference}{pattern}")
}

fn is_wanted(list: &List, known: &Name) -> bool {
    let exists = known.mailbox.is_some() || known.children;
    let special = known.mailbox.as_ref().is_some_and(|mailbox| mailbox.special.is_some());
    if list.lsub || list.subscribed {
        return (known.subscribed || known.subscribed_below) && (!list.special_use || special);
    }
    exists && (!list.special_use || special)
}

fn tell(context: &mut Context<'_>, list: &List, (name, known): (&str, &Name), told: &Told<'_>) {
    let (enabled, off) = (&context.user.enabled, context.off);
    let mut attributes: Vec<&str> = Vec::new();
    match &known.mailbox {
        None if known.children && !(list.lsub || list.extended) && !enabled.rev2 => attributes.push("\\Noselect"),
        _ if list.lsub && !known.subscribed => attributes.push("\\Noselect"),
        None if list.lsub => attributes.push("\\Noselect"),
        None => attributes.push("\\NonExistent"),
        Some(_) => {}
    }
    if !list.lsub {
        if off.allows("CHILDREN") {
            attributes.push(if known.children { "\\HasChildren" } else { "\\HasNoChildren" });
        }
        if (list.subscribed || list.return_subscribed) && known.subscribed {
            attributes.push("\\Subscribed");
        }
        let special = known.mailbox.as_ref().and_then(|mailbox| mailbox.special.as_deref());
        attributes.extend(special.filter(|_| off.allows("SPECIAL-USE")));
    }
    let out = &mut context.wire.out;
    out.extend_from_slice(if list.lsub { b"* LSUB (" } else { b"* LIST (" });
    out.extend_from_slice(attributes.join(" ").as_bytes());
    out.extend_from_slice(b") \"/\" ");
    put_mailbox(out, name, enabled.utf8());
    if known.subscribed_below && !list.lsub {
        out.extend_from_slice(b" (CHILDINFO (\"SUBSCRIBED\"))");
    }
    out.extend_from_slice(b"\r\n");
    if !list.return_status.is_empty()
        && let Some(mailbox) = &known.mailbox
    {
        put_status(out, enabled, mailbox, told);
    }
}
