//! Any authority and any target: nothing panics; what is accepted is a fixed point, is what the URL Standard reads, and has
//! one reading.
#![no_main]

use exeat_engine::destination::{
    Authority, CanonicalDestination, HostGrant, HostMatcher, HostPattern, PathOpening, PathOpenings, PathPattern,
    RequestTarget, Scheme,
};
use libfuzzer_sys::fuzz_target;

// The first two bytes choose the openings, the text after them is authority and target with a newline between.
fuzz_target!(|data: &[u8]| {
    let Some((bits, text)) = data.split_first_chunk::<2>() else { return };
    let bits = u16::from_le_bytes(*bits);
    let openings: PathOpenings =
        PathOpening::ALL.iter().copied().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, o)| o).collect();
    let at = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    let (authority, target) = text.split_at(at);
    let target = target.get(1..).unwrap_or_default();
    host(authority);
    path(target, openings);
    if let Ok(text) = std::str::from_utf8(authority)
        && let Ok(pattern) = HostPattern::parse(text)
    {
        assert_eq!(pattern.to_string(), text);
        let matcher = HostMatcher::build([(pattern, 1)]).unwrap();
        if let Ok(parsed) = Authority::parse(authority) {
            assert!(!matcher.find(&parsed.host).is_empty(), "{text:?} does not fit itself");
        }
    }
});

fn host(bytes: &[u8]) {
    let authority = match Authority::parse(bytes) {
        Ok(authority) => authority,
        Err(error) => {
            assert!(error.to_string().is_ascii());
            return;
        }
    };
    let destination =
        CanonicalDestination::new(authority.clone(), Scheme::Https, Some(b"/"), PathOpenings::CLOSED).unwrap();
    let _ = destination.check_host(HostGrant::default());
    assert_eq!(Authority::parse(authority.to_string().as_bytes()).as_ref(), Ok(&authority));
    let text = std::str::from_utf8(bytes).unwrap();
    let url = url::Url::parse(&format!("https://{text}/")).unwrap();
    let host = url.host_str().unwrap();
    assert_eq!(authority.host.to_string(), host.strip_suffix('.').unwrap_or(host));
    assert_eq!(Some(authority.port.unwrap_or(443)), url.port_or_known_default());
    assert_eq!((url.username(), url.password(), url.path()), ("", None, "/"));
}

fn path(bytes: &[u8], openings: PathOpenings) {
    if let Ok(target) = RequestTarget::parse(bytes, openings) {
        assert_eq!(RequestTarget::parse(bytes, target.path.used()).as_ref(), Ok(&target));
        let everything = PathPattern::parse("/**").unwrap();
        assert!(everything.matches(&target.path).is_some() && everything.matches_ignoring_case(&target.path));
    }
    let Ok(target) = RequestTarget::parse(bytes, PathOpenings::CLOSED) else { return };
    let text = std::str::from_utf8(bytes).unwrap();
    let url = url::Url::parse(&format!("https://a.example{text}")).unwrap();
    assert_eq!((url.path(), url.fragment()), (target.path.raw(), None));
    let segments = target.path.segments();
    assert_eq!(segments.len(), target.path.raw().matches('/').count());
    for segment in segments {
        assert!(segment != "." && segment != ".." && !segment.contains(['/', '\\', '%', ';', '\0', '\n']));
    }
}
