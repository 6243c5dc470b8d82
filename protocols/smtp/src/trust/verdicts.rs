//! What is said of an incoming message.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::rr::{Name, RData, Record};
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DmarcResult, DnsError, Error, MessageAuthenticator, SpfOutput, SpfResult, dmarc,
};
use memchr::memmem;
use storage::message::{Address, Authors};
use tokio::time::{Instant, timeout_at};

use super::arc::{self, ArcVerdict};
use super::body::BodyHashes;
use super::dkim::{self, DkimVerdict};
use super::fields::{fields, tells_pass};
use super::spf::Outcome;
use crate::dns;

/// A result in the words of RFC 8601 §2.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    None,
    Pass,
    Fail,
    /// Signed, but not in a way that is accepted here.
    Policy,
    Neutral,
    TempError,
    PermError,
}

/// What is wished for a message that fails DMARC (RFC 9989 §4.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    #[default]
    None,
    Quarantine,
    Reject,
}

/// The DMARC result of the domain in From.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dmarc {
    pub(crate) result: Verdict,
    pub(crate) policy: Policy,
    pub(crate) domain: String,
}

/// Why nobody can say whose message it is: a message has one From field (RFC 5322 §3.6). DMARC exempts such mail, so a
/// server that respects policies does not take it for what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MalformedFrom {
    /// No From field.
    Missing,
    /// More than one.
    Several,
    /// No address, as in some notifications.
    Nobody,
    /// An address without a domain, or with one that cannot be.
    NoDomain,
    /// Addresses of several domains.
    Domains,
}

/// What is known of the transaction.
#[derive(Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) client: IpAddr,
    pub(crate) helo: &'a str,
    /// The sender, without brackets; empty for the null path.
    pub(crate) mail_from: &'a str,
}

/// All that is said of a message.
pub(crate) struct Verdicts {
    pub(super) client: IpAddr,
    pub(super) helo_name: String,
    pub(super) mail_from: String,
    pub(crate) helo: Outcome,
    pub(crate) spf: Outcome,
    pub(crate) dkim: Vec<DkimVerdict>,
    pub(crate) dmarc: Dmarc,
    pub(crate) arc: ArcVerdict,
    /// The domain of the newest seal, where there is one.
    pub(crate) sealer: Option<String>,
    /// Whether the newest seal tells that DMARC passed there.
    pub(crate) sealed_pass: bool,
    pub(crate) malformed_from: Option<MalformedFrom>,
}

impl Verdicts {
    /// Whether it came with the null reverse path.
    pub(crate) fn is_notification(&self) -> bool {
        self.mail_from.is_empty()
    }

