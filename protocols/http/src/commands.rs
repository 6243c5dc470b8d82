//! The table of places: which paths there are, whether they need TLS, and which methods each has.

/// What answers a request; decided by its path alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// `/healthz`: the server is well.
    Health,
    /// `OPTIONS *`: the server as a whole (RFC 9110 §9.3.7).
    Server,
    /// `/dav/PATH`: the files of the account that logs in with every request.
    Dav(&'a str),
    /// `/~NAME` and `/~NAME/PATH`: the web site of an account; no path is another place than an empty one.
    Site(&'a str, Option<&'a str>),
    /// Everything else: pages for browsers.
    Portal(&'a str),
}

impl<'a> Place<'a> {
    /// The place of a path, which is still encoded.
    pub(crate) fn of(path: &'a str) -> Place<'a> {
        if let Some(rest) = path.strip_prefix("/~") {
            return match rest.find('/') {
                Some(slash) => Place::Site(&rest[..slash], Some(&rest[slash..])),
                None => Place::Site(rest, None),
            };
        }
        match path {
            "/healthz" => Place::Health,
            "*" => Place::Server,
            "/dav" => Place::Dav("/"),
            _ => match path.strip_prefix("/dav") {
                Some(rest) if rest.starts_with('/') => Place::Dav(rest),
                _ => Place::Portal(path),
            },
        }
    }

    /// Whether it answers before TLS too; all others only tell where HTTPS is.
    pub(crate) fn before_tls(self) -> bool {
        self == Place::Health
    }

    /// The methods it has, as the `Allow` field lists them.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Place::Health | Place::Site(..) => "GET, HEAD, OPTIONS",
            Place::Dav(_) => "GET, HEAD, PUT, DELETE, MKCOL, OPTIONS",
            Place::Portal(_) => "GET, HEAD, POST, PUT, OPTIONS",
            Place::Server => "GET, HEAD, POST, PUT, DELETE, MKCOL, OPTIONS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_places() {
        for (path, place) in [
            ("/", Place::Portal("/")),
            ("/healthz", Place::Health),
            ("/healthz/", Place::Portal("/healthz/")),
            ("/dav", Place::Dav("/")),
            ("/dav/a%20b", Place::Dav("/a%20b")),
            ("/dave", Place::Portal("/dave")),
            ("/~alice", Place::Site("alice", None)),
            ("/~alice/", Place::Site("alice", Some("/"))),
            ("/~alice/a/b", Place::Site("alice", Some("/a/b"))),
            ("*", Place::Server),
            ("", Place::Portal("")),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
