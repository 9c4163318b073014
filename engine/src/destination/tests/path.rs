//! Paths and queries, one collection a kind of input.

use crate::destination::DestinationError as E;
use crate::destination::PathOpening as O;
use crate::destination::path::{MAX_SEGMENTS, MAX_TARGET};
use crate::destination::{PathOpenings, RequestTarget};

fn parse(text: &[u8], openings: &[O]) -> Result<RequestTarget, E> {
    RequestTarget::parse(text, openings.iter().copied().collect())
}

/// Accepted with everything closed: the target, its segments, its query.
const ACCEPTED: &[(&str, &[&str], Option<&str>)] = &[
    ("/", &[""], None),
    ("/v1/orders", &["v1", "orders"], None),
    ("/v1/orders/", &["v1", "orders", ""], None),
    ("/V1/Orders", &["V1", "Orders"], None),
    ("/a%20b", &["a b"], None),
    ("/%61", &["a"], None),
    ("/caf%C3%A9", &["café"], None),
    ("/caf%c3%a9", &["café"], None),
    ("/a:b@c!$&'()*+,=~-._", &["a:b@c!$&'()*+,=~-._"], None),
    ("/a[0]", &["a[0]"], None),
    ("/.well-known/x", &[".well-known", "x"], None),
    ("/a.b/..c/d..", &["a.b", "..c", "d.."], None),
    ("/...a", &["...a"], None),
    ("/%2ea", &[".a"], None),
    ("/a?", &["a"], Some("")),
    ("/a?b=c&d", &["a"], Some("b=c&d")),
    ("/a?b?c", &["a"], Some("b?c")),
    ("/a?b=../../c//d;e\\f\"<>|^`{}", &["a"], Some("b=../../c//d;e\\f\"<>|^`{}")),
    ("/a?%zz%00%2f", &["a"], Some("%zz%00%2f")),
    ("/?", &[""], Some("")),
    ("/%3f", &["?"], None),
    ("/%23", &["#"], None),
    ("/%2A", &["*"], None),
    // Characters of writing that normalise to nothing dangerous.
    ("/%EF%BC%9F", &["？"], None),
    ("/a%E2%80%A6", &["a…"], None),
    ("/%C2%BD", &["½"], None),
    ("/%E5%90%8D%E5%89%8D%E3%80%82", &["名前。"], None),
];

