//! The table `[pop3]` of the configuration.

use protocol::ConfigError;
use serde::{Deserialize, Serialize};

/// Limits and words of the POP3 server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many seconds a client may stay silent between commands (RFC 1939 §3 asks for ten minutes at least).
    pub idle_timeout: u64,
    /// How many refused commands in a row end a session.
    pub max_errors: u32,
    /// What the greeting says behind the host's name.
    pub banner: String,
}

impl Default for Config {
    fn default() -> Self {
        Config { idle_timeout: 600, max_errors: 20, banner: "Wharfinger".to_owned() }
    }
}

impl Config {
    /// Whether every value makes sense.
    ///
    /// # Errors
    /// Names the first key that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        protocol::check_timeout("pop3", "idle_timeout", self.idle_timeout, 1)?;
        let wrong = if self.max_errors == 0 {
            "max_errors must be one at least"
        } else if !self.banner.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || self.banner.len() > 200 {
            "banner must be one line of printable ASCII, of 200 characters at most"
        } else if self.banner.contains('<') {
            "banner must not contain \"<\": clients would take what follows for an APOP timestamp (RFC 1939 §7)"
        } else {
            return Ok(());
        };
        Err(ConfigError { module: "pop3", message: wrong.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_read_back() {
        let table = toml::Table::try_from(Config::default()).unwrap();
        let config: Config = protocol::read_config("pop3", table).unwrap();
        assert_eq!(config, Config::default());
        assert!(config.check().is_ok() && config.idle_timeout >= 600);
    }

    #[test]
    fn an_unknown_key_and_a_senseless_value_are_named() {
        let read = |text: &str| protocol::read_config::<Config>("pop3", text.parse().unwrap());
        assert!(read("idle = 5").unwrap_err().to_string().contains("idle"));
        for (text, key) in [
            ("idle_timeout = 0", "idle_timeout"),
            ("idle_timeout = 9223372036854775807", "idle_timeout"),
            ("max_errors = 0", "max_errors"),
            ("banner = \"a\\r\\nb\"", "banner"),
            ("banner = \"<1.2@host>\"", "banner"),
        ] {
            assert!(read(text).unwrap().check().unwrap_err().to_string().contains(key), "{text}");
        }
    }
}
