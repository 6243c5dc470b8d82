//! Exchanges with an authority on a store of its own.

use std::net::SocketAddr;
use std::time::Duration;

use storage::audit::Filter;
use storage::{Actor, NewAccount, Options, Role, Scope, Store, Timestamp, Tls, TraceId};
use tempfile::TempDir;

use super::*;
use crate::{Config, Offer};

const PASSWORD: &str = "correct horse ⅷ";
const APP: &str = "abcd-efgh-jkmn-pqrs-tuvw";
/// How often guesses are made anew where the machine paused; see [`World::paused`].
const TRIES: usize = 20;

struct World {
    store: Store,
    authority: Arc<Authority>,
    _folder: TempDir,
}

impl World {
    async fn new() -> World {
        World::with(Config { argon2_memory: 64, argon2_passes: 1, ..Config::default() }).await
    }

    async fn with(config: Config) -> World {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { domains: vec!["localhost".into()], ..Options::embedded(folder.path().to_owned()) };
        let store = Store::open(options).await.unwrap();
        let authority = Authority::new(store.clone(), config, Duration::from_secs(60)).unwrap();
        let verifier = Some(authority.verifier("alice", Secret::new(PASSWORD.into())).await.unwrap());
        let alice = NewAccount { name: "alice".into(), role: Role::User, quota: None, verifier };
        store.add_account(&Actor::command_line(), alice).await.unwrap();
        World { store, authority, _folder: folder }
    }

    /// Gives alice an app password; its number.
    async fn app_password(&self, text: &str, scope: Scope) -> i64 {
        let account = self.store.account("alice").await.unwrap().unwrap();
        let new =
            self.authority.app_password(&account, &Secret::new(text.into()), "phone".into(), scope).await.unwrap();
        self.store.add_app_password(&Actor::command_line(), "alice", new).await.unwrap()
    }

    /// The outcome and detail of the newest log-in in the audit log.
    async fn recorded(&self) -> (String, String) {
        let filter = Filter { action: Some("auth.login".into()), limit: 1, ..Filter::default() };
        let record = self.store.audit(filter).await.unwrap().pop().unwrap();
        (record.outcome, record.detail)
    }

    async fn records(&self) -> usize {
        let filter = Filter { action: Some("auth.login".into()), limit: 1000, ..Filter::default() };
        self.store.audit(filter).await.unwrap().len()
    }

    /// Whether the second's wait that follows the tenth failure may be over by now, so that one guess more was judged.
    async fn paused(&self) -> bool {
        let filter = Filter { action: Some("auth.login".into()), limit: 1000, ..Filter::default() };
        let records = self.store.audit(filter).await.unwrap();
        // Counted from the ninth: the record of the tenth may be a little younger than the wait.
        let ninth = records.iter().filter(|record| record.outcome == "failed").nth(8);
        ninth.is_some_and(|ninth| Timestamp::now().since(Timestamp(ninth.time)) >= Duration::from_millis(900))
    }

    fn begin(&self, peer: &Peer, mechanism: &str) -> Exchange {
        self.authority.begin(peer, &binding(), mechanism).unwrap()
    }

    /// A whole log-in by SCRAM over submission; `first` is the client's first message.
    async fn scram(&self, mechanism: &str, first: &str, bound: &[u8], password: &str) -> Step {
        self.scram_as(&peer("submission"), mechanism, first, bound, password).await
    }

    async fn scram_as(&self, peer: &Peer, mechanism: &str, first: &str, bound: &[u8], password: &str) -> Step {
        let mut exchange = self.begin(peer, mechanism);
        let challenge = match exchange.step(first.as_bytes()).await {
            Step::Challenge(challenge) => String::from_utf8(challenge).unwrap(),
            other => return other,
        };
        let last = scram::client_final(first, &challenge, bound, password);
        match exchange.step(last.as_bytes()).await {
            Step::Challenge(proof) => {
                assert!(proof.starts_with(b"v="));
                exchange.step(b"").await
            }
            other => other,
        }
    }

    async fn login(&self, peer: &Peer, password: &str) -> Result<Session, Denied> {
        self.authority.login(peer, offer(password)).await
    }
}

