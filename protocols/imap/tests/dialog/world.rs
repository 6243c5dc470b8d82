//! A store of its own for each test: accounts, and mail put into them.

use std::ops::Deref;

/// The store and who decides over it; gone with the test.
pub(crate) struct World(dialog::World);

impl World {
    /// alice, whose app password `only-for-reading` may read alone, bob, and full, whose quota holds next to nothing.
    pub(crate) async fn new() -> World {
        let world = dialog::World::new(&[("alice", None), ("bob", None), ("full", Some(3000))]).await;
        world.read_only("alice", "only-for-reading").await;
        World(world)
    }
}

impl Deref for World {
    type Target = dialog::World;

    fn deref(&self) -> &dialog::World {
        &self.0
    }
}
