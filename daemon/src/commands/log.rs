//! The audit log and traces.

use serde_json::json;
use storage::TraceId;
use storage::audit::{Filter, Record};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Context, said};
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

fn time(record: &Record) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(record.time) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// One record on one line.
fn line(record: &Record) -> String {
    let name = if record.name.is_empty() { "-" } else { &record.name };
    format!(
        "{} {} {} {} {} {} {} {} {}\n",
        record.seq,
        time(record),
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
         tls       {tls}\n  record    {} of node {}\n",
        record.action,
        record.outcome,
        time(record),
        printable(&record.target),
        printable(&record.detail),
        record.peer,
        record.protocol,
        record.seq,
        record.node
    )
}

/// What a client named may hold anything: the terminal sees none of it.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
