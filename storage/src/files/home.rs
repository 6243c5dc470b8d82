//! One account's files as a protocol sees them: reading. What changes them stands in `changes.rs` and `upload.rs`.

use std::sync::Arc;

use super::{NODE, Node, mail, node_of, tree};
use crate::blobs::{Content, Located};
use crate::db::{Read, params};
use crate::{Actor, Error, Store, TraceId, VPath};

/// The most nodes one page of a listing holds.
const PAGE: usize = 10_000;

/// The files of one account, for the one who logged in. Made by `auth` alone.
#[derive(Clone)]
pub struct Home {
    pub(super) store: Store,
    pub(super) account: i64,
    pub(super) actor: Actor,
    /// Whether the account's mail stands in it.
    pub(super) mail: bool,
}

/// What an account uses and may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of files and mail.
    pub used: u64,
    /// The most bytes; `None` is without limit.
    pub quota: Option<u64>,
}

impl Store {
    /// The home of `account` as `actor` uses it. For `auth`, which has checked that it may.
    pub fn home(&self, account: i64, actor: Actor) -> Home {
        Home { store: self.clone(), account, actor, mail: true }
    }
}

impl Home {
    /// The same home, whose changes are recorded under another trace id.
    #[must_use]
    pub fn with_trace(&self, trace: TraceId) -> Home {
        let mut home = self.clone();
        home.actor.peer.trace = trace;
        home
    }

    /// The same home without the account's mail, for whom that is no business of.
    #[must_use]
    pub fn without_mail(mut self) -> Home {
        self.mail = false;
        self
    }

    /// Refuses to know of mail where there is none.
    pub(super) fn sees(&self, path: &VPath) -> Result<(), Error> {
        if self.mail || mail::below(path).is_none() { Ok(()) } else { Err(Error::NotFound) }
    }

    /// What stands at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing does.
    pub async fn stat(&self, path: &VPath) -> Result<Arc<Node>, Error> {
        self.sees(path)?;
        let (caches, shared) = (self.store.caches().clone(), self.store.db().is_shared());
        let (account, wanted) = (self.account, path.clone());
        // Where other nodes change things too, what is remembered holds if the account has not changed since.
        let known = match shared {
            false => caches.generation(account),
            true if caches.remembers(account, path) => self.store.db().look(move |tx| changes_of(tx, account)).await?,
            true => 0,
        };
        if let Some(node) = caches.node(account, path, known) {
            return Ok(node);
        }
        self.store
            .db()
            .read(move |tx| {
                let generation = if shared { changes_of(tx, account)? } else { known };
                let node = Arc::new(tree::find(tx, account, &wanted)?.ok_or(Error::NotFound)?);
                caches.keep_node(account, &wanted, generation, &node);
                Ok(node)
            })
            .await
    }

    /// One page of a folder's children in the order of their names, after the name `after`; a page shorter than `limit`
    /// is the last one.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Invalid`] when `path` is a file.
    pub async fn list(&self, path: &VPath, after: Option<&str>, limit: usize) -> Result<Vec<Node>, Error> {
        let folder = self.stat(path).await?;
        if !folder.is_folder() {
            return Err(Error::invalid("it is a file, not a folder"));
        }
        let after = after.unwrap_or_default().to_owned();
        let limit = limit.min(PAGE);
        let (db, account) = (self.store.db(), self.account);
        if let Some(name) = mail::below(path) {
            let name = name.to_owned();
            return db.read(move |tx| mail::list(tx, account, &name, &after, limit)).await;
        }
        // Mail stands in the home itself, whatever else had that name.
        let hidden = if path.is_root() { mail::FOLDER } else { "" };
        let beside = Some(mail::top(&folder)).filter(|top| self.mail && path.is_root() && top.name > after);
        let found = db.look(move |tx| {
            let sql = format!(
                "SELECT {NODE} FROM nodes WHERE parent = $1 AND name > $2 AND name <> $3 ORDER BY name LIMIT $4"
            );
            tx.rows(&sql, params![folder.id, &after, hidden, limit as i64], node_of)
        });
        let mut nodes = found.await?;
        if let Some(top) = beside {
            nodes.insert(nodes.partition_point(|node| node.name < top.name), top);
            nodes.truncate(limit);
        }
        Ok(nodes)
    }

    /// The file at `path` and its content.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Invalid`] when it is a folder.
    pub async fn open(&self, path: &VPath) -> Result<(Arc<Node>, Content), Error> {
        let node = self.stat(path).await?;
        let blob = node.blob.ok_or_else(|| Error::invalid("it is a folder, not a file"))?;
        match self.store.content(blob).await? {
            Ok(content) => Ok((node, content)),
            Err(located) => Err(self.lost(path, &located).await),
        }
    }

    /// Names a content that the disk or the bucket has lost, and whose it is.
    async fn lost(&self, path: &VPath, located: &Located) -> Error {
        let account = self.account;
        let sql = "SELECT name FROM accounts WHERE id = $1";
        let name = self.store.db().read(move |tx| tx.row(sql, params![account], |row| row.text(0))).await;
        let name = name.ok().flatten().unwrap_or_default();
        let error = Error::internal(format!(
            "the content of {path} of {name} is lost: {located} is not there; bring it back from a backup or put the \
             file again"
        ));
        tracing::error!(account = name, %path, "{}", error.detail().unwrap_or_default());
        error
    }

    /// What the account uses and may use.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn usage(&self) -> Result<Usage, Error> {
        let account = self.account;
        self.store.db().look(move |tx| usage(tx, account)).await
    }
}

/// What an account uses and may use.
pub(super) fn usage(tx: &Read<'_>, account: i64) -> Result<Usage, Error> {
    let usage = tx.row("SELECT used, quota FROM accounts WHERE id = $1", params![account], |row| {
        let quota = row.optional_int(1)?.map(|quota| quota.max(0) as u64);
        Ok(Usage { used: row.int(0)?.max(0) as u64, quota })
    })?;
    usage.ok_or(Error::NotFound)
}

/// The number of an account's newest change.
fn changes_of(tx: &Read<'_>, account: i64) -> Result<u64, Error> {
    let changes = tx.row("SELECT changes FROM accounts WHERE id = $1", params![account], |row| row.int(0))?;
    changes.map(|changes| changes as u64).ok_or(Error::NotFound)
}

/// A folder of an account that everyone may read.
#[derive(Clone)]
pub struct Site {
    home: Home,
    root: VPath,
}

impl Home {
    /// The folder `root` as everyone may read it. For `auth`, which has checked that it is public.
    pub fn into_site(self, root: VPath) -> Site {
        Site { home: self, root }
    }
}

impl Site {
    fn path(&self, path: &VPath) -> Result<VPath, Error> {
        self.root.join(path.as_str().trim_start_matches('/'))
    }

    /// What stands at `path` under the site's folder.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing does.
    pub async fn stat(&self, path: &VPath) -> Result<Arc<Node>, Error> {
        self.home.stat(&self.path(path)?).await
    }

    /// The file at `path` and its content.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Invalid`] when it is a folder.
    pub async fn open(&self, path: &VPath) -> Result<(Arc<Node>, Content), Error> {
        self.home.open(&self.path(path)?).await
    }
}
