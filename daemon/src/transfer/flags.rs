//! Flags as Maildir and mbox write them.

use std::io::Read;
use std::path::Path;

use super::files;

/// The letters of a Maildir's file names, in the order in which they stand there, and the flags they mean. `P` is
/// "passed" there, what IMAP has a keyword for.
const MAILDIR: [(char, &str); 6] = [
    ('D', "\\Draft"),
    ('F', "\\Flagged"),
    ('P', "$Forwarded"),
    ('R', "\\Answered"),
    ('S', "\\Seen"),
    ('T', "\\Deleted"),
];

/// The letters of an mbox's X-Status.
const STATUS: [(char, &str); 4] = [('A', "\\Answered"), ('F', "\\Flagged"), ('D', "\\Deleted"), ('T', "\\Draft")];

/// The bits of Thunderbird's X-Mozilla-Status.
const MOZILLA: [(u32, &str); 4] =
    [(0x0001, "\\Seen"), (0x0002, "\\Answered"), (0x0004, "\\Flagged"), (0x1000, "$Forwarded")];

/// The bit of a message that was deleted, and goes when its folder is compacted.
const MOZILLA_EXPUNGED: u32 = 0x0008;

/// How many keywords of one message are read.
const KEYWORDS_MOST: usize = 100;

/// How much is read of a file of keywords.
const FILE: u64 = 64 << 10;

/// Where a Maildir keeps what its lower-case letters mean.
pub(super) const KEYWORDS: &str = "dovecot-keywords";

/// What the letters `a` to `z` mean in one folder.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Letters(Vec<String>);

