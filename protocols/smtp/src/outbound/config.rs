//! The table `[smtp.outbound]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage::Terms;

/// How mail is sent to other servers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The port of other servers.
    pub port: u16,
    /// The most connections at once.
    pub connections: u32,
    /// The most connections to one destination at once.
    pub per_destination: u32,
    /// The shortest time between two tries of a message, in seconds.
    pub retry_least: u64,
    /// The longest time between two tries of a message, in seconds.
    pub retry_most: u64,
    /// The longest time that a destination rests that cannot be reached, in seconds.
    pub rest_most: u64,
    /// How long a message is tried, in seconds (RFC 5321 §4.5.4.1 asks for four to five days).
    pub lifetime: u64,
    /// How long a notification is tried, in seconds.
    pub notification_lifetime: u64,
    /// After how many seconds a sender is told that its message is still tried; 0 for never.
    pub warning: u64,
    /// To how many recipients elsewhere an account may send in an hour; 0 is without limit.
    pub hourly: u32,
}

const DAY: u64 = 24 * 3600;

impl Default for Config {
    fn default() -> Self {
        Config {
            port: 25,
            connections: 200,
            per_destination: 20,
            retry_least: 300,
            retry_most: 4000,
            rest_most: 3600,
            lifetime: 5 * DAY,
            notification_lifetime: 2 * DAY,
            warning: 4 * 3600,
            hourly: 500,
        }
    }
}

impl Config {
    /// What holds for a message that comes now.
    pub(crate) fn terms(&self, notification: bool) -> Terms {
        let lifetime = if notification { self.notification_lifetime } else { self.lifetime };
        let warning = Some(self.warning).filter(|warning| *warning > 0 && !notification);
        Terms {
            lifetime: Duration::from_secs(lifetime),
            warning: warning.map(Duration::from_secs),
            hourly: Some(self.hourly).filter(|hourly| *hourly > 0),
        }
    }

    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        let times = [self.retry_least, self.retry_most, self.rest_most, self.lifetime, self.notification_lifetime];
        if self.port == 0 {
            Some("outbound.port must be one at least")
        } else if self.connections == 0 || self.per_destination == 0 {
            Some("outbound.connections and outbound.per_destination must be one at least")
        } else if times.iter().any(|time| *time == 0 || *time > 365 * DAY) || self.warning > 365 * DAY {
            Some("the times of outbound must be a second at least and a year at most")
        } else if self.retry_least > self.retry_most {
            Some("outbound.retry_least must not be more than outbound.retry_most")
        } else {
            None
        }
    }
}
