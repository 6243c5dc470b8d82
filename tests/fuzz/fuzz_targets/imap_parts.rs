//! IMAP: the parts of commands, each on its own: sequence sets, search keys, items of FETCH, names of mailboxes.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../../protocols/imap/src"]
mod imap {
    pub mod codec;
}

use imap::codec::{self, Command, Item, Key, SectionText, mailbox, sequence};

fuzz_target!(|input: &[u8]| {
    let Some((selector, input)) = input.split_first() else { return };
    match selector % 5 {
        0 => set(input),
        1 => search(input),
        2 => fetch(input),
        3 => name(input),
        _ => pattern(input),
    }
});

fn set(text: &[u8]) {
    let Some(set) = sequence::parse(text) else { return };
    assert!(!set.0.is_empty() && set.0.len() <= 10_000);
    assert_eq!(sequence::parse(set.to_string().as_bytes()), Some(set.clone()));
    for largest in [0, 1, 7, u32::MAX - 1] {
        let ranges = set.resolve(largest);
        assert!(ranges.iter().all(|(from, to)| 0 < *from && from <= to));
        assert!(ranges.is_sorted_by(|one, other| one.1 + 1 < other.0), "they ascend and do not touch");
        let (first, _) = ranges.split_at(ranges.len().min(10));
        if first.iter().all(|(from, to)| to - from < 1000) {
            let written = sequence::compact(first.iter().flat_map(|&(from, to)| from..=to));
            let read = sequence::parse(written.as_bytes()).map(|set| set.resolve(1)).unwrap_or_default();
            assert_eq!(read, first);
        }
    }
}

fn search(text: &[u8]) {
    let Ok(tagged) = codec::parse(&[b"a SEARCH ", text].concat(), false) else { return };
    let Command::Search { search, .. } = tagged.command else { panic!("a SEARCH") };
    let mut keys = 0;
    bounded(&search.key, 0, &mut keys);
}

fn bounded(key: &Key, depth: usize, keys: &mut usize) {
    *keys += 1;
    assert!(depth <= 50 && *keys <= 1001);
    match key {
        Key::Not(key) => bounded(key, depth + 1, keys),
        Key::Or(one, other) => {
            bounded(one, depth + 1, keys);
            bounded(other, depth + 1, keys);
        }
        Key::And(all) => {
            assert!(all.len() > 1);
            all.iter().for_each(|key| bounded(key, depth + 1, keys));
        }
        _ => {}
    }
}

fn fetch(text: &[u8]) {
    let Ok(tagged) = codec::parse(&[b"a FETCH 1 ", text].concat(), false) else { return };
    let Command::Fetch { items, .. } = tagged.command else { panic!("a FETCH") };
    assert!(!items.is_empty());
    for item in items {
        let Item::Section(section) = item else { continue };
        assert!(!section.part.contains(&0));
        assert!(section.partial.is_none_or(|(_, count)| count > 0));
        assert!(section.text != SectionText::Mime || !section.part.is_empty());
        assert!(!section.binary || section.text == SectionText::All);
        if let SectionText::HeaderFields(names) | SectionText::HeaderFieldsNot(names) = section.text {
            assert!(!names.is_empty() && !names.iter().any(|name| name.is_empty() || name.contains(char::is_control)));
        }
    }
}

/// A name is read back as it was written, in either form.
fn name(wire: &[u8]) {
    for utf8 in [false, true] {
        let Some(name) = mailbox::decode(wire, utf8) else { continue };
        assert!(!name.contains(char::is_control));
        assert_eq!(mailbox::decode(mailbox::encode(&name, utf8).as_bytes(), utf8).as_ref(), Some(&name));
        assert!(utf8 || mailbox::encode(&name, false).is_ascii());
        assert!(mailbox::matches("*", &name) && mailbox::matches(&name, &name));
    }
}

/// A pattern and a name with a NUL between them mean what the RFC says, read word by word where that is short enough.
fn pattern(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Some((pattern, name)) = text.split_once('\0') else { return };
    let matched = mailbox::matches(pattern, name);
    if pattern.len() <= 12 && name.len() <= 12 && !name.starts_with("INBOX") {
        assert_eq!(matched, means(pattern.as_bytes(), name.as_bytes()));
    }
}

fn means(pattern: &[u8], name: &[u8]) -> bool {
    let longer = |crossing: bool| name.first().is_some_and(|&byte| crossing || byte != b'/');
    match pattern.first() {
        None => name.is_empty(),
        Some(&wild @ (b'*' | b'%')) => means(&pattern[1..], name) || longer(wild == b'*') && means(pattern, &name[1..]),
        wanted => name.first() == wanted && means(&pattern[1..], &name[1..]),
    }
}
