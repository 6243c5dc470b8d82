//! Lists of addresses in DNS (RFC 5782): who is on which list, and what that weighs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::config::Dnsbl;
use crate::dns::Nothing;

/// Who tells the IPv4 addresses of a name.
pub(crate) trait Addresses4: Clone + Send + Sync + 'static {
    /// The addresses of a name that is asked for as it is.
    ///
    /// # Errors
    /// Says why there are none.
    fn addresses4(&self, name: &str) -> impl Future<Output = Result<Vec<Ipv4Addr>, Nothing>> + Send;
}

/// What the lists say of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    /// The lists that it is on, in their order in the configuration.
    pub(crate) listed: Vec<String>,
    /// The sum of their weights.
    pub(crate) weight: i32,
    /// Why a list told nothing that can be used; for the log.
    pub(crate) ignored: Vec<String>,
}

/// What each list answered, by its name.
pub(crate) type Answers = BTreeMap<String, Result<Vec<Ipv4Addr>, Nothing>>;

/// Asks all lists about a client at once, each list a single time, and weighs what they say. Nobody is asked about an
/// address that is not of the public internet.
pub(crate) async fn ask<A: Addresses4>(dns: &A, config: &Dnsbl, client: IpAddr) -> Verdict {
    let Some(labels) = labels(client) else { return Verdict::default() };
    let mut answers: Answers = config.lists.iter().map(|list| (list.zone.clone(), Err(unanswered()))).collect();
    let mut questions = JoinSet::new();
    for zone in answers.keys().cloned() {
        let (dns, name) = (dns.clone(), format!("{labels}.{zone}."));
        questions.spawn(async move { (zone, dns.addresses4(&name).await) });
    }
    let until = Instant::now() + Duration::from_secs(config.timeout);
    // Questions without an answer by then end with the set.
    while let Ok(Some(answered)) = timeout_at(until, questions.join_next()).await {
        if let Ok((zone, answer)) = answered {
            answers.insert(zone, answer);
        }
    }
    weigh(config, &answers)
}

fn unanswered() -> Nothing {
    Nothing::Unknown("no answer in time".to_owned())
}

/// The labels that stand for an address in a list (RFC 5782 §2.1, §2.4): its octets or nibbles, the last one first.
/// None for an address that means something else to each who asks.
pub(crate) fn labels(client: IpAddr) -> Option<String> {
    let client = client.to_canonical();
    if !is_public(client) {
        return None;
    }
    Some(match client {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 0xf, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    })
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            let special = address.is_private() || address.is_loopback() || address.is_link_local();
            !(special || shared || a == 0 || address.is_multicast() || a >= 240)
        }
        IpAddr::V6(address) => {
            let special = address.is_unique_local() || address.is_unicast_link_local() || address.is_multicast();
            !(special || address.is_loopback() || address.is_unspecified())
        }
    }
}

/// What the answers weigh; a list counts once however many of its answers count.
pub(crate) fn weigh(config: &Dnsbl, answers: &Answers) -> Verdict {
    let mut verdict = Verdict::default();
    for (zone, answer) in answers {
        match answer {
            Ok(addresses) => {
                let reasons = addresses.iter().filter_map(|address| no_code(*address).map(|why| (address, why)));
                verdict.ignored.extend(reasons.map(|(address, why)| format!("{zone} answered {address}: {why}")));
            }
            Err(Nothing::Unknown(why)) => verdict.ignored.push(format!("{zone}: {why}")),
            Err(Nothing::Name | Nothing::Data) => {}
        }
    }
    for list in &config.lists {
        let Some(Ok(addresses)) = answers.get(&list.zone) else { continue };
        let counts = |address: &Ipv4Addr| {
            let named = list.codes.is_empty() || list.codes.iter().any(|codes| codes.contain(*address));
            no_code(*address).is_none() && named
        };
        if addresses.iter().any(counts) {
            verdict.weight = verdict.weight.saturating_add(list.weight);
            verdict.listed.push(list.zone.clone());
        }
    }
    verdict
}

