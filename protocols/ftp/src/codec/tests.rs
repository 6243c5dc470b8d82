//! Known answers of the codec, and their inverse.

use super::*;

#[test]
fn commands_are_read() {
    for (line, verb, argument) in [
        (&b"NOOP"[..], "NOOP", ""),
        (b"user alice", "USER", "alice"),
        (b"STOR  two spaces ", "STOR", " two spaces "),
        (b"XPWD", "PWD", ""),
        (b"\xff\xf4\xff\xf2ABOR", "ABOR", ""),
        (b"\xff\xf4\xffABOR", "ABOR", ""),
        (b"\xff\xf4\xf2ABOR", "ABOR", ""),
        (b"\xff\xfb\x01QUIT", "QUIT", ""),
        ("RETR ä".as_bytes(), "RETR", "ä"),
    ] {
        let command = Command::parse(line).unwrap();
        assert_eq!((command.verb.as_str(), command.argument.as_str()), (verb, argument));
        assert_eq!(Command::parse(&command.render()).unwrap(), command);
    }
    for (line, why) in [
        (&b""[..], Malformed::Verb),
        (b" NOOP", Malformed::Verb),
        (b"A-B x", Malformed::Verb),
        (b"NOOP\0", Malformed::Verb),
        (b"GET / HTTP/1.1\0", Malformed::Text),
        (b"RETR a\rb", Malformed::Text),
        (b"RETR a\x7f", Malformed::Text),
        (b"RETR \xc3\x28", Malformed::Text),
        (b"RETR a\xff\xff", Malformed::Text),
    ] {
        assert_eq!(Command::parse(line), Err(why), "{line:?}");
    }
}

#[test]
fn addresses_are_read() {
    assert_eq!(parse_port("127,0,0,1,4,1"), "127.0.0.1:1025".parse().ok());
    assert_eq!(render_port(Ipv4Addr::LOCALHOST, 1025), "127,0,0,1,4,1");
    for bad in ["", "1,2,3,4,5", "1,2,3,4,5,6,7", "256,0,0,1,4,1", "a,b,c,d,e,f", "+1,0,0,1,4,1", "1,,0,1,4,1"] {
        assert_eq!(parse_port(bad), None, "{bad}");
    }
    for good in ["|1|127.0.0.1|1025|", "|2|::1|1025|"] {
        assert_eq!(render_eprt(parse_eprt(good).unwrap()), good);
    }
    assert_eq!(parse_eprt("!1!127.0.0.1!1025!"), Ok("127.0.0.1:1025".parse().unwrap()));
    assert_eq!(parse_eprt("|3|x|1025|"), Err(BadEprt::Family));
    for bad in ["", "|", "|1|127.0.0.1|", "|1|::1|1|", "|1|127.0.0.1|70000|", "|1|127.0.0.1|+1|", "ä1ä127.0.0.1ä1ä"]
    {
        assert_eq!(parse_eprt(bad), Err(BadEprt::Syntax), "{bad}");
    }
    for (text, meant) in [
        ("", Some(Epsv::Any)),
        ("all", Some(Epsv::All)),
        ("2", Some(Epsv::Family(2))),
        ("x", None),
        ("-1", None),
        ("256", None),
    ] {
        assert_eq!(parse_epsv(text), meant, "{text}");
    }
}

#[test]
fn sizes_have_no_sign() {
    assert_eq!(parse_size(" 18446744073709551615 "), Some(u64::MAX));
    for bad in ["", "-1", "+1", "1 2", "0x1", "18446744073709551616"] {
        assert_eq!(parse_size(bad), None, "{bad}");
    }
}

#[test]
fn times_are_read_and_written() {
    for (text, seconds) in [
        ("19700101000000", 0),
        ("20000229120000", 951_825_600),
        ("20261121042359", 1_795_235_039),
        ("19691231235959", -1),
    ] {
        assert_eq!(parse_time(text), Some(seconds), "{text}");
        assert_eq!(render_time(seconds), text);
    }
    assert_eq!(parse_time("20200101000000.123"), parse_time("20200101000000"));
    for bad in
        ["", "2020010100000", "20200230000000", "20201301000000", "20200101240000", "2020010100000x", "20200101000000."]
    {
        assert_eq!(parse_time(bad), None, "{bad}");
    }
}

#[test]
fn quotes_are_doubled() {
    assert_eq!(quote("/a \"b\""), "\"/a \"\"b\"\"\"");
}
