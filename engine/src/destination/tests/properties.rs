//! What holds for all input: nothing panics, the canonical form is a fixed point, the URL Standard reads it the same way,
//! no spelling of a closed address is open, the automaton agrees with one pattern at a time.

use crate::destination::{
    AddressClass, Authority, CanonicalDestination, CanonicalHost, HostGrant, HostMatch, HostMatcher, HostPattern,
    PathOpening, PathOpenings, PathPattern, RequestTarget, Scheme, classify,
};
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes that look like an authority, with what attacks are made of.
fn authority_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9_-]{1,8}".prop_map(String::into_bytes),
        4 => Just(b".".to_vec()),
        2 => "(0[xX])?[0-9a-fA-F]{1,10}".prop_map(String::into_bytes),
        1 => Just(b"xn--".to_vec()),
        1 => Just(b"localhost".to_vec()),
        1 => prop_oneof![Just("。"), Just("．"), Just("\u{ad}"), Just("\u{200d}"), Just("ß"), Just("１"), Just("ａ"), Just("℀"), Just("\u{202e}"), Just("İ")].prop_map(|s| s.as_bytes().to_vec()),
        1 => prop_oneof![Just("["), Just("]"), Just(":"), Just("::"), Just("@"), Just(","), Just("%2e"), Just("%"), Just("*")].prop_map(|s| s.as_bytes().to_vec()),
        1 => ":[0-9]{0,6}".prop_map(String::into_bytes),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
        1 => any::<u8>().prop_map(|b| vec![b]),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// Bytes that look like a target.
fn target_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9._~-]{1,5}".prop_map(String::into_bytes),
        4 => Just(b"/".to_vec()),
        2 => prop_oneof![Just("."), Just(".."), Just("%2e"), Just("%2E"), Just("%2f"), Just("%5c"), Just("%25"), Just("%00"), Just(";"), Just("//"), Just("\\"), Just("%c0%ae"), Just("%3b"), Just("%20"), Just("%"), Just("%C3%A9")].prop_map(|s| s.as_bytes().to_vec()),
        1 => prop_oneof![Just("?"), Just("#"), Just("*"), Just("{"), Just("\""), Just("é"), Just("'")].prop_map(|s| s.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|b| vec![b]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
}

fn openings() -> impl Strategy<Value = PathOpenings> {
    prop::collection::vec(prop::sample::select(PathOpening::ALL), 0..4).prop_map(|list| list.into_iter().collect())
}

/// An IPv4 address of a class that is closed.
fn closed_ipv4() -> impl Strategy<Value = Ipv4Addr> {
    let narrow = prop::sample::select(vec![
        (0x7f00_0000_u32, 8),
        (0x0a00_0000, 8),
        (0xac10_0000, 12),
        (0xc0a8_0000, 16),
        (0xa9fe_0000, 16),
        (0x6440_0000, 10),
        (0x0000_0000, 8),
        (0xe000_0000, 4),
        (0xf000_0000, 4),
        (0xc612_0000, 15),
        (0xa9fe_a9fe, 32),
        (0xa83f_8110, 32),
    ]);
    (narrow, any::<u32>()).prop_map(|((network, prefix), random)| {
        let host = u32::MAX.checked_shr(prefix).unwrap_or(0);
        Ipv4Addr::from_bits(network | (random & host))
    })
}

/// One of the ways in which the URL Standard reads an IPv4 address.
fn spell_ipv4(address: Ipv4Addr, parts: usize, radices: &[u8], zeros: &[usize], wide: bool, dot: &str) -> String {
    let [a, b, c, d] = address.octets().map(u64::from);
    let numbers = match parts {
        1 => vec![a << 24 | b << 16 | c << 8 | d],
        2 => vec![a, b << 16 | c << 8 | d],
        3 => vec![a, b, c << 8 | d],
        _ => vec![a, b, c, d],
    };
    let spelled: Vec<String> = numbers
        .iter()
        .zip(radices.iter().zip(zeros))
        .map(|(number, (radix, zeros))| match radix % 4 {
            0 => format!("0x{}{number:x}", "0".repeat(*zeros)),
            1 => format!("0X{}{number:X}", "0".repeat(*zeros)),
            2 => format!("0{}{number:o}", "0".repeat(*zeros)),
            _ => number.to_string(),
        })
        .collect();
    let text = spelled.join(dot);
    if wide { text.chars().map(fullwidth).collect() } else { text }
}

fn fullwidth(c: char) -> char {
    if c.is_ascii_alphanumeric() { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c }
}

/// One of the forms in which IPv6 carries an IPv4 address.
fn embed(address: Ipv4Addr, form: u8, noise: u64) -> Ipv6Addr {
    let v4 = u128::from(address.to_bits());
    let noise = u128::from(noise);
    Ipv6Addr::from_bits(match form % 9 {
        0 => v4.max(2),
        1 => 0xffff << 32 | v4,
        2 => 0xffff << 48 | v4,
        3 => 0x64_ff9b << 96 | v4,
        4 => 0x64_ff9b_0001 << 80 | (noise & 0xffff) << 64 | v4,
        5 => 0x2002 << 112 | v4 << 80 | noise,
        6 => 0x2001 << 112 | v4 << 64 | noise,
        7 => 0x2001 << 112 | 0x0808_0808 << 64 | (noise & 0xffff_ffff) << 32 | (v4 ^ 0xffff_ffff),
        _ => 0x2606_4700 << 96 | (noise & 0xffff) << 64 | 0x0200_5efe << 32 | v4,
    })
}