    /// Whether the domain of the reverse path, or one above it, vouches for the author.
    pub(crate) fn vouches_for_sender(&self) -> bool {
        let sender = self.mail_from.rsplit_once('@').map_or("", |(_, domain)| domain).to_ascii_lowercase();
        let above = sender.strip_suffix(&*self.dmarc.domain);
        self.dmarc.result == Verdict::Pass && above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// For all lookups of signatures together, and for those of a policy: its sender waits for the reply to DATA.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Judges a message by its header section, the hashes of its body and what SPF said of the envelope.
pub(crate) async fn judge(
    dns: &MessageAuthenticator,
    header: &[u8],
    body: &BodyHashes,
    envelope: Envelope<'_>,
    helo: Outcome,
    spf: Outcome,
) -> Verdicts {
    let deadline = Instant::now() + TIME_LIMIT;
    let header = dkim::readable(header);
    let mut message = dkim::read(&header, body);
    let author = author_domain(&header);
    // Whoever is shown as the author is judged: the library reads some fields differently.
    message.from = author.iter().map(|domain| format!("author@{domain}")).collect();
    // The null path is judged by the name in HELO (RFC 7208 §2.4).
    let spf_domain = envelope.mail_from.rsplit_once('@').map_or(envelope.helo, |(_, domain)| domain);
    let (dkim, arc) =
        tokio::join!(dkim::verify(dns, &message, deadline), arc::verify(dns, &header, &message, deadline));
    let dmarc = match &author {
        Ok(domain) => evaluate(dns, &message, &dkim, spf_domain, &spf, domain).await,
        Err(_) => Dmarc { result: Verdict::None, policy: Policy::None, domain: String::new() },
    };
    Verdicts {
        client: envelope.client,
        helo_name: envelope.helo.to_owned(),
        mail_from: envelope.mail_from.to_owned(),
        helo,
        spf,
        dkim,
        dmarc,
        arc,
        sealer: message.as_headers.last().map(|seal| seal.header.d.clone()),
        sealed_pass: message.aar_headers.last().is_some_and(|results| tells_pass(results.value)),
        malformed_from: author.err(),
    }
}

/// The domain of the author or authors, in ASCII, by all readings that anybody may have of the field.
fn author_domain(header: &[u8]) -> Result<String, MalformedFrom> {
    let mut from = fields(header).filter(|field| field.is("From"));
    let only = match (from.next(), from.next()) {
        (None, _) => return Err(MalformedFrom::Missing),
        (Some(_), Some(_)) => return Err(MalformedFrom::Several),
        (Some(only), None) => only.value,
    };
    // What is encoded may be read as an address.
    if only.is_ascii() && !only.contains(&b'@') && memmem::find(only, b"=?").is_none() {
        return Err(MalformedFrom::Nobody);
    }
    let Authors { addresses, named, is_whole, .. } = Authors::read(only);
    // The start of a group has a name and no host (RFC 3501 §7.4.2).
    let is_one = |author: &&Address| author.mailbox.is_some() && author.host.is_some();
    let mut first = None;
    for author in addresses.iter().chain(&named).filter(is_one) {
        // White space is no part of it (RFC 5322 §4.4).
        let host = author.host.iter().flat_map(|host| host.chars()).filter(|letter| !letter.is_whitespace());
        let host: String = host.collect();
        let domain = policed(host.trim_end_matches('.')).ok_or(MalformedFrom::NoDomain)?;
        // What other readers may take for another address is one.
        let is_several = author.mailbox.as_deref().is_some_and(|mailbox| mailbox.contains('@'));
        if is_several || first.as_ref().is_some_and(|first| *first != domain) {
            return Err(MalformedFrom::Domains);
        }
        first = Some(domain);
    }
    match first {
        None => Err(MalformedFrom::NoDomain),
        Some(_) if !is_whole => Err(MalformedFrom::Domains),
        Some(domain) => Ok(domain),
    }
}

/// A domain whose policy can be asked for: of another one nobody would learn that those above it have one.
fn policed(text: &str) -> Option<String> {
    let domain = dns::domain(text)?;
    Name::from_str_relaxed(format!("_dmarc.{domain}.")).is_ok().then_some(domain)
}

/// DMARC over our own SPF result and those signatures that count (RFC 9989 §4.10).
async fn evaluate(
    dns: &MessageAuthenticator,
    message: &AuthenticatedMessage<'_>,
    signatures: &[DkimVerdict],
    spf_domain: &str,
    spf: &Outcome,
    author: &str,
) -> Dmarc {
    // It has a time of its own: a signature whose key never comes must not keep the policy from being asked for.
    let deadline = Instant::now() + TIME_LIMIT;
    let lost = || Error::Dns(DnsError::Resolver(String::new()));
    let signatures: Vec<DkimOutput<'_>> = signatures
        .iter()
        .filter_map(|verdict| {
            let output = match verdict.result {
                Verdict::Pass => DkimOutput::pass(),
                Verdict::TempError => DkimOutput::temp_err(lost()),
                _ => return None,
            };
            Some(output.with_signature(verdict.signature.as_ref()?))
        })
        .collect();
    let spf = SpfOutput::new(spf_domain.to_owned()).with_result(match spf {
        Outcome::Pass => SpfResult::Pass,
        Outcome::TempError => SpfResult::TempError,
        _ => SpfResult::None, // all others count the same: no
    });
    let parameters = DmarcParameters::new(message, &signatures, spf_domain, &spf);
    let Ok(output) = timeout_at(deadline, dns.verify_dmarc(parameters)).await else {
        return Dmarc { result: Verdict::TempError, policy: Policy::None, domain: author.to_owned() };
    };
    let result = match output.result() {
        DmarcResult::Pass => Verdict::Pass,
        DmarcResult::Fail(_) => Verdict::Fail,
        DmarcResult::TempError(_) => Verdict::TempError,
        DmarcResult::PermError(_) => Verdict::PermError,
        DmarcResult::None => Verdict::None,
    };
    let policy = match output.policy() {
        dmarc::Policy::Reject => Policy::Reject,
        dmarc::Policy::Quarantine => Policy::Quarantine,
        dmarc::Policy::None | dmarc::Policy::Unspecified => Policy::None,
    };
    let domain = output.into_domain();
    if policy != Policy::None && timeout_at(deadline, several(dns, &domain)).await.unwrap_or(false) {
        return Dmarc { result: Verdict::PermError, policy: Policy::None, domain };
    }
    Dmarc { result, policy, domain }
}

/// Whether a domain has several DMARC records, of which none counts then.
async fn several(dns: &MessageAuthenticator, domain: &str) -> bool {
    let Ok(name) = Name::from_ascii(format!("_dmarc.{}.", domain.trim_end_matches('.'))) else { return false };
    let Ok(found) = dns.0.txt_lookup(name).await else { return false };
    let is_one = |record: &&Record| match &record.data {
        RData::TXT(text) => text.txt_data.iter().flatten().copied().take(8).eq(*b"v=DMARC1"),
        _ => false,
    };
    found.answers().iter().filter(is_one).count() > 1
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::None => "none",
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Policy => "policy",
            Verdict::Neutral => "neutral",
            Verdict::TempError => "temperror",
            Verdict::PermError => "permerror",
        })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        })
    }
}

impl fmt::Display for MalformedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MalformedFrom::Missing => "the message has no From field",
            MalformedFrom::Several => "the message has more than one From field",
            MalformedFrom::Nobody => "the From field has no address",
            MalformedFrom::NoDomain => "the From field has no address with a domain that can be",
            MalformedFrom::Domains => "the From field names more than one domain, or may be read so",
        })
    }
}
