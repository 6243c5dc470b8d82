//! What becomes of a message by all that was found: the strictest finding wins.

use super::Failure;
use super::config::{Away, Clamd, Dnsbl, Guilty, Rspamd};
use super::dnsbl::Verdict;
use super::report::{Action, Report};
use super::scan::Scan;
use crate::trust::verdicts::Policy;

/// What is done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is delivered.
    Take,
    /// It is put into Junk; why, as its recipients read it.
    Junk(String),
    /// The client is to try again later.
    Later(Refusal),
    /// It is refused.
    Refuse(Refusal),
}

/// What the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reply code (RFC 5321 §4.2).
    pub code: u16,
    /// The enhanced status code (RFC 3463).
    pub status: &'static str,
    /// One line of printable ASCII.
    pub text: String,
}

/// What was found of a message; nothing by what is off.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Findings<'a> {
    pub(crate) dmarc: Policy,
    pub(crate) dnsbl: Option<(&'a Dnsbl, &'a Verdict)>,
    pub(crate) rspamd: Option<(&'a Rspamd, &'a Result<Report, Failure>)>,
    pub(crate) clamd: Option<(&'a Clamd, &'a Result<Scan, Failure>)>,
}

/// The strictest of what follows from each finding; all reasons, where it is Junk. Of equals the one that stands first
/// here is told: a virus before a policy, a policy before an opinion.
pub(crate) fn decide(findings: &Findings<'_>) -> Decision {
    let all = [
        findings.clamd.map_or(Decision::Take, |(config, found)| by_clamd(config, found)),
        by_dmarc(findings.dmarc),
        findings.dnsbl.map_or(Decision::Take, |(config, found)| by_dnsbl(config, found)),
        findings.rspamd.map_or(Decision::Take, |(config, found)| by_rspamd(config, found)),
    ];
    all.into_iter().fold(Decision::Take, |strictest, decision| match (strictest, decision) {
        (Decision::Junk(one), Decision::Junk(other)) => Decision::Junk(format!("{one}; {other}")),
        (strictest, decision) if decision.rank() > strictest.rank() => decision,
        (strictest, _) => strictest,
    })
}

impl Decision {
    fn rank(&self) -> u8 {
        match self {
            Decision::Take => 0,
            Decision::Junk(_) => 1,
            Decision::Later(_) => 2,
            Decision::Refuse(_) => 3,
        }
    }

    fn refuse(text: impl Into<String>) -> Self {
        Decision::Refuse(Refusal { code: 550, status: "5.7.1", text: text.into() })
    }

    fn unchecked() -> Self {
        let text = "The message cannot be checked now; try again later".to_owned();
        Decision::Later(Refusal { code: 451, status: "4.3.0", text })
    }
}

fn by_clamd(config: &Clamd, found: &Result<Scan, Failure>) -> Decision {
    match found {
        Ok(Scan::Clean) => Decision::Take,
        Ok(Scan::Found(name)) => match config.found {
            Guilty::Refuse => Decision::refuse(format!("The message carries a virus: {name}")),
            Guilty::Junk => Decision::Junk(format!("virus {name}")),
        },
        Err(failure) => by_failure(failure, config.away, "not checked for viruses"),
    }
}

fn by_dmarc(policy: Policy) -> Decision {
    match policy {
        Policy::None => Decision::Take,
        Policy::Quarantine => Decision::Junk("the author's domain does not vouch for it (DMARC)".to_owned()),
        Policy::Reject => {
            Decision::refuse("The author's domain does not vouch for the message and has it refused (DMARC)")
        }
    }
}

/// The lists are named, so that who is on one by mistake can ask to be taken off.
fn by_dnsbl(config: &Dnsbl, found: &Verdict) -> Decision {
    let against = || {
        let mut zones: Vec<&str> = config.lists.iter().filter(|list| list.weight > 0).map(|list| &*list.zone).collect();
        zones.retain(|zone| found.listed.iter().any(|listed| listed == zone));
        zones.dedup();
        zones.truncate(3);
        zones.join(", ")
    };
    if found.weight >= config.refuse {
        Decision::refuse(format!("The address of your server is on lists of spammers: {}", against()))
    } else if found.weight >= config.junk {
        Decision::Junk(format!("the sending server is listed by {}", against()))
    } else {
        Decision::Take
    }
}

