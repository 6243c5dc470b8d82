//! The hosts of a destination, in the order in which they are tried (RFC 5321 §5.1).

use std::net::IpAddr;

use super::secure_dns::SecureDns;
use super::trouble::Trouble;
use super::{Outbound, chance};
use crate::dns::Nothing;

/// The most hosts of a destination that are tried.
const MOST: usize = 10;

/// The hosts of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hosts {
    /// The best first.
    pub(super) hosts: Vec<Host>,
    /// Whether DNSSEC proves that they are its hosts, or nobody had to be asked.
    pub(super) is_proven: bool,
    /// What the domain is an alias of in the end, or the domain.
    pub(super) expanded: String,
}

/// A host that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// By its name.
    Name(String),
    /// By its address, since the recipient's address says it (RFC 5321 §4.1.3).
    Address(IpAddr),
}

/// The hosts of a domain, or of an address literal.
pub(super) async fn hosts(outbound: &Outbound, domain: &str, secure: Option<&SecureDns>) -> Result<Hosts, Trouble> {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = literal.strip_prefix("ipv6:").unwrap_or(literal).parse();
        let address = address.map_err(|_| Trouble::lasting("5.1.2", format!("{domain} is no address of a host")))?;
        return Ok(Hosts { hosts: vec![Host::Address(address)], is_proven: true, expanded: domain.to_owned() });
    }
    let found = match secure {
        Some(secure) => secure.mx(domain).await.map(|mail| (mail.hosts, mail.secure, mail.domain)),
        None => outbound.smtp.dns.mx(domain).await.map(|hosts| (hosts, false, domain.to_owned())),
    };
    match found {
        Ok((found, is_proven, expanded)) => {
            let hosts = ranked(domain, found, &outbound.smtp.services.hostname, chance)?;
            Ok(Hosts { hosts, is_proven, expanded })
        }
        // A domain without MX is its own host.
        Err(Nothing::Data) => {
            let (hosts, expanded) = (vec![Host::Name(domain.to_owned())], domain.to_owned());
            Ok(Hosts { hosts, is_proven: true, expanded })
        }
        Err(Nothing::Name) => Err(Trouble::lasting("5.1.2", format!("the domain {domain} does not exist"))),
        Err(Nothing::Unknown(why)) => {
            Err(Trouble::passing("4.4.3", format!("the mail hosts of {domain} cannot be looked up: {why}")))
        }
    }
}

/// The hosts in their order; `own` is what this one is called, and `chance` sorts those of the same preference.
fn ranked(
    domain: &str,
    mut found: Vec<(u16, String)>,
    own: &str,
    mut chance: impl FnMut() -> u64,
) -> Result<Vec<Host>, Trouble> {
    if let [(_, only)] = &found[..]
        && only.is_empty()
    {
        return Err(Trouble::lasting("5.1.10", format!("{domain} takes no mail (null MX)")));
    }
    found.retain(|(_, host)| !host.is_empty());
    // Those that are no better than this host would send it back.
    if let Some(ours) = found.iter().filter(|(_, host)| host.eq_ignore_ascii_case(own)).map(|(rank, _)| *rank).min() {
        found.retain(|(rank, _)| *rank < ours);
        if found.is_empty() {
            return Err(Trouble::lasting("5.4.6", format!("mail for {domain} loops back to this server")));
        }
    }
    let mut ranked: Vec<(u16, u64, String)> = found.into_iter().map(|(rank, host)| (rank, chance(), host)).collect();
    ranked.sort();
    Ok(ranked.into_iter().take(MOST).map(|(.., host)| Host::Name(host)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(found: &[(u16, &str)]) -> Result<Vec<String>, String> {
        let found = found.iter().map(|(rank, host)| (*rank, (*host).to_owned())).collect();
        let ranked = ranked("a.example", found, "own.example", || 0).map_err(|trouble| trouble.status)?;
        Ok(ranked
            .into_iter()
            .map(|host| format!("{host:?}").split('"').nth(1).unwrap_or_default().to_owned())
            .collect())
    }

    #[test]
    fn hosts_are_tried_by_preference_and_never_this_one_or_a_worse_one() {
        assert_eq!(ranks(&[(20, "b"), (10, "a"), (20, "c")]).unwrap(), ["a", "b", "c"]);
        assert_eq!(ranks(&[(20, "OWN.example"), (10, "a"), (20, "b"), (30, "c")]).unwrap(), ["a"]);
        assert_eq!(ranks(&[(10, "own.example"), (20, "b")]).unwrap_err(), "5.4.6");
    }

    #[test]
    fn so_many_hosts_are_tried_and_no_more() {
        let many: Vec<String> = (0..MOST + 5).map(|number| format!("mx{number:02}")).collect();
        let found: Vec<(u16, &str)> = many.iter().zip(1..).map(|(name, rank)| (rank, name.as_str())).collect();
        assert_eq!(ranks(&found).unwrap(), many[..MOST]);
    }

    #[test]
    fn the_null_mx_counts_alone() {
        assert_eq!(ranks(&[(0, "")]).unwrap_err(), "5.1.10");
        assert_eq!(ranks(&[(0, ""), (10, "a")]).unwrap(), ["a"]);
    }
}
