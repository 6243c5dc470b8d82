//! The HTTP fields and paths a stranger sends: ranges, conditions, hosts, cookies, percent-encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../protocols/http/src/codec.rs"]
#[allow(dead_code, unused_imports)]
mod codec;

use codec::{Conditions, Field, Selection, Validators, Verdict};

fuzz_target!(|input: &[u8]| {
    let Some((head, rest)) = input.split_at_checked(9) else { return };
    let length = u64::from_le_bytes(head[1..9].try_into().unwrap_or_default()) >> (head[0] % 64);
    ranges(rest, length);
    conditions(head[0], rest);
    if let Ok(text) = std::str::from_utf8(rest) {
        paths(text);
        fields(text);
    }
});

/// Whatever is asked for, the parts are inside, not empty, few, and together not longer than the whole.
fn ranges(field: &[u8], length: u64) {
    for field in [field.to_vec(), [b"bytes=", field].concat()] {
        let Selection::Parts(parts) = codec::select(&field, length) else { continue };
        assert!((1..=Selection::MAX).contains(&parts.len()));
        assert!(parts.iter().all(|part| part.start < part.end && part.end <= length));
        assert!(parts.iter().map(|part| u128::from(part.end - part.start)).sum::<u128>() <= u128::from(length));
    }
}

/// A change is never answered with "not modified"; what must match never matches nothing.
fn conditions(choice: u8, value: &[u8]) {
    const FIELDS: [Field; 5] =
        [Field::Match, Field::NoneMatch, Field::ModifiedSince, Field::UnmodifiedSince, Field::Range];
    let current = Validators { etag: "0123456789abcdef", modified: 1_700_000_000 };
    let mut all = Conditions::default();
    for (bit, field) in FIELDS.into_iter().enumerate() {
        let mut one = Conditions::default();
        one.add(field, value);
        assert_ne!(one.judge(false, Some(current)), Verdict::NotModified);
        assert_ne!(one.judge(false, None), Verdict::NotModified);
        if field == Field::Match {
            assert_eq!(one.judge(true, None), Verdict::Failed);
        }
        one.range_counts(current, 1_800_000_000);
        if choice & (1 << bit) != 0 {
            all.add(field, value);
            all.add(field, b"\"x\"");
        }
    }
    assert_ne!(all.judge(false, Some(current)), Verdict::NotModified);
    all.judge(true, Some(current));
}

/// What is decoded holds nothing that could leave a folder, and encoding leads back to it.
fn paths(text: &str) {
    if let Ok(path) = codec::decode_path(text) {
        assert!(!path.contains('\0') && path.split('/').all(|name| name != ".."));
        assert_eq!(path.matches('/').count(), text.matches('/').count());
        let encoded = codec::encode_path(&path);
        assert_eq!(codec::decode_path(&encoded).as_deref(), Ok(&*path));
    }
}

/// What is taken for a host can stand in a URL without changing its meaning.
fn fields(text: &str) {
    if let Some(host) = codec::host(text) {
        assert!(text.starts_with(host) && !host.is_empty());
        assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte)));
        assert_eq!(codec::host(host), Some(host));
    }
    if let Some(value) = codec::cookie(text, "a") {
        assert!(!value.contains(';') && text.contains(value));
    }
}
