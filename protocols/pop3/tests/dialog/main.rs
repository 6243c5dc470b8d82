//! Dialogs with the server over a loopback socket, on a store of their own.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod client;
mod maildrop;
mod session;
mod world;
