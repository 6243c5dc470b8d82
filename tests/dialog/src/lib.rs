//! What the dialog tests of all protocols stand on: a store of its own for each test, and a connection to a server of
//! its own, on which the test says what it likes.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

mod connection;
mod world;

pub use connection::{Connection, Served, Spoken, Wire};
pub use world::World;
