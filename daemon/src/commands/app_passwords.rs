//! App passwords: made here, printed once, listed without their secrets.

use auth::Secret;
use serde_json::{Value, json};
use storage::{Account, Credential, CredentialKind, Scope, Timestamp};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Context, accounts, new_password, said};
use crate::cli::AppPassword;

pub(super) async fn run(context: &Context<'_>, command: AppPassword) -> Result<String, String> {
    let (store, actor) = (context.store, context.actor());
    match command {
        AppPassword::Add { name, label, protocols, read_only, expires } => {
            let (account, _) = held(context, &name).await?;
            let made = new_password()?;
            let expires = expires.map(|span| Timestamp::now().after(span).0);
            let scope = Scope { protocols, read_only, expires };
            let new = context.authority.app_password(&account, &Secret::new(made.clone()), label, scope).await?;
            let id = store.add_app_password(&actor, &name, new).await.map_err(|error| said(&error))?;
            let sentence = format!("app password {id} of {name} added");
            Ok(context.show(&json!({ "done": sentence, "id": id, "password": made }), || {
                accounts::told(&sentence, Some(&made))
            }))
        }
        AppPassword::List { name } => {
            let (_, held) = held(context, &name).await?;
            let values: Vec<Value> = held.iter().map(value).collect();
            Ok(context.show(&json!(values), || held.iter().map(line).collect()))
        }
        AppPassword::Remove { name, id } => {
            store.remove_app_password(&actor, &name, id).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("app password {id} of {name} removed")))
        }
    }
}

/// An account with its app passwords.
async fn held(context: &Context<'_>, name: &str) -> Result<(Account, Vec<Credential>), String> {
    let found = context.store.credentials(name).await.map_err(|error| said(&error))?;
    let (account, mut held) = found.ok_or_else(|| format!("there is no account {name}"))?;
    held.retain(|one| one.kind == CredentialKind::AppPassword);
    Ok((account, held))
}

/// All but what a proof is checked against.
fn value(credential: &Credential) -> Value {
    let Scope { protocols, read_only, expires } = &credential.scope;
    json!({
        "id": credential.id,
        "label": credential.label,
        "protocols": protocols,
        "read_only": read_only,
        "expires": expires,
        "created": credential.created,
    })
}

fn line(credential: &Credential) -> String {
    let scope = &credential.scope;
    let protocols = if scope.protocols.is_empty() { "everywhere".to_owned() } else { scope.protocols.join(",") };
    let read_only = if scope.read_only { "  read-only" } else { "" };
    let ended = |expires| if Timestamp(expires) <= Timestamp::now() { "ended" } else { "ends" };
    let ends = scope.expires.map_or_else(String::new, |at| format!("  {} {}", ended(at), date(at)));
    let created = date(credential.created);
    format!("{:>6}  {:<24} {protocols}{read_only}  made {created}{ends}\n", credential.id, credential.label)
}

fn date(milliseconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(Timestamp(milliseconds).seconds()).ok();
    at.and_then(|at| at.format(format_description!("[year]-[month]-[day]")).ok()).unwrap_or_default()
}
