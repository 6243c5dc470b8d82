//! Folders and names: CWD, CDUP, PWD, MKD, RMD, DELE, RNFR, RNTO, MFMT.

use storage::{Error, Remove, Timestamp, VPath};

use crate::codec;
use crate::reply::Reply;
use crate::session::{Session, User};

pub(crate) async fn run(session: &mut Session, verb: &str, argument: &str) -> Reply {
    let user = match session.user() {
        Ok(user) => user,
        Err(reply) => return reply,
    };
    let result = match verb {
        "CWD" if argument.trim_end_matches('/') == ".." => change(user, parent(user)).await,
        "CWD" => change_to(user, argument).await,
        "CDUP" => change(user, parent(user)).await,
        "PWD" => Ok(Reply::new(257, format!("{} is the current folder.", codec::quote(user.folder.as_str())))),
        "MKD" => make(user, argument).await,
        "RMD" => remove(user, argument, Remove::EmptyFolder).await,
        "DELE" => remove(user, argument, Remove::File).await,
        "RNFR" => rename_from(user, argument).await,
        "RNTO" => rename_to(user, argument).await,
        _ => set_time(user, argument).await,
    };
    result.unwrap_or_else(|reply| reply)
}

fn parent(user: &User) -> VPath {
    user.folder.parent().unwrap_or_else(VPath::root)
}

async fn change_to(user: &mut User, argument: &str) -> Result<Reply, Reply> {
    let path = super::named(user, argument)?;
    change(user, path).await
}

async fn change(user: &mut User, path: VPath) -> Result<Reply, Reply> {
    if !user.login.home.stat(&path).await?.is_folder() {
        return Err(Reply::new(550, "That is a file, not a folder."));
    }
    let text = format!("{} is the current folder.", codec::quote(path.as_str()));
    user.folder = path;
    Ok(Reply::new(250, text))
}

async fn make(user: &User, argument: &str) -> Result<Reply, Reply> {
    let path = super::named(user, argument)?;
    user.login.home.mkdir(&path).await?;
    Ok(Reply::new(257, format!("{} was made.", codec::quote(path.as_str()))))
}

async fn remove(user: &User, argument: &str, what: Remove) -> Result<Reply, Reply> {
    let path = super::named(user, argument)?;
    user.login.home.remove(&path, what, None).await?;
    Ok(Reply::new(250, "It is gone."))
}

async fn rename_from(user: &mut User, argument: &str) -> Result<Reply, Reply> {
    let path = super::named(user, argument)?;
    user.login.home.stat(&path).await?;
    user.rename = Some(path);
    Ok(Reply::new(350, "Now RNTO."))
}

async fn rename_to(user: &mut User, argument: &str) -> Result<Reply, Reply> {
    let Some(from) = user.rename.take() else {
        return Err(Reply::new(503, "Send RNFR first."));
    };
    let to = super::named(user, argument)?;
    // A file takes the place of a file; a folder, with all it may hold, gives way to nothing.
    let replaces = match user.login.home.stat(&to).await {
        Ok(node) if node.is_folder() => return Err(Error::Exists.into()),
        Ok(_) => true,
        Err(Error::NotFound) => false,
        Err(error) => return Err(error.into()),
    };
    user.login.home.rename(&from, &to, replaces).await?;
    Ok(Reply::new(250, "It has its new name."))
}

/// `MFMT YYYYMMDDHHMMSS path` (draft-somers-ftp-mfxx §3).
async fn set_time(user: &User, argument: &str) -> Result<Reply, Reply> {
    let parsed = argument.split_once(' ').and_then(|(time, path)| Some((codec::parse_time(time)?, path)));
    let (seconds, path) = parsed.ok_or_else(|| Reply::new(501, "MFMT YYYYMMDDHHMMSS path is the form."))?;
    let path = super::named(user, path)?;
    user.login.home.set_modified(&path, Timestamp::from_seconds(seconds)).await?;
    Ok(Reply::new(213, format!("Modify={}; {path}", codec::render_time(seconds))))
}
