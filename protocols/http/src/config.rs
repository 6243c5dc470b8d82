//! The table `[http]` of the configuration.

use std::time::Duration;

use protocol::ConfigError;
use serde::{Deserialize, Serialize};

use crate::codec::host;

/// Limits and habits of the web server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Within how many seconds the head of a request must have come; with HTTP/1.1 also how long a connection may
    /// stay open without a request.
    pub header_timeout: u64,
    /// After how many seconds without any traffic a connection is closed.
    pub idle_timeout: u64,
    /// The largest file taken, in bytes.
    pub max_upload: u64,
    /// Whether browsers are told to use HTTPS alone for this host from now on (RFC 6797). Only with a certificate
    /// that they trust: with another they would refuse to come back.
    pub hsts: bool,
    /// The HTTPS port that plain HTTP redirects to; 0 for the one that belongs to the port asked (80 to 443, 2080 to
    /// 2443).
    pub redirect_port: u16,
    /// The name by which mail clients are told to reach this host; empty for the host's own.
    pub mail_host: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            header_timeout: 30,
            idle_timeout: 180,
            max_upload: 1 << 40,
            hsts: false,
            redirect_port: 0,
            mail_host: String::new(),
        }
    }
}

impl Config {
    /// Whether every value makes sense.
    ///
    /// # Errors
    /// Names the first key that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        protocol::check_timeout("http", "header_timeout", self.header_timeout, 1)?;
        protocol::check_timeout("http", "idle_timeout", self.idle_timeout, 5)?;
        let wrong = if self.max_upload == 0 {
            "max_upload must be one byte at least"
        } else if !self.mail_host.is_empty() && host(&self.mail_host) != Some(&self.mail_host) {
            "mail_host must be a name or an address, without a port"
        } else {
            return Ok(());
        };
        Err(ConfigError { module: "http", message: wrong.to_owned() })
    }

    /// The name by which mail clients are told to reach this host, `hostname`: as the certificate has it, without a
    /// final dot.
    pub fn client_host<'a>(&'a self, hostname: &'a str) -> &'a str {
        if self.mail_host.is_empty() { hostname } else { self.mail_host.trim_end_matches('.') }
    }

    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout)
    }

    /// The HTTPS port for a request that came to the plain port `local`.
    pub(crate) fn https_port(&self, local: u16) -> u16 {
        match (self.redirect_port, local) {
            (0, 2080) => 2443,
            (0, _) => 443,
            (port, _) => port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_senseless_values_are_refused() {
        let read = |text: &str| protocol::read_config::<Config>("http", text.parse().unwrap());
        assert_eq!(read("").unwrap(), Config::default());
        assert!(read("hsts = true").unwrap().hsts);
        assert!(read("hts = true").unwrap_err().message.contains("hts"));
        for key in ["idle_timeout", "header_timeout"] {
            for seconds in [0, i64::MAX] {
                let wrong = read(&format!("{key} = {seconds}")).unwrap().check();
                assert!(wrong.unwrap_err().message.contains(key), "{key} = {seconds}");
            }
        }
        for wrong in ["mail_host = 'mail.example:993'", "mail_host = 'a<b'"] {
            assert!(read(wrong).unwrap().check().unwrap_err().message.contains("mail_host"), "{wrong}");
        }
        assert!(read("mail_host = 'mail.example'").unwrap().check().is_ok());
        assert_eq!(read("mail_host = 'mail.example.'").unwrap().client_host("mx.example"), "mail.example");
        assert_eq!(Config::default().client_host("mx.example"), "mx.example");
        assert!(Config::default().check().is_ok());
    }

    #[test]
    fn the_https_port_belongs_to_the_http_port() {
        let port = |redirect_port, local| Config { redirect_port, ..Config::default() }.https_port(local);
        assert_eq!([port(0, 80), port(0, 2080), port(8443, 80)], [443, 2443, 8443]);
    }
}
