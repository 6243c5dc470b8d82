//! Dialogs with the server over a loopback socket, on a store of their own.

#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod client;
mod transport;
mod world;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dialog::Spoken;
use protocol::Closed;

use client::Client;
use world::World;

/// The dialog up to the reply to RCPT.
const ENVELOPE: &[(&str, &str)] = &[
    ("EHLO client.example", "250-mx.example.org"),
    ("MAIL FROM:<sender@elsewhere.example>", "250 2.1.0 "),
    ("RCPT TO:<alice@example.org>", "250 2.1.5 "),
];

/// The id at the end of the reply to a message that was taken.
fn trace(reply: &str) -> &str {
    reply.trim_end().strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("not taken: {reply}"))
}

#[tokio::test]
async fn a_message_is_delivered_as_it_came_with_two_fields_before_it() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(ENVELOPE).await;
    client.dialog(&[("DATA", "354 ")]).await;
    client.send("Subject: dots\r\n\r\n..one\r\ntwo.\r\n...\r\n.\r\n").await;
    let reply = client.expect("250 2.0.0 ").await;
    let [mail] = &world.mail("alice").await[..] else { panic!("one message") };
    let head = format!(
        "Return-Path: <sender@elsewhere.example>\r\nReceived: from client.example ([127.0.0.1])\r\n\tby mx.example.org \
         with ESMTP id {}\r\n\tfor <alice@example.org>;\r\n\t",
        trace(&reply)
    );
    assert!(mail.starts_with(&head), "{mail}");
    assert!(mail.ends_with(" +0000\r\nSubject: dots\r\n\r\n.one\r\ntwo.\r\n..\r\n"), "{mail}");
    client.dialog(&[("QUIT", "221 2.0.0 ")]).await;
    assert_eq!(client.ended().await, Closed::Quit);
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order_and_to_several_recipients_goes_one_message() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(&[("EHLO c", "250-")]).await;
    client
        .send("MAIL FROM:<> SIZE=30 BODY=8BITMIME\r\nRCPT TO:<alice@example.org>\r\nRCPT TO:<nobody@example.org>\r\n")
        .await;
    client.send("RCPT TO:<bob@example.org>\r\nRCPT TO:<x@elsewhere.example>\r\nDATA\r\n").await;
    for prefix in ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "550 5.7.1 Relaying denied", "354 "] {
        client.expect(prefix).await;
    }
    client.send("Subject: two\r\n\r\nhello\r\n.\r\nRSET\r\nQUIT\r\n").await;
    for prefix in ["250 2.0.0 Ok: queued as ", "250 2.0.0 Ok", "221 "] {
        client.expect(prefix).await;
    }
    for name in ["alice", "bob"] {
        let [mail] = &world.mail(name).await[..] else { panic!("one message for {name}") };
        assert!(mail.starts_with("Return-Path: <>\r\n") && !mail.contains("alice"), "{mail}");
    }
}

#[tokio::test]
async fn what_is_offered_depends_on_the_listener_and_on_tls() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client.send("EHLO c\r\n").await;
    let offered = client.reply().await;
    for keyword in
        ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "STARTTLS"]
    {
        assert!(offered.lines().any(|line| line[4..] == *keyword), "{keyword} in {offered}");
    }
    assert!(!offered.contains("AUTH"));
    let mut client = Client::connect(&world, "submission").await;
    client.send("EHLO c\r\n").await;
    assert!(!client.reply().await.contains("AUTH"), "not in the clear");
    client
        .dialog(&[("MAIL FROM:<alice@example.org>", "530 5.7.0 Must issue a STARTTLS"), ("AUTH PLAIN", "538 5.7.11 ")])
        .await;
    client.start_tls().await;
    client.dialog(&[("AUTH PLAIN", "503 5.5.1 ")]).await;
    client.send("EHLO c\r\n").await;
    let offered = client.reply().await;
    assert!(
        offered.contains("AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS\r\n") && !offered.contains("STARTTLS"),
        "{offered}"
    );
    client.dialog(&[("MAIL FROM:<alice@example.org>", "530 5.7.0 Authentication"), ("STARTTLS", "503 5.5.1 ")]).await;
}

