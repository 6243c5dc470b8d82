//! The control socket: a command given beside a running daemon runs inside it, where the store is open, and by the same
//! code that runs it when the daemon does not.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use auth::Authority;
use clap::Parser;
use serde::{Deserialize, Serialize};
use storage::Store;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cli::Cli;
use crate::config::Config;
use crate::listen::Places;
use crate::{commands, transfer};

/// The longest request, in bytes.
const REQUEST: u64 = 1 << 20;
/// The socket's name in the data folder.
const NAME: &str = "control.sock";

/// What a command may use.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) authority: Arc<Authority>,
    /// The one that holds now.
    pub(crate) config: Arc<RwLock<Arc<Config>>>,
    pub(crate) places: Arc<Places>,
    pub(crate) since: Instant,
}

/// A command as it was typed.
#[derive(Serialize, Deserialize)]
struct Request {
    arguments: Vec<String>,
    /// The password, where one was read from standard input.
    input: Option<String>,
    /// Whose mail is transferred, instead of a command.
    transfer: Option<String>,
}

/// What it prints, line by line; the last one tells how it ended.
#[derive(Serialize, Deserialize)]
enum Answer {
    Piece(String),
    End(Result<String, String>),
}

/// The socket's path through a descriptor of its folder: a path of any depth fits the 108 bytes of its address.
fn short_path(data: &Path) -> io::Result<(std::fs::File, PathBuf)> {
    let folder = std::fs::File::open(data)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
    Ok((folder, path))
}

/// Answers commands.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn serve(data: &Path, state: State) -> Result<JoinHandle<()>, String> {
    let open = || {
        // The store's lock says that no other daemon has this folder: what stands there is left from a crash.
        match std::fs::remove_file(data.join(NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (_folder, path) = short_path(data)?;
        let socket = UnixListener::bind(path)?;
        std::fs::set_permissions(data.join(NAME), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(socket)
    };
    let socket = open().map_err(|error| format!("the control socket in {} cannot be made: {error}", data.display()))?;
    Ok(tokio::spawn(async move {
        loop {
            match socket.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(answer(stream, state.clone()))),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }))
}

async fn answer(stream: UnixStream, state: State) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST));
    let limited = tokio::time::timeout(Duration::from_secs(10), read.read_line(&mut line));
    let Ok(Ok(_)) = limited.await else { return };
    let request = match serde_json::from_str::<Request>(&line) {
        Ok(request) => request,
        Err(error) => return send(&mut write, &Answer::End(Err(format!("not a request: {error}")))).await,
    };
    if let Some(name) = &request.transfer {
        return transfer::serve_socket(&state.store, name, read, write).await;
    }
    let (pieces, mut printed) = mpsc::channel(16);
    let mut work = std::pin::pin!(run(request, &state, pieces));
    loop {
        tokio::select! {
            biased;
            Some(piece) = printed.recv() => send(&mut write, &Answer::Piece(piece)).await,
            result = &mut work => {
                while let Ok(piece) = printed.try_recv() {
                    send(&mut write, &Answer::Piece(piece)).await;
                }
                return send(&mut write, &Answer::End(result)).await;
            }
            // Whoever asked has gone: a command that follows something would go on for ever.
            _ = read.read_u8() => return,
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, answer: &Answer) {
    if let Ok(mut text) = serde_json::to_vec(answer) {
        text.push(b'\n');
        let _ = write.write_all(&text).await;
    }
}

async fn run(request: Request, state: &State, pieces: mpsc::Sender<String>) -> Result<String, String> {
    let words = std::iter::once("wharfinger".to_owned()).chain(request.arguments);
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    let command = cli.command.ok_or("no command")?;
    let context = commands::Context {
        store: &state.store,
        authority: &state.authority,
        config: state.config.read().unwrap_or_else(PoisonError::into_inner).clone(),
        json: cli.global.json,
        input: request.input,
        running: Some((state.since.elapsed(), state.places.taken())),
        pieces,
    };
    commands::run(&context, command).await
}

/// Has the daemon run a command; `None` when no daemon answers there.
pub(crate) async fn ask(data: &Path, arguments: Vec<String>, input: Option<String>) -> Option<Result<String, String>> {
    let (_folder, path) = short_path(data).ok()?;
    let mut stream = UnixStream::connect(path).await.ok()?;
    let exchange = async {
        let mut request = serde_json::to_vec(&Request { arguments, input, transfer: None })?;
        request.push(b'\n');
        stream.write_all(&request).await?;
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await? {
            match serde_json::from_str(&line)? {
                Answer::Piece(text) => commands::print(&text),
                Answer::End(result) => return Ok(result),
            }
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    Some(match exchange.await {
        Ok(result) => result,
        Err(error) => Err(format!("the daemon ended the conversation: {error}")),
    })
}

/// Asks the daemon to be the storing side of a transfer; `None` when no daemon answers there.
pub(crate) async fn transfer(data: &Path, name: &str) -> Option<UnixStream> {
    let (_folder, path) = short_path(data).ok()?;
    let mut stream = UnixStream::connect(path).await.ok()?;
    let request = Request { arguments: Vec::new(), input: None, transfer: Some(name.to_owned()) };
    let mut line = serde_json::to_vec(&request).ok()?;
    line.push(b'\n');
    stream.write_all(&line).await.ok()?;
    Some(stream)
}