fn spell_ipv6(address: Ipv6Addr, style: u8) -> String {
    let s = address.segments();
    let octets = address.octets();
    let dotted = format!("{}.{}.{}.{}", octets[12], octets[13], octets[14], octets[15]);
    let full: Vec<String> = s.iter().map(|segment| format!("{segment:04x}")).collect();
    match style % 5 {
        0 => format!("[{address}]"),
        1 => format!("[{}]", full.join(":")),
        2 => format!("[{}]", full.join(":").to_uppercase()),
        3 => format!("[{}:{dotted}]", full[..6].join(":")),
        _ => format!("[{}]", s.map(|segment| format!("{segment:x}")).join(":")),
    }
}

fn is_open(authority: &str) -> bool {
    let destination =
        CanonicalDestination::parse(authority.as_bytes(), Some(b"/"), Scheme::Https, PathOpenings::CLOSED);
    destination.is_ok_and(|destination| destination.check_host(HostGrant::default()).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn authorities_have_a_fixed_point_and_are_the_standards(bytes in authority_bytes()) {
        let Ok(authority) = Authority::parse(&bytes) else { return Ok(()) };
        let canonical = authority.to_string();
        prop_assert_eq!(Authority::parse(canonical.as_bytes()), Ok(authority.clone()));
        prop_assert!(canonical.is_ascii());
        // The whole parser, not only its host parser, on the same bytes.
        let text = String::from_utf8(bytes).unwrap();
        let url = url::Url::parse(&format!("http://{text}/")).unwrap();
        let host = url.host_str().unwrap();
        prop_assert_eq!(authority.host.to_string(), host.strip_suffix('.').unwrap_or(host));
        prop_assert_eq!(authority.port.unwrap_or(80), url.port_or_known_default().unwrap());
        prop_assert_eq!((url.username(), url.password(), url.path()), ("", None, "/"));
    }

    #[test]
    fn the_forwarded_authority_is_canonical(bytes in authority_bytes(), https in any::<bool>(), connect in any::<bool>()) {
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        let target = (!connect).then_some(&b"/"[..]);
        let Ok(destination) = CanonicalDestination::parse(&bytes, target, scheme, PathOpenings::CLOSED) else { return Ok(()) };
        let again = CanonicalDestination::parse(destination.authority(scheme).as_bytes(), target, scheme, PathOpenings::CLOSED);
        prop_assert_eq!(again, Ok(destination));
    }

    #[test]
    fn targets_have_a_fixed_point(bytes in target_bytes(), openings in openings()) {
        let Ok(target) = RequestTarget::parse(&bytes, openings) else { return Ok(()) };
        let mut again = target.path.raw().to_owned();
        if let Some(query) = &target.query {
            again.push('?');
            again.push_str(query);
        }
        prop_assert_eq!(again.as_bytes(), &bytes[..], "never rewritten");
        prop_assert!(target.path.used().difference(openings).is_closed());
        // What was used is what must be open.
        prop_assert_eq!(RequestTarget::parse(&bytes, target.path.used()), Ok(target.clone()));
        for opening in target.path.used().iter() {
            let without = target.path.used().difference(PathOpenings::CLOSED.with(opening));
            prop_assert!(RequestTarget::parse(&bytes, without).is_err());
        }
    }

    #[test]
    fn closed_paths_have_one_reading(bytes in target_bytes()) {
        let Ok(target) = RequestTarget::parse(&bytes, PathOpenings::CLOSED) else { return Ok(()) };
        let text = String::from_utf8(bytes).unwrap();
        let url = url::Url::parse(&format!("http://a.example{text}")).unwrap();
        prop_assert_eq!(url.path(), target.path.raw());
        prop_assert_eq!(url.fragment(), None);
        // Decoding twice changes nothing, and the raw slashes are the only separators.
        let joined = format!("/{}", target.path.segments().join("/"));
        prop_assert_eq!(joined.matches('/').count(), target.path.segments().len());
        prop_assert!(!joined.contains(['%', '\\', ';', '\0', '\r', '\n']));
        prop_assert!(target.path.segments().iter().all(|segment| segment != "." && segment != ".."));
        let inner = target.path.segments().split_last().map(|(_, inner)| inner).unwrap_or_default();
        prop_assert!(inner.iter().all(|segment| !segment.is_empty()));
    }

    #[test]
    fn no_spelling_of_a_closed_ipv4_address_is_open(
        address in closed_ipv4(),
        parts in 1_usize..=4,
        radices in prop::collection::vec(any::<u8>(), 4),
        zeros in prop::collection::vec(0_usize..4, 4),
        wide in any::<bool>(),
        dot in prop::sample::select(vec![".", "。", "．", "｡"]),
        end in prop::sample::select(vec!["", ".", "。"]),
    ) {
        prop_assert!(classify(address.into()).refused());
        let text = format!("{}{end}", spell_ipv4(address, parts, &radices, &zeros, wide, dot));
        prop_assert_eq!(CanonicalHost::parse(&text), Ok(CanonicalHost::Ipv4(address)), "{}", text);
        prop_assert!(!is_open(&text), "{}", text);
        prop_assert!(!is_open(&format!("{text}:443")), "{}", text);
    }

    #[test]
    fn no_ipv6_form_of_a_closed_ipv4_address_is_open(
        address in closed_ipv4(),
        form in any::<u8>(),
        noise in any::<u64>(),
        style in any::<u8>(),
    ) {
        let v6 = embed(address, form, noise);
        let class = classify(v6.into());
        prop_assert!(class.refused() && class != AddressClass::Ipv4InIpv6, "{}: {:?}", v6, class);
        let text = spell_ipv6(v6, style);
        prop_assert_eq!(CanonicalHost::parse(&text), Ok(CanonicalHost::Ipv6(v6)), "{}", text);
        prop_assert!(!is_open(&text), "{}", text);
    }

    #[test]
    fn an_embedded_address_is_never_public(address in any::<u32>(), form in any::<u8>(), noise in any::<u64>()) {
        let v6 = embed(Ipv4Addr::from_bits(address), form, noise);
        prop_assert!(classify(v6.into()).refused(), "{}", v6);
    }

    #[test]
    fn the_matcher_agrees_with_one_pattern_at_a_time(
        patterns in prop::collection::vec((pattern_text(), 0_u32..6), 0..12),
        hosts in prop::collection::vec(host_text(), 1..6),
    ) {
        let patterns: Vec<(HostPattern, u32)> =
            patterns.iter().map(|(text, value)| (HostPattern::parse(text).unwrap(), *value)).collect();
        let matcher = HostMatcher::build(patterns.iter().cloned()).unwrap();
        for text in hosts {
            let host = CanonicalHost::parse(&text).unwrap();
            let mut expected: Vec<HostMatch> = patterns
                .iter()
                .filter_map(|(pattern, value)| {
                    pattern.matches(&host).map(|specificity| HostMatch { specificity, value: *value })
                })
                .collect();
            expected.sort_by_key(|found| (std::cmp::Reverse(found.specificity), found.value));
            expected.dedup();
            prop_assert_eq!(matcher.find(&host), expected, "{}", text);
        }
    }

    #[test]
    fn host_patterns_have_a_fixed_point(text in "(\\*\\.)?[a-zA-Z0-9.:/\\[\\]*é-]{0,20}") {
        if let Ok(pattern) = HostPattern::parse(&text) {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn path_patterns_fit_what_they_are_made_from(bytes in target_bytes(), cut in any::<prop::sample::Index>()) {
        let Ok(target) = RequestTarget::parse(&bytes, PathOpenings::CLOSED) else { return Ok(()) };
        let path = target.path;
        // The path itself, brought to its canonical form by the error message.
        let literal = match PathPattern::parse(&path.raw().replace('*', "%2A")) {
            Ok(pattern) => pattern,
            Err(crate::destination::PathPatternError::NotCanonical { canonical }) => PathPattern::parse(&canonical).unwrap(),
            Err(error) => return Err(TestCaseError::fail(format!("{}: {error}", path.raw()))),
        };
        prop_assert!(literal.matches(&path).is_some() && literal.matches_ignoring_case(&path));
        let upper = RequestTarget::parse(path.raw().to_ascii_uppercase().as_bytes(), PathOpenings::CLOSED).unwrap().path;
        prop_assert!(literal.matches_ignoring_case(&upper));
        // A prefix of it with `**`.
        let segments: Vec<&str> = literal.as_str().split('/').skip(1).collect();
        let kept = cut.index(segments.len() + 1);
        let open = PathPattern::parse(&format!("/{}", [&segments[..kept], &["**"]].concat().join("/")));
        if let Ok(open) = open {
            prop_assert!(open.matches(&path).is_some(), "{} on {}", open, path.raw());
            prop_assert!(kept == segments.len() || open.matches(&path) < literal.matches(&path));
        }
    }
}

/// A small alphabet, so that patterns meet hosts.
fn host_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab](\\.[ab]{1,2}){0,4}",
        1 => "10\\.[01]\\.[01]\\.[01]",
        1 => "\\[fd00::[01](:[01])?\\]",
    ]
}

fn pattern_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(\\*\\.)?[ab](\\.[ab]{1,2}){0,4}",
        1 => Just("*".to_owned()),
        1 => "10\\.[01]\\.[01]\\.[01]",
        1 => prop::sample::select(vec!["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/15", "10.0.0.0/24", "10.1.1.1/32", "fd00::/8", "fd00::/127", "fd00::1", "a00::/8"]).prop_map(str::to_owned),
    ]
}
