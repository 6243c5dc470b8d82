//! The table `[imap]` of the configuration.

use std::collections::BTreeMap;

use protocol::{ConfigError, Size};
use serde::{Deserialize, Serialize};

use crate::capabilities;

/// Limits, and who is offered what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The largest message taken; `APPENDLIMIT` tells it to clients.
    pub max_message: Size,
    /// How many seconds a client may stay silent between commands, and in IDLE.
    pub idle_timeout: u64,
    /// How many refused commands in a row end a session.
    pub max_errors: u32,
    /// What the greeting says behind the host's name.
    pub banner: String,
    /// Capabilities that nobody is offered.
    pub disable: Vec<String>,
    /// Capabilities that an account is not offered, by the account's name.
    pub accounts: BTreeMap<String, Vec<String>>,
    /// Capabilities that a client is not offered, by the name it gives itself in ID.
    pub clients: BTreeMap<String, Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_message: Size(50 << 20),
            idle_timeout: 1800,
            max_errors: 20,
            banner: "Wharfinger".to_owned(),
            disable: Vec::new(),
            accounts: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Whether every value makes sense.
    ///
    /// # Errors
    /// Names the first key that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        protocol::check_timeout("imap", "idle_timeout", self.idle_timeout, 60)?;
        let lists = [&self.disable].into_iter().chain(self.accounts.values()).chain(self.clients.values());
        let unknown = lists.flatten().find(|name| !capabilities::is_known(name));
        let wrong = if self.max_message.0 < 64 << 10 || self.max_message.0 > u64::from(u32::MAX) {
            "max_message must be between 64K and 4G".to_owned()
        } else if self.max_errors == 0 {
            "max_errors must be one at least".to_owned()
        } else if !self.banner.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || self.banner.len() > 200 {
            "banner must be one line of printable ASCII, of 200 characters at most".to_owned()
        } else if let Some(unknown) = unknown {
            format!("{unknown:?} is no capability of this server; they are {}", capabilities::names().join(", "))
        } else {
            return Ok(());
        };
        Err(ConfigError { module: "imap", message: wrong })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_read_back() {
        let table = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(protocol::read_config::<Config>("imap", table).unwrap(), Config::default());
    }

    #[test]
    fn senseless_values_are_named() {
        let read = |text: &str| protocol::read_config::<Config>("imap", text.parse().unwrap());
        assert!(read("idle = 5").unwrap_err().to_string().contains("idle"));
        for idle in [59, i64::MAX] {
            assert!(read(&format!("idle_timeout = {idle}")).unwrap().check().is_err(), "{idle}");
        }
        let wrong = read("disable = [\"IDLE\"]\n[clients]\n\"Old Mail\" = [\"QRESINC\"]").unwrap().check();
        assert!(wrong.unwrap_err().to_string().contains("QRESINC"));
        assert!(read("disable = [\"compress=deflate\"]\n[accounts]\nalice = [\"IDLE\"]").unwrap().check().is_ok());
    }
}
