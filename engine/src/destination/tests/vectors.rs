//! The URL Standard's own tests (tests/vectors/urltestdata.json). Every http and https case, successes and failures: a
//! host or path that is accepted must be the standard's; what the standard refuses must be refused.

use crate::destination::DestinationError as E;
use crate::destination::{Authority, CanonicalHost, PathOpenings, RequestTarget, Scheme};
use serde_json::Value;
use std::collections::BTreeMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

struct Case {
    input: String,
    /// The scheme, where the input names or inherits one of ours.
    scheme: Scheme,
    /// The authority and what follows, where the input has one of its own.
    written: Option<(String, String)>,
    /// `None` for a failure.
    expected: Option<Value>,
}

fn cases() -> Vec<Case> {
    let list: Vec<Value> = serde_json::from_str(include_str!("../../../../tests/vectors/urltestdata.json")).unwrap();
    list.into_iter().filter(Value::is_object).filter_map(case).collect()
}

fn case(value: Value) -> Option<Case> {
    let input = value["input"].as_str().unwrap().to_owned();
    // What the parser strips before it starts (leading controls and spaces).
    let text = input.trim_start_matches(|c: char| c <= ' ');
    let own = text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let base = value["base"].as_str().and_then(|base| base.split_once(':')).map(|(scheme, _)| scheme.to_owned());
    let slashes = |text: &str| text.starts_with("//") || text.starts_with("\\\\") || text.starts_with("/\\");
    let (scheme, rest) = match own {
        Some((scheme, rest)) if scheme == "http" || scheme == "https" => {
            // `http:foo` with an http base is relative.
            let absolute = slashes(rest) || base.as_ref() != Some(&scheme);
            (scheme, absolute.then(|| rest.trim_start_matches(['/', '\\']).to_owned()))
        }
        _ => {
            let base = base.filter(|scheme| scheme == "http" || scheme == "https");
            match (base, value["protocol"].as_str()) {
                (_, Some(protocol)) if protocol != "http:" && protocol != "https:" => return None,
                (Some(base), _) => (base, slashes(text).then(|| text.trim_start_matches(['/', '\\']).to_owned())),
                _ => return None,
            }
        }
    };
    let written = rest.map(|rest| {
        let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        (authority.to_owned(), after.to_owned())
    });
    let expected = (value["failure"] != Value::Bool(true)).then_some(value);
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    Some(Case { input, scheme, written, expected })
}

/// Why a host that the standard accepts may be refused here. Anything else is a disagreement.
fn stricter(error: &E, authority: &str) -> bool {
    // Userinfo is refused whatever is in it.
    if authority.contains('@') {
        return true;
    }
    match error {
        // A port nobody can dial.
        E::PortOutOfRange => authority.ends_with(":0"),
        // Cleaned up by the standard.
        E::HostEscape { .. } | E::PortEmpty | E::PortLeadingZero => true,
        E::AuthorityCharacter { byte, .. } => matches!(byte, b'\t' | b'\n' | b'\r' | b' '),
        // Allowed by the standard, and no name of a web server.
        E::HostCharacter { byte } => !byte.is_ascii_alphanumeric(),
        E::SeveralHosts { .. } | E::LabelEmpty | E::LabelTooLong { .. } | E::HostTooLong { .. } => true,
        E::AuthorityTooLong { bytes } => *bytes == authority.len(),
        _ => false,
    }
}

#[test]
fn hosts_and_ports_are_the_standards_or_refused() {
    let mut seen = BTreeMap::<&str, usize>::new();
    for case in cases() {
        let Some((authority, _)) = &case.written else {
            *seen.entry("relative").or_default() += 1;
            continue;
        };
        let parsed = Authority::parse(authority.as_bytes());
        let input = &case.input;
        match (&case.expected, parsed) {
            (None, Ok(parsed)) => panic!("{input:?}: the standard refuses it, {parsed} came out"),
            (None, Err(_)) => *seen.entry("refused by both").or_default() += 1,
            (Some(_), Err(error)) => {
                assert!(stricter(&error, authority), "{input:?}: {error}");
                *seen.entry("refused here").or_default() += 1;
            }
            (Some(expected), Ok(parsed)) => {
                let host = expected["hostname"].as_str().unwrap();
                assert_eq!(parsed.host.to_string(), host.strip_suffix('.').unwrap_or(host), "{input:?}");
                // The standard leaves the default port out.
                let port = parsed.port.filter(|port| *port != case.scheme.default_port());
                let port = port.map_or_else(String::new, |port| port.to_string());
                assert_eq!(port, expected["port"].as_str().unwrap(), "{input:?}");
                *seen.entry("accepted by both").or_default() += 1;
            }
        }
    }
    // The loop met what the file holds: a test that skips its cases cannot pass.
    let count = |what: &str| seen.get(what).copied().unwrap_or_default();
    assert!(count("refused by both") >= 150, "{seen:?}");
    assert!(count("accepted by both") >= 80, "{seen:?}");
    assert!(count("refused here") >= 30, "{seen:?}");
}

#[test]
fn every_host_the_standard_puts_out_is_canonical_or_refused() {
    for case in cases() {
        let Some(expected) = &case.expected else { continue };
        let host = expected["hostname"].as_str().unwrap();
        match CanonicalHost::parse(host) {
            Ok(parsed) => assert_eq!(parsed.to_string(), host.strip_suffix('.').unwrap_or(host), "{:?}", case.input),
            Err(error) => assert!(stricter(&error, host), "{host}: {error}"),
        }
    }
}

#[test]
fn accepted_paths_are_not_rewritten_by_the_standard() {
    let (mut accepted, mut refused) = (0, 0);
    for case in cases() {
        let (Some((_, after)), Some(expected)) = (&case.written, &case.expected) else { continue };
        let Ok(target) = RequestTarget::parse(after.as_bytes(), PathOpenings::CLOSED) else {
            refused += 1;
            continue;
        };
        accepted += 1;
        assert_eq!(target.path.raw(), expected["pathname"].as_str().unwrap(), "{:?}", case.input);
        let search = target.query.filter(|query| !query.is_empty()).map_or_else(String::new, |q| format!("?{q}"));
        // The standard escapes four printable characters in a query that mean nothing to any server.
        let escaped = [('"', "%22"), ('\'', "%27"), ('<', "%3C"), ('>', "%3E")];
        let search = escaped.iter().fold(search, |search, (raw, escape)| search.replace(*raw, escape));
        assert_eq!(search, expected["search"].as_str().unwrap(), "{:?}", case.input);
    }
    assert!(accepted >= 30 && refused >= 60, "{accepted} accepted, {refused} refused");
}
