//! The table `[smtp.trust]` of the configuration.

use protocol::Networks;
use serde::{Deserialize, Serialize};

use crate::dns;

/// What is made of the proofs that mail from other servers brings along (SPF, DKIM, DMARC, ARC).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether they are looked at.
    pub check: bool,
    /// The networks of this site's own machines: their mail is neither checked nor filtered for spam.
    pub trusted: Vec<String>,
    /// What becomes of mail from a server that the sender's domain does not allow to send for it (SPF).
    pub spf_fail: Wish,
    /// What becomes of mail that the author's domain does not vouch for and wants put aside or refused (DMARC).
    pub dmarc: Wish,
    /// Domains of mailing lists and forwarders whose word is taken for what they changed (ARC).
    pub sealers: Vec<String>,
}

/// Whether a proof that fails has consequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// It is only written into the message.
    Mark,
    /// What its domain wishes is done.
    Apply,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            check: true,
            trusted: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
            spf_fail: Wish::Mark,
            dmarc: Wish::Apply,
            sealers: Vec::new(),
        }
    }
}

impl Config {
    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        let is_domain = |name: &String| dns::domain(name).is_some();
        (!self.sealers.iter().all(is_domain)).then_some("trust.sealers must be names of domains, like \"example.org\"")
    }

    /// Whether the word of a domain, as a signature names it, is taken.
    pub(crate) fn believes(&self, sealer: &str) -> bool {
        let sealer = dns::domain(sealer);
        sealer.is_some() && self.sealers.iter().any(|known| dns::domain(known) == sealer)
    }

    /// The trusted networks.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub(crate) fn networks(&self) -> Result<Networks, String> {
        let parse = |text: &String| text.parse().map_err(|error| format!("trust.trusted: {error}"));
        self.trusted.iter().map(parse).collect::<Result<Networks, String>>()
    }
}
