//! Opening a mailbox and leaving it (RFC 9051 §6.3.2, §6.4.1, RFC 7162 §3.2).

use protocol::Wire;
use std::sync::Arc;

use storage::{Flags, Message, Uids, View, is_among};

use crate::capabilities::Off;
use crate::codec::sequence::compact;
use crate::codec::{Qresync, SequenceSet};
use crate::reply::{Reply, Untagged, put_mailbox};
use crate::selected::{Selected, flags_line};
use crate::session::{Enabled, Outcome, Session, State};

/// SELECT, or EXAMINE.
pub(crate) async fn select(
    session: &mut Session,
    name: &str,
    examine: bool,
    condstore: bool,
    qresync: Option<Qresync>,
) -> Outcome {
    // Whatever comes of it, the mailbox that was open is not any more (RFC 9051 §6.3.2).
    let before = std::mem::replace(&mut session.state, State::NotAuthenticated);
    let mut user = match before {
        State::NotAuthenticated => return Ok(Reply::bad("Log in first")),
        State::Authenticated(user) => user,
        State::Selected(user, _) => {
            session.wire.untagged("OK [CLOSED] The mailbox that was open is closed");
            user
        }
    };
    if qresync.is_some() && !user.enabled.qresync {
        session.state = State::Authenticated(user);
        return Ok(Reply::bad("ENABLE QRESYNC first"));
    }
    let opened = async {
        let mailbox = user.mail.open(name).await?;
        let view = mailbox.view().await?;
        let vanished = match &qresync {
            Some(known) if known.uidvalidity == view.uidvalidity => {
                Some((known, mailbox.vanished(known.modseq).await?))
            }
            _ => None,
        };
        Ok::<_, storage::Error>((mailbox, view, vanished))
    };
    let (mailbox, view, vanished) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            session.state = State::Authenticated(user);
            return Ok(Reply::from(&error));
        }
    };
    user.enabled.condstore |= condstore;
    let read_only = examine || user.principal.read_only;
    // What is recent is asked with a view that knows no messages: all of them are new to this session.
    let mut selected = Selected { mailbox, view: Arc::default(), read_only, saved: Vec::new(), recent: Vec::new() };
    if let Err(error) = selected.note_recent(&user.enabled, &view).await {
        session.state = State::Authenticated(user);
        return Ok(Reply::from(&error));
    }
    selected.view = view;
    let wire = &mut session.wire;
    describe(wire, &user.enabled, &session.off, &selected);
    if let Some((known, vanished)) = vanished {
        resynchronise(wire, &user.enabled, &selected, known, vanished);
    }
    session.state = State::Selected(user, Box::new(selected));
    let code = if read_only { "READ-ONLY" } else { "READ-WRITE" };
    Ok(Reply::ok(if examine { "Opened to be read" } else { "Opened" }).with(code))
}

/// What a client learns of a mailbox when it opens it.
fn describe(wire: &mut Wire, enabled: &Enabled, off: &Off, selected: &Selected) {
    let Selected { mailbox, view, read_only, .. } = selected;
    wire.untagged(flags_line(&view.keywords));
    let permanent = match (*read_only, view.keywords.has_room()) {
        (true, _) => "()".to_owned(),
        (false, room) => {
            let flags = flags_line(&view.keywords);
            let list = flags.trim_start_matches("FLAGS ").trim_end_matches(')');
            format!("{list}{})", if room { " \\*" } else { "" })
        }
    };
    wire.untagged(format!("OK [PERMANENTFLAGS {permanent}] These are kept"));
    wire.untagged(format!("{} EXISTS", view.len()));
    if !enabled.rev2 {
        wire.untagged(format!("{} RECENT", selected.recent_count(view)));
        let unseen = view.messages().find(|(_, message)| !message.flags.has(Flags::SEEN));
        if let Some((number, _)) = unseen {
            wire.untagged(format!("OK [UNSEEN {number}] The first unseen message"));
        }
    }
    wire.untagged(format!("OK [UIDVALIDITY {}] UIDs are valid", view.uidvalidity));
    wire.untagged(format!("OK [UIDNEXT {}] The next UID", view.uidnext));
    if off.allows("CONDSTORE") {
        wire.untagged(format!("OK [HIGHESTMODSEQ {}] The newest mod-sequence", view.modseq));
    }
    if off.allows("OBJECTID") {
        wire.untagged(format!("OK [MAILBOXID ({})] Its identifier", mailbox_id(mailbox.id())));
    }
    if enabled.rev2 {
        wire.out.extend_from_slice(b"* LIST () \"/\" ");
        put_mailbox(&mut wire.out, mailbox.name(), enabled.utf8());
        wire.out.extend_from_slice(b"\r\n");
    }
}

/// A mailbox's identifier (RFC 8474 §4).
pub(crate) fn mailbox_id(id: i64) -> String {
    format!("M{id}")
}

/// Tells a client that was here before what has changed since (RFC 7162 §3.2.5).
fn resynchronise(wire: &mut Wire, enabled: &Enabled, selected: &Selected, known: &Qresync, vanished: Option<Uids>) {
    let view = &selected.view;
    let everything = SequenceSet(vec![crate::codec::Range { from: 1, to: u32::MAX }]);
    let of = known.known.as_ref().unwrap_or(&everything).resolve(view.uidnext.saturating_sub(1));
    let gone = vanished_uids(view, &of, vanished);
    if !gone.is_empty() {
        wire.untagged(format!("VANISHED (EARLIER) {}", compact(gone.into_iter())));
    }
    for (number, message) in changed_since(view, known.modseq) {
        if is_among(&of, message.uid) {
            selected.put_flags(&mut wire.out, enabled, (&view.keywords, true), number, message);
        }
    }
}

/// The UIDs among `of` that are gone: those that vanished, or, where that is forgotten, all that are not there. One
/// that the view has yet is told later, when its sequence number goes.
pub(crate) fn vanished_uids(view: &View, of: &[(u32, u32)], vanished: Option<Uids>) -> Vec<u32> {
    let gone = |uid: &u32| view.number(*uid).is_none();
    match vanished {
        Some(ranges) => {
            let uids = ranges.into_iter().flat_map(|(from, to)| from..=to);
            uids.filter(|&uid| is_among(of, uid)).filter(gone).collect()
        }
        None => {
            let uids = of.iter().flat_map(|&(from, to)| from..=to.min(view.uidnext.saturating_sub(1)));
            uids.filter(gone).collect()
        }
    }
}

/// The messages that changed after a mod-sequence.
pub(crate) fn changed_since(view: &View, modseq: u64) -> impl Iterator<Item = (u32, &Message)> {
    // Who knows more than there is has seen a database that was lost: nothing it knows is to be counted on.
    let since = if modseq > view.modseq { 0 } else { modseq };
    view.messages().filter(move |(_, message)| message.modseq > since)
}

/// CLOSE: what is marked is expunged without a word (RFC 9051 §6.4.1).
pub(crate) async fn close(session: &mut Session) -> Outcome {
    let State::Selected(_, selected) = &session.state else { return Ok(Reply::bad("Select a mailbox first")) };
    if !selected.read_only
        && let Err(error) = selected.mailbox.expunge(None).await
        && error != storage::Error::NotFound
    {
        return Ok(Reply::from(&error));
    }
    Ok(unselect(session))
}

/// UNSELECT: as CLOSE, and nothing is expunged.
pub(crate) fn unselect(session: &mut Session) -> Reply {
    session.state = match std::mem::replace(&mut session.state, State::NotAuthenticated) {
        State::Selected(user, _) => State::Authenticated(user),
        other => other,
    };
    Reply::ok("Closed")
}
