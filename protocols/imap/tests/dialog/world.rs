//! A store of its own for each test: accounts, and mail put into them.

use std::sync::Arc;
use std::time::Duration;

use auth::{Authority, Secret};
use storage::{Actor, NewAccount, Options, Role, Scope, Store};
use tempfile::TempDir;

/// The store and who decides over it; gone with the test.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Store,
    _folder: TempDir,
}

impl World {
    /// alice, whose app password `only-for-reading` may read alone, bob, and full, whose quota holds next to nothing.
    pub(crate) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let store = Store::open(Options::embedded(data)).await.unwrap();
        // Cheap passwords: what they cost is not tested here.
        let config = auth::Config { argon2_memory: 64, argon2_passes: 1, ..auth::Config::default() };
        let authority = Authority::new(store.clone(), config, Duration::from_secs(60)).unwrap();
        let actor = Actor::command_line();
        store.add_domain(&actor, "example.org").await.unwrap();
        for (name, quota) in [("alice", None), ("bob", None), ("full", Some(3000))] {
            let verifier = authority.verifier(name, Secret::new(format!("secret-of-{name}"))).await.unwrap();
            let new = NewAccount { name: name.to_owned(), role: Role::User, quota, verifier: Some(verifier) };
            store.add_account(&actor, new).await.unwrap();
        }
        let alice = store.account("alice").await.unwrap().unwrap();
        let scope = Scope { protocols: vec![], read_only: true, expires: None };
        let secret = Secret::new("only-for-reading".into());
        let new = authority.app_password(&alice, &secret, "phone".into(), scope).await.unwrap();
        store.add_app_password(&actor, "alice", new).await.unwrap();
        World { authority, store, _folder: folder }
    }
}
