//! Networks as an administrator writes them: `10.0.0.0/8`, `127.0.0.1`, `::1`.

use std::net::IpAddr;
use std::str::FromStr;

/// A set of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// One network: the addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Networks {
    /// Whether `address` is in one of them; an IPv4 address written as an IPv6 one counts as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Networks(networks.into_iter().collect())
    }
}

/// A text that is no network; says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address or a network, like \"192.0.2.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"{1}")]
pub struct BadNetwork(String, &'static str);

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = |hint| BadNetwork(text.to_owned(), hint);
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad(""))?;
        let width = width(address);
        let plain =
            |bits: &str| bits.bytes().all(|digit| digit.is_ascii_digit()) && !(bits.len() > 1 && bits.starts_with('0'));
        let bits = match bits {
            None => width,
            Some(bits) if plain(bits) => bits.parse().map_err(|_| bad(""))?,
            Some(_) => return Err(bad("")),
        };
        if bits > width {
            return Err(bad("; an IPv4 network has at most 32 bits, an IPv6 one 128"));
        }
        // Whom to trust is not the place to guess whether the address or the length was meant.
        if number(address) & !mask(width, bits) != 0 {
            return Err(bad("; the address has bits behind the network's length"));
        }
        // An IPv4 address written as an IPv6 one has ones right before its 32 bits, so the network is within them.
        let canonical = address.to_canonical();
        Ok(Network { address: canonical, bits: bits - (width - self::width(canonical)) })
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let width = width(self.address);
        self.address.is_ipv4() == address.is_ipv4() && number(address) & mask(width, self.bits) == number(self.address)
    }
}

/// How many bits an address of this family has.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The first `bits` of `width`.
fn mask(width: u8, bits: u8) -> u128 {
    let rest = u32::from(width - bits);
    u128::MAX.checked_shl(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_alone() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["11.0.0.0", "::a00:1"][..]),
            ("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.8/31", &["192.0.2.8", "192.0.2.9"], &["192.0.2.7", "192.0.2.10"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::", "::1"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0", "::"]),
            ("::ffff:127.0.0.1", &["127.0.0.1"], &["127.0.0.2", "::1"]),
            ("::1", &["::1"], &["::", "::2", "0.0.0.1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "2001:db7:ffff::"]),
            ("::/0", &["::", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]),
        ] {
            let networks: Networks = [text.parse().unwrap()].into_iter().collect();
            for address in inside {
                assert!(networks.contains(address.parse().unwrap()), "{address} is in {text}");
            }
            for address in outside {
                assert!(!networks.contains(address.parse().unwrap()), "{address} is not in {text}");
            }
        }
        assert!(!Networks::default().contains([127, 0, 0, 1].into()), "nobody is trusted unless told");
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in [
            "",
            "/",
            "here",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0/8",
            "::/129",
            "10.0.0.1/8",
            "10.0.0.0/8/8",
            "010.0.0.0/8",
            " ::1",
            "::ffff:0:0/95",
            "::1/999",
        ] {
            let error = text.parse::<Network>().expect_err(text).to_string();
            assert!(error.starts_with(&format!("{text:?} is not an address or a network, like")), "{error}");
        }
    }
}
