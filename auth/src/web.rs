//! Sessions of the browser portal.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use storage::Timestamp;

use crate::authority::actor;
use crate::check::Way;
use crate::{Authority, Denied, Offer, Pass, Peer, Session};

/// A browser's session.
#[derive(Clone)]
pub struct WebSession {
    /// What the browser holds as its cookie.
    pub token: String,
    /// What every change must carry besides the cookie.
    pub csrf: String,
    /// Who, and the way to the files.
    pub session: Session,
    /// When it ends.
    pub expires: Timestamp,
}

impl Authority {
    /// Logs a browser in, by the account's own password.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn web_login(&self, peer: &Peer, offer: Offer) -> Result<WebSession, Denied> {
        let Offer::Password { name, password } = offer;
        let session = self.login_by(peer, Way::Portal, &name, password).await?;
        let begin = async {
            let (token, csrf) = (random()?, random()?);
            let expires = Timestamp::now().after(self.web_lifetime);
            let account = self.store.account(&session.principal.name).await?.ok_or(storage::Error::NotFound)?;
            self.store.add_web_session(&account, digest(&token), &csrf, expires).await?;
            Ok(WebSession { token, csrf, session, expires })
        };
        begin.await.map_err(Denied::Unavailable)
    }

    /// The session of a browser's cookie; `None` when it is over or was never begun.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn web_session(&self, peer: &Peer, token: &str) -> Result<Option<WebSession>, storage::Error> {
        let Some(row) = self.store.web_session(digest(token)).await? else { return Ok(None) };
        let Some(account) = self.store.account(&row.account).await? else { return Ok(None) };
        let session = self.session(peer, &account, None, Pass::default());
        Ok(Some(WebSession { token: token.to_owned(), csrf: row.csrf, session, expires: row.expires }))
    }

    /// Logs a browser out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn web_logout(&self, peer: &Peer, session: &WebSession) -> Result<(), storage::Error> {
        let actor = actor(peer, Some(&session.session.principal));
        self.store.end_web_session(&actor, digest(&session.token)).await
    }
}

/// The store keeps a hash of the token, so that who reads the store cannot take a session over.
fn digest(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

fn random() -> Result<String, storage::Error> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(storage::Error::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
