//! Authorities, one collection a kind of input.

use crate::decision::Reason;
use crate::destination::DestinationError as E;
use crate::destination::{Authority, CanonicalDestination, HostGrant, PathOpenings, Scheme, SpecialUse};

/// What is written, and the canonical form.
const ACCEPTED: &[(&str, &str)] = &[
    ("api.example.com", "api.example.com"),
    ("API.Example.COM", "api.example.com"),
    ("api.example.com.", "api.example.com"),
    ("api.example.com:8443", "api.example.com:8443"),
    ("api.example.com.:8443", "api.example.com:8443"),
    ("a_b.example", "a_b.example"),
    ("r3---sn-x.example", "r3---sn-x.example"),
    ("-a.example", "-a.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("localhost:3000", "localhost:3000"),
    ("192.0.2.1", "192.0.2.1"),
    ("[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443"),
    ("[::ffff:192.0.2.1]", "[::ffff:c000:201]"),
    ("a.example:1", "a.example:1"),
    ("a.example:65535", "a.example:65535"),
];

/// Names that map to ASCII or punycode. The canonical form is what goes on.
const IDNA: &[(&str, &str)] = &[
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.example", "xn--bcher-kva.example"),
    ("straße.example", "xn--strae-oqa.example"),
    ("ｅｘａｍｐｌｅ．com", "example.com"),
    ("example。com", "example.com"),
    ("example｡com", "example.com"),
    ("exam\u{ad}ple.com", "example.com"),
    ("exam\u{200b}ple.com", "example.com"),
    ("ⓔxample.com", "example.com"),
    ("K.example", "k.example"),
    ("ſ.example", "s.example"),
    ("аpple.example", "xn--pple-43d.example"),
    ("\u{65}\u{301}.example", "xn--9ca.example"),
    ("faß\u{200d}.example.", ""),
];

/// Every spelling of an IPv4 address that some resolver or the URL Standard reads.
const IPV4_SPELLINGS: &[(&str, &str)] = &[
    ("127.1", "127.0.0.1"),
    ("127.0.1", "127.0.0.1"),
    ("127.1.", "127.0.0.1"),
    ("127.0.0.1.", "127.0.0.1"),
    ("0x7f.1", "127.0.0.1"),
    ("0X7F.1", "127.0.0.1"),
    ("0x7f000001", "127.0.0.1"),
    ("0x000000007f000001", "127.0.0.1"),
    ("2130706433", "127.0.0.1"),
    ("017700000001", "127.0.0.1"),
    ("0177.0.0.1", "127.0.0.1"),
    ("0177.0x0.0.1", "127.0.0.1"),
    ("00000177.1", "127.0.0.1"),
    ("127.000.000.001", "127.0.0.1"),
    ("１２７.０.０.１", "127.0.0.1"),
    ("①②⑦.⓪.⓪.①", "127.0.0.1"),
    ("127。0。0。1", "127.0.0.1"),
    ("127．0．0．1", "127.0.0.1"),
    ("1\u{ad}27.0.0.1", "127.0.0.1"),
    ("0", "0.0.0.0"),
    ("0x", "0.0.0.0"),
    ("0x.0x.0", "0.0.0.0"),
    ("2852039166", "169.254.169.254"),
    ("0xa9fea9fe", "169.254.169.254"),
    ("0251.0376.0251.0376", "169.254.169.254"),
    ("169.254.43518", "169.254.169.254"),
];

#[test]
fn canonical_forms() {
    for (text, expected) in ACCEPTED.iter().chain(IDNA).chain(IPV4_SPELLINGS) {
        match Authority::parse(text.as_bytes()) {
            Ok(authority) => assert_eq!(authority.to_string(), *expected, "{text}"),
            Err(error) => assert_eq!(*expected, "", "{text}: {error}"),
        }
    }
}

#[test]
fn refusals() {
    let label64 = format!("{}.example", "a".repeat(64));
    let label63 = format!("{}.example", "a".repeat(63));
    let name254 = format!("{}.example", "a.".repeat(123));
    let name253 = format!("{}.example", format!("{}a", "a.".repeat(122)).as_str().get(..245).unwrap());
    assert_eq!((name254.len(), name253.len()), (254, 253));
    assert!(Authority::parse(label63.as_bytes()).is_ok());
    assert!(Authority::parse(name253.as_bytes()).is_ok());
    let long = "a".repeat(1025);
    let table: &[(&[u8], E)] = &[
        (b"", E::AuthorityEmpty),
        (long.as_bytes(), E::AuthorityTooLong { bytes: 1025 }),
        (b"a\xff.example", E::AuthorityNotUtf8 { at: 1 }),
        (b"a\xc0\xae.example", E::AuthorityNotUtf8 { at: 1 }),
        (b"user@a.example", E::Userinfo { at: 4 }),
        (b"user:pw@a.example", E::Userinfo { at: 7 }),
        (b"a.example@b.example", E::Userinfo { at: 9 }),
        (b"@a.example", E::Userinfo { at: 0 }),
        (b"a.example,b.example", E::SeveralHosts { at: 9 }),
        (b"a.example, b.example", E::SeveralHosts { at: 9 }),
        (b" a.example", E::AuthorityCharacter { byte: 0x20, at: 0 }),
        (b"a.example ", E::AuthorityCharacter { byte: 0x20, at: 9 }),
        // The URL Standard strips tabs and newlines before it parses.
        (b"exam\tple.com", E::AuthorityCharacter { byte: 0x09, at: 4 }),
        (b"exam\nple.com", E::AuthorityCharacter { byte: 0x0a, at: 4 }),
        (b"exam\rple.com", E::AuthorityCharacter { byte: 0x0d, at: 4 }),
        (b"a.example\0.b.example", E::AuthorityCharacter { byte: 0x00, at: 9 }),
        (b"a.example\x7f", E::AuthorityCharacter { byte: 0x7f, at: 9 }),
        (b"a.example/b.example", E::AuthorityCharacter { byte: b'/', at: 9 }),
        (b"a.example\\b.example", E::AuthorityCharacter { byte: b'\\', at: 9 }),
        (b"a.example?b.example", E::AuthorityCharacter { byte: b'?', at: 9 }),
        (b"a.example#b.example", E::AuthorityCharacter { byte: b'#', at: 9 }),
        (b"https://a.example", E::AuthorityCharacter { byte: b'/', at: 6 }),
        (b"a%2eexample.com", E::HostEscape { at: 1 }),
        (b"%31%32%37.1", E::HostEscape { at: 0 }),
        (b"a.example%00", E::HostEscape { at: 9 }),
        (b"[fe80::1%eth0]", E::Ipv6Zone),
        (b"[fe80::1%25eth0]", E::Ipv6Zone),
        (b":443", E::HostEmpty),
        ("\u{ad}".as_bytes(), E::HostEmpty),
        ("a\u{ff0f}b.example".as_bytes(), E::HostIdna),
        ("a\u{ff20}b.example".as_bytes(), E::HostIdna),
        ("a\u{ff1a}80".as_bytes(), E::HostIdna),
        ("\u{2100}.example".as_bytes(), E::HostIdna),
        ("a\u{ff05}41.example".as_bytes(), E::HostIdna),
        (b"xn--a.example", E::HostIdna),
        (b"xn--.example", E::HostIdna),
        (b"a.example|b", E::HostIdna),
        (b"a<b.example", E::HostIdna),
        (b"a[b.example", E::HostIdna),
        ("a\u{ff0c}b.example".as_bytes(), E::HostCharacter { byte: b',' }),
        ("a\u{ff0a}.example".as_bytes(), E::HostCharacter { byte: b'*' }),
        (b"*.example.com", E::HostCharacter { byte: b'*' }),
        (b"a'b.example", E::HostCharacter { byte: b'\'' }),
        (b"a\"b.example", E::HostCharacter { byte: b'"' }),
        (b"a;b.example", E::HostCharacter { byte: b';' }),
        (b"a$b.example", E::HostCharacter { byte: b'$' }),
        (b"a{b}.example", E::HostCharacter { byte: b'{' }),
        (b"a~b.example", E::HostCharacter { byte: b'~' }),
        (b".", E::LabelEmpty),
        (b"..", E::LabelEmpty),
        (b".a.example", E::LabelEmpty),
        (b"a..example", E::LabelEmpty),
        (b"a.example..", E::LabelEmpty),
        (b"127.0.0.1..", E::LabelEmpty),
        ("a\u{3002}\u{3002}example".as_bytes(), E::LabelEmpty),
        (label64.as_bytes(), E::LabelTooLong { bytes: 64 }),
        (name254.as_bytes(), E::HostTooLong { bytes: 254 }),
        (b"256.0.0.1", E::Ipv4Invalid),
        (b"1.2.3.4.5", E::Ipv4Invalid),
        (b"4294967296", E::Ipv4Invalid),
        (b"0x100000000", E::Ipv4Invalid),
        (b"127.0.0.08", E::Ipv4Invalid),
        (b"1..2", E::Ipv4Invalid),
        (b"a.example.1", E::Ipv4Invalid),
        (b"a.0x1", E::Ipv4Invalid),
        (b"[", E::Ipv6Invalid),
        (b"[]", E::Ipv6Invalid),
        (b"[:]", E::Ipv6Invalid),
        (b"[::1", E::Ipv6Invalid),
        (b"[127.0.0.1]", E::Ipv6Invalid),
        (b"[a.example]", E::Ipv6Invalid),
        (b"[::127.1]", E::Ipv6Invalid),
        (b"[::127.0.0.01]", E::Ipv6Invalid),
        (b"[v1.a]", E::Ipv6Invalid),
        (b"[::1]a", E::AuthorityCharacter { byte: b'a', at: 5 }),
        (b"[::1].a.example", E::AuthorityCharacter { byte: b'.', at: 5 }),
        (b"[::1]]", E::AuthorityCharacter { byte: b']', at: 5 }),
        (b"::1", E::ColonRepeated { at: 1 }),
        (b"2001:db8::1", E::PortCharacter { byte: b'd', at: 5 }),
        (b"a.example:80:443", E::ColonRepeated { at: 12 }),
        (b"a.example:", E::PortEmpty),
        (b"[::1]:", E::PortEmpty),
        (b"a.example:+80", E::PortCharacter { byte: b'+', at: 10 }),
        (b"a.example:-80", E::PortCharacter { byte: b'-', at: 10 }),
        (b"a.example:0x50", E::PortCharacter { byte: b'x', at: 11 }),
        ("a.example:８０".as_bytes(), E::PortCharacter { byte: 0xef, at: 10 }),
        (b"a.example:080", E::PortLeadingZero),
        (b"a.example:00", E::PortLeadingZero),
        (b"a.example:0", E::PortOutOfRange),
        (b"a.example:65536", E::PortOutOfRange),
        (b"a.example:99999999999999999999", E::PortOutOfRange),
    ];
    for (bytes, expected) in table {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(Authority::parse(bytes).as_ref(), Err(expected), "{shown}");
        assert_eq!(expected.reason(), Reason::DestinationMalformed);
        assert!(expected.to_string().is_ascii(), "{shown}: the message shows bytes of the client");
    }
}

#[test]
fn ports_follow_the_configured_scheme() {
    for (text, scheme, port, authority) in [
        ("a.example", Scheme::Https, 443, "a.example"),
        ("a.example", Scheme::Http, 80, "a.example"),
        ("a.example:443", Scheme::Https, 443, "a.example"),
        ("a.example:80", Scheme::Http, 80, "a.example"),
        ("a.example:80", Scheme::Https, 80, "a.example:80"),
        ("a.example:443", Scheme::Http, 443, "a.example:443"),
        ("[::1]:8080", Scheme::Https, 8080, "[::1]:8080"),
        ("[0::1]", Scheme::Https, 443, "[::1]"),
    ] {
        let destination =
            CanonicalDestination::parse(text.as_bytes(), Some(b"/"), scheme, PathOpenings::CLOSED).unwrap();
        assert_eq!(destination.port, port, "{text}");
        assert_eq!(destination.authority(scheme), authority, "{text}");
    }
}

#[test]
fn connect_names_its_port() {
    let parse = |text: &str| CanonicalDestination::parse(text.as_bytes(), None, Scheme::Https, PathOpenings::CLOSED);
    for (text, authority) in
        [("A.example:443", "a.example:443"), ("a.example:22", "a.example:22"), ("[0::1]:443", "[::1]:443")]
    {
        let destination = parse(text).unwrap();
        assert_eq!((destination.authority(Scheme::Https).as_str(), destination.path), (authority, None));
    }
    assert_eq!(parse("a.example"), Err(E::PortMissing));
    assert_eq!(parse("a.example:"), Err(E::PortEmpty));
}

/// A host, what it is closed for, and whether naming it is enough.
const SPECIAL_USE: &[(&str, Option<SpecialUse>)] = &[
    ("a.example", None),
    ("a.test", None),
    ("example.com", None),
    ("local.example", None),
    ("localhost.example.com", None),
    ("internal.example.com", None),
    ("metadata.example.com", None),
    ("arpa.com", None),
    ("localhost", Some(SpecialUse::Localhost)),
    ("LOCALHOST.", Some(SpecialUse::Localhost)),
    ("ｌｏｃａｌｈｏｓｔ", Some(SpecialUse::Localhost)),
    ("a.b.localhost", Some(SpecialUse::Localhost)),
    ("printer", Some(SpecialUse::SingleLabel)),
    ("com", Some(SpecialUse::SingleLabel)),
    ("kubernetes.", Some(SpecialUse::SingleLabel)),
    ("printer.local", Some(SpecialUse::Local)),
    ("kubernetes.default.svc.cluster.local", Some(SpecialUse::Local)),
    ("kubernetes.default.svc", Some(SpecialUse::Svc)),
    ("vault.internal", Some(SpecialUse::Internal)),
    ("1.0.0.127.in-addr.arpa", Some(SpecialUse::Arpa)),
    ("router.home.arpa", Some(SpecialUse::Arpa)),
    ("a.onion", Some(SpecialUse::Onion)),
    ("a.invalid", Some(SpecialUse::Invalid)),
    ("metadata.google.internal", Some(SpecialUse::Metadata)),
    ("METADATA.GOOGLE.INTERNAL.", Some(SpecialUse::Metadata)),
    ("x.metadata.google.internal", Some(SpecialUse::Metadata)),
    ("xmetadata.google.internal", Some(SpecialUse::Internal)),
    ("metadata.goog", Some(SpecialUse::Metadata)),
    ("metadata.tencentyun.com", Some(SpecialUse::Metadata)),
];

#[test]
fn special_use_names() {
    for (text, expected) in SPECIAL_USE {
        let destination =
            CanonicalDestination::parse(text.as_bytes(), Some(b"/"), Scheme::Https, PathOpenings::CLOSED).unwrap();
        assert_eq!(destination.host.special_use(), *expected, "{text}");
        let unnamed = destination.check_host(HostGrant::default());
        let named = destination.check_host(HostGrant { named: true, metadata: false });
        let all = destination.check_host(HostGrant { named: true, metadata: true });
        match expected {
            None => assert_eq!((unnamed, named), (Ok(()), Ok(())), "{text}"),
            Some(special) => {
                assert_eq!(unnamed, Err(E::NameForbidden(*special)), "{text}");
                assert_eq!(named.is_err(), *special == SpecialUse::Metadata, "{text}");
                assert_eq!(E::NameForbidden(*special).reason(), Reason::DestinationForbidden);
            }
        }
        assert_eq!(all, Ok(()), "{text}");
        // `metadata: true` alone opens nothing.
        assert_eq!(destination.check_host(HostGrant { named: false, metadata: true }).is_err(), expected.is_some());
    }
    for special in SpecialUse::ALL {
        assert!(SPECIAL_USE.iter().any(|(_, s)| *s == Some(*special)), "{special:?} is not in the table");
        assert_eq!(serde_json::to_string(special).unwrap(), format!("\"{}\"", special.code()));
    }
}
