//! Whom mail is from, as far as that can be proved: who may send for a domain (SPF, RFC 7208), signatures (DKIM, RFC
//! 6376), what the author's domain wants done without either (DMARC), and what earlier servers found (ARC, RFC 8617).

pub(crate) mod arc;
pub(crate) mod body;
pub(crate) mod config;
pub(crate) mod dkim;
pub(crate) mod fields;
pub(crate) mod forged;
pub mod key;
pub(crate) mod keys;
mod results;
pub(crate) mod sign;
pub(crate) mod spf;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod verdicts;

pub use config::{Config, Wish};

use std::net::IpAddr;

use crate::dns::Dns;

/// Whether a domain allows a host to send for it (SPF).
pub async fn allows(dns: &Dns, domain: &str, host: IpAddr) -> bool {
    let sender = format!("postmaster@{domain}");
    let question = spf::Question { client: host, helo: domain, sender: &sender, receiver: domain };
    spf::check(dns, &question).await == spf::Outcome::Pass
}
