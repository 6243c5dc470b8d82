//! A store of its own for each test: three accounts, one domain, and a look at what was stored.

use std::sync::Arc;
use std::time::Duration;

use auth::{Authority, Secret};
use storage::{Actor, NewAccount, Options, Role, Scope, Store};
use tempfile::TempDir;

/// The store and who decides over it; gone with the test.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    store: Store,
    folder: TempDir,
}

impl World {
    /// alice, bob, and full, whose quota holds next to nothing, all at example.org.
    pub(crate) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let store = Store::open(Options::embedded(data)).await.unwrap();
        // Cheap passwords: what they cost is not tested here.
        let config = auth::Config { argon2_memory: 64, argon2_passes: 1, ..auth::Config::default() };
        let authority = Authority::new(store.clone(), config, Duration::from_secs(60)).unwrap();
        let actor = Actor::command_line();
        store.add_domain(&actor, "example.org").await.unwrap();
        for (name, quota) in [("alice", None), ("bob", None), ("full", Some(2000))] {
            let verifier = authority.verifier(name, Secret::new(format!("secret-of-{name}"))).await.unwrap();
            let new = NewAccount { name: name.to_owned(), role: Role::User, quota, verifier: Some(verifier) };
            store.add_account(&actor, new).await.unwrap();
        }
        World { authority, store, folder }
    }

    /// Gives alice an app password that may only read.
    pub(crate) async fn read_only(&self, text: &str) {
        let account = self.store.account("alice").await.unwrap().unwrap();
        let scope = Scope { read_only: true, ..Scope::default() };
        let made = self.authority.app_password(&account, &Secret::new(text.into()), "reader".into(), scope).await;
        self.store.add_app_password(&Actor::command_line(), "alice", made.unwrap()).await.unwrap();
    }

    /// The messages of an account, as they are stored.
    pub(crate) async fn mail(&self, account: &str) -> Vec<String> {
        let database = rusqlite::Connection::open(self.folder.path().join("wharfinger.db")).unwrap();
        let mut messages = database
            .prepare(
                "SELECT data FROM accounts JOIN mailboxes ON mailboxes.account = accounts.id
                 JOIN messages ON messages.mailbox = mailboxes.id JOIN blob_data ON blob_data.blob = messages.blob
                 WHERE accounts.name = $1 ORDER BY uid",
            )
            .unwrap();
        let texts = messages.query_map([account], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        texts.map(|text| String::from_utf8(text.unwrap()).unwrap()).collect()
    }

    /// How many refusals of an action the audit log holds.
    pub(crate) async fn refusals(&self, action: &str) -> usize {
        let filter = storage::audit::Filter {
            action: Some(action.to_owned()),
            outcome: Some("refused".to_owned()),
            limit: 1000,
            ..storage::audit::Filter::default()
        };
        self.store.audit(filter).await.unwrap().len()
    }
}
