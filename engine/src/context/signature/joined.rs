//! Field lines that the host joined before anyone could read them.
//!
//! RFC 9421 section 2.1 joins several lines of a field by a comma and a space. Envoy joins some fields itself, by a comma
//! alone, so that the lines `a` and `b` of `accept` come in as `a,b` where `a, b` was signed. For lists, white space after
//! a comma means nothing (RFC 9110 section 5.6.1): where the value as received does not verify, it is tried as sent.

use super::component::{Component, FieldForm, Kind};
use crate::request::RequestHead;

/// Fields that Envoy 1.40 joins and whose specification says that they are lists.
const LISTS: [&str; 9] = [
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "cache-control",
    "content-encoding",
    "if-match",
    "if-none-match",
    "pragma",
    "te",
];

/// The head with a space after each comma at which lines may have been joined, or `None` where no component is one of
/// those fields or nothing changes.
pub(crate) fn as_sent(head: &RequestHead, components: &[Component]) -> Option<RequestHead> {
    let mut sent: Option<RequestHead> = None;
    for component in components {
        let Kind::Field { name, form: FieldForm::Plain } = component.kind() else { continue };
        let Some(value) = LISTS.contains(&name.as_str()).then(|| head.single(name)).flatten() else { continue };
        let Some(spaced) = spaced(value) else { continue };
        let sent = sent.get_or_insert_with(|| head.clone());
        if let Some((_, value)) = sent.fields.iter_mut().find(|(other, _)| other == name) {
            *value = spaced.into();
        }
    }
    sent
}

/// The value with a space after each comma that has no white space after it; `None` where there is no such comma.
/// Commas in quoted strings are text, and stay as they are.
fn spaced(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len().saturating_add(8));
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in value.iter().enumerate() {
        out.push(*byte);
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                let next = value.get(at.saturating_add(1));
                if !matches!(next, None | Some(b' ' | b'\t')) {
                    out.push(b' ');
                }
            }
            _ => {}
        }
    }
    (out.len() != value.len()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn commas_get_a_space_where_lines_may_have_met() {
        for (received, sent) in [
            ("application/json,*/*", Some("application/json, */*")),
            ("a, b,c", Some("a, b, c")),
            ("a,,b", Some("a, , b")),
            ("a, b", None),
            ("a", None),
            ("", None),
            ("a,", None),
            ("a,\tb", None),
            // Text, not a list.
            (r#""a,b""#, None),
            (r#""a\",b","c""#, Some(r#""a\",b", "c""#)),
            (r#""a,b"#, None),
        ] {
            assert_eq!(spaced(received.as_bytes()).as_deref(), sent.map(str::as_bytes), "{received}");
        }
    }

    #[test]
    fn only_covered_lists_are_read_again() {
        let fields = [("accept", "a,b"), ("user-agent", "a,b"), ("te", "a,b"), ("pragma", "a,b")];
        let head = RequestHead {
            method: "GET".into(),
            scheme: None,
            authority: "a.example".into(),
            path: Some("/".into()),
            fields: fields.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())).collect(),
        };
        let sent = |names: &[&str]| {
            let components: Vec<_> = names.iter().map(|name| Component::parse(name).unwrap()).collect();
            as_sent(&head, &components).map(|sent| {
                let all = sent.fields.into_iter().map(|(_, value)| String::from_utf8(value.into()).unwrap());
                all.collect::<Vec<_>>()
            })
        };
        assert_eq!(sent(&["accept"]).unwrap(), ["a, b", "a,b", "a,b", "a,b"]);
        assert_eq!(sent(&["@method", "te", "accept"]).unwrap(), ["a, b", "a,b", "a, b", "a,b"]);
        for unchanged in [&["user-agent"][..], &["@path"], &["\"pragma\";bs"], &["cache-control"], &[]] {
            assert_eq!(sent(unchanged), None, "{unchanged:?}");
        }
    }
}
