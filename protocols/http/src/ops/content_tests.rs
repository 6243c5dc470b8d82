use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;

use super::*;

const TEXT: &str = "0123456789";
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn ask(method: &str, fields: &[(&str, &str)], name: &str, to: Audience) -> Result<Response<Body>, Refusal> {
    let mut request = Request::builder().method(method).uri("/x");
    for (field, value) in fields {
        request = request.header(*field, *value);
    }
    let head = request.body(()).unwrap().into_parts().0;
    let content = Content::Small(Bytes::from_static(TEXT.as_bytes()));
    answer(&head, File { name, etag: "abc", modified: Timestamp(784_111_777_123), content }, to)
}

fn field(response: &Response<Body>, name: &str) -> String {
    response.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

fn text(response: Response<Body>) -> String {
    let length = response.body().len();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
    assert_eq!(bytes.len() as u64, length, "the length announced is the length sent");
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Status, `Content-Range` and body of a GET.
fn get(fields: &[(&str, &str)]) -> (u16, String, String) {
    match ask("GET", fields, "a.txt", Audience::Programs) {
        Ok(response) => (response.status().as_u16(), field(&response, "content-range"), text(response)),
        Err(refusal) => {
            let response = refusal.answer(false);
            (response.status().as_u16(), field(&response, "content-range"), String::new())
        }
    }
}

#[test]
fn ranges() {
    let answer = |status, range: &str, text: &str| (status, range.to_owned(), text.to_owned());
    for (range, expected) in [
        ("bytes=2-4", answer(206, "bytes 2-4/10", "234")),
        ("bytes=7-", answer(206, "bytes 7-9/10", "789")),
        ("bytes=-1", answer(206, "bytes 9-9/10", "9")),
        ("bytes=0-99", answer(206, "bytes 0-9/10", TEXT)),
        ("bytes=10-", answer(416, "bytes */10", "")),
        ("bytes=0-,0-", answer(200, "", TEXT)),
        ("nonsense", answer(200, "", TEXT)),
    ] {
        assert_eq!(get(&[("range", range)]), expected, "{range}");
    }
    let head = ask("HEAD", &[("range", "bytes=2-4")], "a.txt", Audience::Programs).unwrap();
    assert_eq!(head.status(), 200, "a range is for GET alone");
}

#[test]
fn several_ranges() {
    let response = ask("GET", &[("range", "bytes=0-1,-2")], "a.txt", Audience::Programs).unwrap();
    assert_eq!(response.status(), 206);
    let kind = field(&response, "content-type");
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap().to_owned();
    let part = |range: &str, bytes: &str| {
        let fields = format!("Content-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {range}/10");
        format!("\r\n--{boundary}\r\n{fields}\r\n\r\n{bytes}")
    };
    let expected = part("0-1", "01") + &part("8-9", "89") + &format!("\r\n--{boundary}--\r\n");
    assert_eq!(text(response), expected);
}

#[test]
fn conditions_decide_before_ranges() {
    let status = |fields: &[(&str, &str)]| get(fields).0;
    assert_eq!(status(&[("if-none-match", "\"abc\"")]), 304);
    assert_eq!(status(&[("if-none-match", "\"x\"")]), 200);
    assert_eq!(status(&[("if-match", "\"x\"")]), 412);
    assert_eq!(status(&[("if-modified-since", DATE)]), 304);
    assert_eq!(status(&[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT")]), 412);
    let range = ("range", "bytes=2-4");
    assert_eq!(status(&[range, ("if-none-match", "\"abc\"")]), 304);
    assert_eq!(status(&[range, ("if-range", "\"abc\"")]), 206);
    assert_eq!(status(&[range, ("if-range", DATE)]), 206);
    assert_eq!(status(&[range, ("if-range", "\"x\"")]), 200);
    assert_eq!(status(&[range, ("if-range", "W/\"abc\"")]), 200);
}

#[test]
fn files_of_users_come_with_safe_fields() {
    let ask = |name, to| ask("GET", &[], name, to).unwrap();
    for to in [Audience::Site, Audience::Programs, Audience::Browser, Audience::Download] {
        let response = ask("evil.html", to);
        assert_eq!(field(&response, "x-content-type-options"), "nosniff");
        let csp = field(&response, "content-security-policy");
        assert!(csp.starts_with("sandbox") && !csp.contains("allow-same-origin"), "{to:?}: {csp}");
        assert_eq!(field(&response, "etag"), "\"abc\"");
        assert_eq!(field(&response, "last-modified"), DATE);
        assert_eq!(field(&response, "accept-ranges"), "bytes");
    }
    let disposition = |name, to| field(&ask(name, to), "content-disposition");
    let expected = "attachment; filename=\"_ _.html\"; filename*=UTF-8''%C3%A4%20%22.html";
    assert_eq!(disposition("ä \".html", Audience::Browser), expected);
    assert!(disposition("a.svg", Audience::Browser).starts_with("attachment"));
    assert!(disposition("a.png", Audience::Download).starts_with("attachment"));
    assert_eq!(disposition("a.png", Audience::Browser), "");
    assert_eq!(disposition("a.html", Audience::Programs), "");
}

#[test]
fn media_types() {
    for (name, expected) in [
        ("a.html", "text/html; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.csv", "text/csv; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.pdf", "application/pdf"),
        ("a", "application/octet-stream"),
    ] {
        assert_eq!(media_type(name), expected, "{name}");
    }
}
