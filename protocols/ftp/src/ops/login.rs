//! TLS and logging in: AUTH, PBSZ, PROT, CCC (RFC 4217), USER, PASS, ACCT, REIN.

use auth::{Offer, Pass, Secret};
use protocol::Closed;
use storage::VPath;

use crate::codec;
use crate::reply::Reply;
use crate::session::{Next, Session, State, User};

pub(crate) async fn run(session: &mut Session, verb: &str, argument: &str) -> Next {
    match verb {
        "AUTH" => secure(session, argument).await,
        "PBSZ" => pbsz(session, argument).into(),
        "PROT" => prot(session, argument).into(),
        "CCC" => Reply::new(534, "The control connection stays on TLS.").into(),
        "USER" => name(session, argument).await,
        "PASS" => password(session, argument).await,
        "ACCT" => Reply::new(202, "No account besides the user's is needed.").into(),
        _ => reinitialize(session),
    }
}

async fn secure(session: &mut Session, argument: &str) -> Next {
    if !matches!(argument.to_ascii_uppercase().as_str(), "TLS" | "TLS-C" | "SSL" | "TLS-P") {
        return Reply::new(504, "AUTH TLS is what is known here.").into();
    }
    if !session.conn.can_start_tls() {
        return Reply::new(503, "TLS runs already, or is not offered on this port.").into();
    }
    if session.conn.has_input() || !session.waiting.is_empty() {
        // What follows AUTH in plaintext would be taken for commands under TLS: somebody put it in (RFC 4217 §4.1).
        let auth = &session.ftp.services.auth;
        auth.refusal(session.conn.peer(), None, "ftp.auth", "", "plaintext behind AUTH TLS").await;
        return Next::End(Reply::new(421, "Nothing may follow AUTH before TLS runs; goodbye."), Closed::Abuse);
    }
    Next::Secure(Reply::new(234, "Begin TLS."))
}

fn pbsz(session: &mut Session, argument: &str) -> Reply {
    if !session.conn.secure() {
        return Reply::new(503, "Send AUTH TLS first.");
    }
    if codec::parse_size(argument).is_none_or(|size| size > u64::from(u32::MAX)) {
        return Reply::new(501, "PBSZ takes a number.");
    }
    session.sized = true;
    Reply::new(200, "PBSZ=0")
}

fn prot(session: &mut Session, argument: &str) -> Reply {
    if !session.sized {
        return Reply::new(503, "Send AUTH TLS and PBSZ 0 first.");
    }
    match argument.to_ascii_uppercase().as_str() {
        "P" => {
            session.private = true;
            Reply::new(200, "Data goes over TLS.")
        }
        "C" if session.clear_allowed() => {
            session.private = false;
            Reply::new(200, "Data goes without TLS.")
        }
        "C" => Reply::new(534, "Data is only sent over TLS; use PROT P."),
        "S" | "E" => Reply::new(536, "TLS protects wholly or not at all; use PROT P."),
        _ => Reply::new(504, "PROT P is what is known here."),
    }
}

async fn name(session: &mut Session, argument: &str) -> Next {
    if argument.is_empty() {
        return Reply::new(501, "A name must follow.").into();
    }
    if !session.ftp.services.auth.cleartext_allowed(session.conn.peer()) {
        // The name is refused already, so that no client goes on to send the password.
        return session.refuse_login(Reply::from(&auth::Denied::Cleartext));
    }
    session.state = State::Named(argument.to_owned());
    Reply::new(331, "Now the password.").into()
}

async fn password(session: &mut Session, argument: &str) -> Next {
    let State::Named(name) = std::mem::replace(&mut session.state, State::Stranger) else {
        return Reply::new(503, "Send USER first.").into();
    };
    let offer = Offer::Password { name, password: Secret::new(argument.to_owned()) };
    match session.ftp.services.auth.login(session.conn.peer(), offer).await {
        Ok(login) => {
            let text = format!("Welcome, {}.", login.principal.name);
            session.conn.admit(login.pass.clone());
            session.state = State::User(Box::new(User {
                login,
                folder: VPath::root(),
                offset: 0,
                rename: None,
                facts: super::list::Facts::default(),
                hash: super::info::Algorithm::default(),
            }));
            Reply::new(230, text).into()
        }
        Err(denied) => session.refuse_login(Reply::from(&denied)),
    }
}

/// Back to the beginning; TLS stays (RFC 4217 §11 allows either).
fn reinitialize(session: &mut Session) -> Next {
    session.state = State::Stranger;
    session.conn.admit(Pass::default());
    session.route = None;
    session.only_epsv = false;
    Reply::new(220, "Log in anew.").into()
}
