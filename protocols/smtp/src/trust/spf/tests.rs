//! Checks against records in a table.

use std::collections::HashMap;
use std::sync::Mutex;

use super::*;

/// What DNS holds, by kind and name; `!` is a name that nobody answers for. It notes the questions.
#[derive(Default)]
struct Table {
    records: HashMap<String, Vec<String>>,
    asked: Mutex<Vec<String>>,
}

impl Table {
    /// From lines `name kind value`.
    fn new(lines: &[&str]) -> Table {
        let mut table = Table::default();
        for line in lines {
            let mut parts = line.splitn(3, ' ');
            let (name, kind) = (parts.next().unwrap(), parts.next().unwrap());
            table.records.entry(format!("{kind} {name}")).or_default().push(parts.next().unwrap().to_owned());
        }
        table
    }

    fn find(&self, kind: &str, name: &str) -> Result<Vec<String>, Nothing> {
        assert!(is_name(name), "{name}");
        let question = format!("{kind} {}", name.to_ascii_lowercase());
        self.asked.lock().unwrap().push(question.clone());
        match self.records.get(&question) {
            Some(values) if values.iter().any(|value| value == "!") => Err(Nothing::Unknown("no answer".into())),
            Some(values) => Ok(values.clone()),
            None => Err(Nothing::Name),
        }
    }

    /// How often something of that kind was asked for.
    fn questions(&self, kind: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|question| question.starts_with(kind)).count()
    }
}

impl Lookup for Table {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Nothing> {
        Ok(self.find("TXT", name)?.into_iter().map(String::into_bytes).collect())
    }

    async fn addresses4(&self, name: &str) -> Result<Vec<Ipv4Addr>, Nothing> {
        Ok(self.find("A", name)?.iter().map(|value| value.parse().unwrap()).collect())
    }

    async fn addresses6(&self, name: &str) -> Result<Vec<Ipv6Addr>, Nothing> {
        Ok(self.find("AAAA", name)?.iter().map(|value| value.parse().unwrap()).collect())
    }

    async fn exchanges(&self, name: &str) -> Result<Vec<(u16, String)>, Nothing> {
        Ok(self.find("MX", name)?.into_iter().map(|host| (10, host)).collect())
    }

    async fn names(&self, address: IpAddr) -> Result<Vec<String>, Nothing> {
        self.find("PTR", &address.to_string())
    }
}

const FAIL: Outcome = Outcome::Fail { explanation: None };

fn explained(text: &str) -> Outcome {
    Outcome::Fail { explanation: Some(text.into()) }
}

fn question<'a>(client: &str, sender: &'a str) -> Question<'a> {
    Question { client: client.parse().unwrap(), helo: "helo.example.org", sender, receiver: "mx.example.org" }
}

/// The outcome for a client and a sender at `a.example`, whose record these terms are.
async fn outcome(client: &str, terms: &str, more: &[&str]) -> Outcome {
    let record = format!("a.example TXT v=spf1 {terms}");
    check(&Table::new(&[&[record.as_str()], more].concat()), &question(client, "x@a.example")).await
}

#[test]
fn outcomes_are_the_words_of_rfc_8601() {
    let all = [
        Outcome::None,
        Outcome::Neutral,
        Outcome::Pass,
        explained("no"),
        Outcome::SoftFail,
        Outcome::TempError,
        Outcome::PermError,
    ];
    let words: Vec<String> = all.iter().map(Outcome::to_string).collect();
    assert_eq!(words.join(" "), "none neutral pass fail softfail temperror permerror");
}

#[tokio::test]
async fn one_record_decides() {
    for (records, expected) in [
        (&["a.example TXT hello"][..], Outcome::None),
        (&["a.example TXT v=spf10 -all", "a.example TXT v=spf1"], Outcome::Neutral),
        (&["a.example TXT v=spf1 -all", "a.example TXT v=spf1 -all"], Outcome::PermError),
        (&["a.example TXT v=spf1 nonsense", "a.example TXT key=1"], Outcome::PermError),
        (&["a.example TXT !"], Outcome::TempError),
        (&["b.example TXT v=spf1 -all"], Outcome::None),
    ] {
        assert_eq!(check(&Table::new(records), &question("192.0.2.1", "x@a.example")).await, expected, "{records:?}");
    }
}

