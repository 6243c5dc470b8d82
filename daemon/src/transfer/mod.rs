//! Mail from other programs' folders and files, and back into them.
//!
//! Two processes share the work, since whoever may read or write those files need not be who may open the store. The
//! command line's process has the files; the storing side has the store: the daemon where one runs, behind its control
//! socket, and otherwise a child that has become the owner of the data folder. They speak in frames.
//!
//! No state is kept beside the mail: what a mailbox holds already, by content and date, is not imported again, and what
//! an export has written tells by its name or its mark which message it is. So an import or export that was interrupted
//! at any moment is simply run again.

mod export;
mod files;
mod flags;
mod frames;
mod import;
mod maildir;
mod maildir_write;
mod mbox;
mod mbox_files;
mod mbox_head;
mod mbox_separator;
#[cfg(test)]
mod mbox_tests;
mod mbox_write;
mod message;
mod names;
mod progress;
mod storing;

use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};

use serde_json::json;
use storage::Store;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;

use crate::cli::{Format, Global, Mails};
use crate::commands::{self, open_store};
use crate::config::Config;
use crate::control;
use frames::{Link, Reading, Tell};
use storing::serve;

/// The most problems that are told one by one.
const TOLD: usize = 1000;

/// What became of an import or export.
#[derive(Default)]
struct Outcome {
    /// Messages that were transferred.
    done: u64,
    /// Messages that were there already.
    there: u64,
    /// Messages that lay in a file, and were deleted.
    deleted: u64,
    /// Files, folders and messages that could not be transferred, and why.
    problems: Vec<(String, String)>,
    /// How many more there were.
    more: u64,
}

impl Outcome {
    fn problem(&mut self, what: impl Into<String>, why: impl Into<String>) {
        if self.problems.len() < TOLD {
            self.problems.push((what.into(), why.into()));
        } else {
            self.more += 1;
        }
    }

    fn tell(&self, deed: &str, json: bool) -> ExitCode {
        let Outcome { done, there, deleted, problems, more } = self;
        if json {
            let problems: Vec<_> = problems.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect();
            commands::print(&format!(
                "{}\n",
                json!({ deed: done, "there": there, "deleted": deleted, "problems": problems, "more": more })
            ));
        } else {
            commands::print(&format!("{done} messages {deed}, {there} were there already\n"));
            if *deleted > 0 {
                commands::print(&format!(
                    "{deleted} messages left out, which were deleted and not yet compacted away\n"
                ));
            }
            for (what, why) in problems {
                commands::print(&format!("{}: {}\n", commands::printable(what), commands::printable(why)));
            }
            if *more > 0 {
                commands::print(&format!("and {more} more problems\n"));
            }
        }
        if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// `wharfinger import`.
///
/// # Errors
/// When the store or the files cannot be read at all; what was imported before stays.
pub(crate) async fn import(config: &Config, global: &Global, from: Format) -> Result<ExitCode, String> {
    let mails = from.mails();
    let (mut link, child) = open(config, global, &mails.name).await?;
    let outcome = import::run(&mut link, &from, !global.json).await;
    close(link, child);
    Ok(outcome?.tell("imported", global.json))
}

/// `wharfinger export`.
///
/// # Errors
/// When the store cannot be read or nothing can be written; what was exported before stays.
pub(crate) async fn export(config: &Config, global: &Global, to: Format) -> Result<ExitCode, String> {
    let mails = to.mails();
    let (mut link, child) = open(config, global, &mails.name).await?;
    let outcome = export::run(&mut link, &to, !global.json).await;
    close(link, child);
    Ok(outcome?.tell("exported", global.json))
}

impl Format {
    fn mails(&self) -> &Mails {
        match self {
            Format::Maildir(mails) | Format::Mbox(mails) => mails,
        }
    }
}

/// A link to the storing side of an account.
async fn open(config: &Config, global: &Global, name: &str) -> Result<(Link, Option<Child>), String> {
    if let Some(stream) = control::transfer(&config.data, name).await {
        return Ok((Link::new(stream), None));
    }
    let start = || {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(std::env::current_exe()?);
        for (option, value) in [("--config", &global.config), ("--data", &global.data)] {
            if let Some(value) = value {
                command.arg(option).arg(value);
            }
        }
        command.arg("store-mail").arg(name).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        Ok((UnixStream::from_std(ours)?, command.spawn()?))
    };
    let (stream, child) = start().map_err(|error: std::io::Error| format!("the store cannot be opened: {error}"))?;
    Ok((Link::new(stream), Some(child)))
}

/// Lets a child end by itself, which it does when it reads no more.
fn close(link: Link, child: Option<Child>) {
    drop(link);
    if let Some(mut child) = child {
        let _ = child.wait();
    }
}

/// The storing side as a child of the command line's process: the other end is its standard input.
///
/// # Errors
/// When standard input is no socket.
pub(crate) async fn serve_standard_input(config: &Config, name: &str) -> Result<(), String> {
    let open = || {
        let stream = std::os::unix::net::UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    let mut link = Link::new(open().map_err(|error| format!("standard input is not a socket: {error}"))?);
    match open_store(&config.with_few_connections()).await {
        Ok(store) => serve(&store, name, link).await,
        Err(why) => storing::refuse(&mut link, &Tell::Refused { why, message: false }).await,
    }
    Ok(())
}

/// The storing side behind the control socket.
pub(crate) async fn serve_socket(store: &Store, name: &str, read: Reading, write: OwnedWriteHalf) {
    serve(store, name, Link::of(read, write)).await;
}