fn by_rspamd(config: &Rspamd, found: &Result<Report, Failure>) -> Decision {
    let report = match found {
        Ok(report) => report,
        Err(failure) => return by_failure(failure, config.away, "not checked for spam"),
    };
    let junk = || Decision::Junk(format!("spam, score {:.1} of {:.1}", report.score, report.required));
    let said = |otherwise: &str| report.said.clone().unwrap_or_else(|| otherwise.to_owned());
    match report.action {
        // Whether to greylist has been decided before the message came.
        Action::None | Action::Greylist => Decision::Take,
        // The subject stays: a signature may be on it.
        Action::AddHeader | Action::RewriteSubject | Action::Quarantine => junk(),
        Action::SoftReject => {
            let text = said("The message is suspect; try again later");
            Decision::Later(Refusal { code: 451, status: "4.7.1", text })
        }
        // Nothing that was taken is lost without a word (RFC 5321 §6.1): what is to be discarded is refused.
        Action::Reject | Action::Discard => match config.reject {
            Guilty::Refuse => Decision::refuse(said("The message looks like spam")),
            Guilty::Junk => junk(),
        },
    }
}

fn by_failure(failure: &Failure, away: Away, reason: &str) -> Decision {
    match (failure, away) {
        (Failure::Message(_), _) => Decision::unchecked(),
        (_, Away::Take) => Decision::Take,
        (_, Away::Junk) => Decision::Junk(reason.to_owned()),
        (Failure::Away(_), Away::Defer) => Decision::unchecked(),
        // It will not be smaller the next time.
        (Failure::TooLarge(_), Away::Defer) => {
            let text = "The message is too large to be checked".to_owned();
            Decision::Refuse(Refusal { code: 552, status: "5.3.4", text })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::config::List;

    fn report(action: Action) -> Result<Report, Failure> {
        let (symbols, fields) = (Vec::new(), Vec::new());
        Ok(Report { action, score: 7.25, required: 15.0, symbols, said: None, fields })
    }

    fn of_rspamd(config: &Rspamd, found: &Result<Report, Failure>) -> Decision {
        decide(&Findings { dmarc: Policy::None, dnsbl: None, rspamd: Some((config, found)), clamd: None })
    }

    fn of_clamd(config: &Clamd, found: &Result<Scan, Failure>) -> Decision {
        decide(&Findings { dmarc: Policy::None, dnsbl: None, rspamd: None, clamd: Some((config, found)) })
    }

    /// In short: `take`, `junk REASON`, or `CODE STATUS TEXT`.
    fn short(decision: &Decision) -> String {
        match decision {
            Decision::Take => "take".to_owned(),
            Decision::Junk(reason) => format!("junk {reason}"),
            Decision::Later(told) | Decision::Refuse(told) => format!("{} {} {}", told.code, told.status, told.text),
        }
    }

    #[test]
    fn every_action_of_rspamd_has_its_decision() {
        let junk = "junk spam, score 7.2 of 15.0";
        for (action, refusing, junking) in [
            (Action::None, "take", "take"),
            (Action::Greylist, "take", "take"),
            (Action::AddHeader, junk, junk),
            (Action::RewriteSubject, junk, junk),
            (Action::Quarantine, junk, junk),
            (Action::Reject, "550 5.7.1 The message looks like spam", junk),
            (Action::Discard, "550 5.7.1 The message looks like spam", junk),
        ] {
            let found = report(action);
            assert_eq!(short(&of_rspamd(&Rspamd::default(), &found)), refusing, "{action:?}");
            let config = Rspamd { reject: Guilty::Junk, ..Rspamd::default() };
            assert_eq!(short(&of_rspamd(&config, &found)), junking, "{action:?}");
        }
        let later = of_rspamd(&Rspamd::default(), &report(Action::SoftReject));
        assert_eq!(short(&later), "451 4.7.1 The message is suspect; try again later");
        assert!(matches!(later, Decision::Later(_)));
        let said = report(Action::Reject).map(|report| Report { said: Some("Gtube pattern".into()), ..report });
        assert_eq!(short(&of_rspamd(&Rspamd::default(), &said)), "550 5.7.1 Gtube pattern");
    }

    #[test]
    fn what_clamd_finds_is_refused_or_junk() {
        let found = Ok(Scan::Found("Eicar-Test".into()));
        assert_eq!(short(&of_clamd(&Clamd::default(), &found)), "550 5.7.1 The message carries a virus: Eicar-Test");
        let config = Clamd { found: Guilty::Junk, ..Clamd::default() };
        assert_eq!(short(&of_clamd(&config, &found)), "junk virus Eicar-Test");
        assert_eq!(of_clamd(&Clamd::default(), &Ok(Scan::Clean)), Decision::Take);
    }

    #[test]
    fn a_filter_that_is_away_does_as_configured_and_gives_nothing_away() {
        let secret = Failure::Away("the spam filter at 10.0.0.1 is gone".into());
        let later = "451 4.3.0 The message cannot be checked now; try again later";
        for (away, failure, expected) in [
            (Away::Take, &secret, "take"),
            (Away::Junk, &secret, "junk not checked for spam"),
            (Away::Defer, &secret, later),
            (Away::Take, &Failure::TooLarge("it"), "take"),
            (Away::Junk, &Failure::TooLarge("it"), "junk not checked for spam"),
            (Away::Defer, &Failure::TooLarge("it"), "552 5.3.4 The message is too large to be checked"),
            (Away::Take, &Failure::Message("disk".into()), later),
            (Away::Junk, &Failure::Message("disk".into()), later),
            (Away::Defer, &Failure::Message("disk".into()), later),
        ] {
            let config = Rspamd { away, ..Rspamd::default() };
            assert_eq!(short(&of_rspamd(&config, &Err(failure.clone()))), expected, "{away:?} {failure:?}");
            let clamd = short(&of_clamd(&Clamd { away, ..Clamd::default() }, &Err(failure.clone())));
            assert_eq!(clamd, expected.replace("for spam", "for viruses"), "{away:?} {failure:?}");
        }
    }

    #[test]
    fn weights_of_lists_decide() {
        let list = |zone: &str, weight| List { zone: zone.into(), codes: Vec::new(), weight };
        let lists = vec![list("a.example", 1), list("a.example", 1), list("good.example", -1), list("b.example", 2)];
        let config = Dnsbl { lists, junk: 2, refuse: 4, ..Dnsbl::default() };
        let decided = |weight, listed: &[&str]| {
            let listed = listed.iter().map(|zone| (*zone).to_owned()).collect();
            let verdict = Verdict { listed, weight, ignored: Vec::new() };
            let dnsbl = Some((&config, &verdict));
            short(&decide(&Findings { dmarc: Policy::None, dnsbl, rspamd: None, clamd: None }))
        };
        assert_eq!(decided(-1, &["good.example"]), "take");
        assert_eq!(decided(1, &["a.example"]), "take");
        assert_eq!(decided(2, &["a.example", "a.example"]), "junk the sending server is listed by a.example");
        let all = decided(4, &["a.example", "a.example", "good.example", "b.example"]);
        assert_eq!(all, "550 5.7.1 The address of your server is on lists of spammers: a.example, b.example");
    }

    #[test]
    fn the_strictest_wins_and_junk_has_all_reasons() {
        let (rspamd, clamd) = (Rspamd { away: Away::Defer, ..Rspamd::default() }, Clamd::default());
        let away = Err(Failure::Away("gone".into()));
        let virus: Result<Scan, Failure> = Ok(Scan::Found("V".into()));
        let clean = Ok(Scan::Clean);
        let (good, spam, bad) = (report(Action::None), report(Action::AddHeader), report(Action::Reject));
        for (dmarc, spam_filter, scanner, expected) in [
            (Policy::None, &good, &clean, "take"),
            (Policy::Quarantine, &good, &clean, "junk the author's domain does not vouch for it (DMARC)"),
            (Policy::None, &spam, &clean, "junk spam, score"),
            (Policy::Quarantine, &spam, &clean, "junk the author's domain does not vouch for it (DMARC); spam, score"),
            (Policy::Quarantine, &away, &clean, "451 4.3.0"),
            (Policy::Reject, &away, &clean, "550 5.7.1 The author's domain"),
            (Policy::Reject, &bad, &clean, "550 5.7.1 The author's domain"),
            (Policy::Quarantine, &bad, &clean, "550 5.7.1 The message looks like spam"),
            (Policy::None, &away, &virus, "550 5.7.1 The message carries a virus: V"),
            (Policy::Reject, &bad, &virus, "550 5.7.1 The message carries a virus: V"),
        ] {
            let findings =
                Findings { dmarc, dnsbl: None, rspamd: Some((&rspamd, spam_filter)), clamd: Some((&clamd, scanner)) };
            let decided = short(&decide(&findings));
            assert!(decided.starts_with(expected), "{decided} is not {expected}");
        }
        let off = Findings { dmarc: Policy::None, dnsbl: None, rspamd: None, clamd: None };
        assert_eq!(decide(&off), Decision::Take);
    }
}
