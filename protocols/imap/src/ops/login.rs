//! LOGIN and AUTHENTICATE (RFC 9051 §6.2).

use auth::{Denied, Offer, Secret, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::ReadError;

use crate::reply::Reply;
use crate::session::{Enabled, Outcome, Session, State, User};

/// The longest line of a log-in.
const LINE: usize = 12288;

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
    let Some(mut exchange) = authority.begin(session.wire.conn.peer(), &binding, mechanism) else {
        let denied = !authority.cleartext_allowed(session.wire.conn.peer());
        return Ok(match denied {
            true => Reply::from(&Denied::Cleartext),
            false => Reply::no("That mechanism is not offered here").with("CANNOT"),
        });
    };
    let mut response = match initial {
        Some(initial) => decode(initial.as_bytes()),
        None => ask(session, exchange.invitation()).await?,
    };
    loop {
        let octets = match response {
            Ok(octets) => octets,
            Err(reply) => return Ok(reply),
        };
        match exchange.step(&octets).await {
            Step::Challenge(challenge) => response = ask(session, &challenge).await?,
            Step::Done(logged_in) => return Ok(settled(session, Ok(*logged_in))),
            Step::Denied(denied) => return Ok(settled(session, Err(denied))),
            Step::Malformed(why) => return Ok(Reply::bad(format!("The response cannot be read: {why}"))),
        }
    }
}

fn settled(session: &mut Session, result: Result<auth::Session, Denied>) -> Reply {
    match result {
        Ok(auth::Session { principal, mail, .. }) => {
            session.off.add_account(&session.imap.config, &principal.name);
            session.state = State::Authenticated(Box::new(User { principal, mail, enabled: Enabled::default() }));
            let capabilities = format!("CAPABILITY {}", super::any::capabilities(session));
            Reply::ok("Logged in").with(capabilities)
        }
        Err(denied) => Reply::from(&denied),
    }
}

/// Sends a challenge and decodes the answer.
async fn ask(session: &mut Session, challenge: &[u8]) -> Result<Result<Vec<u8>, Reply>, ReadError> {
    session.wire.out.extend_from_slice(format!("+ {}\r\n", STANDARD.encode(challenge)).as_bytes());
    session.wire.flush().await?;
    match session.wire.line(LINE, session.imap.idle()).await {
        Ok(line) if &line.bytes[..] == b"*" => Ok(Err(Reply::bad("Cancelled"))),
        Ok(line) => Ok(decode(&line.bytes)),
        Err(ReadError::TooLong) => Ok(Err(Reply::bad("The response is too long"))),
        Err(error) => Err(error),
    }
}

/// `=` alone is an empty response (RFC 4959 §3).
fn decode(text: &[u8]) -> Result<Vec<u8>, Reply> {
    if text == b"=" {
        return Ok(Vec::new());
    }
    STANDARD.decode(text).map_err(|_| Reply::bad("The response is not base 64"))
}