/// Why an answer says nothing of the client.
fn no_code(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, 255, 255, _] => Some("its operator does not answer this server, or its name is misspelt"),
        [127, 0, 0, 1] => Some("a resolver between hides the list"),
        [127, ..] => None,
        // RFC 5782 §2.1: nothing else stands in a list; a domain that was sold answers so to every question.
        _ => Some("not an answer of a list"),
    }
}

/// Answers of a list, as one of `127.0.0.2` or several of `127.0.0.4-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    first: Ipv4Addr,
    last: u8,
}

impl Codes {
    fn contain(self, address: Ipv4Addr) -> bool {
        let ([a, b, c, first], [d, e, f, code]) = (self.first.octets(), address.octets());
        (a, b, c) == (d, e, f) && (first..=self.last).contains(&code)
    }
}

impl FromStr for Codes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a code of a list is as 127.0.0.2, or as 127.0.0.4-11";
        let (first, last) = text.split_once('-').map_or((text, None), |(first, last)| (first, Some(last)));
        let first: Ipv4Addr = first.parse().map_err(|_| wrong)?;
        let least = first.octets()[3];
        let last = last.map_or(Ok(least), str::parse).map_err(|_| wrong)?;
        if first.is_loopback() && least <= last && no_code(first).is_none() {
            Ok(Codes { first, last })
        } else {
            Err(wrong)
        }
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.first)?;
        if self.last > self.first.octets()[3] { write!(out, "-{}", self.last) } else { Ok(()) }
    }
}