#[tokio::test]
async fn who_has_no_domain_has_no_record() {
    let table = Table::new(&["a.example TXT v=spf1 -all", "helo.example.org TXT v=spf1 ~all"]);
    let long = format!("x@{}.a.example", "a".repeat(64));
    for sender in ["x@example", "x@[192.0.2.1]", "x@a..example", "x@.a.example", &long, "x@a\r.example", "x@\u{ad}"] {
        assert_eq!(check(&table, &question("192.0.2.1", sender)).await, Outcome::None, "{sender:?}");
    }
    assert_eq!(table.questions(""), 0);
    for helo in ["localhost", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[IPv6:::ffff:192.0.2.1]", ""] {
        let asked = Question { helo, ..question("192.0.2.1", "x@a.example") };
        assert_eq!(check_helo(&table, &asked).await, Outcome::None, "{helo}");
        assert_eq!(check(&table, &asked).await, FAIL);
        assert_eq!(check(&table, &Question { sender: "", ..asked }).await, Outcome::None, "{helo}");
    }
    // The null path is judged by the HELO name.
    assert_eq!(check(&table, &question("192.0.2.1", "")).await, Outcome::SoftFail);
    assert_eq!(check_helo(&table, &question("192.0.2.1", "x@a.example")).await, Outcome::SoftFail);
}

#[tokio::test]
async fn without_local_part_it_is_postmaster() {
    let table = Table::new(&["a.example TXT v=spf1 -all exp=e.%{d}", "e.a.example TXT %{s} %{o} %{l}"]);
    for sender in ["@a.example", "a.example"] {
        let said = explained("postmaster@a.example a.example postmaster");
        assert_eq!(check(&table, &question("192.0.2.1", sender)).await, said, "{sender}");
    }
    let said = explained("\"x@y\"@a.example a.example \"x@y\"");
    assert_eq!(check(&table, &question("192.0.2.1", "\"x@y\"@a.example")).await, said);
}

#[tokio::test]
async fn networks() {
    for (client, terms, expected) in [
        ("192.0.2.129", "ip4:192.0.2.128/25 -all", Outcome::Pass),
        ("192.0.2.127", "ip4:192.0.2.128/25 -all", FAIL),
        ("203.0.113.1", "ip4:192.0.2.1/0 -all", Outcome::Pass),
        ("2001:db8:8000::1", "ip6:2001:db8:8000::/33 -all", Outcome::Pass),
        ("2001:db8::1", "ip6:2001:db8:8000::/33 -all", FAIL),
        ("2001:db8::1", "ip4:192.0.2.1/0 -all", FAIL),
        // Of version 4, however it is written (§5).
        ("::ffff:192.0.2.1", "ip6:::/0 ~ip4:192.0.2.1 -all", Outcome::SoftFail),
        ("192.0.2.1", "ip6:::ffff:192.0.2.1/0 -all", FAIL),
    ] {
        assert_eq!(outcome(client, terms, &[]).await, expected, "{client} {terms}");
    }
}

#[tokio::test]
async fn addresses_of_hosts() {
    let hosts = [
        "a.example A 192.0.2.1",
        "a.example AAAA 2001:db8::1",
        "a.example MX m.example",
        "a.example MX lost.example",
        "m.example A 203.0.113.1",
        "m.example AAAA 2001:db8:1::1",
        "null.example MX ",
        "slow.example A !",
    ];
    for (client, terms, expected) in [
        ("192.0.2.1", "a -all", Outcome::Pass),
        ("::ffff:192.0.2.1", "a -all", Outcome::Pass),
        ("192.0.2.2", "a -all", FAIL),
        ("192.0.2.2", "a/30 -all", Outcome::Pass),
        ("2001:db8::2", "a/0 -all", FAIL),
        ("2001:db8::2", "a//64 -all", Outcome::Pass),
        ("192.0.2.1", "mx -all", FAIL),
        ("203.0.113.1", "mx -all", Outcome::Pass),
        ("203.0.113.9", "mx:a.example/24 -all", Outcome::Pass),
        ("2001:db8:1::1", "?mx -all", Outcome::Neutral),
        // Whoever has no mail host is none (§5.4).
        ("203.0.113.1", "mx:m.example mx:null.example -all", FAIL),
        ("192.0.2.1", "a:slow.example -all", Outcome::TempError),
        // A name that DNS cannot hold is nobody's.
        ("192.0.2.1", "a:x..example a:%{l}..b.example -all", FAIL),
    ] {
        assert_eq!(outcome(client, terms, &hosts).await, expected, "{client} {terms}");
    }
    let slow = ["a.example MX slow.example", "slow.example A !"];
    assert_eq!(outcome("192.0.2.1", "mx -all", &slow).await, Outcome::TempError);
}

