//! What a store stands on in a test: a folder, or a folder, a PostgreSQL database and a bucket.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use storage::{
    Actor, BlobStore, Delivered, Engine, Envelope, Error, Home, NewAccount, Options, Postgres, PostgresTls, PutOptions,
    Role, S3, Store, Stored, Target, TraceId, VPath,
};

/// Each test once on SQLite and files, once on PostgreSQL and S3.
#[allow(unused_macros, reason = "each test program uses a part of it")]
macro_rules! on_both_engines {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::World::embedded()).await;
            })*
        }
        mod shared {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs PostgreSQL and S3, as tests/run starts them"]
            async fn $name() {
                super::$name(super::World::shared().await).await;
            })*
        }
    };
}
#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use on_both_engines;

/// What a store stands on.
pub(crate) struct World {
    folder: tempfile::TempDir,
    engine: Engine,
    blobs: BlobStore,
}

impl World {
    pub(crate) fn embedded() -> World {
        World { folder: tempfile::tempdir().unwrap(), engine: Engine::Sqlite, blobs: BlobStore::Disk }
    }

    /// A database, and a prefix in the bucket `test`, of its own, on the servers that TEST_POSTGRES and TEST_S3 name.
    pub(crate) async fn shared() -> World {
        let server = std::env::var("TEST_POSTGRES").expect("TEST_POSTGRES is the URL of a PostgreSQL superuser");
        let name = format!("store_{}", TraceId::new());
        administer(&server, &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")).await;
        let (base, _) = server.rsplit_once('/').unwrap();
        let engine = Engine::Postgres(Postgres {
            url: format!("{base}/{name}"),
            connections: 6,
            tls: PostgresTls::Auto,
            ca: None,
            limit: Duration::from_secs(10),
        });
        let service = std::env::var("TEST_S3").expect("TEST_S3 is a URL with an access and a secret key");
        let (keys, host) = service.strip_prefix("http://").unwrap().split_once('@').unwrap();
        let (access_key, secret_key) = keys.split_once(':').unwrap();
        let blobs = BlobStore::S3(S3 {
            endpoint: format!("http://{host}"),
            bucket: "test".into(),
            region: "us-east-1".into(),
            access_key: access_key.into(),
            secret_key: secret_key.into(),
            prefix: name,
            limit: Duration::from_secs(10),
        });
        World { folder: tempfile::tempdir().unwrap(), engine, blobs }
    }

    /// Another node on the same database and bucket.
    pub(crate) fn another(&self) -> World {
        World { folder: tempfile::tempdir().unwrap(), engine: self.engine.clone(), blobs: self.blobs.clone() }
    }

    /// The same, reached in another way.
    pub(crate) fn with_url(&self, change: impl Fn(&str) -> String) -> World {
        let mut other = self.another();
        if let Engine::Postgres(options) = &mut other.engine {
            options.url = change(&options.url);
            options.limit = Duration::from_secs(5);
        }
        other
    }

    /// The same, with another bucket.
    pub(crate) fn with_bucket(&self, change: impl Fn(&mut S3)) -> World {
        let mut other = self.another();
        if let BlobStore::S3(bucket) = &mut other.blobs {
            change(bucket);
            bucket.limit = Duration::from_secs(5);
        }
        other
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            domains: vec!["example.org".into()],
            engine: self.engine.clone(),
            blobs: self.blobs.clone(),
            ..Options::embedded(self.folder.path().to_owned())
        }
    }

    /// A store with an account.
    pub(crate) async fn start(&self) -> (Store, Home) {
        let store = Store::open(self.options()).await.unwrap();
        let home = home(&store, "alice", None).await;
        (store, home)
    }

    /// Opens the store again. The threads of one that was closed end a moment later.
    pub(crate) async fn try_reopen(&self) -> Result<Store, Error> {
        for _ in 0..100 {
            match Store::open(self.options()).await {
                Err(Error::Busy) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => return other,
            }
        }
        panic!("the store stays locked");
    }

    pub(crate) async fn reopen(&self) -> Store {
        self.try_reopen().await.unwrap()
    }

