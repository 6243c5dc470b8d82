//! Style is a test: what a reader relies on everywhere must hold everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first: a crate may import only from layers below its own.
const LAYERS: &[&[&str]] = &[
    &["wharfinger-storage"],
    &["wharfinger-auth"],
    &["wharfinger-core"],
    &["wharfinger-smtp", "wharfinger-imap", "wharfinger-pop3", "wharfinger-ftp", "wharfinger-http"],
    &["wharfinger"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the workspace").to_owned()
}

fn manifests() -> BTreeMap<String, toml::Table> {
    let folders = [
        "storage",
        "auth",
        "protocols/core",
        "protocols/smtp",
        "protocols/imap",
        "protocols/pop3",
        "protocols/ftp",
        "protocols/http",
        "daemon",
    ];
    let read = |folder: &&str| {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect(folder);
        let table: toml::Table = toml::from_str(&text).expect(folder);
        (table["package"]["name"].as_str().expect("a name").to_owned(), table)
    };
    folders.iter().map(read).collect()
}

/// The package behind each key of `[workspace.dependencies]`.
fn packages() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let table: toml::Table = toml::from_str(&text).expect("TOML");
    let dependencies = table["workspace"]["dependencies"].as_table().expect("dependencies");
    let package = |(key, value): (&String, &toml::Value)| {
        let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
        (key.clone(), package.to_owned())
    };
    dependencies.iter().map(package).collect()
}

fn layer(package: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&package))
}

#[test]
fn imports_run_one_way() {
    let packages = packages();
    let manifests = manifests();
    assert_eq!(manifests.len(), LAYERS.iter().map(|layer| layer.len()).sum::<usize>(), "every crate has a layer");
    for (name, manifest) in &manifests {
        let own = layer(name).unwrap_or_else(|| panic!("{name} has no layer"));
        for key in manifest["dependencies"].as_table().expect("dependencies").keys() {
            let package = packages.get(key).unwrap_or(key);
            if let Some(other) = layer(package) {
                assert!(other < own, "{name} must not import {package}: imports run from lower layers to higher ones");
            }
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["storage", "auth", "protocols", "daemon", "tests/src"] {
        sources(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "the sources were found");
    found
}

#[test]
fn every_protocol_has_the_same_rooms() {
    for protocol in ["smtp", "imap", "pop3", "ftp", "http"] {
        let source = root().join("protocols").join(protocol).join("src");
        for room in ["session.rs", "reply.rs", "config.rs", "codec.rs", "ops"] {
            assert!(source.join(room).exists(), "protocols/{protocol} has no {room}");
        }
    }
}

#[test]
fn facts_are_matched_without_a_rest() {
    for protocol in ["smtp", "imap", "pop3", "ftp", "http"] {
        let path = root().join("protocols").join(protocol).join("src/reply.rs");
        let text = fs::read_to_string(&path).expect("reply.rs");
        for fact in [
            "NotFound",
            "Denied",
            "OverQuota",
            "Full",
            "Busy",
            "Exists",
            "Invalid",
            "Changed",
            "Unavailable",
            "Internal",
        ] {
            assert!(text.contains(&format!("Error::{fact}")), "{} does not answer Error::{fact}", path.display());
        }
    }
}

/// Every function of the store that runs a write ends in an audit record, or stands here with its reason.
#[test]
fn every_change_is_audited() {
    const UNAUDITED: &[(&str, &str)] = &[
        ("storage/src/blobs/mod.rs", "sweeping removes what nothing refers to: no data changes"),
        ("storage/src/blobs/sending.rs", "an object that nothing refers to yet is noted, so that it can be removed"),
        ("storage/src/mail/live.rs", "which messages a session was told of is no change of them"),
        (
            "storage/src/mail/undelete.rs",
            "that expunged messages are let go in time was decided with the configuration",
        ),
        ("storage/src/mail/index/build.rs", "the index of words is derived from the contents: no data changes"),
        ("storage/src/lease.rs", "which node does the store's own work"),
        ("storage/src/queue/mod.rs", "who works on what, and what rests; what becomes of it is recorded by `rows`"),
        ("storage/src/remembered.rs", "what is known of other servers, and who came before"),
        ("storage/src/secrets.rs", "a secret of the store is made with the store: no data changes"),
        ("storage/src/store.rs", "old sessions and failures end by themselves"),
        ("storage/src/web.rs", "the log-in that begins a web session is recorded by auth"),
    ];
    let mut writers = 0;
    for path in all_sources() {
        let name = path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a source");
        if name.starts_with("storage/src/db/") {
            continue;
        }
        let excused = UNAUDITED.iter().any(|(file, _)| *file == name);
        let functions = ["\n    pub async fn ", "\n    pub(super) async fn ", "\n    async fn "];
        for function in functions.iter().flat_map(|begin| text.split(begin).skip(1)) {
            let body = function.split("\n    }\n").next().unwrap_or_default();
            if body.contains(".write(move |tx|") || body.contains(".write_grouped(move |tx|") {
                writers += 1;
                // `deliver` is a function of its own, and `Home::change` takes one; what it takes is looked at too.
                let audited = ["tx.change(", "tx.record(", "self.change", "deliver(tx,", "work(tx)"]
                    .iter()
                    .any(|end| body.contains(end));
                assert!(
                    audited || excused,
                    "{name} changes data without an audit record:\n{}",
                    body.lines().next().unwrap_or("")
                );
            }
        }
        assert!(name.contains("tests/") || !text.contains("rusqlite::Connection"), "{name} goes around the writer");
    }
    assert!(writers >= 5, "the writers were found: {writers}");
}

#[test]
fn lines_are_short_and_comments_name_no_stranger() {
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("a source");
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            assert!(line.chars().count() <= 120, "{place} is longer than 120 characters");
            assert!(!line.ends_with(' '), "{place} ends with a space");
        }
    }
}

/// Long files and functions are a reason to look again, not an error: they are reported.
#[test]
fn lengths_are_reported() {
    let mut long = Vec::new();
    for path in all_sources() {
        let text = fs::read_to_string(&path).expect("a source");
        let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        if lines > 400 {
            long.push(format!("{} has {lines} lines", path.strip_prefix(root()).expect("inside").display()));
        }
        let mut begun: Option<(usize, &str)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if line.split_whitespace().any(|word| word == "fn") && line.ends_with('{') && indent <= 4 {
                begun = Some((number, line.trim()));
            } else if line.trim() == "}"
                && indent <= 4
                && let Some((start, name)) = begun.take()
                && number - start > 70
            {
                long.push(format!("{}: {name} has {} lines", path.display(), number - start));
            }
        }
    }
    for line in long {
        eprintln!("worth a look: {line}");
    }
}
