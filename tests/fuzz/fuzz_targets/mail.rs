//! Messages: whatever they are, the parts lie within each other, the JSON comes back, and the text has an end.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../../storage/src/mail/parse/mod.rs"]
mod parse;

use parse::{Authors, MessageEnvelope, Structure};

fuzz_target!(|message: &[u8]| {
    let parsed = parse::parse(message);
    let envelope: MessageEnvelope = serde_json::from_str(&parsed.envelope).expect("an envelope comes back");
    parse::sent_date(&envelope);
    let subject = parse::decoded(envelope.subject.as_deref().unwrap_or_default());
    let base = parse::base_subject(&subject);
    assert!(base.text.len() <= subject.len(), "a base subject is a part of it");
    assert!(!parsed.preview.contains(char::is_control) && parsed.preview.chars().count() <= 256);
    assert!(parsed.ids.references.len() <= 20);

    // Behind the addresses there may be the end of a group.
    let authors = Authors::read(message);
    assert!(authors.addresses.len() <= 201, "a field has no more");
    let clear = authors.is_whole && authors.addresses.iter().all(|author| author.host.as_deref() != Some(""));
    assert!(!clear || message.contains(&b'@') || authors.addresses.iter().all(|author| author.host.is_none()));

    let structure: Structure = serde_json::from_str(&parsed.structure).expect("a structure comes back");
    assert!(!structure.parts.is_empty() && structure.parts.len() <= 1000);
    for (number, part) in structure.parts.iter().enumerate() {
        assert!(part.header <= part.body && part.body <= part.end && part.end <= message.len());
        for &child in &part.children {
            let inner = &structure.parts[child];
            assert!(child > number && part.body <= inner.header && inner.end <= part.end, "a part lies in its parent");
        }
        let (encoding, body) = (part.encoding_or_default(), &message[part.body()]);
        let pieces = parse::TransferDecoder::new(encoding).map(|mut decoder| {
            let mut out = Vec::new();
            body.chunks(7).for_each(|piece| decoder.decode(piece, false, &mut out));
            decoder.decode(b"", true, &mut out);
            out
        });
        assert_eq!(parse::decode_transfer(encoding, body).as_deref(), pieces.as_deref(), "pieces give the whole");
    }
    let text = parse::text(message, &structure);
    assert!(text.header.len() + text.body.len() <= 4 << 20);
});
