//! Lines of a script against what is said: `...` is any text, `#name` a word that is remembered.

use std::collections::HashMap;

/// The words that names stand for.
type Words = HashMap<String, String>;

/// A line with the words that are known in the place of their names.
pub(crate) fn filled(line: &str, words: &Words) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('#') {
        let (name, behind) = name(after);
        text.push_str(before);
        match words.get(name) {
            Some(word) => text.push_str(word),
            None => text.push_str(&format!("#{name}")),
        }
        rest = behind;
    }
    text + rest
}

/// Whether a text is as the pattern has it; its new names are remembered then.
pub(crate) fn matches(pattern: &str, text: &str, words: &mut Words) -> bool {
    let pattern = filled(pattern, words);
    let mut new = Words::new();
    let fits = fits(&pattern, text, &mut new);
    if fits {
        words.extend(new);
    }
    fits
}

fn fits(pattern: &str, text: &str, new: &mut Words) -> bool {
    let end = [pattern.find("..."), pattern.find('#')].into_iter().flatten().min();
    let Some(end) = end else { return pattern == text };
    let Some(rest) = text.strip_prefix(&pattern[..end]) else { return false };
    match pattern[end..].strip_prefix("...") {
        Some(after) => {
            let places = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            places.into_iter().any(|at| fits(after, &rest[at..], new))
        }
        None => {
            let (name, after) = name(&pattern[end + 1..]);
            let length = rest.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let word = &rest[..length];
            let known = new.get(name).is_none_or(|known| known == word);
            if word.is_empty() || !known {
                return false;
            }
            new.insert(name.to_owned(), word.to_owned());
            fits(after, &rest[length..], new)
        }
    }
}

/// The name at the start of a text, and what is behind it.
fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(text.len()))
}
