//! DNS with proofs (RFC 4033), for DANE: which hosts take mail, where they are, and what certificates they have
//! (RFC 7672 §2). It validates itself, so the servers that it asks need not be trusted, only pass signatures on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError, RetryDnsHandle};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::time::timeout;

use super::dane::Tlsa;
use super::scrub::Scrubbed;
use crate::dns::{Config, Nothing, QUESTION, balanced, name, no_roots, servers};

/// How many aliases are followed.
const ALIASES: usize = 8;
/// How often the probe asks before it says that there are no signatures.
const PROBES: usize = 3;

/// The mail hosts of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    /// The hosts with their preferences, without a final dot; one empty name for the null MX (RFC 7505).
    pub(crate) hosts: Vec<(u16, String)>,
    /// Whether they are proven, with all aliases that lead to them.
    pub(crate) secure: bool,
    /// What the domain is an alias of in the end, or the domain.
    pub(crate) domain: String,
}

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Its addresses.
    pub(crate) found: Vec<IpAddr>,
    /// The names at which its TLSA records may stand, the better one first (RFC 7672 §2.2.3). Where there are none, the
    /// host is in no signed zone, and TLSA records must not be asked for: servers of such zones may not even answer.
    pub(crate) bases: Vec<String>,
}

/// A resolver that proves what it finds.
#[derive(Clone)]
pub(crate) struct SecureDns {
    handle: DnssecDnsHandle<Scrubbed<RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>>>,
    /// The zone of which the key is known beforehand.
    top: Name,
}

impl SecureDns {
    /// One that trusts the keys in the file of the configuration, or those of the root.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn new(config: &Config) -> Result<SecureDns, String> {
        let (servers, mut options) = servers(config);
        options.timeout = Duration::from_millis(config.timeout);
        let (mut top, mut anchors) = (Name::root(), TrustAnchors::default());
        if let Some(path) = &config.trust_anchors {
            let wrong = |why: String| format!("the trust anchor {} cannot be read: {why}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            let mut lines = text.lines().filter(|line| !line.starts_with(';'));
            let owner = lines.find_map(|line| line.split_whitespace().next());
            let owner = owner.ok_or_else(|| wrong("it holds no DNSKEY record".into()))?;
            top = Name::from_ascii(owner).map_err(|error| wrong(error.to_string()))?;
            anchors = text.parse().map_err(|error| wrong(format!("{error}")))?;
        }
        let context = Arc::new(PoolContext::new(options, TlsConfig { config: no_roots() }));
        let pool = NameServerPool::from_config(servers.into_parts().2, context, TokioRuntimeProvider::default());
        let handle = DnssecDnsHandle::with_trust_anchor(Scrubbed(RetryDnsHandle::new(pool, 1)), Arc::new(anchors));
        Ok(SecureDns { handle, top })
    }

    /// The zone of which the key is known beforehand.
    pub(crate) fn top(&self) -> Name {
        self.top.clone()
    }

