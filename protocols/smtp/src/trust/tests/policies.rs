//! DMARC, From and the field that tells of it all.

use super::*;

const REJECT: &str = "v=DMARC1; p=reject; sp=quarantine; np=none";

async fn dmarc(signer: &Signer, message: &str, mail_from: &str, spf: Outcome) -> (Verdict, Policy, String) {
    let dmarc = judged(&signer.dns().await, message, mail_from, spf).await.dmarc;
    (dmarc.result, dmarc.policy, dmarc.domain)
}

fn from(domain: &str) -> String {
    MESSAGE.replace("alice@a.example", &format!("alice@{domain}"))
}

#[tokio::test]
async fn an_aligned_signature_or_sender_passes() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]).with("_dmarc.a.example", REJECT);
    let signed = signer.signed(MESSAGE);
    let cases = [
        (signed.as_str(), "x@other.example", Outcome::None, Verdict::Pass),
        (MESSAGE, "x@a.example", Outcome::Pass, Verdict::Pass),
        (MESSAGE, "x@Mail.A.example", Outcome::Pass, Verdict::Pass),
        (MESSAGE, "x@a.example", Outcome::SoftFail, Verdict::Fail),
        (MESSAGE, "x@a.example", Outcome::TempError, Verdict::TempError),
        (MESSAGE, "x@other.example", Outcome::Pass, Verdict::Fail),
        (MESSAGE, "", Outcome::Pass, Verdict::Fail),
        (&signed.replace("Hello", "Hallo"), "x@other.example", Outcome::None, Verdict::Fail),
        (&signed.replace("a=ed25519", "a=rsa"), "x@other.example", Outcome::None, Verdict::Fail),
    ];
    for (message, mail_from, spf, expected) in cases {
        let found = dmarc(&signer, message, mail_from, spf.clone()).await;
        assert_eq!(found, (expected, Policy::Reject, "a.example".into()), "{mail_from} {spf}");
    }
}

#[tokio::test]
async fn the_policy_is_that_of_the_name_or_of_its_parent() {
    let signer = Signer::new("a.example", &[])
        .with("_dmarc.a.example", REJECT)
        .with("_dmarc.test.example", "v=DMARC1; p=reject; t=y")
        .with("_dmarc.strict.example", "v=DMARC1; p=quarantine; aspf=s")
        .and("sub.a.example", Entry::Host)
        .and("_dmarc.late.example", Entry::Broken);
    let cases = [
        ("a.example", Verdict::Fail, Policy::Reject),
        ("sub.a.example", Verdict::Fail, Policy::Quarantine),
        ("no.such.a.example", Verdict::Fail, Policy::None),
        ("test.example", Verdict::Fail, Policy::Quarantine),
        ("unknown.example", Verdict::None, Policy::None),
        ("late.example", Verdict::TempError, Policy::None),
    ];
    for (domain, verdict, policy) in cases {
        let found = dmarc(&signer, &from(domain), "x@other.example", Outcome::Pass).await;
        assert_eq!(found, (verdict, policy, domain.into()));
    }
    let found = dmarc(&signer, &from("strict.example"), "x@sub.strict.example", Outcome::Pass).await;
    assert_eq!((found.0, found.1), (Verdict::Fail, Policy::Quarantine));
}

#[tokio::test]
async fn from_fields_that_name_nobody_or_too_many_are_told() {
    let signer = Signer::new("a.example", &[]).with("_dmarc.a.example", REJECT);
    let dns = signer.dns().await;
    let one = "From: Alice <alice@a.example>\r\n";
    // With `_dmarc.` before it, it is longer than a name may be.
    let long = format!("From: x@{}{}.a.example\r\n", "b".repeat(50), ".c".repeat(95));
    let cases = [
        ("", Some(MalformedFrom::Missing)),
        ("From: x@a.example\r\nFrom: y@a.example\r\n", Some(MalformedFrom::Several)),
        ("From : x@a.example\r\nFROM: y@a.example\r\n", Some(MalformedFrom::Several)),
        ("no field\r\nFrom: x@a.example\r\nFrom: y@b.example\r\n", Some(MalformedFrom::Several)),
        ("From: nobody\r\n", Some(MalformedFrom::Nobody)),
        ("From: undisclosed:;\r\n", Some(MalformedFrom::Nobody)),
        ("From: <>\r\n", Some(MalformedFrom::Nobody)),
        ("From: (x@a.example)\r\n", Some(MalformedFrom::NoDomain)),
        ("From: x@-b.a.example\r\n", Some(MalformedFrom::NoDomain)),
        (&long, Some(MalformedFrom::NoDomain)),
        ("From: y@b.example <x@a.example>\r\n", Some(MalformedFrom::Domains)),
        ("From: [y@b.example, ] <x@a.example>\r\n", Some(MalformedFrom::Domains)),
        ("From: x@a.example z\r\n", Some(MalformedFrom::Domains)),
        ("From: y@a.example <x@a.example>\r\n", None),
        ("From: [A] x <x@a.example>\r\n", None),
        ("From: x@a.example, y@b.example\r\n", Some(MalformedFrom::Domains)),
        ("From: x@a.example, Y <y@A.Example>\r\n", None),
        ("no field\r\nFrom: x@a.example\r\n", None),
        ("From :\r\n x@a.example\r\n", None),
        (one, None),
    ];
    for (field, expected) in cases {
        let verdicts = judged(&dns, &MESSAGE.replace(one, field), "x@other.example", Outcome::None).await;
        assert_eq!(verdicts.malformed_from, expected, "{field:?}");
        let dmarc = if expected.is_some() { Verdict::None } else { Verdict::Fail };
        assert_eq!(verdicts.dmarc.result, dmarc, "{field:?}");
    }
}

