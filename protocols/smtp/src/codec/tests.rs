//! Known answers and their inverse in one table.

use super::*;

fn mailbox(local: &str, domain: &str) -> Mailbox {
    Mailbox { local: local.to_owned(), domain: Some(domain.to_owned()) }
}

fn mail(from: Option<Mailbox>, parameters: MailParameters) -> Command {
    Command::Mail { from, parameters }
}

fn rcpt(local: &str, domain: &str) -> Command {
    Command::Rcpt { to: mailbox(local, domain), parameters: RcptParameters::default() }
}

/// Each line as a client may write it, what it means, and how we would write that; an empty string is "the same".
fn known() -> Vec<(&'static str, Command, &'static str)> {
    let none = MailParameters::default;
    let all = MailParameters {
        size: Some(1000),
        body: Some(Body::EightBit),
        utf8: true,
        require_tls: true,
        ret: Some(Ret::Headers),
        envid: Some("QQ+2B1".to_owned()),
        auth: Some("<>".to_owned()),
    };
    let told = |notify, original: Option<&str>| Command::Rcpt {
        to: mailbox("a", "b.example"),
        parameters: RcptParameters { notify, original: original.map(str::to_owned) },
    };
    let late = Notify { success: true, failure: false, delay: true };
    let seven = MailParameters { body: Some(Body::SevenBit), ..none() };
    let postmaster = Mailbox { local: "Postmaster".to_owned(), domain: None };
    let initial = Some("AGEAYg==".to_owned());
    vec![
        ("HELO mx.example", Command::Helo("mx.example".to_owned()), ""),
        ("ehlo [IPv6:::1]", Command::Ehlo("[IPv6:::1]".to_owned()), "EHLO [IPv6:::1]"),
        ("EHLO  under_score  ", Command::Ehlo("under_score".to_owned()), "EHLO under_score"),
        ("lhlo mx.example", Command::Lhlo("mx.example".to_owned()), "LHLO mx.example"),
        ("StartTLS", Command::StartTls, "STARTTLS"),
        ("auth login", Command::Auth { mechanism: "LOGIN".to_owned(), initial: None }, "AUTH LOGIN"),
        ("AUTH PLAIN AGEAYg==", Command::Auth { mechanism: "PLAIN".to_owned(), initial }, ""),
        ("MAIL FROM:<>", mail(None, none()), ""),
        ("mail from: <a@b.example>", mail(Some(mailbox("a", "b.example")), none()), "MAIL FROM:<a@b.example>"),
        (
            "MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME SMTPUTF8 REQUIRETLS RET=HDRS ENVID=QQ+2B1 AUTH=<>",
            mail(Some(mailbox("a", "b.example")), all),
            "",
        ),
        (
            "RCPT TO:<a@b.example> notify=Never",
            told(Some(Notify::default()), None),
            "RCPT TO:<a@b.example> NOTIFY=NEVER",
        ),
        (
            "RCPT TO:<a@b.example> ORCPT=rfc822;A+2Bb@c.example NOTIFY=DELAY,SUCCESS",
            told(Some(late), Some("rfc822;A+2Bb@c.example")),
            "RCPT TO:<a@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;A+2Bb@c.example",
        ),
        ("RCPT TO:<a@b.example> ORCPT=utf-8;ä@c.example", told(None, Some("utf-8;ä@c.example")), ""),
        ("MAIL FROM:<> BODY=BINARYMIME", mail(None, MailParameters { body: Some(Body::Binary), ..none() }), ""),
        ("MAIL FROM:<> body=7bit", mail(None, seven), "MAIL FROM:<> BODY=7BIT"),
        ("RCPT TO:<a.b+c@d.example>", rcpt("a.b+c", "d.example"), ""),
        ("RCPT TO:<\"a b\"@d.example>", rcpt("a b", "d.example"), ""),
        ("RCPT TO:<\"plain\"@d.example>", rcpt("plain", "d.example"), "RCPT TO:<plain@d.example>"),
        ("RCPT TO:<\"q\\\"\\\\>@\"@d.example>", rcpt("q\"\\>@", "d.example"), ""),
        ("RCPT TO:<a@[127.0.0.1]>", rcpt("a", "[127.0.0.1]"), ""),
        ("RCPT TO:<a@[ipv6:0:0::1]>", rcpt("a", "[IPv6:::1]"), "RCPT TO:<a@[IPv6:::1]>"),
        ("RCPT TO:<@one.example,@two.example:a@b.example>", rcpt("a", "b.example"), "RCPT TO:<a@b.example>"),
        ("RCPT TO:<Postmaster>", Command::Rcpt { to: postmaster, parameters: RcptParameters::default() }, ""),
        ("RCPT TO:<grün@bücher.example>", rcpt("grün", "bücher.example"), ""),
        ("DATA", Command::Data, ""),
        ("BDAT 1000", Command::Bdat { size: 1000, last: false }, ""),
        ("bdat 0 last", Command::Bdat { size: 0, last: true }, "BDAT 0 LAST"),
        ("RSET ", Command::Rset, "RSET"),
        ("NOOP whatever", Command::Noop, "NOOP"),
        ("VRFY alice", Command::Vrfy("alice".to_owned()), ""),
        ("EXPN staff", Command::Expn("staff".to_owned()), ""),
        ("HELP me", Command::Help, "HELP"),
        ("quit", Command::Quit, "QUIT"),
    ]
}

#[test]
fn every_known_line_means_what_it_says_and_is_written_back() {
    for (line, command, written) in known() {
        assert_eq!(Command::parse(line.as_bytes()), Ok(command.clone()), "{line}");
        let written = if written.is_empty() { line } else { written };
        assert_eq!(command.to_string(), written);
        assert_eq!(Command::parse(written.as_bytes()), Ok(command), "{written}");
    }
}

