//! Who mail may be delivered to, here and elsewhere.

use storage::{Manner, Notice, Onward, Queue, Target, Terms};

use crate::authority::actor;
use crate::{Authority, Peer, Principal, TraceId};

pub use storage::Delivery;

/// The longest address, in bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
const ADDRESS_MAX: usize = 254;

/// An address that mail may be delivered to, with what stands behind it. Only [`Authority`] makes one.
#[derive(Debug, Clone)]
pub struct Recipient {
    address: String,
    route: Route,
}

/// What stands behind an address.
#[derive(Debug, Clone)]
enum Route {
    /// Accounts of this server.
    Here(Vec<Target>),
    /// Another server: the domain in small letters and ASCII.
    Onward(String),
}

impl Recipient {
    /// The address as the client gave it.
    pub fn address(&self) -> &str {
        &self.address
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
    /// It is not an address.
    #[error("not a mail address")]
    Invalid,
    /// The store could not be asked.
    #[error("{0}")]
    Unavailable(storage::Error),
}

/// Who a message is from and to.
#[derive(Debug, Clone)]
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
    /// Looks up who is behind `address`; a refusal is in the audit log when this returns. Users of ours alone may send
    /// to other servers.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn recipient(
        &self,
        peer: &Peer,
        sender: Option<&Principal>,
        address: &str,
    ) -> Result<Recipient, Refused> {
        let result = match self.resolve(address).await {
            Err(Refused::Elsewhere) if sender.is_some_and(|sender| !sender.read_only) => onward(address),
            other => other,
        };
        if let Err(refused @ (Refused::Unknown | Refused::Elsewhere)) = &result {
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
            Ok(Recipient { route: Route::Here(targets), .. }) => {
                targets.iter().any(|target| target.account == sender.id)
            }
            Ok(Recipient { route: Route::Onward(_), .. })
            | Err(Refused::Elsewhere | Refused::Unknown | Refused::Invalid) => false,
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
            other => other,
        }
    }

    /// The outbound queue, for the module that empties it.
    pub fn queue(&self) -> Queue {
        self.store.queue()
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
        let accounts = self.store.resolve(&local, domain).await.map_err(Refused::Unavailable)?;
        let accounts = accounts.ok_or(Refused::Elsewhere)?;
        if accounts.is_empty() {
            return Err(Refused::Unknown);
        }
        let detail = local.split_once('+').map(|(_, detail)| detail.to_owned());
        let target = |account| Target { account, address: address.to_owned(), detail: detail.clone() };
        let route = Route::Here(accounts.into_iter().map(target).collect());
        Ok(Recipient { address: address.to_owned(), route })
    }

    /// Begins to deliver a message to recipients that were looked up.
    pub fn delivery(&self, peer: &Peer, sender: Option<&Principal>, envelope: Envelope) -> Delivery {
        let Envelope { trace, from, to: recipients, manner, terms } = envelope;
        let (mut to, mut onward) = (Vec::new(), Vec::new());
        for (Recipient { address, route }, notice) in recipients {
            match route {
                Route::Here(targets) => to.extend(targets),
                Route::Onward(destination) => onward.push(Onward { address, destination, notice }),
            }
        }
        self.store.delivery(actor(peer, sender), storage::Envelope { trace, from, to, onward, manner, terms })
    }
}

/// An address of another server.
fn onward(address: &str) -> Result<Recipient, Refused> {
    let (_, domain) = address.rsplit_once('@').ok_or(Refused::Invalid)?;
    let destination = match domain.starts_with('[') {
        true => domain.to_ascii_lowercase(),
        false => idna::domain_to_ascii(domain).map_err(|_| Refused::Invalid)?.to_ascii_lowercase(),
    };
    if destination.is_empty() {
        return Err(Refused::Invalid);
    }
    Ok(Recipient { address: address.to_owned(), route: Route::Onward(destination) })
}

/// A quoted local part means the same as the plain one (RFC 5321 §4.1.2).
fn unquote(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|local| local.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        plain.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    plain
}

#[cfg(test)]
mod tests {
    #[test]
    fn quoted_local_parts_are_read() {
        assert_eq!(super::unquote(r#""a\"b c""#), "a\"b c");
        assert_eq!(super::unquote("plain"), "plain");
    }
}
