//! Names and passwords in the one form that all ways of typing them have in common (RFC 4013), the same for every
//! mechanism (RFC 4616 §2, RFC 5802 §2.2).

/// `text` in that form, or as it is where RFC 4013 does not take it.
pub(crate) fn prepared(text: &str) -> String {
    stringprep::saslprep(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}