#[test]
fn accepted() {
    for (text, segments, query) in ACCEPTED {
        let target = parse(text.as_bytes(), &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(target.path.segments(), *segments, "{text}");
        assert_eq!(target.query.as_deref(), *query, "{text}");
        assert_eq!(target.path.raw(), text.split('?').next().unwrap(), "{text}");
        assert!(target.path.used().is_closed(), "{text}");
    }
}

/// Target, openings it needs, where the first of them stands, segments once it is open.
type Closed<'a> = (&'a [u8], &'a [O], usize, &'a [&'a str]);

/// One thing closed at a time.
const CLOSED: &[Closed<'_>] = &[
    (b"//", &[O::EmptySegment], 1, &["", ""]),
    (b"//a", &[O::EmptySegment], 1, &["", "a"]),
    (b"/a//b", &[O::EmptySegment], 3, &["a", "", "b"]),
    (b"/a//", &[O::EmptySegment], 3, &["a", "", ""]),
    (b"/a;b", &[O::Semicolon], 2, &["a;b"]),
    (b"/;/a", &[O::Semicolon], 1, &[";", "a"]),
    (b"/a%3bb", &[O::Semicolon], 2, &["a;b"]),
    (b"/a%3B", &[O::Semicolon], 2, &["a;"]),
    (b"/.", &[O::DotSegment], 1, &["."]),
    (b"/..", &[O::DotSegment], 1, &[".."]),
    (b"/./", &[O::DotSegment], 1, &[".", ""]),
    (b"/a/../b", &[O::DotSegment], 3, &["a", "..", "b"]),
    (b"/a/..", &[O::DotSegment], 3, &["a", ".."]),
    (b"/%2e", &[O::DotSegment], 1, &["."]),
    (b"/%2E%2e", &[O::DotSegment], 1, &[".."]),
    (b"/.%2e/a", &[O::DotSegment], 1, &["..", "a"]),
    (b"/%2e./a", &[O::DotSegment], 1, &["..", "a"]),
    (b"/...", &[O::DotSegment], 1, &["..."]),
    (b"/..%20/a", &[O::DotSegment], 1, &[".. ", "a"]),
    (b"/%20./a", &[O::DotSegment], 1, &[" .", "a"]),
    (b"/a%2fb", &[O::EncodedSlash], 2, &["a/b"]),
    (b"/a%2Fb", &[O::EncodedSlash], 2, &["a/b"]),
    (b"/a%5cb", &[O::EncodedBackslash], 2, &["a\\b"]),
    (b"/a%5C", &[O::EncodedBackslash], 2, &["a\\"]),
    (b"/a%25", &[O::EncodedPercent], 2, &["a%"]),
    (b"/a%252f", &[O::EncodedPercent], 2, &["a%2f"]),
    (b"/a%00", &[O::EncodedControl], 2, &["a\0"]),
    (b"/a%0d%0aX:%20y", &[O::EncodedControl], 2, &["a\r\nX: y"]),
    (b"/a%1f", &[O::EncodedControl], 2, &["a\x1f"]),
    (b"/a%7F", &[O::EncodedControl], 2, &["a\x7f"]),
    (b"/a%c2%85", &[O::EncodedControl], 1, &["a\u{85}"]),
    (b"/a%", &[O::BadEscape], 2, &["a%"]),
    (b"/a%2", &[O::BadEscape], 2, &["a%2"]),
    (b"/a%zz", &[O::BadEscape], 2, &["a%zz"]),
    (b"/a%2/f", &[O::BadEscape], 2, &["a%2", "f"]),
    (b"/a%u002f", &[O::BadEscape], 2, &["a%u002f"]),
    (b"/a%+2", &[O::BadEscape], 2, &["a%+2"]),
    (b"/%%32", &[O::BadEscape], 1, &["%2"]),
    (b"/a%ff", &[O::InvalidUtf8], 1, &["a\u{fffd}"]),
    (b"/a%e9", &[O::InvalidUtf8], 1, &["a\u{fffd}"]),
    (b"/%c0%af", &[O::InvalidUtf8], 1, &["\u{fffd}\u{fffd}"]),
    (b"/%ed%a0%80", &[O::InvalidUtf8], 1, &["\u{fffd}\u{fffd}\u{fffd}"]),
    (b"/a%EF%BC%8Fb", &[O::Lookalike], 1, &["a／b"]),
    (b"/a%E2%81%84b", &[O::Lookalike], 1, &["a⁄b"]),
    (b"/a%E2%84%80", &[O::Lookalike], 1, &["a℀"]),
    (b"/a%EF%BC%BCb", &[O::Lookalike], 1, &["a＼b"]),
    (b"/a%C2%A5b", &[O::Lookalike], 1, &["a¥b"]),
    (b"/a\\b", &[O::RawBackslash], 2, &["a\\b"]),
    (b"/a\"b", &[O::RawCharacter], 2, &["a\"b"]),
    (b"/a<b", &[O::RawCharacter], 2, &["a<b"]),
    (b"/a>b", &[O::RawCharacter], 2, &["a>b"]),
    (b"/a|b", &[O::RawCharacter], 2, &["a|b"]),
    (b"/a^b", &[O::RawCharacter], 2, &["a^b"]),
    (b"/a`b", &[O::RawCharacter], 2, &["a`b"]),
    (b"/{id}", &[O::RawCharacter], 1, &["{id}"]),
    ("/café".as_bytes(), &[O::RawByte], 4, &["café"]),
];

/// Two things at once: what hides a dot segment does not open it.
const HIDDEN_DOTS: &[(&[u8], &[O])] = &[
    (b"/..;/admin", &[O::Semicolon]),
    (b"/..;a=b/admin", &[O::Semicolon]),
    (b"/..%3b/admin", &[O::Semicolon]),
    (b"/%2e%2e;/admin", &[O::Semicolon]),
    (b"/a%2f..%2fb", &[O::EncodedSlash]),
    (b"/a%2f%2e%2e", &[O::EncodedSlash]),
    (b"/a%5c..%5cb", &[O::EncodedBackslash]),
    (b"/a\\..\\b", &[O::RawBackslash]),
    (b"/%252e%252e/a", &[O::EncodedPercent]),
    (b"/%25252e/a", &[O::EncodedPercent]),
    (b"/%2525252525252e/a", &[O::EncodedPercent]),
    (b"/..%252f", &[O::EncodedPercent]),
    (b"/..%00/a", &[O::EncodedControl]),
    (b"/.%0d./a", &[O::EncodedControl]),
    (b"/%c0%ae%c0%ae/a", &[O::InvalidUtf8]),
    (b"/%e0%80%ae/a", &[O::InvalidUtf8]),
    (b"/%f0%80%80%ae./a", &[O::InvalidUtf8]),
    (b"/%%32e%%32e/a", &[O::BadEscape]),
    (b"/%EF%BC%8E%EF%BC%8E/a", &[O::Lookalike]),
    (b"/%E2%80%A5/a", &[O::Lookalike]),
    (b"/.%E2%80%A4/a", &[O::Lookalike]),
    (b"/%E2%80%A6/a", &[O::Lookalike]),
    (b"/..%EF%BC%8Fa", &[O::Lookalike]),
];

#[test]
fn closed_until_opened() {
    for (text, needs, at, segments) in CLOSED {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(parse(text, &[]), Err(E::PathClosed { opening: needs[0], at: *at }), "{shown}");
        let opened = parse(text, needs).unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(opened.path.segments(), *segments, "{shown}");
        assert_eq!(opened.path.used(), needs.iter().copied().collect(), "{shown}");
        assert_eq!(opened.path.raw().as_bytes(), *text, "{shown} was rewritten");
        // Everything else being open does not help.
        let others: Vec<O> = O::ALL.iter().copied().filter(|opening| *opening != needs[0]).collect();
        assert!(parse(text, &others).is_err(), "{shown}");
    }
    for opening in O::ALL {
        assert!(CLOSED.iter().any(|(_, needs, ..)| needs.contains(opening)), "{opening:?} is not in the table");
    }
}

#[test]
fn what_hides_a_dot_segment_does_not_open_it() {
    for (text, openings) in HIDDEN_DOTS {
        let shown = String::from_utf8_lossy(text);
        assert!(matches!(parse(text, openings), Err(E::PathClosed { opening: O::DotSegment, .. })), "{shown}");
        let mut all = openings.to_vec();
        all.push(O::DotSegment);
        assert!(parse(text, &all).is_ok(), "{shown}");
    }
}

#[test]
fn never_opened() {
    let long = vec![b'/'; MAX_TARGET + 1];
    let deep = "/a".repeat(MAX_SEGMENTS + 1);
    let table: &[(&[u8], E)] = &[
        (b"", E::TargetNotOrigin),
        (b"*", E::TargetAsterisk),
        (b"*a", E::TargetNotOrigin),
        (b"a", E::TargetNotOrigin),
        (b"?a", E::TargetNotOrigin),
        (b"\\a", E::TargetNotOrigin),
        (b"%2fa", E::TargetNotOrigin),
        (b" /a", E::TargetNotOrigin),
        (b"http://a.example/", E::TargetNotOrigin),
        (b"a.example:443", E::TargetNotOrigin),
        (&long, E::TargetTooLong { bytes: MAX_TARGET + 1 }),
        (deep.as_bytes(), E::SegmentsTooMany),
        (b"/a b", E::PathCharacter { byte: b' ', at: 2 }),
        (b"/a\tb", E::PathCharacter { byte: b'\t', at: 2 }),
        (b"/a\nb", E::PathCharacter { byte: b'\n', at: 2 }),
        (b"/a\0", E::PathCharacter { byte: 0, at: 2 }),
        (b"/a\x7f", E::PathCharacter { byte: 0x7f, at: 2 }),
        (b"/a#b", E::PathCharacter { byte: b'#', at: 2 }),
        (b"/a\xff", E::PathNotUtf8 { at: 2 }),
        (b"/a\xc0\xae", E::PathNotUtf8 { at: 2 }),
        (b"/a? b", E::QueryCharacter { byte: b' ', at: 3 }),
        (b"/a?b#c", E::QueryCharacter { byte: b'#', at: 4 }),
        (b"/a?b\x00", E::QueryCharacter { byte: 0, at: 4 }),
        (b"/a?b\x7f", E::QueryCharacter { byte: 0x7f, at: 4 }),
        ("/a?é".as_bytes(), E::QueryCharacter { byte: 0xc3, at: 3 }),
        (b"/a?\xff", E::QueryCharacter { byte: 0xff, at: 3 }),
    ];
    for (text, expected) in table {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(parse(text, O::ALL).as_ref(), Err(expected), "{shown}");
    }
    assert!(parse("/a".repeat(MAX_SEGMENTS).as_bytes(), &[]).is_ok());
}

#[test]
fn sets_of_openings() {
    let all: PathOpenings = O::ALL.iter().copied().collect();
    let slash = PathOpenings::CLOSED.with(O::EncodedSlash);
    assert_eq!(all.intersection(slash), slash);
    assert_eq!(slash.difference(all), PathOpenings::CLOSED);
    assert!(slash.has(O::EncodedSlash) && !slash.has(O::Semicolon));
    assert_eq!(all.iter().count(), O::ALL.len());
    let json = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<PathOpenings>(&json).unwrap(), all);
    assert!(serde_json::from_str::<PathOpenings>("[\"nonsense\"]").is_err());
    for opening in O::ALL {
        assert_eq!(O::from_code(opening.code()), Some(*opening));
        assert_eq!(serde_json::to_string(opening).unwrap(), format!("\"{}\"", opening.code()));
    }
}