#[tokio::test]
async fn each_refusal_has_its_own_words_and_the_session_goes_on() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "smtp", "max_errors = 100").await;
    client
        .dialog(&[
            ("MAIL FROM:<>", "503 5.5.1 "),
            ("EHLO c", "250-"),
            ("FOO", "500 5.5.1 "),
            ("RCPT TO:<alice@example.org>", "503 5.5.1 "),
            ("DATA", "503 5.5.1 "),
            ("AUTH PLAIN", "502 5.5.1 "),
            ("VRFY alice", "252 2.1.5 "),
            ("EXPN staff", "502 5.5.1 "),
            ("HELP", "214-2.0.0 "),
            ("NOOP", "250 2.0.0 "),
            ("MAIL FROM:alice", "501 5.1.7 "),
            ("MAIL FROM:<a@b.example> SIZE=99999999999", "552 5.3.4 "),
            ("MAIL FROM:<a@b.example> AUTH=<>", "555 5.5.4 "),
            ("MAIL FROM:<a@b.example> HOLDFOR=5", "555 5.5.4 "),
            ("MAIL FROM:<a@b.example> RET=SOME", "501 5.5.4 "),
            ("MAIL FROM:<a@b.example> REQUIRETLS", "555 5.5.4 "),
            ("MAIL FROM:<ä@b.example>", "553 5.6.7 "),
            ("MAIL FROM:<ä@b.example> SMTPUTF8", "250 2.1.0 "),
            ("MAIL FROM:<a@b.example>", "503 5.5.1 Nested"),
            ("STARTTLS", "503 5.5.1 "),
            ("DATA", "554 5.5.1 "),
            ("RCPT TO:<alice@example.org> NOTIFY=SOMETIMES", "501 5.5.4 "),
            ("RCPT TO:<alice@example.org> SIZE=1", "555 5.5.4 "),
            ("RCPT TO:<>", "501 5.1.3 "),
            ("RCPT TO:<nobody@example.org>", "550 5.1.1 "),
            ("RCPT TO:<a@elsewhere.example>", "550 5.7.1 "),
            ("RSET", "250 2.0.0 "),
            ("RCPT TO:<alice@example.org>", "503 5.5.1 "),
            ("NOOP a\rb", "500 5.5.2 "),
        ])
        .await;
    client.send("NOOP\n").await;
    client.expect("500 5.5.2 ").await;
    client.send(vec![b'x'; 1 << 20]).await;
    client.send("\r\nNOOP\r\n").await;
    client.expect("500 5.5.2 Line too long").await;
    client.expect("250 2.0.0 ").await;
    client.send(format!("NOOP {}\r\n", "x".repeat(3000))).await;
    client.expect("500 5.5.2 Line too long").await;
    assert_eq!(client.vanish().await, Closed::Quit);
}

#[tokio::test]
async fn the_number_of_recipients_and_of_errors_is_limited() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "smtp", "max_recipients = 100\nmax_errors = 5").await;
    client.dialog(ENVELOPE).await;
    for at in 1..100 {
        let line = format!("RCPT TO:<alice+{at}@example.org>");
        client.dialog(&[(&line, "250 2.1.5 ")]).await;
    }
    client.dialog(&[("RCPT TO:<bob@example.org>", "452 4.5.3 ")]).await;
    client.dialog(&[("A", "500 "), ("B", "500 "), ("C", "500 "), ("D", "500 "), ("E", "500 ")]).await;
    client.expect("421 4.7.0 ").await;
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn who_is_asked_to_come_back_too_often_is_sent_away() {
    let world = World::new().await;
    let config = "max_recipients = 1000\n[trust]\ntrusted = []\n[greylist]\nenabled = true";
    let mut client = Client::connect_with(&world, "smtp", config).await;
    client.dialog(ENVELOPE.get(..2).unwrap()).await;
    for at in 0..200 {
        let line = format!("RCPT TO:<alice+{at}@example.org>");
        client.dialog(&[(&line, "451 4.7.1 Greylisted: ")]).await;
    }
    client.dialog(&[("RCPT TO:<bob@example.org>", "421 4.7.1 Greylisted too often")]).await;
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn a_group_is_not_multiplied_by_its_addresses() {
    let world = World::new().await;
    let members = (0..500).map(|number| format!("user{number}@far.example")).collect();
    world.store.set_alias(&storage::Actor::command_line(), "all@example.org", members).await.unwrap();
    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(&ENVELOPE[..2]).await;
    for at in 0..4 {
        let line = format!("RCPT TO:<all+{at}@example.org>");
        client.dialog(&[(&line, "250 2.1.5 ")]).await;
    }
    client.dialog(&[("RCPT TO:<all+4@example.org>", "452 4.5.3 "), ("RSET", "250 ")]).await;
    // Who is named again and again counts each time.
    let mut client = Client::connect_with(&world, "smtp", "max_recipients = 100").await;
    client.dialog(&ENVELOPE[..2]).await;
    for _ in 0..100 {
        client.dialog(&ENVELOPE[2..]).await;
    }
    client.dialog(&[("RCPT TO:<alice@example.org>", "452 4.5.3 ")]).await;
}

#[tokio::test]
async fn smuggled_ends_end_nothing_and_nothing_behind_them_is_a_command() {
    let second = "MAIL FROM:<x@y.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nsmuggled\r\n.\r\n";
    for end in ["\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\r\n.\r\n"] {
        let world = World::new().await;
        let mut client = Client::connect(&world, "smtp").await;
        client.dialog(ENVELOPE).await;
        client.dialog(&[("DATA", "354 ")]).await;
        client.send(format!("Subject: x\r\n\r\nfirst{end}{second}")).await;
        client.expect("521 5.5.2 ").await;
        assert_eq!(client.ended().await, Closed::Abuse, "{end:?}");
        assert!(world.mail("alice").await.is_empty() && world.mail("bob").await.is_empty(), "{end:?}");
        assert_eq!(world.refusals("mail.deliver").await, 1, "{end:?}");
    }
}

#[tokio::test]
async fn a_client_that_ends_with_bare_line_feeds_and_waits_is_told_so() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(ENVELOPE).await;
    client.dialog(&[("DATA", "354 ")]).await;
    client.send("Subject: x\n\nfirst\n.\n").await;
    client.expect("521 5.5.2 ").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    assert!(world.mail("alice").await.is_empty());
}

