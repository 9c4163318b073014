//! Host patterns and the matcher.

use crate::destination::HostPatternError as E;
use crate::destination::HostSpecificity as S;
use crate::destination::{CanonicalHost, Cidr, CidrError, DestinationError, HostMatcher, HostPattern};

fn host(text: &str) -> CanonicalHost {
    CanonicalHost::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Pattern, host, how it fits.
const FITS: &[(&str, &str, Option<S>)] = &[
    ("api.example.com", "api.example.com", Some(S::Exact)),
    ("api.example.com", "API.example.com.", Some(S::Exact)),
    ("api.example.com", "b.api.example.com", None),
    ("api.example.com", "xapi.example.com", None),
    ("api.example.com", "example.com", None),
    ("api.example.com", "api.example.com.evil.example", None),
    ("*.example.com", "api.example.com", Some(S::Under(11))),
    ("*.example.com", "a.b.c.example.com", Some(S::Under(11))),
    ("*.example.com", "example.com", None),
    ("*.example.com", "badexample.com", None),
    ("*.example.com", "a.badexample.com", None),
    ("*.example.com", "example.com.evil.example", None),
    ("*.com", "example.com", Some(S::Under(3))),
    ("*.com", "com", None),
    ("*.internal", "vault.internal", Some(S::Under(8))),
    ("xn--bcher-kva.example", "bücher.example", Some(S::Exact)),
    ("*", "a.example", Some(S::Any)),
    ("*", "localhost", Some(S::Any)),
    // An address matches only a literal or a range.
    ("*", "8.8.8.8", None),
    ("*", "[::1]", None),
    ("8.8.8.8", "8.8.8.8", Some(S::Exact)),
    ("8.8.8.8", "0x08.8.8.8", Some(S::Exact)),
    ("8.8.8.8", "8.8.8.9", None),
    ("8.8.8.8", "[::ffff:8.8.8.8]", None),
    ("10.0.0.0/8", "10.1.2.3", Some(S::Range(8))),
    ("10.0.0.0/8", "11.1.2.3", None),
    ("10.0.0.0/8", "[::ffff:10.1.2.3]", None),
    ("10.1.2.3/32", "10.1.2.3", Some(S::Range(32))),
    ("2001:db8::1", "[2001:db8:0::1]", Some(S::Exact)),
    ("::ffff:a01:203", "[::ffff:10.1.2.3]", Some(S::Exact)),
    ("::ffff:a01:203", "10.1.2.3", None),
    ("2001:db8::/32", "[2001:db8::1]", Some(S::Range(32))),
    ("2001:db8::/32", "32.1.13.184", None),
];

#[test]
fn patterns_fit() {
    for (pattern, text, expected) in FITS {
        let parsed = HostPattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(parsed.to_string(), *pattern);
        assert_eq!(parsed.matches(&host(text)), *expected, "{pattern} on {text}");
        let matcher = HostMatcher::build([(parsed, 7)]).unwrap();
        let found: Vec<_> = matcher.find(&host(text)).iter().map(|m| (m.specificity, m.value)).collect();
        assert_eq!(found, expected.map(|s| (s, 7)).into_iter().collect::<Vec<_>>(), "{pattern} on {text}");
    }
}

fn not_canonical(canonical: &str) -> E {
    E::NotCanonical { canonical: canonical.to_owned() }
}

#[test]
fn patterns_refused() {
    let label = format!("{}.example", "a".repeat(64));
    let name = format!("{}example", "a.".repeat(124));
    let suffix = format!("*.{}aa", "a.".repeat(125));
    for (text, expected) in [
        ("", E::Empty),
        ("https://a.example", E::Url),
        ("a.example/v1", E::Path),
        ("a.example/", E::Path),
        ("*/8", E::Path),
        ("a.example:443", E::Port),
        ("a.example:", E::Port),
        ("a.example:x", E::Port),
        ("8.8.8.8:53", E::Port),
        ("*.a.example:443", E::Port),
        ("a.*.example", E::Wildcard),
        ("a*.example", E::Wildcard),
        ("*a.example", E::Wildcard),
        ("a.example.*", E::Wildcard),
        ("**", E::Wildcard),
        ("**.a.example", E::Wildcard),
        ("*.*.a.example", E::Wildcard),
        ("*.*", E::Wildcard),
        ("*.", E::WildcardEmpty),
        ("*.8.8.8.8", E::WildcardAddress),
        ("*.10.in-addr.arpa.8", E::Host(DestinationError::Ipv4Invalid)),
        (suffix.as_str(), E::WildcardTooLong),
        ("[::1]", E::Brackets),
        ("[::1]:80", E::Brackets),
        ("API.example", not_canonical("api.example")),
        ("api.example.", not_canonical("api.example")),
        ("bücher.example", not_canonical("xn--bcher-kva.example")),
        ("*.BÜCHER.example", not_canonical("*.xn--bcher-kva.example")),
        ("127.1", not_canonical("127.0.0.1")),
        ("0x7f000001", not_canonical("127.0.0.1")),
        ("2001:DB8::1", not_canonical("2001:db8::1")),
        ("::ffff:10.0.0.1", not_canonical("::ffff:a00:1")),
        ("0:0:0:0:0:0:0:1", not_canonical("::1")),
        ("FD00::/8", not_canonical("fd00::/8")),
        (".a.example", E::Host(DestinationError::LabelEmpty)),
        ("a..example", E::Host(DestinationError::LabelEmpty)),
        ("*..example", E::Host(DestinationError::LabelEmpty)),
        (label.as_str(), E::Host(DestinationError::LabelTooLong { bytes: 64 })),
        (name.as_str(), E::Host(DestinationError::HostTooLong { bytes: 255 })),
        ("a b.example", E::Host(DestinationError::AuthorityCharacter { byte: b' ', at: 1 })),
        ("a@b.example", E::Host(DestinationError::Userinfo { at: 1 })),
        ("xn--a.example", E::Host(DestinationError::HostIdna)),
        ("a.example.5", E::Host(DestinationError::Ipv4Invalid)),
        ("10.0.0.0/33", E::Range(CidrError::PrefixTooLong { most: 32 })),
        ("10.0.0.1/8", E::Range(CidrError::HostBits { canonical: Cidr::parse("10.0.0.0/8").unwrap() })),
        ("0.0.0.0/0", E::RangeOfAll),
        ("::/0", E::RangeOfAll),
    ] {
        assert_eq!(HostPattern::parse(text), Err(expected.clone()), "{text}");
        // What the message tells people to write is accepted.
        if let E::NotCanonical { canonical } = expected {
            assert!(HostPattern::parse(&canonical).is_ok(), "{canonical}");
        }
    }
}

#[test]
fn the_closest_comes_first() {
    let patterns = [
        ("*", 0),
        ("*.com", 1),
        ("*.example.com", 2),
        ("*.api.example.com", 3),
        ("v1.api.example.com", 4),
        ("v1.api.example.com", 9),
        ("v1.api.example.com", 9),
        ("v1.api.example.com", 5),
        ("api.example.com", 6),
        ("*.example.net", 7),
    ];
    let matcher =
        HostMatcher::build(patterns.iter().map(|(text, value)| (HostPattern::parse(text).unwrap(), *value))).unwrap();
    let values = |text: &str| matcher.find(&host(text)).iter().map(|m| m.value).collect::<Vec<_>>();
    assert_eq!(values("v1.api.example.com"), [4, 5, 9, 3, 2, 1, 0]);
    assert_eq!(values("api.example.com"), [6, 2, 1, 0]);
    assert_eq!(values("example.com"), [1, 0]);
    assert_eq!(values("example.org"), [0]);
    assert!(values("127.0.0.1").is_empty());

    let ranges =
        [("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.2.3", 3), ("10.1.2.3/32", 4), ("fd00::/8", 5), ("fd01::/64", 6)];
    let matcher =
        HostMatcher::build(ranges.iter().map(|(text, value)| (HostPattern::parse(text).unwrap(), *value))).unwrap();
    let values = |text: &str| matcher.find(&host(text)).iter().map(|m| m.value).collect::<Vec<_>>();
    assert_eq!(values("10.1.2.3"), [3, 4, 2, 1]);
    assert_eq!(values("10.1.2.4"), [2, 1]);
    assert_eq!(values("[fd00::1]"), [5]);
    assert!(values("a.example").is_empty());
    assert!(S::Exact > S::Under(253) && S::Under(1) > S::Range(128) && S::Range(0) > S::Any);
    assert!(S::Range(0).names() && S::Under(0).names() && S::Exact.names() && !S::Any.names());
}

#[test]
fn an_empty_matcher_finds_nothing() {
    let matcher = HostMatcher::build([]).unwrap();
    for text in ["a.example", "8.8.8.8", "[::1]"] {
        assert!(matcher.find(&host(text)).is_empty());
    }
}

#[test]
fn every_value_of_a_large_set_is_found() {
    for (count, kind) in [(9_000_u32, "automaton"), (20_000, "table")] {
        let patterns = (0..count).map(|n| {
            let text = if n % 3 == 0 { format!("*.t{n}.example") } else { format!("h{}.t{n}.example", n % 7) };
            (HostPattern::parse(&text).unwrap(), n)
        });
        let matcher = HostMatcher::build(patterns).unwrap();
        assert!(format!("{matcher:?}").contains(&format!("{kind}: {count}")), "{matcher:?}");
        for n in (0..count).step_by(37) {
            let found = matcher.find(&host(&format!("h{}.t{n}.example", n % 7)));
            assert_eq!(found.iter().map(|m| m.value).collect::<Vec<_>>(), [n]);
            assert!(matcher.find(&host(&format!("x.h{}.t{n}.example", n % 7))).iter().all(|m| m.value % 3 == 0));
        }
    }
}
