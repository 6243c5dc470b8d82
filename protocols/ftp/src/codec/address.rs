//! Addresses of data connections: `h1,h2,h3,h4,p1,p2` (RFC 959 §4.1.2) and `|family|address|port|` (RFC 2428 §2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use super::Fault;

/// An address family by its number (RFC 2428 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `1`.
    V4,
    /// `2`.
    V6,
}

impl Family {
    /// The family of an address; one that IPv6 only wraps is IPv4.
    pub fn of(address: IpAddr) -> Family {
        if address.to_canonical().is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Its number.
    pub fn number(self) -> &'static str {
        match self {
            Family::V4 => "1",
            Family::V6 => "2",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Family, Fault> {
        match text {
            "1" => Ok(Family::V4),
            "2" => Ok(Family::V6),
            _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Err(Fault::Value(FAMILIES)),
            _ => Err(Fault::Argument("1 for IPv4, 2 for IPv6")),
        }
    }
}

/// RFC 2428 §2 gives the reply 522 this form.
pub const FAMILIES: &str = "Network protocol not supported, use (1,2)";

/// Reads the argument of PORT.
pub(super) fn port(text: &str) -> Result<SocketAddrV4, Fault> {
    const WRONG: Fault = Fault::Argument("PORT h1,h2,h3,h4,p1,p2");
    let mut numbers = [0u8; 6];
    let mut parts = text.trim().split(',');
    for number in &mut numbers {
        let part = parts.next().ok_or(WRONG)?;
        let digits = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = if digits { part.parse().map_err(|_| WRONG)? } else { return Err(WRONG) };
    }
    let [a, b, c, d, high, low] = numbers;
    if parts.next().is_some() {
        return Err(WRONG);
    }
    Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
}

/// Reads the argument of EPRT, with whatever delimiter the client chose.
pub(super) fn eprt(text: &str) -> Result<SocketAddr, Fault> {
    const WRONG: Fault = Fault::Argument("EPRT |1|address|port|");
    let text = text.trim();
    let delimiter = text.chars().next().filter(|char| ('!'..='~').contains(char) && !char.is_alphanumeric());
    let parts: Vec<&str> = text.split(delimiter.ok_or(WRONG)?).collect();
    let ["", family, address, port, ""] = parts[..] else { return Err(WRONG) };
    let address = match Family::parse(family)? {
        Family::V4 => IpAddr::V4(address.parse::<Ipv4Addr>().map_err(|_| WRONG)?),
        Family::V6 => IpAddr::V6(address.parse::<Ipv6Addr>().map_err(|_| WRONG)?),
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = if digits { port.parse().map_err(|_| WRONG)? } else { return Err(WRONG) };
    Ok(SocketAddr::new(address, port))
}

/// Writes an address as PORT and the reply to PASV do.
pub fn comma(target: SocketAddrV4) -> String {
    let ([a, b, c, d], [high, low]) = (target.ip().octets(), target.port().to_be_bytes());
    format!("{a},{b},{c},{d},{high},{low}")
}

/// Writes an address as EPRT does.
pub(super) fn bars(target: SocketAddr) -> String {
    let family = if target.is_ipv4() { Family::V4 } else { Family::V6 };
    format!("|{}|{}|{}|", family.number(), target.ip(), target.port())
}
