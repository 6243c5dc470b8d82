//! Changes of the tree. Each ends in `Tx::change`, which writes its audit record in the same transaction.

use std::sync::Arc;

use super::tree::{self, NewNode};
use super::{Check, Home, Node, Remove, mail};
use crate::db::{Deed, Tx, params};
use crate::{Error, Timestamp, VPath};

impl Home {
    pub(super) async fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        target: &VPath,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.store.change(self.account, &self.actor, action, target.as_str(), work).await
    }

    pub(super) async fn refused(&self, action: &'static str, target: &VPath, error: &Error) {
        self.store.refused(&self.actor, action, target.as_str(), error).await;
    }

    /// Makes a folder.
    ///
    /// # Errors
    /// [`Error::Denied`] in `Mail`, as for every other change; [`Error::Exists`], or [`Error::NotFound`] when the
    /// folder it would stand in does not exist.
    pub async fn mkdir(&self, path: &VPath) -> Result<Arc<Node>, Error> {
        let (account, actor, target) = (self.account, self.actor.clone(), path.clone());
        let make = move |tx: &mut Tx<'_>| {
            mail::refuse(&target)?;
            let Some(_) = target.parent() else { return Err(Error::Exists) };
            let parent = tree::parent(tx, account, &target)?;
            if tree::child(tx, parent.id, target.name())?.is_some() {
                return Err(Error::Exists);
            }
            let id = tree::insert(tx, account, Some(parent.id), target.name(), &NewNode::folder())?;
            tree::touch(tx, parent.id)?;
            tx.change(
                &actor,
                account,
                0,
                &Deed { action: "file.mkdir", object: id, target: target.as_str(), detail: "" },
            )?;
            tree::find(tx, account, &target)?.ok_or(Error::NotFound)
        };
        self.change("file.mkdir", path, make).await.map(Arc::new)
    }

    /// Removes what stands at `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] when it is not what `what` says, or a folder that is not empty.
    pub async fn remove(&self, path: &VPath, what: Remove, check: Option<Check>) -> Result<(), Error> {
        let (account, actor, target) = (self.account, self.actor.clone(), path.clone());
        let remove = move |tx: &mut Tx<'_>| {
            mail::refuse(&target)?;
            let node = tree::find(tx, account, &target)?;
            if let Some(check) = &check {
                check(node.as_ref())?;
            }
            let node = node.ok_or(Error::NotFound)?;
            let parent = node.parent.ok_or_else(|| Error::invalid("the home itself cannot be removed"))?;
            match what {
                Remove::File if node.is_folder() => return Err(Error::invalid("it is a folder, not a file")),
                Remove::EmptyFolder if !node.is_folder() => return Err(Error::invalid("it is a file, not a folder")),
                Remove::EmptyFolder => {
                    let any = tx.row("SELECT 1 FROM nodes WHERE parent = $1 LIMIT 1", params![node.id], |_| Ok(()))?;
                    if any.is_some() {
                        return Err(Error::invalid("the folder is not empty"));
                    }
                }
                Remove::File | Remove::Tree => {}
            }
            let freed = tree::remove(tx, &node)?;
            tree::touch(tx, parent)?;
            let detail = format!("size={freed}");
            tx.change(
                &actor,
                account,
                -(freed as i64),
                &Deed { action: "file.remove", object: node.id, target: target.as_str(), detail: &detail },
            )
        };
        self.change("file.remove", path, remove).await
    }

    /// Gives a file or folder another name or another place; whether something was replaced there.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Exists`] when something stands at `to` and `overwrite` is false, or when a folder
    /// would be replaced by a file or the other way; [`Error::Invalid`] for a folder moved into itself.
    pub async fn rename(&self, from: &VPath, to: &VPath, overwrite: bool) -> Result<bool, Error> {
        let (account, actor, source, target) = (self.account, self.actor.clone(), from.clone(), to.clone());
        let rename = move |tx: &mut Tx<'_>| {
            mail::refuse(&source)?;
            let place = Destination::check(tx, account, &source, &target, overwrite)?;
            let old_parent = place.node.parent.ok_or_else(|| Error::invalid("the home itself cannot be moved"))?;
            if place.same {
                return Ok(false);
            }
            let freed = place.clear(tx)?;
            tx.execute(
                "UPDATE nodes SET parent = $2, name = $3 WHERE id = $1",
                params![place.node.id, place.parent, target.name()],
            )?;
            tree::touch(tx, old_parent)?;
            tree::touch(tx, place.parent)?;
            let detail = format!("to={target}");
            tx.change(
                &actor,
                account,
                -(freed as i64),
                &Deed { action: "file.rename", object: place.node.id, target: source.as_str(), detail: &detail },
            )?;
            Ok(place.replaced.is_some())
        };
        self.change("file.rename", from, rename).await
    }

    /// Copies a file, or a folder with all it holds, without copying content; whether something was replaced.
    ///
    /// # Errors
    /// As [`Home::rename`], and [`Error::OverQuota`].
    pub async fn copy(&self, from: &VPath, to: &VPath, overwrite: bool) -> Result<bool, Error> {
        self.sees(from)?;
        let (account, actor, source, target) = (self.account, self.actor.clone(), from.clone(), to.clone());
        let copy = move |tx: &mut Tx<'_>| {
            let place = Destination::check(tx, account, &source, &target, overwrite)?;
            if place.same {
                return Err(Error::invalid("a file cannot be copied onto itself"));
            }
            let freed = place.clear(tx)?;
            let (id, used) = match mail::below(&source) {
                Some(folder) if place.node.is_folder() => mail::copy(tx, account, folder, place.parent, target.name())?,
                _ => tree::copy(tx, account, &place.node, place.parent, target.name())?,
            };
            tree::touch(tx, place.parent)?;
            let detail = format!("to={target} size={used}");
            tx.change(
                &actor,
                account,
                used as i64 - freed as i64,
                &Deed { action: "file.copy", object: id, target: source.as_str(), detail: &detail },
            )?;
            Ok(place.replaced.is_some())
        };
        self.change("file.copy", from, copy).await
    }

    /// Sets the time a file or folder was modified.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn set_modified(&self, path: &VPath, at: Timestamp) -> Result<Arc<Node>, Error> {
        let (account, actor, target) = (self.account, self.actor.clone(), path.clone());
        let set = move |tx: &mut Tx<'_>| {
            mail::refuse(&target)?;
            let mut node = tree::find(tx, account, &target)?.ok_or(Error::NotFound)?;
            tx.execute("UPDATE nodes SET modified = $2 WHERE id = $1", params![node.id, at])?;
            let detail = format!("modified={}", at.seconds());
            tx.change(
                &actor,
                account,
                0,
                &Deed { action: "file.touch", object: node.id, target: target.as_str(), detail: &detail },
            )?;
            node.modified = at;
            Ok(node)
        };
        self.change("file.touch", path, set).await.map(Arc::new)
    }
}

