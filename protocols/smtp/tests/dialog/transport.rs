//! What a message asks for on its way, and what becomes of one that a user sends.

use dialog::Spoken;

use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn a_users_message_is_completed_and_hides_its_blind_copies() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client
        .dialog(&[
            ("MAIL FROM:<alice@example.org>", "250 2.1.0 "),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 "),
            ("DATA", "354 "),
            (
                "Subject: hi\r\nBcc: bob@example.org,\r\n a@else.example\r\nTo: x@y.example\r\n\r\nBcc: text\r\n.",
                "250 2",
            ),
        ])
        .await;
    let mail = world.mail("bob").await.remove(0);
    for field in ["\r\nDate: ", "\r\nMessage-ID: <", "\r\nFrom: <alice@example.org>\r\n", "\r\nSubject: hi\r\nTo: x@"] {
        assert!(mail.contains(field), "{field} in {mail}");
    }
    assert!(!mail.contains("a@else.example") && mail.contains("\r\n\r\nBcc: text\r\n"), "{mail}");
}

#[tokio::test]
async fn a_user_writes_in_no_name_but_its_own() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    for (from, prefix) in [
        ("From: Bob <bob@example.org>", "550 5.7.1 bob@example.org in From"),
        ("From: alice@example.org, boss@bank.example", "550 5.7.1 boss@bank.example in From"),
        ("From: alice@example.org\r\nFrom: boss@bank.example", "550 5.6.0 "),
        ("From: Alice <alice+work@example.org>", "250 2.0.0 "),
    ] {
        client
            .dialog(&[
                ("MAIL FROM:<alice@example.org>", "250 2.1.0 "),
                ("RCPT TO:<bob@example.org>", "250 2.1.5 "),
                ("DATA", "354 "),
                (&format!("{from}\r\nSubject: hi\r\n\r\nhello\r\n."), prefix),
            ])
            .await;
    }
    assert_eq!(world.mail("bob").await.len(), 1);
}

#[tokio::test]
async fn any_octets_come_by_bdat_when_they_were_announced() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    let envelope =
        [("MAIL FROM:<a@b.example> BODY=BINARYMIME", "250 2.1.0 "), ("RCPT TO:<alice@example.org>", "250 2.1.5 ")];
    client.dialog(&[("EHLO c", "250-")]).await;
    client.dialog(&envelope).await;
    client.dialog(&[("DATA", "503 5.5.1 ")]).await;
    client.send("BDAT 25 LAST\r\nSubject: x\r\n\r\n\na\rb\n.\r\n\0\rc").await;
    client.expect("250 2.0.0 Ok: queued").await;
    assert!(world.mail("alice").await.remove(0).ends_with("Subject: x\r\n\r\n\na\rb\n.\r\n\0\rc"));
    client.dialog(&envelope).await;
    client.send("BDAT 12 LAST\r\nSubject: x\n\n").await;
    client.expect("550 5.5.2 ").await;
}

#[tokio::test]
async fn who_asks_is_told_that_a_message_was_delivered() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    client
        .dialog(&[
            ("MAIL FROM:<alice@example.org> RET=HDRS ENVID=QQ+2B1", "250 2.1.0 "),
            ("RCPT TO:<bob@example.org> NOTIFY=SUCCESS ORCPT=rfc822;Bob+2B@example.org", "250 2.1.5 "),
            ("RCPT TO:<alice+x@example.org> NOTIFY=NEVER", "250 2.1.5 "),
            ("DATA", "354 "),
            ("Subject: hi\r\n\r\nhello\r\n.", "250 2.0.0 "),
        ])
        .await;
    let mails = world.mail("alice").await;
    let report = mails.iter().find(|mail| mail.contains("report-type=delivery-status")).unwrap();
    for line in [
        "Return-Path: <>\r\n",
        "\r\nOriginal-Envelope-Id: QQ+1\r\n",
        "\r\nOriginal-Recipient: rfc822; Bob+@example.org\r\n",
        "\r\nFinal-Recipient: rfc822; bob@example.org\r\nAction: delivered\r\nStatus: 2.0.0\r\n",
        "\r\nContent-Type: text/rfc822-headers\r\n",
        "\r\nSubject: hi\r\n",
    ] {
        assert!(report.contains(line), "{line} in {report}");
    }
    assert!(!report.contains("alice+x@") && mails.len() == 2, "{report}");
}

