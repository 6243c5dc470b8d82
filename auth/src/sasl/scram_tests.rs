use super::*;

/// RFC 7677 §3: the user `user` with the password `pencil`.
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn keys(password: &str) -> Keys {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    Keys::derive(password, &salt, NonZeroU32::new(4096).unwrap())
}

fn challenge(first: &str, binding: &[u8]) -> Challenge {
    let keys = keys("pencil");
    Challenge::new(First::parse(first.as_bytes()).unwrap(), SERVER_NONCE, &keys.salt, keys.iterations, binding)
}

#[test]
fn the_exchange_of_rfc_7677_is_understood() {
    let challenge = challenge(CLIENT_FIRST, b"");
    assert_eq!(challenge.message(), SERVER_FIRST);
    let proof = challenge.answer(CLIENT_FINAL.as_bytes()).unwrap();
    assert!(proof.proves(&keys("pencil")) && !proof.proves(&keys("pencils")));
    assert_eq!(proof.acknowledgement(&keys("pencil")), SERVER_FINAL);
    let other = Keys { salt: b"other".to_vec(), ..keys("pencil") };
    assert!(!proof.proves(&other), "keys that were made with another salt");
}

#[test]
fn keys_are_written_and_read_back() {
    let keys = keys("pencil");
    let text = keys.to_string();
    assert!(
        text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=")
    );
    assert_eq!(Keys::parse(&text), Some(keys));
    for broken in ["", "SCRAM-SHA-256", "SCRAM-SHA-1$1:YQ==$YQ==:YQ==", "SCRAM-SHA-256$0:YQ==$YQ==:YQ==", &text[..90]] {
        assert_eq!(Keys::parse(broken), None, "{broken}");
    }
    assert_eq!(Keys::parse(&format!("{text}$more")), None);
}

#[test]
fn first_messages_are_read_to_the_letter() {
    let read = |message: &str| First::parse(message.as_bytes());
    let first = read("p=tls-exporter,a=al=2Cice,n=a=3Db=2Cc,r=abc,x=1").unwrap();
    assert_eq!((first.flag, first.acting.as_str()), (Flag::Bound("tls-exporter".into()), "al,ice"));
    assert_eq!((first.name.as_str(), first.header.as_str()), ("a=b,c", "p=tls-exporter,a=al=2Cice,"));
    assert_eq!(read("y,,n=u,r=x").unwrap().flag, Flag::NotOffered);
    assert_eq!(read("n,,n=I\u{ad}X,r=x").unwrap().name, "IX", "RFC 4013 §3");
    assert_eq!(read("n,,n=\u{7}bell,r=x").unwrap().name, "\u{7}bell", "what may not be stays as it is");
    for broken in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=u,r=x",
        "p,,n=u,r=x",
        "n,b=x,n=u,r=x",
        "n,,m=1,n=u,r=x",
        "n,,n=,r=x",
        "n,,n=u",
        "n,,n=u,r=",
        "n,,n=u,r=a b",
        "n,,n=a=b,r=x",
        "n,,n=a=2c,r=x",
        "n,,n=a\0b,r=x",
        "n,,r=x,n=u",
    ] {
        assert!(read(broken).is_err(), "{broken:?}");
    }
    assert!(First::parse(b"n,,n=\xff,r=x").is_err());
    assert!(read(&format!("n,,n=u,r={}", "x".repeat(513))).is_err() && read(&"n,".repeat(100_000)).is_err());
}

#[test]
fn last_messages_answer_what_was_asked_over_this_channel() {
    let asked = challenge(CLIENT_FIRST, b"");
    let answer = |message: &str| asked.answer(message.as_bytes()).map(drop);
    assert_eq!(answer(&CLIENT_FINAL.replace("c=biws", "c=eSws")), Err(Fault::Channel), "another header");
    assert_eq!(answer(&CLIENT_FINAL.replace("$k0,", "$k1,")), Err(Fault::Malformed("the nonce is another one")));
    for broken in ["", "c=biws", "c=biws,p=YQ==", &CLIENT_FINAL[..CLIENT_FINAL.len() - 4], &CLIENT_FINAL[1..]] {
        assert!(matches!(answer(broken), Err(Fault::Malformed(_))), "{broken}");
    }
    assert_eq!(answer(&CLIENT_FINAL.replace(",p=", ",x=1,p=")), Ok(()), "an extension is signed with the rest");
    let bound = challenge("p=tls-exporter,,n=user,r=x", b"secret");
    let message = |header: &[u8]| format!("c={},r=x{SERVER_NONCE},p={}", STANDARD.encode(header), "A".repeat(43) + "=");
    assert!(bound.answer(message(b"p=tls-exporter,,secret").as_bytes()).is_ok());
    assert_eq!(bound.answer(message(b"p=tls-exporter,,others").as_bytes()).map(drop), Err(Fault::Channel));
    assert_eq!(bound.answer(message(b"p=tls-exporter,,").as_bytes()).map(drop), Err(Fault::Channel));
}
