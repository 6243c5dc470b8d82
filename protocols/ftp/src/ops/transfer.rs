//! Data connections at work: RETR, STOR, STOU, APPE, and the control connection listened to meanwhile.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::{Closed, DataConn, DataError, ReadError};
use storage::{Check, Error, PutOptions, TraceId, VPath};

use crate::codec::{Command, Malformed};
use crate::reply::Reply;
use crate::session::{LINE, Next, Route, Session};

/// While data flows the control connection may be silent for as long as it takes.
const SILENCE: Duration = Duration::from_secs(24 * 3600);
/// How many commands may wait for the end of a transfer.
const WAITING: usize = 16;
/// How many names STOU tries.
const UNIQUE: usize = 10;

/// Which way data goes.
pub(crate) enum Flow {
    /// To the client.
    Out,
    /// From the client. The flag is set when the transfer cannot be undone any more: it is being made durable.
    In(Arc<AtomicBool>),
}

impl Flow {
    fn is_sealed(&self) -> bool {
        matches!(self, Flow::In(sealed) if sealed.load(Ordering::Relaxed))
    }
}

pub(crate) async fn run(session: &mut Session, verb: &str, argument: &str) -> Next {
    let result = match verb {
        "RETR" => retrieve(session, argument).await,
        "STOU" => store_unique(session, argument).await,
        "APPE" => append(session, argument).await,
        _ => store(session, argument).await,
    };
    result.unwrap_or_else(Next::Say)
}

async fn retrieve(session: &mut Session, argument: &str) -> Result<Next, Reply> {
    let user = session.user()?;
    let (path, offset) = (super::named(user, argument)?, user.offset);
    let (node, content) = user.login.home.open(&path).await?;
    if offset > node.size {
        return Err(Reply::new(554, "The restart offset lies beyond the end of the file."));
    }
    let opening = Reply::new(150, format!("{} bytes follow.", node.size - offset));
    let work = move |mut data: DataConn| async move {
        let mut reader = content.reader(offset..content.len());
        while let Some(piece) = reader.next().await? {
            data.write(&piece).await.map_err(broken)?;
        }
        data.finish().await.map_err(broken)?;
        metrics::counter!("wharfinger_ftp_files", "direction" => "out").increment(1);
        Ok(Reply::new(226, "All of it was sent."))
    };
    Ok(with_data(session, opening, Flow::Out, work).await)
}

async fn store(session: &mut Session, argument: &str) -> Result<Next, Reply> {
    let user = session.user()?;
    let path = super::named(user, argument)?;
    let options = match user.offset {
        0 => PutOptions::default(),
        offset => keeping(offset, Some(user.login.home.stat(&path).await?.etag.clone())),
    };
    receive(session, path, options, Reply::new(150, "Send it.")).await
}

async fn append(session: &mut Session, argument: &str) -> Result<Next, Reply> {
    let user = session.user()?;
    let path = super::named(user, argument)?;
    let options = match user.login.home.stat(&path).await {
        Ok(node) => keeping(node.size, Some(node.etag.clone())),
        Err(Error::NotFound) => keeping(0, None),
        Err(error) => return Err(error.into()),
    };
    receive(session, path, options, Reply::new(150, "Send what shall be appended.")).await
}

/// Keeps `offset` bytes of what stands there with this etag. Two who append at once must not undo each other: the
/// second finds the file changed.
fn keeping(offset: u64, etag: Option<String>) -> PutOptions {
    let check: Check = Arc::new(move |now| match now.map(|node| &node.etag) == etag.as_ref() {
        true => Ok(()),
        false => Err(Error::Changed),
    });
    PutOptions { offset: Some(offset), check: Some(check), ..PutOptions::default() }
}

async fn store_unique(session: &mut Session, argument: &str) -> Result<Next, Reply> {
    let user = session.user()?;
    let base = if argument.is_empty() { "upload" } else { argument };
    for _ in 0..UNIQUE {
        let path = super::path(user, &format!("{base}.{}", TraceId::new()))?;
        if user.login.home.stat(&path).await.is_err() {
            let check: Check = Arc::new(|now| if now.is_none() { Ok(()) } else { Err(Error::Changed) });
            let options = PutOptions { check: Some(check), ..PutOptions::default() };
            // RFC 1123 §4.1.2.9: the name stands in the 150 reply, in this form.
            let opening = Reply::new(150, format!("FILE: {}", path.name()));
            return receive(session, path, options, opening).await;
        }
    }
    Err(Reply::new(450, "No free name was found; try again."))
}

