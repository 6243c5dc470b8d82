//! What DNS says of other servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use mail_auth::MessageAuthenticator;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::filters::dnsbl::Addresses4;
use crate::trust::spf::Lookup;

/// How long one question may take with all its aliases.
pub(crate) const QUESTION: Duration = Duration::from_secs(30);

/// The table `[smtp.dns]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The DNS servers, with their ports; those of the system where none is named.
    pub servers: Vec<SocketAddr>,
    /// How many milliseconds one of them has for an answer before it is asked again.
    pub timeout: u64,
    /// A file with the DNSKEY records that DNSSEC is trusted by, instead of the root's.
    pub trust_anchors: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Config { servers: Vec::new(), timeout: 4000, trust_anchors: None }
    }
}

impl Config {
    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        let sensible = (50..=60_000).contains(&self.timeout);
        (!sensible).then_some("dns.timeout must be 50 to 60000 milliseconds")
    }
}

/// Why DNS gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nothing {
    /// There is no such name.
    Name,
    /// The name has nothing of that kind.
    Data,
    /// Nobody can tell now.
    Unknown(String),
}

/// How the servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// They answer.
    Good,
    /// They say that they cannot: they may only have no network yet.
    Failing,
    /// They say nothing.
    Silent,
}

/// A resolver.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
}

impl Addresses4 for Dns {
    async fn addresses4(&self, name: &str) -> Result<Vec<Ipv4Addr>, Nothing> {
        Lookup::addresses4(self, name.trim_end_matches('.')).await
    }
}

impl Dns {
    /// A resolver.
    ///
    /// # Errors
    /// A sentence, when it cannot be made.
    pub fn new(config: &Config) -> Result<Dns, String> {
        let (servers, mut options) = servers(config);
        options.timeout = Duration::from_millis(config.timeout);
        options.cache_size = 8192;
        options.negative_max_ttl = Some(Duration::from_secs(900));
        let builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        let builder = builder.with_options(options).with_tls_config(no_roots());
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Dns { resolver })
    }

    /// The same resolver, for who judges signatures.
    pub(crate) fn authenticator(&self) -> MessageAuthenticator {
        MessageAuthenticator(self.resolver.clone())
    }

    /// The hosts that take mail for a domain, with their preferences; without a final dot, and empty for the null MX
    /// (RFC 7505).
    pub(crate) async fn mx(&self, domain: &str) -> Result<Vec<(u16, String)>, Nothing> {
        let found = self.ask(self.resolver.mx_lookup(name(domain)?)).await?;
        let mut hosts = Vec::new();
        for record in found.answers() {
            if let RData::MX(mx) = &record.data {
                let host = mx.exchange.to_lowercase().to_ascii();
                hosts.push((mx.preference, host.trim_end_matches('.').to_owned()));
            }
        }
        if hosts.is_empty() { Err(Nothing::Data) } else { Ok(hosts) }
    }

    /// The addresses of a host. That one kind is not known hides that there is none of the other.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Nothing> {
        let name = name(host)?;
        let (four, six) = tokio::join!(
            self.ask(self.resolver.ipv4_lookup(name.clone())),
            self.ask(self.resolver.ipv6_lookup(name.clone()))
        );
        let (mut found, mut nothing) = (Vec::new(), Nothing::Data);
        for answer in [six, four] {
            match answer {
                Ok(lookup) => found.extend(lookup.answers().iter().filter_map(|record| match &record.data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                    _ => None,
                })),
                Err(why @ Nothing::Unknown(_)) => nothing = why,
                Err(Nothing::Name) if nothing == Nothing::Data => nothing = Nothing::Name,
                Err(_) => {}
            }
        }
        if found.is_empty() { Err(nothing) } else { Ok(balanced(found)) }
    }

    /// The values of the records of that type at a name, as they are written in a zone file; TXT without quotes.
    ///
    /// # Errors
    /// Says why there are none.
    pub async fn values(&self, at: &str, kind: &str) -> Result<Vec<String>, Nothing> {
        let kind: RecordType = kind.parse().map_err(|_| Nothing::Data)?;
        let found = self.ask(self.resolver.lookup(name(at)?, kind)).await?;
        let value = |record: &Record| match &record.data {
            RData::TXT(text) => {
                let octets: Vec<u8> = text.txt_data.iter().flat_map(|string| string.iter().copied()).collect();
                String::from_utf8_lossy(&octets).into_owned()
            }
            data => data.to_string().trim_end_matches('.').to_owned(),
        };
        let values = found.answers().iter().filter(|record| record.record_type() == kind);
        let values: Vec<String> = values.map(value).collect();
        if values.is_empty() { Err(Nothing::Data) } else { Ok(values) }
    }

    /// What the servers say when they are asked about a zone.
    pub(crate) async fn health(&self, zone: Name) -> Health {
        match timeout(QUESTION, self.resolver.lookup(zone, RecordType::SOA)).await {
            Ok(Ok(_) | Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => Health::Good,
            Ok(Err(NetError::Dns(_))) => Health::Failing,
            _ => Health::Silent,
        }
    }

    async fn ask<T>(&self, question: impl Future<Output = Result<T, NetError>>) -> Result<T, Nothing> {
        match timeout(QUESTION, question).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(match &error {
                NetError::Dns(DnsError::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
                    Nothing::Name
                }
                NetError::Dns(DnsError::NoRecordsFound(_)) => Nothing::Data,
                error => Nothing::Unknown(error.to_string()),
            }),
            Err(_) => Err(Nothing::Unknown("no answer in time".into())),
        }
    }
}

