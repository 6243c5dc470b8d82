//! The table `[smtp.outbound]` of the configuration.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use storage::Terms;

use crate::dns;

/// How mail is sent to other servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The port of other servers.
    pub port: u16,
    /// The most connections at once.
    pub connections: u32,
    /// The most connections to one destination at once.
    pub per_destination: u32,
    /// The shortest time between two tries of a message, in seconds.
    pub retry_least: u64,
    /// The longest time between two tries of a message, in seconds.
    pub retry_most: u64,
    /// The longest time that a destination rests that cannot be reached, in seconds.
    pub rest_most: u64,
    /// How long a message is tried, in seconds (RFC 5321 §4.5.4.1 asks for four to five days).
    pub lifetime: u64,
    /// How long a notification is tried, in seconds.
    pub notification_lifetime: u64,
    /// After how many seconds a sender is told that its message is still tried; 0 for never.
    pub warning: u64,
    /// To how many recipients elsewhere an account may send in an hour; 0 is without limit.
    pub hourly: u32,
    /// How many seconds another server has for a connection.
    pub connect_timeout: u64,
    /// How many seconds it has for an answer (RFC 5321 §4.5.3.2 asks for five minutes).
    pub answer_timeout: u64,
    /// How many seconds it has for the answer to a whole message (there it asks for ten).
    pub end_timeout: u64,
    /// Whether certificates are judged by what DNSSEC proves of them (DANE).
    pub dane: Dane,
    /// A PEM file of the certificates that others are verified by; those of the system without one.
    pub roots: Option<PathBuf>,
    /// Whether policies of TLS (MTA-STS) are fetched from private addresses too.
    pub private_policies: bool,
    /// Where mail goes by another way than DNS tells; the first that fits counts.
    pub routes: Vec<Route>,
}

/// Whether DANE is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dane {
    /// Where the DNS servers pass signatures on.
    Auto,
    /// Never.
    Off,
}

/// Where the mail of some domains goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The domains: `example.org`, `*.example.org` for those below it, or `*` for all; in ASCII, as they are compared.
    #[serde(deserialize_with = "patterns")]
    pub domains: Vec<String>,
    /// The host that takes their mail, and its port: `mail.example.net:587`; an IPv6 address stands in brackets.
    pub host: String,
    /// How sure TLS must be.
    #[serde(default = "verified")]
    pub tls: RouteTls,
    /// Whether TLS begins with the first byte, as on port 465.
    #[serde(default)]
    pub implicit: bool,
    /// Whom to log in as; empty for nobody.
    #[serde(default)]
    pub username: String,
    /// With that password.
    #[serde(default)]
    pub password: String,
}

/// How sure TLS with the host of a route must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteTls {
    /// It is used where the host has it.
    Opportunistic,
    /// It must be, with any certificate.
    Required,
    /// The certificate must be the host's.
    Verified,
}

fn verified() -> RouteTls {
    RouteTls::Verified
}

const DAY: u64 = 24 * 3600;

impl Default for Config {
    fn default() -> Self {
        Config {
            port: 25,
            connections: 200,
            per_destination: 20,
            retry_least: 300,
            retry_most: 4000,
            rest_most: 3600,
            lifetime: 5 * DAY,
            notification_lifetime: 2 * DAY,
            warning: 4 * 3600,
            hourly: 500,
            connect_timeout: 30,
            answer_timeout: 300,
            end_timeout: 600,
            dane: Dane::Auto,
            roots: None,
            private_policies: false,
            routes: Vec::new(),
        }
    }
}

