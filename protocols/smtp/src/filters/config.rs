//! The tables `[smtp.rspamd]`, `[smtp.clamd]`, `[smtp.dnsbl]` and `[smtp.greylist]` of the configuration.

use protocol::Size;
use serde::{Deserialize, Serialize};

use super::clamd::Address;
use super::rspamd::Service;

pub use super::dnsbl::Codes;

const DAY: u64 = 24 * 3600;
/// What a client waits for after the end of its message is ten minutes (RFC 5321 §4.5.3.2.6); all filters together have
/// to be done long before.
const LONGEST: u64 = 240;

/// What becomes of a message while a filter tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Away {
    /// It is taken as if the filter had nothing against it.
    Take,
    /// The client is to try again later.
    Defer,
    /// It is put into Junk.
    Junk,
}

/// What becomes of a message that a filter condemns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Guilty {
    /// It is refused.
    Refuse,
    /// It is put into Junk.
    Junk,
}

/// rspamd, which judges whether a message is spam.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rspamd {
    /// The URL of its normal or controller worker, or of its proxy; empty for no rspamd.
    pub url: String,
    /// The password that a controller worker asks for; empty for none.
    pub password: String,
    /// The largest message that it is asked about; rspamd's own `max_message` must not be less.
    pub max_message: Size,
    /// How many seconds it may take for a message.
    pub timeout: u64,
    /// What becomes of a message that it wants refused.
    pub reject: Guilty,
    /// What becomes of a message while it is away.
    pub away: Away,
}

impl Default for Rspamd {
    fn default() -> Self {
        Rspamd {
            url: String::new(),
            password: String::new(),
            max_message: Size(50 << 20),
            timeout: 30,
            reject: Guilty::Refuse,
            away: Away::Take,
        }
    }
}

/// clamd, which looks for viruses.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clamd {
    /// Its host and port, or the path of its Unix socket; empty for no clamd.
    pub address: String,
    /// How many seconds it may take for a message.
    pub timeout: u64,
    /// What becomes of a message with a virus.
    pub found: Guilty,
    /// What becomes of a message while it is away.
    pub away: Away,
}

impl Default for Clamd {
    fn default() -> Self {
        Clamd { address: String::new(), timeout: 60, found: Guilty::Refuse, away: Away::Take }
    }
}

/// Lists of addresses in DNS (RFC 5782).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dnsbl {
    /// The lists that are asked.
    pub lists: Vec<List>,
    /// From which sum of weights on a message is put into Junk.
    pub junk: i32,
    /// From which sum of weights on a message is refused.
    pub refuse: i32,
    /// How many seconds all lists together may take.
    pub timeout: u64,
}

impl Default for Dnsbl {
    fn default() -> Self {
        Dnsbl { lists: Vec::new(), junk: 1, refuse: 2, timeout: 5 }
    }
}

/// One list, or some of its codes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// The name of the list.
    pub zone: String,
    /// The answers that count: `127.0.0.2`, or `127.0.0.4-11` for several; none for all of them.
    #[serde(default)]
    pub codes: Vec<Codes>,
    /// What it counts; less than nothing for a list of the good.
    #[serde(default = "one")]
    pub weight: i32,
}

fn one() -> i32 {
    1
}

/// Unknown clients have to try again (RFC 6647).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Greylist {
    /// Whether they have to.
    pub enabled: bool,
    /// After how many seconds the same sender is let through to the same recipient.
    pub delay: u64,
    /// Within how many seconds it has to have tried again; after that it is unknown as before.
    pub window: u64,
    /// For how many seconds since its last message who came through is let through at once.
    pub remember: u64,
}

impl Default for Greylist {
    fn default() -> Self {
        Greylist { enabled: false, delay: 60, window: DAY, remember: 35 * DAY }
    }
}

impl Rspamd {
    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        if !self.url.is_empty() && Service::new(self).is_none() {
            Some("rspamd.url must be as http://127.0.0.1:11333, and rspamd.password one line of ASCII")
        } else if !(1..=LONGEST).contains(&self.timeout) {
            Some("rspamd.timeout must be from 1 to 240 seconds")
        } else {
            None
        }
    }
}

impl Clamd {
    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        if !self.address.is_empty() && Address::new(&self.address).is_none() {
            Some("clamd.address must be a host and port, as 127.0.0.1:3310, or the whole path of a socket")
        } else if !(1..=LONGEST).contains(&self.timeout) {
            Some("clamd.timeout must be from 1 to 240 seconds")
        } else {
            None
        }
    }
}

