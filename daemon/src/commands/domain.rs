//! Domains: what DNS is to say of them, what it says, and the keys that their mail is signed with.

use std::time::Duration;

use serde_json::json;
use smtp::dns::{Dns, Nothing};
use storage::{Actor, DkimKey, DkimState, NewDkimKey, Store, Timestamp};

use super::{Context, said};
use crate::cli::Domain;
use crate::published::{self, Record};

/// How long the record of a key stays that is not used any more: as long as what it signed may be on its way.
const RETIRED: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) async fn domain(context: &Context<'_>, domain: Domain) -> Result<String, String> {
    let (store, actor) = (context.store, context.actor());
    match domain {
        Domain::Add { name } => {
            store.add_domain(&actor, &name, new_keys().await?).await.map_err(|error| match error {
                storage::Error::Exists => format!("{name} is a domain of this server already"),
                other => said(&other),
            })?;
            Ok(context.done(&format!(
                "mail for {name} is taken from now on; `wharfinger domain dns {name}` prints the records to publish"
            )))
        }
        Domain::List => {
            let domains = store.domains().await.map_err(|error| said(&error))?;
            Ok(context.show(&json!(domains), || domains.iter().map(|name| format!("{name}\n")).collect()))
        }
        Domain::Remove { name } => {
            store.remove_domain(&actor, &name).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("mail for {name} is refused from now on")))
        }
        Domain::Dns { name } => {
            published::publishable(&context.config)?;
            let records = records(context, &name).await?;
            Ok(context.show(&json!({ "domain": name, "records": records }), || zone(&records)))
        }
        Domain::Check { name } => check(context, &name).await,
        Domain::Rotate { name, now } => rotate(context, &name, now).await,
    }
}

/// Keys that mail of a domain is signed with: one that everybody can check, and one of the newer kind.
async fn new_keys() -> Result<Vec<NewDkimKey>, String> {
    tokio::task::spawn_blocking(smtp::trust::key::pair).await.map_err(|error| error.to_string())?
}

/// The records of a domain of this server.
async fn records(context: &Context<'_>, name: &str) -> Result<Vec<Record>, String> {
    let store = context.store;
    let name = storage::ascii_domain(name);
    if !store.domains().await.map_err(|error| said(&error))?.contains(&name) {
        return Err(format!("{name} is not a domain of this server; `wharfinger domain add {name}` makes it one"));
    }
    let keys = keys(store, &context.actor(), &name, Timestamp::now()).await?;
    published::records(&context.config, &name, &keys)
}

/// The keys of a domain whose records are to be in DNS: without those whose time is over. A domain of the first start
/// has none yet, and gets them.
async fn keys(store: &Store, actor: &Actor, name: &str, now: Timestamp) -> Result<Vec<DkimKey>, String> {
    let before = Timestamp(now.0.saturating_sub(RETIRED.as_millis() as i64));
    store.forget_dkim_keys(actor, name, before).await.map_err(|error| said(&error))?;
    if store.dkim_keys(name).await.map_err(|error| said(&error))?.is_empty() {
        store.add_dkim_keys(actor, name, new_keys().await?).await.map_err(|error| said(&error))?;
    }
    store.dkim_keys(name).await.map_err(|error| said(&error))
}

/// Records as a zone file has them.
fn zone(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        text.push_str(&format!("; {}\n{}\n", record.purpose, record.line()));
    }
    text
}

/// What DNS says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// The same.
    Same,
    /// Something else in its place.
    Other(String),
    /// Nothing.
    Missing,
    /// Nobody can tell now.
    Unknown(String),
}