impl Config {
    /// What holds for a message that comes now.
    pub(crate) fn terms(&self, notification: bool) -> Terms {
        let lifetime = if notification { self.notification_lifetime } else { self.lifetime };
        let warning = Some(self.warning).filter(|warning| *warning > 0 && !notification);
        Terms {
            lifetime: Duration::from_secs(lifetime),
            warning: warning.map(Duration::from_secs),
            hourly: Some(self.hourly).filter(|hourly| *hourly > 0),
        }
    }

    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        let times = [self.retry_least, self.retry_most, self.rest_most, self.lifetime, self.notification_lifetime];
        let waits = [self.connect_timeout, self.answer_timeout, self.end_timeout];
        if self.port == 0 {
            Some("outbound.port must be one at least")
        } else if self.connections == 0 || self.per_destination == 0 {
            Some("outbound.connections and outbound.per_destination must be one at least")
        } else if times.iter().any(|time| *time == 0 || *time > 365 * DAY) || self.warning > 365 * DAY {
            Some("the times of outbound must be a second at least and a year at most")
        } else if self.retry_least > self.retry_most {
            Some("outbound.retry_least must not be more than outbound.retry_most")
        } else if waits.iter().any(|wait| !(1..=600).contains(wait)) {
            Some("outbound.connect_timeout, answer_timeout and end_timeout must be 1 to 600 seconds")
        } else if self.routes.iter().any(|route| route.place().is_none()) {
            Some("the host of outbound.routes must be a name or an address with a port, like \"mail.example.net:587\"")
        } else if self.has_a_host_twice() {
            Some("outbound.routes has a host twice: one route names all domains whose mail it takes")
        } else if self.routes.iter().any(|route| !route.has_domains()) {
            Some("the domains of outbound.routes must be names like \"example.org\", \"*.example.org\" or \"*\"")
        } else if self.routes.iter().any(|route| !route.username.is_empty() && route.tls == RouteTls::Opportunistic) {
            Some("outbound.routes with a username need tls = \"verified\" or \"required\"")
        } else {
            None
        }
    }

    /// Whether two routes lead to one host: what goes there goes together.
    fn has_a_host_twice(&self) -> bool {
        let places: Vec<_> = self.routes.iter().map(|route| route.host.to_ascii_lowercase()).collect();
        places.iter().enumerate().any(|(at, place)| places[..at].contains(place))
    }

    /// The route for a domain in small letters, where one is configured.
    pub(super) fn route(&self, domain: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.domains.iter().any(|pattern| fits(pattern, domain)))
    }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::deserialize(deserializer)?.into_iter().map(in_ascii).collect())
}

/// A pattern as it is compared, once for all destinations; as it is, where it can be none.
fn in_ascii(pattern: String) -> String {
    match pattern.strip_prefix("*.") {
        Some(parent) => dns::domain(parent).map(|parent| format!("*.{parent}")),
        None => dns::domain(&pattern),
    }
    .unwrap_or(pattern)
}

fn fits(pattern: &str, domain: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => domain.strip_suffix(parent).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
        None => pattern == "*" || pattern == domain,
    }
}

impl Route {
    /// The host's name or address, and its port.
    pub(super) fn place(&self) -> Option<(&str, u16)> {
        let (host, port) = self.host.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok().then_some((address, port)),
            None => dns::domain(host).is_some().then_some((host, port)),
        }
    }

    /// Whether its domains are such, and there are any.
    fn has_domains(&self) -> bool {
        let is_domain = |name: &String| name == "*" || dns::domain(name.strip_prefix("*.").unwrap_or(name)).is_some();
        !self.domains.is_empty() && self.domains.iter().all(is_domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_route_that_fits_counts() {
        let route = |domains: &[&str], host: &str| Route {
            domains: domains.iter().map(|domain| in_ascii((*domain).to_owned())).collect(),
            host: host.to_owned(),
            tls: RouteTls::Verified,
            implicit: false,
            username: String::new(),
            password: String::new(),
        };
        let routes = vec![route(&["a.example", "*.A.example"], "one:25"), route(&["*"], "[::1]:26")];
        let config = Config { routes, ..Config::default() };
        let place = |domain| config.route(domain).and_then(Route::place);
        assert_eq!(place("a.example"), Some(("one", 25)));
        assert_eq!(place("b.a.example"), Some(("one", 25)));
        assert_eq!(place("ba.example"), Some(("::1", 26)));
        assert_eq!(config.wrong(), None);
        let config = Config { routes: vec![route(&["m\u{fc}ller.example"], "one:25")], ..Config::default() };
        assert!(config.route("xn--mller-kva.example").is_some() && config.wrong().is_none());
        let routes = vec![route(&["a.example."], "one:25"), route(&["*"], "ONE:25")];
        assert!(Config { routes: routes.clone(), ..Config::default() }.wrong().is_some(), "a host twice");
        let config = Config { routes: routes[..1].to_vec(), ..Config::default() };
        assert!(config.wrong().is_none() && config.route("a.example").is_some());
        for (domains, host) in [
            (&["*"][..], "one"),
            (&["*"], "https://one:25"),
            (&["*"], "::1:25"),
            (&["*"], "one:0"),
            (&[], "one:25"),
            (&["*example.org"], "one:25"),
            (&["example .org"], "one:25"),
            (&["*"], "o ne:25"),
            (&["@example.org"], "one:25"),
        ] {
            let config = Config { routes: vec![route(domains, host)], ..Config::default() };
            assert!(config.wrong().is_some(), "{domains:?} {host}");
        }
    }
}
