//! Bytes of HTTP fields and paths to values, and back. Pure: no I/O, no other module of this crate, so that the fuzz
//! targets can take it as it stands.

#[path = "codec/address.rs"]
mod address;
#[path = "codec/autodiscover.rs"]
pub(crate) mod autodiscover;
#[path = "codec/conditions.rs"]
mod conditions;
#[path = "codec/fields.rs"]
mod fields;
#[path = "codec/path.rs"]
mod path;
#[path = "codec/range.rs"]
mod range;

pub(crate) use address::mail_domain;
pub(crate) use conditions::{Conditions, Field, Validators, Verdict};
pub(crate) use fields::{cookie, host};
pub(crate) use path::{decode_path, encode_path};
pub(crate) use range::{Selection, select};
