//! ARC: our own chains, and what breaks them.

use super::*;
use crate::trust::fields::lines;

fn sealed(signer: &Signer, message: &str, verdicts: &Verdicts) -> Option<String> {
    let (header, body) = split(message);
    seal(sealing_key(&signer.keys).unwrap(), "mx.example", &header, &body, verdicts, now())
}

async fn arc(dns: &MessageAuthenticator, message: &str) -> ArcVerdict {
    judged(dns, message, "x@a.example", Outcome::Pass).await.arc
}

#[tokio::test]
async fn a_chain_of_our_seals_holds() {
    for algorithms in [&[Algorithm::Ed25519][..], &[Algorithm::Ed25519, Algorithm::Rsa]] {
        let signer = Signer::new("a.example", algorithms);
        let dns = signer.dns().await;
        let mut message = signer.signed(MESSAGE);
        assert_eq!(arc(&dns, &message).await, ArcVerdict::None);
        for sets in 1..=3 {
            let verdicts = judged(&dns, &message, "x@a.example", Outcome::Pass).await;
            let fields = sealed(&signer, &message, &verdicts).unwrap();
            assert!(fields.starts_with(&format!("ARC-Seal: i={sets}; ")), "{fields}");
            assert!(fields.lines().all(|line| line.len() <= 78), "{fields}");
            message = format!("{fields}Received: hop {sets}\r\n{message}");
            assert_eq!(arc(&dns, &message).await, ArcVerdict::Pass(sets), "{message}");
            // The signature beneath still verifies, and is told of by each hop.
            assert_eq!(message.matches("dkim=pass").count(), sets * algorithms.len());
        }
        assert_eq!(message.replace("\r\n\t", " ").matches("arc=pass smtp.remote-ip=192.0.2.9").count(), 2);
        let changes = [
            ("Hello", "Hallo"),
            ("From: Alice", "From: Malice"),
            ("cv=none", "cv=pass"),
            ("ARC-Seal: i=2;", "X-ARC-Seal: i=2;"),
            ("ARC-Authentication-Results: i=1; mx.example", "ARC-Authentication-Results: i=1; mx.other"),
            ("ARC-Message-Signature: i=1;", "ARC-Message-Signature: i=1; q=x;"),
        ];
        for (old, new) in changes {
            assert!(message.contains(old));
            let changed = message.replacen(old, new, 1);
            let verdicts = judged(&dns, &changed, "x@a.example", Outcome::Pass).await;
            assert_eq!(verdicts.arc, ArcVerdict::Fail, "{new}");
            assert_eq!(sealed(&signer, &changed, &verdicts), None, "{new}");
        }
    }
}

#[tokio::test]
async fn a_part_of_a_set_is_a_broken_chain() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]);
    let dns = signer.dns().await;
    let verdicts = judged(&dns, MESSAGE, "x@a.example", Outcome::Pass).await;
    let fields = sealed(&signer, MESSAGE, &verdicts).unwrap();
    let parts: Vec<&[u8]> = lines(fields.as_bytes()).collect();
    assert_eq!(parts.len(), 3);
    for left in 0..3 {
        let part: Vec<u8> = (0..3).filter(|at| *at != left).flat_map(|at| parts[at].to_vec()).collect();
        let message = format!("{}{MESSAGE}", String::from_utf8(part).unwrap());
        assert_eq!(arc(&dns, &message).await, ArcVerdict::Fail, "{message}");
        let only = format!("{}{MESSAGE}", std::str::from_utf8(parts[left]).unwrap());
        assert_eq!(arc(&dns, &only).await, ArcVerdict::Fail, "{only}");
    }
    assert_eq!(arc(&dns, &format!("{fields}{fields}{MESSAGE}")).await, ArcVerdict::Fail);
}

#[tokio::test]
async fn a_chain_whose_key_cannot_be_had_is_neither_good_nor_bad() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]).and("late._domainkey.a.example", Entry::Broken);
    let dns = signer.dns().await;
    let verdicts = judged(&dns, MESSAGE, "x@a.example", Outcome::Pass).await;
    let fields = sealed(&signer, MESSAGE, &verdicts).unwrap().replace("s=s0", "s=late");
    let message = format!("{fields}{MESSAGE}");
    let verdicts = judged(&dns, &message, "x@a.example", Outcome::Pass).await;
    assert_eq!(verdicts.arc, ArcVerdict::TempError);
    assert_eq!(sealed(&signer, &message, &verdicts), None);
}

#[tokio::test]
async fn a_full_chain_is_not_sealed_once_more() {
    let signer = Signer::new("a.example", &[Algorithm::Ed25519]);
    let dns = signer.dns().await;
    let mut verdicts = judged(&dns, MESSAGE, "x@a.example", Outcome::Pass).await;
    verdicts.arc = ArcVerdict::Pass(50);
    assert_eq!(sealed(&signer, MESSAGE, &verdicts), None);
}
