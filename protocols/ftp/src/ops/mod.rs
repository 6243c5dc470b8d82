//! What the commands do, one file for each family.

pub(crate) mod files;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod route;
pub(crate) mod transfer;

use storage::VPath;

use crate::reply::Reply;
use crate::session::User;

/// The path that a command names, seen from the current folder.
fn path(user: &User, argument: &str) -> Result<VPath, Reply> {
    user.folder.join(argument).map_err(|error| {
        let text = error.to_string();
        Reply::new(if text.contains("control characters") { 501 } else { 553 }, format!("{text}."))
    })
}

/// The same, where a path must be given.
fn named(user: &User, argument: &str) -> Result<VPath, Reply> {
    if argument.is_empty() {
        return Err(Reply::new(501, "A path must follow."));
    }
    path(user, argument)
}
