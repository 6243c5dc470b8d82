//! The audit log: one record for each change, log-in and refusal, in the transaction of what it records, chained by
//! hashes so that no record can be altered, left out or cut off without
//! [`verify_audit`](crate::Store::verify_audit) seeing it.

mod query;

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

/// The end of one node's chain.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) node: i64,
    pub(crate) seq: i64,
    pub(crate) hash: Vec<u8>,
}

impl Head {
    /// The end of the chain as the database has it; a chain begins with 32 zero bytes.
    pub(crate) fn load(tx: &Read<'_>, node: i64) -> Result<Head, Error> {
        let sql = "SELECT seq, hash FROM audit_heads WHERE node = $1";
        let found = tx.row(sql, params![node], |row| Ok(Head { node, seq: row.int(0)?, hash: row.bytes(1)? }))?;
        Ok(found.unwrap_or(Head { node, seq: 0, hash: vec![0; 32] }))
    }

    /// Writes the end of the chain; once for each commit.
    pub(crate) fn save(&self, tx: &Read<'_>) -> Result<(), Error> {
        tx.row(
            "INSERT INTO audit_heads (node, seq, hash) VALUES ($1, $2, $3)
             ON CONFLICT (node) DO UPDATE SET seq = excluded.seq, hash = excluded.hash RETURNING seq",
            params![self.node, self.seq, &self.hash[..]],
            |_| Ok(()),
        )
        .map(drop)
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Record {
    /// Whose chain.
    pub node: i64,
    /// Its place in the chain, from 1 without a gap.
    pub seq: i64,
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
            node: head.node,
            seq: head.seq + 1,
            time: Timestamp::now().0,
            actor: self.actor.account,
            name: self.actor.name.clone(),
            protocol: peer.protocol.to_owned(),
            peer: peer.address(),
            tls: peer.tls.map_or_else(String::new, |tls| format!("{} {}", tls.version, tls.cipher)),
            trace: peer.trace.to_string(),
            action: self.action.to_owned(),
            account,
            change,
            object,
            target: self.target.to_owned(),
            outcome: self.outcome.to_owned(),
            detail: self.detail.to_owned(),
            previous: head.hash.clone(),
            hash: Vec::new(),
        };
        record.hash = record.digest();
        let head = Head { node: record.node, seq: record.seq, hash: record.hash.clone() };
        (record, head)
    }
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
            [Some(self.node), Some(self.seq), Some(self.time), self.actor, self.account, self.change, self.object]
        {
            field(number.map(i64::to_le_bytes).as_ref().map_or(&[], |bytes| &bytes[..]));
        }
        for text in [
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
        let values: [Value<'_>; 18] = [
            self.node.into(),
            self.seq.into(),
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
        tx.execute(
            "INSERT INTO audit (node, seq, time, actor, name, protocol, peer, tls, trace, action, account, change,
             object, target, outcome, detail, previous, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
            &values,
        )
        .map(drop)
    }
}
