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
    /// What mail clients set themselves up with.
    Setup(Document<'a>),
    /// Everything else: pages for browsers.
    Portal(&'a str),
}

/// A document for mail clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document<'a> {
    /// Thunderbird's.
    Autoconfig,
    /// Outlook's.
    Autodiscover,
    /// Where Outlook's is; the address may stand in the path.
    AutodiscoverUrl(Option<&'a str>),
    /// Apple's.
    Profile,
    /// The policy of TLS for those who send mail here (MTA-STS).
    MtaSts,
}

impl<'a> Document<'a> {
    /// The document of a path. Those of Outlook come in any case.
    fn of(path: &'a str) -> Option<Document<'a>> {
        const URL: &str = "/autodiscover/autodiscover.json";
        match path {
            "/.well-known/autoconfig/mail/config-v1.1.xml" | "/mail/config-v1.1.xml" => Some(Document::Autoconfig),
            "/.well-known/mta-sts.txt" => Some(Document::MtaSts),
            "/email.mobileconfig" | "/profile.mobileconfig" => Some(Document::Profile),
            _ if path.eq_ignore_ascii_case("/autodiscover/autodiscover.xml") => Some(Document::Autodiscover),
            _ => match path.split_at_checked(URL.len()).filter(|(start, _)| start.eq_ignore_ascii_case(URL))?.1 {
                "" => Some(Document::AutodiscoverUrl(None)),
                rest => rest.strip_prefix("/v1.0/").map(|address| Document::AutodiscoverUrl(Some(address))),
            },
        }
    }
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
                _ => Document::of(path).map_or(Place::Portal(path), Place::Setup),
            },
        }
    }

    /// Whether it answers before TLS too; all others only tell where HTTPS is.
    ///
    /// Thunderbird asks `http://autoconfig.DOMAIN` when `https://autoconfig.DOMAIN` has no certificate that it trusts,
    /// and a redirect would lead it back there. It would protect nothing either: who can forge the answer can forge the
    /// redirect, and there is no secret in it.
    pub(crate) fn before_tls(self) -> bool {
        matches!(self, Place::Health | Place::Setup(Document::Autoconfig))
    }

    /// The methods it has, as the `Allow` field lists them.
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Place::Setup(Document::Autodiscover) => "GET, HEAD, POST, OPTIONS",
            Place::Health | Place::Site(..) | Place::Setup(_) => "GET, HEAD, OPTIONS",
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
            ("/mail/config-v1.1.xml", Place::Setup(Document::Autoconfig)),
            ("/.well-known/autoconfig/mail/config-v1.1.xml", Place::Setup(Document::Autoconfig)),
            ("/autodiscover/autodiscover.xml", Place::Setup(Document::Autodiscover)),
            ("/AutoDiscover/AutoDiscover.XML", Place::Setup(Document::Autodiscover)),
            ("/Autodiscover/Autodiscover.json", Place::Setup(Document::AutodiscoverUrl(None))),
            ("/autodiscover/autodiscover.json/v1.0/a@b", Place::Setup(Document::AutodiscoverUrl(Some("a@b")))),
            ("/autodiscover/autodiscover.jsonx", Place::Portal("/autodiscover/autodiscover.jsonx")),
            ("/autodiscover/autodiscover.js\u{e9}", Place::Portal("/autodiscover/autodiscover.js\u{e9}")),
            ("/.well-known/mta-sts.txt", Place::Setup(Document::MtaSts)),
            ("/email.mobileconfig", Place::Setup(Document::Profile)),
            ("*", Place::Server),
            ("", Place::Portal("")),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
