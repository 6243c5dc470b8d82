//! The protocol as a client meets it: a server on a loopback socket, over one store in a temporary folder.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod server;
mod setup;

use server::{Reply, Server, basic, field};

#[tokio::test]
async fn a_file_comes_back_as_it_was_put() {
    let server = Server::start().await;
    let big = vec![b'x'; 300_000];
    for (name, bytes) in [("small", &b"0123456789"[..]), ("big", &big), ("empty", b"")] {
        let put = server.put(name, bytes, "").await;
        assert_eq!(put.status, 201, "{name}");
        assert!(!put.field("trace-id").is_empty() && put.field("etag").starts_with('"'));
        let got = server.get(name, "").await;
        assert_eq!((got.status, &got.body[..]), (200, bytes), "{name}");
        assert_eq!(got.field("etag"), put.field("etag"));
        assert_eq!(server.put(name, bytes, "").await.status, 204, "{name} again");
    }
    assert_eq!(&server.get("big", "Range: bytes=299998-\r\n").await.body[..], b"xx");
    let head = server.ask(&format!("HEAD /dav/big HTTP/1.1\r\n{}", basic("alice", "the password")), b"").await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "300000", 0));
}

#[tokio::test]
async fn conditions_hold_for_changes() {
    let server = Server::start().await;
    let tag = server.put("a", b"one", "If-None-Match: *\r\n").await.field("etag").to_owned();
    assert_eq!(server.put("a", b"two", "If-None-Match: *\r\n").await.status, 412);
    assert_eq!(server.put("a", b"two", "If-Match: \"x\"\r\n").await.status, 412);
    assert_eq!(server.put("b", b"two", "If-Match: *\r\n").await.status, 412);
    assert_eq!(server.get("a", &format!("If-None-Match: {tag}\r\n")).await.status, 304);
    assert_eq!(server.put("a", b"two", &format!("If-Match: {tag}\r\n")).await.status, 204);
    assert_eq!(server.dav("DELETE", "a", &format!("If-Match: {tag}\r\n")).await.status, 412);
    assert_eq!(server.dav("DELETE", "a", "").await.status, 204);
    assert_eq!(server.get("a", "").await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_put_is_refused_before_the_body() {
    let server = Server::start().await;
    let refused = |path: &str, more: &str, length: u64| {
        let log_in = basic("alice", "the password");
        format!("PUT /dav/{path} HTTP/1.1\r\n{log_in}{more}Expect: 100-continue\r\nContent-Length: {length}\r\n")
    };
    for (head, status) in [
        (refused("a", "If-Match: \"x\"\r\n", 9), 412),
        (refused("none/a", "", 9), 409),
        (refused("a", "Content-Range: bytes 0-8/20\r\n", 9), 400),
        (refused("a", "", 2 << 20), 413),
        (refused("a", "", 900_000), 507),
        (refused("a%2fb", "", 9), 400),
        ("PUT /dav/a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n".to_owned(), 401),
    ] {
        let reply = server.ask(&head, b"").await;
        assert_eq!(reply.status, status, "{head}: the first answer is the refusal, not 100");
    }
    assert_eq!(server.get("a", "").await.status, 404);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let server = Server::start().await;
    let head = format!("PUT /dav/a HTTP/1.1\r\n{}Content-Length: 200000\r\n", basic("alice", "the password"));
    server.send_and_leave(&head, &[b'x'; 150_000]).await;
    assert_eq!(server.get("a", "").await.status, 404);
    assert_eq!(server.usage().await, 0);
}

#[tokio::test]
async fn folders_are_made_and_removed() {
    let server = Server::start().await;
    let dav = |method, path| server.dav(method, path, "");
    assert_eq!(dav("MKCOL", "d").await.status, 201);
    assert_eq!(dav("MKCOL", "d").await.status, 405);
    assert_eq!(dav("MKCOL", "x/d").await.status, 409);
    assert_eq!(server.dav("MKCOL", "e", "Content-Length: 1\r\n").await.status, 415);
    server.put("d/a%20%3Cb%3E", b"1", "").await;
    let list = String::from_utf8(dav("GET", "d/").await.body).unwrap();
    assert!(list.contains("/dav/d/a%20%3Cb%3E") && !list.contains("<b>"), "{list}");
    assert_eq!(dav("PROPFIND", "d").await.status, 405);
    assert_eq!(dav("DELETE", "d").await.status, 204);
    assert_eq!(dav("DELETE", "").await.status, 403);
}

#[tokio::test]
async fn a_site_is_for_everyone_and_only_what_is_public() {
    let server = Server::start().await;
    let get = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\n");
        let server = &server;
        async move { server.ask(&head, b"").await }
    };
    server.put("secret", b"s", "").await;
    assert_eq!(get("/~alice/").await.status, 404, "no folder public yet");
    server.dav("MKCOL", "public", "").await;
    server.dav("MKCOL", "public/sub", "").await;
    server.put("public/index.html", b"<h1>hello</h1>", "").await;
    let index = get("/~alice/").await;
    assert_eq!((index.status, &index.body[..]), (200, &b"<h1>hello</h1>"[..]));
    assert_eq!(index.field("content-type"), "text/html; charset=utf-8");
    assert_eq!(index.field("x-content-type-options"), "nosniff");
    assert!(!index.field("content-security-policy").contains("allow-same-origin"));
    for (path, target) in [("/~alice", "/~alice/"), ("/~alice/sub?a=b", "/~alice/sub/?a=b")] {
        let reply = get(path).await;
        assert_eq!((reply.status, reply.field("location")), (301, target));
    }
    for path in ["/~alice/sub/", "/~alice/secret", "/~bob/", "/~/", "/~alice/index.html/x"] {
        assert_eq!(get(path).await.status, 404, "{path}");
    }
    server.put("public/index.html", b"changed", "").await;
    assert_eq!(&get("/~alice/").await.body[..], b"changed", "what is remembered is never old");
    for path in ["/~alice/../secret", "/~alice/%2e%2e/secret", "/~alice/..%2fsecret", "/~alice/%00"] {
        assert_eq!(get(path).await.status, 400, "{path}");
    }
    server.disable().await;
    assert_eq!(get("/~alice/").await.status, 404, "the site of a disabled account");
}

#[tokio::test]
async fn plain_http_only_redirects() {
    let server = Server::start().await;
    let redirect = server.plain("GET /dav/a?b HTTP/1.1\r\nHost: files.example:2080\r\n").await;
    assert_eq!((redirect.status, redirect.field("location")), (308, "https://files.example:8443/dav/a?b"));
    for host in ["evil.example/x", "a@b", ""] {
        assert_eq!(server.plain(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n")).await.status, 400, "{host}");
    }
    let health = server.plain("GET /healthz HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!((health.status, &health.body[..]), (200, &b"ok\n"[..]));
}

#[tokio::test]
async fn the_portal_takes_changes_from_its_own_pages_alone() {
    let server = Server::start().await;
    let page = server.ask("GET / HTTP/1.1\r\n", b"").await;
    let form = page.cookie("__Host-wharfinger-form");
    let post = |path: &str, more: &str, body: String| {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        let head = format!("POST {path} HTTP/1.1\r\n{kind}{more}Content-Length: {}\r\n", body.len());
        let server = &server;
        async move { server.ask(&head, body.as_bytes()).await }
    };
    let with_form = format!("Cookie: __Host-wharfinger-form={form}\r\n");
    let right = format!("csrf={form}&name=alice&password=the+password&next=//evil.example");
    assert_eq!(post("/login", "", right.clone()).await.status, 403, "the form's cookie is missing");
    let foreign = format!("{with_form}Origin: https://evil.example\r\n");
    assert_eq!(post("/login", &foreign, right.clone()).await.status, 403);
    assert_eq!(post("/login", &with_form, right.replace("the+", "a+")).await.status, 403);
    let login = post("/login", &with_form, right).await;
    assert_eq!((login.status, login.field("location")), (303, "/files/"));
    let session = login.cookie("__Host-wharfinger");
    assert!(login.text.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"));

    let cookie = format!("Cookie: __Host-wharfinger={session}\r\n");
    let files = server.ask(&format!("GET /files/ HTTP/1.1\r\n{cookie}"), b"").await;
    assert_eq!(files.status, 200);
    assert!(files.field("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
    let files = String::from_utf8(files.body).unwrap();
    assert!(files.contains("<code>alice@localhost</code>") && files.contains("port 993, SSL/TLS"), "{files}");
    assert!(files.contains("href=\"/email.mobileconfig?email=alice%40localhost\""), "{files}");
    let csrf = field(&files, "data-csrf=\"");
    let upload = |more: &str| {
        let head = format!("PUT /files/a HTTP/1.1\r\n{cookie}{more}Content-Length: 1\r\n");
        let server = &server;
        async move { server.ask(&head, b"x").await }
    };
    assert_eq!(upload("").await.status, 403);
    assert_eq!(upload("X-CSRF-Token: x\r\n").await.status, 403);
    assert_eq!(upload(&format!("X-CSRF-Token: {csrf}\r\nSec-Fetch-Site: cross-site\r\n")).await.status, 403);
    assert_eq!(upload(&format!("X-CSRF-Token: {csrf}\r\nSec-Fetch-Site: same-origin\r\n")).await.status, 201);
    assert_eq!(post("/delete/a", &cookie, "csrf=x".into()).await.status, 403);
    assert_eq!(post("/rename/a", &cookie, format!("csrf={csrf}&name=b")).await.status, 303);
    assert_eq!(post("/delete/b", &cookie, format!("csrf={csrf}")).await.status, 303);
    assert_eq!(server.get("b", "").await.status, 404);
    assert_eq!(post("/logout", &cookie, format!("csrf={csrf}")).await.status, 303);
    assert_eq!(server.ask(&format!("GET /files/ HTTP/1.1\r\n{cookie}"), b"").await.status, 303);
}

#[tokio::test]
async fn requests_with_two_meanings_are_refused() {
    let server = Server::start().await;
    let status = |reply: Reply| reply.status;
    let host = "Host: localhost\r\n";
    assert_eq!(status(server.raw(&format!("GET /healthz HTTP/1.1\r\n{host}{host}\r\n")).await), 400);
    assert_eq!(status(server.raw("GET /healthz HTTP/1.1\r\n\r\n").await), 400);
    let lengths = "Content-Length: 1\r\nContent-Length: 2\r\n";
    assert_eq!(status(server.raw(&format!("POST /login HTTP/1.1\r\n{host}{lengths}\r\nab")).await), 400);
    let hidden = format!("GET /healthz HTTP/1.1\r\n{host}\r\n");
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n";
    let reply = server.raw(&format!("POST /login HTTP/1.1\r\n{host}{both}\r\n0\r\n\r\n{hidden}")).await;
    assert_eq!(reply.text.matches("HTTP/1.1 ").count(), 1, "what follows is not taken for a request: {}", reply.text);
}

/// RFC 9112 §9.6: a connection that is closed while the client still speaks must not lose what was answered.
#[tokio::test]
async fn an_answer_arrives_though_the_client_speaks_on() {
    let server = Server::start().await;
    let content = vec![b'x'; 700_000];
    assert_eq!(server.put("large", &content, "").await.status, 201);
    let head = format!("GET /dav/large HTTP/1.1\r\n{}", basic("alice", "the password"));
    let answer = server.say_on(&head, &[b'y'; 10_000]).await.unwrap();
    assert!(answer.ends_with(&content), "{} octets came", answer.len());
}
