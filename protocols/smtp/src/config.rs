//! The table `[smtp]` of the configuration.

use protocol::{ConfigError, Size};
use serde::{Deserialize, Serialize};

use crate::filters::config as filters;
use crate::outbound::sts::{Mode, Policy};
use crate::{dns, outbound, trust};

/// Limits and words of the SMTP server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The largest message taken; `SIZE` tells it to clients.
    pub max_message: Size,
    /// The most recipients of one message (RFC 5321 §4.5.3.1.8 asks for a hundred at least).
    pub max_recipients: usize,
    /// How many seconds a client may stay silent between commands.
    pub idle_timeout: u64,
    /// How many refused commands end a session; a message taken forgives them.
    pub max_errors: u32,
    /// A message that passed more servers than this goes round in circles.
    pub max_hops: u32,
    /// What the greeting says behind the host's name.
    pub banner: String,
    /// The accounts of which a copy of what they send is kept in their Sent; `*` is all. For programs that keep none.
    pub save_sent: Vec<String>,
    /// What the policy of TLS asks of others that is given out for the domains here (MTA-STS).
    pub mta_sts: Mode,
    /// Whom to ask about other servers.
    pub dns: dns::Config,
    /// What is made of proofs of where mail is from.
    pub trust: trust::Config,
    /// The program that judges whether mail is spam.
    pub rspamd: filters::Rspamd,
    /// The program that looks for viruses.
    pub clamd: filters::Clamd,
    /// Lists in DNS of addresses that send spam.
    pub dnsbl: filters::Dnsbl,
    /// Whether unknown senders have to try again.
    pub greylist: filters::Greylist,
    /// How mail is sent to other servers.
    pub outbound: outbound::Config,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_message: Size(50 << 20),
            max_recipients: 1000,
            idle_timeout: 300,
            max_errors: 20,
            max_hops: 50,
            banner: "Wharfinger".to_owned(),
            save_sent: Vec::new(),
            mta_sts: Mode::Testing,
            dns: dns::Config::default(),
            trust: trust::Config::default(),
            rspamd: filters::Rspamd::default(),
            clamd: filters::Clamd::default(),
            dnsbl: filters::Dnsbl::default(),
            greylist: filters::Greylist::default(),
            outbound: outbound::Config::default(),
        }
    }
}

impl Config {
    /// Whether every value makes sense.
    ///
    /// # Errors
    /// Names the first key that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        protocol::check_timeout("smtp", "idle_timeout", self.idle_timeout, 1)?;
        let wrong = if self.max_message.0 < 64 << 10 {
            "max_message must be 64K at least (RFC 5321 §4.5.3.1.7)"
        } else if self.max_recipients < 100 {
            "max_recipients must be 100 at least (RFC 5321 §4.5.3.1.8)"
        } else if self.max_errors == 0 {
            "max_errors must be one at least"
        } else if self.max_hops == 0 {
            "max_hops must be one at least"
        } else if !self.banner.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || self.banner.len() > 200 {
            "banner must be one line of printable ASCII, of 200 characters at most"
        } else if let Some(wrong) = self.wrong() {
            wrong
        } else {
            return Ok(());
        };
        Err(ConfigError { module: "smtp", message: wrong.to_owned() })
    }

    /// The policy of TLS of the domains here (RFC 8461 §3.2): their mail goes to this host. A week is long enough that
    /// an attacker cannot wait for its end.
    pub fn policy(&self, hostname: &str) -> Option<Policy> {
        const WEEK: u32 = 7 * 24 * 3600;
        let policy = Policy { mode: self.mta_sts, mx: vec![hostname.to_owned()], max_age: WEEK };
        (self.mta_sts != Mode::None).then_some(policy)
    }

    /// What is wrong with the tables within it.
    fn wrong(&self) -> Option<&'static str> {
        let filters = self.rspamd.wrong().or_else(|| self.clamd.wrong());
        let filters = filters.or_else(|| self.dnsbl.wrong()).or_else(|| self.greylist.wrong());
        self.dns.wrong().or_else(|| self.trust.wrong()).or_else(|| self.outbound.wrong()).or(filters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_read_back() {
        let table = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(table["max_message"].as_str(), Some("50M"));
        assert_eq!(protocol::read_config::<Config>("smtp", table).unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_and_a_senseless_value_are_named() {
        let read = |text: &str| protocol::read_config::<Config>("smtp", text.parse().unwrap());
        assert!(read("max_mesage = 5").unwrap_err().to_string().contains("max_mesage"));
        let config = read("max_message = 1048576\nmax_recipients = 5").unwrap();
        assert_eq!(config.max_message, Size(1 << 20));
        assert!(config.check().unwrap_err().to_string().contains("max_recipients"));
        for idle in [0, i64::MAX] {
            let wrong = read(&format!("idle_timeout = {idle}")).unwrap().check();
            assert!(wrong.unwrap_err().to_string().contains("idle_timeout"), "{idle}");
        }
        assert!(read("banner = \"a\\r\\nb\"").unwrap().check().is_err(), "no second line by way of the banner");
    }
}
