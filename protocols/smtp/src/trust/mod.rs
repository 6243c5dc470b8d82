//! Whom mail is from, as far as that can be proved: keys and signatures (DKIM, RFC 6376), who may send for a domain
//! (SPF, RFC 7208), and what the domain wants done with the rest (DMARC).

pub(crate) mod body;
pub(crate) mod fields;
pub mod key;
pub(crate) mod keys;
pub(crate) mod sign;
pub(crate) mod spf;
