//! A store of its own for each test: accounts with mail, and a look at what is stored.

use std::sync::Arc;
use std::time::Duration;

use auth::{Authority, Secret};
use bytes::Bytes;
use storage::{Actor, Mail, NewAccount, Options, Role, Scope, Store};
use tempfile::TempDir;

/// The store and who decides over it; gone with the test.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Store,
    _folder: TempDir,
}

impl World {
    /// alice, bob, and reader, whose app password `only-for-reading` may read alone.
    pub(crate) async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let store = Store::open(Options::embedded(data)).await.unwrap();
        // Cheap passwords: what they cost is not tested here.
        let config = auth::Config { argon2_memory: 64, argon2_passes: 1, ..auth::Config::default() };
        let authority = Authority::new(store.clone(), config, Duration::from_secs(60)).unwrap();
        let actor = Actor::command_line();
        store.add_domain(&actor, "example.org").await.unwrap();
        for name in ["alice", "bob", "reader"] {
            let verifier = authority.verifier(name, Secret::new(format!("secret-of-{name}"))).await.unwrap();
            let new = NewAccount { name: name.to_owned(), role: Role::User, quota: None, verifier: Some(verifier) };
            store.add_account(&actor, new).await.unwrap();
        }
        let reader = store.account("reader").await.unwrap().unwrap();
        let (text, scope) =
            (Secret::new("only-for-reading".into()), Scope { protocols: vec![], read_only: true, expires: None });
        let new = authority.app_password(&reader, &text, "phone".into(), scope).await.unwrap();
        store.add_app_password(&actor, "reader", new).await.unwrap();
        World { authority, store, _folder: folder }
    }

    /// The mail of an account, as its owner has it by another protocol.
    pub(crate) async fn mail(&self, account: &str) -> Mail {
        let account = self.store.account(account).await.unwrap().unwrap();
        self.store.mail(account.id, Actor::command_line())
    }

    /// Puts a message into the INBOX of alice.
    pub(crate) async fn put(&self, content: &[u8]) {
        self.put_for("alice", content).await;
    }

    pub(crate) async fn put_for(&self, account: &str, content: &[u8]) {
        let mut append = self.mail(account).await.append("INBOX").await.unwrap();
        append.begin(Vec::new(), None, content.len() as u64).await.unwrap();
        append.write(Bytes::copy_from_slice(content)).await.unwrap();
        append.end().await.unwrap();
        append.commit().await.unwrap();
    }

    /// The UIDs in the INBOX of alice, with their flags.
    pub(crate) async fn inbox(&self) -> Vec<(u32, u64)> {
        let mailbox = self.mail("alice").await.open("INBOX").await.unwrap();
        mailbox.view().await.unwrap().messages().map(|(_, message)| (message.uid, message.flags.0)).collect()
    }

    /// Removes a message of alice, as another client may.
    pub(crate) async fn remove(&self, uid: u32) {
        self.mail("alice").await.open("INBOX").await.unwrap().remove(vec![(uid, uid)]).await.unwrap();
    }

    /// How many records of an action with an outcome the audit log holds.
    pub(crate) async fn records(&self, action: &str, outcome: &str) -> usize {
        let filter = storage::audit::Filter {
            action: Some(action.to_owned()),
            outcome: Some(outcome.to_owned()),
            limit: 1000,
            ..storage::audit::Filter::default()
        };
        self.store.audit(filter).await.unwrap().len()
    }
}
