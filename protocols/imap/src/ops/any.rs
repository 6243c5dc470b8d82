//! Commands of every state, and those that turn something on.

use protocol::Closed;

use crate::capabilities::{CAPABILITIES, Shown};
use crate::reply::{Reply, Untagged, put_nstring, put_string};
use crate::selected::Selected;
use crate::session::{Context, Outcome, Session, sync};

/// The longest name a client may give itself, in bytes; RFC 2971 §3.3 allows 1024 for a value.
const CLIENT: usize = 200;

/// What is offered on this connection now.
pub(crate) fn capabilities(session: &Session) -> String {
    let (inside, conn) = (session.user().is_some(), &session.wire.conn);
    let mut all: Vec<String> = Vec::new();
    for capability in CAPABILITIES.iter().filter(|capability| session.off.allows(capability.name)) {
        match capability.shown {
            Shown::LoggedIn if !inside => {}
            _ if capability.name == "APPENDLIMIT" => {
                all.push(format!("APPENDLIMIT={}", session.imap.config.max_message.0));
            }
            // Only one of the two is told (RFC 7888 §5).
            _ if capability.name == "LITERAL-" && session.off.allows("LITERAL+") => {}
            _ if capability.name == "COMPRESS=DEFLATE" && conn.is_compressed() => {}
            _ if capability.name == "QUOTA" => {
                all.extend(["QUOTA", "QUOTA=RES-STORAGE"].map(str::to_owned));
            }
            _ => all.push(capability.name.to_owned()),
        }
    }
    if inside {
        return all.join(" ");
    }
    if conn.can_start_tls() {
        all.push("STARTTLS".to_owned());
    }
    let mechanisms = super::login::mechanisms(session);
    if mechanisms.is_empty() {
        all.push("LOGINDISABLED".to_owned());
    }
    all.extend(mechanisms.iter().map(|mechanism| format!("AUTH={mechanism}")));
    all.join(" ")
}

/// CAPABILITY.
pub(crate) fn capability(session: &mut Session) -> Reply {
    let line = format!("CAPABILITY {}", capabilities(session));
    session.wire.untagged(line);
    Reply::ok("That is what is offered")
}

/// LOGOUT.
pub(crate) fn logout(session: &mut Session) -> Reply {
    session.wire.untagged("BYE Goodbye");
    Reply::ok("Logged out").closing(Closed::Quit)
}

/// ID (RFC 2971): the client's name may decide what it is offered.
pub(crate) fn id(session: &mut Session, fields: &[(String, Option<String>)]) -> Reply {
    let named = |wanted: &str| fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(wanted));
    if let Some((_, Some(name))) = named("name") {
        session.off.add_client(&session.imap.config, name);
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(CLIENT).collect();
        tracing::debug!(trace = %session.wire.conn.peer().trace, client = name, "the client says what it is");
    }
    session.wire.out.extend_from_slice(b"* ID (");
    put_string(&mut session.wire.out, b"name", false);
    session.wire.out.push(b' ');
    put_nstring(&mut session.wire.out, Some(b"Wharfinger"), false);
    session.wire.out.extend_from_slice(b")\r\n");
    Reply::ok("Pleased to meet you")
}

/// ENABLE (RFC 5161): what is unknown is left out without a word.
pub(crate) fn enable(context: &mut Context<'_>, names: &[String]) -> Reply {
    let enabled = &mut context.user.enabled;
    let mut told = String::from("ENABLED");
    for name in names.iter().filter(|name| context.off.allows(name)) {
        match name.as_str() {
            "IMAP4REV2" => enabled.rev2 = true,
            "UTF8=ACCEPT" => enabled.utf8_accept = true,
            "CONDSTORE" => enabled.condstore = true,
            "QRESYNC" => (enabled.condstore, enabled.qresync) = (true, true),
            _ => continue,
        }
        told.push(' ');
        told.push_str(if name == "IMAP4REV2" { "IMAP4rev2" } else { name });
    }
    context.wire.untagged(told);
    Reply::ok("Enabled")
}

/// NOOP and CHECK: what has changed is told.
pub(crate) async fn noop(context: &mut Context<'_>, selected: Option<&mut Selected>) -> Outcome {
    let Some(selected) = selected else { return Ok(Reply::ok("Nothing done")) };
    Ok(match sync(context, selected, true).await {
        Ok(()) => Reply::ok("Nothing done"),
        Err(reply) => reply,
    })
}
