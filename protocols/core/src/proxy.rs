//! The PROXY protocol, versions 1 and 2: what a load balancer says of a connection before the connection begins. A pure
//! codec, without I/O; the section numbers are those of HAProxy's proxy-protocol.txt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// What the bytes that have come are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header. At least so many bytes more belong to it: to read no more than these at once is to
    /// read nothing of what follows the header.
    Incomplete(usize),
    /// No header, and what is wrong with it.
    Invalid(&'static str),
    /// A whole header of `length` bytes; what stands behind it is the connection's own.
    Complete {
        /// How many bytes the header has.
        length: usize,
        /// What it says.
        origin: Origin,
    },
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From a client behind the balancer.
    Client {
        /// The client's address.
        source: SocketAddr,
        /// The balancer's address that the client connected to.
        destination: SocketAddr,
    },
    /// From the balancer itself, as a health check; the socket's addresses are the right ones.
    Local,
    /// From a client without an IP address, or one the balancer does not tell; the socket's addresses must do.
    Unknown,
}

/// What version 2 begins with; no line of text can (§2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (§2.1).
const WORD: &[u8] = b"PROXY ";
/// The shortest header there is: `PROXY UNKNOWN` and its line end.
const SHORTEST: usize = 15;
/// The longest line of version 1, with its end (§2.1).
const LONGEST_LINE: usize = 107;
/// What stands before the addresses of version 2: signature, version and command, family, length.
const FIXED: usize = 16;
/// The most that addresses and extensions (TLVs) of version 2 may take. The protocol leaves room for 65535 bytes;
/// addresses take 216 at most, and no balancer has more than a few hundred to say beside them.
const LONGEST_BLOCK: usize = 1024;

/// Reads a header at the beginning of `bytes`.
///
/// Extensions of version 2 are skipped, though their lengths must fit. Their CRC32C (§2.2.3) is not verified: TCP has
/// checksums of its own, and the protocol asks no receiver to.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    if begins(bytes, WORD) {
        line(bytes)
    } else if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else {
        Parsed::Invalid("no PROXY header")
    }
}

/// Whether `bytes`, as far as they go, are the beginning of what begins with `start`.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

/// Version 1: one line of text (§2.1).
fn line(bytes: &[u8]) -> Parsed {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
        let missing = if bytes.last() == Some(&b'\r') { 1 } else { 2 };
        let missing = missing.max(SHORTEST.saturating_sub(bytes.len()));
        if bytes.len() + missing > LONGEST_LINE {
            return Parsed::Invalid("the line is longer than 107 bytes");
        }
        return Parsed::Incomplete(missing);
    };
    if end >= LONGEST_LINE {
        return Parsed::Invalid("the line is longer than 107 bytes");
    }
    let text = bytes[..end].strip_suffix(b"\r").and_then(|line| line.strip_prefix(WORD));
    let Some(text) = text.filter(|text| !text.contains(&b'\r')) else {
        return Parsed::Invalid("the line does not end with CRLF");
    };
    let origin = match text.split(|&byte| byte == b' ').next() {
        // Whatever else stands on the line must be ignored.
        Some(b"UNKNOWN") => Some(Origin::Unknown),
        Some(b"TCP4") => told::<Ipv4Addr>(&text[4..]),
        Some(b"TCP6") => told::<Ipv6Addr>(&text[4..]),
        _ => return Parsed::Invalid("the line names neither TCP4 nor TCP6 nor UNKNOWN"),
    };
    match origin {
        Some(origin) => Parsed::Complete { length: end + 1, origin },
        None => Parsed::Invalid("the line does not hold two addresses and two ports"),
    }
}

/// Two addresses and two ports, a single space before each.
fn told<A: FromStr + Into<IpAddr>>(text: &[u8]) -> Option<Origin> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.strip_prefix(' ')?.split(' ');
    let mut address = || Some(words.next()?.parse::<A>().ok()?.into());
    let (source, destination) = (address()?, address()?);
    let mut port = || number(words.next()?);
    let (source_port, destination_port) = (port()?, port()?);
    let client = Origin::Client {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    };
    words.next().is_none().then_some(client)
}

/// A port in decimal: digits alone, without a sign or a leading zero.
fn number(text: &str) -> Option<u16> {
    let plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if plain { text.parse().ok() } else { None }
}

/// Version 2 (§2.2).
fn binary(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Parsed::Incomplete(FIXED - bytes.len());
    };
    let (version, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let addresses = match (version, family) {
        // LOCAL: the family is ignored, and so is the block (§2.2).
        (0x20, _) | (0x21, 0x00) => None,
        (0x21, 0x11) => Some(12),
        (0x21, 0x21) => Some(36),
        (0x21, 0x31) => Some(216),
        (0x21, _) => return Parsed::Invalid("the address family is none of a stream's"),
        _ => return Parsed::Invalid("the version is not 2, or the command neither LOCAL nor PROXY"),
    };
    if length > LONGEST_BLOCK {
        return Parsed::Invalid("the header is longer than 1024 bytes");
    }
    if addresses.is_some_and(|needed| length < needed) {
        return Parsed::Invalid("the header is too short for its addresses");
    }
    let Some(block) = rest.get(..length) else { return Parsed::Incomplete(length - rest.len()) };
    let (block, extensions) = block.split_at(addresses.unwrap_or(length));
    if !fit(extensions) {
        return Parsed::Invalid("an extension is longer than the header");
    }
    let origin = match (version, family) {
        (0x20, _) => Some(Origin::Local),
        (_, 0x11) => pair::<4>(block),
        (_, 0x21) => pair::<16>(block),
        _ => Some(Origin::Unknown),
    };
    match origin {
        Some(origin) => Parsed::Complete { length: FIXED + length, origin },
        None => Parsed::Invalid("the header is too short for its addresses"),
    }
}

/// Two addresses of `N` bytes, then two ports.
fn pair<const N: usize>(block: &[u8]) -> Option<Origin>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let destination_port = rest.first_chunk::<2>()?;
    let end = |address: &[u8; N], port: &[u8; 2]| SocketAddr::new((*address).into(), u16::from_be_bytes(*port));
    Some(Origin::Client { source: end(source, source_port), destination: end(destination, destination_port) })
}

/// Whether extensions, each a type, a length and so many bytes, end where the header does (§2.2).
fn fit(mut extensions: &[u8]) -> bool {
    while let [_, high, low, rest @ ..] = extensions {
        let Some(next) = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) else { return false };
        extensions = next;
    }
    extensions.is_empty()
}

#[cfg(test)]
#[path = "proxy/tests.rs"]
mod tests;
