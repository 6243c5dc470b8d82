//! Whether a domain lets a client send in its name: SPF (RFC 7208).
//!
//! [`record`] and [`macros`] know the language, [`evaluation`] asks DNS. What strangers' records can make this host do
//! is bounded: ten terms that ask DNS with ten hosts each, ten names of the client, one explanation, and a deadline.

mod evaluation;
mod macros;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::time::timeout;

use crate::dns::Nothing;
use evaluation::{Evaluation, Stop, is_name};
use record::Qualifier;

/// How long an evaluation may take (§4.6.4 wants 20 seconds at least).
const EVALUATION: Duration = Duration::from_secs(20);
/// How long the explanation of a fail may take after that.
const EXPLANATION: Duration = Duration::from_secs(5);

/// What DNS is asked for. Names go and come without final dot; an answer may be empty instead of [`Nothing::Data`].
pub(crate) trait Lookup: Sync {
    /// The TXT records of a name, the strings of each joined.
    fn txt(&self, name: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, Nothing>> + Send;
    /// The A records of a name.
    fn addresses4(&self, name: &str) -> impl Future<Output = Result<Vec<Ipv4Addr>, Nothing>> + Send;
    /// The AAAA records of a name.
    fn addresses6(&self, name: &str) -> impl Future<Output = Result<Vec<Ipv6Addr>, Nothing>> + Send;
    /// The MX records of a name; the null MX (RFC 7505) is an empty host.
    fn exchanges(&self, name: &str) -> impl Future<Output = Result<Vec<(u16, String)>, Nothing>> + Send;
    /// The PTR records of an address.
    fn names(&self, address: IpAddr) -> impl Future<Output = Result<Vec<String>, Nothing>> + Send;
}

/// Who sends as whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// The address the message comes from.
    pub(crate) client: IpAddr,
    /// What the client said in HELO or EHLO.
    pub(crate) helo: &'a str,
    /// The path of MAIL FROM without its brackets; empty for the null path.
    pub(crate) sender: &'a str,
    /// The name of this host, for explanations.
    pub(crate) receiver: &'a str,
}

/// What comes out (§2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is no record, or no domain that could have one.
    None,
    /// The domain does not say.
    Neutral,
    /// The client may.
    Pass,
    /// The client may not.
    Fail {
        /// What the domain says about it, in printable ASCII; a stranger's words.
        explanation: Option<String>,
    },
    /// The client probably may not.
    SoftFail,
    /// Nobody can tell now.
    TempError,
    /// The domain's records are wrong.
    PermError,
}

impl fmt::Display for Outcome {
    /// The words of RFC 8601 §2.7.2.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Outcome::None => "none",
            Outcome::Neutral => "neutral",
            Outcome::Pass => "pass",
            Outcome::Fail { .. } => "fail",
            Outcome::SoftFail => "softfail",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        })
    }
}

/// Checks the MAIL FROM identity; that of the null path is postmaster at the HELO name (§2.4).
pub(crate) async fn check(dns: &impl Lookup, question: &Question<'_>) -> Outcome {
    match question.sender.rsplit_once('@') {
        Some((local, domain)) => evaluate(dns, question, local, domain).await,
        None if question.sender.is_empty() => check_helo(dns, question).await,
        None => evaluate(dns, question, "", question.sender).await,
    }
}

/// Checks the HELO identity (§2.3).
pub(crate) async fn check_helo(dns: &impl Lookup, question: &Question<'_>) -> Outcome {
    evaluate(dns, question, "", question.helo).await
}

/// Evaluates the record of a domain, and fetches the explanation of a fail.
async fn evaluate(dns: &impl Lookup, question: &Question<'_>, local: &str, domain: &str) -> Outcome {
    // Literals and names that DNS cannot hold have no record (§4.3).
    let Some(domain) = a_labels(domain).filter(|_| !domain.starts_with('[')) else { return Outcome::None };
    let helo = a_labels(question.helo).unwrap_or_else(|| question.helo.to_owned());
    let local = if local.is_empty() { "postmaster" } else { local };
    let receiver = if question.receiver.is_empty() { "unknown" } else { question.receiver };
    let mut evaluation = Evaluation::new(dns, question.client, (local, &domain), &helo, receiver);
    let verdict = match timeout(EVALUATION, evaluation.check_host(domain.clone())).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(Stop::None)) => return Outcome::None,
        Ok(Err(Stop::PermError)) => return Outcome::PermError,
        Ok(Err(Stop::TempError)) | Err(_) => return Outcome::TempError,
    };
    match verdict.qualifier {
        Qualifier::Pass => Outcome::Pass,
        Qualifier::SoftFail => Outcome::SoftFail,
        Qualifier::Neutral => Outcome::Neutral,
        Qualifier::Fail => {
            let explanation = timeout(EXPLANATION, evaluation.explain(&verdict)).await.unwrap_or(None);
            Outcome::Fail { explanation }
        }
    }
}

/// A name as DNS is asked for it: U-labels become A-labels (RFC 8616 §4), a final dot goes.
fn a_labels(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name.is_ascii() { name.to_owned() } else { idna::domain_to_ascii(name).ok()? };
    is_name(&name).then_some(name)
}
