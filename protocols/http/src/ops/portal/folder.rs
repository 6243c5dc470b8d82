//! Folders as pages, and the files in them.

use http::request::Parts;
use http::{Method, Response};
use storage::{Error, Home, Node, Timestamp, VPath};
use time::OffsetDateTime;
use time::macros::format_description;

use super::pages::{self, FolderPage};
use crate::body::Body;
use crate::codec::encode_path;
use crate::ops::content::{self, Audience, File};
use crate::ops::home_path;
use crate::ops::setup::{self, Offers};
use crate::reply::Refusal;
use crate::session::Link;
use auth::WebSession;

/// How many entries one page shows.
const PAGE: usize = 500;

/// One row of a folder's page.
pub(crate) struct Entry {
    pub(crate) name: String,
    /// The name as the end of a link; a folder's has its slash.
    pub(crate) link: String,
    pub(crate) folder: bool,
    pub(crate) size: String,
    /// As people read it, and as programs do.
    pub(crate) changed: String,
    pub(crate) instant: String,
}

/// One page of a folder.
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// The query of the page after it.
    pub(crate) next: Option<String>,
}

/// One step of the way from the home to a folder.
pub(crate) struct Step<'a> {
    pub(crate) name: &'a str,
    pub(crate) link: String,
}

/// What a mail client has to be told.
pub(crate) struct Mail<'a> {
    pub(crate) offers: &'a Offers,
    pub(crate) address: String,
    /// Where Apple's profile for the address is.
    pub(crate) profile: Option<String>,
}

/// `GET /files/PATH`.
pub(super) async fn answer(
    link: &Link,
    head: &Parts,
    session: &WebSession,
    encoded: &str,
) -> Result<Response<Body>, Refusal> {
    let path = home_path(encoded)?;
    let home = &session.session.home;
    let folder = match home.open(&path).await {
        Ok((node, found)) => {
            let download = head.uri.query() == Some("download");
            let to = if download { Audience::Download } else { Audience::Browser };
            return content::answer(head, File::of(&node, found), to);
        }
        Err(Error::Invalid(_)) => home.stat(&path).await.map_err(|_| Refusal::not_found())?,
        Err(error) => return Err(error.into()),
    };
    if !folder.is_folder() {
        return Err(Refusal::not_found());
    }
    if !encoded.ends_with('/') && head.method == Method::GET {
        return Ok(pages::see_other(&link_to("/files", &path, true)));
    }
    let page = page(home, &path, head.uri.query()).await?;
    let usage = home.usage().await?;
    let used = match usage.quota {
        Some(quota) => format!("{} of {} used", bytes(usage.used), bytes(quota)),
        None => format!("{} used", bytes(usage.used)),
    };
    let (title, steps) = (if path.is_root() { "Files" } else { path.name() }, steps(&path));
    let here = link_to("", &path, true);
    let mail = if path.is_root() { mail(link, head, session).await? } else { None };
    Ok(pages::page(&FolderPage { session, title, steps, here, used, entries: page.entries, next: page.next, mail }))
}

/// How to set up a mail client, where there is mail.
async fn mail<'a>(link: &'a Link, head: &Parts, session: &WebSession) -> Result<Option<Mail<'a>>, Refusal> {
    let offers = &link.server.offers;
    let domain = setup::domain_asked(link, head).await?.filter(|_| !offers.is_empty());
    Ok(domain.map(|domain| {
        let address = format!("{}@{domain}", session.session.principal.name);
        let profile = setup::profile_link(offers, &address);
        Mail { offers, address, profile }
    }))
}

/// The page of a folder that `query` asks for: `after=NAME`, or the first.
pub(crate) async fn page(home: &Home, path: &VPath, query: Option<&str>) -> Result<Page, Error> {
    let after = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).find(|(key, _)| key == "after");
    let nodes = home.list(path, after.as_ref().map(|(_, name)| &**name), PAGE).await?;
    let last = nodes.last().filter(|_| nodes.len() == PAGE).map(|node| node.name.clone());
    let next = last.map(|name| {
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("after", &name).finish();
        format!("?{query}")
    });
    let mut entries: Vec<Entry> = nodes.into_iter().map(entry).collect();
    // A stable sort: by name within each.
    entries.sort_by_key(|entry| !entry.folder);
    Ok(Page { entries, next })
}

fn entry(node: Node) -> Entry {
    let folder = node.is_folder();
    let slash = if folder { "/" } else { "" };
    let link = format!("{}{slash}", encode_path(&node.name));
    let size = if folder { String::new() } else { bytes(node.size) };
    let (changed, instant) = moment(node.modified);
    Entry { name: node.name, link, folder, size, changed, instant }
}

fn steps(path: &VPath) -> Vec<Step<'_>> {
    let mut link = String::from("/files/");
    let step = |name| {
        link.push_str(&encode_path(name));
        link.push('/');
        Step { name, link: link.clone() }
    };
    path.names().map(step).collect()
}

/// The link to a path in one of the portal's rooms.
pub(super) fn link_to(room: &str, path: &VPath, folder: bool) -> String {
    let slash = if folder && !path.is_root() { "/" } else { "" };
    format!("{room}{}{slash}", encode_path(path.as_str()))
}

/// A number of bytes as people read it, in powers of 1024.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A point in time for people and for programs, both in UTC; the page's script shows local time.
fn moment(at: Timestamp) -> (String, String) {
    let time = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let people = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let programs = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    (time.format(people).unwrap_or_default(), time.format(programs).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_for_people() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (50 << 20, "50.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        let (people, programs) = moment(Timestamp::from_seconds(784_111_777));
        assert_eq!((&*people, &*programs), ("1994-11-06 08:49", "1994-11-06T08:49:37Z"));
    }

    #[test]
    fn links_are_encoded() {
        let path = VPath::parse("/a b/ä").unwrap();
        assert_eq!(link_to("/files", &path, true), "/files/a%20b/%C3%A4/");
        assert_eq!(link_to("/files", &VPath::root(), true), "/files/");
        assert_eq!(steps(&path)[1].link, "/files/a%20b/%C3%A4/");
    }
}
