//! What Outlook asks for its settings with: the plain XML request of [MS-OXDSCLI] §2.2.3.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// The longest request; real ones have 400 bytes.
pub(crate) const LIMIT: usize = 64 << 10;
/// How deep elements may stand in each other; real ones go three deep.
const DEPTH: usize = 8;
/// The one kind of answer that tells of IMAP, POP3 and SMTP.
pub(crate) const RESPONSE: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

/// Why there are no settings for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It is not a request.
    Request,
    /// It wants another kind of answer.
    Schema,
}

/// An element that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Autodiscover,
    Request,
    Address,
    Schema,
    Other,
}

/// The address whose settings a request asks for; whether it is an address is for others to judge. No entity is known
/// but the five of XML itself, and a document type, which could define more, is refused.
pub(crate) fn address(body: &[u8]) -> Result<String, Wrong> {
    let text = std::str::from_utf8(body).map_err(|_| Wrong::Request)?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut fields = Fields::default();
    let mut path = Vec::with_capacity(DEPTH);
    let mut ended = false;
    loop {
        match reader.read_event().map_err(|_| Wrong::Request)? {
            Event::Start(start) if path.len() < DEPTH && !ended => {
                path.push(element(&start));
                fields.begin(&path)?;
            }
            Event::End(_) => {
                path.pop();
                ended = path.is_empty();
            }
            Event::Text(text) => fields.add(&path, &text.decode().map_err(|_| Wrong::Request)?)?,
            Event::CData(text) => fields.add(&path, &text.decode().map_err(|_| Wrong::Request)?)?,
            Event::GeneralRef(reference) => fields.add(&path, &character(&reference)?)?,
            Event::Empty(_) if !path.is_empty() => {}
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Start(_) | Event::Empty(_) | Event::DocType(_) => return Err(Wrong::Request),
            Event::Eof if ended => return fields.address(),
            Event::Eof => return Err(Wrong::Request),
        }
    }
}

fn element(start: &BytesStart<'_>) -> Element {
    match start.local_name().as_ref() {
        b"Autodiscover" => Element::Autodiscover,
        b"Request" => Element::Request,
        b"EMailAddress" => Element::Address,
        b"AcceptableResponseSchema" => Element::Schema,
        _ => Element::Other,
    }
}

/// What a reference in the text stands for.
fn character(reference: &BytesRef<'_>) -> Result<String, Wrong> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| Wrong::Request)? {
        return Ok(character.into());
    }
    let name = reference.decode().map_err(|_| Wrong::Request)?;
    resolve_xml_entity(&name).map(str::to_owned).ok_or(Wrong::Request)
}

/// The texts of the elements that matter.
#[derive(Default)]
struct Fields {
    address: Option<String>,
    schema: Option<String>,
}

impl Fields {
    fn field(&mut self, path: &[Element]) -> Option<&mut Option<String>> {
        match path {
            [Element::Autodiscover, Element::Request, Element::Address] => Some(&mut self.address),
            [Element::Autodiscover, Element::Request, Element::Schema] => Some(&mut self.schema),
            _ => None,
        }
    }

    /// An element begins; each that matters stands there once.
    fn begin(&mut self, path: &[Element]) -> Result<(), Wrong> {
        match self.field(path) {
            Some(field) if field.is_some() => Err(Wrong::Request),
            Some(field) => {
                *field = Some(String::new());
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn add(&mut self, path: &[Element], text: &str) -> Result<(), Wrong> {
        if let Some(field) = self.field(path).and_then(Option::as_mut) {
            field.push_str(text);
        } else if path.is_empty() && !text.trim().is_empty() {
            return Err(Wrong::Request);
        }
        Ok(())
    }

    fn address(self) -> Result<String, Wrong> {
        let address = self.address.ok_or(Wrong::Request)?;
        match self.schema.as_deref().map(str::trim) {
            Some(RESPONSE) => Ok(address.trim().to_owned()),
            Some(_) => Err(Wrong::Schema),
            None => Err(Wrong::Request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &str) -> String {
        let schema = "http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006";
        format!("<?xml version='1.0'?><Autodiscover xmlns='{schema}'><Request>{fields}</Request></Autodiscover>")
    }

    fn wanted(address: &str) -> String {
        let schema = format!("<AcceptableResponseSchema>{RESPONSE}</AcceptableResponseSchema>");
        request(&format!("<EMailAddress>{address}</EMailAddress>{schema}"))
    }

    #[test]
    fn what_outlook_asks() {
        for (written, read) in [
            ("alice@example.org", "alice@example.org"),
            ("\r\n  alice@example.org ", "alice@example.org"),
            ("a&amp;b&#x40;example.org", "a&b@example.org"),
            ("<![CDATA[a&b@example.org]]>", "a&b@example.org"),
            ("ali<!-- -->ce@example.org", "alice@example.org"),
            ("", ""),
        ] {
            assert_eq!(address(wanted(written).as_bytes()).as_deref(), Ok(read));
        }
        let marked = format!("\u{feff}{}", wanted("a@b"));
        assert_eq!(address(marked.as_bytes()).as_deref(), Ok("a@b"));
        let prefixed = wanted("a@b").replace("</", "</x:").replace("<A", "<x:A").replace("<R", "<x:R");
        assert_eq!(address(prefixed.replace("<EM", "<x:EM").as_bytes()).as_deref(), Ok("a@b"));
    }

    #[test]
    fn another_kind_of_answer() {
        assert_eq!(address(wanted("a@b").replace("/2006a", "/2006").as_bytes()), Err(Wrong::Schema));
    }

    #[test]
    fn what_is_no_request() {
        let bomb = format!("<!DOCTYPE a [<!ENTITY b 'bbbb'>]>{}", wanted("&b;"));
        let deep = wanted("a@b").replace("<Request>", &format!("<Request>{}", "<x>".repeat(10_000)));
        let twice = wanted("a@b").replace("<Acc", "<EMailAddress>c@d</EMailAddress><Acc");
        let cut = wanted("a@b").replace("</Autodiscover>", "");
        for text in [
            "",
            "x",
            "{}",
            "<Autodiscover/>",
            &bomb,
            &deep,
            &twice,
            &cut,
            &wanted("&b;"),
            &wanted("&#0;"),
            &wanted("a & b"),
            &wanted("a@b").replace("EMailAddress", "LegacyDN"),
            &request("<EMailAddress>a@b</EMailAddress>"),
            &format!("{}{}", wanted("a@b"), wanted("c@d")),
            &format!("{}x", wanted("a@b")),
        ] {
            assert_eq!(address(text.as_bytes()), Err(Wrong::Request), "{}", &text[..text.len().min(300)]);
        }
        assert_eq!(address(b"\xff\xfe<\0A\0"), Err(Wrong::Request));
    }
}
