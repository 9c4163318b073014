//! What names may say, and under which name they count.

use crate::destination::registrable::{Registrable, SHARED_SUFFIXES, registrable};
use crate::destination::score::{BIT, ENCODED_LABEL, label, segment};
use crate::destination::{CanonicalHost, HostName};

fn name(text: &str) -> HostName {
    CanonicalHost::parse(text).unwrap().name().unwrap().clone()
}

/// What labels of a length take of the code, all together.
fn taken(length: u32) -> f64 {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_";
    let count = 38_usize.pow(length);
    let mut text = vec![0; length as usize];
    let mut sum = 0.0;
    for mut number in 0..count {
        for byte in &mut text {
            *byte = ALPHABET[number % ALPHABET.len()];
            number /= ALPHABET.len();
        }
        // A dot is one bit more: that there is a label at all.
        sum += (-f64::from(label(std::str::from_utf8(&text).unwrap()).bits - BIT) / 16.0).exp2();
    }
    sum
}

#[test]
fn the_code_can_be_one() {
    // Kraft: all labels together cannot take more than there is. Longer ones have less and less, for every byte costs.
    // That it can be so at all lengths follows from its tables, which the tests beside them check.
    let sums: Vec<f64> = (0..=3).map(taken).collect();
    let sum: f64 = sums.iter().sum();
    assert!((0.4..=1.0).contains(&sum), "{sums:?}");
}

#[test]
fn words_are_cheap_and_alphabets_cost_what_they_carry() {
    let bits = |text: &str| label(text).bits / BIT;
    for (text, most) in
        [("api", 14), ("www", 14), ("static", 14), ("eu-west-1", 42), ("customer-orders", 46), ("wikipedia", 44)]
    {
        assert!(bits(text) <= most, "{text}: {}", bits(text));
    }
    for (text, least) in [
        ("4a6f686e446f65", 14 * 4),
        ("mzxw6ytboi2dkmzxw6ytboi2dkmzxw6ytboi2dk", 39 * 5),
        ("d3e54v103j8qbb", 14 * 5),
        ("0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f", 63 * 4),
    ] {
        assert!(bits(text) >= least, "{text}: {}", bits(text));
        assert!(label(text).encoded >= ENCODED_LABEL, "{text}");
    }
}

#[test]
fn words_numbers_and_dates_do_not_look_encoded() {
    for text in
        ["production", "kubernetes", "customer-orders-eu", "123456789012", "2026-11-20", "o123456", "covid19", "web-01"]
    {
        assert!(label(text).encoded < ENCODED_LABEL, "{text}: {:?}", label(text));
    }
    for text in ["53656372657431", "4a6f686e446f65", "jbswy3dpeblw64tm", "d3e54v103j8qbb", "1234567890123456"] {
        assert!(label(text).encoded >= ENCODED_LABEL, "{text}: {:?}", label(text));
    }
}

#[test]
fn segments_are_scored_by_what_looks_encoded() {
    let bits = |text: &str| segment(text).encoded / BIT;
    for text in
        ["Hello-World", "meta-data", "2026", "index.html", "How_to_fix_permission_denied", "Großbritannien", "a", ""]
    {
        assert!(bits(text) <= 12, "{text}: {}", bits(text));
    }
    for (text, at_least, at_most) in [
        ("x7Kp2mQ9vR4sL8nW1bY6cT3fA0jH5dE", 169, 200),
        ("d670460b4b4aece5915caf5c68d12f560a9fe3e4", 150, 168),
        ("123e4567-e89b-12d3-a456-426614174000", 0, 130),
        ("1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms", 200, 280),
    ] {
        assert!((at_least..=at_most).contains(&bits(text)), "{text}: {}", bits(text));
    }
}

#[test]
fn scoring_takes_any_text() {
    for text in ["", "-", "_", "é", "\u{0}", "%", &"a".repeat(5_000), &"\u{1F600}".repeat(70), "AbC", "xn--bcher-kva"]
    {
        let (label, segment) = (label(text), segment(text));
        assert!(label.bits < u32::MAX && segment.bits < u32::MAX && label.encoded <= label.bits, "{text:?}: {label:?}");
    }
}

#[test]
fn names_count_under_what_somebody_registered() {
    for (text, registered, under, label) in [
        ("example.com", "example.com", "", "example"),
        ("a.b.example.com", "example.com", "a.b", "example"),
        ("www.bbc.co.uk", "bbc.co.uk", "www", "bbc"),
        ("co.uk", "co.uk", "", "co"),
        ("secret.ab.de", "ab.de", "secret", "ab"),
        ("x.evil.vercel.app", "evil.vercel.app", "x", "evil"),
        ("d3e54v103j8qbb.cloudfront.net", "d3e54v103j8qbb.cloudfront.net", "", "d3e54v103j8qbb"),
        ("bucket.s3.eu-west-1.amazonaws.com", "bucket.s3.eu-west-1.amazonaws.com", "", "bucket"),
        ("a.bucket.s3.eu-west-1.amazonaws.com", "bucket.s3.eu-west-1.amazonaws.com", "a", "bucket"),
        ("s3.eu-west-1.amazonaws.com", "amazonaws.com", "s3.eu-west-1", "amazonaws"),
        ("evilco.uk", "evilco.uk", "", "evilco"),
    ] {
        // A suffix alone ends in itself and has no label before it.
        let expected = match text {
            "s3.eu-west-1.amazonaws.com" => Registrable { name: text, under: "", label: "s3" },
            _ => Registrable { name: registered, under, label },
        };
        assert_eq!(registrable(&name(text)), expected, "{text}");
    }
}

#[test]
fn suffixes_are_canonical_and_occur_once() {
    let mut seen = std::collections::BTreeSet::new();
    for suffix in SHARED_SUFFIXES {
        assert!(seen.insert(suffix), "{suffix} twice");
        let concrete = suffix.replace('*', "eu-west-1");
        assert!(suffix.contains('.') && name(&concrete).as_str() == concrete, "{suffix}");
    }
}
