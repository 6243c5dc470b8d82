//! Who mail may be delivered to, here and elsewhere.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use storage::{Manner, Notice, Onward, Queue, Resolved, Seen, Store, Target, Terms, Timestamp, TlsPolicy};

use crate::authority::actor;
use crate::local_part::unquote;
use crate::srs::Srs;
use crate::{Authority, Peer, Principal, TraceId};

pub use storage::Delivery;

/// The longest address, in bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
const ADDRESS_MAX: usize = 254;

/// How often a sender may have been rewritten here, where mail went round.
const REWRITTEN: usize = 8;

/// An address that mail may be delivered to, with what stands behind it. Only [`Authority`] makes one.
#[derive(Clone)]
pub struct Recipient {
    address: String,
    /// Accounts of this server.
    targets: Vec<Target>,
    /// Addresses of other servers.
    onward: Vec<Address>,
    /// Set when it is an address of ours that mail is forwarded from.
    forwarder: Option<Forwarder>,
}

/// An address of another server.
#[derive(Debug, Clone)]
struct Address {
    address: String,
    /// The domain in small letters and ASCII.
    destination: String,
}

/// What rewrites the senders of mail that is forwarded.
#[derive(Clone)]
struct Forwarder {
    srs: Srs,
    domain: String,
}

impl Recipient {
    /// The address as the client gave it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it stands for accounts of this server.
    pub fn is_here(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Whether mail for an address of ours goes on to other servers.
    pub fn is_forwarded(&self) -> bool {
        self.forwarder.is_some()
    }

    /// The domain of ours that mail is forwarded from.
    pub fn forwarding_domain(&self) -> Option<&str> {
        self.forwarder.as_ref().map(|forwarder| forwarder.domain.as_str())
    }

    /// Whether it stands for one of these accounts.
    pub fn is_one_of(&self, accounts: &BTreeSet<i64>) -> bool {
        self.targets.iter().any(|target| accounts.contains(&target.account))
    }

    /// For how many it stands.
    pub fn count(&self) -> usize {
        self.targets.len() + self.onward.len()
    }
}

/// Why mail is not taken for an address.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// The domain is ours and nobody has that address.
    #[error("no such mailbox here")]
    Unknown,
    /// The domain is not ours, and who asks is no user of ours.
    #[error("this server does not take mail for other domains")]
    Elsewhere,
    /// Nobody behind the address has room for the message.
    #[error("the mailbox is full")]
    Full,
    /// It is not an address.
    #[error("not a mail address")]
    Invalid,
    /// The store could not be asked.
    #[error("{0}")]
    Unavailable(storage::Error),
}

/// Who a message is from and to.
#[derive(Clone)]
pub struct Envelope {
    /// The id of the mail transaction.
    pub trace: TraceId,
    /// The reverse path without angle brackets; empty for a notification.
    pub from: String,
    /// Where it goes, and what the sender wants to hear about it.
    pub to: Vec<(Recipient, Notice)>,
    /// How it asks to be passed on.
    pub manner: Manner,
    /// How long it is tried where it goes on to other servers.
    pub terms: Terms,
}

