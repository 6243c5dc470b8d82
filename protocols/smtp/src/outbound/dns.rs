//! Where mail for a domain goes (RFC 5321 §5.1).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData};
use tokio::time::timeout;

/// How long one question may take with all its aliases.
const QUESTION: Duration = Duration::from_secs(30);

/// Why DNS gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// There is no such name.
    Name,
    /// The name has nothing of that kind.
    Data,
    /// Nobody can tell now.
    Unknown(String),
}

/// A resolver.
#[derive(Clone)]
pub(crate) struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// One that asks these servers; those of the system for none.
    ///
    /// # Errors
    /// A sentence, when the system's configuration cannot be read.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Dns, String> {
        let (config, mut options) = if servers.is_empty() {
            hickory_resolver::system_conf::read_system_conf().map_err(|error| {
                format!("the system's DNS servers are not known: {error}; name them in [dns] servers")
            })?
        } else {
            let server = |address: &SocketAddr| {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                (udp.port, tcp.port) = (address.port(), address.port());
                NameServerConfig::new(address.ip(), true, vec![udp, tcp])
            };
            (ResolverConfig::from_name_servers(servers.iter().map(server).collect()), ResolverOpts::default())
        };
        options.timeout = Duration::from_secs(4);
        options.edns0 = true;
        options.cache_size = 8192;
        options.negative_max_ttl = Some(Duration::from_secs(900));
        options.use_hosts_file = ResolveHosts::Never;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|error| error.to_string())?;
        Ok(Dns { resolver })
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
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Nothing> {
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
        if found.is_empty() { Err(nothing) } else { Ok(found) }
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

/// A name as it is asked for: whole, without the system's search list.
fn name(text: &str) -> Result<Name, Nothing> {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).map_err(|_| Nothing::Name)
}
