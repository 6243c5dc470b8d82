//! Before the log-in and around it: TLS, credentials, states, limits.

use dialog::Spoken;
use std::time::Duration;

use protocol::Closed;

use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn what_is_offered_depends_on_tls_and_on_the_state() {
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    let always = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "UTF8 USER"];
    let offered = client.lines("CAPA").await;
    for capability in always.iter().chain(&["STLS", "IMPLEMENTATION Wharfinger"]) {
        assert!(offered.lines().any(|line| line == *capability), "{capability} in {offered}");
    }
    assert!(!offered.contains("SASL") && !offered.lines().any(|line| line == "USER"), "not in the clear: {offered}");
    client.start_tls().await;
    let offered = client.lines("CAPA").await;
    let sasl = "SASL PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    for capability in always.iter().chain(&["USER", sasl]) {
        assert!(offered.lines().any(|line| line == *capability), "{capability} in {offered}");
    }
    assert!(!offered.contains("STLS"));
    assert_eq!(client.lines("AUTH").await, "PLAIN\r\nLOGIN\r\nSCRAM-SHA-256\r\nSCRAM-SHA-256-PLUS\r\n");
    client.dialog(&[("STLS", "-ERR TLS is active"), ("UTF8", "+OK"), ("USER alice", "+OK")]).await;
    client.dialog(&[("PASS secret-of-alice", "+OK Welcome: 0 messages (0 octets)")]).await;
    assert_eq!(client.lines("CAPA").await, offered, "the same after the log-in");
    client.dialog(&[("STLS", "-ERR Already"), ("UTF8", "-ERR Already"), ("AUTH PLAIN", "-ERR Already")]).await;
    client.dialog(&[("QUIT", "+OK Goodbye")]).await;
    assert_eq!(client.ended().await, Closed::Quit);
}

