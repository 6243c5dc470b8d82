//! Accounts, aliases and domains.

use auth::{Role, Secret};
use serde_json::json;
use storage::{Account, NewAccount, Verifier};

use super::{Context, app_passwords, new_password, said};
use crate::cli::{self, Alias, User};

pub(super) async fn user(context: &Context<'_>, user: User) -> Result<String, String> {
    let (store, actor) = (context.store, context.actor());
    match user {
        User::Add { name, admin, quota, .. } => {
            let (verifier, made) = password(context, &name).await?;
            let role = if admin { Role::Admin } else { Role::User };
            let new = NewAccount { name: name.clone(), role, quota, verifier: Some(verifier) };
            store.add_account(&actor, new).await.map_err(|error| match error {
                storage::Error::Exists => format!("there is an account {name} already"),
                other => said(&other),
            })?;
            Ok(added(context, &format!("account {name} added"), made.as_deref()))
        }
        User::Passwd { name, .. } => {
            let (verifier, made) = password(context, &name).await?;
            store.change_password(&actor, &name, verifier).await.map_err(|error| said(&error))?;
            Ok(added(context, &format!("{name} has another password"), made.as_deref()))
        }
        User::List => {
            let accounts = store.accounts().await.map_err(|error| said(&error))?;
            Ok(context.show(&json!(accounts), || accounts.iter().map(line).collect()))
        }
        User::Show { name } => {
            let account = store.account(&name).await.map_err(|error| said(&error))?;
            let account = account.ok_or_else(|| format!("there is no account {name}"))?;
            Ok(context.show(&json!(account), || line(&account)))
        }
        User::Quota { name, size } => {
            let quota = if size == "none" { None } else { Some(cli::size(&size)?) };
            store.set_quota(&actor, &name, quota).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("{name} may store {size}")))
        }
        User::AppPassword(command) => app_passwords::run(context, command).await,
        User::Disable { name } => {
            store.disable_account(&actor, &name, true).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("{name} may not log in")))
        }
        User::Enable { name } => {
            store.disable_account(&actor, &name, false).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("{name} may log in")))
        }
        User::Remove { name } => {
            store.remove_account(&actor, &name).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("account {name} removed")))
        }
    }
}

/// The verifier of the password that was given, or of one that is made here and then told.
async fn password(context: &Context<'_>, name: &str) -> Result<(Verifier, Option<String>), String> {
    let made = if context.input.is_none() { Some(new_password()?) } else { None };
    let password = context.input.clone().or_else(|| made.clone()).unwrap_or_default();
    Ok((context.authority.verifier(name, Secret::new(password)).await?, made))
}

fn added(context: &Context<'_>, sentence: &str, made: Option<&str>) -> String {
    context.show(&json!({ "done": sentence, "password": made }), || told(sentence, made))
}

/// A sentence, and the password that was made.
pub(super) fn told(sentence: &str, made: Option<&str>) -> String {
    match made {
        Some(password) => format!("{sentence}\npassword: {password}   (shown once)\n"),
        None => format!("{sentence}\n"),
    }
}

fn line(account: &Account) -> String {
    let quota = account.quota.map_or_else(|| "no limit".to_owned(), |quota| format!("of {quota}"));
    let state = if account.disabled { "  disabled" } else { "" };
    let role = if account.role == Role::Admin { "admin" } else { "user" };
    format!("{:<24} {role:<6} {} bytes {quota}{state}\n", account.name, account.used)
}

pub(super) async fn alias(context: &Context<'_>, alias: Alias) -> Result<String, String> {
    let (store, actor) = (context.store, context.actor());
    match alias {
        Alias::Add { address, names } => {
            if !address.starts_with('@') && !auth::is_address(&address) {
                return Err(format!("{address} is not a mail address"));
            }
            if let Some(wrong) = names.iter().find(|name| name.contains('@') && !auth::is_address(name)) {
                return Err(format!("{wrong} is not a mail address"));
            }
            let to = names.join(", ");
            store.set_alias(&actor, &address, names).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("{address} stands for {to}")))
        }
        Alias::List => {
            let aliases = store.aliases().await.map_err(|error| said(&error))?;
            let text = || aliases.iter().map(|(address, name)| format!("{address}  {name}\n")).collect();
            Ok(context.show(&json!(aliases), text))
        }
        Alias::Remove { address } => {
            store.remove_alias(&actor, &address).await.map_err(|error| said(&error))?;
            Ok(context.done(&format!("alias {address} removed")))
        }
    }
}