#[tokio::test]
async fn a_message_above_the_limit_is_read_to_its_end_and_refused() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "smtp", "max_message = \"64K\"").await;
    client.dialog(ENVELOPE).await;
    client.dialog(&[("DATA", "354 ")]).await;
    let line = format!("{}\r\n", "x".repeat(98));
    client.send(line.repeat(1000)).await;
    client.send(".\r\n").await;
    client.expect("552 5.3.4 ").await;
    client.dialog(&ENVELOPE[1..]).await;
    client.send(format!("BDAT 100000 LAST\r\n{}", line.repeat(1000))).await;
    client.expect("552 5.3.4 ").await;
    client.dialog(&ENVELOPE[1..]).await;
    client.send("BDAT 10\r\nSubject: x").await;
    client.expect("250 2.0.0 10 octets").await;
    client.send(format!("BDAT 65530 LAST\r\n{}", "\r\n".repeat(65530 / 2))).await;
    client.expect("552 5.3.4 ").await;
    client.dialog(&[("NOOP", "250 ")]).await;
    client.dialog(&ENVELOPE[1..]).await;
    client.send("BDAT 99999999999 LAST\r\n").await;
    client.expect("552 5.3.4 ").await;
    assert_eq!(client.ended().await, Closed::Abuse);
    assert!(world.mail("alice").await.is_empty());
}

#[tokio::test]
async fn chunks_make_a_message_and_a_refused_one_is_swallowed() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(&ENVELOPE[..1]).await;
    client.send("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").await;
    client.expect("503 5.5.1 ").await;
    client.expect("250 2.0.0 ").await;
    client.dialog(&ENVELOPE[1..]).await;
    client.send("BDAT 12\r\nSubject: a\r\nBDAT 5\r\n\r\n.\r\nBDAT 0 LAST\r\n").await;
    for prefix in ["250 2.0.0 12 ", "250 2.0.0 5 ", "250 2.0.0 Ok: queued as "] {
        client.expect(prefix).await;
    }
    let [mail] = &world.mail("alice").await[..] else { panic!("one message") };
    assert!(mail.ends_with("\r\nSubject: a\r\n\r\n.\r\n"), "{mail}");
    // RSET in between drops what came.
    client.dialog(&ENVELOPE[1..]).await;
    client.send("BDAT 12\r\nSubject: b\r\nDATA\r\nMAIL FROM:<>\r\nRSET\r\nBDAT 3 LAST\r\nabc").await;
    for prefix in ["250 2.0.0 12 ", "503 5.5.1 ", "503 5.5.1 ", "250 2.0.0 Ok", "503 5.5.1 "] {
        client.expect(prefix).await;
    }
    client.dialog(&ENVELOPE[1..]).await;
    client.send("BDAT 12 LAST\r\nSubject:\nc\r\n").await;
    client.expect("550 5.5.2 ").await;
    assert_eq!(world.mail("alice").await.len(), 1);
    client.dialog(&[("BDAT x", "501 5.5.4 ")]).await;
    assert_eq!(client.ended().await, Closed::Abuse, "nobody can tell where its octets end");
}