/// Where a move or copy goes, checked.
struct Destination {
    node: Node,
    parent: i64,
    replaced: Option<Node>,
    same: bool,
}

impl Destination {
    fn check(tx: &mut Tx<'_>, account: i64, from: &VPath, to: &VPath, overwrite: bool) -> Result<Self, Error> {
        mail::refuse(to)?;
        let node = tree::find(tx, account, from)?.ok_or(Error::NotFound)?;
        let parent = tree::parent(tx, account, to)?;
        let replaced = tree::child(tx, parent.id, to.name())?;
        let same = replaced.as_ref().is_some_and(|old| old.id == node.id);
        if node.is_folder() && from.contains(to) && !same {
            return Err(Error::invalid("a folder cannot be put into itself"));
        }
        if let Some(old) = &replaced
            && !same
        {
            if old.is_folder() && to.contains(from) {
                return Err(Error::invalid("a folder cannot be replaced by something inside it"));
            }
            if !overwrite || old.is_folder() != node.is_folder() && !old.is_folder() {
                return Err(Error::Exists);
            }
        }
        Ok(Destination { node, parent: parent.id, replaced, same })
    }

    /// Removes what is to be replaced; the bytes that were freed.
    fn clear(&self, tx: &mut Tx<'_>) -> Result<u64, Error> {
        self.replaced.as_ref().map_or(Ok(0), |old| tree::remove(tx, old))
    }
}
