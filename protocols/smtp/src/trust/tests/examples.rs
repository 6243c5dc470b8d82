//! The examples of the RFCs.

use super::*;

const BODY: &str = "\r\nHi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n";

/// RFC 6376 §A.2, with the errata 3192 (one space in the body) and 4926 (the folding of the signature).
#[tokio::test]
async fn the_example_of_rfc_6376_verifies() {
    let key = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
        IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
        tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
    let dns = dns([("brisbane._domainkey.example.com", Entry::Txt(key.into()))]).await;
    let header = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n\
        \x20     c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n\
        \x20     h=Received : From : To : Subject : Date : Message-ID;\r\n\
        \x20     bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
        \x20     b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n\
        \x20     4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n\
        \x20     KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n\
        \x20     4bmp/YzhwvcubU4=;\r\n\
        Received: from client1.football.example.com  [192.0.2.1]\r\n\
        \x20     by submitserver.example.com with SUBMISSION;\r\n\
        \x20     Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n\
        From: Joe SixPack <joe@football.example.com>\r\n\
        To: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
    let message = format!("{header}{BODY}");
    assert_eq!(dkim(&dns, &message).await, [(Verdict::Pass, None)]);
    let changed = message.replace("Is dinner", "Is  dinner");
    assert_eq!(dkim(&dns, &changed).await, [(Verdict::Fail, Some("the signature does not match"))]);
}

/// RFC 8463 §A.
#[tokio::test]
async fn the_example_of_rfc_8463_verifies() {
    let ed25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let rsa = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bd\
        OKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3\
        Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
    let dns = dns([
        ("brisbane._domainkey.football.example.com", Entry::Txt(ed25519.into())),
        ("test._domainkey.football.example.com", Entry::Txt(rsa.into())),
    ])
    .await;
    let header = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n\
        \x20d=football.example.com; i=@football.example.com;\r\n\
        \x20q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n\
        \x20subject : date : message-id : from : subject : date;\r\n\
        \x20bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
        \x20b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n\
        \x20Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n\
        \x20d=football.example.com; i=@football.example.com;\r\n\
        \x20q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n\
        \x20date : message-id : from : subject : date;\r\n\
        \x20bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n\
        \x20b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n\
        \x20DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n\
        \x20dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n\
        From: Joe SixPack <joe@football.example.com>\r\n\
        To: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n";
    let message = format!("{header}{BODY}");
    assert_eq!(dkim(&dns, &message).await, [(Verdict::Pass, None), (Verdict::Pass, None)]);
    let failed = (Verdict::Fail, Some("the signature does not match"));
    let second = message.replace("From: Joe", "From: a@football.example.com\r\nFrom: Joe");
    assert_eq!(dkim(&dns, &second).await, [failed, failed]);
}
