//! Logging in and out.

use auth::{Denied, Offer, Secret};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::Incoming;
use storage::Timestamp;

use super::forms::{self, Form};
use super::pages::{self, LoginPage};
use super::{COOKIE, cookie_of, required, session};
use crate::body::Body;
use crate::codec::{decode_path, encode_path};
use crate::reply::Refusal;
use crate::session::Link;

/// Ties the form to the browser it was shown in, before there is a session: else a stranger's page could log somebody
/// in to an account of the stranger's.
const FORM_COOKIE: &str = "__Host-wharfinger-form";

/// `/`: the files, or the form.
pub(super) async fn page(link: &Link, head: &Parts) -> Result<Response<Body>, Refusal> {
    if session(link, head).await?.is_some() {
        return Ok(pages::see_other("/files/"));
    }
    let next = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
        .find(|(key, _)| key == "next")
        .map(|(_, value)| value.into_owned());
    form(head, StatusCode::OK, "", "", next.as_deref().unwrap_or_default())
}

/// To the form, and back to what was asked for.
pub(super) fn ask(head: &Parts) -> Response<Body> {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", head.uri.path()).finish();
    pages::see_other(&format!("/?{query}"))
}

fn form(head: &Parts, status: StatusCode, name: &str, error: &str, next: &str) -> Result<Response<Body>, Refusal> {
    let known = cookie_of(head, FORM_COOKIE).filter(|token| token.len() == 22).map(str::to_owned);
    let csrf = match known {
        Some(csrf) => csrf,
        None => random()?,
    };
    let mut response = pages::page(&LoginPage { csrf: &csrf, name, error, next });
    *response.status_mut() = status;
    set_cookie(&mut response, FORM_COOKIE, &csrf, 3600, "Strict");
    Ok(response)
}

/// `POST /login`.
pub(super) async fn log_in(link: &Link, head: &Parts, body: &mut Incoming) -> Result<Response<Body>, Refusal> {
    let fields = Form::read(head, body).await?;
    let (name, next) = (fields.field("name").trim(), fields.field("next"));
    if !forms::same(fields.field("csrf"), cookie_of(head, FORM_COOKIE).unwrap_or_default()) {
        let error = "The form had expired. Please try again; cookies must be allowed for this server.";
        return form(head, StatusCode::FORBIDDEN, name, error, next);
    }
    let password = Secret::new(fields.field("password").to_owned());
    let offer = Offer::Password { name: name.to_owned(), password };
    match link.server.auth.web_login(&link.peer, offer).await {
        Ok(session) => {
            let mut response = pages::see_other(&target(next));
            let seconds = session.expires.since(Timestamp::now()).as_secs();
            set_cookie(&mut response, COOKIE, &session.token, seconds, "Lax");
            set_cookie(&mut response, FORM_COOKIE, "", 0, "Strict");
            Ok(response)
        }
        Err(denied @ (Denied::BadCredentials | Denied::Throttled { .. })) => {
            let error = sentence(&denied.to_string());
            // 401 would ask the browser for HTTP authentication.
            let refusal = Refusal::from(denied);
            let status = Some(refusal.status).filter(|&status| status != StatusCode::UNAUTHORIZED);
            form(head, status.unwrap_or(StatusCode::FORBIDDEN), name, &error, next)
        }
        Err(denied) => Err(denied.into()),
    }
}

/// `POST /logout`.
pub(super) async fn log_out(link: &Link, head: &Parts, body: &mut Incoming) -> Result<Response<Body>, Refusal> {
    let fields = Form::read(head, body).await?;
    let session = required(link, head).await?;
    fields.check(&session)?;
    link.server.auth.web_logout(&link.peer, &session).await?;
    let mut response = pages::see_other("/");
    set_cookie(&mut response, COOKIE, "", 0, "Lax");
    Ok(response)
}

/// Where to go after the log-in: only to the files of this server, whatever the form says.
fn target(next: &str) -> String {
    let inside = next.starts_with("/files/").then(|| decode_path(next).ok()).flatten();
    inside.map_or_else(|| "/files/".to_owned(), |path| encode_path(&path))
}

/// A message as a sentence of its own.
pub(super) fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

fn random() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(storage::Error::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn set_cookie(response: &mut Response<Body>, name: &str, value: &str, seconds: u64, same_site: &str) {
    let cookie = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}; Max-Age={seconds}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_the_log_in() {
        for (next, to) in [
            ("/files/a%20b/", "/files/a%20b/"),
            ("/files/", "/files/"),
            ("", "/files/"),
            ("/", "/files/"),
            ("//evil.example/", "/files/"),
            ("https://evil.example/files/", "/files/"),
            ("/files/../logout", "/files/"),
            ("/files/%0d%0aSet-Cookie: a=b", "/files/"),
            ("/delete/a", "/files/"),
        ] {
            assert_eq!(target(next), to, "{next}");
        }
    }

    #[test]
    fn messages_become_sentences() {
        assert_eq!(sentence("it exists already"), "It exists already.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence(""), ".");
    }
}