fn offer(password: &str) -> Offer {
    Offer::Password { name: "alice".into(), password: Secret::new(password.into()) }
}

fn peer(protocol: &'static str) -> Peer {
    let remote: SocketAddr = "192.0.2.1:1000".parse().unwrap();
    let tls = Some(Tls { version: "TLSv1.3", cipher: "TLS13_AES_128_GCM_SHA256" });
    Peer { protocol, remote, local: remote, tls, trace: TraceId::new() }
}

fn binding() -> ChannelBinding {
    ChannelBinding { exporter: Some([7; 32]), end_point: Some(Arc::from(&[9; 48][..])) }
}

fn name(step: Step) -> String {
    match step {
        Step::Done(session) => session.principal.name,
        Step::Challenge(challenge) => panic!("a challenge: {challenge:?}"),
        Step::Denied(denied) => format!("denied: {denied}"),
        Step::Malformed(why) => format!("malformed: {why}"),
    }
}

const DENIED: &str = "denied: wrong name or password";

#[tokio::test]
async fn what_is_offered_depends_on_the_connection() {
    let world = World::new().await;
    let offered = |peer: &Peer, binding: &ChannelBinding| world.authority.mechanisms(peer, binding).join(" ");
    let (secure, clear) = (peer("imap"), Peer { tls: None, ..peer("imap") });
    assert_eq!(offered(&secure, &binding()), "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
    assert_eq!(offered(&secure, &ChannelBinding::default()), "PLAIN LOGIN SCRAM-SHA-256");
    assert_eq!(offered(&clear, &ChannelBinding::default()), "");
    assert!(world.authority.begin(&clear, &ChannelBinding::default(), "PLAIN").is_none());
    assert!(world.authority.begin(&secure, &ChannelBinding::default(), "SCRAM-SHA-256-PLUS").is_none());
    assert!(world.authority.begin(&secure, &binding(), "CRAM-MD5").is_none());
    assert!(world.authority.begin(&secure, &binding(), "scram-sha-256-plus").is_some());
    let world = World::with(Config { scram: false, argon2_memory: 64, ..Config::default() }).await;
    assert_eq!(world.authority.mechanisms(&secure, &binding()), ["PLAIN", "LOGIN"]);
    let (_, held) = world.store.credentials("alice").await.unwrap().unwrap();
    assert_eq!(held[0].verifier.scram, "", "no keys are kept");
}

#[tokio::test]
async fn plain_and_login_are_read_to_the_letter() {
    let world = World::new().await;
    let mut seen = Vec::new();
    for response in ["\0alice\0", "alice\0Alice@localhost\0", "alice\0alice\0", "bob\0alice\0"] {
        let mut exchange = world.begin(&peer("imap"), "PLAIN");
        assert_eq!(exchange.invitation(), b"");
        seen.push(name(exchange.step(format!("{response}{PASSWORD}").as_bytes()).await));
        assert!(matches!(exchange.step(b"").await, Step::Malformed(_)), "an exchange ends once");
    }
    assert_eq!(seen, ["alice", DENIED, "alice", DENIED]);
    assert_eq!(world.recorded().await, ("refused".into(), "acting for another account mechanism=PLAIN".into()));
    for response in [&b""[..], b"\0\0\0", b"alice", b"\0alice", b"\0\xff\0x", b"\0a\0b\0c"] {
        assert!(matches!(world.begin(&peer("imap"), "PLAIN").step(response).await, Step::Malformed(_)), "{response:?}");
    }
    let mut exchange = world.begin(&peer("imap"), "LOGIN");
    assert_eq!(exchange.invitation(), b"Username:");
    assert!(matches!(exchange.step(b"alice").await, Step::Challenge(text) if text == b"Password:"));
    assert_eq!(name(exchange.step(PASSWORD.as_bytes()).await), "alice");
    assert_eq!(world.recorded().await, ("done".into(), "password mechanism=LOGIN".into()));
}

#[tokio::test]
async fn scram_logs_in_and_binds_to_the_channel() {
    let world = World::new().await;
    let good = [
        ("SCRAM-SHA-256", "n,,n=alice,r=abc", &b""[..]),
        ("SCRAM-SHA-256", "n,a=Alice@localhost,n=Alice@localhost,r=abc", b""),
        ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=alice,r=abc", &[7; 32]),
        ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=alice,r=abc", &[9; 48]),
    ];
    for (mechanism, first, bound) in good {
        assert_eq!(name(world.scram(mechanism, first, bound, PASSWORD).await), "alice", "{first}");
        assert_eq!(world.recorded().await, ("done".into(), format!("password mechanism={mechanism}")));
        assert_eq!(name(world.scram(mechanism, first, bound, "wrong").await), DENIED, "{first}");
        assert_eq!(world.recorded().await, ("failed".into(), format!("wrong password mechanism={mechanism}")));
    }
    let prepared = world.scram("SCRAM-SHA-256", "n,,n=alice,r=abc", b"", "correct\u{a0}horse viii").await;
    assert_eq!(name(prepared), "alice", "as RFC 4013 has it");
    let recorded = |why: &str, mechanism: &str| ("refused".to_owned(), format!("{why} mechanism={mechanism}"));
    let bound = world.scram("SCRAM-SHA-256-PLUS", good[2].1, &[8; 32], PASSWORD).await;
    assert_eq!(name(bound), DENIED, "another connection's");
    let why = "the channel binding is another connection's";
    assert_eq!(world.recorded().await, recorded(why, "SCRAM-SHA-256-PLUS"));
    assert_eq!(name(world.scram("SCRAM-SHA-256", "y,,n=alice,r=abc", b"", PASSWORD).await), DENIED, "a downgrade");
    let why = "the offer of channel binding did not reach the client";
    assert_eq!(world.recorded().await, recorded(why, "SCRAM-SHA-256"));
    assert_eq!(name(world.scram("SCRAM-SHA-256", "n,a=bob,n=alice,r=abc", b"", PASSWORD).await), DENIED);
    for (mechanism, first) in [
        ("SCRAM-SHA-256", "p=tls-exporter,,n=alice,r=abc"),
        ("SCRAM-SHA-256-PLUS", "n,,n=alice,r=abc"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=alice,r=abc"),
        ("SCRAM-SHA-256", "n,,n=alice"),
    ] {
        assert!(matches!(world.scram(mechanism, first, b"", PASSWORD).await, Step::Malformed(_)), "{first}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_has_is_answered_alike() {
    let world = World::new().await;
    let challenge = async |first: &str| {
        let mut exchange = world.begin(&peer("imap"), "SCRAM-SHA-256");
        let Step::Challenge(challenge) = exchange.step(first.as_bytes()).await else { panic!("no challenge") };
        String::from_utf8(challenge).unwrap().split_once(",s=").unwrap().1.to_owned()
    };
    let nobody = challenge("n,,n=nobody,r=abc").await;
    assert_eq!(nobody, challenge("n,,n=Nobody@localhost,r=xyz").await, "the same each time");
    assert_ne!(nobody, challenge("n,,n=alice,r=abc").await);
    assert!(nobody.ends_with(",i=15000") && nobody.len() == 24 + 8, "{nobody}");
    assert_eq!(name(world.scram("SCRAM-SHA-256", "n,,n=nobody,r=abc", b"", PASSWORD).await), DENIED);
    assert_eq!(world.recorded().await, ("failed".into(), "no such account mechanism=SCRAM-SHA-256".into()));
    let fresh = Authority::new(world.store.clone(), world.authority.config.clone(), Duration::ZERO).unwrap();
    assert_eq!(fresh.salt("nobody").await, world.authority.salt("nobody").await, "after a restart too");
}

#[tokio::test]
async fn failures_by_scram_are_throttled_with_the_others() {
    for _ in 0..TRIES {
        let world = World::new().await;
        for _ in 0..11 {
            name(world.scram("SCRAM-SHA-256", "n,,n=alice,r=abc", b"", "wrong").await);
        }
        let right = world.scram("SCRAM-SHA-256", "n,,n=alice,r=abc", b"", PASSWORD).await;
        let login = world.login(&peer("ftp"), PASSWORD).await;
        if world.paused().await {
            continue;
        }
        assert!(matches!(right, Step::Denied(Denied::Throttled { .. })));
        assert!(matches!(login, Err(Denied::Throttled { .. })));
        return;
    }
    panic!("two log-ins were never refused within a second, so nothing was tested");
}

#[tokio::test]
async fn guesses_made_at_once_are_counted_as_if_one_came_after_the_other() {
    for _ in 0..TRIES {
        let world = World::new().await;
        let guesses: Vec<_> = (0..60)
            .map(|guess| {
                let (authority, secret) = (world.authority.clone(), if guess == 59 { PASSWORD } else { "wrong" });
                tokio::spawn(async move { authority.login(&peer("imap"), offer(secret)).await.err() })
            })
            .collect();
        let mut answers = Vec::new();
        for guess in guesses {
            answers.push(guess.await.unwrap());
        }
        if world.paused().await {
            continue;
        }
        let (mut judged, mut throttled) = (0, 0);
        for answer in answers {
            match answer {
                Some(Denied::Throttled { .. }) => throttled += 1,
                Some(Denied::BadCredentials) => judged += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((judged, throttled), (10, 50), "ten are free; whether a later one was right is not told");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(world.login(&peer("imap"), PASSWORD).await.is_ok());
        assert_eq!(world.recorded().await, ("done".into(), "password held_back=49".into()), "one has its record");
        return;
    }
    panic!("fifty guesses were never refused within a second, so nothing was tested");
}

#[tokio::test]
async fn a_stranger_who_goes_on_fills_no_audit_log() {
    let long = format!("{}é{}", "z".repeat(253), "z".repeat(9000));
    let stranger = || Offer::Password { name: long.clone(), password: Secret::new("guess".into()) };
    for _ in 0..TRIES {
        let world = World::new().await;
        for _ in 0..50 {
            assert!(world.authority.login(&peer("imap"), stranger()).await.is_err());
        }
        if world.paused().await {
            continue;
        }
        assert_eq!(world.records().await, 11, "ten that were judged, and the first that was held back");
        let filter = Filter { action: Some("auth.login".into()), limit: 1, ..Filter::default() };
        let record = world.store.audit(filter).await.unwrap().pop().unwrap();
        assert_eq!((record.outcome.as_str(), record.detail.as_str()), ("refused", "throttled"));
        assert_eq!(record.target, format!("{}…", "z".repeat(253)), "cut between two letters");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(matches!(world.authority.login(&peer("imap"), stranger()).await, Err(Denied::BadCredentials)));
        assert_eq!(world.recorded().await, ("failed".into(), "no such account held_back=39".into()));
        return;
    }
    panic!("forty guesses were never refused within a second, so nothing was tested");
}

#[tokio::test]
async fn a_right_password_is_kept_as_the_configuration_asks_today() {
    let old = Config { scram: false, argon2_memory: 64, argon2_passes: 1, ..Config::default() };
    let mut world = World::with(old).await;
    let app = Scope { protocols: vec!["imap".into()], read_only: true, expires: None };
    world.app_password(APP, app).await;
    let kept = async |world: &World| world.store.credentials("alice").await.unwrap().unwrap().1;
    let before = kept(&world).await;
    let config = Config { argon2_memory: 128, argon2_passes: 2, ..Config::default() };
    world.authority = Authority::new(world.store.clone(), config, Duration::ZERO).unwrap();
    let scram = async |world: &World| name(world.scram("SCRAM-SHA-256", "n,,n=alice,r=abc", b"", PASSWORD).await);
    assert_eq!(scram(&world).await, DENIED);
    let why = "no keys of SCRAM are kept mechanism=SCRAM-SHA-256";
    assert_eq!(world.recorded().await, ("failed".into(), why.into()));
    assert!(world.login(&peer("imap"), "wrong").await.is_err());
    assert_eq!(kept(&world).await, before, "only a right one is shown");
    assert!(world.login(&peer("imap"), PASSWORD).await.is_ok());
    let after = kept(&world).await;
    assert!(after[0].verifier.hash.starts_with("$argon2id$v=19$m=128,t=2,p=1$"), "{after:?}");
    assert_eq!(
        (after[0].id, &after[1]),
        (before[0].id, &before[1]),
        "the same credential; the others are as they were"
    );
    assert_eq!(scram(&world).await, "alice");
    assert!(world.login(&peer("imap"), &APP.replace('-', "")).await.is_ok());
    for typed in [APP, &APP.replace('-', ""), &APP.replace('-', " ")] {
        let step = world.scram_as(&peer("imap"), "SCRAM-SHA-256", "n,,n=alice,r=abc", b"", typed).await;
        assert_eq!(name(step), "alice", "{typed}");
    }
    let renewed = kept(&world).await;
    assert!(world.login(&peer("pop3"), PASSWORD).await.is_ok() && world.login(&peer("imap"), APP).await.is_ok());
    let filter = Filter { action: Some("account.verifier".into()), limit: 100, ..Filter::default() };
    assert_eq!((kept(&world).await, world.store.audit(filter).await.unwrap().len()), (renewed, 2), "once each");
    // Whoever changed it meanwhile is not undone.
    let late =
        world.store.renew_verifier(&Actor::command_line(), "alice", &before[0], before[0].verifier.clone()).await;
    assert!(!late.unwrap());
}

#[tokio::test]
async fn a_name_that_nobody_has_costs_what_one_that_somebody_has_does() {
    let old = Config { argon2_memory: 64, argon2_passes: 1, ..Config::default() };
    let world = World::with(old).await;
    let config = Config { argon2_memory: 128, argon2_passes: 2, ..Config::default() };
    let authority = Authority::new(world.store.clone(), config, Duration::ZERO).unwrap();
    let costs = async |authority: &Authority| {
        let mut old = 0;
        for name in 0..40 {
            let (name, decoy) = (name.to_string(), authority.decoy(&name.to_string()).await.unwrap());
            assert_eq!(decoy, authority.decoy(&name).await.unwrap().as_str(), "the same each time");
            old += u32::from(decoy.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        }
        old
    };
    assert_eq!(costs(&authority).await, 40, "the one that is stored has the old cost");
    let verifier = Some(authority.verifier("bob", Secret::new("another password".into())).await.unwrap());
    let bob = NewAccount { name: "bob".into(), role: Role::User, quota: None, verifier };
    world.store.add_account(&Actor::command_line(), bob).await.unwrap();
    authority.forget_costs().await;
    let half = costs(&authority).await;
    assert!((5..35).contains(&half), "one of two: {half}");
    assert!(authority.login(&peer("imap"), offer(PASSWORD)).await.is_ok());
    assert_eq!(costs(&authority).await, 0, "and at once when the last one is kept at the new cost");
}

#[tokio::test]
async fn a_password_is_the_same_however_it_is_typed() {
    let world = World::new().await;
    for typed in [PASSWORD, "correct horse viii", "correct\u{a0}horse \u{ad}viii"] {
        assert!(world.login(&peer("imap"), typed).await.is_ok(), "{typed}");
        let plain = format!("\0\u{ff21}lice\0{typed}");
        assert_eq!(name(world.begin(&peer("imap"), "PLAIN").step(plain.as_bytes()).await), "alice", "{typed}");
    }
    assert!(world.login(&peer("imap"), "correct horse vii").await.is_err());
    assert!(
        world.authority.verifier("alice", Secret::new("\u{ad}".repeat(20))).await.is_err(),
        "nothing is left of it"
    );
}

#[tokio::test]
async fn an_app_password_opens_what_its_scope_says() {
    let world = World::new().await;
    let mail = Scope { protocols: vec!["imap".into(), "smtp".into()], read_only: true, expires: None };
    let id = world.app_password(APP, mail).await;
    let login = async |protocol: &'static str, text: &str| world.login(&peer(protocol), text).await;
    let session = login("submission", APP).await.unwrap();
    assert!(session.principal.read_only, "the scope is carried on");
    assert_eq!(world.recorded().await, ("done".into(), format!("app-password {id} \"phone\"")));
    assert!(login("imap", &APP.replace('-', "")).await.is_ok() && login("imap", &APP.replace('-', " ")).await.is_ok());
    assert!(matches!(login("ftp", APP).await, Err(Denied::BadCredentials)));
    assert_eq!(world.recorded().await, ("failed".into(), format!("app-password {id} \"phone\" is not for ftp")));
    assert!(!login("ftp", PASSWORD).await.unwrap().principal.read_only, "the account's own opens everything");
    for typed in [APP.to_owned(), APP.replace('-', ""), APP.replace('-', " ")] {
        let first = "p=tls-exporter,,n=alice,r=abc";
        assert_eq!(name(world.scram("SCRAM-SHA-256-PLUS", first, &[7; 32], &typed).await), "alice", "{typed}");
        let elsewhere = world.scram_as(&peer("pop3"), "SCRAM-SHA-256", "n,,n=alice,r=abc", b"", &typed).await;
        assert_eq!(name(elsewhere), DENIED);
    }
    let detail = format!("app-password {id} \"phone\" is not for pop3 mechanism=SCRAM-SHA-256");
    assert_eq!(world.recorded().await, ("failed".into(), detail));
    world.store.remove_app_password(&Actor::command_line(), "alice", id).await.unwrap();
    assert!(matches!(login("imap", APP).await, Err(Denied::BadCredentials)), "though it was right a moment ago");
}

#[tokio::test]
async fn an_app_password_ends_and_never_opens_the_portal() {
    let world = World::new().await;
    let id = world.app_password(APP, Scope { expires: Some(1), ..Scope::default() }).await;
    assert!(world.login(&peer("imap"), APP).await.is_err());
    assert_eq!(world.recorded().await, ("failed".into(), format!("app-password {id} \"phone\" has expired")));
    let later = Timestamp::now().after(Duration::from_secs(60)).0;
    let id = world.app_password(&APP.replace('a', "b"), Scope { expires: Some(later), ..Scope::default() }).await;
    let (text, web) = (APP.replace('a', "b"), peer("https"));
    assert!(world.authority.login_again(&web, offer(&text)).await.is_ok());
    assert!(matches!(world.authority.web_login(&web, offer(&text)).await, Err(Denied::BadCredentials)));
    assert_eq!(world.recorded().await, ("failed".into(), format!("app-password {id} \"phone\" is not for the portal")));
    assert!(world.authority.web_login(&web, offer(PASSWORD)).await.is_ok());
    world.store.disable_account(&Actor::command_line(), "alice", true).await.unwrap();
    assert!(world.authority.login_again(&web, offer(&text)).await.is_err(), "disabled");
}

#[tokio::test]
async fn a_password_that_was_right_is_taken_again_until_it_changes() {
    // So dear that a second computation would show.
    let world = World::with(Config { argon2_memory: 64 << 10, argon2_passes: 8, ..Config::default() }).await;
    let timed = async |protocol: &'static str, password: &str| {
        let begun = std::time::Instant::now();
        (world.login(&peer(protocol), password).await.is_ok(), begun.elapsed())
    };
    let first = timed("imap", PASSWORD).await;
    let mut again = (false, Duration::MAX);
    for _ in 0..5 {
        let next = timed("imap", PASSWORD).await;
        again = (next.0, next.1.min(again.1));
    }
    assert!(first.0 && again.0 && again.1 * 4 < first.1, "{first:?} {again:?}");
    assert_eq!(world.records().await, 6, "each has its record");
    let other = timed("pop3", PASSWORD).await;
    assert!(other.0 && other.1 > again.1 * 4, "another protocol is checked by itself: {other:?} {again:?}");
    assert!(world.authority.login_again(&peer("imap"), offer(PASSWORD)).await.is_ok());
    assert_eq!(world.records().await, 7, "where every request repeats it, it has none");
    let changed = world.authority.verifier("alice", Secret::new("another password".into())).await.unwrap();
    world.store.change_password(&Actor::command_line(), "alice", changed).await.unwrap();
    assert!(!timed("imap", PASSWORD).await.0 && timed("imap", "another password").await.0);
    assert!(world.authority.login_again(&peer("imap"), offer(PASSWORD)).await.is_err());
}
