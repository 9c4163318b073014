//! Freshness: age, skew, expiry, start of the process, and the edges of integers.

use super::*;

fn verdict(scene: &Scene, created: i64, expires: Option<i64>) -> String {
    let input = SignatureInput { created: Some(created), expires, ..scene.input() };
    scene.verify(&scene.signed_with(&input, 1)).map_or_else(
        |error| error.to_string(),
        |verified| format!("until {}", verified.nonce_until.millis() as i64 - NOW * 1000),
    )
}

// Now is a quarter of a second after `NOW`; the process started an hour before.
#[test]
fn age_and_skew_hold_to_the_millisecond() {
    let mut scene = scene();
    for (created, expected) in [
        (NOW, "until 60000"),
        (NOW - 59, "until 1000"),
        (NOW - 60, "created 1763599940 is more than 60 s before now, 1763600000.250"),
        (NOW + 5, "until 65000"),
        (NOW + 6, "created 1763600006 is more than 5 s after now, 1763600000.250"),
    ] {
        assert_eq!(verdict(&scene, created, None), expected);
    }
    scene.now = Timestamp(NOW as u64 * 1000);
    assert_eq!(verdict(&scene, NOW - 60, None), "until 0");
    assert_eq!(verdict(&scene, NOW + 5, None), "until 65000");
}

#[test]
fn expires_ends_a_signature_early_and_never_late() {
    let scene = scene();
    for (created, expires, expected) in [
        (NOW, NOW + 10, "until 15000"),
        (NOW, NOW + 3600, "until 60000"),
        (NOW, NOW, "until 5000"),
        (NOW - 30, NOW - 4, "until 1000"),
        (NOW - 30, NOW - 5, "expires 1763599995 is more than 5 s before now, 1763600000.250"),
        (NOW, NOW - 1, "expires 1763599999 is before created 1763600000"),
        (NOW - 61, NOW + 3600, "created 1763599939 is more than 60 s before now, 1763600000.250"),
    ] {
        assert_eq!(verdict(&scene, created, Some(expires)), expected);
    }
}

/// The nonces of the process before are forgotten: what it may have let through must not pass again.
#[test]
fn nothing_signed_before_the_start_counts() {
    let mut scene = scene();
    for (started, created, expected) in [
        (NOW * 1000, NOW, "until 60000"),
        (NOW * 1000 + 1, NOW, "created 1763600000 is before the gateway started, 1763600000.001"),
        (NOW * 1000, NOW - 1, "created 1763599999 is before the gateway started, 1763600000.000"),
        (NOW * 1000 + 1, NOW + 1, "until 61000"),
    ] {
        scene.started = Timestamp(started as u64);
        assert_eq!(verdict(&scene, created, None), expected);
    }
}

#[test]
fn integers_at_their_edges_are_refused_or_counted_never_wrapped() {
    let mut scene = scene();
    let most = 999_999_999_999_999;
    for created in [0, -1, -NOW, -most, most] {
        assert_eq!(
            scene.verdict(&scene.signed_with(&SignatureInput { created: Some(created), ..scene.input() }, 1)),
            "signature-expired"
        );
    }
    assert_eq!(verdict(&scene, NOW, Some(most)), "until 60000");
    assert!(verdict(&scene, NOW, Some(-most)).contains("before created"));
    scene.freshness = Freshness { max_age: u64::MAX, skew: u64::MAX };
    scene.started = Timestamp(0);
    for created in [0, NOW, most] {
        let input = SignatureInput { created: Some(created), ..scene.input() };
        assert_eq!(scene.verify(&scene.signed_with(&input, 1)).unwrap().nonce_until, Timestamp(u64::MAX));
    }
    scene.freshness = Freshness { max_age: 0, skew: 0 };
    scene.now = Timestamp(u64::MAX);
    assert!(verdict(&scene, most, None).contains("before now"));
    scene.now = Timestamp(NOW as u64 * 1000);
    assert_eq!(verdict(&scene, NOW, Some(NOW)), "until 0");
}

/// The nonce is kept exactly as long as the signature that carries it could pass.
#[test]
fn the_nonce_is_remembered_to_the_last_moment() {
    for (created, expires) in [(NOW, None), (NOW + 5, None), (NOW - 20, Some(NOW + 3)), (NOW, Some(NOW + 55))] {
        let mut scene = scene();
        let head = scene.signed_with(&SignatureInput { created: Some(created), expires, ..scene.input() }, 1);
        let until = scene.verify(&head).unwrap().nonce_until;
        scene.now = until;
        assert_eq!(scene.verdict(&head), "permitted");
        scene.now = until.plus_millis(1);
        assert_eq!(scene.verdict(&head), "signature-expired");
    }
}
