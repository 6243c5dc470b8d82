//! `/~NAME/`: the folder `public` of an account, for everyone.

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use storage::Error;

use crate::body::Body;
use crate::codec::decode_path;
use crate::commands::Place;
use crate::ops::content::{self, Audience, File};
use crate::ops::{home_path, plain};
use crate::reply::Refusal;
use crate::session::Link;

/// What stands for a folder. There are no listings: a site shows what its owner linked.
const INDEX: &str = "index.html";

/// Answers a request for a site.
pub(crate) async fn answer(
    link: &Link,
    head: &Parts,
    name: &str,
    path: Option<&str>,
) -> Result<Response<Body>, Refusal> {
    match head.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok(plain::options(Place::Site(name, path))),
        _ => return Err(Refusal::method(Place::Site(name, path).methods())),
    }
    let Some(path) = path else { return with_slash(head) };
    let name = decode_path(name).map_err(|_| Refusal::not_found())?;
    let site = link.server.auth.site(&link.peer, &name).await?;
    let mut target = home_path(path)?;
    if path.ends_with('/') {
        target = target.child(INDEX)?;
    }
    match site.open(&target).await {
        Ok((node, found)) => content::answer(head, File::of(&node, found), Audience::Site),
        // A folder: its relative links need the slash.
        Err(Error::Invalid(_)) => match site.stat(&target).await {
            Ok(node) if node.is_folder() && !path.ends_with('/') => with_slash(head),
            _ => Err(Refusal::not_found()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The same path with a slash at its end. It begins with `/~`, so it stays on this host.
fn with_slash(head: &Parts) -> Result<Response<Body>, Refusal> {
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let target = format!("{}/{query}", head.uri.path());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let target = HeaderValue::try_from(target).map_err(|_| Refusal::not_found())?;
    response.headers_mut().insert(header::LOCATION, target);
    // A folder may become a file: nobody keeps the answer without asking again.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
