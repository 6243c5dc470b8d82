//! SASL (RFC 4422), the one server side for all protocols: PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS.
//!
//! An [`Exchange`] sees decoded octets alone. What carries them (base64, `334`, `+ `, cancelling by `*`) is the
//! protocol's.

pub(crate) mod scram;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::check::Way;
use crate::{Authority, Denied, Peer, Secret, Session};
use scram::{Challenge, Fault, First, Flag};

/// What ties a log-in to the TLS connection it comes by, so that nobody who sits between can use it.
#[derive(Debug, Clone, Default)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266); TLS 1.3 alone has it.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4): the hash of the certificate that was served.
    pub end_point: Option<Arc<[u8]>>,
}

impl ChannelBinding {
    fn is_some(&self) -> bool {
        self.exporter.is_some() || self.end_point.is_some()
    }

    fn data(&self, name: &str) -> Option<&[u8]> {
        match name {
            "tls-exporter" => self.exporter.as_ref().map(|data| &data[..]),
            "tls-server-end-point" => self.end_point.as_deref(),
            _ => None,
        }
    }
}

/// A mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Login,
    Scram,
    ScramPlus,
}

impl Mechanism {
    const ALL: [Mechanism; 4] = [Mechanism::Plain, Mechanism::Login, Mechanism::Scram, Mechanism::ScramPlus];

    fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::Scram => "SCRAM-SHA-256",
            Mechanism::ScramPlus => "SCRAM-SHA-256-PLUS",
        }
    }
}

/// What follows from a response of the client.
pub enum Step {
    /// This is sent, and the next response awaited.
    Challenge(Vec<u8>),
    /// The client is who it says.
    Done(Box<Session>),
    /// It is not, or may not log in now. It is in the audit log.
    Denied(Denied),
    /// The response cannot be read; the sentence says why.
    Malformed(&'static str),
}

/// One log-in on its way.
pub struct Exchange {
    authority: Arc<Authority>,
    peer: Peer,
    binding: ChannelBinding,
    mechanism: Mechanism,
    state: State,
}

/// What is awaited.
enum State {
    /// The first response.
    Begun,
    /// LOGIN: the password.
    Named(String),
    /// SCRAM: the proof, for this account.
    Asked(String, Box<Challenge>),
    /// SCRAM: that the client has seen the server's proof.
    Proved(Box<Session>),
    Over,
}

impl Authority {
    /// The mechanisms that may be used on this connection now.
    pub fn mechanisms(&self, peer: &Peer, binding: &ChannelBinding) -> Vec<&'static str> {
        let allowed = |mechanism: &Mechanism| self.is_offered(*mechanism, peer, binding);
        Mechanism::ALL.into_iter().filter(allowed).map(Mechanism::name).collect()
    }

    fn is_offered(&self, mechanism: Mechanism, peer: &Peer, binding: &ChannelBinding) -> bool {
        let known = match mechanism {
            Mechanism::Plain | Mechanism::Login => true,
            Mechanism::Scram => self.config.scram,
            Mechanism::ScramPlus => self.config.scram && peer.tls.is_some() && binding.is_some(),
        };
        known && self.cleartext_allowed(peer)
    }

    /// Begins a log-in; `None` for a mechanism that is not offered here now.
    pub fn begin(self: &Arc<Self>, peer: &Peer, binding: &ChannelBinding, mechanism: &str) -> Option<Exchange> {
        let mechanism = Mechanism::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(mechanism))?;
        self.is_offered(mechanism, peer, binding).then(|| Exchange {
            authority: self.clone(),
            peer: peer.clone(),
            binding: binding.clone(),
            mechanism,
            state: State::Begun,
        })
    }
}

