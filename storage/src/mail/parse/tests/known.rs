//! What Dovecot 2.3 answers to `FETCH BODY[n]`, for messages of which programs disagree most. Left out is where it
//! keeps a line break that RFC 2046 §5.1.1 gives to the boundary.

/// Messages, and the bodies of their sections; a bare line feed there is shown as CRLF.
pub(super) const BODIES: &[(&str, &[(&str, &str)])] = &[
    ("Subject: x\r\n\r\nhello\r\nworld\r\n", &[("1", "hello\r\nworld\r\n")]),
    ("\r\nbody only\r\n", &[("1", "body only\r\n")]),
    (
        "Content-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n--a\r\n\r\none\r\n--a\r\n\
         Content-Type: multipart/alternative; boundary=\"ab\"\r\n\r\n--ab\r\n\r\ntwo\r\n\r\n--ab--\r\nepilogue\r\n\
         --a\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nthree\r\n--a--\r\nend\r\n",
        &[
            ("1", "one"),
            ("2.1", "two\r\n"),
            ("2", "--ab\r\n\r\ntwo\r\n\r\n--ab--\r\nepilogue"),
            ("3", "Subject: in\r\n\r\nthree"),
            ("3.1", "three"),
        ],
    ),
    (
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntwo\r\n--a\r\n\r\nthree\r\n",
        &[("1", "one"), ("2.1", "two"), ("2", "--b\r\n\r\ntwo"), ("3", "three\r\n")],
    ),
    (
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n--a\r\n\r\n--a\r\nContent-Type: text/html\r\n\
         --a\r\nContent-Type: text/html\r\n\r\n--a--\r\n",
        &[("1", ""), ("2", ""), ("3", ""), ("4", "")],
    ),
    ("Content-Type: multipart/mixed; boundary=a\r\n\r\nnothing\r\n", &[]),
    (
        "Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: one\r\n\r\nfirst\r\n--d\r\n\
         Content-Type: text/plain\r\n\r\nplain\r\n--d\r\n\r\nSubject: two\r\n\
         Content-Type: multipart/mixed; boundary=e\r\n\r\n--e\r\n\r\nin two\r\n--e--\r\n--d--\r\n",
        &[("1", "Subject: one\r\n\r\nfirst"), ("1.1", "first"), ("2", "plain"), ("3.1", "in two")],
    ),
    (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n\n--a\nContent-Type: text/html\n\ntwo\n--a--\n",
        &[("1", "one\r\n"), ("2", "two")],
    ),
    (
        "Content-Type: multipart/mixed; boundary=a\r\n\n--a\r\n\r\none\n\r\n--a\n\r\ntwo\r\n\n--a--\r\n",
        &[("1", "one\r\n"), ("2", "two\r\n")],
    ),
    (
        "Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abcdef\r\n\r\none\r\n--abcd\r\n\
         Content-Type: multipart/mixed; boundary=abcd\r\n\r\n--abcd\r\n\r\ntwo\r\n--abcd--\r\n--abc  \r\n\r\n\
         three\r\n --abc\r\n--ab\r\n--abc--x\r\n",
        &[("1", "one"), ("2.1", "two"), ("3", "three\r\n --abc\r\n--ab")],
    ),
    (
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n\
         --a\r\n\r\none\r\n--a--\r\n--a\r\n\r\ntwo\r\n--a--\r\n",
        &[("1.1", "one"), ("2", "two")],
    ),
    (
        "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nSubject: deep\r\n\r\nbody\r\n",
        &[
            ("1", "Content-Type: message/rfc822\r\n\r\nSubject: deep\r\n\r\nbody\r\n"),
            ("1.1", "Subject: deep\r\n\r\nbody\r\n"),
            ("1.1.1", "body\r\n"),
        ],
    ),
    (
        "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a--\r\n--a\r\n\r\ntwo\r\n--a--\r\n",
        &[("1", "one")],
    ),
    (
        "Content-Type: multipart/mixed;\r\n\tboundary=\"a\"\r\n\r\n--a\r\nContent-Type:\r\n text/html;\r\n\
         \x20charset=\r\n utf-8\r\n\r\nx\r\n\r\n--a--",
        &[("1", "x\r\n")],
    ),
    ("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx", &[("1", "x")]),
    ("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a", &[("1", "")]),
];
