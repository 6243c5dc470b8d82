//! What mail clients are told before anybody logs in.

use crate::server::{Reply, Server};

const OUTLOOK: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

async fn get(server: &Server, path: &str) -> Reply {
    server.ask(&format!("GET {path} HTTP/1.1\r\n"), b"").await
}

async fn outlook(server: &Server, body: &str) -> Reply {
    let head = format!("POST /Autodiscover/Autodiscover.xml HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    server.ask(&head, body.as_bytes()).await
}

fn request(address: &str) -> String {
    let address = format!("<EMailAddress>{address}</EMailAddress>");
    let schema = format!("<AcceptableResponseSchema>{OUTLOOK}</AcceptableResponseSchema>");
    format!("<?xml version=\"1.0\"?><Autodiscover><Request>{address}{schema}</Request></Autodiscover>")
}

/// The body of an answer that is what it should be.
fn good(reply: &Reply, kind: &str) -> String {
    assert_eq!((reply.status, reply.field("content-type")), (200, kind), "{}", reply.text);
    assert_eq!((reply.field("cache-control"), reply.field("x-content-type-options")), ("no-store", "nosniff"));
    String::from_utf8(reply.body.clone()).unwrap()
}

#[tokio::test]
async fn thunderbird_asks_with_tls_and_without() {
    let server = Server::start().await;
    let (path, xml) = ("/mail/config-v1.1.xml", "text/xml; charset=utf-8");
    let bare = good(&get(&server, path).await, xml);
    assert!(
        bare.contains("<domain>localhost</domain>") && bare.contains("<hostname>mail.example</hostname>"),
        "{bare}"
    );
    assert!(!bare.contains(">110<"), "a listener without TLS is not told: {bare}");
    let well_known = "/.well-known/autoconfig/mail/config-v1.1.xml";
    for asked in ["?emailaddress=alice%40localhost", "?emailaddress=nobody@LOCALHOST", "?emailaddress="] {
        assert_eq!(good(&get(&server, &format!("{path}{asked}")).await, xml), bare, "{asked}");
        assert_eq!(good(&get(&server, &format!("{well_known}{asked}")).await, xml), bare, "{asked}");
        let plain = format!("GET {path}{asked} HTTP/1.1\r\nHost: autoconfig.localhost:2080\r\n");
        assert_eq!(good(&server.plain(&plain).await, xml), bare, "{asked}");
    }
    assert_eq!(get(&server, &format!("{path}?emailaddress=alice@elsewhere.example")).await.status, 404);
    for address in ["alice", "a%0ab@localhost", "%3Ca%3E@localhost", "alice@", "%ff@localhost"] {
        assert_eq!(get(&server, &format!("{path}?emailaddress={address}")).await.status, 400, "{address}");
    }
    let post = server.ask(&format!("POST {path} HTTP/1.1\r\nContent-Length: 0\r\n"), b"").await;
    assert_eq!((post.status, post.field("allow")), (405, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn outlook_posts_xml() {
    let server = Server::start().await;
    let xml = "text/xml; charset=utf-8";
    let alice = good(&outlook(&server, &request("alice@localhost")).await, xml);
    assert!(alice.contains(OUTLOOK) && alice.contains("<Type>IMAP</Type>") && alice.contains("<Port>465</Port>"));
    assert!(!alice.contains("<Port>143</Port>") && !alice.contains("POP3"), "the best of each type: {alice}");
    let nobody = good(&outlook(&server, &request("nobody@localhost")).await, xml);
    assert_eq!(alice.replace("alice@", "nobody@"), nobody);
    let odd = good(&outlook(&server, &request("a&amp;b@localhost")).await, xml);
    assert!(odd.contains("<LoginName>a&#38;b@localhost</LoginName>"), "{odd}");

    let bomb = format!("<!DOCTYPE x [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;'>]>{}", request("&b;"));
    for (body, code) in [
        (bomb, 600),
        ("<x".to_owned(), 600),
        (String::new(), 600),
        (request("&lt;b&gt;@localhost"), 600),
        (request("alice&#10;@localhost"), 600),
        (request("alice@elsewhere.example"), 500),
        (request("alice@localhost").replace("/outlook/", "/mobilesync/"), 601),
    ] {
        let text = good(&outlook(&server, &body).await, xml);
        assert!(text.contains(&format!("<ErrorCode>{code}</ErrorCode>")) && !text.contains("Protocol"), "{text}");
    }
    assert_eq!(outlook(&server, &request(&"a".repeat(70_000))).await.status, 413);
    assert!(good(&get(&server, "/autodiscover/autodiscover.xml").await, xml).contains("<ErrorCode>600</ErrorCode>"));
}

#[tokio::test]
async fn outlook_is_led_to_the_xml() {
    let server = Server::start().await;
    let json = "/autodiscover/autodiscover.json";
    let found = "{\"Protocol\":\"AutodiscoverV1\",\"Url\":\"https://localhost/autodiscover/autodiscover.xml\"}";
    for path in [
        format!("{json}?Email=alice@localhost&Protocol=AutodiscoverV1&RedirectCount=1"),
        format!("{json}?protocol=autodiscoverv1&email=nobody%40localhost"),
        format!("{json}/v1.0/nobody%40localhost?Protocol=AutodiscoverV1"),
    ] {
        assert_eq!(good(&get(&server, &path).await, "application/json; charset=utf-8"), found, "{path}");
    }
    for (query, status) in
        [("?Email=a@localhost&Protocol=ActiveSync", 400), ("", 400), ("?Email=a@b&Protocol=AutodiscoverV1", 404)]
    {
        assert_eq!(get(&server, &format!("{json}{query}")).await.status, status, "{query}");
    }
    let plain = "GET /autodiscover/autodiscover.xml HTTP/1.1\r\nHost: autodiscover.localhost\r\n";
    let led = server.plain(plain).await;
    let https = "https://autodiscover.localhost:8443/autodiscover/autodiscover.xml";
    assert_eq!((led.status, led.field("location")), (302, https));
}

#[tokio::test]
async fn apple_gets_a_profile() {
    let server = Server::start().await;
    let kind = "application/x-apple-aspen-config";
    let alice = good(&get(&server, "/email.mobileconfig?email=alice@localhost").await, kind);
    assert!(alice.contains("<integer>993</integer>") && alice.contains("<string>mail.example</string>"), "{alice}");
    assert_eq!(alice, good(&get(&server, "/profile.mobileconfig?email=alice%40localhost").await, kind));
    let odd = good(&get(&server, "/email.mobileconfig?email=a%26b%27@localhost").await, kind);
    assert!(odd.contains("<string>a&#38;b&#39;@localhost</string>") && !odd.contains("a&b"), "{odd}");
    for (query, status) in [
        ("", 400),
        ("?email=alice", 400),
        ("?email=%3C/string%3E@localhost", 400),
        ("?email=a@localhost%0a", 400),
        ("?email=a@elsewhere.example", 404),
    ] {
        assert_eq!(get(&server, &format!("/email.mobileconfig{query}")).await.status, status, "{query}");
    }
    let plain = server.plain("GET /email.mobileconfig?email=a@localhost HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!(plain.status, 308, "a profile that sets up an account comes over TLS alone");
}