    /// Changes rows behind the store's back; how many.
    pub(crate) async fn tamper(&self, sql: &str) -> u64 {
        match &self.engine {
            Engine::Sqlite => {
                let database = rusqlite::Connection::open(self.folder().join("wharfinger.db")).unwrap();
                database.busy_timeout(Duration::from_secs(5)).unwrap();
                database.execute(sql, []).unwrap() as u64
            }
            Engine::Postgres(options) => administer(&options.url, sql).await,
        }
    }

    /// How often PostgreSQL had to break a circle of transactions that waited for each other.
    pub(crate) async fn deadlocks(&self) -> i64 {
        let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        match &self.engine {
            Engine::Sqlite => 0,
            Engine::Postgres(options) => number(&options.url, sql).await,
        }
    }

    /// How large the database is.
    pub(crate) async fn bytes(&self) -> u64 {
        match &self.engine {
            Engine::Sqlite => {
                let size = |name: &str| std::fs::metadata(self.folder().join(name)).map_or(0, |file| file.len());
                size("wharfinger.db") + size("wharfinger.db-wal")
            }
            Engine::Postgres(options) => {
                number(&options.url, "SELECT pg_database_size(current_database())").await as u64
            }
        }
    }

    /// Lets the bucket lose all that it has.
    pub(crate) async fn lose_objects(&self) {
        let BlobStore::S3(bucket) = &self.blobs else { panic!("there is no bucket") };
        let (store, keys) = objects(bucket).await;
        for key in keys {
            store.delete(&key).await.unwrap();
        }
    }

    /// How many large contents the blob store holds, finished or not.
    pub(crate) async fn blobs(&self) -> usize {
        if let BlobStore::S3(bucket) = &self.blobs {
            return objects(bucket).await.1.len();
        }
        let folders = std::fs::read_dir(self.folder().join("blobs")).unwrap();
        folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }
}

/// The service, and the keys of all objects with our prefix.
async fn objects(bucket: &S3) -> (AmazonS3, Vec<Key>) {
    let store = AmazonS3Builder::new()
        .with_endpoint(&bucket.endpoint)
        .with_allow_http(true)
        .with_bucket_name(&bucket.bucket)
        .with_access_key_id(&bucket.access_key)
        .with_secret_access_key(&bucket.secret_key)
        .build()
        .unwrap();
    let mut objects = store.list(Some(&bucket.prefix.as_str().into()));
    let mut keys = Vec::new();
    while let Some(object) = std::future::poll_fn(|context| objects.as_mut().poll_next(context)).await {
        keys.push(object.unwrap().location);
    }
    drop(objects);
    (store, keys)
}

async fn administer(url: &str, sql: &str) -> u64 {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let count = client.execute(sql, &[]).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
    count
}

/// The number that a query finds.
async fn number(url: &str, sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let row = client.query_one(sql, &[]).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
    row.get(0)
}

pub(crate) fn actor() -> Actor {
    Actor::command_line()
}

pub(crate) fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

pub(crate) async fn home(store: &Store, name: &str, quota: Option<i64>) -> Home {
    let new = NewAccount { name: name.into(), role: Role::User, quota, verifier: None };
    let account = store.add_account(&actor(), new).await.unwrap();
    store.home(account.id, actor())
}

pub(crate) async fn put(home: &Home, to: &str, content: &[u8]) -> Result<Stored, Error> {
    let mut upload = home.put(&path(to), PutOptions::default()).await?;
    for piece in content.chunks(100_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.commit().await
}

pub(crate) async fn read(home: &Home, from: &str) -> Result<Vec<u8>, Error> {
    let (_, content) = home.open(&path(from)).await?;
    let mut reader = content.reader(0..content.len());
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

pub(crate) async fn deliver(store: &Store, message: &[u8], to: &[(i64, &str)]) -> Result<Delivered, Error> {
    let to = to.iter().map(|(account, address)| Target { account: *account, address: (*address).into(), detail: None });
    let envelope = Envelope::here(TraceId::new(), "a@b.example".into(), to.collect());
    let mut delivery = store.delivery(actor(), envelope);
    delivery.write(Bytes::copy_from_slice(message)).await?;
    delivery.commit().await
}
