//! Sessions as scripts: what a client says, and what the RFCs have the server answer.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod changing;
mod client;
mod exact;
mod listing;
mod login;
mod mailboxes;
mod offered;
mod opening;
mod pattern;
mod reading;
mod refused;
mod searching;
mod storing;
mod together;
mod world;
