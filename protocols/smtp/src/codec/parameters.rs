//! What stands behind the paths of `MAIL` and `RCPT`: the parameters of extensions.

use std::fmt;

use super::{Fault, number};

/// The longest envelope id, encoded (RFC 3461 §4.4).
const ENVID: usize = 100;
/// The longest original recipient, encoded (RFC 3461 §4.2).
const ORCPT: usize = 500;

/// The parameters of `MAIL` that some listener offers; a listener may still refuse one that it did not offer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=n` (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152, RFC 3030).
    pub body: Option<Body>,
    /// `SMTPUTF8` (RFC 6531).
    pub utf8: bool,
    /// `REQUIRETLS` (RFC 8689).
    pub require_tls: bool,
    /// `RET=` (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// `ENVID=`, in xtext as it came (RFC 3461 §4.4).
    pub envid: Option<String>,
    /// `AUTH=mailbox`, in xtext as it came (RFC 4954 §5).
    pub auth: Option<String>,
}

/// What the client says of the octets of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// ASCII alone.
    SevenBit,
    /// Any octets, in lines.
    EightBit,
    /// Any octets.
    Binary,
}

/// How much of the message a notification brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// The header alone.
    Headers,
}

/// The parameters of `RCPT` (RFC 3461 §4.1, §4.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// `NOTIFY=`; nothing of it is `NEVER`.
    pub notify: Option<Notify>,
    /// `ORCPT=type;address`, the address in xtext as it came.
    pub original: Option<String>,
}

/// What the sender wants to be told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notify {
    /// That the message was delivered.
    pub success: bool,
    /// That it cannot be.
    pub failure: bool,
    /// That it takes long.
    pub delay: bool,
}

impl MailParameters {
    /// Reads what stands behind the path.
    ///
    /// # Errors
    /// [`Fault::Parameter`] and [`Fault::Value`].
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut all = MailParameters::default();
        for (keyword, value) in words(text) {
            match keyword.as_str() {
                "SIZE" => once(&mut all.size, value.and_then(number), "SIZE")?,
                "BODY" => once(&mut all.body, value.and_then(body), "BODY")?,
                "RET" => once(&mut all.ret, value.and_then(ret), "RET")?,
                "ENVID" => once(&mut all.envid, value.and_then(|value| xtext(value, ENVID)), "ENVID")?,
                "AUTH" => once(&mut all.auth, value.filter(|value| !value.is_empty()).map(str::to_owned), "AUTH")?,
                "SMTPUTF8" => flag(&mut all.utf8, value, "SMTPUTF8")?,
                "REQUIRETLS" => flag(&mut all.require_tls, value, "REQUIRETLS")?,
                _ => return Err(Fault::Parameter(keyword)),
            }
        }
        Ok(all)
    }
}

impl RcptParameters {
    /// Reads what stands behind the path.
    ///
    /// # Errors
    /// [`Fault::Parameter`] and [`Fault::Value`].
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let mut all = RcptParameters::default();
        for (keyword, value) in words(text) {
            match keyword.as_str() {
                "NOTIFY" => once(&mut all.notify, value.and_then(notify), "NOTIFY")?,
                "ORCPT" => once(&mut all.original, value.and_then(original), "ORCPT")?,
                _ => return Err(Fault::Parameter(keyword)),
            }
        }
        Ok(all)
    }
}

/// The keywords, in upper case, with their values.
fn words(text: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| {
        let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
        (keyword.to_ascii_uppercase(), value)
    })
}

fn once<T>(place: &mut Option<T>, value: Option<T>, name: &'static str) -> Result<(), Fault> {
    if value.is_none() || place.is_some() {
        return Err(Fault::Value(name));
    }
    *place = value;
    Ok(())
}

fn flag(place: &mut bool, value: Option<&str>, name: &'static str) -> Result<(), Fault> {
    if value.is_some() || *place {
        return Err(Fault::Value(name));
    }
    *place = true;
    Ok(())
}

fn body(value: &str) -> Option<Body> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Some(Body::SevenBit),
        "8BITMIME" => Some(Body::EightBit),
        "BINARYMIME" => Some(Body::Binary),
        _ => None,
    }
}

fn ret(value: &str) -> Option<Ret> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

/// `NEVER` stands alone (RFC 3461 §4.1).
fn notify(value: &str) -> Option<Notify> {
    let mut all = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(all);
    }
    for wish in value.split(',') {
        let place = match wish.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut all.success,
            "FAILURE" => &mut all.failure,
            "DELAY" => &mut all.delay,
            _ => return None,
        };
        *place = true;
    }
    Some(all)
}

/// A type and an address; an address beyond ASCII stands as it is under the type `utf-8` (RFC 6533 §3).
fn original(value: &str) -> Option<String> {
    let (kind, address) = value.split_once(';')?;
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if kind.is_empty() || address.is_empty() || !kind.bytes().all(atom) || value.len() > ORCPT {
        return None;
    }
    let fits = match kind.eq_ignore_ascii_case("utf-8") {
        true => !address.chars().any(|char| char.is_control() || char == '='),
        false => xtext(address, ORCPT).is_some(),
    };
    fits.then(|| value.to_owned())
}

/// Text of printable ASCII in which `+` and two hexadecimal digits stand for another octet (RFC 3461 §4).
fn xtext(value: &str, most: usize) -> Option<String> {
    let mut octets = value.bytes();
    while let Some(octet) = octets.next() {
        let hex = |octet: Option<u8>| octet.is_some_and(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'));
        match octet {
            b'+' if hex(octets.next()) && hex(octets.next()) => {}
            b'!'..=b'~' if octet != b'+' && octet != b'=' => {}
            _ => return None,
        }
    }
    (!value.is_empty() && value.len() <= most).then(|| value.to_owned())
}

impl fmt::Display for MailParameters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(out, " SIZE={size}")?;
        }
        match self.body {
            Some(Body::SevenBit) => out.write_str(" BODY=7BIT")?,
            Some(Body::EightBit) => out.write_str(" BODY=8BITMIME")?,
            Some(Body::Binary) => out.write_str(" BODY=BINARYMIME")?,
            None => {}
        }
        if self.utf8 {
            out.write_str(" SMTPUTF8")?;
        }
        if self.require_tls {
            out.write_str(" REQUIRETLS")?;
        }
        match self.ret {
            Some(Ret::Full) => out.write_str(" RET=FULL")?,
            Some(Ret::Headers) => out.write_str(" RET=HDRS")?,
            None => {}
        }
        if let Some(envid) = &self.envid {
            write!(out, " ENVID={envid}")?;
        }
        if let Some(auth) = &self.auth {
            write!(out, " AUTH={auth}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RcptParameters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(notify) = self.notify {
            write!(out, " NOTIFY={notify}")?;
        }
        match &self.original {
            Some(original) => write!(out, " ORCPT={original}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wishes = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let wishes: Vec<&str> = wishes.iter().filter(|(wished, _)| *wished).map(|(_, name)| *name).collect();
        out.write_str(if wishes.is_empty() { "NEVER" } else { "" })?;
        out.write_str(&wishes.join(","))
    }
}
