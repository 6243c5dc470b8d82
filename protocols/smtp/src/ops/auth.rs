//! AUTH (RFC 4954): what carries a SASL exchange here.

use auth::{Exchange, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::ReadError;

use crate::Smtp;
use crate::ops::{Outcome, out_of_sequence};
use crate::reply::{self, Reply};
use crate::session::{self, State, is_submission};
use crate::wire::Wire;

/// Logs the client in.
pub(crate) async fn auth(
    smtp: &Smtp,
    wire: &mut Wire,
    state: State,
    mechanism: &str,
    initial: Option<String>,
) -> Outcome {
    let State::Greeted(mut client) = state else { return out_of_sequence(state) };
    let authority = &smtp.services.auth;
    let refused = if !is_submission(wire) {
        Some(Reply::new(502, "5.5.1 AUTH is not offered here: submit mail on the submission port"))
    } else if !authority.cleartext_allowed(wire.conn.peer()) {
        Some(reply::encryption_required())
    } else if client.login.is_some() {
        Some(Reply::new(503, "5.5.1 Already authenticated"))
    } else {
        None
    };
    if let Some(refused) = refused {
        return Ok((State::Greeted(client), refused));
    }
    let binding = wire.conn.channel_binding();
    let Some(mut exchange) = authority.begin(wire.conn.peer(), &binding, mechanism) else {
        let offered = authority.mechanisms(wire.conn.peer(), &binding).join(" ");
        let reply = Reply::new(504, format!("5.5.4 Mechanism not supported; offered: {offered}"));
        return Ok((State::Greeted(client), reply));
    };
    let reply = match exchanged(smtp, wire, &mut exchange, initial).await? {
        Ok(session) => {
            client.login = Some(session.principal);
            Reply::new(235, "2.7.0 Authentication successful")
        }
        Err(reply) => reply,
    };
    Ok((State::Greeted(client), reply))
}

/// Carries challenges and responses until the exchange ends.
async fn exchanged(
    smtp: &Smtp,
    wire: &mut Wire,
    exchange: &mut Exchange,
    initial: Option<String>,
) -> Result<Result<Box<auth::Session>, Reply>, ReadError> {
    let mut response = match initial {
        Some(initial) => decode(&initial),
        None => ask(smtp, wire, exchange.invitation()).await?,
    };
    loop {
        let octets = match response {
            Ok(octets) => octets,
            Err(reply) => return Ok(Err(reply)),
        };
        response = match exchange.step(&octets).await {
            Step::Challenge(challenge) => ask(smtp, wire, &challenge).await?,
            Step::Done(session) => return Ok(Ok(session)),
            Step::Denied(denied) => return Ok(Err(Reply::from(&denied))),
            Step::Malformed(why) => return Ok(Err(Reply::new(501, format!("5.5.2 Cannot read the response: {why}")))),
        };
    }
}

/// Sends a challenge and decodes the answer.
async fn ask(smtp: &Smtp, wire: &mut Wire, challenge: &[u8]) -> Result<Result<Vec<u8>, Reply>, ReadError> {
    wire.put(&Reply::new(334, STANDARD.encode(challenge)));
    wire.flush().await?;
    let line = match wire.line(session::AUTH, smtp.idle()).await {
        Ok(line) => line,
        Err(ReadError::TooLong) => return Ok(Err(Reply::new(500, "5.5.6 Authentication exchange line is too long"))),
        Err(error) => return Err(error),
    };
    if !line.strict {
        return Ok(Err(reply::bare_line()));
    }
    Ok(match std::str::from_utf8(&line.bytes) {
        Ok("*") => Err(Reply::new(501, "5.7.0 Authentication cancelled")),
        Ok(text) => decode(text),
        Err(_) => Err(undecodable()),
    })
}

/// `=` alone is an empty response (RFC 4954 §4).
fn decode(text: &str) -> Result<Vec<u8>, Reply> {
    if text == "=" { Ok(Vec::new()) } else { STANDARD.decode(text).map_err(|_| undecodable()) }
}

fn undecodable() -> Reply {
    Reply::new(501, "5.5.2 Cannot decode the response")
}
