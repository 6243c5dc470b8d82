//! Logging in: PASS behind USER (RFC 1939 §7), and AUTH, which carries a SASL exchange (RFC 5034).

use auth::{Exchange, Offer, Secret, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::ReadError;

use crate::Pop3;
use crate::ops::Outcome;
use crate::ops::maildrop::Maildrop;
use crate::reply::{self, Reply};
use crate::session::{self, State};
use crate::wire::Wire;

/// Logs in who gave a name. Whatever comes of it, another log-in begins with USER.
pub(crate) async fn pass(pop3: &Pop3, wire: &mut Wire, name: String, password: String) -> Outcome {
    let offer = Offer::Password { name, password: Secret::new(password) };
    match pop3.services.auth.login(wire.conn.peer(), offer).await {
        Ok(login) => Ok(begin(login).await),
        Err(denied) => Ok((State::Authorization, Some(Reply::from(&denied)))),
    }
}

/// Logs in by a SASL mechanism.
pub(crate) async fn auth(
    pop3: &Pop3,
    wire: &mut Wire,
    state: State,
    mechanism: &str,
    initial: Option<String>,
) -> Outcome {
    let (authority, binding) = (&pop3.services.auth, wire.conn.channel_binding());
    let Some(mut exchange) = authority.begin(wire.conn.peer(), &binding, mechanism) else {
        let offered = authority.mechanisms(wire.conn.peer(), &binding).join(" ");
        return Ok((state, Some(Reply::err(format!("That mechanism is not offered; these are: {offered}")))));
    };
    match exchanged(pop3, wire, &mut exchange, initial).await? {
        Ok(login) => Ok(begin(*login).await),
        Err(reply) => Ok((State::Authorization, Some(reply))),
    }
}

/// Enters the TRANSACTION state, or stays before it when the maildrop cannot be had.
async fn begin(login: auth::Session) -> (State, Option<Reply>) {
    match Maildrop::open(login).await {
        Ok(maildrop) => {
            let reply = Reply::ok(format!("Welcome: {}", maildrop.summary()));
            (State::Transaction(Box::new(maildrop)), Some(reply))
        }
        Err(error) => (State::Authorization, Some(Reply::from(&error))),
    }
}

/// Carries challenges and responses until the exchange ends.
async fn exchanged(
    pop3: &Pop3,
    wire: &mut Wire,
    exchange: &mut Exchange,
    initial: Option<String>,
) -> Result<Result<Box<auth::Session>, Reply>, ReadError> {
    let mut response = match initial {
        Some(initial) => decode(&initial),
        None => ask(pop3, wire, exchange.invitation()).await?,
    };
    loop {
        let octets = match response {
            Ok(octets) => octets,
            Err(reply) => return Ok(Err(reply)),
        };
        response = match exchange.step(&octets).await {
            Step::Challenge(challenge) => ask(pop3, wire, &challenge).await?,
            Step::Done(login) => return Ok(Ok(login)),
            Step::Denied(denied) => return Ok(Err(Reply::from(&denied))),
            Step::Malformed(why) => return Ok(Err(Reply::err(format!("Cannot read the response: {why}")))),
        };
    }
}

/// Sends a challenge and decodes the answer.
async fn ask(pop3: &Pop3, wire: &mut Wire, challenge: &[u8]) -> Result<Result<Vec<u8>, Reply>, ReadError> {
    wire.fill(|out| out.extend_from_slice(format!("+ {}\r\n", STANDARD.encode(challenge)).as_bytes())).await?;
    let line = match wire.line(session::AUTH, pop3.idle()).await {
        Ok(line) => line,
        Err(ReadError::TooLong) => return Ok(Err(Reply::err("The line of the authentication is too long"))),
        Err(error) => return Err(error),
    };
    if !line.strict {
        return Ok(Err(reply::bare_line()));
    }
    Ok(match std::str::from_utf8(&line.bytes) {
        Ok("*") => Err(Reply::err("Authentication cancelled")),
        Ok(text) => decode(text),
        Err(_) => Err(undecodable()),
    })
}

/// `=` alone is an empty response (RFC 5034 §4).
fn decode(text: &str) -> Result<Vec<u8>, Reply> {
    if text == "=" { Ok(Vec::new()) } else { STANDARD.decode(text).map_err(|_| undecodable()) }
}

fn undecodable() -> Reply {
    Reply::err("The response is not base64")
}