async fn check(context: &Context<'_>, name: &str) -> Result<String, String> {
    published::publishable(&context.config)?;
    let mut records = records(context, name).await?;
    // Without it none of the others leads here.
    records.insert(0, Record::address(&context.config.hostname));
    let dns = Dns::new(&published::smtp_config(&context.config)?.dns)?;
    let (mut text, mut rows, mut wrong) = (String::new(), Vec::new(), 0);
    let mut asked = Vec::new();
    for record in records.clone() {
        let (dns, host) = (dns.clone(), context.config.hostname.clone());
        asked.push(tokio::spawn(async move { found(&dns, &record, &host).await }));
    }
    for (record, found) in records.iter().zip(asked) {
        let found = found.await.map_err(|error| error.to_string())?;
        let (word, more) = match &found {
            Found::Same => ("ok", String::new()),
            Found::Other(value) => ("other", format!("; found: {value}")),
            Found::Missing => ("missing", String::new()),
            Found::Unknown(why) => ("unknown", format!("; {why}")),
        };
        wrong += usize::from(record.needed && found != Found::Same);
        text.push_str(&format!("{word:8} {}{more}\n", record.line()));
        rows.push(json!({ "record": record, "found": word, "detail": more.trim_start_matches("; ") }));
    }
    let shown = context.show(&json!({ "domain": name, "wrong": wrong, "records": rows }), || text);
    if wrong == 0 {
        return Ok(shown);
    }
    // What was found is printed all the same.
    let _ = context.pieces.send(shown).await;
    Err(format!(
        "{wrong} needed records are not in DNS; `wharfinger domain dns {name}` prints all but the address of {}",
        context.config.hostname
    ))
}

/// What DNS says in place of a record.
async fn found(dns: &Dns, record: &Record, host: &str) -> Found {
    if record.kind == published::ADDRESS {
        return match dns.addresses(&record.name).await {
            Ok(_) => Found::Same,
            Err(Nothing::Data | Nothing::Name) => Found::Missing,
            Err(Nothing::Unknown(why)) => Found::Unknown(why),
        };
    }
    let values = match dns.values(&record.name, record.kind).await {
        Ok(values) => values,
        // An address of the same host does as well as an alias of it.
        Err(Nothing::Data | Nothing::Name) if record.kind == "CNAME" => {
            let (one, other) = tokio::join!(dns.addresses(&record.name), dns.addresses(host));
            return match (one, other) {
                (Ok(one), Ok(other)) if one.iter().any(|address| other.contains(address)) => Found::Same,
                _ => Found::Missing,
            };
        }
        Err(Nothing::Data | Nothing::Name) => return Found::Missing,
        Err(Nothing::Unknown(why)) => return Found::Unknown(why),
    };
    if record.kind == "MX" {
        return if comes_here(&values, host) { Found::Same } else { Found::Other(values.join(", ")) };
    }
    // Several things stand at one name; each of these begins with its own word.
    let kind = record.value.split([';', ' ']).next().unwrap_or_default();
    let of_kind = |value: &&String| record.kind != "TXT" || value.starts_with(kind);
    let others: Vec<String> = values.iter().filter(of_kind).cloned().collect();
    let same = |value: &String| match record.kind {
        // What they ask for is the owner's to decide.
        "TXT" if ["v=DMARC1", "v=TLSRPTv1"].contains(&kind) => value.starts_with(kind),
        // A key in another case is another key.
        "TXT" => *value == record.value,
        _ => value.eq_ignore_ascii_case(&record.value),
    };
    // Of these there may be one alone: with several, nobody heeds any (RFC 7208 §4.5, RFC 7489 §6.6.3).
    if others.len() > 1 && ["v=spf1", "v=DMARC1", "v=STSv1", "v=TLSRPTv1"].contains(&kind) {
        return Found::Other(format!("{} records where one may be: {}", others.len(), others.join(", ")));
    }
    // That nobody else sends is wrong where a smarthost does.
    let alone = others.iter().any(|value| value == published::ALONE);
    if kind == "v=spf1" && !alone && allowed(dns, &record.name, host).await {
        return Found::Same;
    }
    if others.iter().any(same) {
        Found::Same
    } else if others.is_empty() {
        Found::Missing
    } else {
        Found::Other(others.join(", "))
    }
}