impl Authority {
    /// Looks up who is behind `address` and may get a message of `size` bytes, as far as that is known; a refusal is in
    /// the audit log when this returns. Users of ours alone may send to other servers.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn recipient(
        &self,
        peer: &Peer,
        sender: Option<&Principal>,
        address: &str,
        size: Option<u64>,
    ) -> Result<Recipient, Refused> {
        let result = match self.resolve(address).await {
            Err(Refused::Elsewhere) if sender.is_some_and(|sender| !sender.read_only) => onward(address),
            // Programs of users give a message up for all where one recipient is refused: they hear of it by mail.
            Ok(recipient) if sender.is_none() => self.with_room(recipient, size.unwrap_or_default()).await,
            other => other,
        };
        if let Err(refused @ (Refused::Unknown | Refused::Elsewhere | Refused::Full)) = &result {
            self.refusal(peer, sender, "mail.recipient", address, &refused.to_string()).await;
        }
        result
    }

    /// Whether a user may send from `address`, one of its own. A refusal is in the audit log when this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn may_send_as(&self, peer: &Peer, sender: &Principal, address: &str) -> Result<bool, storage::Error> {
        let own = match self.resolve(address).await {
            Ok(found) => found.targets.iter().any(|target| target.account == sender.id),
            Err(Refused::Elsewhere | Refused::Unknown | Refused::Full | Refused::Invalid) => false,
            Err(Refused::Unavailable(error)) => return Err(error),
        };
        if !own {
            self.refusal(peer, Some(sender), "mail.sender", address, "not an address of this user").await;
        }
        Ok(own)
    }

    /// Where a notification to the sender of a message goes.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn notified(&self, address: &str) -> Result<Recipient, Refused> {
        match self.resolve(address).await {
            Err(Refused::Elsewhere) => onward(address),
            Ok(recipient) => self.with_room(recipient, 0).await,
            other => other,
        }
    }

    /// Notes that a sender came to a recipient: see [`Store::sender_came`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sender_came(
        &self,
        key: [u8; 16],
        forget: u64,
        window: u64,
        note: impl Fn(u64, Option<Seen>) -> Seen + Send + Sync + 'static,
    ) -> Result<(u64, Option<Seen>), storage::Error> {
        self.store.sender_came(key, forget, window, note).await
    }

    /// What is known of another domain's policy of TLS.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tls_policy(&self, domain: &str) -> Result<Option<TlsPolicy>, storage::Error> {
        self.store.tls_policy(domain).await
    }

    /// Remembers another domain's policy of TLS.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_tls_policy(&self, domain: &str, policy: TlsPolicy) -> Result<(), storage::Error> {
        self.store.keep_tls_policy(domain, policy).await
    }

    /// A new file without a name, for what need not last.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn scratch(&self) -> std::io::Result<std::fs::File> {
        self.store.scratch()
    }

    /// Whether the disk has room for more than its reserve.
    ///
    /// # Errors
    /// [`storage::Error::Full`]; those of the disk.
    pub fn has_space(&self) -> Result<(), storage::Error> {
        self.store.has_space()
    }

    /// The outbound queue, for the module that empties it.
    pub fn queue(&self) -> Queue {
        self.store.queue()
    }

    /// The keys of a domain of ours, those in use first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dkim_keys(&self, domain: &str) -> Result<Vec<storage::DkimKey>, storage::Error> {
        self.store.dkim_keys(domain).await
    }

    /// The domains whose mail is taken here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn domains(&self) -> Result<Vec<String>, storage::Error> {
        self.store.domains().await
    }

    async fn resolve(&self, address: &str) -> Result<Recipient, Refused> {
        if address.len() > ADDRESS_MAX {
            return Err(Refused::Invalid);
        }
        // `<postmaster>` alone is the one address without a domain (RFC 5321 §4.5.1).
        let domains;
        let (local, domain) = match address.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => (local, domain),
            None if address.eq_ignore_ascii_case("postmaster") => {
                domains = self.store.domains().await.map_err(Refused::Unavailable)?;
                (address, domains.first().map_or("localhost", String::as_str))
            }
            _ => return Err(Refused::Invalid),
        };
        let local = unquote(local);
        let found = self.store.resolve(&local, domain).await.map_err(Refused::Unavailable)?;
        let mut found = found.ok_or(Refused::Elsewhere)?;
        let mut forwarder = None;
        let rewritten = Srs::is_rewritten(&local);
        if rewritten || !found.onward.is_empty() {
            let srs = self.srs.get_or_try_init(|| secret(&self.store)).await.map_err(Refused::Unavailable)?;
            if rewritten && let Some(sender) = srs.original(&local, Timestamp::now().0) {
                // A message that was forwarded comes back: not to who has all that nobody else has.
                found = self.found(srs, sender).await?;
            }
            forwarder = Some(Forwarder { srs: srs.clone(), domain: domain.to_owned() });
        }
        if found.is_empty() {
            return Err(Refused::Unknown);
        }
        let Resolved { accounts, onward } = found;
        let detail = local.split_once('+').map(|(_, detail)| detail.to_owned());
        let target = |account| Target { account, address: address.to_owned(), detail: detail.clone() };
        let targets = accounts.into_iter().map(target).collect();
        let onward = onward.into_iter().map(|address| Address::read(&address)).collect::<Result<Vec<_>, _>>()?;
        let forwarder = forwarder.filter(|_| !onward.is_empty());
        Ok(Recipient { address: address.to_owned(), targets, onward, forwarder })
    }

    /// The recipient, where anybody behind it has room for a message of `size` bytes.
    async fn with_room(&self, recipient: Recipient, size: u64) -> Result<Recipient, Refused> {
        if !recipient.onward.is_empty() {
            return Ok(recipient);
        }
        for target in &recipient.targets {
            if self.store.has_room(target.account, size.max(1)).await.map_err(Refused::Unavailable)? {
                return Ok(recipient);
            }
        }
        Err(Refused::Full)
    }

    /// What a sender that was rewritten stood for: it may be one of ours, or one that we had rewritten before.
    async fn found(&self, srs: &Srs, mut sender: String) -> Result<Resolved, Refused> {
        for _ in 0..REWRITTEN {
            let Some((local, domain)) = sender.rsplit_once('@') else { break };
            let local = &unquote(local);
            let Some(found) = self.store.resolve(local, domain).await.map_err(Refused::Unavailable)? else {
                return Ok(Resolved { onward: [sender].into(), ..Resolved::default() });
            };
            match srs.original(local, Timestamp::now().0) {
                Some(before) => sender = before,
                None => return Ok(found),
            }
        }
        Ok(Resolved::default())
    }

    /// Begins to deliver a message to recipients that were looked up.
    pub fn delivery(&self, peer: &Peer, sender: Option<&Principal>, envelope: Envelope) -> Delivery {
        let Envelope { trace, from, to: recipients, manner, terms } = envelope;
        let (mut to, mut onward, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        for (recipient, notice) in recipients {
            let Recipient { address: given, targets, onward: addresses, forwarder } = recipient;
            let here = targets.len();
            to.extend(targets);
            let alone = addresses.len() == 1 && here == 0;
            for Address { address, destination } in addresses {
                if !known.insert(address.to_lowercase()) {
                    continue;
                }
                let (from, notice) = match &forwarder {
                    None => (from.clone(), notice.clone()),
                    // Mail of a user may come from here anyway.
                    Some(_) if sender.is_some() || from.is_empty() => (from.clone(), forwarded(&notice, &given, alone)),
                    Some(Forwarder { srs, domain }) => {
                        let rewritten = srs.rewrite(&from, domain, Timestamp::now().0);
                        (rewritten.unwrap_or_else(|| from.clone()), forwarded(&notice, &given, alone))
                    }
                };
                onward.push(Onward { from, address, destination, notice });
            }
        }
        let (junk, head, sent) = (None, String::new(), None);
        let envelope = storage::Envelope { trace, from, to, junk, head, sent, onward, manner, terms };
        self.store.delivery(actor(peer, sender), envelope)
    }
}

