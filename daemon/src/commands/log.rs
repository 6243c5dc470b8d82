//! The audit log and traces.

use std::collections::HashMap;

use serde_json::json;
use storage::TraceId;
use storage::audit::{Filter, Record};
use tokio::sync::broadcast::error::RecvError;

use super::{Context, moment, printable, said};
use crate::cli::Audit;

pub(super) async fn audit(context: &Context<'_>, audit: Audit) -> Result<String, String> {
    let filter = match audit {
        Audit::Verify => return verify(context).await,
        Audit::Query { user, action, outcome, limit } => {
            Filter { name: user, action, outcome, limit, ..Filter::default() }
        }
        Audit::Tail { lines } => Filter { limit: lines, ..Filter::default() },
    };
    let records = context.store.audit(filter).await.map_err(|error| said(&error))?;
    Ok(context.show(&json!(records), || records.iter().map(line).collect()))
}

async fn verify(context: &Context<'_>) -> Result<String, String> {
    let verified = context.store.verify_audit().await.map_err(|broken| format!("the audit log is broken: {broken}"))?;
    Ok(context.show(&json!(verified), || {
        format!(
            "the audit log is whole: {} records, {} of them changes; the accounts count {} changes\n",
            verified.records, verified.changes, verified.counted
        )
    }))
}

pub(super) async fn trace(context: &Context<'_>, id: &str) -> Result<String, String> {
    let trace = TraceId::parse(id).ok_or("a trace id has sixteen letters and digits, as the 250 reply told it")?;
    let filter = Filter { trace: Some(trace.to_string()), limit: 1000, ..Filter::default() };
    let records = context.store.audit(filter).await.map_err(|error| said(&error))?;
    if records.is_empty() {
        return Err(format!("nothing is known of {trace}"));
    }
    Ok(context.show(&json!(records), || records.iter().map(story).collect()))
}

/// Prints changes as the feed tells them, until there were `limit`, or for ever.
pub(super) async fn events(context: &Context<'_>, user: Option<&str>, limit: Option<usize>) -> Result<String, String> {
    let mut feed = context.store.follow();
    let wanted = match user {
        Some(name) => {
            let account = context.store.account(name).await.map_err(|error| said(&error))?;
            Some(account.ok_or_else(|| format!("there is no account {name}"))?.id)
        }
        None => None,
    };
    let mut names: HashMap<i64, String> = HashMap::new();
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let change = match feed.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(missed)) => {
                return Err(format!("{missed} changes came faster than they were printed; the audit log has them"));
            }
            Err(RecvError::Closed) => break,
        };
        if wanted.is_some_and(|wanted| wanted != change.account) {
            continue;
        }
        if !names.contains_key(&change.account) {
            let accounts = context.store.accounts().await.map_err(|error| said(&error))?;
            names.extend(accounts.into_iter().map(|account| (account.id, account.name)));
        }
        let name = names.entry(change.account).or_insert_with(|| "-".into());
        let value =
            json!({ "account": name, "number": change.number, "action": change.action, "object": change.object });
        let line = context.show(&value, || format!("{name} {} {} {}\n", change.number, change.action, change.object));
        if context.pieces.send(line).await.is_err() {
            break;
        }
        left -= 1;
    }
    Ok(String::new())
}

/// One record on one line.
fn line(record: &Record) -> String {
    let name = if record.name.is_empty() { "-" } else { &record.name };
    format!(
        "{} {} {} {} {} {} {} {} {}\n",
        record.seq,
        moment(record.time),
        name,
        record.protocol,
        record.peer,
        record.action,
        record.outcome,
        printable(&record.target),
        printable(&record.detail)
    )
}

/// One record with all that it knows.
fn story(record: &Record) -> String {
    let tls = if record.tls.is_empty() { "none" } else { &record.tls };
    let name = if record.name.is_empty() { "-" } else { &record.name };
    format!(
        "{} {}\n  time      {}\n  target    {}\n  detail    {}\n  actor     {name}\n  peer      {} by {}\n  \
         tls       {tls}\n  record    {} of chain {}, written by {}\n",
        record.action,
        record.outcome,
        moment(record.time),
        printable(&record.target),
        printable(&record.detail),
        record.peer,
        record.protocol,
        record.seq,
        record.chain,
        record.node
    )
}