    /// Whether the servers pass signatures on. Where they do not, all signed zones look forged, and DANE is better off.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let mut why = String::new();
        for _ in 0..PROBES {
            match self.ask(self.top.clone(), RecordType::SOA).await {
                Ok(answer) if answer.secure => return Ok(()),
                Ok(_) => why = "they give the zone without signatures".into(),
                Err(Nothing::Unknown(said)) => why = said,
                Err(_) => why = "there is no such zone".into(),
            }
        }
        Err(format!("the DNS servers prove nothing of the zone {}: {why}", self.top))
    }

    /// The hosts that take mail for a domain. That there are none is `Nothing::Data`, proven or not: then the domain is
    /// its own host, by its own name.
    pub(crate) async fn mx(&self, domain: &str) -> Result<Mail, Nothing> {
        let answer = self.ask(name(domain)?, RecordType::MX).await?;
        let hosts = answer.data.iter().filter_map(|data| match data {
            RData::MX(mx) => Some((mx.preference, text(&mx.exchange))),
            _ => None,
        });
        Ok(Mail { hosts: hosts.collect(), secure: answer.secure, domain: text(&answer.owner) })
    }

    /// The addresses of a host. That one kind is not known hides that there is none of the other.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Addresses, Nothing> {
        let name = name(host)?;
        let (four, six) = tokio::join!(self.ask(name.clone(), RecordType::A), self.ask(name.clone(), RecordType::AAAA));
        let (mut found, mut bases, mut nothing) = (Vec::new(), Vec::new(), Nothing::Data);
        for answer in [six, four] {
            match answer {
                Ok(answer) => {
                    found.extend(answer.data.iter().filter_map(|data| match data {
                        RData::A(address) => Some(IpAddr::V4(address.0)),
                        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                        _ => None,
                    }));
                    // The name itself where its zone is signed; before it what it is an alias of, where all on the way
                    // there is. Never a name between (RFC 7672 §2.2.3).
                    let of_answer = match (answer.secure, answer.begins_secure) {
                        (true, _) if answer.owner != name => vec![text(&answer.owner), text(&name)],
                        (true, _) | (false, true) => vec![text(&name)],
                        (false, false) => vec![],
                    };
                    if of_answer.len() > bases.len() {
                        bases = of_answer;
                    }
                }
                Err(why @ Nothing::Unknown(_)) => nothing = why,
                Err(Nothing::Name) if nothing == Nothing::Data => nothing = Nothing::Name,
                Err(_) => {}
            }
        }
        if found.is_empty() { Err(nothing) } else { Ok(Addresses { found: balanced(found), bases }) }
    }

    /// The proven TLSA records for a host, by the names at which they may stand, and the one at which they do: the base
    /// domain, which is what the server is called in TLS. `None` where there are none, or none that are proven.
    ///
    /// # Errors
    /// A sentence, where that cannot be known: then nothing may be sent to the host (RFC 7672 §2.1.2).
    pub(crate) async fn tlsa(&self, bases: &[String], port: u16) -> Result<Option<(String, Vec<Tlsa>)>, String> {
        for base in bases {
            let Ok(owner) = name(&format!("_{port}._tcp.{base}")) else { continue };
            match self.ask(owner.clone(), RecordType::TLSA).await {
                Ok(answer) if answer.secure => {
                    let records = answer.data.iter().filter_map(|data| match data {
                        RData::TLSA(record) => Some(Tlsa::from(record)),
                        _ => None,
                    });
                    return Ok(Some((base.clone(), records.collect())));
                }
                // What is not proven, or not there, is no error (RFC 7672 §2.1.1).
                Ok(_) | Err(Nothing::Name | Nothing::Data) => {}
                Err(Nothing::Unknown(why)) => return Err(format!("{}: {why}", text(&owner))),
            }
        }
        Ok(None)
    }

    async fn ask(&self, name: Name, kind: RecordType) -> Result<Answer, Nothing> {
        if is_local(&name) {
            return Err(Nothing::Name);
        }
        let late = |_| Err(Nothing::Unknown("no answer in time".into()));
        timeout(QUESTION, self.chase(name, kind)).await.unwrap_or_else(late)
    }

    /// Asks, and goes along the aliases.
    async fn chase(&self, name: Name, kind: RecordType) -> Result<Answer, Nothing> {
        let mut answer = Answer { data: Vec::new(), owner: name, secure: true, begins_secure: false };
        for hop in 0..=ALIASES {
            let records = self.lookup(answer.owner.clone(), kind).await?;
            let is_proven = records.iter().all(|record| record.proof == Proof::Secure);
            answer.secure &= is_proven;
            answer.begins_secure |= hop == 0 && is_proven;
            let (data, aliases): (Vec<_>, Vec<_>) =
                records.into_iter().map(|record| record.data).partition(|data| data.record_type() == kind);
            match &aliases[..] {
                _ if !data.is_empty() => return Ok(Answer { data, ..answer }),
                [RData::CNAME(target)] => answer.owner = target.0.clone(),
                _ => break,
            }
        }
        Err(Nothing::Unknown(format!("the aliases of {} lead nowhere", text(&answer.owner))))
    }

    /// The records at a name of that kind, or its alias; none of them forged, and at least one.
    async fn lookup(&self, name: Name, kind: RecordType) -> Result<Vec<Record>, Nothing> {
        let question = self.handle.lookup(Query::query(name, kind), DnsRequestOptions::default());
        let response = question.first_answer().await.map_err(|error| nothing(&error))?;
        let is_wanted = |record: &&Record| [kind, RecordType::CNAME].contains(&record.record_type());
        let records: Vec<Record> = response.answers.iter().filter(is_wanted).cloned().collect();
        if !records.iter().all(|record| matches!(record.proof, Proof::Secure | Proof::Insecure)) {
            return Err(forged());
        }
        match response.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain if !records.is_empty() => Ok(records),
            // That there is nothing was proven, or is of a zone without proofs.
            ResponseCode::NoError => Err(Nothing::Data),
            ResponseCode::NXDomain => Err(Nothing::Name),
            code => Err(Nothing::Unknown(code.to_string())),
        }
    }
}