#[tokio::test]
async fn lmtp_answers_a_message_for_each_recipient_by_itself() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "lmtp").await;
    client
        .dialog(&[
            ("EHLO c", "500 5.5.1 This is LMTP"),
            ("MAIL FROM:<a@b.example>", "503 5.5.1 Send LHLO first"),
            ("LHLO c", "250-"),
            ("MAIL FROM:<a@b.example>", "250 2.1.0 "),
            ("RCPT TO:<alice@example.org>", "250 2.1.5 "),
            ("RCPT TO:<nobody@example.org>", "550 5.1.1 "),
            ("RCPT TO:<full@example.org>", "250 2.1.5 "),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 "),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 "),
            ("DATA", "354 "),
            (&format!("Subject: x\r\n\r\n{}.", "x\r\n".repeat(2000)), "250 2.0.0 Ok: queued as "),
        ])
        .await;
    client.expect("452 4.2.2 ").await;
    client.expect("250 2.0.0 Ok: queued as ").await;
    client.expect("250 2.0.0 Ok: queued as ").await;
    client.dialog(&[("NOOP", "250 2.0.0 Ok\r\n")]).await;
    assert!(world.mail("alice").await.remove(0).contains(" with LMTP id "));
    assert_eq!(world.mail("bob").await.len(), 1);
    let mut client = Client::connect(&world, "smtp").await;
    client.dialog(&[("LHLO c", "500 5.5.1 This is SMTP")]).await;
}

#[tokio::test]
async fn nothing_follows_data_before_it_is_asked_for() {
    let world = World::new().await;
    let mut client = Client::connect(&world, "smtp").await;
    client
        .dialog(&[
            ("EHLO c", "250-"),
            ("MAIL FROM:<a@b.example>", "250 2.1.0 "),
            ("RCPT TO:<alice@example.org>", "250 2.1.5 "),
        ])
        .await;
    client.send("DATA\r\nSubject: x\r\n\r\nx\r\n.\r\n").await;
    client.expect("554 5.5.0 ").await;
    assert_eq!(client.ended().await, protocol::Closed::Abuse);
    assert!(world.mail("alice").await.is_empty());
}

#[tokio::test]
async fn a_copy_of_what_is_sent_is_kept_for_who_keeps_none() {
    let world = World::new().await;
    let mut client = Client::logged_in_with(&world, "save_sent = [\"alice\"]").await;
    client
        .dialog(&[
            ("MAIL FROM:<alice@example.org>", "250 2.1.0 "),
            ("RCPT TO:<bob@example.org>", "250 2.1.5 "),
            ("RCPT TO:<x@elsewhere.example>", "250 2.1.5 "),
            ("DATA", "354 "),
            ("Subject: hi\r\n\r\nhello\r\n.", "250 2.0.0 "),
        ])
        .await;
    let sent = world.mail("alice").await;
    assert_eq!((sent.len(), &sent), (1, &world.mail("bob").await));
}

#[tokio::test]
async fn a_text_without_a_header_is_a_body() {
    let world = World::new().await;
    let mut client = Client::logged_in(&world).await;
    for text in ["just a text", "Subject: x\r\nno field\r\nTo: y\r\n\r\nrest"] {
        client
            .dialog(&[
                ("MAIL FROM:<alice@example.org>", "250 2.1.0 "),
                ("RCPT TO:<bob@example.org>", "250 2.1.5 "),
                ("DATA", "354 "),
                (&format!("{text}\r\n."), "250 2.0.0 "),
            ])
            .await;
    }
    let mails = world.mail("bob").await;
    assert!(mails[0].ends_with(">\r\n\r\njust a text\r\n"), "{}", mails[0]);
    assert!(mails[1].ends_with("\r\nSubject: x\r\n\r\nno field\r\nTo: y\r\n\r\nrest\r\n"), "{}", mails[1]);
}
