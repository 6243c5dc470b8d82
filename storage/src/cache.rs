//! What many readers ask for again and again, kept once for the process.
//!
//! Entries about an account's files carry the account's generation: an entry of another one is never used. In a store
//! of one process the generation is counted here, and every committed change of the account raises it before anyone
//! hears of the change. Where many nodes share a store it is the number of the account's newest change, read from the
//! rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::db::Change;
use crate::mail::{FullAccounts, Lives, Maildrops, Vocabularies, vocabularies};
use crate::{Node, VPath};

/// Generations are kept for groups of accounts, so that their number does not grow with the accounts.
const GROUPS: usize = 4096;
/// How many paths are remembered.
const PATHS: usize = 20_000;
/// How many bytes of small contents are remembered.
const CONTENTS: u64 = 8 << 20;

/// The caches of one store.
pub(crate) struct Caches {
    generations: Vec<AtomicU64>,
    nodes: Cache<(i64, VPath), (u64, Arc<Node>)>,
    contents: Cache<i64, Bytes, ByLength>,
    lives: Lives,
    maildrops: Maildrops,
    vocabularies: Vocabularies,
    full: FullAccounts,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<i64, Bytes> for ByLength {
    fn weight(&self, _: &i64, content: &Bytes) -> u64 {
        content.len() as u64 + 64
    }
}

impl Caches {
    pub(crate) fn new() -> Self {
        Caches {
            generations: (0..GROUPS).map(|_| AtomicU64::new(0)).collect(),
            nodes: Cache::new(PATHS),
            contents: Cache::with_weighter(1000, CONTENTS, ByLength),
            lives: Lives::new(),
            maildrops: Maildrops::default(),
            vocabularies: vocabularies(),
            full: FullAccounts::default(),
        }
    }

    fn group(&self, account: i64) -> &AtomicU64 {
        &self.generations[account.rem_euclid(GROUPS as i64) as usize]
    }

    /// The generation of an account now; to be read before the snapshot that an entry is made from.
    pub(crate) fn generation(&self, account: i64) -> u64 {
        self.group(account).load(Ordering::Acquire)
    }

    /// Makes everything known about the changed accounts old, and tells those who have the mailboxes open.
    pub(crate) fn invalidate(&self, changes: &[Change]) {
        for change in changes {
            self.group(change.account).fetch_add(1, Ordering::AcqRel);
        }
        self.full.note(changes);
        self.lives.note(changes);
    }

    /// The mailboxes that are open.
    pub(crate) fn lives(&self) -> &Lives {
        &self.lives
    }

    /// The accounts that have no keyword to spare.
    pub(crate) fn full_accounts(&self) -> &FullAccounts {
        &self.full
    }

    /// The maildrops that are locked.
    pub(crate) fn maildrops(&self) -> &Maildrops {
        &self.maildrops
    }

    /// The words of those accounts that were searched last.
    pub(crate) fn vocabularies(&self) -> &Vocabularies {
        &self.vocabularies
    }

    /// What stood at `path` in this generation of the account.
    pub(crate) fn node(&self, account: i64, path: &VPath, generation: u64) -> Option<Arc<Node>> {
        // The key is looked up by value only because a borrowed pair is not a pair of borrows.
        let (known, node) = self.nodes.get(&(account, path.clone()))?;
        (known == generation).then_some(node)
    }

    /// Whether anything is remembered of `path`, of whichever generation.
    pub(crate) fn remembers(&self, account: i64, path: &VPath) -> bool {
        self.nodes.contains_key(&(account, path.clone()))
    }

    pub(crate) fn keep_node(&self, account: i64, path: &VPath, generation: u64, node: &Arc<Node>) {
        self.nodes.insert((account, path.clone()), (generation, node.clone()));
    }

    /// The content of a small blob; blobs never change and their ids are never used twice.
    pub(crate) fn content(&self, blob: i64) -> Option<Bytes> {
        self.contents.get(&blob)
    }

    pub(crate) fn keep_content(&self, blob: i64, content: &Bytes) {
        self.contents.insert(blob, content.clone());
    }
}
