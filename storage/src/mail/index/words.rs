//! Words, and by which of them a text is found.

/// The longest word of the index, in characters. A longer run is kept as windows of this length.
const WORD: usize = 64;
/// How far the windows are apart, and so the longest needle that is certain to lie in one.
const STEP: usize = WORD / 2;

/// A text as it is compared: in small letters, a sigma at the end of a word as any other, with one space wherever there
/// is white space, so that a phrase is found across the end of a line.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_whitespace() {
            if !folded.ends_with(' ') {
                folded.push(' ');
            }
        } else {
            folded.extend(char.to_lowercase().map(|small| if small == 'ς' { 'σ' } else { small }));
        }
    }
    folded
}

/// The words of a folded text: runs of letters and digits. Of a run that is too long for a word there are windows,
/// which overlap by so much that whatever stands in the run and is no longer than [`STEP`] stands in one of them.
pub(super) fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|char: char| !char.is_alphanumeric()).filter(|run| !run.is_empty()).flat_map(Windows::new)
}

struct Windows<'a> {
    rest: Option<&'a str>,
}

impl<'a> Windows<'a> {
    fn new(run: &'a str) -> Self {
        Windows { rest: Some(run) }
    }
}

impl<'a> Iterator for Windows<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        // Bytes are no fewer than characters, so that most words are not counted.
        if rest.len() <= WORD {
            return Some(rest);
        }
        let place = |number: usize| rest.char_indices().nth(number).map(|(at, _)| at);
        let Some(end) = place(WORD) else { return Some(rest) };
        self.rest = place(STEP).map(|step| &rest[step..]);
        Some(&rest[..end])
    }
}

/// A word that a document must have to hold a needle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clue {
    pub(super) word: String,
    pub(super) shape: Shape,
}

/// How the word of a clue lies in a word of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is that word.
    Whole,
    /// At its start: the needle goes on before it with what is no word.
    Start,
    /// At its end.
    End,
    /// Anywhere.
    Within,
}

impl Shape {
    /// What lies in such a word when there is a space before and behind it.
    pub(super) fn pattern(self, word: &str) -> String {
        match self {
            Shape::Whole => format!(" {word} "),
            Shape::Start => format!(" {word}"),
            Shape::End => format!("{word} "),
            Shape::Within => word.to_owned(),
        }
    }
}

/// What a document must have to hold a needle, which is folded.
pub(super) struct Clues {
    pub(super) all: Vec<Clue>,
    /// Whether a document that has it does hold the needle.
    pub(super) certain: bool,
}

impl Clues {
    pub(super) fn of(needle: &str) -> Clues {
        let mut all = Vec::new();
        let mut rest = needle;
        while let Some(start) = rest.find(char::is_alphanumeric) {
            let run = &rest[start..];
            let end = run.find(|char: char| !char.is_alphanumeric()).unwrap_or(run.len());
            let (run, behind) = run.split_at(end);
            let first = start == 0 && rest.len() == needle.len();
            let shape = match (first, behind.is_empty()) {
                (true, true) => Shape::Within,
                (true, false) => Shape::End,
                (false, true) => Shape::Start,
                (false, false) => Shape::Whole,
            };
            all.push(match run.char_indices().nth(STEP) {
                None => Clue { word: run.to_owned(), shape },
                Some((cut, _)) => Clue { word: run[..cut].to_owned(), shape: Shape::Within },
            });
            rest = behind;
        }
        let certain = matches!(all.as_slice(), [clue] if clue.word == needle);
        Clues { all, certain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_folded_and_cut() {
        assert_eq!(fold("Grüße,\r\n\t ΣΊΣΥΦΟΣ İ"), "grüße, σίσυφοσ i\u{307}");
        assert_eq!(fold("Σίσυφος"), fold("ΣΊΣΥΦΟΣ"));
        let found: Vec<String> = words(&fold("It's 42, Ärger! 日本語 a_b")).map(str::to_owned).collect();
        assert_eq!(found, ["it", "s", "42", "ärger", "日本語", "a", "b"]);
    }

    #[test]
    fn whatever_stands_in_a_long_run_stands_in_a_window() {
        for length in [1, 63, 64, 65, 95, 96, 97, 128, 129, 500] {
            let run: String = (0..length).map(|at| char::from_u32(0x4e00 + at).unwrap()).collect();
            let windows: Vec<&str> = words(&run).collect();
            let chars: Vec<char> = run.chars().collect();
            for from in 0..chars.len() {
                let part: String = chars[from..chars.len().min(from + STEP)].iter().collect();
                assert!(windows.iter().any(|window| window.contains(&part)), "{from} of {length}");
            }
            let (start, end) =
                (chars[..chars.len().min(STEP)].iter(), chars[chars.len().saturating_sub(STEP)..].iter());
            assert!(windows[0].starts_with(&start.collect::<String>()));
            let end: String = end.collect();
            assert!(windows.iter().any(|window| window.ends_with(&end)), "the end of {length}");
            assert!(windows.iter().all(|window| window.chars().count() <= WORD));
        }
    }

    #[test]
    fn needles_give_clues() {
        let told = |needle: &str| {
            let clues = Clues::of(&fold(needle));
            let mut all: Vec<String> = clues.all.iter().map(|clue| clue.shape.pattern(&clue.word)).collect();
            all.extend(clues.certain.then(|| "!".to_owned()));
            all.join("|")
        };
        assert_eq!(told("Foo"), "foo|!");
        assert_eq!(told("foo bar  baz"), "foo | bar | baz");
        assert_eq!(told(" foo"), " foo");
        assert_eq!(told("foo."), "foo ");
        assert_eq!(told("<a@b.example>"), " a | b | example ");
        assert_eq!(told("...") + &told(""), "");
        assert_eq!(told(&"x".repeat(STEP)), format!("{}|!", "x".repeat(STEP)));
        assert_eq!(told(&"x".repeat(STEP + 1)), "x".repeat(STEP));
    }
}