/// Whether mail comes to this host before all others: they are tried in the order of their preferences, and those of
/// the same one by chance (RFC 5321 §5.1).
fn comes_here(values: &[String], host: &str) -> bool {
    let ranked = values.iter().filter_map(|value| value.split_once(' '));
    let ranked = ranked.filter_map(|(preference, name)| Some((preference.parse::<u16>().ok()?, name)));
    let (ours, others): (Vec<_>, Vec<_>) = ranked.partition(|(_, name)| name.eq_ignore_ascii_case(host));
    let best = |hosts: &[(u16, &str)]| hosts.iter().map(|(preference, _)| *preference).min();
    match (best(&ours), best(&others)) {
        (Some(ours), Some(others)) => ours < others,
        (ours, _) => ours.is_some(),
    }
}

/// Whether a domain's own SPF record allows this host, whatever else it says.
async fn allowed(dns: &Dns, domain: &str, host: &str) -> bool {
    let addresses = dns.addresses(host).await.unwrap_or_default();
    let mut all = !addresses.is_empty();
    for address in addresses {
        all &= smtp::trust::allows(dns, domain, address).await;
    }
    all
}

/// Makes new keys; or, once DNS shows those that wait, uses them.
async fn rotate(context: &Context<'_>, name: &str, now: bool) -> Result<String, String> {
    let (store, actor) = (context.store, context.actor());
    let all = records(context, name).await?;
    let keys = store.dkim_keys(name).await.map_err(|error| said(&error))?;
    let next: Vec<String> = keys
        .iter()
        .filter(|key| key.state == DkimState::Next)
        .map(|key| format!("{}._domainkey.{}", key.selector, key.domain))
        .collect();
    if next.is_empty() {
        store.add_dkim_keys(&actor, name, new_keys().await?).await.map_err(|error| said(&error))?;
        let records: Vec<Record> = records(context, name).await?.into_iter().filter(|one| !all.contains(one)).collect();
        let hint = format!("; publish these, then say `wharfinger domain rotate {name}` again\n");
        return Ok(context.show(&json!({ "domain": name, "records": records }), || hint + &zone(&records)));
    }
    let dns = Dns::new(&published::smtp_config(&context.config)?.dns)?;
    for record in all.iter().filter(|record| next.contains(&record.name) && !now) {
        if found(&dns, record, &context.config.hostname).await != Found::Same {
            return Err(format!("DNS does not show {} yet; publish it, or say --now", record.name));
        }
    }
    store.use_next_dkim_keys(&actor, name).await.map_err(|error| said(&error))?;
    Ok(context.done(&format!(
        "mail of {name} is signed with the new keys; leave the records of the old ones for two weeks more"
    )))
}

#[cfg(test)]
mod tests {
    use storage::Options;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_retired_key_is_shown_for_two_weeks() {
        let folder = tempfile::tempdir().unwrap();
        let (store, actor) =
            (Store::open(Options::embedded(folder.path().into())).await.unwrap(), Actor::command_line());
        store.add_domain(&actor, "a.example", Vec::new()).await.unwrap();
        let now = Timestamp::now();
        let first = keys(&store, &actor, "a.example", now).await.unwrap();
        assert_eq!(first.len(), 2, "a domain without keys gets them");
        store.add_dkim_keys(&actor, "a.example", new_keys().await.unwrap()).await.unwrap();
        store.use_next_dkim_keys(&actor, "a.example").await.unwrap();
        let days = |days: i64| Timestamp(now.0 + days * 24 * 3600 * 1000);
        assert_eq!(keys(&store, &actor, "a.example", days(13)).await.unwrap().len(), 4);
        let left = keys(&store, &actor, "a.example", days(15)).await.unwrap();
        assert!(left.len() == 2 && left.iter().all(|key| key.state == DkimState::Active));
        assert!(!left.iter().any(|key| first.contains(key)));
    }

    #[test]
    fn mail_comes_to_the_host_that_is_preferred() {
        for (values, here) in [
            (&["10 mx.a.example"][..], true),
            (&["5 MX.A.example", "20 backup.example"], true),
            (&["10 mx.a.example", "5 old.example"], false),
            (&["10 mx.a.example", "10 old.example"], false),
            (&["10 mx.a.example", "9 old.example", "5 mx.a.example"], true),
            (&["10 old.example"], false),
            (&["0 "], false),
        ] {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(comes_here(&values, "mx.a.example"), here, "{values:?}");
        }
    }
}
