//! How sure TLS with a host must be before mail goes there: by what the host's zone says (DANE, RFC 7672), by what the
//! domain's policy says (MTA-STS, RFC 8461), and by what the sender says (RFC 8689).

use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::dane::{Tlsa, usable};
use super::sts::{Mode, Policy};

/// How sure TLS with a host must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Level {
    /// Better than nothing, and nothing does as well (RFC 7435).
    Opportunistic,
    /// TLS it must be, with any certificate.
    Encrypted,
    /// The certificate is the host's, by a root that is trusted.
    Verified,
    /// The certificate is the host's, by these TLSA records, all of which are usable.
    Dane(Arc<Vec<Tlsa>>),
}

/// What the sender of a message says of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// REQUIRETLS on MAIL FROM (RFC 8689 §2); it binds no notification, whose return path is empty (§4.2.1).
    pub(crate) required: bool,
    /// The header `TLS-Required: No` (RFC 8689 §3).
    pub(crate) optional: bool,
}

impl Wish {
    /// Whether the sender wants the message to arrive rather than to be safe; then neither the policy nor TLSA records
    /// need to be looked up (RFC 8689 §4.2.2). REQUIRETLS makes the header void (§4.1).
    pub(crate) fn is_careless(self) -> bool {
        self.optional && !self.required
    }
}

/// What is known of a host.
#[derive(Debug, Clone)]
pub(crate) struct Case<'a> {
    /// The domain of the recipients.
    pub(crate) domain: &'a str,
    /// What the domain is an alias of in the end, or the domain.
    pub(crate) expanded: &'a str,
    /// The host's name as the domain's MX says it; or the domain, where it has none; or an address.
    pub(crate) host: &'a str,
    /// Whether that this is a host of the domain is proven by DNSSEC, or needs no proof since no MX was looked up.
    pub(crate) is_proven: bool,
    /// The domain's policy.
    pub(crate) policy: Option<&'a Policy>,
    /// The TLSA records of the host, with the name at which they stand; none where they must not be asked for, and a
    /// sentence where they cannot be known.
    pub(crate) tlsa: Result<Option<&'a (String, Vec<Tlsa>)>, &'a str>,
    /// What the sender says.
    pub(crate) wish: Wish,
}

/// How to talk with a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How sure TLS must be.
    pub(crate) level: Level,
    /// What the server is called in TLS. It has no name there only where TLS is no must.
    pub(crate) server: Option<ServerName<'static>>,
    /// The names of which its certificate must have one, where a trust anchor of DANE vouches for it.
    pub(crate) names: Vec<ServerName<'static>>,
}

impl Plan {
    /// Whether the host gets nothing in the clear.
    pub(crate) fn needs_tls(&self) -> bool {
        self.level != Level::Opportunistic
    }
}

/// Why a host gets no mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whether the message comes back when no other host is left; if not, it is tried again later.
    pub(crate) is_final: bool,
    /// The enhanced status code (RFC 3463).
    pub(crate) status: &'static str,
    /// One sentence.
    pub(crate) said: String,
}

/// What a host must show, or why it gets no mail at all.
///
/// DANE and an enforced policy must both hold: no policy excuses what DANE refuses (RFC 8461 §2), and DANE proves the
/// certificate, not that the host is one of the policy's. For the certificate DANE replaces the public roots: it binds
/// it to the host more tightly than any of them, and RFC 7672 §3.1.1 lets a server have one that no root knows.
pub(crate) fn decide(case: &Case<'_>) -> Result<Plan, Refusal> {
    let &Case { domain, host, wish, .. } = case;
    if wish.is_careless() {
        return Ok(Plan { level: Level::Opportunistic, server: server(host), names: vec![] });
    }
    let policy = case.policy.filter(|policy| policy.mode != Mode::None);
    let is_admitted = policy.is_some_and(|policy| policy.admits(host));
    if wish.required && !case.is_proven && !is_admitted {
        let said =
            format!("nothing proves that {host} takes mail for {domain}, and the sender requires that (REQUIRETLS)");
        return Err(Refusal { is_final: true, status: "5.7.10", said });
    }
    // All failures but those of REQUIRETLS pass, as they would if somebody attacked (RFC 8461 §5, RFC 7672 §2.2).
    let passing = |said| Refusal { is_final: false, status: "4.7.5", said };
    let is_enforced = policy.is_some_and(|policy| policy.mode == Mode::Enforce);
    if is_enforced && !is_admitted {
        return Err(passing(format!("{host} is none of the mail hosts in the MTA-STS policy of {domain}")));
    }
    let found = case.tlsa.map_err(|why| passing(format!("the TLSA records of {host} cannot be known: {why}")))?;
    let needs_proof = is_enforced || wish.required;
    let (level, name) = match found.map(|(base, records)| (base.as_str(), usable(records))) {
        Some((base, records)) if !records.is_empty() => (Level::Dane(Arc::new(records)), base),
        _ if needs_proof => (Level::Verified, host),
        // Who has TLSA records has TLS, even where nobody can read them (RFC 7672 §2.2.3).
        Some((base, _)) => (Level::Encrypted, base),
        None => (Level::Opportunistic, host),
    };
    // The domain's own name may stand in the certificate, unless somebody else may have named the host (RFC 7672
    // §3.2.2).
    let domains = [domain, case.expanded].into_iter().filter(|_| case.is_proven);
    let mut names: Vec<ServerName<'static>> = Vec::new();
    if matches!(level, Level::Dane(_)) {
        names = std::iter::once(name).chain(domains).filter_map(server).collect();
        names.dedup();
    }
    let plan = Plan { level, server: server(name), names };
    if plan.needs_tls() && plan.server.is_none() {
        return Err(passing(format!("{name} is no name that a certificate may have")));
    }
    Ok(plan)
}