impl Serialize for Codes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::config::List;
    use std::sync::{Arc, Mutex};

    /// A DNS that knows these names; asked for what begins with `stuck` it never answers.
    #[derive(Clone, Default)]
    struct Known {
        names: Arc<Vec<(String, Vec<Ipv4Addr>)>>,
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Addresses4 for Known {
        async fn addresses4(&self, name: &str) -> Result<Vec<Ipv4Addr>, Nothing> {
            self.asked.lock().unwrap().push(name.to_owned());
            if name.contains(".stuck.") {
                std::future::pending::<()>().await;
            }
            let known = self.names.iter().find(|(known, _)| known == name);
            known.map(|(_, addresses)| addresses.clone()).ok_or(Nothing::Name)
        }
    }

    fn list(zone: &str, codes: &[&str], weight: i32) -> List {
        let codes = codes.iter().map(|codes| codes.parse().unwrap()).collect();
        List { zone: zone.into(), codes, weight }
    }

    fn answers(pairs: &[(&str, &[[u8; 4]])]) -> Answers {
        let addresses = |octets: &[[u8; 4]]| octets.iter().map(|octets| Ipv4Addr::from(*octets)).collect();
        pairs.iter().map(|(zone, octets)| ((*zone).to_owned(), Ok(addresses(octets)))).collect()
    }

    #[test]
    fn addresses_turn_into_the_names_of_the_rfc() {
        let labels = |text: &str| labels(text.parse().unwrap());
        assert_eq!(labels("192.0.2.99").as_deref(), Some("99.2.0.192"));
        assert_eq!(labels("::ffff:192.0.2.99").as_deref(), Some("99.2.0.192"));
        let six = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4";
        assert_eq!(labels("4321:0:1:2:3:4:567:89ab").as_deref(), Some(six), "the example of RFC 3596 §2.5");
        for own in [
            "10.1.2.3",
            "127.0.0.2",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(labels(own), None, "{own}");
        }
    }

    #[test]
    fn only_codes_of_lists_count_and_the_rest_is_told() {
        let lists = vec![list("a.example", &[], 1), list("b.example", &[], 2)];
        let config = Dnsbl { lists, ..Dnsbl::default() };
        let refused: &[[u8; 4]] = &[[127, 255, 255, 254], [192, 0, 2, 1], [127, 0, 0, 1]];
        let verdict = weigh(&config, &answers(&[("a.example", refused), ("b.example", &[[127, 0, 0, 2]])]));
        assert_eq!((verdict.weight, verdict.listed), (2, vec!["b.example".to_owned()]));
        assert_eq!(verdict.ignored.len(), 3);
        assert!(verdict.ignored.iter().all(|why| why.starts_with("a.example answered ")));
        let unknown = BTreeMap::from([("a.example".to_owned(), Err(unanswered()))]);
        let verdict = weigh(&config, &unknown);
        assert_eq!((verdict.weight, verdict.ignored), (0, vec!["a.example: no answer in time".to_owned()]));
        let none = BTreeMap::from([("a.example".to_owned(), Err(Nothing::Name))]);
        assert_eq!(weigh(&config, &none), Verdict::default(), "not on a list is nothing to tell");
    }

    #[test]
    fn codes_choose_and_weights_add_up() {
        let bad = list("bl.example", &["127.0.0.2", "127.0.0.4-11"], 3);
        let lists = vec![bad, list("bl.example", &["127.0.1.2"], 1), list("good.example", &[], -2)];
        let config = Dnsbl { lists, ..Dnsbl::default() };
        let weight = |codes: &[[u8; 4]]| weigh(&config, &answers(&[("bl.example", codes)])).weight;
        assert_eq!(weight(&[[127, 0, 0, 2]]), 3);
        assert_eq!(weight(&[[127, 0, 0, 3]]), 0);
        assert_eq!(weight(&[[127, 0, 0, 4]]), 3);
        assert_eq!(weight(&[[127, 0, 0, 11], [127, 0, 0, 2]]), 3);
        assert_eq!(weight(&[[127, 0, 0, 12]]), 0);
        assert_eq!(weight(&[[127, 0, 1, 2], [127, 0, 0, 5]]), 4);
        let both = answers(&[("bl.example", &[[127, 0, 0, 2]]), ("good.example", &[[127, 0, 0, 2]])]);
        assert_eq!(weigh(&config, &both).weight, 1);
    }

    #[test]
    fn codes_are_read_strictly() {
        for good in ["127.0.0.2", "127.0.0.4-11", "127.1.0.0-255"] {
            assert_eq!(good.parse::<Codes>().unwrap().to_string(), good);
        }
        for bad in
            ["", "127.0.0", "10.0.0.2", "127.0.0.9-2", "127.0.0.2-", "127.0.0.2-256", "127.0.0.1", "127.255.255.1"]
        {
            assert!(bad.parse::<Codes>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn all_lists_are_asked_at_once_and_none_is_waited_for() {
        let name = "7.2.0.192.bl.example.".to_owned();
        let dns = Known { names: Arc::new(vec![(name, vec![Ipv4Addr::new(127, 0, 0, 2)])]), ..Known::default() };
        let lists = ["stuck.a.example", "bl.example", "bl.example", "stuck.b.example", "none.example"];
        let lists = lists.iter().map(|zone| list(zone, &[], 1)).collect();
        let config = Dnsbl { lists, timeout: 5, ..Dnsbl::default() };
        let begun = Instant::now();
        let verdict = ask(&dns, &config, "192.0.2.7".parse().unwrap()).await;
        // Two that are waited for one after the other take ten.
        assert!((5..10).contains(&begun.elapsed().as_secs()));
        assert_eq!(verdict.weight, 2);
        assert_eq!(verdict.ignored, ["stuck.a.example: no answer in time", "stuck.b.example: no answer in time"]);
        let asked = dns.asked.lock().unwrap().clone();
        assert_eq!(asked.iter().filter(|name| name.ends_with(".bl.example.")).count(), 1, "{asked:?}");
        assert_eq!(ask(&dns, &config, "10.0.0.1".parse().unwrap()).await, Verdict::default());
        assert_eq!(dns.asked.lock().unwrap().len(), asked.len(), "own addresses are nobody's business");
    }
}