impl Exchange {
    /// What is sent to a client that gave no initial response; its answer is the first that [`Exchange::step`] takes.
    pub fn invitation(&self) -> &'static [u8] {
        match self.mechanism {
            Mechanism::Login => b"Username:",
            Mechanism::Plain | Mechanism::Scram | Mechanism::ScramPlus => b"",
        }
    }

    /// Takes the client's next response, as octets.
    pub async fn step(&mut self, response: &[u8]) -> Step {
        match (self.mechanism, std::mem::replace(&mut self.state, State::Over)) {
            (Mechanism::Plain, State::Begun) => self.plain(response).await,
            (Mechanism::Login, State::Begun) => match text(response) {
                Ok(name) => {
                    self.state = State::Named(name.to_owned());
                    Step::Challenge(b"Password:".to_vec())
                }
                Err(malformed) => malformed,
            },
            (_, State::Named(name)) => match text(response) {
                Ok(password) => self.password(&name, password).await,
                Err(malformed) => malformed,
            },
            (_, State::Begun) => self.scram(response).await,
            (_, State::Asked(name, challenge)) => self.proof(&name, &challenge, response).await,
            (_, State::Proved(session)) if response.is_empty() => Step::Done(session),
            (_, State::Proved(_)) => Step::Malformed("nothing is left to say"),
            (_, State::Over) => Step::Malformed("the exchange is over"),
        }
    }

    /// `authzid NUL authcid NUL password` (RFC 4616 §2).
    async fn plain(&self, response: &[u8]) -> Step {
        let message = match text(response) {
            Ok(message) => message,
            Err(malformed) => return malformed,
        };
        let mut parts = message.split('\0');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(acting), Some(name), Some(password), None) if acting.is_empty() || acting == name => {
                self.password(name, password).await
            }
            (Some(_), Some(name), Some(_), None) => self.refuse(name, "acting for another account").await,
            _ => Step::Malformed("not a name and a password"),
        }
    }

    async fn password(&self, name: &str, password: &str) -> Step {
        let password = Secret::new(password.to_owned());
        match self.authority.login_by(&self.peer, self.way(), name, password).await {
            Ok(session) => Step::Done(Box::new(session)),
            Err(denied) => Step::Denied(denied),
        }
    }

    /// The client's first message of SCRAM. What it is answered is the same for every name, known or not.
    async fn scram(&mut self, response: &[u8]) -> Step {
        let first = match First::parse(response) {
            Ok(first) => first,
            Err(why) => return Step::Malformed(why),
        };
        let name = first.name.clone();
        let binding = match (&first.flag, self.mechanism) {
            (Flag::Bound(kind), Mechanism::ScramPlus) => match self.binding.data(kind) {
                Some(data) => data,
                None => return Step::Malformed("that channel binding is not there on this connection"),
            },
            (Flag::Bound(_), _) => return Step::Malformed("channel binding needs SCRAM-SHA-256-PLUS"),
            (_, Mechanism::ScramPlus) => return Step::Malformed("SCRAM-SHA-256-PLUS needs channel binding"),
            // It would have been bound had the client seen our offer: somebody took it away (RFC 5802 §6).
            (Flag::NotOffered, _) if self.authority.is_offered(Mechanism::ScramPlus, &self.peer, &self.binding) => {
                return self.refuse(&name, "the offer of channel binding did not reach the client").await;
            }
            (Flag::NotOffered | Flag::Never, _) => &[],
        };
        if !first.acting.is_empty() && first.acting != name {
            return self.refuse(&name, "acting for another account").await;
        }
        let asked = async {
            let account = self.authority.account_name(&name).await?;
            let salt = self.authority.salt(&account).await.map_err(Denied::Unavailable)?;
            let mut chance = [0; 18];
            getrandom::fill(&mut chance).map_err(|error| Denied::Unavailable(storage::Error::internal(error)))?;
            let nonce = STANDARD_NO_PAD.encode(chance);
            Ok((account, Challenge::new(first, &nonce, &salt, scram::ITERATIONS, binding)))
        };
        match asked.await {
            Ok((account, challenge)) => {
                let message = challenge.message().into();
                self.state = State::Asked(account, Box::new(challenge));
                Step::Challenge(message)
            }
            Err(denied) => Step::Denied(denied),
        }
    }

    async fn proof(&mut self, name: &str, challenge: &Challenge, response: &[u8]) -> Step {
        let proof = match challenge.answer(response) {
            Ok(proof) => proof,
            Err(Fault::Malformed(why)) => return Step::Malformed(why),
            Err(Fault::Channel) => return self.refuse(name, "the channel binding is another connection's").await,
        };
        match self.authority.login_scram(&self.peer, self.way(), name, &proof).await {
            Ok((session, acknowledgement)) => {
                self.state = State::Proved(Box::new(session));
                Step::Challenge(acknowledgement.into_bytes())
            }
            Err(denied) => Step::Denied(denied),
        }
    }

    async fn refuse(&self, name: &str, why: &str) -> Step {
        let detail = format!("{why} mechanism={}", self.mechanism.name());
        self.authority.login_refusal(&self.peer, name, &detail).await;
        Step::Denied(Denied::BadCredentials)
    }

    fn way(&self) -> Way {
        Way::Mechanism(self.mechanism.name())
    }
}

fn text(response: &[u8]) -> Result<&str, Step> {
    std::str::from_utf8(response).map_err(|_| Step::Malformed("the response is not UTF-8"))
}

#[cfg(test)]
mod tests;