#[tokio::test]
async fn exists_asks_for_version_4_alone() {
    let hosts = ["1.2.0.192.a.example A 127.0.0.2", "six.example AAAA 2001:db8::1", "slow.example A !"];
    for (client, terms, expected) in [
        ("192.0.2.1", "exists:%{ir}.%{d} -all", Outcome::Pass),
        ("192.0.2.2", "exists:%{ir}.%{d} -all", FAIL),
        ("2001:db8::1", "exists:1.2.0.192.%{d} -all", Outcome::Pass),
        ("2001:db8::1", "exists:six.example -all", FAIL),
        ("192.0.2.1", "exists:slow.example -all", Outcome::TempError),
    ] {
        assert_eq!(outcome(client, terms, &hosts).await, expected, "{client} {terms}");
    }
}

#[tokio::test]
async fn names_of_the_client_are_validated() {
    let hosts = [
        "192.0.2.1 PTR lies.b.example",
        "192.0.2.1 PTR slow.b.example",
        "192.0.2.1 PTR Mail.A.example.",
        "lies.b.example A 203.0.113.1",
        "slow.b.example A !",
        "mail.a.example A 192.0.2.1",
        "192.0.2.2 PTR !",
        "2001:db8::1 PTR x.example",
        "mail.a.example.ok.example A 127.0.0.2",
        "unknown.ok.example A 127.0.0.2",
    ];
    for (client, terms, expected) in [
        ("192.0.2.1", "ptr -all", Outcome::Pass),
        ("192.0.2.1", "ptr:mail.a.example -all", Outcome::Pass),
        ("192.0.2.1", "ptr:il.a.example ptr:x.mail.a.example ptr:b.example -all", FAIL),
        ("192.0.2.1", "~exists:%{p}.ok.example -all", Outcome::SoftFail),
        // An error is no name.
        ("192.0.2.2", "ptr -all", FAIL),
        ("192.0.2.2", "?exists:%{p}.ok.example -all", Outcome::Neutral),
        ("2001:db8::1", "ptr:x.example ptr:y.example ptr:z.example ptr ~all", Outcome::SoftFail),
    ] {
        assert_eq!(outcome(client, terms, &hosts).await, expected, "{client} {terms}");
    }
}

#[tokio::test]
async fn the_best_name_of_the_client_is_told() {
    let mut lines = vec!["a.example TXT v=spf1 -all exp=e.example".to_owned(), "e.example TXT %{p}".into()];
    for (name, told) in [("z.example", "z.example"), ("x.a.example", "x.a.example"), ("A.example", "A.example")] {
        lines.extend([format!("192.0.2.1 PTR {name}"), format!("{} A 192.0.2.1", name.to_lowercase())]);
        let table = Table::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(check(&table, &question("192.0.2.1", "x@a.example")).await, explained(told));
    }
}

