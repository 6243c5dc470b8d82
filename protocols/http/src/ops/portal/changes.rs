//! Making a folder, renaming, deleting: a form, a change, and back to the folder.

use auth::WebSession;
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use storage::{Remove, TraceId, VPath};

use super::folder::link_to;
use super::forms::Form;
use super::pages::{self, DeletePage, RenamePage};
use super::{login, required, session};
use crate::body::Body;
use crate::ops::home_path;
use crate::ops::upload::insert_trace;
use crate::reply::Refusal;
use crate::session::Link;

/// A form that somebody who is logged in sent, about something in his home.
struct Change {
    form: Form,
    session: WebSession,
    path: VPath,
    trace: TraceId,
}

impl Change {
    async fn read(link: &Link, head: &Parts, body: &mut Incoming, encoded: &str) -> Result<Change, Refusal> {
        let form = Form::read(head, body).await?;
        let session = required(link, head).await?;
        form.check(&session)?;
        Ok(Change { form, session, path: home_path(encoded)?, trace: TraceId::new() })
    }

    fn home(&self) -> storage::Home {
        self.session.session.home.with_trace(self.trace)
    }

    /// Back to the folder that `path` is in.
    fn done(&self, folder: &VPath) -> Response<Body> {
        let mut response = pages::see_other(&link_to("/files", folder, true));
        insert_trace(response.headers_mut(), self.trace);
        response
    }
}

/// `POST /folder/PATH`: a new folder in the folder PATH.
pub(super) async fn make_folder(
    link: &Link,
    head: &Parts,
    body: &mut Incoming,
    encoded: &str,
) -> Result<Response<Body>, Refusal> {
    let change = Change::read(link, head, body, encoded).await?;
    let target = change.path.child(change.form.field("name").trim())?;
    change.home().mkdir(&target).await?;
    Ok(change.done(&change.path))
}

/// `GET /rename/PATH`: the form.
pub(super) async fn rename_page(link: &Link, head: &Parts, encoded: &str) -> Result<Response<Body>, Refusal> {
    let Some(session) = session(link, head).await? else { return Ok(login::ask(head)) };
    let (path, folder) = inside(encoded)?;
    session.session.home.stat(&path).await?;
    let action = link_to("/rename", &path, false);
    let back = link_to("/files", &folder, true);
    Ok(pages::page(&RenamePage { session: &session, name: path.name(), action, back }))
}

/// `POST /rename/PATH`.
pub(super) async fn rename(
    link: &Link,
    head: &Parts,
    body: &mut Incoming,
    encoded: &str,
) -> Result<Response<Body>, Refusal> {
    let change = Change::read(link, head, body, encoded).await?;
    let (path, folder) = inside(encoded)?;
    let target = folder.child(change.form.field("name").trim())?;
    if target != path {
        change.home().rename(&path, &target, false).await?;
    }
    Ok(change.done(&folder))
}

/// `GET /delete/PATH`: asks once more.
pub(super) async fn delete_page(link: &Link, head: &Parts, encoded: &str) -> Result<Response<Body>, Refusal> {
    let Some(session) = session(link, head).await? else { return Ok(login::ask(head)) };
    let (path, folder) = inside(encoded)?;
    let node = session.session.home.stat(&path).await?;
    let action = link_to("/delete", &path, false);
    let back = link_to("/files", &folder, true);
    let page = DeletePage { session: &session, name: path.name(), folder: node.is_folder(), action, back };
    Ok(pages::page(&page))
}

/// `POST /delete/PATH`.
pub(super) async fn delete(
    link: &Link,
    head: &Parts,
    body: &mut Incoming,
    encoded: &str,
) -> Result<Response<Body>, Refusal> {
    let change = Change::read(link, head, body, encoded).await?;
    let (path, folder) = inside(encoded)?;
    change.home().remove(&path, Remove::Tree, None).await?;
    Ok(change.done(&folder))
}

/// A path below the home, and the folder it is in.
fn inside(encoded: &str) -> Result<(VPath, VPath), Refusal> {
    let path = home_path(encoded)?;
    let whole = || Refusal::new(StatusCode::FORBIDDEN, "the home itself stays as it is");
    let folder = path.parent().ok_or_else(whole)?;
    Ok((path, folder))
}
