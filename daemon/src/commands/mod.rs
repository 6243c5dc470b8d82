//! What the commands do. Each works on an open store, inside the daemon or without one.

mod accounts;
mod app_passwords;
mod domain;
mod log;
mod mail;
mod queue;

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use auth::Authority;
use serde_json::{Value, json};
use storage::{Actor, Options, Store};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

use crate::cli::{Command, User};
use crate::config::{Config, Listen};
use crate::tls::Tls;
use crate::{control, serve};

/// What a command works with.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a Store,
    pub(crate) authority: &'a Arc<Authority>,
    pub(crate) config: Arc<Config>,
    pub(crate) json: bool,
    /// What came on standard input, where the command reads it.
    pub(crate) input: Option<String>,
    /// Inside the daemon: for how long it runs, and how many are connected.
    pub(crate) running: Option<(Duration, usize)>,
    /// Takes what is printed before the command ends.
    pub(crate) pieces: mpsc::Sender<String>,
}

impl Context<'_> {
    fn actor(&self) -> Actor {
        Actor::command_line()
    }

    /// The answer as the user wants it.
    fn show(&self, value: &Value, text: impl FnOnce() -> String) -> String {
        if self.json { format!("{value}\n") } else { text() }
    }

    fn done(&self, sentence: &str) -> String {
        self.show(&json!({ "done": sentence }), || format!("{sentence}\n"))
    }
}

/// Runs a command on an open store; what it prints, or one line that says what to do.
pub(crate) async fn run(context: &Context<'_>, command: Command) -> Result<String, String> {
    match command {
        Command::User(user) => accounts::user(context, user).await,
        Command::Alias(alias) => accounts::alias(context, alias).await,
        Command::Domain(domain) => domain::domain(context, domain).await,
        Command::Mail(mail) => mail::mail(context, mail).await,
        Command::Queue(command) => queue::queue(context, command).await,
        Command::Audit(audit) => log::audit(context, audit).await,
        Command::Events { user, limit } => log::events(context, user.as_deref(), limit).await,
        Command::Trace { id } => log::trace(context, &id).await,
        Command::Status => status(context).await,
        Command::Serve
        | Command::Check
        | Command::Import(_)
        | Command::Export(_)
        | Command::StoreMail { .. }
        | Command::Completions { .. }
        | Command::Man => Err("that command does not run inside the daemon".into()),
    }
}

