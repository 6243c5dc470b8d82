//! The audit log: one record for each change, log-in and refusal, in the transaction of what it records, chained by
//! hashes so that no record can be altered, left out or cut off without
//! [`verify_audit`](crate::Store::verify_audit) seeing it.

mod query;

use std::sync::Arc;

use crate::db::{Read, Tx, Value, params};
use crate::{Actor, Error, Timestamp};

pub use query::{Broken, Filter, Verified};

/// What a record says; the rest is filled in when it is sealed.
pub(crate) struct Entry<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) action: &'static str,
    /// (account, number, object) of the change it records; `None` where no data changed.
    pub(crate) change: Option<(i64, i64, i64)>,
    pub(crate) target: &'a str,
    /// `done`, `refused` or `failed`.
    pub(crate) outcome: &'static str,
    pub(crate) detail: &'a str,
}

/// The end of a chain, held by the one connection that writes to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) chain: i64,
    pub(crate) node: Arc<str>,
    pub(crate) seq: i64,
    pub(crate) hash: Vec<u8>,
}

impl Head {
    /// The end of the chain of a node's connection; a chain begins with 32 zero bytes.
    pub(crate) fn claim(tx: &Read<'_>, node: &str, lane: i64) -> Result<Head, Error> {
        tx.row(
            "INSERT INTO chains (node, lane, seq, hash) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING RETURNING id",
            params![node, lane, &[0; 32][..]],
            |_| Ok(()),
        )?;
        let head =
            tx.row("SELECT id, seq, hash FROM chains WHERE node = $1 AND lane = $2", params![node, lane], |row| {
                Ok(Head { chain: row.int(0)?, node: node.into(), seq: row.int(1)?, hash: row.bytes(2)? })
            })?;
        head.ok_or_else(|| Error::internal("a chain of the audit log was not returned"))
    }

    /// Writes the end of the chain, once for each commit, where it ended at record `start` until then.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody else has written to the chain.
    pub(crate) fn save(&self, tx: &Read<'_>, start: i64) -> Result<(), Error> {
        if self.seq == start {
            return Ok(());
        }
        let sql = "UPDATE chains SET seq = $2, hash = $3 WHERE id = $1 AND seq = $4 RETURNING id";
        tx.row(sql, params![self.chain, self.seq, &self.hash[..], start], |_| Ok(()))?.ok_or(Error::Busy)
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Record {
    /// The chain it belongs to: each connection that a node writes by has one.
    pub chain: i64,
    /// Its place in the chain, from 1 without a gap.
    pub seq: i64,
    /// The name of the node that wrote it.
    pub node: String,
    /// Milliseconds since the Unix epoch.
    pub time: i64,
    /// The id of the account that acted; `None` for a stranger or the command line.
    pub actor: Option<i64>,
    /// Its name as it was then.
    pub name: String,
    /// What was spoken.
    pub protocol: String,
    /// The client's address.
    pub peer: String,
    /// TLS version and cipher; empty without TLS.
    pub tls: String,
    /// The id of the connection or mail transaction.
    pub trace: String,
    /// What was done, as `file.put`.
    pub action: String,
    /// The id of the account whose data changed.
    pub account: Option<i64>,
    /// The number of the change in that account's feed.
    pub change: Option<i64>,
    /// The id of the node, mailbox or row.
    pub object: Option<i64>,
    /// A path, an address, a name.
    pub target: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// More about it, as `key=value` pairs.
    pub detail: String,
    /// The hash of the record before.
    #[serde(serialize_with = "hex")]
    pub previous: Vec<u8>,
    /// The hash over all of the above.
    #[serde(serialize_with = "hex")]
    pub hash: Vec<u8>,
}

fn hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&text)
}

impl Entry<'_> {
    /// Makes the next record of the chain, and the chain's new end.
    pub(crate) fn seal(&self, head: &Head) -> (Record, Head) {
        let (account, change, object) = match self.change {
            Some((account, change, object)) => (Some(account), Some(change), Some(object)),
            None => (None, None, None),
        };
        let peer = &self.actor.peer;
        let mut record = Record {
            chain: head.chain,
            seq: head.seq + 1,
            node: plain(&head.node),
            time: Timestamp::now().0,
            actor: self.actor.account,
            name: plain(&self.actor.name),
            protocol: peer.protocol.to_owned(),
            peer: peer.address(),
            tls: peer.tls.map_or_else(String::new, |tls| format!("{} {}", tls.version, tls.cipher)),
            trace: peer.trace.to_string(),
            action: self.action.to_owned(),
            account,
            change,
            object,
            target: plain(self.target),
            outcome: self.outcome.to_owned(),
            detail: plain(self.detail),
            previous: head.hash.clone(),
            hash: Vec::new(),
        };
        record.hash = record.digest();
        let head = Head { seq: record.seq, hash: record.hash.clone(), ..head.clone() };
        (record, head)
    }
}

/// What a client named may hold a NUL, which PostgreSQL does not take; the hash is over what is stored.
fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Record {
    /// The hash that the record should carry: every field with its length before it, so that no two records can be
    /// told as one.
    pub(crate) fn digest(&self) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for number in
            [Some(self.chain), Some(self.seq), Some(self.time), self.actor, self.account, self.change, self.object]
        {
            field(number.map(i64::to_le_bytes).as_ref().map_or(&[], |bytes| &bytes[..]));
        }
        for text in [
            &self.node,
            &self.name,
            &self.protocol,
            &self.peer,
            &self.tls,
            &self.trace,
            &self.action,
            &self.target,
            &self.outcome,
            &self.detail,
        ] {
            field(text.as_bytes());
        }
        field(&self.previous);
        hasher.finalize().as_bytes().to_vec()
    }

    pub(crate) fn insert(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        let values: [Value<'_>; 19] = [
            self.chain.into(),
            self.seq.into(),
            (&self.node).into(),
            self.time.into(),
            self.actor.into(),
            (&self.name).into(),
            (&self.protocol).into(),
            (&self.peer).into(),
            (&self.tls).into(),
            (&self.trace).into(),
            (&self.action).into(),
            self.account.into(),
            self.change.into(),
            self.object.into(),
            (&self.target).into(),
            (&self.outcome).into(),
            (&self.detail).into(),
            self.previous[..].into(),
            self.hash[..].into(),
        ];
        tx.run(
            "INSERT INTO audit (chain, seq, node, time, actor, name, protocol, peer, tls, trace, action, account,
             change, object, target, outcome, detail, previous, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
            &values,
        )
    }
}