impl Address {
    fn read(address: &str) -> Result<Self, Refused> {
        let (local, domain) = address.rsplit_once('@').ok_or(Refused::Invalid)?;
        // It is said to other servers as it stands here: nothing in it may end the path, or the line.
        let quoted = local.starts_with('"') && local.ends_with('"') && local.len() > 2;
        let plain = |letter: char| quoted || !" \"(),:;<>@[\\]".contains(letter);
        if local.is_empty() || local.chars().any(|letter| letter.is_control() || !plain(letter)) {
            return Err(Refused::Invalid);
        }
        let destination = match domain.starts_with('[') {
            true => domain.to_ascii_lowercase(),
            false => idna::domain_to_ascii(domain).map_err(|_| Refused::Invalid)?.to_ascii_lowercase(),
        };
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let literal = destination.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address_of = |text: &str| text.strip_prefix("ipv6:").unwrap_or(text).parse::<IpAddr>().is_ok();
        if !literal.map_or_else(|| destination.split('.').all(label), address_of) {
            return Err(Refused::Invalid);
        }
        Ok(Address { address: address.to_owned(), destination })
    }
}

/// Whether mail could go to `address`, wherever that is.
pub fn is_address(address: &str) -> bool {
    address.len() <= ADDRESS_MAX && Address::read(address).is_ok()
}

/// A recipient on another server.
fn onward(address: &str) -> Result<Recipient, Refused> {
    let onward = vec![Address::read(address)?];
    Ok(Recipient { address: address.to_owned(), targets: Vec::new(), onward, forwarder: None })
}

async fn secret(store: &Store) -> Result<Srs, storage::Error> {
    store.secret("srs").await.map(Srs::new)
}

/// What the sender hears of an address that its recipient forwards to: where that stands for several, no success, since
/// each would tell of its own (RFC 3461 §5.2.7).
fn forwarded(notice: &Notice, address: &str, alone: bool) -> Notice {
    let original = notice.original.clone().or_else(|| Some(format!("rfc822;{}", xtext(address))));
    Notice { success: notice.success && alone, original, ..notice.clone() }
}

/// Text as a parameter's value (RFC 3461 §4).
fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("+{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_of_other_servers_are_fit_for_a_command() {
        for address in
            ["a@b.example", "a.b+c@b_c.example", "\"a b\"@b.example", "a@[192.0.2.1]", "a@b\u{fc}cher.example"]
        {
            assert!(super::is_address(address), "{address}");
        }
        for address in [
            "x y@b.example",
            "x@b .example",
            "x>@b.example",
            "x@b..example",
            "x@y@b.example",
            "x@b\r\nc",
            "x\n@b",
            "@b",
            "x@",
            "x",
        ] {
            assert!(!super::is_address(address), "{address:?}");
        }
    }
}