#[tokio::test]
async fn octets_in_the_clear_behind_starttls_end_the_session() {
    for behind in ["MAIL FROM:<>\r\n", "x"] {
        let world = World::new().await;
        let mut client = Client::connect(&world, "smtp").await;
        client.dialog(&[("EHLO c", "250-")]).await;
        client.send(format!("STARTTLS\r\n{behind}")).await;
        client.expect("554 5.5.1 ").await;
        assert_eq!(client.ended().await, Closed::Abuse);
        assert_eq!(world.refusals("smtp.starttls").await, 1);
    }
}

#[tokio::test]
async fn tls_forgets_what_was_said_before_it_and_stands_in_the_header() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(&[("EHLO c", "250-")]).await;
    client.start_tls().await;
    client.dialog(&[("MAIL FROM:<>", "503 5.5.1 Send EHLO")]).await;
    client.dialog(ENVELOPE).await;
    client.dialog(&[("DATA", "354 "), ("\r\n.", "250 2.0.0 ")]).await;
    let mail = world.mail("alice").await.remove(0);
    assert!(mail.contains("\r\n\t(using TLSv1.3 with cipher ") && mail.contains(" with ESMTPS id "), "{mail}");
}

#[tokio::test]
async fn plain_and_login_log_in_and_their_faults_are_told_apart() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "submission", "max_errors = 100").await;
    client.start_tls().await;
    client
        .dialog(&[
            ("EHLO c", "250-"),
            ("AUTH CRAM-MD5", "504 5.5.4 "),
            ("AUTH PLAIN", "334 \r\n"),
            ("*", "501 5.7.0 "),
            ("AUTH PLAIN", "334 \r\n"),
            ("!!!", "501 5.5.2 "),
            ("AUTH PLAIN =", "501 5.5.2 "),
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            ("*", "501 5.7.0 "),
            ("AUTH PLAIN AGFsaWNlAHdyb25n", "535 5.7.8 "),
            ("AUTH PLAIN Ym9iAGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "535 5.7.8 "),
            ("AUTH LOGIN YWxpY2U=", "334 UGFzc3dvcmQ6"),
            ("c2VjcmV0LW9mLWFsaWNl", "235 2.7.0 "),
            ("AUTH PLAIN", "503 5.5.1 Already"),
        ])
        .await;
    let mut client = Client::connect(&world, "submission").await;
    client.start_tls().await;
    client.dialog(&[("EHLO c", "250-"), ("AUTH PLAIN", "334 "), ("AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "235 ")]).await;
    let mut client = Client::connect(&world, "submission").await;
    client.start_tls().await;
    client
        .dialog(&[("EHLO c", "250-"), ("AUTH LOGIN", "334 "), ("YWxpY2U=", "334 "), ("c2VjcmV0LW9mLWFsaWNl", "235 ")])
        .await;
    client.dialog(&[("EHLO again", "250-"), ("MAIL FROM:<alice@example.org>", "250 2.1.0 ")]).await;
}

#[tokio::test]
async fn who_must_wait_and_goes_on_is_sent_away() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "submission", "max_errors = 15").await;
    client.start_tls().await;
    client.dialog(&[("EHLO c", "250-")]).await;
    for _ in 0..10 {
        client.dialog(&[("AUTH PLAIN AGFsaWNlAHdyb25n", "535 5.7.8 ")]).await;
    }
    for _ in 0..5 {
        client.dialog(&[("AUTH PLAIN AGFsaWNlAHdyb25n", "454 4.7.0 Too many")]).await;
    }
    client.expect("421 4.7.0 Too many errors").await;
    assert_eq!(client.ended().await, Closed::Abuse);
}

#[tokio::test]
async fn scram_is_carried_line_by_line_and_its_faults_are_told_apart() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "submission", "max_errors = 100").await;
    client.start_tls().await;
    let encode = |text: &str| STANDARD.encode(text);
    let first = |name: &str| format!("AUTH SCRAM-SHA-256 {}", encode(&format!("n,,n={name},r=abc")));
    client
        .dialog(&[
            ("EHLO c", "250-"),
            ("AUTH SCRAM-SHA-256", "334 \r\n"),
            ("*", "501 5.7.0 "),
            ("AUTH SCRAM-SHA-256 =", "501 5.5.2 "),
            (&format!("AUTH SCRAM-SHA-256 {}", encode("y,,n=alice,r=abc")), "535 5.7.8 "),
            (&format!("AUTH SCRAM-SHA-256-PLUS {}", encode("n,,n=alice,r=abc")), "501 5.5.2 "),
            (&format!("AUTH SCRAM-SHA-256-PLUS {}", encode("p=tls-unique,,n=alice,r=abc")), "501 5.5.2 "),
            (&first("alice"), "334 "),
            ("", "501 5.5.2 "),
        ])
        .await;
    for name in ["alice", "nobody"] {
        for (mechanism, header) in [
            ("SCRAM-SHA-256", "n,,"),
            ("SCRAM-SHA-256-PLUS", "p=tls-exporter,,"),
            ("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"),
        ] {
            client.send(format!("AUTH {mechanism} {}\r\n", encode(&format!("{header}n={name},r=abc")))).await;
            let challenge = client.expect("334 ").await;
            let challenge = STANDARD.decode(challenge[4..].trim_end()).unwrap();
            let challenge = String::from_utf8(challenge).unwrap();
            let (nonce, rest) = challenge.split_once(",s=").unwrap();
            assert!(nonce.len() == 2 + 3 + 24 && rest.len() == 24 + 8 && rest.ends_with(",i=15000"), "{challenge}");
            // A proof of nothing: 32 octets of zeros. Without channel binding it is the proof that is wrong.
            let last = format!("c={},{nonce},p={}=", encode(header), "A".repeat(43));
            client.dialog(&[(&encode(&last), "535 5.7.8 Authentication credentials invalid\r\n")]).await;
        }
    }
    client.dialog(&[("AUTH PLAIN AGFsaWNlAHNlY3JldC1vZi1hbGljZQ==", "235 2.7.0 ")]).await;
    assert_eq!(world.refusals("auth.login").await, 5, "a downgrade, and four bindings that are not");
}

