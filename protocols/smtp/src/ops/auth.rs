//! AUTH (RFC 4954): what carries a SASL exchange here.

use protocol::{Carrier, Wire};

use crate::Smtp;
use crate::ops::{Outcome, out_of_sequence};
use crate::reply::{self, Reply};
use crate::session::{State, is_submission};

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
    let Some(exchange) = authority.begin(wire.conn.peer(), &binding, mechanism) else {
        let offered = authority.mechanisms(wire.conn.peer(), &binding).join(" ");
        let reply = Reply::new(504, format!("5.5.4 Mechanism not supported; offered: {offered}"));
        return Ok((State::Greeted(client), reply));
    };
    let carrier = Carrier { prompt: "334 ", strict: true, idle: smtp.idle() };
    let reply = match carrier.run(wire, exchange, initial).await? {
        Ok(session) => {
            wire.conn.admit(session.pass);
            client.login = Some(session.principal);
            Reply::new(235, "2.7.0 Authentication successful")
        }
        Err(broken) => Reply::from(&broken),
    };
    Ok((State::Greeted(client), reply))
}