/// Only a pass of the included record matches, and then the qualifier outside counts (§5.2).
#[tokio::test]
async fn records_include_records() {
    let records = [
        "all.example TXT v=spf1 all",
        "fail.example TXT v=spf1 -all",
        "soft.example TXT v=spf1 ~all",
        "open.example TXT v=spf1",
        "bad.example TXT v=spf1 bad",
        "slow.example TXT !",
        "in.example TXT v=spf1 include:all.example -all",
        "not.example TXT v=spf1 -include:all.example all",
        "maybe.example TXT v=spf1 ?include:all.example all",
        "to.example TXT v=spf1 redirect=all.example",
    ];
    for (terms, expected) in [
        ("include:all.example -all", Outcome::Pass),
        ("-include:in.example all", FAIL),
        ("~include:to.example all", Outcome::SoftFail),
        ("include:fail.example include:soft.example include:open.example ?all", Outcome::Neutral),
        ("include:not.example ~all", Outcome::SoftFail),
        ("include:maybe.example -all", FAIL),
        ("include:none.example all", Outcome::PermError),
        ("include:bad.example all", Outcome::PermError),
        ("include:slow.example all", Outcome::TempError),
        ("include:%{d1} all", Outcome::PermError),
        ("include:x..example all", Outcome::PermError),
    ] {
        assert_eq!(outcome("192.0.2.1", terms, &records).await, expected, "{terms}");
    }
}

#[tokio::test]
async fn redirect_is_the_last_resort() {
    let records = [
        "b.example TXT v=spf1 a -all exp=e.%{d}",
        "b.example A 192.0.2.1",
        "e.b.example TXT of %{d}",
        "c.example TXT x",
    ];
    for (client, terms, expected) in [
        ("192.0.2.1", "redirect=b.example ip4:203.0.113.1", Outcome::Pass),
        ("203.0.113.1", "redirect=b.example ?ip4:203.0.113.1", Outcome::Neutral),
        ("203.0.113.1", "exp=e.example redirect=b.example", explained("of b.example")),
        ("203.0.113.1", "~all redirect=b.example", Outcome::SoftFail),
        ("192.0.2.1", "redirect=c.example", Outcome::PermError),
        ("192.0.2.1", "redirect=x..example", Outcome::PermError),
    ] {
        assert_eq!(outcome(client, terms, &records).await, expected, "{terms}");
    }
}

#[tokio::test]
async fn explanations() {
    let texts = [
        "one.example TXT %{i}, ask %{r}",
        "two.example TXT x",
        "two.example TXT y",
        "slow.example TXT !",
        "bad.example TXT %{x}",
        "wild.example TXT a\x07b",
        "in.example TXT v=spf1 -all exp=two.example",
    ];
    for (terms, expected) in [
        ("-all exp=one.example", explained("192.0.2.1, ask mx.example.org")),
        ("exp=one.example -ip4:192.0.2.0/24", explained("192.0.2.1, ask mx.example.org")),
        ("include:in.example -all exp=one.example", explained("192.0.2.1, ask mx.example.org")),
        ("-all exp=none.example", FAIL),
        ("-all exp=two.example", FAIL),
        ("-all exp=slow.example", FAIL),
        ("-all exp=bad.example", FAIL),
        ("-all exp=wild.example", FAIL),
        ("-all exp=x..example", FAIL),
        ("~all exp=one.example", Outcome::SoftFail),
    ] {
        assert_eq!(outcome("192.0.2.1", terms, &texts).await, expected, "{terms}");
    }
}

#[tokio::test]
async fn ten_terms_ask_dns() {
    let host = "h.example A 203.0.113.1";
    let (ten, eleven) = ("a:h.example ".repeat(10), "a:h.example ".repeat(11));
    let redirect = "b.example TXT v=spf1 all";
    assert_eq!(outcome("192.0.2.1", &format!("{ten} all"), &[host]).await, Outcome::Pass);
    assert_eq!(outcome("192.0.2.1", &format!("{eleven} all"), &[host]).await, Outcome::PermError);
    assert_eq!(outcome("192.0.2.1", &format!("{ten} redirect=b.example"), &[host, redirect]).await, Outcome::PermError);
    // What is not evaluated does not count.
    assert_eq!(outcome("192.0.2.1", &format!("ip4:192.0.2.1 {eleven}"), &[host]).await, Outcome::Pass);
    // They count over all records.
    let inner = format!("b.example TXT v=spf1 {}", "a:h.example ".repeat(5));
    let terms = "include:b.example a:h.example a:h.example a:h.example";
    assert_eq!(outcome("192.0.2.1", &format!("{terms} all"), &[host, &inner]).await, Outcome::Pass);
    assert_eq!(
        outcome("192.0.2.1", &format!("{terms} include:b.example all"), &[host, &inner]).await,
        Outcome::PermError
    );
}