#[tokio::test]
async fn an_app_password_that_may_only_read_sends_nothing() {
    let world = World::new().await;
    world.read_only("alice", "abcd-efgh-jkmn").await;
    let mut client = Client::connect(&world, "submission").await;
    client.start_tls().await;
    let response = STANDARD.encode("\0alice\0abcdefghjkmn");
    client
        .dialog(&[
            ("EHLO c", "250-"),
            (&format!("AUTH PLAIN {response}"), "235 2.7.0 "),
            ("MAIL FROM:<alice@example.org>", "550 5.7.1 This app password may only read"),
            ("MAIL FROM:<>", "550 5.7.1 This app password may only read"),
            ("RCPT TO:<bob@example.org>", "503 5.5.1 "),
        ])
        .await;
    assert_eq!(world.refusals("mail.sender").await, 2);
}

#[tokio::test]
async fn a_user_submits_to_local_mailboxes_and_in_no_name_but_its_own() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client
        .dialog(&[
            ("MAIL FROM:<nobody@example.org>", "553 5.7.1 "),
            ("MAIL FROM:<bob@example.org>", "553 5.7.1 "),
            ("MAIL FROM:<alice@elsewhere.example>", "553 5.7.1 "),
            ("MAIL FROM:<alice@example.org> AUTH=<>", "250 2.1.0 "),
            ("RCPT TO:<x@elsewhere.example>", "250 2.1.5 "),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 "),
            ("DATA", "354 "),
            ("Subject: hi\r\n\r\nhello\r\n.", "250 2.0.0 "),
        ])
        .await;
    let mail = world.mail("bob").await.remove(0);
    assert!(mail.contains(" with ESMTPSA id "), "{mail}");
}

#[tokio::test]
async fn a_message_that_goes_round_in_circles_is_refused() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "smtp", "max_hops = 3").await;
    for (hops, prefix) in [(3, "250 2.0.0 "), (4, "554 5.4.6 ")] {
        client.dialog(if hops == 3 { ENVELOPE } else { &ENVELOPE[1..] }).await;
        client.dialog(&[("DATA", "354 ")]).await;
        client.send(format!("{}\r\nbody\r\n.\r\n", "Received: from somewhere\r\n".repeat(hops))).await;
        client.expect(prefix).await;
    }
}

