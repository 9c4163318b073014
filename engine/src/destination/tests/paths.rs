//! Path patterns.

use crate::destination::DestinationError;
use crate::destination::PathOpening as O;
use crate::destination::PathPatternError as E;
use crate::destination::{CanonicalPath, PathOpenings, PathPattern, RequestTarget};

fn path(text: &str) -> CanonicalPath {
    let openings: PathOpenings = O::ALL.iter().copied().collect();
    RequestTarget::parse(text.as_bytes(), openings).unwrap_or_else(|error| panic!("{text}: {error}")).path
}

fn pattern(text: &str) -> PathPattern {
    PathPattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Pattern, path, whether it fits as it is, whether it fits when case is ignored.
const FITS: &[(&str, &str, bool, bool)] = &[
    ("/", "/", true, true),
    ("/", "/a", false, false),
    ("/a", "/a", true, true),
    ("/a", "/A", false, true),
    ("/a", "/a/", false, false),
    ("/a/", "/a/", true, true),
    ("/a/", "/a", false, false),
    ("/a", "/%61", true, true),
    ("/a/*", "/a/b", true, true),
    ("/a/*", "/a", false, false),
    ("/a/*", "/a/", false, false),
    ("/a/*", "/a/b/", false, false),
    ("/a/*", "/a/b/c", false, false),
    ("/a/*/", "/a/b/", true, true),
    ("/a/*/c", "/a/b/c", true, true),
    ("/a/*/c", "/a/b/C", false, true),
    ("/*", "/a", true, true),
    ("/*", "/", false, false),
    ("/*/*", "/a/b", true, true),
    ("/**", "/", true, true),
    ("/**", "/a", true, true),
    ("/**", "/a/b/", true, true),
    ("/a/**", "/a", true, true),
    ("/a/**", "/a/", true, true),
    ("/a/**", "/a/b/c/", true, true),
    ("/a/**", "/ab", false, false),
    ("/a/**", "/A/b", false, true),
    ("/a/**", "/", false, false),
    ("/a/*/**", "/a/b", true, true),
    ("/a/*/**", "/a/b/c", true, true),
    ("/a/*/**", "/a", false, false),
    ("/a/*/**", "/a/", false, false),
    ("/v1/export/**", "/V1/EXPORT/all", false, true),
    ("/caf%C3%A9", "/caf%c3%a9", true, true),
    ("/caf%C3%A9", "/CAF%C3%89", false, true),
    ("/%2A", "/*", true, true),
    ("/%2A", "/a", false, false),
    // Letters that only some mapping makes equal.
    ("/settings", "/%C5%BFettings", false, true),
    ("/kelvin", "/%E2%84%AAelvin", false, true),
    ("/stra%C3%9Fe", "/STRASSE", false, true),
    ("/file", "/f%C4%B1le", false, true),
    ("/%CE%BF%CF%83", "/%CE%9F%CE%A3", false, true),
    ("/%CE%BF%CF%82", "/%CE%BF%CF%83", false, true),
    // What compatibility folding makes equal, and what cannot be seen.
    ("/export", "/%EF%BD%85xport", false, true),
    ("/export", "/%E2%93%94xport", false, true),
    ("/export", "/%F0%9D%90%9Export", false, true),
    ("/export", "/ex%C2%ADport", false, true),
    ("/export", "/ex%E2%80%8Bport", false, true),
    ("/file", "/%EF%AC%81le", false, true),
    ("/file", "/f%C4%B0le", false, true),
    ("/caf%C3%A9", "/cafe%CC%81", false, true),
    ("/export", "/%D0%B5xport", false, false),
    // Dots and spaces that Windows drops.
    ("/export/*", "/export./a", false, true),
    ("/export/*", "/EXPORT%20/a", false, true),
    ("/export", "/export.a", false, false),
    ("/v1.", "/v1", false, true),
    ("/group%2Fproject", "/group%2fproject", true, true),
    ("/a;b", "/a;b", true, true),
    ("/a;b", "/a%3bb", true, true),
];

#[test]
fn patterns_fit() {
    for (text, on, exact, folded) in FITS {
        let pattern = pattern(text);
        assert_eq!(pattern.to_string(), *text);
        assert_eq!(pattern.matches(&path(on)).is_some(), *exact, "{text} on {on}");
        assert_eq!(pattern.matches_ignoring_case(&path(on)), *folded, "{text} on {on}, ignoring case");
    }
}

/// Deny pattern, path that uses an opening, whether the rule fits. The other reading decides.
const OPENED: &[(&str, &str, bool)] = &[
    ("/admin/**", "//admin/x", true),
    ("/admin/**", "/admin//x", true),
    ("/admin/x", "/admin//x", true),
    ("/admin/**", "/admin;x/y", true),
    ("/admin/**", "/;/admin/y", true),
    ("/admin/**", "/admin%3bx/y", true),
    ("/admin/**", "/admin%2fx", true),
    ("/admin/x", "/admin%2fx", true),
    ("/admin/*", "/admin;x/a%2fb", true),
    ("/admin/**", "/admin%5cx", true),
    ("/admin/**", "/admin\\x", true),
    ("/admin/**", "/%2561dmin/x", true),
    ("/admin/**", "/%252561dmin/x", true),
    ("/admin/**", "/public/../admin/x", true),
    ("/admin/**", "/public/%2e%2e/ADMIN/x", true),
    ("/admin/**", "/./admin", true),
    ("/admin/**", "/public%2f..%2fadmin", true),
    ("/admin/**", "/public/..;/admin", true),
    ("/admin/**", "/public/..%20/admin", true),
    ("/admin", "/admin%00.png", true),
    ("/admin", "/admin%00/x/y", true),
    ("/admin", "/ad%0dmin", true),
    ("/admin/**", "/%u0061dmin/x", true),
    ("/admin/**", "/ad%min/x", true),
    ("/admin/**", "/%%361dmin/x", true),
    ("/admin/**", "/admin%c0%afx", true),
    ("/admin/**", "/%c1%a1dmin/x", true),
    ("/caf%C3%A9", "/caf%e9", true),
    ("/admin/**", "/admin%EF%BC%8Fx", true),
    ("/admin/**", "/admin%C2%A5x", true),
    ("/admin/**", "/public/%EF%BC%8E%EF%BC%8E/admin", true),
    ("/admin/**", "/public//x", false),
    ("/admin/**", "/public;admin/x", false),
    ("/admin", "/administrator%00", false),
];

#[test]
fn deny_rules_meet_every_reading_of_an_open_path() {
    for (text, on, expected) in OPENED {
        assert!(!path(on).used().is_closed(), "{on} uses no opening");
        assert_eq!(pattern(text).matches_ignoring_case(&path(on)), *expected, "{text} on {on}");
    }
}

#[test]
fn allow_rules_follow_dot_segments() {
    for (text, on, expected) in [
        ("/public/**", "/public/../admin", false),
        ("/public/**", "/public/a/../b", true),
        ("/public/**", "/public/./b", true),
        ("/public/**", "/public/..;/admin", false),
        ("/public/**", "/public/x%2f..%2f..%2fadmin", false),
        ("/public/**", "/public/%252e%252e/admin", false),
        ("/**", "/public/../admin", true),
        // Without dots an opening means what RFC 3986 says.
        ("/projects/*/issues", "/projects/group%2Fproject/issues", true),
        ("/projects/*/*/issues", "/projects/group%2Fproject/issues", false),
    ] {
        assert_eq!(pattern(text).matches(&path(on)).is_some(), expected, "{text} on {on}");
    }
}

#[test]
fn paths_with_too_many_readings_are_refused() {
    let all: PathOpenings = O::ALL.iter().copied().collect();
    let text = "/a;b/%252e%252e//c%5c%00/%u0061%c0%af%2fx/../%EF%BC%8Fy%25%zz/%01";
    assert_eq!(RequestTarget::parse(text.as_bytes(), all), Err(DestinationError::ReadingsTooMany));
}

fn not_canonical(canonical: &str) -> E {
    E::NotCanonical { canonical: canonical.to_owned() }
}

#[test]
fn patterns_refused() {
    for (text, expected) in [
        ("", E::NotAbsolute),
        ("a", E::NotAbsolute),
        ("*", E::NotAbsolute),
        ("**", E::NotAbsolute),
        ("https://a.example/", E::NotAbsolute),
        ("/a?b", E::Query),
        ("/a#b", E::Query),
        ("/a/**/b", E::RestInside),
        ("/**/", E::RestInside),
        ("/**/**", E::RestInside),
        ("/a*", E::StarInSegment),
        ("/*a", E::StarInSegment),
        ("/a/***", E::StarInSegment),
        ("/a/*.json", E::StarInSegment),
        ("/users/{id}", E::Template),
        ("/%61", not_canonical("/a")),
        ("/caf%c3%a9", not_canonical("/caf%C3%A9")),
        ("/café", not_canonical("/caf%C3%A9")),
        ("/a|b/*", not_canonical("/a%7Cb/*")),
        ("/a\\b", not_canonical("/a%5Cb")),
        ("/a%3Bb", not_canonical("/a;b")),
        ("/a%2fb/**", not_canonical("/a%2Fb/**")),
        ("/a/../b", E::Path(DestinationError::PathClosed { opening: O::DotSegment, at: 3 })),
        ("/a/%2e%2e/b", E::Path(DestinationError::PathClosed { opening: O::DotSegment, at: 3 })),
        ("/a%00", E::Path(DestinationError::PathClosed { opening: O::EncodedControl, at: 2 })),
        ("/a%zz", E::Path(DestinationError::PathClosed { opening: O::BadEscape, at: 2 })),
        ("/a%ff", E::Path(DestinationError::PathClosed { opening: O::InvalidUtf8, at: 1 })),
        ("/a b", E::Path(DestinationError::PathCharacter { byte: b' ', at: 2 })),
    ] {
        assert_eq!(PathPattern::parse(text), Err(expected.clone()), "{text}");
        if let E::NotCanonical { canonical } = expected {
            assert!(PathPattern::parse(&canonical).is_ok(), "{canonical}");
        }
    }
}

#[test]
fn patterns_say_what_must_be_open() {
    for (text, needs) in [
        ("/a/b/**", vec![]),
        ("/a[0]", vec![]),
        ("/a//b", vec![O::EmptySegment]),
        ("/a;b", vec![O::Semicolon]),
        ("/a%2Fb", vec![O::EncodedSlash]),
        ("/a%5Cb", vec![O::EncodedBackslash]),
        ("/a%25b", vec![O::EncodedPercent]),
    ] {
        assert_eq!(pattern(text).needs(), needs.into_iter().collect(), "{text}");
    }
}

#[test]
fn the_closest_is_the_greatest() {
    // Each fits the path, from the least close to the closest.
    let on = path("/v1/orders/17");
    let order =
        ["/**", "/*/**", "/v1/**", "/v1/*/**", "/v1/orders/**", "/*/*/*", "/v1/*/*", "/v1/orders/*", "/v1/orders/17"];
    let closeness: Vec<_> = order.iter().map(|text| pattern(text).matches(&on).unwrap()).collect();
    assert!(closeness.is_sorted() && closeness.windows(2).all(|pair| pair[0] < pair[1]), "{closeness:?}");
}
