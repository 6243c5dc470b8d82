//! Dialogs with the server over loopback sockets, on a store of their own.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod client;
mod data;
mod session;
mod world;
