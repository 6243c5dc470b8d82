//! The store itself: opened once by the daemon, handed to `auth`, never to a protocol.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};

use crate::audit::Entry;
use crate::blobs::{Blobs, Bucket, Place, S3};
use crate::cache::Caches;
use crate::db::{Change, Db, Engine, Listeners, params};
use crate::{Actor, Error, Lease, Timestamp, TraceId};

/// How many changes a slow follower of the feed may lag behind before it must read the log.
const FEED: usize = 4096;
/// How often what nothing refers to is looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a blob is kept after its last reference went, for those who are still reading it.
const GRACE: Duration = Duration::from_secs(300);

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that holds everything.
    pub data: PathBuf,
    /// Bytes of disk that uploads and deliveries leave free, so that deleting, logging in and auditing go on.
    pub reserve: u64,
    /// The local domains of a new store.
    pub domains: Vec<String>,
    /// Which engine keeps the rows.
    pub engine: Engine,
    /// Where large contents are.
    pub blobs: BlobStore,
    /// Contents of up to so many bytes are kept in the database.
    pub small: usize,
    /// How long expunged messages can be restored.
    pub undelete: Duration,
    /// The name of this node in the audit log.
    pub node: String,
}

impl Options {
    /// A store of one process, all of it in one folder.
    pub fn embedded(data: PathBuf) -> Options {
        Options {
            data,
            reserve: 0,
            domains: Vec::new(),
            engine: Engine::Sqlite,
            blobs: BlobStore::Disk,
            small: 64 << 10,
            undelete: Duration::from_secs(14 * 24 * 3600),
            node: "localhost".into(),
        }
    }
}

/// Where large contents are.
#[derive(Debug, Clone, Default)]
pub enum BlobStore {
    /// In files of the data folder.
    #[default]
    Disk,
    /// In an S3 bucket.
    S3(S3),
}

/// The store. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    blobs: Blobs,
    caches: Arc<Caches>,
    feed: broadcast::Sender<Change>,
    undelete: Duration,
    index: crate::mail::Turn,
    /// Told when something was put into the outbound queue.
    queue_filled: Notify,
    /// What the leases of this process are held by.
    holder: String,
    /// Where files lie that nobody else needs.
    data: PathBuf,
    /// Held as long as the store is open: one process at a time.
    _lock: std::fs::File,
}

/// Does not keep the store open.
pub(crate) struct WeakStore {
    inner: Weak<Inner>,
}

impl WeakStore {
    /// The store, when it is still open.
    pub(crate) fn upgrade(&self) -> Option<Store> {
        self.inner.upgrade().map(|inner| Store { inner })
    }
}

/// What `wharfinger status` tells of the store.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Status {
    /// Accounts that are not removed.
    pub accounts: i64,
    /// Files.
    pub files: i64,
    /// Messages.
    pub messages: i64,
    /// Blobs and their bytes.
    pub blobs: i64,
    /// The bytes of all blobs.
    pub bytes: i64,
    /// Messages whose words are not in the index yet: a search reads them.
    pub unindexed: i64,
    /// Audit records.
    pub records: i64,
}