async fn receive(session: &mut Session, path: VPath, options: PutOptions, opening: Reply) -> Result<Next, Reply> {
    // An id of its own, so that `wharfinger trace` finds this file, and not all that the connection did.
    let trace = TraceId::new();
    let mut upload = session.user()?.login.home.with_trace(trace).put(&path, options).await?;
    let sealed = Arc::new(AtomicBool::new(false));
    let seal = sealed.clone();
    let work = move |mut data: DataConn| async move {
        loop {
            match data.read().await {
                Ok(Some(piece)) => upload.write(piece).await?,
                Ok(None) => break,
                Err(ReadError::Idle) => return Err(Reply::new(426, "Too slow; nothing was stored.")),
                Err(_) => return Err(Reply::new(426, "The data connection broke; nothing was stored.")),
            }
        }
        seal.store(true, Ordering::Relaxed);
        // Durable first, acknowledged then.
        let stored = upload.commit().await;
        // In order even when nothing was stored: a client that waits for our close_notify would otherwise see a broken
        // connection, and not the reply that says why. What it thinks of it does not matter any more.
        let _ = data.finish().await;
        let stored = stored?;
        metrics::counter!("wharfinger_ftp_files", "direction" => "in").increment(1);
        Ok(Reply::new(226, format!("{} bytes are stored; trace id {trace}.", stored.node.size)))
    };
    Ok(with_data(session, opening, Flow::In(sealed), work).await)
}

fn broken(_: std::io::Error) -> Reply {
    Reply::new(426, "The data connection broke.")
}

/// Opens the data connection, lets `work` use it, and listens to the control connection meanwhile.
pub(crate) async fn with_data<W, F>(session: &mut Session, opening: Reply, flow: Flow, work: W) -> Next
where
    W: FnOnce(DataConn) -> F,
    F: Future<Output = Result<Reply, Reply>>,
{
    let protection = match session.protection() {
        Ok(protection) => protection,
        Err(reply) => return Next::Say(reply),
    };
    let Some(route) = session.route.take() else {
        return Next::Say(Reply::new(425, "Send PASV, EPSV, PORT or EPRT first."));
    };
    if session.say(&opening).await.is_err() {
        return Next::Gone(Closed::Lost);
    }
    let side = match flow {
        Flow::Out => session.conn.data_side(),
        Flow::In(_) => session.conn.data_side().receiving(),
    };
    let (auth, peer) = (session.ftp.services.auth.clone(), session.conn.peer().clone());
    let who = session.user().ok().map(|user| user.login.principal.clone());
    let transfer = async move {
        let opened = match route {
            Route::Passive(passive) => side.accept(passive, protection).await,
            Route::Active(target) => side.connect(target, protection).await,
        };
        match opened {
            Ok(data) => work(data).await.unwrap_or_else(|reply| reply),
            Err(error) => {
                tracing::debug!(%error, "no data connection");
                if matches!(error, DataError::Foreign | DataError::Unbound) {
                    auth.refusal(&peer, who.as_ref(), "ftp.data", "", &error.to_string()).await;
                }
                Reply::from(&error)
            }
        }
    };
    listen_during(session, transfer, &flow).await
}

/// Answers ABOR and STAT during a transfer (RFC 959 §4.1.3). The rest waits for its end, NOOP too: who pipelines would
/// take its 200 for the transfer's.
async fn listen_during(session: &mut Session, transfer: impl Future<Output = Reply>, flow: &Flow) -> Next {
    let mut transfer = pin!(transfer);
    let mut draining = false;
    loop {
        let read = tokio::select! {
            biased;
            reply = &mut transfer => return Next::Say(reply),
            read = session.conn.line(LINE, SILENCE), if session.waiting.len() < WAITING && !draining => read,
        };
        let command = match read {
            Ok(line) => Command::parse(&line.bytes),
            // The daemon drains, and what is under way may end.
            Err(ReadError::Shutdown) => {
                draining = true;
                continue;
            }
            Err(ReadError::TooLong(_)) => Err(Malformed::Text),
            // The transfer ends here, as by ABOR.
            Err(error @ ReadError::Withdrawn) => return session.unread(&error),
            Err(_) => return Next::Gone(Closed::Lost),
        };
        let reply = match command {
            Ok(command) if command.verb == "ABOR" && flow.is_sealed() => {
                let reply = transfer.await;
                if session.say(&reply).await.is_err() {
                    return Next::Gone(Closed::Lost);
                }
                return Next::Say(Reply::new(226, "The transfer had ended already."));
            }
            Ok(command) if command.verb == "ABOR" => {
                // The transfer ends here: dropping it closes the data connection and leaves nothing behind.
                if session.say(&Reply::new(426, "The transfer was aborted.")).await.is_err() {
                    return Next::Gone(Closed::Lost);
                }
                return Next::Say(Reply::new(226, "Aborted."));
            }
            Ok(command) if command.verb == "STAT" && command.argument.is_empty() => Reply::new(211, "Data flows."),
            Ok(command) => {
                session.waiting.push_back(command);
                continue;
            }
            Err(Malformed::Verb | Malformed::Text) => Reply::new(500, "That is not a command."),
        };
        if session.say(&reply).await.is_err() {
            return Next::Gone(Closed::Lost);
        }
    }
}
