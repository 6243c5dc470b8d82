//! The fields that describe a part (RFC 2045, RFC 2183), and their parameters.

use super::header::{cut, unfold};
use super::{FIELD, words};

/// Names and values, as they stand in a field.
pub(super) type Parameters = Vec<(String, String)>;

/// The most that is read of a field, in bytes.
const LINE: usize = 16 << 10;
/// The most parameters of a field that are kept.
const PARAMETERS: usize = 50;
/// The most languages that are kept.
const LANGUAGES: usize = 50;

/// Type, subtype and parameters; `None` when it is not valid (RFC 2045 §5.2: then it counts as plain text).
pub(super) fn content_type(value: &[u8]) -> Option<(String, String, Parameters)> {
    let text = unfold(value, LINE);
    let mut reader = Reader(&text);
    let kind = reader.token()?;
    reader.space();
    reader.0 = reader.0.strip_prefix('/')?;
    let subtype = reader.token()?;
    Some((kind, subtype, reader.parameters()))
}

/// The kind of a disposition and its parameters.
pub(super) fn disposition(value: &[u8]) -> Option<(String, Parameters)> {
    let text = unfold(value, LINE);
    let mut reader = Reader(&text);
    Some((reader.token()?, reader.parameters()))
}

/// A field that is one word.
pub(super) fn token(value: &[u8]) -> Option<String> {
    Reader(&unfold(value, FIELD)).token()
}

/// The languages of a part (RFC 3282), separated by commas.
pub(super) fn languages(value: &[u8]) -> Vec<String> {
    let text = unfold(value, FIELD);
    let all = text.split(',').filter_map(|language| Reader(language).value());
    all.filter(|language| !language.is_empty()).take(LANGUAGES).collect()
}

/// Keeps the text of the first field of a name.
pub(super) fn first_text(known: &mut Option<String>, value: &[u8]) {
    known.get_or_insert_with(|| unfold(value, FIELD));
}

/// The value of a parameter, decoded when it is an extended one (RFC 2231 §4).
pub(super) fn parameter(parameters: &Parameters, name: &str) -> Option<String> {
    let find = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let Some(extended) = find(&format!("{name}*")) else { return find(name).map(str::to_owned) };
    let mut pieces = extended.splitn(3, '\'');
    let (charset, text) = match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(charset), Some(_), Some(text)) => (charset, text),
        _ => ("", extended),
    };
    Some(words::in_charset(charset, &words::percent_decoded(text)))
}

/// Joins parameters that were sent in pieces (RFC 2231 §3): `a*0*=x; a*1=y` is `a*=xy`. Pieces behind a gap stay as
/// they are.
fn joined(mut parameters: Parameters) -> Parameters {
    let first = |(name, _): &(String, String)| name.strip_suffix("*0*").or(name.strip_suffix("*0")).map(str::to_owned);
    let split: Vec<String> = parameters.iter().filter_map(first).collect();
    for name in split {
        let mut pieces = Vec::new();
        loop {
            let piece = format!("{name}*{}", pieces.len());
            let found = parameters.iter().position(|(known, _)| known.strip_suffix('*').unwrap_or(known) == piece);
            let Some(at) = found else { break };
            pieces.push(parameters.remove(at));
        }
        if pieces.iter().any(|(name, _)| name.ends_with('*')) {
            // What was not coded must not be decoded.
            let coded = |(name, value): &(String, String)| {
                if name.ends_with('*') { value.clone() } else { value.replace('%', "%25") }
            };
            parameters.push((format!("{name}*"), pieces.iter().map(coded).collect()));
        } else if !pieces.is_empty() {
            parameters.push((name, pieces.into_iter().map(|(_, value)| value).collect()));
        }
    }
    parameters
}

