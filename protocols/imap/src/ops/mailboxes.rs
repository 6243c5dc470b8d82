//! Mailboxes made, renamed, deleted and subscribed to (RFC 9051 §6.3).

use crate::reply::{Reply, Untagged};
use crate::session::{Context, Outcome, Session, State};

/// The special uses a mailbox can have (RFC 6154 §2, RFC 8457); `\All` and `\Flagged` are searches, not mailboxes here.
const SPECIAL: [&str; 5] = ["\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"];

/// CREATE.
pub(crate) async fn create(context: &mut Context<'_>, name: &str, special_use: Vec<String>) -> Outcome {
    let special = match &special_use[..] {
        [] => None,
        [one] => match SPECIAL.iter().find(|known| known.eq_ignore_ascii_case(one)) {
            Some(known) => Some((*known).to_owned()),
            None => return Ok(Reply::no("No mailbox can be made for that use").with("USEATTR")),
        },
        _ => return Ok(Reply::no("A mailbox has one special use at most").with("USEATTR")),
    };
    Ok(match context.user.mail.create(name, special).await {
        Ok(made) => {
            let code = format!("MAILBOXID ({})", super::select::mailbox_id(made.id));
            context.off.told(Reply::ok("Created").with(code))
        }
        Err(error) => Reply::from(&error),
    })
}

/// DELETE; the mailbox that is open is closed first.
pub(crate) async fn delete(session: &mut Session, name: &str) -> Outcome {
    let (State::Authenticated(user) | State::Selected(user, _)) = &session.state else {
        return Ok(Reply::bad("Log in first"));
    };
    // By its number: the mailbox that is open may be called otherwise by now.
    let id = match user.mail.mailbox(name).await {
        Ok(found) => found.id,
        Err(error) => return Ok(Reply::from(&error)),
    };
    if let Err(error) = user.mail.delete(name).await {
        return Ok(Reply::from(&error));
    }
    if matches!(&session.state, State::Selected(_, selected) if selected.mailbox.id() == id) {
        super::select::unselect(session);
        session.wire.untagged("OK [CLOSED] The mailbox that was open is deleted");
    }
    Ok(Reply::ok("Deleted"))
}

/// RENAME.
pub(crate) async fn rename(context: &mut Context<'_>, from: &str, to: &str) -> Outcome {
    Ok(done(context.user.mail.rename(from, to).await, "Renamed"))
}

/// SUBSCRIBE and UNSUBSCRIBE.
pub(crate) async fn subscribe(context: &mut Context<'_>, name: &str, on: bool) -> Outcome {
    Ok(done(context.user.mail.subscribe(name, on).await, if on { "Subscribed" } else { "Unsubscribed" }))
}

/// NAMESPACE (RFC 2342): one's own mailboxes.
pub(crate) fn namespace(context: &mut Context<'_>) -> Reply {
    context.wire.untagged("NAMESPACE ((\"\" \"/\")) NIL NIL");
    Reply::ok("These are the namespaces")
}

fn done(result: Result<(), storage::Error>, text: &'static str) -> Reply {
    match result {
        Ok(()) => Reply::ok(text),
        Err(error) => Reply::from(&error),
    }
}
