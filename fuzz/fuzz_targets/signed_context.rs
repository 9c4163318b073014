//! Any head at all: verification says no, and never panics. Nobody can guess a signature, so yes would be a find, too.
#![no_main]

use exeat_engine::context::keyring::SignerKey;
use exeat_engine::context::{Expectations, Freshness, KeyRing, PublicKey, verify};
use exeat_engine::facts::Timestamp;
use exeat_engine::payload::ContentDigests;
use exeat_engine::request::RequestHead;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let mut keys = KeyRing::default();
    // The public key of RFC 9421 appendix B.1.4.
    let public = PublicKey::parse("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs").expect("a key");
    keys.insert("signer-1", SignerKey { signer: 0, public, not_before: None, not_after: None });
    keys
});

// One line of input is one line of the head: `name: value`, pseudo-headers too. NUL stands for a line feed in a value.
fuzz_target!(|input: &[u8]| {
    let pairs = input.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
        let value: Vec<u8> = line[colon + 1..].iter().map(|byte| if *byte == 0 { b'\n' } else { *byte }).collect();
        Some((String::from_utf8_lossy(&line[..colon]).into_owned().into(), value.into()))
    });
    let Ok(head) = RequestHead::from_pairs(pairs.collect()) else { return };
    let expect = Expectations {
        keys: &KEYS,
        gateway: "egress-eu-1",
        freshness: Freshness::default(),
        now: Timestamp(1_763_600_000_250),
        started: Timestamp(0),
    };
    let error = verify(&head, &expect).expect_err("a signature nobody made");
    assert_eq!(error.reason().status(), 401);
    assert!(!error.to_string().is_empty());
    for value in head.values("content-digest") {
        let _ = ContentDigests::parse(value);
    }
});