/// What is still to be read of a field.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    /// Passes over white space and comments.
    fn space(&mut self) {
        loop {
            self.0 = self.0.trim_start();
            let Some(comment) = self.0.strip_prefix('(') else { return };
            let (mut depth, mut escaped) = (1_usize, false);
            let end = comment.bytes().position(|byte| {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            self.0 = end.map_or("", |end| &comment[end + 1..]);
        }
    }

    /// The next word, in small letters.
    fn token(&mut self) -> Option<String> {
        self.space();
        let special = |char: char| char.is_whitespace() || char.is_control() || "()<>@,;:\\\"/[]?=".contains(char);
        let end = self.0.find(special).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        let mut token = token.to_ascii_lowercase();
        cut(&mut token, FIELD);
        (!token.is_empty()).then_some(token)
    }

    /// A quoted string, or all up to the next semicolon: unquoted spaces are common in file names.
    fn value(&mut self) -> Option<String> {
        self.space();
        let mut value = String::new();
        if let Some(quoted) = self.0.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            self.0 = "";
            while let Some((at, char)) = chars.next() {
                match char {
                    '"' => {
                        self.0 = &quoted[at + 1..];
                        break;
                    }
                    '\\' => value.extend(chars.next().map(|(_, char)| char)),
                    _ => value.push(char),
                }
            }
        } else {
            let end = self.0.find(';').unwrap_or(self.0.len());
            let (text, rest) = self.0.split_at(end);
            let text = text.split_once(" (").map_or(text, |(text, _)| text);
            value.push_str(text.trim());
            self.0 = rest;
        }
        cut(&mut value, FIELD);
        Some(value)
    }

    fn parameters(&mut self) -> Parameters {
        let mut all = Vec::new();
        while all.len() < PARAMETERS {
            // Whatever stands before the semicolon has no meaning.
            let Some(at) = self.0.find(';') else { break };
            self.0 = &self.0[at + 1..];
            let Some(name) = self.token() else { continue };
            self.space();
            if let Some(rest) = self.0.strip_prefix('=') {
                self.0 = rest;
                all.extend(self.value().map(|value| (name, value)));
            }
        }
        joined(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read() {
        let told = |value: &str| {
            content_type(value.as_bytes()).map(|(kind, subtype, parameters)| {
                let all = parameters.iter().map(|(name, value)| format!(" {name}=<{value}>"));
                format!("{kind}/{subtype}{}", all.collect::<String>())
            })
        };
        for (value, expected) in [
            (" Text/Plain; CharSet=UTF-8", Some("text/plain charset=<UTF-8>")),
            ("text / plain (a;b) ;\r\n\tname=\"a\\\"b;c\" ; x=y", Some("text/plain name=<a\"b;c> x=<y>")),
            ("multipart/mixed; boundary=\"a b\"; ; =x; y; z=", Some("multipart/mixed boundary=<a b> z=<>")),
            ("multipart/mixed; boundary=a (comment)", Some("multipart/mixed boundary=<a>")),
            ("application/pdf; name=my file.pdf; size=3", Some("application/pdf name=<my file.pdf> size=<3>")),
            ("text/plain; name=\"never closed; x=y", Some("text/plain name=<never closed; x=y>")),
            ("text", None),
            ("/plain", None),
            ("text/", None),
            ("", None),
        ] {
            assert_eq!(told(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn parameters_are_joined_and_decoded() {
        for (value, expected) in [
            ("filename=plain.txt", Some("plain.txt")),
            ("filename*=utf-8'de'Gr%C3%BC%C3%9Fe.txt; filename=x", Some("Grüße.txt")),
            ("filename*=iso-8859-1''%FC", Some("ü")),
            ("filename*0*=utf-8''a%C3; filename*1*=%BC; filename*2=\"%41.txt\"", Some("aü%41.txt")),
            ("filename*0=a; filename*1=b; filename*3=d", Some("ab")),
            ("filename*1=b; size=3; filename*0=a%41", Some("a%41b")),
            ("filename*=no quotes %4x", Some("no quotes %4x")),
            ("name=x", None),
        ] {
            let (_, parameters) = disposition(format!("attachment; {value}").as_bytes()).unwrap();
            assert_eq!(parameter(&parameters, "filename").as_deref(), expected, "{value}");
        }
        let (_, parameters) = disposition(b"inline; x=1; a*1=%; a*0*=b; y=2; a*3=c").unwrap();
        assert_eq!(
            parameters,
            [("x", "1"), ("y", "2"), ("a*3", "c"), ("a*", "b%25")].map(|(n, v)| (n.into(), v.into()))
        );
        assert_eq!(languages(b"de, en-GB (x), , \"fr\""), ["de", "en-GB", "fr"]);
    }
}
