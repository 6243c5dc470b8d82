//! A store of its own for each test: two accounts, and a look at what was recorded.

use std::sync::Arc;
use std::time::Duration;

use auth::{Authority, Cleartext, Secret};
use storage::audit::Filter;
use storage::{Actor, NewAccount, Options, Role, Store};
use tempfile::TempDir;

/// The store and who decides over it; gone with the test.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    store: Store,
    _folder: TempDir,
}

impl World {
    /// alice, and full, whose quota holds next to nothing.
    pub(crate) async fn new() -> World {
        World::with(Cleartext::Never).await
    }

    /// The same, where passwords may be taken without TLS.
    pub(crate) async fn with(cleartext: Cleartext) -> World {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let store = Store::open(Options::embedded(data)).await.unwrap();
        // Cheap passwords: what they cost is not tested here.
        let config = auth::Config { argon2_memory: 64, argon2_passes: 1, cleartext, ..auth::Config::default() };
        let authority = Authority::new(store.clone(), config, Duration::from_secs(60)).unwrap();
        let actor = Actor::command_line();
        for (name, quota) in [("alice", None), ("full", Some(2000))] {
            let verifier = authority.verifier(name, Secret::new(format!("secret-of-{name}"))).await.unwrap();
            let new = NewAccount { name: name.to_owned(), role: Role::User, quota, verifier: Some(verifier) };
            store.add_account(&actor, new).await.unwrap();
        }
        World { authority, store, _folder: folder }
    }

    /// How many records of an action with an outcome the audit log holds.
    pub(crate) async fn records(&self, action: &str, outcome: &str) -> usize {
        let filter = Filter {
            action: Some(action.to_owned()),
            outcome: Some(outcome.to_owned()),
            limit: 1000,
            ..Filter::default()
        };
        self.store.audit(filter).await.unwrap().len()
    }
}
