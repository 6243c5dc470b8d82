//! Who is at the two ends of a connection: what its socket says, or the balancer before it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::networks::Networks;
use crate::proxy::{self, Origin, Parsed};

/// How long a balancer has to say whom it speaks for. It knows when it connects, so this is for the network alone.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// The addresses of a connection as its client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client's.
    pub remote: SocketAddr,
    /// Where the client connected to; behind a balancer no address of this host.
    pub local: SocketAddr,
}

impl Ends {
    /// What the socket says, which is the truth where no balancer stands between.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn of(tcp: &TcpStream) -> io::Result<Ends> {
        Ok(Ends { remote: tcp.peer_addr()?, local: tcp.local_addr()? })
    }
}

/// The balancers whose word is taken for who a client is. A reload changes them for the connections to come.
#[derive(Debug, Default)]
pub struct Proxies(RwLock<Networks>);

/// Why a balancer's connection has no known client.
#[derive(Debug, thiserror::Error)]
pub enum Unintroduced {
    /// It was closed before the first byte, as those do that only look whether somebody listens.
    #[error("closed before a PROXY header")]
    Silent,
    /// The header did not come in time.
    #[error("no PROXY header within {} seconds", INTRODUCTION.as_secs())]
    Late,
    /// What came is no header.
    #[error("{0}")]
    Invalid(&'static str),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

impl Proxies {
    /// Those in `networks`.
    pub fn new(networks: Networks) -> Arc<Self> {
        Arc::new(Proxies(RwLock::new(networks)))
    }

    /// Trusts these from now on, and no others.
    pub fn set(&self, networks: Networks) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = networks;
    }

    /// Whether a connection from `address` must begin with a PROXY header; from any other it is never read.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    /// Who is at the ends of a connection that was just accepted: its header is read when it comes from a balancer, and
    /// not a byte more, since what follows belongs to TLS or to the protocol.
    ///
    /// # Errors
    /// See [`Unintroduced`].
    pub async fn ends(&self, tcp: &mut TcpStream) -> Result<Ends, Unintroduced> {
        let ends = Ends::of(tcp)?;
        if !self.trusts(ends.remote.ip()) {
            return Ok(ends);
        }
        let origin = tokio::time::timeout(INTRODUCTION, introduction(tcp)).await.map_err(|_| Unintroduced::Late)??;
        Ok(match origin {
            Origin::Client { source, destination } => Ends { remote: plain(source), local: plain(destination) },
            Origin::Local | Origin::Unknown => ends,
        })
    }
}

/// Reads a header in steps that never pass its end.
async fn introduction(tcp: &mut TcpStream) -> Result<Origin, Unintroduced> {
    let mut header = Vec::new();
    loop {
        let missing = match proxy::parse(&header) {
            Parsed::Complete { origin, .. } => return Ok(origin),
            Parsed::Invalid(why) => return Err(Unintroduced::Invalid(why)),
            Parsed::Incomplete(missing) => missing,
        };
        // However few bytes come at once, each wakes the parser: what can be no header is let go at once.
        let read = (&mut *tcp).take(missing as u64).read_buf(&mut header).await?;
        if read == 0 {
            let what = Unintroduced::Invalid("the connection ended within the PROXY header");
            return Err(if header.is_empty() { Unintroduced::Silent } else { what });
        }
    }
}

/// An IPv4 address that was written as an IPv6 one, as what it is.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) = tokio::join!(TcpStream::connect(socket.local_addr().unwrap()), socket.accept());
        (client.unwrap(), server.unwrap().0)
    }

    fn trusting(text: &str) -> Arc<Proxies> {
        Proxies::new(text.split_whitespace().map(|network| network.parse().unwrap()).collect())
    }

    #[tokio::test]
    async fn a_header_is_read_to_its_end_however_it_comes() {
        let (mut client, mut server) = pair().await;
        let sending = tokio::spawn(async move {
            client.set_nodelay(true).unwrap();
            for byte in b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 7 25\r\nEHLO a\r\n" {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let ends = trusting("127.0.0.0/8").ends(&mut server).await.unwrap();
        assert_eq!(
            (ends.remote.to_string(), ends.local.to_string()),
            ("192.0.2.1:7".into(), "[2001:db8::2]:25".into())
        );
        sending.await.unwrap();
        let mut rest = String::new();
        server.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "EHLO a\r\n");
    }

    #[tokio::test]
    async fn others_may_not_send_one_and_balancers_must() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        assert_eq!(trusting("192.0.2.1").ends(&mut server).await.unwrap(), Ends::of(&server).unwrap());
        assert_eq!(server.read_u8().await.unwrap(), b'P', "it is left to the protocol, which refuses it");

        let (mut client, mut server) = pair().await;
        client.write_all(b"EHLO a\r\n").await.unwrap();
        assert!(matches!(trusting("127.0.0.1").ends(&mut server).await, Err(Unintroduced::Invalid(_))));

        let (client, mut server) = pair().await;
        drop(client);
        assert!(matches!(trusting("127.0.0.1").ends(&mut server).await, Err(Unintroduced::Silent)));
    }
}
