//! check_host() (RFC 7208 §4), and the mechanisms and modifiers it comes upon.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use super::Lookup;
use super::macros::{MacroString, NAME, Values};
use super::record::{Mechanism, Prefix, Qualifier, Record};
use crate::dns::Nothing;

/// How many terms may ask DNS, over all records of a check (§4.6.4).
const TERMS: usize = 10;
/// How many of them may find nothing (§4.6.4).
const VOIDS: usize = 2;
/// How many hosts a domain may have for `mx`, and how many names of the client are looked at (§4.6.4).
const NAMES: usize = 10;
/// How long the names of the client may take: less than the check.
const REVERSE: Duration = Duration::from_secs(8);

/// What all records of a check have in common.
pub(super) struct Evaluation<'a, L> {
    dns: &'a L,
    /// Never one of version 4 in the clothes of version 6 (§5).
    client: IpAddr,
    local: &'a str,
    origin: &'a str,
    helo: &'a str,
    receiver: &'a str,
    terms: usize,
    voids: usize,
    /// The validated names of the client, once somebody asked for them.
    validated: Option<Vec<String>>,
}

/// What a record says.
pub(super) struct Verdict {
    /// That of the directive that matched.
    pub(super) qualifier: Qualifier,
    /// The record's domain.
    domain: String,
    /// Where the record's explanation is.
    explanation: Option<MacroString>,
}

/// Why a record says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// There is none.
    None,
    /// Nobody can tell now.
    TempError,
    /// It is wrong.
    PermError,
}