#[tokio::test]
async fn the_field_tells_all_results() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]).with("_dmarc.a.example", REJECT);
    let dns = signer.dns().await;
    let signed = signer.signed(MESSAGE);
    let start = signed.split("\tb=").nth(1).unwrap()[..8].to_owned();
    let start = if start.contains(['/', '+']) { format!("\"{start}\"") } else { start };
    let field = judged(&dns, &signed, "x@a.example", Outcome::SoftFail).await.authentication_results("mx.example");
    let unfolded = field.replace("\r\n\t", " ");
    assert_eq!(
        unfolded,
        format!(
            "Authentication-Results: mx.example; spf=softfail smtp.mailfrom=x@a.example; \
             spf=none smtp.helo=client.example; \
             dkim=pass header.d=a.example header.s=s0 header.a=ed25519-sha256 header.b={start}; \
             dmarc=pass header.from=a.example policy.dmarc=reject; arc=none\r\n"
        )
    );
    assert!(field.lines().all(|line| line.len() <= 78), "{field}");
    let field = judged(&dns, &from("b.example"), "", Outcome::Pass).await.authentication_results("mx.example");
    assert_eq!(
        field,
        "Authentication-Results: mx.example;\r\n\tspf=pass smtp.helo=client.example;\r\n\tdkim=none;\r\n\
         \tdmarc=none;\r\n\tarc=none\r\n"
    );
}

#[tokio::test]
async fn nothing_that_a_sender_chooses_breaks_out_of_the_field() {
    let signer = Signer::new("a.example", &[]);
    let dns = signer.dns().await;
    let (header, body) = split(
        "DKIM-Signature: v=1; a=rsa-sha256; d=a\"b\\; s=x(y; h=from; bh=AAAA; b=AAAAAAAABBBB\r\n\
         DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAAAAAAAAAA\r\n\r\n",
    );
    let long = format!("{}@a.example", "x".repeat(5000));
    let cases = [
        ("a b@c", "[IPv6:::1]", "smtp.mailfrom=\"a b@c\"", "smtp.helo=\"[IPv6:::1]\""),
        ("a;dkim=pass@c", "a\r\nX: y", "smtp.mailfrom=\"a;dkim=pass@c\"", "smtp.helo=\"a??X: y\""),
        ("\"q\\\"@c", "h\u{e9}\u{2028}", "smtp.mailfrom=\"\\\"q\\\\\\\"@c\"", "smtp.helo=\"h\u{e9}?\""),
        ("b+x=y@c.example", "c", "smtp.mailfrom=b+x=y@c.example", "smtp.helo=c"),
        (&long, "(c)", &format!("smtp.mailfrom=\"{}\"", "x".repeat(320)), "smtp.helo=\"(c)\""),
    ];
    for (mail_from, helo, first, second) in cases {
        let envelope = Envelope { client: "192.0.2.9".parse().unwrap(), helo, mail_from };
        let verdicts = judge(&dns, &header, &body, envelope, Outcome::Fail { explanation: None }, Outcome::Pass).await;
        let field = verdicts.authentication_results("mx.example");
        assert!(field.contains(first) && field.contains(second), "{field}");
        assert!(field.contains("header.d=\"a\\\"b\\\\\""), "{field}");
        // Alike at their start, so more is told of each.
        assert!(field.contains("header.b=AAAAAAAABBBB") && field.contains("header.b=AAAAAAAAAAAA"), "{field}");
        assert!(field.ends_with("\r\n") && field.trim_end().replace("\r\n\t", "").find(['\r', '\n']).is_none());
    }
}