#[test]
fn lines_that_are_no_command_are_told_apart() {
    let long_label = format!("RCPT TO:<a@{}.example>", "x".repeat(64));
    let long_local = format!("RCPT TO:<{}@b.example>", "x".repeat(257));
    for (line, fault) in [
        ("", Fault::Unknown),
        ("FOO", Fault::Unknown),
        ("DATA now", Fault::Arguments("DATA")),
        ("EHLO", Fault::Arguments("EHLO hostname")),
        ("EHLO a b", Fault::Arguments("EHLO hostname")),
        ("EHLO bücher.example", Fault::Arguments("EHLO hostname")),
        ("EHLO (evil)", Fault::Arguments("EHLO hostname")),
        ("NOOP \0", Fault::Characters),
        ("VRFY", Fault::Arguments("VRFY address")),
        ("MAIL", Fault::Arguments("MAIL FROM:<address>")),
        ("MAIL TO:<a@b>", Fault::Arguments("MAIL FROM:<address>")),
        ("MAIL FROM:a@b.example", Fault::Sender),
        ("MAIL FROM:<a@b.example", Fault::Sender),
        ("MAIL FROM:<a@b.example>SIZE=1", Fault::Sender),
        ("MAIL FROM:<a>", Fault::Sender),
        ("MAIL FROM:<postmaster>", Fault::Sender),
        ("MAIL FROM:<a@b.example> SIZE=x", Fault::Value("SIZE")),
        ("MAIL FROM:<a@b.example> SIZE=99999999999999999999", Fault::Value("SIZE")),
        ("MAIL FROM:<a@b.example> SIZE=1 SIZE=1", Fault::Value("SIZE")),
        ("MAIL FROM:<a@b.example> BODY=9BIT", Fault::Value("BODY")),
        ("MAIL FROM:<a@b.example> SMTPUTF8=1", Fault::Value("SMTPUTF8")),
        ("MAIL FROM:<a@b.example> ret=half", Fault::Value("RET")),
        ("MAIL FROM:<a@b.example> REQUIRETLS=1", Fault::Value("REQUIRETLS")),
        ("MAIL FROM:<a@b.example> ENVID=a+2", Fault::Value("ENVID")),
        ("MAIL FROM:<a@b.example> ENVID=a=b", Fault::Value("ENVID")),
        ("MAIL FROM:<a@b.example> HOLDFOR=1", Fault::Parameter("HOLDFOR".to_owned())),
        ("RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY", Fault::Value("NOTIFY")),
        ("RCPT TO:<a@b.example> NOTIFY=", Fault::Value("NOTIFY")),
        ("RCPT TO:<a@b.example> NOTIFY=DELAY NOTIFY=DELAY", Fault::Value("NOTIFY")),
        ("RCPT TO:<a@b.example> ORCPT=a@b.example", Fault::Value("ORCPT")),
        ("RCPT TO:<a@b.example> ORCPT=rfc822;", Fault::Value("ORCPT")),
        ("RCPT TO:<a@b.example> ORCPT=rfc822;a+0d", Fault::Value("ORCPT")),
        ("RCPT TO:<a@b.example> SIZE=1", Fault::Parameter("SIZE".to_owned())),
        ("RCPT TO:<>", Fault::Recipient),
        ("RCPT TO:<a..b@c.example>", Fault::Recipient),
        ("RCPT TO:<.a@c.example>", Fault::Recipient),
        ("RCPT TO:<a@>", Fault::Recipient),
        ("RCPT TO:<a@-b.example>", Fault::Recipient),
        ("RCPT TO:<a@b..example>", Fault::Recipient),
        ("RCPT TO:<a@b.example.>", Fault::Recipient),
        ("RCPT TO:<a@[300.0.0.1]>", Fault::Recipient),
        ("RCPT TO:<a@[x:y]>", Fault::Recipient),
        ("RCPT TO:<a b@c.example>", Fault::Recipient),
        ("RCPT TO:<\"a@c.example>", Fault::Recipient),
        ("RCPT TO:<@one.example a@b.example>", Fault::Recipient),
        ("RCPT TO:<@one.example,a@b.example>", Fault::Recipient),
        (&long_label, Fault::Recipient),
        (&long_local, Fault::Recipient),
        ("BDAT", Fault::Chunk),
        ("BDAT -1", Fault::Chunk),
        ("BDAT +1", Fault::Chunk),
        ("BDAT 1 FIRST", Fault::Chunk),
        ("BDAT 1 LAST LAST", Fault::Chunk),
        ("AUTH", Fault::Arguments("AUTH mechanism [initial-response]")),
        ("AUTH PLAIN a b", Fault::Arguments("AUTH mechanism [initial-response]")),
    ] {
        assert_eq!(Command::parse(line.as_bytes()), Err(fault), "{line}");
    }
    assert_eq!(Command::parse(b"NOOP \xff"), Err(Fault::Characters));
    assert_eq!(Command::parse("NOOP \u{85}".as_bytes()), Err(Fault::Characters), "a C1 line end is a control too");
}

proptest::proptest! {
    #[test]
    fn what_parses_is_written_so_that_it_parses_to_the_same(
        line in "(MAIL FROM:|RCPT TO:|EHLO |VRFY |AUTH |BDAT )[ -~é]{0,40}"
    ) {
        if let Ok(command) = Command::parse(line.as_bytes()) {
            proptest::prop_assert_eq!(Command::parse(command.to_string().as_bytes()), Ok(command));
        }
    }

    #[test]
    fn any_local_part_survives_quoting(local in "[ -~äß]{1,30}") {
        let command = rcpt(&local, "b.example");
        proptest::prop_assert_eq!(Command::parse(command.to_string().as_bytes()), Ok(command));
    }
}
