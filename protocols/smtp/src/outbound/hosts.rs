//! The hosts of a destination, in the order in which they are tried (RFC 5321 §5.1).

use std::net::IpAddr;

use crate::dns::{Dns, Nothing};

/// Why there is no host to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nowhere {
    /// Whether that is so for good.
    pub(super) is_final: bool,
    /// The enhanced status code (RFC 3463).
    pub(super) status: &'static str,
    /// One sentence.
    pub(super) said: String,
}

/// A host that takes mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// By its name.
    Name(String),
    /// By its address, since the recipient's address says it (RFC 5321 §4.1.3).
    Address(IpAddr),
}

/// The hosts of a domain; `own` is what this one is called, and `chance` sorts those of the same preference.
pub(super) async fn hosts(
    dns: &Dns,
    domain: &str,
    own: &str,
    mut chance: impl FnMut() -> u64,
) -> Result<Vec<Host>, Nowhere> {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = literal.strip_prefix("ipv6:").unwrap_or(literal).parse();
        return match address {
            Ok(address) => Ok(vec![Host::Address(address)]),
            Err(_) => Err(nowhere(true, "5.1.2", format!("{domain} is no address of a host"))),
        };
    }
    let mut found = match dns.mx(domain).await {
        Ok(found) => found,
        // A domain without MX is its own host.
        Err(Nothing::Data) => return Ok(vec![Host::Name(domain.to_owned())]),
        Err(Nothing::Name) => return Err(nowhere(true, "5.1.2", format!("the domain {domain} does not exist"))),
        Err(Nothing::Unknown(why)) => {
            return Err(nowhere(false, "4.4.3", format!("the mail hosts of {domain} cannot be looked up: {why}")));
        }
    };
    if let [(_, only)] = &found[..]
        && only.is_empty()
    {
        return Err(nowhere(true, "5.1.10", format!("{domain} takes no mail (null MX)")));
    }
    found.retain(|(_, host)| !host.is_empty());
    // Those that are no better than this host would send it back.
    if let Some(ours) = found.iter().filter(|(_, host)| host.eq_ignore_ascii_case(own)).map(|(rank, _)| *rank).min() {
        found.retain(|(rank, _)| *rank < ours);
        if found.is_empty() {
            return Err(nowhere(true, "5.4.6", format!("mail for {domain} loops back to this server")));
        }
    }
    let mut ranked: Vec<(u16, u64, String)> = found.into_iter().map(|(rank, host)| (rank, chance(), host)).collect();
    ranked.sort();
    Ok(ranked.into_iter().map(|(.., host)| Host::Name(host)).collect())
}

fn nowhere(is_final: bool, status: &'static str, said: String) -> Nowhere {
    Nowhere { is_final, status, said }
}
