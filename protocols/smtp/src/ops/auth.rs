//! AUTH with PLAIN and LOGIN (RFC 4954, RFC 4616).

use auth::{Offer, Secret};
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
    let credentials = match mechanism {
        "PLAIN" => plain(smtp, wire, initial).await?,
        "LOGIN" => login(smtp, wire, initial).await?,
        _ => Err(Reply::new(504, "5.5.4 Mechanism not supported; PLAIN and LOGIN are")),
    };
    let reply = match credentials {
        Err(reply) => reply,
        Ok((name, password)) => match authority.login(wire.conn.peer(), Offer::Password { name, password }).await {
            Ok(session) => {
                client.login = Some(session.principal);
                Reply::new(235, "2.7.0 Authentication successful")
            }
            Err(denied) => Reply::from(&denied),
        },
    };
    Ok((State::Greeted(client), reply))
}

/// What the client offers, or why it cannot be read.
type Credentials = Result<(String, Secret), Reply>;

/// `authzid NUL authcid NUL password` (RFC 4616 §2).
async fn plain(smtp: &Smtp, wire: &mut Wire, initial: Option<String>) -> Result<Credentials, ReadError> {
    let message = match initial {
        Some(initial) => decode(&initial),
        None => ask(smtp, wire, "").await?,
    };
    let message = match message {
        Ok(message) => message,
        Err(reply) => return Ok(Err(reply)),
    };
    let parts: Vec<&str> = message.split('\0').collect();
    Ok(match parts[..] {
        // Nobody acts for another here.
        ["", name, password] => Ok((name.to_owned(), Secret::new(password.to_owned()))),
        [other, name, password] if other == name => Ok((name.to_owned(), Secret::new(password.to_owned()))),
        [_, _, _] => Err(Reply::new(535, "5.7.8 Acting for another account is not supported")),
        _ => Err(undecodable()),
    })
}

/// Name, then password, each asked for (draft-murchison-sasl-login); clients in use still need it.
async fn login(smtp: &Smtp, wire: &mut Wire, initial: Option<String>) -> Result<Credentials, ReadError> {
    let name = match initial {
        Some(initial) => decode(&initial),
        None => ask(smtp, wire, "VXNlcm5hbWU6").await?,
    };
    let name = match name {
        Ok(name) => name,
        Err(reply) => return Ok(Err(reply)),
    };
    Ok(ask(smtp, wire, "UGFzc3dvcmQ6").await?.map(|password| (name, Secret::new(password))))
}

/// Sends a challenge and decodes the answer.
async fn ask(smtp: &Smtp, wire: &mut Wire, challenge: &'static str) -> Result<Result<String, Reply>, ReadError> {
    wire.put(&Reply::new(334, challenge));
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

/// `=` alone is an empty answer (RFC 4954 §4).
fn decode(text: &str) -> Result<String, Reply> {
    let bytes = if text == "=" { Vec::new() } else { STANDARD.decode(text).map_err(|_| undecodable())? };
    String::from_utf8(bytes).map_err(|_| undecodable())
}

fn undecodable() -> Reply {
    Reply::new(501, "5.5.2 Cannot decode the response")
}
