//! The one store of Wharfinger: accounts, files, mail, blobs, the audit log and the change feed.
//!
//! Every change goes through [`db::Db::write`], commits together with its audit record, and is on stable storage when
//! the call returns. Protocols see a [`Home`], a [`Site`] or a [`Delivery`], never the [`Store`] itself.

mod accounts;
mod addresses;
pub mod audit;
mod blobs;
mod cache;
mod change;
mod circuit;
mod credentials;
mod db;
mod dkim;
mod error;
mod files;
mod lease;
mod mail;
mod path;
mod peer;
mod queue;
mod remembered;
mod secrets;
mod store;
mod throttle;
mod time;
mod web;

pub use accounts::{Account, NewAccount, Role, ascii_domain, is_domain_name};
pub use addresses::Resolved;
pub use blobs::{Content, ContentReader, Object, S3};
pub use credentials::{Credential, Kind as CredentialKind, NewAppPassword, Scope, Verifier};
pub use db::{Change, Engine, Postgres, PostgresTls};
pub use dkim::{DkimKey, NewDkimKey, State as DkimState};
pub use error::Error;
pub use files::{Check, Home, Kind, Node, PutOptions, Remove, Site, Stored, Upload, Usage};
pub use lease::Lease;
pub use mail::parse as message;
pub use mail::{
    Append, Appended, Copied, Counts, Delivered, Delivery, Details, Diff, Envelope, Expunged, Field, FlagChange,
    Flagged, Flags, Keywords, Mail, Mailbox, MailboxInfo, MaildropLock, Message, Target, Uids, View, Wanted, fold,
    is_among, ranges,
};
pub use path::VPath;
pub use peer::{Actor, Pass, Peer, Tls, TraceId};
pub use queue::{Body, Claim, Due, Fate, Listed, Manner, Notice, Onward, Portion, Queue, Queued, Return, Terms, Which};
pub use remembered::{Seen, TlsPolicy};
pub use store::{BlobStore, Options, Status, Store};
pub use throttle::{Login, Rule, Standing};
pub use time::Timestamp;
pub use web::WebRow;
