//! The table `[ftp]` of the configuration.

use std::net::Ipv4Addr;

use protocol::{ConfigError, Protection};
use serde::{Deserialize, Serialize};

/// Limits and words of the FTP server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many seconds a client may stay silent between commands.
    pub idle_timeout: u64,
    /// What ties a data connection to its control connection beside the address.
    pub data_binding: Binding,
    /// The IPv4 address told in PASV, where the server stands behind address translation; empty for the one reached.
    pub passive_address: String,
    /// What the greeting says behind the host's name.
    pub banner: String,
}

/// What ties a data connection to its control connection beside the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// It must resume the TLS session of the control connection, so that nobody behind the same address can take it.
    Session,
    /// The address alone, for clients that do not resume.
    Address,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            idle_timeout: 300,
            data_binding: Binding::Session,
            passive_address: String::new(),
            banner: "Wharfinger".to_owned(),
        }
    }
}

impl Config {
    /// Whether every value makes sense.
    ///
    /// # Errors
    /// Names the first key that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        protocol::check_timeout("ftp", "idle_timeout", self.idle_timeout, 1)?;
        let wrong = if !self.passive_address.is_empty() && self.translated().is_none() {
            "passive_address must be an IPv4 address, such as \"203.0.113.5\", or empty"
        } else if !self.banner.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || self.banner.len() > 200 {
            "banner must be one line of printable ASCII, of 200 characters at most"
        } else {
            return Ok(());
        };
        Err(ConfigError { module: "ftp", message: wrong.to_owned() })
    }

    /// The address that clients outside reach us at, when it is not our own.
    pub(crate) fn translated(&self) -> Option<Ipv4Addr> {
        self.passive_address.parse().ok()
    }

    /// What a data connection after PROT P must show.
    pub(crate) fn private(&self) -> Protection {
        Protection::Private { bound: self.data_binding == Binding::Session }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_read_back_with_every_key() {
        let table = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(table.len(), 4, "every key is there for the nearest-name hint");
        assert_eq!(protocol::read_config::<Config>("ftp", table).unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_and_a_senseless_value_are_named() {
        let read = |text: &str| protocol::read_config::<Config>("ftp", text.parse().unwrap());
        assert!(read("data_bindin = 5").unwrap_err().to_string().contains("data_bindin"));
        assert!(read("data_binding = \"none\"").unwrap_err().to_string().contains("session"));
        let idle = |seconds: i64| (format!("idle_timeout = {seconds}"), "idle_timeout");
        for (text, key) in [("passive_address = \"::1\"".to_owned(), "passive_address"), idle(0), idle(i64::MAX)] {
            assert!(read(&text).unwrap().check().unwrap_err().to_string().contains(key));
        }
        assert!(read("banner = \"a\\r\\nb\"").unwrap().check().is_err(), "no second line by way of the banner");
    }
}
