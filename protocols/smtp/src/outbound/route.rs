//! Where mail for a destination goes: to the hosts that DNS names, or to the one that the configuration names for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::Outbound;
use super::config::{Route, RouteTls};
use super::dane::Tlsa;
use super::hosts::{self, Host, Hosts};
use super::policy::{self, Case, Level, Plan, Wish};
use super::secure_dns::SecureDns;
use super::sts::Policy;
use super::trouble::Trouble;
use crate::dns::Nothing;

/// The way to a destination.
pub(super) enum Way<'a> {
    /// By DNS.
    Mx(Box<Mx>),
    /// As configured, for messages with that wish.
    Fixed(&'a Route, Wish),
}

/// What DNS and the domain's policy say.
pub(super) struct Mx {
    destination: String,
    hosts: Hosts,
    secure: Option<SecureDns>,
    policy: Option<Arc<Policy>>,
    wish: Wish,
}

/// One host on the way, with how to talk to it.
pub(super) struct Stop {
    /// The host's name, or its address in brackets.
    pub(super) name: String,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) plan: Plan,
}

/// The way of messages with that wish to a destination.
pub(super) async fn way<'a>(outbound: &'a Outbound, destination: &str, wish: Wish) -> Result<Way<'a>, Trouble> {
    let config = &outbound.smtp.config.outbound;
    if let Some(route) = config.route(destination) {
        return Ok(Way::Fixed(route, wish));
    }
    // Nobody asks for proofs where nothing depends on them.
    let secure = if wish.is_careless() { None } else { outbound.secure().await? };
    let hosts = hosts::hosts(outbound, destination, secure.as_ref()).await?;
    let policy = match destination.starts_with('[') || wish.is_careless() {
        true => None,
        false => outbound.policies.of(destination).await.map_err(|error| Trouble::ours("4.3.0", error.to_string()))?,
    };
    Ok(Way::Mx(Box::new(Mx { destination: destination.to_owned(), hosts, secure, policy, wish })))
}

impl Way<'_> {
    /// How many hosts there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Way::Mx(mx) => mx.hosts.hosts.len(),
            Way::Fixed(..) => 1,
        }
    }

    /// The host at that place of the list.
    pub(super) async fn stop(&self, outbound: &Outbound, at: usize) -> Result<Stop, Trouble> {
        match self {
            Way::Mx(mx) => mx.stop(outbound, &mx.hosts.hosts[at]).await,
            Way::Fixed(route, wish) => fixed(outbound, route, *wish).await,
        }
    }
}

impl Mx {
    async fn stop(&self, outbound: &Outbound, host: &Host) -> Result<Stop, Trouble> {
        let port = outbound.smtp.config.outbound.port;
        let (name, addresses, tlsa) = match host {
            Host::Address(address) => (format!("[{address}]"), vec![*address], Ok(None)),
            Host::Name(name) => {
                let (addresses, bases) = self.addresses(outbound, name).await?;
                let tlsa = match &self.secure {
                    Some(secure) => secure.tlsa(&bases, port).await,
                    None => Ok(None),
                };
                (name.clone(), addresses, tlsa)
            }
        };
        let tlsa: Result<Option<&(String, Vec<Tlsa>)>, &str> = match &tlsa {
            Ok(found) => Ok(found.as_ref()),
            Err(why) => Err(why),
        };
        let plan = policy::decide(&Case {
            domain: &self.destination,
            expanded: &self.hosts.expanded,
            host: name.trim_matches(['[', ']']),
            is_proven: self.hosts.is_proven,
            policy: self.policy.as_deref(),
            tlsa,
            wish: self.wish,
        })?;
        let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        Ok(Stop { name, addresses, plan })
    }

    /// The addresses of a host, and the names at which TLSA records of it may stand.
    async fn addresses(&self, outbound: &Outbound, name: &str) -> Result<(Vec<IpAddr>, Vec<String>), Trouble> {
        let found = match &self.secure {
            Some(secure) => secure.addresses(name).await.map(|found| (found.found, found.bases)),
            None => outbound.smtp.dns.addresses(name).await.map(|found| (found, Vec::new())),
        };
        found.map_err(|nothing| match nothing {
            Nothing::Unknown(why) => {
                Trouble::passing("4.4.3", format!("the address of the host {name} cannot be looked up: {why}"))
            }
            // With others beside it, it is only one that is not there.
            _ if self.hosts.hosts.len() == 1 => Trouble::lasting("5.4.4", format!("the host {name} has no address")),
            _ => Trouble::passing("4.4.4", format!("the host {name} has no address")),
        })
    }
}

/// The host of a route. That it cannot be found is the administrator's to mend, and no mail comes back for it.
async fn fixed(outbound: &Outbound, route: &Route, wish: Wish) -> Result<Stop, Trouble> {
    let wrong = |why: String| Trouble::passing("4.3.5", why);
    let (name, port) = route.place().ok_or_else(|| wrong(format!("{} is no host of a route", route.host)))?;
    let addresses = match name.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let found = outbound.smtp.dns.addresses(name).await;
            found.map_err(|_| wrong(format!("the host {name} of a route has no address")))?
        }
    };
    let level = match route.tls {
        // Who requires TLS requires that it is verified (RFC 8689 §4.2.1).
        _ if wish.required => Level::Verified,
        RouteTls::Opportunistic => Level::Opportunistic,
        RouteTls::Required => Level::Encrypted,
        RouteTls::Verified => Level::Verified,
    };
    let plan = Plan { level, server: ServerName::try_from(name.to_owned()).ok(), names: Vec::new() };
    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    Ok(Stop { name: name.to_owned(), addresses, plan })
}