#[tokio::test]
async fn records_that_never_end() {
    for records in [
        &["a.example TXT v=spf1 include:a.example all"][..],
        &["a.example TXT v=spf1 redirect=a.example"],
        &["a.example TXT v=spf1 include:b.example all", "b.example TXT v=spf1 redirect=a.example"],
    ] {
        let table = Table::new(records);
        assert_eq!(check(&table, &question("192.0.2.1", "x@a.example")).await, Outcome::PermError);
        assert_eq!(table.questions("TXT"), 11, "{records:?}");
    }
}

#[tokio::test]
async fn two_terms_may_find_nothing() {
    let hosts = ["six.example AAAA 2001:db8::1", "m.example MX gone.example"];
    for (terms, expected) in [
        ("a:x.example exists:y.example all", Outcome::Pass),
        ("a:x.example exists:y.example mx:z.example all", Outcome::PermError),
        ("a:x.example a:y.example exists:six.example", Outcome::PermError),
        // Its mail host is something, and the names of the client are not the domain's.
        ("a:x.example a:y.example mx:m.example ptr all", Outcome::Pass),
        ("a:x.example a:y.example -all exp=z.example", FAIL),
    ] {
        assert_eq!(outcome("192.0.2.1", terms, &hosts).await, expected, "{terms}");
    }
    // One that has nothing of that kind, as DNS says it with an empty answer.
    let empty = ["a.example TXT v=spf1 a:x.example a:y.example a:z.example all"];
    let mut table = Table::new(&empty);
    for name in ["x", "y", "z"] {
        table.records.insert(format!("A {name}.example"), vec![]);
    }
    assert_eq!(check(&table, &question("192.0.2.1", "x@a.example")).await, Outcome::PermError);
}

#[tokio::test]
async fn ten_hosts_and_ten_names() {
    let mut lines = vec!["a.example TXT v=spf1 mx ptr -all".to_owned(), "h10.a.example A 192.0.2.1".into()];
    lines.extend((1..=10).map(|at| format!("a.example MX h{at}.a.example")));
    let table = |lines: &[String]| Table::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(check(&table(&lines), &question("192.0.2.1", "x@a.example")).await, Outcome::Pass);
    lines.push("a.example MX h11.a.example".into());
    assert_eq!(check(&table(&lines), &question("192.0.2.1", "x@a.example")).await, Outcome::PermError);

    let mut lines = vec!["a.example TXT v=spf1 ptr ~exists:%{p}.%{d} -all exp=%{p}.example".to_owned()];
    lines.extend((1..=11).map(|at| format!("192.0.2.1 PTR h{at}.a.example")));
    lines.push("h11.a.example A 192.0.2.1".into());
    let late = table(&lines);
    assert_eq!(check(&late, &question("192.0.2.1", "x@a.example")).await, FAIL);
    // Ten hosts and one exists; the three uses of the names share one search.
    assert_eq!((late.questions("PTR"), late.questions("A ")), (1, 11));
    lines.push("h10.a.example A 192.0.2.1".into());
    assert_eq!(check(&table(&lines), &question("192.0.2.1", "x@a.example")).await, Outcome::Pass);
}

/// DNS is asked in A-labels, and macros expand to them (RFC 8616 §4).
#[tokio::test]
async fn international_names() {
    let table = Table::new(&[
        "xn--bcher-kva.example TXT v=spf1 exists:%{l}.%{o} exists:%{h}.ok.example -all",
        "xn--bcher-kva.example.ok.example A 127.0.0.2",
        "jörg.xn--bcher-kva.example A 127.0.0.2",
    ]);
    let asked = Question { helo: "B\u{fc}cher.example", ..question("192.0.2.1", "j\u{f6}rg@b\u{fc}cher.example.") };
    assert_eq!(check(&table, &asked).await, Outcome::Pass);
    assert_eq!(check(&table, &Question { helo: "b\u{fc}\u{0}", ..asked }).await, FAIL);
}