/// The addresses of both kinds in turn, each kind in its order: many of one that lead nowhere do not keep anybody from
/// those of the other.
pub(crate) fn balanced(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut balanced = Vec::new();
    loop {
        let pair = [six.next(), four.next()];
        if pair == [None, None] {
            return balanced;
        }
        balanced.extend(pair.into_iter().flatten());
    }
}

/// The servers that are asked, and how.
pub(crate) fn servers(config: &Config) -> (ResolverConfig, ResolverOpts) {
    let servers = if config.servers.is_empty() {
        // As the system itself does it, where it is configured for nothing.
        let local = || vec![server(&SocketAddr::from((Ipv4Addr::LOCALHOST, 53)))];
        let system = hickory_resolver::system_conf::read_system_conf();
        system.map_or_else(|_| local(), |(config, _)| config.name_servers().to_vec())
    } else {
        config.servers.iter().map(server).collect()
    };
    let mut options = ResolverOpts::default();
    options.edns0 = true;
    options.use_hosts_file = ResolveHosts::Never;
    (ResolverConfig::from_name_servers(servers), options)
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    (udp.port, tcp.port) = (address.port(), address.port());
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

/// No server is asked by TLS: none of the system's certificates need be read.
pub(crate) fn no_roots() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap_or_else(|_| ClientConfig::builder());
    builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

/// A domain in small letters and ASCII, as it is asked for; `None` for what can be none.
pub(crate) fn domain(text: &str) -> Option<String> {
    let domain = storage::ascii_domain(text.strip_suffix('.').unwrap_or(text));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    (domain.len() <= 253 && domain.split('.').all(label)).then_some(domain)
}

/// A name as it is asked for: whole, without the system's search list.
pub(crate) fn name(text: &str) -> Result<Name, Nothing> {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).map_err(|_| Nothing::Name)
}

impl Lookup for Dns {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Nothing> {
        let found = self.ask(self.resolver.txt_lookup(raw_name(name)?)).await?;
        let texts = found.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.iter().flat_map(|string| string.iter().copied()).collect()),
            _ => None,
        });
        Ok(texts.collect())
    }

    async fn addresses4(&self, name: &str) -> Result<Vec<Ipv4Addr>, Nothing> {
        let found = self.ask(self.resolver.ipv4_lookup(raw_name(name)?)).await?;
        let addresses = found.answers().iter().filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
        Ok(addresses.collect())
    }

    async fn addresses6(&self, name: &str) -> Result<Vec<Ipv6Addr>, Nothing> {
        let found = self.ask(self.resolver.ipv6_lookup(raw_name(name)?)).await?;
        let addresses = found.answers().iter().filter_map(|record| match &record.data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        });
        Ok(addresses.collect())
    }

    async fn exchanges(&self, name: &str) -> Result<Vec<(u16, String)>, Nothing> {
        let found = self.ask(self.resolver.mx_lookup(raw_name(name)?)).await?;
        let exchanges = found.answers().iter().filter_map(|record| match &record.data {
            RData::MX(mx) => Some((mx.preference, text(&mx.exchange)?)),
            _ => None,
        });
        Ok(exchanges.collect())
    }

    async fn names(&self, address: IpAddr) -> Result<Vec<String>, Nothing> {
        let found = self.ask(self.resolver.reverse_lookup(address)).await?;
        let names = found.answers().iter().filter_map(|record| match &record.data {
            RData::PTR(name) => text(&name.0),
            _ => None,
        });
        Ok(names.collect())
    }
}

/// A name as it is asked for, label by label: SPF allows any character in them.
fn raw_name(text: &str) -> Result<Name, Nothing> {
    Name::from_labels(text.split('.').map(str::as_bytes)).map_err(|_| Nothing::Name)
}

/// A name without final dot and without escapes; `None` if text cannot tell its labels.
fn text(name: &Name) -> Option<String> {
    let labels: Option<Vec<&str>> = name.iter().map(|label| std::str::from_utf8(label).ok()).collect();
    labels.filter(|labels| !labels.iter().any(|label| label.contains('.'))).map(|labels| labels.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_addresses_have_their_turn() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let found = balanced(list(&["::1", "::2", "::3", "192.0.2.1"]));
        assert_eq!(found, list(&["::1", "192.0.2.1", "::2", "::3"]));
        assert_eq!(balanced(list(&["192.0.2.2", "192.0.2.1"])), list(&["192.0.2.2", "192.0.2.1"]));
    }
}