#[tokio::test]
async fn credentials_travel_inside_tls_alone() {
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    client
        .dialog(&[
            ("USER alice", "-ERR Encryption is required: send STLS first"),
            ("PASS secret-of-alice", "-ERR Encryption"),
            ("AUTH PLAIN AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "-ERR Encryption"),
            ("AUTH", "-ERR Encryption"),
            ("STAT", "-ERR Log in first"),
        ])
        .await;
    assert_eq!(world.records("auth.login", "done").await, 0);
    client.start_tls().await;
    client.dialog(&[("AUTH PLAIN AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "+OK Welcome")]).await;
    assert_eq!(world.records("auth.login", "done").await, 1);
}

#[tokio::test]
async fn nothing_said_in_the_clear_outlives_the_handshake() {
    let world = World::new().await;
    let mut client = Client::connect(&world).await;
    client.send("STLS\r\nUSER mallory\r\n").await;
    client.expect("-ERR Nothing may follow STLS").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    assert_eq!(world.records("pop3.stls", "refused").await, 1);
}

#[tokio::test]
async fn every_mechanism_logs_in_and_refuses() {
    let world = World::new().await;
    for script in [
        &[("AUTH PLAIN", "+ \r\n"), ("AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "+OK Welcome")][..],
        &[("AUTH LOGIN", "+ VXNlcm5hbWU6\r\n"), ("YWxpY2U=", "+ "), ("c2VjcmV0LW9mLWFsaWNl", "+OK Welcome")],
        &[("AUTH LOGIN YWxpY2U=", "+ UGFzc3dvcmQ6\r\n"), ("c2VjcmV0LW9mLWFsaWNl", "+OK Welcome")],
        &[("USER alice@example.org", "+OK"), ("PASS secret-of-alice", "+OK Welcome")],
        // The log-in was right, and the password wrong before it.
        &[("USER alice", "+OK"), ("PASS wrong", "-ERR [AUTH]"), ("PASS secret-of-alice", "-ERR Send USER first")],
        &[("USER nobody", "+OK"), ("PASS wrong", "-ERR [AUTH] Wrong name or password")],
        &[("AUTH PLAIN", "+ "), ("*", "-ERR Authentication cancelled"), ("STAT", "-ERR Log in")],
        &[("AUTH PLAIN =", "-ERR Cannot read the response"), ("AUTH PLAIN !", "-ERR The response is not base64")],
        &[("AUTH PLAIN AGJvYgB3cm9uZw==", "-ERR [AUTH]"), ("AUTH CRAM-MD5", "-ERR That mechanism is not offered; ")],
        // n,,n=alice,r=abc: answered by a challenge, to which no proof is given.
        &[("AUTH SCRAM-SHA-256 eSwsbj1hbGljZSxyPWFiYw==", "-ERR")],
        &[("AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPWFiYw==", "+ "), ("Yz1iaXdz", "-ERR")],
    ] {
        let mut client = Client::secured(&world).await;
        client.dialog(script).await;
        client.vanish().await;
    }
}

#[tokio::test]
async fn each_refusal_has_its_own_words_and_the_session_goes_on() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "max_errors = 100").await;
    client
        .dialog(&[
            ("", "-ERR Command not known; CAPA"),
            ("HELO client", "-ERR Command not known"),
            ("APOP alice c4c9334bac560ecc979e58001b3e22fb", "-ERR Command not known"),
            ("LIST", "-ERR Log in first"),
            ("RETR x", "-ERR Syntax: RETR message"),
            ("NOOP\u{7}", "-ERR Control characters"),
            ("CAPA 1", "-ERR Syntax: CAPA"),
        ])
        .await;
    client.send(b"NOOP \xff\r\n").await;
    client.expect("-ERR Control characters, or octets that are not UTF-8").await;
    client.send(b"NOOP\n").await;
    client.expect("-ERR A line must end in CRLF").await;
    client.dialog(&[("QUIT", "+OK")]).await;
    assert_eq!(client.ended().await, Closed::Quit);
}

#[tokio::test]
async fn lines_have_a_limit_and_those_of_a_login_a_larger_one() {
    let world = World::new().await;
    let mut client = Client::secured(&world).await;
    let user = |length: usize| format!("USER {}", "a".repeat(length - 5));
    client
        .dialog(&[(&user(253), "+OK"), (&user(254), "-ERR Line too long"), (&user(12_288), "-ERR Line too long")])
        .await;
    client.dialog(&[(&user(20_000), "-ERR Line too long")]).await;
    // A response of 9,000 octets: read and judged.
    client.dialog(&[("AUTH PLAIN", "+ "), (&"A".repeat(12_288), "-ERR Cannot read the response")]).await;
    client
        .dialog(&[("AUTH PLAIN", "+ "), (&"A".repeat(12_292), "-ERR The line of the authentication is too long")])
        .await;
    client.dialog(&[("USER alice", "+OK"), ("PASS secret-of-alice", "+OK")]).await;
    client.dialog(&[(&format!("NOOP{}", " ".repeat(250)), "-ERR Line too long"), ("NOOP", "+OK")]).await;
    let endless = vec![b'x'; 64 << 10];
    for _ in 0..65 {
        client.send(&endless).await;
    }
    client.expect("-ERR A line has an end; goodbye").await;
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn errors_in_a_row_end_a_session() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "max_errors = 3").await;
    client.dialog(&[("A", "-ERR"), ("B", "-ERR"), ("C", "-ERR Command")]).await;
    client.expect("-ERR Too many errors; goodbye").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    // CAPA forgives nothing before the log-in, and neither does TLS.
    let mut client = Client::connect_with(&world, "max_errors = 3").await;
    client.dialog(&[("A", "-ERR")]).await;
    client.lines("CAPA").await;
    client.start_tls().await;
    client.dialog(&[("USER x", "+OK"), ("PASS x", "-ERR [AUTH]"), ("C", "-ERR")]).await;
    client.expect("-ERR Too many errors").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    // After it, errors count in a row.
    let mut client = Client::connect_with(&world, "max_errors = 3").await;
    client.start_tls().await;
    client.dialog(&[("USER alice", "+OK"), ("PASS secret-of-alice", "+OK")]).await;
    for _ in 0..5 {
        client.dialog(&[("A", "-ERR"), ("RETR 1", "-ERR No such message"), ("STAT", "+OK")]).await;
    }
}

#[tokio::test]
async fn many_failed_logins_are_delayed() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "max_errors = 1000").await;
    client.start_tls().await;
    for _ in 0..200 {
        client.dialog(&[("USER bob", "+OK")]).await;
        client.send("PASS guess\r\n").await;
        let reply = client.reply().await;
        if reply.starts_with("-ERR [LOGIN-DELAY] Too many failed log-ins; try again in") {
            return;
        }
        assert!(reply.starts_with("-ERR [AUTH]"), "{reply}");
    }
    panic!("guesses go on without a delay");
}

#[tokio::test]
async fn who_must_wait_and_goes_on_is_sent_away() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "max_errors = 15").await;
    client.start_tls().await;
    let mut last = String::new();
    for _ in 0..15 {
        client.dialog(&[("USER bob", "+OK")]).await;
        client.send("PASS guess\r\n").await;
        last = client.reply().await;
    }
    assert!(last.starts_with("-ERR [LOGIN-DELAY]"), "{last}");
    client.expect("-ERR Too many errors").await;
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn silence_and_shutdown_end_a_session_and_nothing_is_removed() {
    let world = World::new().await;
    world.put(b"Subject: x\r\n\r\nx\r\n").await;
    let mut client = Client::connect_with(&world, "idle_timeout = 1").await;
    client.start_tls().await;
    client.dialog(&[("USER alice", "+OK"), ("PASS secret-of-alice", "+OK"), ("DELE 1", "+OK")]).await;
    client.expect("-ERR [SYS/TEMP] Nothing came for too long").await;
    assert_eq!(client.ended().await, Closed::Idle);
    let mut client = Client::logged_in(&world).await;
    client.dialog(&[("DELE 1", "+OK")]).await;
    client.stop.trigger();
    client.expect("-ERR [SYS/TEMP] The service is shutting down").await;
    assert_eq!(client.ended().await, Closed::Shutdown);
    assert_eq!(world.inbox().await.len(), 1);
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let world = World::new().await;
    world.put(b"Subject: one\r\n\r\none\r\n").await;
    let mut client = Client::secured(&world).await;
    client.send("CAPA\r\nUSER alice\r\nPASS secret-of-alice\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nSTAT\r\nQUIT\r\n").await;
    client.expect("+OK Capabilities").await;
    while client.reply().await != ".\r\n" {}
    for prefix in ["+OK Send PASS", "+OK Welcome: 1 message (21 octets)", "+OK 1 21", "+OK 21 octets"] {
        client.expect(prefix).await;
    }
    for line in ["Subject: one\r\n", "\r\n", "one\r\n", ".\r\n"] {
        assert_eq!(client.reply().await, line);
    }
    for prefix in ["+OK Message 1 is removed at QUIT", "+OK 0 0", "+OK Goodbye; 1 removed"] {
        client.expect(prefix).await;
    }
    assert_eq!(client.ended().await, Closed::Quit);
    assert_eq!(world.inbox().await, []);
}

#[tokio::test]
async fn a_thousand_commands_at_once_are_answered() {
    let world = World::new().await;
    world.put(&[b"Subject: x\r\n\r\n".as_slice(), &b"line\r\n".repeat(1000)].concat()).await;
    let mut client = Client::logged_in(&world).await;
    client.send("NOOP\r\nRETR 1\r\n".repeat(500)).await;
    for _ in 0..500 {
        client.expect("+OK").await;
        client.expect("+OK 6014 octets").await;
        while client.reply().await != ".\r\n" {}
    }
    tokio::time::timeout(Duration::from_secs(5), client.dialog(&[("QUIT", "+OK")])).await.unwrap();
}