impl Dnsbl {
    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        if self.lists.len() > 50 {
            Some("dnsbl.lists must be 50 at most")
        } else if !self.lists.iter().all(|list| is_zone(&list.zone)) {
            Some("every zone of dnsbl.lists must be a domain name, as bl.example.org")
        } else if !self.lists.iter().all(|list| (-100..=100).contains(&list.weight) && list.weight != 0) {
            Some("every weight of dnsbl.lists must be from -100 to 100, and not 0")
        } else if self.junk < 1 || self.refuse < 1 {
            Some("dnsbl.junk and dnsbl.refuse must be one at least")
        } else if !(1..=60).contains(&self.timeout) {
            Some("dnsbl.timeout must be from 1 to 60 seconds")
        } else {
            None
        }
    }
}

impl Greylist {
    /// What is wrong with it; names the key.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        if self.delay == 0 || self.delay >= self.window {
            Some("greylist.delay must be one second at least and less than greylist.window")
        } else if self.window > 30 * DAY || self.remember > 365 * DAY || self.remember < DAY {
            Some("greylist.window must be 30 days at most, and greylist.remember from a day to a year")
        } else {
            None
        }
    }
}

/// Whether a name leaves room for an IPv6 address before it: 64 octets (RFC 5782 §2.4) of 253 (RFC 1035 §2.3.4).
fn is_zone(name: &str) -> bool {
    let is_label = |label: &str| {
        let signs = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        signs && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 - 64 && name.contains('.') && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dnsbl(text: &str) -> Dnsbl {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_defaults_are_good_and_read_back() {
        let wrong = [Rspamd::default().wrong(), Clamd::default().wrong(), Dnsbl::default().wrong()];
        assert_eq!((wrong, Greylist::default().wrong()), ([None; 3], None));
        fn same<T: Default + Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>() {
            let table = toml::Table::try_from(T::default()).unwrap();
            assert_eq!(table.try_into::<T>().unwrap(), T::default());
        }
        same::<Rspamd>();
        same::<Clamd>();
        same::<Dnsbl>();
        same::<Greylist>();
    }

    #[test]
    fn lists_read_with_their_codes_and_read_back() {
        let read = dnsbl(
            "lists = [{ zone = \"a.example\" }, { zone = \"b.example\", codes = [\"127.0.0.4-11\"], weight = -3 }]",
        );
        assert_eq!(read.lists[0], List { zone: "a.example".into(), codes: Vec::new(), weight: 1 });
        assert_eq!(read.lists[1].weight, -3);
        assert_eq!(read.wrong(), None);
        assert_eq!(dnsbl(&toml::to_string(&read).unwrap()), read);
        for wrong in [
            "lists = [{ zone = \"a.example\", codes = [\"10.0.0.1\"] }]",
            "lists = [{ zone = \"a.example\", wieght = 1 }]",
            "lists = [{ weight = 1 }]",
            "list = []",
        ] {
            assert!(toml::from_str::<Dnsbl>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for zone in ["", "example", "a..example", "a example.org", ".a.example", "-a.example", &"a.".repeat(100)] {
            let lists = vec![List { zone: zone.into(), codes: Vec::new(), weight: 1 }];
            assert!(Dnsbl { lists, ..Dnsbl::default() }.wrong().unwrap().contains("zone"), "{zone}");
        }
        assert!(dnsbl("lists = [{ zone = \"a.example\", weight = 0 }]").wrong().unwrap().contains("weight"));
        assert!(dnsbl("refuse = 0").wrong().unwrap().contains("refuse"));
        for url in ["https://rspamd.example", "127.0.0.1:11333", "http://", "ftp://a", "http://a b/", "http://u@a:1/"] {
            let rspamd = Rspamd { url: url.into(), ..Rspamd::default() };
            assert!(rspamd.wrong().is_some_and(|wrong| wrong.contains("rspamd.url")), "{url}");
        }
        let rspamd = Rspamd { url: "http://a:1".into(), password: "a\r\nB: c".into(), ..Rspamd::default() };
        assert!(rspamd.wrong().is_some(), "no second field by way of the password");
        for address in ["clamd", "run/clamd.ctl", ":3310", "a:", "a:0", "a:99999", "/"] {
            let clamd = Clamd { address: address.into(), ..Clamd::default() };
            assert!(clamd.wrong().is_some_and(|wrong| wrong.contains("clamd.address")), "{address}");
        }
        assert!(Clamd { timeout: 0, ..Clamd::default() }.wrong().unwrap().contains("clamd.timeout"));
        assert!(Greylist { delay: DAY, ..Greylist::default() }.wrong().unwrap().contains("delay"));
        assert!(Greylist { remember: 5, ..Greylist::default() }.wrong().unwrap().contains("remember"));
    }
}
