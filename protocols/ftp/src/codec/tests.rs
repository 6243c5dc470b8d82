//! Known answers and their inverse in one table.

use super::*;

/// Each line as a client may write it, what it means, and how we would write that; an empty string is "the same".
#[rustfmt::skip]
fn known() -> Vec<(&'static [u8], Command, &'static str)> {
    use Command as C;
    let path = || "a b".to_owned();
    let at = |text: &str| Moment::parse(text).unwrap();
    vec![
        (b"USER alice", C::User("alice".into()), ""),
        (b"pass  two words ", C::Pass(Hidden(" two words ".into())), "PASS  two words "),
        (b"PASS", C::Pass(Hidden(String::new())), "PASS "),
        (b"AUTH tls", C::Auth("TLS".into()), "AUTH TLS"),
        (b"PBSZ 0", C::Pbsz(0), ""),
        (b"PROT p", C::Prot('P'), "PROT P"),
        (b"PORT 127,0,0,1,200,10", C::Port("127.0.0.1:51210".parse().unwrap()), ""),
        (b"EPRT |1|127.0.0.1|5000|", C::Eprt("127.0.0.1:5000".parse().unwrap()), ""),
        (b"EPRT #2#::1#5000#", C::Eprt("[::1]:5000".parse().unwrap()), "EPRT |2|::1|5000|"),
        (b"EPSV", C::Epsv(Epsv::Same), ""),
        (b"EPSV 2", C::Epsv(Epsv::Of(Family::V6)), ""),
        (b"epsv all", C::Epsv(Epsv::All), "EPSV ALL"),
        (b"TYPE A N", C::Type(Type::Ascii), "TYPE A"),
        (b"TYPE L 8", C::Type(Type::Image), "TYPE I"),
        (b"MODE s", C::Mode('S'), "MODE S"),
        (b"ALLO 100 R 10", C::Allo(100), "ALLO 100"),
        (b"REST 18446744073709551615", C::Rest(u64::MAX), ""),
        (b"RETR a b", C::Retr(path()), ""),
        (b"STOR  a ", C::Stor(" a ".into()), ""),
        (b"STOU", C::Stou(None), ""),
        (b"LIST -la", C::List(None), "LIST"),
        (b"LIST -l -a a b", C::List(Some(path())), "LIST a b"),
        (b"NLST  -a", C::Nlst(Some(" -a".into())), ""),
        (b"MLSD -a", C::Mlsd(Some("-a".into())), ""),
        (b"STAT", C::Stat(None), ""),
        (b"XCWD a b", C::Cwd(path()), "CWD a b"),
        (b"XPWD ", C::Pwd, "PWD"),
        (b"MDTM 20200102030405 a b", C::Mdtm("20200102030405 a b".into()), ""),
        (b"MFMT 20200102030405 a b", C::Mfmt(Moment(1_577_934_245_000), path()), ""),
        (b"MFMT 20200102030405.5 a b", C::Mfmt(Moment(1_577_934_245_500), path()), "MFMT 20200102030405.500 a b"),
        (b"SITE UTIME 202001020304 a b", C::Site(Site::Utime(at("20200102030400"), path())),
            "SITE UTIME 20200102030400 a b"),
        (b"SITE UTIME a b 20200101000000 20200102030405 20200101000000 UTC",
            C::Site(Site::Utime(at("20200102030405"), path())), "SITE UTIME 20200102030405 a b"),
        (b"site chmod 644 a b", C::Site(Site::Chmod("644 a b".into())), "SITE CHMOD 644 a b"),
        (b"SITE IDLE 5", C::Site(Site::Other("IDLE 5".into())), ""),
        (b"XSHA256 a b", C::Sum(Algorithm::Sha256, path()), ""),
        (b"XCRC a b", C::Sum(Algorithm::Crc32, path()), ""),
        (b"OPTS UTF8 ON", C::Opts("UTF8 ON".into()), ""),
        ("MKD grün".as_bytes(), C::Mkd("grün".into()), ""),
        (b"\xff\xf4\xff\xf2ABOR", C::Abor, "ABOR"),
        (b"\xff\xf4\xffABOR", C::Abor, "ABOR"),
        (b"\xff\xf4\xf2ABOR", C::Abor, "ABOR"),
        (b"\xff\xfd\x06NOOP", C::Noop, "NOOP"),
    ]
}

#[test]
fn every_known_line_means_what_it_says_and_is_written_back() {
    for (line, command, written) in known() {
        let shown = String::from_utf8_lossy(line);
        assert_eq!(Command::parse(line).as_ref(), Ok(&command), "{shown}");
        let expected = if written.is_empty() { &shown } else { written };
        assert_eq!(command.to_string(), expected, "{shown}");
        assert_eq!(Command::parse(command.to_string().as_bytes()), Ok(command), "{shown}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    for line in ["RETR", "RETR ", "PORT 1,2,3,4,5", "PORT 256,0,0,1,1,1", "PORT 1,2,3,4,5,6,7", "PORT +1,0,0,1,1,1"] {
        assert!(matches!(Command::parse(line.as_bytes()), Err(Fault::Argument(_))), "{line}");
    }
    let wrong = ["EPRT |1|::1|5000|", "EPRT |1|127.0.0.1|65536|", "EPRT 1", "EPRT", "REST -1", "REST +1", "REST", "TYPE"];
    for line in wrong.into_iter().chain(["MFMT 20200230000000 a", "MFMT 20201301000000 a", "PROT CC", "PBSZ 4294967296"]) {
        assert!(matches!(Command::parse(line.as_bytes()), Err(Fault::Argument(_))), "{line}");
    }
    for line in ["EPRT |3|x|5|", "TYPE E", "TYPE A C", "TYPE L 7", "EPSV 9"] {
        assert!(matches!(Command::parse(line.as_bytes()), Err(Fault::Value(_))), "{line}");
    }
    for line in [&b"RETR a\0b"[..], b"RETR a\rb", b"RETR \xfe\xfe", b"CWD a\tb"] {
        assert_eq!(Command::parse(line), Err(Fault::Characters), "{}", String::from_utf8_lossy(line));
    }
    for line in ["", " ", "EHLO x", "GET / HTTP/1.1"] {
        assert_eq!(Command::parse(line.as_bytes()), Err(Fault::Unknown), "{line}");
    }
}

#[test]
fn times_are_the_calendar_s() {
    for (text, seconds) in [
        ("19700101000000", 0),
        ("20000229235959", 951_868_799),
        ("19691231235959", -1),
        ("21000301000000", 4_107_542_400),
        ("00010101000000", -62_135_596_800),
        ("99991231235959", 253_402_300_799),
    ] {
        assert_eq!(Moment::parse(text), Some(Moment(seconds * 1000)), "{text}");
        assert_eq!(Moment(seconds * 1000).to_string(), text);
    }
    for text in ["21000229000000", "20200431000000", "20200100000000", "20200101240000", "2020010100000", "x"] {
        assert_eq!(Moment::parse(text), None, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn what_is_read_is_written_so_that_it_is_read_the_same(line in "(LIST|MDTM|SITE UTIME|SITE|EPRT|USER|HELP)[ -z|]{0,40}") {
        if let Ok(command) = Command::parse(line.as_bytes()) {
            proptest::prop_assert_eq!(Command::parse(command.to_string().as_bytes()), Ok(command));
        }
    }
}
