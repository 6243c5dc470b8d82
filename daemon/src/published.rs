//! What DNS is to say of a domain whose mail is here: every record, ready to be published.

use std::fmt::Write;

use protocol::TlsMode;
use serde::Serialize;
use smtp::outbound::sts::Policy;
use storage::{DkimKey, DkimState};

use crate::config::Config;
use crate::tls;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    /// Its name, without a final dot.
    pub(crate) name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Its value; of TXT the text as one.
    pub(crate) value: String,
    /// What it is for.
    pub(crate) purpose: &'static str,
    /// Whether mail suffers without it.
    pub(crate) needed: bool,
}

impl Record {
    fn new(name: String, kind: &'static str, value: String, purpose: &'static str) -> Record {
        Record { name, kind, value, purpose, needed: false }
    }

    fn needed(self) -> Record {
        Record { needed: true, ..self }
    }

    /// As a line of a zone file (RFC 1035 §5.1).
    pub(crate) fn line(&self) -> String {
        let mut line = format!("{}. IN {}", self.name, self.kind);
        match self.kind {
            // A string has 255 octets at most.
            "TXT" => {
                let mut rest = self.value.as_str();
                while !rest.is_empty() {
                    let (string, more) = rest.split_at(rest.len().min(255));
                    let _ = write!(line, " \"{}\"", string.replace('\\', "\\\\").replace('"', "\\\""));
                    rest = more;
                }
            }
            "TLSA" => {
                let _ = write!(line, " {}", self.value);
            }
            // The rest ends in a name.
            _ => {
                let _ = write!(line, " {}.", self.value.trim_end_matches('.'));
            }
        }
        line
    }
}

/// The policy of TLS that this server gives out for its domains (MTA-STS, RFC 8461 §3.2), where it has one.
pub(crate) fn mta_sts(config: &Config) -> Result<Option<Policy>, String> {
    let smtp = smtp_config(config)?;
    Ok(smtp.policy(&config.hostname))
}

/// The configuration of SMTP.
pub(crate) fn smtp_config(config: &Config) -> Result<smtp::config::Config, String> {
    let name = smtp::MODULE.name;
    let table = config.modules.get(name).cloned().unwrap_or_default();
    protocol::read_config(name, table).map_err(|error| crate::config::explain(name, &error.message))
}

/// The records for a domain.
///
/// # Errors
/// A sentence, when the certificate cannot be read.
pub(crate) fn records(config: &Config, domain: &str, keys: &[DkimKey]) -> Result<Vec<Record>, String> {
    let host = config.hostname.as_str();
    let mut records = vec![
        Record::new(domain.to_owned(), "MX", format!("10 {host}"), "mail for the domain comes here").needed(),
        Record::new(domain.to_owned(), "TXT", "v=spf1 mx -all".into(), "only this server sends for it (SPF)").needed(),
    ];
    if host != domain {
        let purpose = "and it sends for its own name alone (SPF)";
        records.push(Record::new(host.to_owned(), "TXT", "v=spf1 a -all".into(), purpose));
    }
    for key in keys {
        let purpose = match key.state {
            DkimState::Active => "mail is signed with this key (DKIM)",
            DkimState::Next => "the key that comes next (DKIM)",
            DkimState::Retired => "a key of before: leave it until it is not shown here any more (DKIM)",
        };
        let record = Record::new(format!("{}._domainkey.{domain}", key.selector), "TXT", key.public.clone(), purpose);
        records.push(if key.state == DkimState::Retired { record } else { record.needed() });
    }
    let report = format!("mailto:postmaster@{domain}");
    let dmarc = format!("v=DMARC1; p=quarantine; rua={report}");
    let purpose = "mail of others in its name is put aside (DMARC)";
    records.push(Record::new(format!("_dmarc.{domain}"), "TXT", dmarc, purpose).needed());
    if let Some(policy) = mta_sts(config)? {
        let text = format!("v=STSv1; id={}", policy.id());
        records.push(Record::new(format!("_mta-sts.{domain}"), "TXT", text, "mail comes over verified TLS (MTA-STS)"));
        let purpose = "where its policy is; the certificate must have that name too (MTA-STS)";
        records.push(Record::new(format!("mta-sts.{domain}"), "CNAME", host.to_owned(), purpose));
    }
    let text = format!("v=TLSRPTv1; rua={report}");
    records.push(Record::new(format!("_smtp._tls.{domain}"), "TXT", text, "others tell when TLS fails (TLS-RPT)"));
    let tlsa = format!("3 1 1 {}", tls::key_digest(config)?);
    let purpose = "which key this server has; only where the host's zone is signed with DNSSEC (DANE)";
    records.push(Record::new(format!("_25._tcp.{host}"), "TLSA", tlsa, purpose));
    records.push(Record::new(format!("autoconfig.{domain}"), "CNAME", host.to_owned(), "Thunderbird sets itself up"));
    records.push(Record::new(format!("autodiscover.{domain}"), "CNAME", host.to_owned(), "Outlook sets itself up"));
    records.extend(services(config, domain));
    Ok(records)
}

/// Where clients find what listens here (RFC 6186, RFC 8314 §5.1).
fn services(config: &Config, domain: &str) -> Vec<Record> {
    let known = [
        ("submission", TlsMode::Implicit, "_submissions"),
        ("submission", TlsMode::Starttls, "_submission"),
        ("imap", TlsMode::Implicit, "_imaps"),
        ("imap", TlsMode::Starttls, "_imap"),
        ("pop3", TlsMode::Implicit, "_pop3s"),
        ("pop3", TlsMode::Starttls, "_pop3"),
    ];
    let mut records = Vec::new();
    for (protocol, tls, name) in known {
        let listener = config.listen.iter().find(|listen| listen.protocol == protocol && listen.tls == tls);
        let Some(port) = listener.and_then(|listen| listen.bind.first()).map(std::net::SocketAddr::port) else {
            continue;
        };
        let value = format!("0 1 {port} {}", config.hostname);
        records.push(Record::new(format!("{name}._tcp.{domain}"), "SRV", value, "clients find the server"));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_into_strings() {
        let record = Record::new("a.example".into(), "TXT", format!("{}\"", "x".repeat(300)), "");
        let line = record.line();
        assert!(line.starts_with(&format!("a.example. IN TXT \"{}\" \"xxx", "x".repeat(255))), "{line}");
        assert!(line.ends_with("x\\\"\""), "{line}");
        assert_eq!(Record::new("a".into(), "MX", "10 b".into(), "").line(), "a. IN MX 10 b.");
    }
}
