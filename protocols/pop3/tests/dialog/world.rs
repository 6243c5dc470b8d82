//! A store of its own for each test: accounts with mail, and a look at what is stored.

use std::ops::Deref;

use bytes::Bytes;
use storage::{Actor, Mail};

/// The store and who decides over it; gone with the test.
pub(crate) struct World(dialog::World);

impl World {
    /// alice, bob, and reader, whose app password `only-for-reading` may read alone.
    pub(crate) async fn new() -> World {
        let world = dialog::World::new(&[("alice", None), ("bob", None), ("reader", None)]).await;
        world.read_only("reader", "only-for-reading").await;
        World(world)
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
}

impl Deref for World {
    type Target = dialog::World;

    fn deref(&self) -> &dialog::World {
        &self.0
    }
}
