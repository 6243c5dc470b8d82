//! A store of its own for each test: three accounts, one domain, and a look at what was stored.

use std::ops::Deref;

/// The store and who decides over it; gone with the test.
pub(crate) struct World(dialog::World);

impl World {
    /// alice, bob, and full, whose quota holds next to nothing, all at example.org.
    pub(crate) async fn new() -> World {
        World(dialog::World::new(&[("alice", None), ("bob", None), ("full", Some(2000))]).await)
    }

    /// The messages of an account, as they are stored.
    pub(crate) async fn mail(&self, account: &str) -> Vec<String> {
        let database = rusqlite::Connection::open(self.folder().join("wharfinger.db")).unwrap();
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
        self.records(action, "refused").await
    }
}

impl Deref for World {
    type Target = dialog::World;

    fn deref(&self) -> &dialog::World {
        &self.0
    }
}
