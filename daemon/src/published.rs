//! What DNS is to say of a domain whose mail is here: every record, ready to be published.

use std::fmt::Write;

use protocol::{Module, TlsMode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smtp::outbound::sts::Policy;
use storage::{DkimKey, DkimState};

use crate::config::Config;
use crate::tls;

/// Of the host itself either of the two will do.
pub(crate) const ADDRESS: &str = "A/AAAA";
/// Nobody sends for the domain but who takes its mail (SPF, RFC 7208).
pub(crate) const ALONE: &str = "v=spf1 mx -all";

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

    /// The address of a host, which is not known here.
    pub(crate) fn address(host: &str) -> Record {
        Record::new(host.to_owned(), ADDRESS, String::new(), "other servers find this one").needed()
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
            ADDRESS => {}
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
    table(config, &smtp::MODULE)
}

/// The name by which mail clients are told to reach this host.
fn client_host(config: &Config) -> Result<String, String> {
    let http: http_files::Config = table(config, &http_files::MODULE)?;
    Ok(http.client_host(&config.hostname).to_owned())
}

fn table<T: DeserializeOwned>(config: &Config, module: &Module) -> Result<T, String> {
    let table = config.modules.get(module.name).cloned().unwrap_or_default();
    protocol::read_config(module.name, table).map_err(|error| crate::config::explain(module.name, &error.message))
}

/// Whether this host has names that can stand in DNS.
///
/// # Errors
/// A sentence that names the key to set.
pub(crate) fn publishable(config: &Config) -> Result<(), String> {
    let public = |name: &str| name.contains('.') && name.parse::<std::net::IpAddr>().is_err();
    let clients = client_host(config)?;
    if !public(&config.hostname) {
        return Err(format!(
            "set `hostname` first, since other servers find this one by it; {:?} is no name in DNS",
            config.hostname
        ));
    }
    if !public(&clients) {
        return Err(format!(
            "set `[http] mail_host` to a name, since clients find this server by it; {clients:?} is none in DNS"
        ));
    }
    Ok(())
}

/// The records for a domain.
///
/// # Errors
/// A sentence, when the certificate or a module's table cannot be read.
pub(crate) fn records(config: &Config, domain: &str, keys: &[DkimKey]) -> Result<Vec<Record>, String> {
    let host = config.hostname.as_str();
    let mut records = vec![
        Record::new(domain.to_owned(), "MX", format!("10 {host}"), "mail for the domain comes here").needed(),
        senders(config, domain)?,
    ];
    if host != domain {
        // The host may be a domain here too, which has one such record (RFC 7208 §4.5).
        let purpose = "and for its own name, in notifications (SPF)";
        records.push(Record::new(host.to_owned(), "TXT", senders(config, host)?.value, purpose));
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
    records.extend(services(config, domain)?);
    Ok(records)
}

/// Who sends for the domain. Through which addresses a smarthost sends, it alone knows: until its own record is within
/// this one, nobody is to refuse what comes from elsewhere.
fn senders(config: &Config, domain: &str) -> Result<Record, String> {
    let routes = smtp_config(config)?.outbound.routes;
    let smarthost = routes.iter().any(|route| route.domains.iter().any(|pattern| pattern == "*"));
    // The host itself need not have an MX.
    let sends = if domain == config.hostname { "a" } else { "mx" };
    let (rest, purpose) = if smarthost {
        ("~all", "this server sends for it; the smarthost's own include: belongs before ~all (SPF)")
    } else {
        ("-all", "only this server sends for it (SPF)")
    };
    Ok(Record::new(domain.to_owned(), "TXT", format!("v=spf1 {sends} {rest}"), purpose).needed())
}

/// Where clients find what listens here (RFC 6186, RFC 8314 §5.1).
fn services(config: &Config, domain: &str) -> Result<Vec<Record>, String> {
    let host = client_host(config)?;
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
        let value = format!("0 1 {port} {host}");
        records.push(Record::new(format!("{name}._tcp.{domain}"), "SRV", value, "clients find the server"));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_table(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn clients_are_led_to_the_name_they_are_told() {
        let value = |text: &str| services(&config(text), "a.example").unwrap()[0].value.clone();
        assert_eq!(value("hostname = 'mx.a.example'"), "0 1 2465 mx.a.example");
        assert_eq!(value("hostname = 'mx.a.example'\n[http]\nmail_host = 'imap.a.example'"), "0 1 2465 imap.a.example");
    }

    #[test]
    fn what_leaves_by_a_smarthost_is_not_to_be_refused() {
        let value = |routes: &str| {
            let text = format!("[smtp.outbound]\nroutes = [{routes}]");
            senders(&config(&text), "a.example").unwrap().value
        };
        assert_eq!(value(""), "v=spf1 mx -all");
        assert_eq!(value("{ domains = ['b.example'], host = 'b.example:25' }"), "v=spf1 mx -all");
        assert_eq!(value("{ domains = ['*'], host = 'smart.example:587' }"), "v=spf1 mx ~all");
        // Whichever domain is asked about, the host has the same one.
        let host = config("hostname = 'mx.a.example'");
        assert_eq!(senders(&host, "mx.a.example").unwrap().value, "v=spf1 a -all");
    }

    #[test]
    fn a_name_that_cannot_be_published_is_refused() {
        for (text, key) in [
            ("hostname = 'localhost'", Some("`hostname`")),
            ("hostname = 'mail'", Some("`hostname`")),
            ("hostname = '10.0.0.1'", Some("`hostname`")),
            ("hostname = 'mail.a.test'", None),
            ("hostname = 'mail.a.test'\n[http]\nmail_host = '[::1]'", Some("`[http] mail_host`")),
            ("hostname = 'mail.a.test'\n[http]\nmail_host = 'imap.a.test'", None),
        ] {
            let told = publishable(&config(text)).err();
            assert_eq!(told.is_some(), key.is_some(), "{text}: {told:?}");
            assert!(told.is_none_or(|told| key.is_some_and(|key| told.contains(key))), "{text}");
        }
    }

    #[test]
    fn a_long_text_is_cut_into_strings() {
        let record = Record::new("a.example".into(), "TXT", format!("{}\"", "x".repeat(300)), "");
        let line = record.line();
        assert!(line.starts_with(&format!("a.example. IN TXT \"{}\" \"xxx", "x".repeat(255))), "{line}");
        assert!(line.ends_with("x\\\"\""), "{line}");
        assert_eq!(Record::new("a".into(), "MX", "10 b".into(), "").line(), "a. IN MX 10 b.");
        assert_eq!(Record::address("a.example").line(), "a.example. IN A/AAAA");
    }
}