/// Runs a command in the daemon where one runs, here otherwise.
pub(crate) async fn dispatch(
    config: &Config,
    command: Command,
    json: bool,
    arguments: Vec<String>,
) -> Result<ExitCode, String> {
    let wants_input = match &command {
        Command::User(User::Add { password, .. } | User::Passwd { password, .. }) => password.password_stdin,
        _ => false,
    };
    let input = if wants_input { Some(read_password()?) } else { None };
    let text = match control::ask(&config.data, arguments, input.clone()).await {
        Some(answer) => answer?,
        None => {
            // One command at a time needs no more.
            let store = open_store(&config.with_few_connections()).await?;
            let authority = serve::authority(&store, config)?;
            let (pieces, mut printed) = mpsc::channel::<String>(16);
            let printing = tokio::spawn(async move {
                while let Some(piece) = printed.recv().await {
                    print(&piece);
                }
            });
            let (config, running) = (Arc::new(config.clone()), None);
            let context = Context { store: &store, authority: &authority, config, json, input, running, pieces };
            let text = run(&context, command).await?;
            drop(context);
            printing.await.map_err(|error| error.to_string())?;
            text
        }
    };
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// How the store is opened; a new one knows the domains of this host.
fn options(config: &Config) -> Result<Options, String> {
    let mut domains = vec!["localhost".to_owned()];
    if config.hostname != "localhost" {
        domains.push(config.hostname.clone());
    }
    Ok(Options {
        data: config.data.clone(),
        reserve: config.storage.reserve_mib << 20,
        domains,
        engine: config.storage.engine()?,
        blobs: config.blob_store()?,
        small: config.small(),
        undelete: config.mail.undelete(),
        node: config.node.clone(),
    })
}

/// Opens the store.
pub(crate) async fn open_store(config: &Config) -> Result<Store, String> {
    Store::open(options(config)?).await.map_err(|error| match error {
        storage::Error::Busy => {
            format!("the store in {} is in use by another process; stop it first", config.data.display())
        }
        // Says itself what it is about.
        storage::Error::Invalid(sentence) => sentence.into_owned(),
        other => format!("the store in {}: {other}{}", config.data.display(), detail(&other)),
    })
}

/// What the log would say, for one who has no log.
fn detail(error: &storage::Error) -> String {
    error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default()
}

fn said(error: &storage::Error) -> String {
    format!("{error}{}", detail(error))
}

/// Root administers for the daemon's user: what it makes must belong to that user.
///
/// # Errors
/// When root cannot become that user.
pub(crate) fn become_owner(data: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let Ok(folder) = std::fs::metadata(data) else { return Ok(()) };
    if !nix::unistd::geteuid().is_root() || folder.uid() == 0 {
        return Ok(());
    }
    let become_it = || {
        nix::unistd::setgroups(&[])?;
        nix::unistd::setgid(folder.gid().into())?;
        nix::unistd::setuid(folder.uid().into())
    };
    become_it().map_err(|error| format!("cannot become the owner of {}: {error}", data.display()))
}

/// A moment as people and programs read it; empty for one beyond the calendar.
fn moment(milliseconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// What a client named may hold anything: the terminal sees none of it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Prints; a reader that is gone is no error.
pub(crate) fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

fn read_password() -> Result<String, String> {
    let mut text = String::new();
    std::io::stdin().take(4096).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    if password.is_empty() { Err("there is no password on standard input".into()) } else { Ok(password) }
}

/// A password that is easy to type: five groups of four letters and digits, 100 bits.
pub(crate) fn new_password() -> Result<String, String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut chance = [0; 20];
    getrandom::fill(&mut chance).map_err(|error| error.to_string())?;
    let letters: Vec<char> = chance.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-"))
}

/// Says what the configuration would do, without doing it.
pub(crate) async fn check(config: &Config, json: bool) -> Result<String, String> {
    crate::telemetry::filter(&config.log)?;
    // Built on a store of their own in a folder that is dropped: the modules judge their tables themselves.
    let scratch = std::env::temp_dir().join(format!("wharfinger-check-{}", storage::TraceId::new()));
    let judged = judge(config, &scratch).await;
    let _ = std::fs::remove_dir_all(&scratch);
    judged?;
    let place = config.file.as_ref().map(|file| file.display().to_string());
    if json {
        let listen = |listen: &Listen| json!({ "name": listen.name, "protocol": listen.protocol, "bind": listen.bind });
        let listen: Vec<Value> = config.listen.iter().map(listen).collect();
        let value = json!({ "file": place, "hostname": config.hostname, "data": config.data, "listen": listen });
        return Ok(format!("{value}\n"));
    }
    let place = place.unwrap_or_else(|| "no file".to_owned());
    let mut text = format!("configuration: {place}\nhostname: {}\ndata: {}\n", config.hostname, config.data.display());
    for listen in &config.listen {
        let addresses: Vec<String> = listen.bind.iter().map(ToString::to_string).collect();
        text.push_str(&format!("listen {}: {} on {}\n", listen.name, listen.protocol, addresses.join(", ")));
    }
    text.push_str("the configuration is good\n");
    Ok(text)
}

async fn judge(config: &Config, scratch: &Path) -> Result<(), String> {
    let mut trial = config.clone();
    trial.data = scratch.to_owned();
    Store::probe(&options(config)?).await.map_err(|error| said(&error))?;
    let store = Store::open(Options::embedded(trial.data.clone())).await.map_err(|error| said(&error))?;
    let authority = serve::authority(&store, &trial)?;
    Tls::new(&trial)?;
    serve::build(&trial, &authority).map(drop)
}

async fn status(context: &Context<'_>) -> Result<String, String> {
    let status = context.store.status().await.map_err(|error| said(&error))?;
    let running =
        context.running.map(|(time, connections)| json!({ "seconds": time.as_secs(), "connections": connections }));
    let value = json!({ "version": env!("CARGO_PKG_VERSION"), "running": running, "store": status });
    Ok(context.show(&value, || {
        let daemon = match context.running {
            Some((time, connections)) => format!("running for {} s, {connections} connections", time.as_secs()),
            None => "not running".to_owned(),
        };
        format!(
            "daemon    {daemon}\naccounts  {}\nfiles     {}\nmessages  {} ({} to be indexed)\nblobs     {} ({} bytes)\n\
             audit     {} records\n",
            status.accounts,
            status.files,
            status.messages,
            status.unindexed,
            status.blobs,
            status.bytes,
            status.records
        )
    }))
}