impl Store {
    /// A new file without a name, which is gone when it is closed.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn scratch(&self) -> std::io::Result<std::fs::File> {
        tempfile::tempfile_in(&self.inner.data)
    }

    /// Whether the disk has room for more than its reserve.
    ///
    /// # Errors
    /// [`Error::Full`]; those of the disk.
    pub fn has_space(&self) -> Result<(), Error> {
        self.blobs().check_space()
    }

    /// Opens the store in a folder, making what is missing and tidying what a crash left.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has it open; [`Error::Invalid`] when a newer Wharfinger wrote it.
    pub async fn open(options: Options) -> Result<Store, Error> {
        let domains = options.domains.clone();
        let store = tokio::task::spawn_blocking(move || Store::open_now(&options)).await.map_err(Error::internal)??;
        if let Place::Bucket(bucket) = store.blobs().place() {
            bucket.probe().await?;
        }
        store.blobs().tidy().await?;
        store.seed(domains).await?;
        store.recover_queue().await?;
        Ok(store)
    }

    /// Looks whether the database and the bucket can be used, without changing anything in the database.
    ///
    /// # Errors
    /// [`Error::Invalid`] with a sentence that says what to do.
    pub async fn probe(options: &Options) -> Result<(), Error> {
        if let BlobStore::S3(bucket) = &options.blobs {
            Bucket::new(bucket)?.probe().await?;
        }
        let (engine, node) = (options.engine.clone(), options.node.clone());
        tokio::task::spawn_blocking(move || Db::probe(&engine, &node)).await.map_err(Error::internal)?
    }

    fn open_now(options: &Options) -> Result<Store, Error> {
        let unusable = |error: std::io::Error| {
            Error::invalid(format!("the data folder {} cannot be used: {error}", options.data.display()))
        };
        private_folder(&options.data).map_err(unusable)?;
        let lock = lock(&options.data)?;
        let (feed, _) = broadcast::channel(FEED);
        let caches = Arc::new(Caches::new());
        let (old, known, tell) = (caches.clone(), caches.clone(), feed.clone());
        let listeners = Listeners {
            committed: Arc::new(move |changes| old.invalidate(changes)),
            changed: Arc::new(move |changes| {
                known.invalidate(changes);
                for change in changes {
                    // Nobody following is fine.
                    let _ = tell.send(change.clone());
                }
            }),
        };
        let db = Db::open(&options.engine, &options.data, &options.node, listeners)?;
        let place = match &options.blobs {
            BlobStore::Disk => Place::Disk,
            BlobStore::S3(bucket) => Place::Bucket(Bucket::new(bucket)?),
        };
        let blobs = Blobs::open(&options.data, options.reserve, db.clone(), place, options.small).map_err(unusable)?;
        let holder = format!("{} {}", options.node, TraceId::new());
        let undelete = options.undelete;
        Ok(Store {
            inner: Arc::new(Inner {
                db,
                blobs,
                caches,
                feed,
                undelete,
                index: Default::default(),
                queue_filled: Notify::new(),
                holder,
                data: options.data.clone(),
                _lock: lock,
            }),
        })
    }

    /// Gives a new store its first domains; one that ever had an account keeps those it has.
    async fn seed(&self, domains: Vec<String>) -> Result<(), Error> {
        let actor = Actor::command_line();
        let fresh = self.db().read(|tx| tx.row("SELECT 1 FROM audit LIMIT 1", &[], |_| Ok(()))).await?.is_none();
        for domain in domains.iter().filter(|_| fresh) {
            match self.add_domain(&actor, domain, Vec::new()).await {
                // Another node has just started on the same store.
                Ok(()) | Err(Error::Exists) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Runs the store's own work until the last other handle is gone: sweeping blobs, old sessions and old failures. Of
    /// several nodes one does it.
    pub async fn maintain(&self) {
        let weak = self.downgrade();
        loop {
            tokio::time::sleep(SWEEP).await;
            let Some(store) = weak.upgrade() else { return };
            let swept = async {
                if let Some(lease) = store.lease("maintenance", SWEEP * 3).await? {
                    store.forget_expunged(store.inner.undelete).await?;
                    store.sweep(GRACE).await?;
                    store.forget_old(lease).await?;
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = swept.await {
                tracing::warn!(%error, detail = error.detail(), "sweeping failed; it is tried again");
            }
        }
    }

    /// Removes the blobs that nothing has referred to for `grace`, and what only they needed; how many blobs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self, grace: Duration) -> Result<usize, Error> {
        let swept = self.inner.blobs.sweep(grace).await?;
        self.forget_words().await?;
        Ok(swept)
    }

    /// Whether the database and the bucket answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the one that does not.
    pub async fn ready(&self) -> Result<(), Error> {
        self.db().read(|tx| tx.row("SELECT 1 FROM accounts WHERE id = 0", &[], |_| Ok(()))).await?;
        match self.blobs().place() {
            Place::Disk => Ok(()),
            Place::Bucket(bucket) => bucket.answers().await,
        }
    }

    /// Follows the changes of all accounts from now on, of every node; it may begin with some made just before.
    pub fn follow(&self) -> broadcast::Receiver<Change> {
        self.inner.feed.subscribe()
    }

    /// Writes an audit record of something that changed no data.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record(
        &self,
        actor: &Actor,
        action: &'static str,
        target: &str,
        outcome: &'static str,
        detail: &str,
    ) -> Result<(), Error> {
        let (actor, target, detail) = (actor.clone(), target.to_owned(), detail.to_owned());
        self.db()
            .write_grouped(move |tx| {
                tx.record(&Entry { actor: &actor, action, change: None, target: &target, outcome, detail: &detail })
            })
            .await
    }

    /// Counts of what the store holds.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn status(&self) -> Result<Status, Error> {
        self.db()
            .read(|tx| {
                let count = |sql| tx.row(sql, &[], |row| row.int(0)).map(Option::unwrap_or_default);
                Ok(Status {
                    accounts: count("SELECT COUNT(*) FROM accounts WHERE kind = 'user' AND removed IS NULL")?,
                    files: count("SELECT COUNT(*) FROM nodes WHERE folder = 0")?,
                    messages: count("SELECT COUNT(*) FROM messages")?,
                    blobs: count("SELECT COUNT(*) FROM blobs")?,
                    bytes: count("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blobs")?,
                    unindexed: count("SELECT COUNT(*) FROM documents WHERE indexed <> 1 AND indexed = 0")?,
                    records: count("SELECT COUNT(*) FROM audit")?,
                })
            })
            .await
    }

    /// Drops web sessions that are over and failures that count no more.
    async fn forget_old(&self, lease: Lease) -> Result<(), Error> {
        let now = Timestamp::now();
        self.db()
            .write(move |tx| {
                tx.holds(&lease)?;
                tx.execute("DELETE FROM web_sessions WHERE expires < $1", params![now])?;
                let day = Timestamp(now.0 - 24 * 3600 * 1000);
                let month = Timestamp(now.0 - 30 * 24 * 3600 * 1000);
                tx.execute("DELETE FROM throttle WHERE last < $1 AND good < $2", params![day, month])?;
                Ok(())
            })
            .await
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn downgrade(&self) -> WeakStore {
        WeakStore { inner: Arc::downgrade(&self.inner) }
    }

    pub(crate) fn index_turn(&self) -> &crate::mail::Turn {
        &self.inner.index
    }

    pub(crate) fn queue_filled(&self) -> &Notify {
        &self.inner.queue_filled
    }

    pub(crate) fn holder(&self) -> &str {
        &self.inner.holder
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    pub(crate) fn caches(&self) -> &Arc<Caches> {
        &self.inner.caches
    }
}

/// Makes a folder that only its owner may enter.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn lock(data: &Path) -> Result<std::fs::File, Error> {
    let path = data.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Busy),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}
