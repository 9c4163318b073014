//! Whether the head says that a body is JSON, in UTF-8 and as it stands.

use super::inspect::Unreadable;
use crate::request::Field;

/// Checks the type and the coding of a body. A server that is told otherwise reads other bytes, or reads them otherwise.
pub fn check(fields: &[Field]) -> Result<(), Unreadable> {
    for (_, value) in fields.iter().filter(|(name, _)| name == "content-encoding") {
        // RFC 9110 section 8.4: `identity` should not be sent, and changes nothing.
        if !value.trim_ascii().eq_ignore_ascii_case(b"identity") {
            return Err(Unreadable::Coding);
        }
    }
    let mut types = fields.iter().filter(|(name, _)| name == "content-type");
    let (Some((_, value)), None) = (types.next(), types.next()) else { return Err(Unreadable::Type) };
    let text = std::str::from_utf8(value).map_err(|_| Unreadable::Type)?;
    let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
    if !is_json(media.trim_matches([' ', '\t'])) {
        return Err(Unreadable::Type);
    }
    check_parameters(parameters)
}

/// `application/json`, and `+json` (RFC 6839 section 3.1) of any type.
fn is_json(media: &str) -> bool {
    let token = |text: &str| !text.is_empty() && text.bytes().all(is_token);
    let Some((kind, subtype)) = media.split_once('/') else { return false };
    if !token(kind) || !token(subtype) {
        return false;
    }
    let subtype = subtype.to_ascii_lowercase();
    (kind.eq_ignore_ascii_case("application") && subtype == "json")
        || subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty())
}

/// RFC 9110 section 5.6.6. JSON has no charset (RFC 8259 section 11), but a server may heed one: none but UTF-8 is taken.
fn check_parameters(mut rest: &str) -> Result<(), Unreadable> {
    let mut charset = false;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(after) = rest.strip_prefix(';') {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let (name, after) = rest.split_once('=').ok_or(Unreadable::Type)?;
        let (value, after) = match after.strip_prefix('"') {
            // Escapes in it are nothing that a client needs.
            Some(quoted) => quoted.split_once('"').ok_or(Unreadable::Type)?,
            None => {
                after.split_at_checked(after.find([';', ' ', '\t']).unwrap_or(after.len())).ok_or(Unreadable::Type)?
            }
        };
        let plain = name.bytes().all(is_token) && !name.is_empty() && !value.contains('\\') && !value.is_empty();
        let after = after.trim_start_matches([' ', '\t']);
        if !plain || !(after.is_empty() || after.starts_with(';')) {
            return Err(Unreadable::Type);
        }
        if name.eq_ignore_ascii_case("charset") {
            let utf8 = value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8");
            if !utf8 || std::mem::replace(&mut charset, true) {
                return Err(Unreadable::Charset);
            }
        }
        rest = after;
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(fields: &[(&str, &str)]) -> Result<(), Unreadable> {
        let fields: Vec<_> =
            fields.iter().map(|(n, v)| ((*n).to_owned().into(), v.as_bytes().to_vec().into())).collect();
        check(&fields)
    }

    #[test]
    fn only_json_in_utf_8_is_read() {
        for value in [
            "application/json",
            "Application/JSON",
            "application/json;charset=utf-8",
            "application/json; charset=\"UTF-8\"",
            "application/json ; charset=utf8 ;",
            "application/json; profile=\"a b\"; v=1",
            "application/vnd.api+json",
            "application/problem+JSON; charset=utf-8",
        ] {
            assert_eq!(checked(&[("content-type", value)]), Ok(()), "{value}");
        }
        for value in [
            "",
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "application/jsonp",
            "application/json-seq",
            "application/x-ndjson",
            "application/+json",
            "application/ json",
            "json",
            "application/json, text/plain",
            "application/json; charset",
            "application/json; =utf-8",
            "application/json; charset=\"utf-8",
            "application/json; charset=\"utf-8\"x",
            "application/json; a=\"\\\"; charset=utf-16; b=\"",
            "application/json; a=b c",
        ] {
            assert_eq!(checked(&[("content-type", value)]), Err(Unreadable::Type), "{value}");
        }
        for value in [
            "application/json; charset=utf-16",
            "application/json; charset=latin1",
            "application/json; CHARSET=iso-8859-1",
            "application/json; charset=utf-8; charset=utf-8",
            "application/json; charset=utf-8; Charset=utf-16le",
            "application/json; charset=utf-7",
        ] {
            assert_eq!(checked(&[("content-type", value)]), Err(Unreadable::Charset), "{value}");
        }
        assert_eq!(checked(&[]), Err(Unreadable::Type));
        assert_eq!(
            checked(&[("content-type", "application/json"), ("content-type", "application/json")]),
            Err(Unreadable::Type)
        );
    }

    #[test]
    fn a_coded_body_is_not_read() {
        let json = ("content-type", "application/json");
        assert_eq!(checked(&[json, ("content-encoding", "identity")]), Ok(()));
        for coding in ["gzip", "br", "identity, gzip", "", "deflate"] {
            assert_eq!(checked(&[json, ("content-encoding", coding)]), Err(Unreadable::Coding), "{coding}");
        }
    }
}
