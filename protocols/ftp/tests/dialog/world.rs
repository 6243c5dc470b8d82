//! A store of its own for each test: two accounts, and a look at what was recorded.

use std::ops::Deref;

use auth::{Cleartext, Config};

/// The store and who decides over it; gone with the test.
pub(crate) struct World(dialog::World);

impl World {
    /// alice, and full, whose quota holds next to nothing.
    pub(crate) async fn new() -> World {
        World::with(Cleartext::Never).await
    }

    /// The same, where passwords may be taken without TLS.
    pub(crate) async fn with(cleartext: Cleartext) -> World {
        let config = Config { cleartext, ..Config::default() };
        World(dialog::World::with(&[("alice", None), ("full", Some(2000))], config).await)
    }
}

impl Deref for World {
    type Target = dialog::World;

    fn deref(&self) -> &dialog::World {
        &self.0
    }
}
