//! Sessions of the browser portal: rows, so that every node knows them and a restart ends none.

use crate::audit::Entry;
use crate::db::params;
use crate::{Account, Actor, Error, Store, Timestamp};

/// A web session as the store keeps it.
#[derive(Debug, Clone)]
pub struct WebRow {
    /// The name of its account.
    pub account: String,
    /// The token that every change must carry.
    pub csrf: String,
    /// When it ends.
    pub expires: Timestamp,
}

impl Store {
    /// Begins a web session. `token` is the hash of what the browser holds.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add_web_session(
        &self,
        account: &Account,
        token: [u8; 32],
        csrf: &str,
        expires: Timestamp,
    ) -> Result<(), Error> {
        let (account, csrf) = (account.id, csrf.to_owned());
        self.db()
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO web_sessions (token, account, csrf, created, expires) VALUES ($1, $2, $3, $4, $5)",
                    params![&token[..], account, &csrf, Timestamp::now(), expires],
                )
                .map(drop)
            })
            .await
    }

    /// The web session of a token, unless it is over or its account may not log in any more.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn web_session(&self, token: [u8; 32]) -> Result<Option<WebRow>, Error> {
        self.db()
            .look(move |tx| {
                tx.row(
                    "SELECT name, csrf, expires FROM web_sessions JOIN accounts ON accounts.id = account
                     WHERE token = $1 AND expires > $2 AND disabled = 0 AND removed IS NULL",
                    params![&token[..], Timestamp::now()],
                    |row| Ok(WebRow { account: row.text(0)?, csrf: row.text(1)?, expires: Timestamp(row.int(2)?) }),
                )
            })
            .await
    }

    /// Ends a web session, with an audit record.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_web_session(&self, actor: &Actor, token: [u8; 32]) -> Result<(), Error> {
        let actor = actor.clone();
        self.db()
            .write(move |tx| {
                tx.execute("DELETE FROM web_sessions WHERE token = $1", params![&token[..]])?;
                let (action, target) = ("auth.logout", actor.name.as_str());
                tx.record(&Entry { actor: &actor, action, change: None, target, outcome: "done", detail: "" })
            })
            .await
    }
}
