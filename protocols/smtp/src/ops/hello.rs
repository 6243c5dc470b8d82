//! Greetings, and the commands that only tell something.

use crate::Smtp;
use crate::codec::Command;
use crate::ops::Outcome;
use crate::reply::Reply;
use crate::session::{Client, State, is_lmtp, is_submission};
use protocol::Wire;

/// HELO (RFC 5321 §4.1.1.1).
pub(crate) fn helo(smtp: &Smtp, state: State, name: String) -> Outcome {
    Ok((greeted(state, name, false, false), Reply::new(250, smtp.services.hostname.to_string())))
}

/// EHLO: only what can be used on this connection now is offered.
pub(crate) fn ehlo(smtp: &Smtp, wire: &Wire, state: State, name: String) -> Outcome {
    let state = greeted(state, name, true, is_lmtp(wire));
    let mut text =
        format!("{} at your service\nPIPELINING\nSIZE {}", smtp.services.hostname, smtp.config.max_message.0);
    text.push_str("\n8BITMIME\nBINARYMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\nDSN\nHELP");
    text.push_str(&format!("\nLIMITS RCPTMAX={}", smtp.config.max_recipients));
    if wire.conn.peer().tls.is_some() {
        text.push_str("\nREQUIRETLS");
    }
    if wire.conn.can_start_tls() {
        text.push_str("\nSTARTTLS");
    }
    let mechanisms = smtp.services.auth.mechanisms(wire.conn.peer(), &wire.conn.channel_binding());
    if is_submission(wire) && !mechanisms.is_empty() {
        text.push_str("\nAUTH ");
        text.push_str(&mechanisms.join(" "));
    }
    Ok((state, Reply::new(250, text)))
}

/// A greeting ends a transaction (RFC 5321 §4.1.4), and leaves a log-in as it is.
fn greeted(state: State, name: String, extended: bool, lmtp: bool) -> State {
    let known = state.into_client().map(|client| (client.login, client.listed, client.put_off));
    let (login, listed, put_off) = known.unwrap_or_default();
    State::Greeted(Client { name, extended, lmtp, login, listed, put_off })
}

/// NOOP, HELP, VRFY and EXPN. Who asks whether an address exists learns nothing (RFC 5321 §7.3).
pub(crate) fn told(state: State, command: &Command) -> Outcome {
    let reply = match command {
        Command::Vrfy(_) => Reply::new(252, "2.1.5 Cannot VRFY; send mail and see whether it is taken"),
        Command::Expn(_) => Reply::new(502, "5.5.1 EXPN is not offered"),
        Command::Help => Reply::new(
            214,
            "2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\n2.0.0 See RFC 5321",
        ),
        _ => Reply::new(250, "2.0.0 Ok"),
    };
    Ok((state, reply))
}
