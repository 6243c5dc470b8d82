//! What is offered: CAPA (RFC 2449), and AUTH without a mechanism.

use protocol::Wire;

use crate::Pop3;
use crate::ops::Outcome;
use crate::reply::Reply;
use crate::session::State;

/// Tells what can be used on this connection. What only a log-in needs is told after it too (RFC 2449 §5).
pub(crate) async fn capa(pop3: &Pop3, wire: &mut Wire, state: State) -> Outcome {
    let mut capabilities: Vec<String> = [
        "TOP",
        "UIDL",
        "RESP-CODES",
        "AUTH-RESP-CODE",
        "PIPELINING",
        "EXPIRE NEVER",
        "UTF8 USER",
        "IMPLEMENTATION Wharfinger",
    ]
    .map(str::to_owned)
    .into();
    if matches!(state, State::Authorization | State::Named(_)) && wire.conn.can_start_tls() {
        capabilities.push("STLS".to_owned());
    }
    let mechanisms = offered(pop3, wire);
    if !mechanisms.is_empty() {
        capabilities.push("USER".to_owned());
        capabilities.push(format!("SASL {}", mechanisms.join(" ")));
    }
    list(wire, "Capabilities follow", &capabilities).await?;
    Ok((state, None))
}

/// Lists the mechanisms for clients that ask for them as they did before there was CAPA.
pub(crate) async fn mechanisms(pop3: &Pop3, wire: &mut Wire, state: State) -> Outcome {
    let mechanisms = offered(pop3, wire);
    list(wire, "Mechanisms follow", &mechanisms).await?;
    Ok((state, None))
}

fn offered(pop3: &Pop3, wire: &Wire) -> Vec<&'static str> {
    pop3.services.auth.mechanisms(wire.conn.peer(), &wire.conn.channel_binding())
}

async fn list(wire: &mut Wire, title: &'static str, lines: &[impl AsRef<str>]) -> std::io::Result<()> {
    Reply::ok(title).write(&mut wire.out);
    for line in lines {
        wire.out.extend_from_slice(line.as_ref().as_bytes());
        wire.out.extend_from_slice(b"\r\n");
    }
    wire.out.extend_from_slice(b".\r\n");
    wire.relieve().await
}