impl Letters {
    /// As the folder's own file says; without one, they mean nothing.
    pub(super) fn read(folder: &Path) -> Letters {
        let mut text = Vec::new();
        let _ = files::read(&folder.join(KEYWORDS), false).and_then(|file| file.take(FILE).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let mut names = vec![String::new(); 26];
        for (number, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            let place = number.parse::<usize>().ok().and_then(|number| names.get_mut(number));
            if let Some(place) = place {
                *place = keyword(name.trim());
            }
        }
        Letters(names)
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let named = self.0.iter().enumerate().filter(|(_, name)| !name.is_empty());
        named.map(|(number, name)| format!("{number} {name}\n")).collect()
    }

    fn name(&self, letter: char) -> Option<&str> {
        let number = (letter as usize).checked_sub('a' as usize)?;
        self.0.get(number).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The letter of a keyword, which gets one if there is one left.
    fn letter(&mut self, name: &str) -> Option<char> {
        let known = self.0.iter().position(|known| known.eq_ignore_ascii_case(name));
        let place = known.or_else(|| self.0.iter().position(String::is_empty))?;
        name.clone_into(&mut self.0[place]);
        char::from_u32('a' as u32 + place as u32)
    }
}

/// A keyword as IMAP can tell it, an atom (RFC 9051 §9). One that is too long stays so, for the store to refuse it.
fn keyword(word: &str) -> String {
    let fit = |letter: char| match letter {
        '(' | ')' | '{' | '%' | '*' | '"' | '\\' | ']' => '_',
        letter if letter.is_ascii_graphic() => letter,
        _ => '_',
    };
    word.chars().take(300).map(fit).collect()
}

/// The flags that the letters behind `:2,` mean.
pub(super) fn of_maildir(info: &str, letters: &Letters) -> Vec<String> {
    let flag = |letter: char| {
        let known = MAILDIR.iter().find(|(known, _)| *known == letter).map(|(_, flag)| *flag);
        known.or_else(|| letters.name(letter)).map(str::to_owned)
    };
    let mut flags: Vec<String> = info.chars().filter_map(flag).collect();
    flags.dedup();
    flags
}

/// The letters for flags, in their order, and the keywords for which there are none left.
pub(super) fn to_maildir<'a>(flags: &'a [String], letters: &mut Letters) -> (String, Vec<&'a str>) {
    let (mut info, mut left_out) = (Vec::new(), Vec::new());
    for flag in flags {
        let known = MAILDIR.iter().find(|(_, known)| known.eq_ignore_ascii_case(flag)).map(|(letter, _)| *letter);
        match known.or_else(|| letters.letter(flag)) {
            Some(letter) => info.push(letter),
            None => left_out.push(flag.as_str()),
        }
    }
    info.sort_unstable();
    (info.into_iter().collect(), left_out)
}

/// The flags that the values of Status, X-Status and X-Keywords mean. Others than an export may part keywords by
/// commas, which an atom may have (RFC 9051 §9).
pub(super) fn of_mbox(status: &str, more: &str, keywords: &str, exported: bool) -> Vec<String> {
    let seen = status.contains('R').then(|| "\\Seen".to_owned());
    let others = STATUS.iter().filter(|(letter, _)| more.contains(*letter)).map(|(_, flag)| (*flag).to_owned());
    let words = keywords.split(|letter: char| letter.is_whitespace() || letter == ',' && !exported);
    let keywords = words.filter(|word| !word.is_empty()).take(KEYWORDS_MOST).map(keyword);
    seen.into_iter().chain(others).chain(keywords).collect()
}

/// The flags that the values of X-Mozilla-Status and X-Mozilla-Keys mean; `None` for a message that was deleted.
pub(super) fn of_mozilla(state: u32, keys: &str) -> Option<Vec<String>> {
    let bits = MOZILLA.iter().filter(|(bit, _)| state & bit != 0).map(|(_, flag)| (*flag).to_owned());
    let keys = keys.split_whitespace().filter(|key| keyword(key) == *key).take(KEYWORDS_MOST).map(str::to_owned);
    (state & MOZILLA_EXPUNGED == 0).then(|| bits.chain(keys).collect())
}

/// The values of Status, X-Status and X-Keywords for flags.
pub(super) fn to_mbox(flags: &[String]) -> (String, String, String) {
    let has = |name: &str| flags.iter().any(|flag| flag.eq_ignore_ascii_case(name));
    let status = if has("\\Seen") { "RO" } else { "O" };
    let more = STATUS.iter().filter(|(_, flag)| has(flag)).map(|(letter, _)| *letter).collect();
    let keywords: Vec<&str> = flags.iter().map(String::as_str).filter(|flag| !flag.starts_with('\\')).collect();
    (status.into(), more, keywords.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn letters_mean_flags() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEYWORDS), "0 Junk\n2 $Label1\n99 far\nrubbish\n").unwrap();
        let mut letters = Letters::read(folder.path());
        let all =
            flags(&["\\Draft", "\\Flagged", "$Forwarded", "\\Answered", "\\Seen", "\\Deleted", "Junk", "$Label1"]);
        assert_eq!(of_maildir("DFPRSTac", &letters), all);
        assert_eq!(of_maildir("b?Zd", &letters), flags(&[]), "unknown letters mean nothing");
        assert_eq!(to_maildir(&all, &mut letters), ("DFPRSTac".into(), vec![]));
        assert_eq!(to_maildir(&flags(&["new", "junk"]), &mut letters).0, "ab");
        assert_eq!(letters.text(), "0 junk\n1 new\n2 $Label1\n");
        let many: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
        assert_eq!(to_maildir(&many, &mut letters).1.len(), 30 - 23);
    }

    #[test]
    fn status_fields_mean_flags() {
        let all = flags(&["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Label1", "x"]);
        assert_eq!(to_mbox(&all), ("RO".into(), "AFDT".into(), "$Label1 x".into()));
        assert_eq!(of_mbox("RO", "TDFA", " $Label1  x", false), all);
        assert_eq!(of_mbox(&to_mbox(&[]).0, "", "", true), flags(&[]));
        assert_eq!(
            of_mbox("", "", "a(b)\n\\Seen,\u{e4}", false),
            flags(&["a_b_", "_Seen", "_"]),
            "IMAP can tell them all"
        );
        assert_eq!(of_mbox("", "", "a,b c", true), flags(&["a,b", "c"]));
        assert_eq!(of_mbox("", "", "a,b c", false), flags(&["a", "b", "c"]));
        assert_eq!(
            of_mozilla(0x1007, "$label1  wo(rk &APw-").unwrap(),
            flags(&["\\Seen", "\\Answered", "\\Flagged", "$Forwarded", "$label1", "&APw-"])
        );
        assert_eq!((of_mozilla(0, ""), of_mozilla(9, "x")), (Some(vec![]), None));
        assert_eq!(of_mbox("", "", &"x ".repeat(100_000), true).len(), KEYWORDS_MOST);
    }
}