/// A name or an address, as TLS has it.
fn server(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRED: Wish = Wish { required: true, optional: false };
    const OPTIONAL: Wish = Wish { required: false, optional: true };
    const BOTH: Wish = Wish { required: true, optional: true };

    fn case() -> Case<'static> {
        Case {
            domain: "example.org",
            expanded: "example.org",
            host: "mx.example.net",
            is_proven: false,
            policy: None,
            tlsa: Ok(None),
            wish: Wish::default(),
        }
    }

    fn policy(mode: &str, mx: &str) -> Policy {
        format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 1").parse().unwrap()
    }

    /// Records at the host, of that usage.
    fn records(usage: u8) -> (String, Vec<Tlsa>) {
        ("mx.example.net".into(), vec![Tlsa { usage, selector: 1, matching: 1, data: vec![7; 32] }])
    }

    fn level(case: &Case<'_>) -> Level {
        decide(case).unwrap().level
    }

    fn refused(case: &Case<'_>) -> (&'static str, bool) {
        let refusal = decide(case).unwrap_err();
        assert!(refusal.said.contains(case.host), "{}", refusal.said);
        (refusal.status, refusal.is_final)
    }

    fn named(names: &[&str]) -> Vec<ServerName<'static>> {
        names.iter().map(|name| server(name).unwrap()).collect()
    }

    #[test]
    fn without_anything_tls_is_opportunistic() {
        let plan = decide(&case()).unwrap();
        assert_eq!(plan, Plan { level: Level::Opportunistic, server: server("mx.example.net"), names: vec![] });
        assert!(!plan.needs_tls());
    }

    #[test]
    fn an_enforced_policy_wants_a_host_of_its_own_that_is_verified() {
        let (fits, not) = (policy("enforce", "*.example.net"), policy("enforce", "mx.example.org"));
        let plan = decide(&Case { policy: Some(&fits), ..case() }).unwrap();
        assert_eq!((&plan.level, plan.needs_tls()), (&Level::Verified, true));
        assert_eq!(refused(&Case { policy: Some(&not), ..case() }), ("4.7.5", false));
        assert_eq!(refused(&Case { policy: Some(&not), is_proven: true, ..case() }), ("4.7.5", false));
        for mode in ["testing", "none"] {
            for mx in ["*.example.net", "mx.example.org"] {
                assert_eq!(level(&Case { policy: Some(&policy(mode, mx)), ..case() }), Level::Opportunistic);
            }
        }
    }

    #[test]
    fn proven_records_want_a_certificate_by_them() {
        let found = records(3);
        let plan = decide(&Case { tlsa: Ok(Some(&found)), is_proven: true, ..case() }).unwrap();
        assert_eq!(plan.level, Level::Dane(Arc::new(found.1.clone())));
        assert_eq!(plan.names, named(&["mx.example.net", "example.org"]));
        // What may be redirected is not called by the domain's name.
        let plan = decide(&Case { tlsa: Ok(Some(&found)), ..case() }).unwrap();
        assert_eq!((plan.level, plan.names), (Level::Dane(Arc::new(found.1.clone())), named(&["mx.example.net"])));
        // An alias has its records, and its name, where it leads to; the domain too may be one.
        let elsewhere = ("real.example.com".to_owned(), found.1);
        let aliased = Case { tlsa: Ok(Some(&elsewhere)), is_proven: true, expanded: "b.example.org", ..case() };
        let plan = decide(&aliased).unwrap();
        assert_eq!(plan.server, server("real.example.com"));
        assert_eq!(plan.names, named(&["real.example.com", "example.org", "b.example.org"]));
    }

    #[test]
    fn records_that_cannot_be_used_want_tls() {
        let unusable = records(1);
        assert_eq!(level(&Case { tlsa: Ok(Some(&unusable)), ..case() }), Level::Encrypted);
        let fits = policy("enforce", "*.example.net");
        let both = Case { tlsa: Ok(Some(&unusable)), policy: Some(&fits), ..case() };
        assert_eq!(level(&both), Level::Verified, "the policy wants more");
        assert_eq!(level(&Case { policy: None, wish: REQUIRED, is_proven: true, ..both }), Level::Verified);
    }

    #[test]
    fn records_that_cannot_be_known_forbid_the_host() {
        let fits = policy("enforce", "*.example.net");
        let unknown = Case { tlsa: Err("no answer in time"), is_proven: true, ..case() };
        assert_eq!(refused(&unknown), ("4.7.5", false));
        assert_eq!(refused(&Case { policy: Some(&fits), ..unknown.clone() }), ("4.7.5", false));
        assert_eq!(refused(&Case { wish: REQUIRED, ..unknown.clone() }), ("4.7.5", false));
        assert_eq!(level(&Case { wish: OPTIONAL, ..unknown }), Level::Opportunistic);
    }

    #[test]
    fn dane_and_an_enforced_policy_must_both_hold() {
        let found = records(3);
        let (fits, not) = (policy("enforce", "*.example.net"), policy("enforce", "mx.example.org"));
        let both = Case { tlsa: Ok(Some(&found)), policy: Some(&fits), is_proven: true, ..case() };
        assert_eq!(level(&both), Level::Dane(Arc::new(found.1.clone())));
        assert_eq!(refused(&Case { policy: Some(&not), ..both }), ("4.7.5", false));
    }

    #[test]
    fn who_requires_tls_wants_the_host_proven_and_verified() {
        let required = Case { wish: REQUIRED, ..case() };
        assert_eq!(refused(&required), ("5.7.10", true));
        assert_eq!(level(&Case { is_proven: true, ..required.clone() }), Level::Verified);
        for mode in ["enforce", "testing"] {
            let (fits, not) = (policy(mode, "*.example.net"), policy(mode, "mx.example.org"));
            assert_eq!(level(&Case { policy: Some(&fits), ..required.clone() }), Level::Verified);
            assert_eq!(refused(&Case { policy: Some(&not), ..required.clone() }), ("5.7.10", true));
        }
        let none = policy("none", "*.example.net");
        assert_eq!(refused(&Case { policy: Some(&none), ..required.clone() }), ("5.7.10", true));
        let found = records(3);
        let signed = Case { tlsa: Ok(Some(&found)), is_proven: true, ..required.clone() };
        assert!(matches!(level(&signed), Level::Dane(_)));
        assert_eq!(refused(&Case { is_proven: false, ..signed }), ("5.7.10", true), "the host is proven, not the MX");
        // The header does not weaken the command.
        assert_eq!(refused(&Case { wish: BOTH, ..required }), ("5.7.10", true));
    }

    #[test]
    fn tls_that_is_optional_is_opportunistic_whatever_else_is_said() {
        let (found, not) = (records(3), policy("enforce", "mx.example.org"));
        let optional = Case { tlsa: Ok(Some(&found)), policy: Some(&not), wish: OPTIONAL, is_proven: true, ..case() };
        assert_eq!(level(&optional), Level::Opportunistic);
        assert!(OPTIONAL.is_careless() && !BOTH.is_careless() && !REQUIRED.is_careless());
    }

    #[test]
    fn a_host_without_a_name_in_tls_gets_no_mail_where_tls_is_a_must() {
        let nameless = Case { host: "a b", ..case() };
        assert_eq!(decide(&nameless).unwrap().server, None);
        assert_eq!(refused(&Case { wish: REQUIRED, is_proven: true, ..nameless }), ("4.7.5", false));
        let literal = Case { host: "192.0.2.1", wish: REQUIRED, is_proven: true, ..case() };
        assert!(matches!(decide(&literal).unwrap().server, Some(ServerName::IpAddress(_))));
    }
}
