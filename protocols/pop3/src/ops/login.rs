//! Logging in: PASS behind USER (RFC 1939 §7), and AUTH, which carries a SASL exchange (RFC 5034).

use auth::{Offer, Secret};
use protocol::{Carrier, Wire};

use crate::Pop3;
use crate::ops::Outcome;
use crate::ops::maildrop::Maildrop;
use crate::reply::Reply;
use crate::session::State;

/// Logs in who gave a name. Whatever comes of it, another log-in begins with USER.
pub(crate) async fn pass(pop3: &Pop3, wire: &mut Wire, name: String, password: String) -> Outcome {
    let offer = Offer::Password { name, password: Secret::new(password) };
    match pop3.services.auth.login(wire.conn.peer(), offer).await {
        Ok(login) => Ok(begin(wire, login).await),
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
    let Some(exchange) = authority.begin(wire.conn.peer(), &binding, mechanism) else {
        let offered = authority.mechanisms(wire.conn.peer(), &binding).join(" ");
        return Ok((state, Some(Reply::err(format!("That mechanism is not offered; these are: {offered}")))));
    };
    let carrier = Carrier { prompt: "+ ", strict: true, idle: pop3.idle() };
    match carrier.run(wire, exchange, initial).await? {
        Ok(login) => Ok(begin(wire, *login).await),
        Err(broken) => Ok((State::Authorization, Some(Reply::from(&broken)))),
    }
}

/// Enters the TRANSACTION state, or stays before it when the maildrop cannot be had.
async fn begin(wire: &mut Wire, login: auth::Session) -> (State, Option<Reply>) {
    let pass = login.pass.clone();
    match Maildrop::open(login).await {
        Ok(maildrop) => {
            let reply = Reply::ok(format!("Welcome: {}", maildrop.summary()));
            wire.conn.admit(pass);
            (State::Transaction(Box::new(maildrop)), Some(reply))
        }
        Err(error) => (State::Authorization, Some(Reply::from(&error))),
    }
}
