//! Who: the only mint of a [`Session`], and so the only way to a home, and of a [`Recipient`], the only way to deliver.
//!
//! The [`Authority`] audits every log-in itself. A protocol offers what the client said and gets a session or a reason.

mod app_password;
mod authority;
mod check;
mod decoy;
mod held;
mod local_part;
mod mail;
mod passes;
mod password;
mod prepare;
mod renew;
mod sasl;
mod secret;
mod srs;
mod throttle;
mod turns;
mod web;

use std::time::Duration;

pub use authority::{Authority, Cleartext, Config};
pub use mail::{Delivery, Envelope, Recipient, Refused, is_address};
pub use sasl::{ChannelBinding, Exchange, Step};
pub use secret::Secret;
pub use storage::{Pass, Peer, Role, Site, Tls, TraceId};
pub use web::WebSession;

/// What a client proves itself with.
#[derive(Clone)]
pub enum Offer {
    /// A name and a password, by whatever command they came.
    Password {
        /// The account's name; `name@local-domain` is taken too.
        name: String,
        /// The password.
        password: Secret,
    },
}

/// Who logged in.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The account's id.
    pub id: i64,
    /// The account's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether the app password it came with may only read.
    pub read_only: bool,
}

/// A successful log-in: who, and the way to the files and the mail.
#[derive(Clone)]
pub struct Session {
    /// Who.
    pub principal: Principal,
    /// The account's files.
    pub home: storage::Home,
    /// The account's mail.
    pub mail: storage::Mail,
    /// What it goes on by: it ends when this is withdrawn.
    pub pass: Pass,
}

/// Why there is no session. `Display` is the sentence for the peer, and tells nobody whether an account exists.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Denied {
    /// No such account, a wrong password, or an account that may not log in.
    #[error("wrong name or password")]
    BadCredentials,
    /// Too many failures from this network or for this account.
    #[error("too many failed log-ins; try again in {} s", retry.as_secs().max(1))]
    Throttled {
        /// How long to wait.
        retry: Duration,
    },
    /// The connection has no TLS.
    #[error("a password is only taken over TLS; turn on TLS in your client")]
    Cleartext,
    /// The store could not be asked, or the log-in could not be recorded.
    #[error("{0}")]
    Unavailable(storage::Error),
}