impl<'a, L: Lookup> Evaluation<'a, L> {
    /// For one client and one sender.
    pub(super) fn new(
        dns: &'a L,
        client: IpAddr,
        (local, origin): (&'a str, &'a str),
        helo: &'a str,
        receiver: &'a str,
    ) -> Evaluation<'a, L> {
        let client = client.to_canonical();
        Evaluation { dns, client, local, origin, helo, receiver, terms: 0, voids: 0, validated: None }
    }

    /// What the record of a domain says, or that to which it redirects. Boxed, because records include records; as
    /// each takes one of the ten terms, they cannot nest deeper.
    pub(super) fn check_host<'b>(
        &'b mut self,
        mut domain: String,
    ) -> Pin<Box<dyn Future<Output = Result<Verdict, Stop>> + Send + 'b>> {
        Box::pin(async move {
            let mut record = self.record(&domain).await?;
            loop {
                for directive in &record.directives {
                    if self.matches(&directive.mechanism, &domain).await? {
                        let qualifier = directive.qualifier;
                        return Ok(Verdict { qualifier, domain, explanation: record.explanation });
                    }
                }
                // The default (§4.7).
                let Some(redirect) = &record.redirect else {
                    return Ok(Verdict { qualifier: Qualifier::Neutral, domain, explanation: None });
                };
                self.count()?;
                domain = self.target(Some(redirect), &domain).await.ok_or(Stop::PermError)?;
                record = self.record(&domain).await.map_err(Stop::of_another)?;
            }
        })
    }

    /// What the domain says about a fail (§6.2); nothing, if anything is wrong with it.
    pub(super) async fn explain(&mut self, verdict: &Verdict) -> Option<String> {
        let name = self.target(Some(verdict.explanation.as_ref()?), &verdict.domain).await?;
        let records = self.dns.txt(&name).await.ok()?;
        let [record] = &records[..] else { return None };
        let text = MacroString::explanation(std::str::from_utf8(record).ok()?)?;
        let validated = self.validated_for(&text, &verdict.domain).await;
        text.text(&self.values(&verdict.domain, &validated))
    }

    /// The one record of a domain (§4.3 to §4.6).
    async fn record(&self, domain: &str) -> Result<Record, Stop> {
        if !is_name(domain) || !domain.contains('.') {
            return Err(Stop::None);
        }
        let texts = match self.dns.txt(domain).await {
            Ok(texts) => texts,
            Err(Nothing::Name | Nothing::Data) => return Err(Stop::None),
            Err(Nothing::Unknown(_)) => return Err(Stop::TempError),
        };
        let mut records = texts.iter().filter(|text| Record::is_one(text));
        match (records.next(), records.next()) {
            (None, _) => Err(Stop::None),
            (Some(text), None) => Record::parse(text).ok_or(Stop::PermError),
            (Some(_), Some(_)) => Err(Stop::PermError),
        }
    }

    /// Whether the client is what a mechanism of a domain's record describes (§5). A name that DNS cannot hold is
    /// nobody's, and a record that is wanted there is missing (§4.8 leaves it open).
    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        let spec = match mechanism {
            Mechanism::All => return Ok(true),
            Mechanism::Ip4(network, bits) => return Ok(is_within(self.client, (*network).into(), *bits)),
            Mechanism::Ip6(network, bits) => return Ok(is_within(self.client, (*network).into(), *bits)),
            Mechanism::Include(spec) | Mechanism::Exists(spec) => Some(spec),
            Mechanism::A(spec, _) | Mechanism::Mx(spec, _) | Mechanism::Ptr(spec) => spec.as_ref(),
        };
        self.count()?;
        let target = self.target(spec, domain).await;
        if let Mechanism::Include(_) = mechanism {
            let verdict = self.check_host(target.ok_or(Stop::PermError)?).await.map_err(Stop::of_another)?;
            return Ok(verdict.qualifier == Qualifier::Pass);
        }
        let Some(target) = target else { return Ok(false) };
        match mechanism {
            Mechanism::A(_, prefix) => {
                let addresses = self.addresses(&target).await;
                Ok(self.found(addresses)?.into_iter().any(|address| self.is_near(address, *prefix)))
            }
            Mechanism::Mx(_, prefix) => self.is_exchange(&target, *prefix).await,
            Mechanism::Ptr(_) => Ok(self.validated().await.iter().any(|name| is_below(name, &target))),
            // Also a client of version 6 asks for addresses of version 4 (§5.7).
            _ => {
                let addresses = self.dns.addresses4(&target).await;
                Ok(!self.found(addresses)?.is_empty())
            }
        }
    }

    /// Whether the client is one of the domain's mail hosts (§5.4).
    async fn is_exchange(&mut self, domain: &str, prefix: Prefix) -> Result<bool, Stop> {
        let exchanges = self.dns.exchanges(domain).await;
        let exchanges = self.found(exchanges)?;
        if exchanges.len() > NAMES {
            return Err(Stop::PermError);
        }
        for (_, host) in exchanges.iter().filter(|(_, host)| is_name(host)) {
            match self.addresses(host).await {
                Ok(addresses) if addresses.iter().any(|address| self.is_near(*address, prefix)) => return Ok(true),
                Err(Nothing::Unknown(_)) => return Err(Stop::TempError),
                // A host without address is no void term: the term found the host.
                _ => {}
            }
        }
        Ok(false)
    }

    /// The names of the client whose addresses lead back to it (§5.5). They are asked for once in a check. The client
    /// owns them and could choose what comes out; so none of it counts as void, and neither an error nor a slow answer
    /// stops the check.
    async fn validated(&mut self) -> &[String] {
        if self.validated.is_none() {
            let mut validated = Vec::new();
            let search = async {
                for name in self.dns.names(self.client).await.unwrap_or_default().iter().take(NAMES) {
                    let name = name.trim_end_matches('.');
                    if is_name(name) && self.addresses(name).await.is_ok_and(|found| found.contains(&self.client)) {
                        validated.push(name.to_owned());
                    }
                }
            };
            timeout(REVERSE, search).await.ok();
            self.validated = Some(validated);
        }
        self.validated.as_deref().unwrap_or_default()
    }

    /// What `%{p}` stands for, if it is used: the domain itself or a name below it comes first (§7.3).
    async fn validated_for(&mut self, spec: &MacroString, domain: &str) -> String {
        if !spec.uses('p') {
            return String::new();
        }
        let names = self.validated().await;
        let exact = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let below = || names.iter().find(|name| is_below(name, domain));
        exact.or_else(below).or(names.first()).cloned().unwrap_or_else(|| "unknown".into())
    }

    /// The target-name of a term (§4.8): that of its domain-spec, or the domain. `None` if DNS cannot hold it.
    async fn target(&mut self, spec: Option<&MacroString>, domain: &str) -> Option<String> {
        let Some(spec) = spec else { return Some(domain.to_owned()) };
        let validated = self.validated_for(spec, domain).await;
        spec.name(&self.values(domain, &validated)).filter(|name| is_name(name))
    }

    fn values<'b>(&'b self, domain: &'b str, validated: &'b str) -> Values<'b> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let Evaluation { client, local, origin, helo, receiver, .. } = *self;
        Values { local, origin, domain, client, validated, helo, receiver, time }
    }

    /// The addresses of a host, of the client's kind.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Nothing> {
        Ok(match self.client {
            IpAddr::V4(_) => self.dns.addresses4(host).await?.into_iter().map(IpAddr::V4).collect(),
            IpAddr::V6(_) => self.dns.addresses6(host).await?.into_iter().map(IpAddr::V6).collect(),
        })
    }

    fn is_near(&self, address: IpAddr, prefix: Prefix) -> bool {
        is_within(self.client, address, if address.is_ipv4() { prefix.four } else { prefix.six })
    }

    /// Counts a term that asks DNS.
    fn count(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > TERMS { Err(Stop::PermError) } else { Ok(()) }
    }

    /// What a term found; that it is void counts.
    fn found<T>(&mut self, answer: Result<Vec<T>, Nothing>) -> Result<Vec<T>, Stop> {
        match answer {
            Ok(found) if !found.is_empty() => return Ok(found),
            Err(Nothing::Unknown(_)) => return Err(Stop::TempError),
            _ => self.voids += 1,
        }
        if self.voids > VOIDS { Err(Stop::PermError) } else { Ok(Vec::new()) }
    }
}

impl Stop {
    /// What it means for the record that includes that one (§5.2) or redirects to it (§6.1).
    fn of_another(self) -> Stop {
        if self == Stop::None { Stop::PermError } else { self }
    }
}

/// Whether DNS can hold a name: of labels of 1 to 63 octets, here of ASCII without controls.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= NAME
        && name.bytes().all(|octet| matches!(octet, b' '..=b'~'))
        && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Whether a name is another one or below it.
fn is_below(name: &str, above: &str) -> bool {
    name.len()
        .checked_sub(above.len())
        .and_then(|at| name.split_at_checked(at))
        .is_some_and(|(before, end)| end.eq_ignore_ascii_case(above) && (before.is_empty() || before.ends_with('.')))
}

/// Whether two addresses are of the same kind and begin with the same bits.
fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0,
        _ => false,
    }
}
