//! A store of its own for each test.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth::{Authority, Config, Secret};
use storage::audit::Filter;
use storage::{Actor, NewAccount, Options, Role, Scope, Store};
use tempfile::TempDir;

/// A store and who decides over it; gone with the test.
pub struct World {
    /// Who decides.
    pub authority: Arc<Authority>,
    /// The store.
    pub store: Store,
    folder: TempDir,
}

impl World {
    /// Accounts with their quotas, all at example.org, with `secret-of-NAME` for a password.
    pub async fn new(accounts: &[(&str, Option<i64>)]) -> World {
        World::with(accounts, Config::default()).await
    }

    /// The same with a configuration.
    pub async fn with(accounts: &[(&str, Option<i64>)], config: Config) -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::embedded(folder.path().to_owned())).await.unwrap();
        // Cheap passwords: what they cost is not tested here.
        let config = Config { argon2_memory: 64, argon2_passes: 1, ..config };
        let authority = Authority::new(store.clone(), config, Duration::from_secs(60)).unwrap();
        let actor = Actor::command_line();
        store.add_domain(&actor, "example.org", Vec::new()).await.unwrap();
        for &(name, quota) in accounts {
            let verifier = authority.verifier(name, Secret::new(format!("secret-of-{name}"))).await.unwrap();
            let new = NewAccount { name: name.to_owned(), role: Role::User, quota, verifier: Some(verifier) };
            store.add_account(&actor, new).await.unwrap();
        }
        World { authority, store, folder }
    }

    /// Gives an account an app password that may only read.
    pub async fn read_only(&self, name: &str, text: &str) {
        let account = self.store.account(name).await.unwrap().unwrap();
        let scope = Scope { read_only: true, ..Scope::default() };
        let made = self.authority.app_password(&account, &Secret::new(text.into()), "reader".into(), scope).await;
        self.store.add_app_password(&Actor::command_line(), name, made.unwrap()).await.unwrap();
    }

    /// How many records of an action with an outcome the audit log holds.
    pub async fn records(&self, action: &str, outcome: &str) -> usize {
        let (action, outcome) = (Some(action.to_owned()), Some(outcome.to_owned()));
        self.store.audit(Filter { action, outcome, limit: 1000, ..Filter::default() }).await.unwrap().len()
    }

    /// Where the store is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
