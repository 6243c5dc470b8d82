//! LOGIN and AUTHENTICATE (RFC 9051 §6.2).

use auth::{Denied, Offer, Secret};
use protocol::Carrier;

use crate::reply::Reply;
use crate::session::{Enabled, Outcome, Session, State, User};

/// The mechanisms that may be used on this connection now.
pub(crate) fn mechanisms(session: &Session) -> Vec<&'static str> {
    let conn = &session.wire.conn;
    session.imap.services.auth.mechanisms(conn.peer(), &conn.channel_binding())
}

/// LOGIN.
pub(crate) async fn login(session: &mut Session, name: String, password: String) -> Outcome {
    let offer = Offer::Password { name, password: Secret::new(password) };
    let result = session.imap.services.auth.login(session.wire.conn.peer(), offer).await;
    Ok(settled(session, result))
}

/// AUTHENTICATE.
pub(crate) async fn authenticate(session: &mut Session, mechanism: &str, initial: Option<String>) -> Outcome {
    let (authority, binding) = (session.imap.services.auth.clone(), session.wire.conn.channel_binding());
    let Some(exchange) = authority.begin(session.wire.conn.peer(), &binding, mechanism) else {
        let denied = !authority.cleartext_allowed(session.wire.conn.peer());
        return Ok(match denied {
            true => Reply::from(&Denied::Cleartext),
            false => Reply::no("That mechanism is not offered here").with("CANNOT"),
        });
    };
    let carrier = Carrier { prompt: "+ ", strict: false, idle: session.imap.idle() };
    Ok(match carrier.run(&mut session.wire, exchange, initial).await? {
        Ok(logged_in) => settled(session, Ok(*logged_in)),
        Err(broken) => Reply::from(&broken),
    })
}

fn settled(session: &mut Session, result: Result<auth::Session, Denied>) -> Reply {
    match result {
        Ok(auth::Session { principal, mail, pass, .. }) => {
            session.wire.conn.admit(pass);
            session.off.add_account(&session.imap.config, &principal.name);
            session.state = State::Authenticated(Box::new(User { principal, mail, enabled: Enabled::default() }));
            let capabilities = format!("CAPABILITY {}", super::any::capabilities(session));
            Reply::ok("Logged in").with(capabilities)
        }
        Err(denied) => Reply::from(&denied),
    }
}
