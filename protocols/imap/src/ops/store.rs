//! STORE (RFC 9051 §6.4.6, RFC 7162 §3.1.3).

use std::sync::Arc;

use storage::{FlagChange, Flags, View, is_among};

use super::expunge::read_only;
use crate::codec::sequence::compact;
use crate::codec::{Numbers, StoreHow};
use crate::reply::Reply;
use crate::selected::Selected;
use crate::session::{Context, Outcome, enable_condstore, gone};

/// What STORE asks for.
pub(crate) struct Store {
    pub(crate) uid: bool,
    pub(crate) numbers: Numbers,
    pub(crate) how: StoreHow,
    pub(crate) silent: bool,
    pub(crate) flags: Vec<String>,
    pub(crate) unchanged_since: Option<u64>,
}

/// STORE.
pub(crate) async fn store(context: &mut Context<'_>, selected: &mut Selected, store: Store) -> Outcome {
    if selected.read_only {
        return Ok(read_only());
    }
    let ranges = match selected.numbers(&store.numbers, store.uid) {
        Ok(ranges) => ranges,
        Err(reply) => return Ok(reply),
    };
    if store.unchanged_since.is_some() {
        enable_condstore(context, selected);
    }
    let uids = selected.uids(&ranges);
    let how = match store.how {
        StoreHow::Replace => FlagChange::Replace,
        StoreHow::Add => FlagChange::Add,
        StoreHow::Remove => FlagChange::Remove,
    };
    let names = store.flags.clone();
    let flagged = match selected.mailbox.flag(uids.clone(), how, names, store.unchanged_since).await {
        Ok(flagged) => flagged,
        Err(error) => return Ok(Reply::from(&error)),
    };
    // Expunges are told by the commands with UIDs alone: the numbers in a STORE must go on to mean what they meant.
    let new = match selected.newest(store.uid).await {
        Ok(new) => new,
        Err(error) => return Ok(gone(context.wire, &error)),
    };
    if let Err(error) = selected.note_recent(&context.user.enabled, &new).await {
        return Ok(gone(context.wire, &error));
    }
    tell(context, selected, &store, &uids, new);
    if flagged.failed.is_empty() {
        return Ok(Reply::ok("Stored"));
    }
    let failed = flagged.failed.iter().copied();
    let numbers = match store.uid {
        true => compact(failed),
        false => compact(failed.filter_map(|uid| selected.view.number(uid))),
    };
    // Those that are gone meanwhile have no number any more; then nothing is left to tell.
    let reply = Reply::ok("Some messages had changed meanwhile");
    Ok(if numbers.is_empty() { reply } else { reply.with(format!("MODIFIED {numbers}")) })
}

/// Tells the outcome for every message that was named, and what else has changed.
fn tell(context: &mut Context<'_>, selected: &mut Selected, store: &Store, uids: &[(u32, u32)], new: Arc<View>) {
    let (enabled, wire) = (&context.user.enabled, &mut *context.wire);
    let named = |uid: u32| is_among(uids, uid);
    let bits = store.flags.iter().fold(0, |bits, name| bits | new.keywords.flag(name).0);
    let expected = |flags: Flags| match store.how {
        StoreHow::Replace => bits,
        StoreHow::Add => flags.0 | bits,
        StoreHow::Remove => flags.0 & !bits,
    };
    let modseqs = enabled.condstore;
    selected.tell(wire, enabled, new, store.uid, |before, after| {
        if !named(before.uid) {
            return true;
        }
        // A client that asked for silence knows what it stored; what others did besides it does not, nor mod-sequences.
        store.silent && (modseqs || expected(before.flags) != after.flags.0)
    });
    if store.silent {
        return;
    }
    let view = selected.view.clone();
    for &(from, to) in uids {
        let first = view.first_from(from);
        for (number, message) in view.range(first, view.len()).take_while(|(_, message)| message.uid <= to) {
            selected.put_flags(&mut wire.out, enabled, (&view.keywords, store.uid), number, message);
        }
    }
}