/// The records of a kind at a name, or at what it is an alias of.
struct Answer {
    data: Vec<RData>,
    /// Where they stand.
    owner: Name,
    /// Whether they and all aliases are proven.
    secure: bool,
    /// Whether the first of the aliases is, or the records where there is none.
    begins_secure: bool,
}

/// What it means that there is no answer.
fn nothing(error: &NetError) -> Nothing {
    match error {
        // A denial that costs too much to prove counts as not proven (RFC 9276 §3.2).
        NetError::Dns(DnsError::Nsec { response, proof: Proof::Insecure, .. }) => match response.response_code {
            ResponseCode::NXDomain => Nothing::Name,
            _ => Nothing::Data,
        },
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => forged(),
        error => Nothing::Unknown(error.to_string()),
    }
}

/// Whether the name is none of the public DNS (RFC 6761 §6.3, §6.4, RFC 7686 §2): servers say so without any proof.
fn is_local(name: &Name) -> bool {
    let last = name.iter().next_back().unwrap_or_default().to_ascii_lowercase();
    [&b"localhost"[..], b"invalid", b"onion"].contains(&last.as_slice())
}

fn forged() -> Nothing {
    Nothing::Unknown("the answer is forged, or its signatures do not hold (DNSSEC)".into())
}

/// A name without its final dot.
fn text(name: &Name) -> String {
    name.to_lowercase().to_ascii().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;

    /// With no server to ask.
    fn deaf(anchors: Option<&Path>) -> Result<SecureDns, String> {
        let servers = vec![SocketAddr::from(([127, 0, 0, 1], 1))];
        SecureDns::new(&Config { servers, timeout: 50, trust_anchors: anchors.map(Path::to_owned) })
    }

    #[tokio::test]
    async fn nobody_is_asked_for_names_that_are_none() {
        let dns = deaf(None).unwrap();
        for name in ["a.invalid", "invalid", "A.Onion", "localhost"] {
            assert_eq!(dns.mx(name).await, Err(Nothing::Name), "{name}");
            assert_eq!(dns.addresses(name).await, Err(Nothing::Name), "{name}");
        }
        assert!(matches!(dns.mx("invalid.example").await, Err(Nothing::Unknown(_))));
    }

    #[test]
    fn an_anchor_that_holds_no_key_is_refused() {
        let path = std::env::temp_dir().join(format!("wharfinger-anchor-{}", std::process::id()));
        let new = |text: &str| {
            std::fs::write(&path, text).unwrap();
            deaf(Some(&path)).map(|dns| dns.top.to_ascii())
        };
        let key = "257 3 13 vM4xozmHkI1x8A5Gkdbw5MAVU6Mu3eOQ+eJdM5vMHQ/gqdzNmfvUx/65qjopUaydQFDhHo8hfrv4JHEgh9CJsA==";
        assert_eq!(new(&format!("; ours\nexample. 300 IN DNSKEY {key}\n")).as_deref(), Ok("example."));
        for wrong in ["", "; nothing\n", "example. 300 IN DS 1 13 2 00\n", "example. 300 IN DNSKEY\n"] {
            let why = new(wrong).unwrap_err();
            assert!(why.contains(path.to_str().unwrap()), "{why}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(deaf(Some(&path)).is_err());
        assert_eq!(deaf(None).map(|dns| dns.top.is_root()), Ok(true));
    }
}