#[tokio::test]
async fn a_full_mailbox_is_a_refusal_for_now() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client
        .dialog(&[
            ("EHLO c", "250-"),
            ("MAIL FROM:<>", "250 "),
            ("RCPT TO:<full@example.org>", "250 "),
            ("DATA", "354 "),
        ])
        .await;
    client.send(format!("Subject: x\r\n\r\n{}.\r\n", "long enough\r\n".repeat(500))).await;
    client.expect("452 4.2.2 ").await;
    client.dialog(&ENVELOPE[1..]).await;
    assert!(world.mail("full").await.is_empty());
    for (protocol, hello) in [("smtp", "EHLO c"), ("lmtp", "LHLO c")] {
        let mut client = Client::connect(&world, protocol).await;
        client
            .dialog(&[
                (hello, "250-"),
                ("MAIL FROM:<a@b.example> SIZE=2001", "250 "),
                ("RCPT TO:<full@example.org>", "452 4.2.2 The mailbox is full"),
                ("RCPT TO:<bob@example.org>", "250 "),
                ("RSET", "250 "),
                ("MAIL FROM:<a@b.example> SIZE=2000", "250 "),
                ("RCPT TO:<full@example.org>", "250 "),
            ])
            .await;
    }
    assert_eq!(world.refusals("mail.recipient").await, 2);
}

#[tokio::test]
async fn a_full_mailbox_keeps_a_message_from_nobody_else() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    let message = format!("Subject: x\r\n\r\n{}.\r\n", "long enough\r\n".repeat(500));
    let both = [("RCPT TO:<full@example.org>", "250 "), ("RCPT TO:<bob@example.org>", "250 "), ("DATA", "354 ")];
    client.dialog(&[("EHLO c", "250-"), ("MAIL FROM:<alice@example.org>", "250 ")]).await;
    client.dialog(&both).await;
    client.send(&message).await;
    client.expect("250 2.0.0 Ok: queued as ").await;
    assert!(world.mail("bob").await.remove(0).contains("long enough"));
    let told = world.mail("alice").await.remove(0);
    for line in ["Final-Recipient: rfc822; full@example.org\r\n", "Action: failed\r\n", "Status: 5.2.2\r\n"] {
        assert!(told.contains(line), "{told}");
    }
    assert!(told.contains("\r\nlong enough\r\n") && !told.contains("bob@example.org"), "{told}");
    // Who does not want to hear of it, or cannot, is not told; the audit log is.
    for from in ["MAIL FROM:<>", "MAIL FROM:<alice@example.org>"] {
        let to = ("RCPT TO:<full@example.org> NOTIFY=NEVER", "250 ");
        client.dialog(&[(from, "250 "), to, both[1], both[2]]).await;
        client.send(&message).await;
        client.expect("250 2.0.0 Ok: queued as ").await;
    }
    assert_eq!((world.mail("bob").await.len(), world.mail("alice").await.len()), (3, 1));
    assert_eq!(world.refusals("mail.deliver").await, 3);
    // A notification that has no room: nobody is told, so nobody has it.
    client.dialog(&[("MAIL FROM:<full@example.org>", "250 ")]).await;
    client.dialog(&both).await;
    client.send(&message).await;
    client.expect("452 4.2.2 ").await;
    assert!(world.mail("full").await.is_empty() && world.mail("bob").await.len() == 3);
}

#[tokio::test]
async fn silence_a_drain_and_a_lost_connection_end_the_session_and_deliver_nothing() {
    let world = World::new().await;
    let mut client = Client::connect_with(&world, "smtp", "idle_timeout = 1").await;
    client.expect("421 4.4.2 ").await;
    assert_eq!(client.ended().await, Closed::Idle);

    let mut client = Client::connect(&world, "smtp").await;
    client.stop.trigger();
    client.expect("421 4.3.2 ").await;
    assert_eq!(client.ended().await, Closed::Shutdown);

    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(ENVELOPE).await;
    client.dialog(&[("DATA", "354 ")]).await;
    client.send("Subject: cut\r\n\r\nshort\r\n").await;
    assert_eq!(client.vanish().await, Closed::Lost);
    assert!(world.mail("alice").await.is_empty());
}
