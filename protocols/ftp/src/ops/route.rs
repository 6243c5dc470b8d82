//! How the next data connection opens: PASV, EPSV, PORT, EPRT.

use std::net::{IpAddr, SocketAddr};

use crate::codec::{self, BadEprt, Epsv};
use crate::reply::Reply;
use crate::session::{Route, Session};

pub(crate) async fn run(session: &mut Session, verb: &str, argument: &str) -> Reply {
    if session.only_epsv && verb != "EPSV" {
        return Reply::new(503, "After EPSV ALL only EPSV is taken.");
    }
    // A new route takes the place of one that was never used.
    session.route = None;
    let result = match verb {
        "PASV" => passive(session),
        "EPSV" => extended_passive(session, argument),
        "PORT" => active(session, codec::parse_port(argument)).await,
        _ => match codec::parse_eprt(argument) {
            Ok(target) => active(session, Some(target)).await,
            Err(BadEprt::Syntax) => active(session, None).await,
            Err(BadEprt::Family) => Err(Reply::new(522, "Network protocol not supported, use (1,2)")),
        },
    };
    result.unwrap_or_else(|reply| reply)
}

fn passive(session: &mut Session) -> Result<Reply, Reply> {
    let local = session.conn.peer().local.ip().to_canonical();
    let told = match (session.ftp.config.translated(), local) {
        (Some(told), _) => told,
        (None, IpAddr::V4(local)) => local,
        (None, IpAddr::V6(_)) => return Err(Reply::new(425, "PASV has no room for IPv6; use EPSV.")),
    };
    let address = open(session)?;
    Ok(Reply::new(227, format!("Entering Passive Mode ({}).", codec::render_port(told, address.port()))))
}

fn extended_passive(session: &mut Session, argument: &str) -> Result<Reply, Reply> {
    let family = if session.conn.peer().local.ip().to_canonical().is_ipv4() { 1 } else { 2 };
    match codec::parse_epsv(argument) {
        Some(Epsv::All) => {
            session.only_epsv = true;
            Ok(Reply::new(200, "EPSV alone from now on."))
        }
        Some(Epsv::Family(asked)) if asked != family => {
            Err(Reply::new(522, format!("Network protocol not supported, use ({family})")))
        }
        Some(Epsv::Any | Epsv::Family(_)) => {
            let address = open(session)?;
            Ok(Reply::new(229, format!("Entering Extended Passive Mode (|||{}|)", address.port())))
        }
        None => Err(Reply::new(501, "EPSV takes nothing, 1, 2 or ALL.")),
    }
}

fn open(session: &mut Session) -> Result<SocketAddr, Reply> {
    let passive = session.conn.data_side().passive().map_err(|error| {
        tracing::warn!(%error, "no passive port");
        Reply::new(425, "No port is free for a data connection; try again.")
    })?;
    let address = passive.address();
    session.route = Some(Route::Passive(passive));
    Ok(address)
}

async fn active(session: &mut Session, target: Option<SocketAddr>) -> Result<Reply, Reply> {
    let target = target.ok_or_else(|| Reply::new(501, "That is not an address and port."))?;
    let client = session.conn.peer().remote.ip().to_canonical();
    if target.ip().to_canonical() != client || target.port() < 1024 {
        // The bounce attack (RFC 2577 §3): a server must not be sent to talk to others.
        let who = session.user().ok().map(|user| user.login.principal.clone());
        let (auth, peer) = (&session.ftp.services.auth, session.conn.peer());
        auth.refusal(peer, who.as_ref(), "ftp.port", &target.to_string(), "not the client's own address").await;
        return Err(Reply::new(501, "Data goes to your own address alone, and to a port above 1023."));
    }
    // The client's address is the one it has on the control connection, whatever its family's spelling.
    session.route = Some(Route::Active(SocketAddr::new(session.conn.peer().remote.ip(), target.port())));
    Ok(Reply::new(200, "Data will go there."))
}
