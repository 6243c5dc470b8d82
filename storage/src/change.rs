//! How the owner of an account changes something, and how a content is opened: the same for files and for mail.

use crate::audit::Entry;
use crate::blobs::{Content, Located};
use crate::db::Tx;
use crate::{Actor, Error, Store};

impl Store {
    /// Runs a change of an account in one transaction. When it is refused, the refusal gets an audit record of its own.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        account: i64,
        actor: &Actor,
        action: &'static str,
        target: &str,
        mut work: impl FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let changed = async {
            actor.may_change()?;
            let work = move |tx: &mut Tx<'_>| {
                tx.lock(account)?;
                work(tx)
            };
            self.db().write_grouped(work).await
        };
        let result = changed.await;
        if let Err(error) = &result
            && error.is_refusal()
        {
            self.refused(actor, action, target, error).await;
        }
        result
    }

    /// Writes the audit record of a refusal; that it could not be written is for the log, since the refusal stands.
    pub(crate) async fn refused(&self, actor: &Actor, action: &'static str, target: &str, error: &Error) {
        let (actor, target, detail) = (actor.clone(), target.to_owned(), error.to_string());
        let written = self.db().write_grouped(move |tx| {
            let target = target.as_str();
            tx.record(&Entry { actor: &actor, action, change: None, target, outcome: "refused", detail: &detail })
        });
        if let Err(error) = written.await {
            tracing::warn!(%error, action, "a refusal could not be recorded");
        }
    }

    /// The content of a blob that something refers to; where it should be when the disk or the bucket has lost it.
    pub(crate) async fn content(&self, blob: i64) -> Result<Result<Content, Located>, Error> {
        if let Some(content) = self.caches().content(blob) {
            return Ok(Ok(Content::Small(content)));
        }
        let blobs = self.blobs().clone();
        let located = self.db().look(move |tx| blobs.locate(tx, blob)).await?;
        let content = match self.blobs().open_located(&located).await {
            Err(Error::NotFound) => return Ok(Err(located)),
            other => other?,
        };
        if let Content::Small(content) = &content {
            self.caches().keep_content(blob, content);
        }
        Ok(Ok(content))
    }
}
