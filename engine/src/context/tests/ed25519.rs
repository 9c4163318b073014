//! Verification agrees with Wycheproof, with `verify_strict` and with `ed25519-compact`, by table and without.

use super::super::ed25519::{BaseTable, Verifier};
use super::*;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use ed25519_compact::Signature;
use ed25519_dalek::VerifyingKey;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha512};
use std::sync::LazyLock;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

static BASE: LazyLock<BaseTable> = LazyLock::new(BaseTable::new);

fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// The verdict of the engine, by table and without, and of `verify_strict`: always the same.
fn verdict(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let strict = VerifyingKey::from_bytes(public)
        .is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok());
    let Ok(public) = PublicKey::from_bytes(*public) else {
        return false;
    };
    let combed = Verifier::combed(&public, &BASE).verify(message, signature);
    assert_eq!(Verifier::plain(&public).verify(message, signature), strict);
    assert_eq!(combed, strict);
    combed
}

fn compact(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    ed25519_compact::PublicKey::new(*public).verify(message, &Signature::new(*signature)).is_ok()
}

#[test]
fn wycheproof_agrees_in_all_151_cases() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/wycheproof_ed25519.json")).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in vectors["testGroups"].as_array().unwrap() {
        let public: [u8; 32] = hex(&group["publicKey"]["pk"]).try_into().unwrap();
        for test in group["tests"].as_array().unwrap() {
            let (message, signature) = (hex(&test["msg"]), hex(&test["sig"]));
            // A signature of another length does not get as far as verification.
            let got = <[u8; 64]>::try_from(signature).is_ok_and(|signature| verdict(&public, &message, &signature));
            match test["result"].as_str().unwrap() {
                "valid" => valid += 1,
                "invalid" => invalid += 1,
                other => panic!("{other}"),
            }
            assert_eq!(got, test["result"] == "valid", "case {}: {}", test["tcId"], test["comment"]);
        }
    }
    assert_eq!((valid, invalid), (88, 63));
}

/// Signs with a secret scalar of our choice, where R and A carry a point of small order besides.
fn signature_with_torsion(
    a: &EdwardsPoint,
    secret: Scalar,
    nonce: Scalar,
    r: &EdwardsPoint,
    message: &[u8],
) -> [u8; 64] {
    let r = r.compress();
    let hash = Sha512::new().chain_update(r.0).chain_update(a.compress().0).chain_update(message).finalize();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r.0);
    signature[32..].copy_from_slice(s.as_bytes());
    signature
}

/// With the cofactor multiplied in, every one of these would pass. Without it, those pass whose torsion cancels out.
#[test]
fn points_with_a_part_of_small_order_get_the_verdict_of_verify_strict() {
    let (mut accepted, mut refused) = (0, 0);
    for (at, torsion) in EIGHT_TORSION.iter().enumerate() {
        for (nonce, r_torsion) in (1_u64..).zip(EIGHT_TORSION.iter()) {
            let (secret, nonce) = (Scalar::from(7_u64 + at as u64), Scalar::from(1000 * nonce));
            let a = ED25519_BASEPOINT_POINT * secret + torsion;
            let r = ED25519_BASEPOINT_POINT * nonce + r_torsion;
            for message in 0..16_u8 {
                let signature = signature_with_torsion(&a, secret, nonce, &r, &[message]);
                if verdict(&a.compress().0, &[message], &signature) { accepted += 1 } else { refused += 1 }
            }
        }
    }
    assert!(accepted >= 16 && refused > accepted, "{accepted} {refused}");
}

#[test]
fn keys_and_points_of_small_order_are_refused() {
    for torsion in EIGHT_TORSION {
        let bytes = torsion.compress().0;
        assert!(PublicKey::from_bytes(bytes).is_err());
        // The same point with the sign of x set, which for x = 0 is not canonical.
        let mut signed = bytes;
        signed[31] |= 0x80;
        assert!(PublicKey::from_bytes(signed).is_err());
        // R of small order: S = k * secret makes the equation hold for R = 0.
        let a = ED25519_BASEPOINT_POINT * Scalar::from(7_u64);
        let signature = signature_with_torsion(&a, Scalar::from(7_u64), Scalar::ZERO, &torsion, b"m");
        assert!(!verdict(&a.compress().0, b"m", &signature));
    }
}

/// y = p + 1 stands for y = 1 and so on: canonical encodings have y below p = 2^255 - 19.
#[test]
fn encodings_that_are_not_canonical_are_refused() {
    for low in 0xed..=0xff_u8 {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            assert!(PublicKey::from_bytes(bytes).is_err(), "{low:x} {high:x}");
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&bytes);
            assert!(!verdict(public(1).as_bytes(), b"m", &signature));
        }
    }
}

/// S and S + L are the same scalar; only the smaller counts (RFC 8032 section 5.1.7).
#[test]
fn a_scalar_that_is_not_reduced_is_refused() {
    let order = hex(&Value::from("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"));
    let mut signature = *key_pair(1).sk.sign(b"m", None);
    assert!(verdict(public(1).as_bytes(), b"m", &signature));
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(!verdict(public(1).as_bytes(), b"m", &signature));
}

proptest! {
    #[test]
    fn all_agree_on_signatures_good_and_bad(
        seed in 1..=255_u8,
        message: Vec<u8>,
        flips in proptest::collection::vec((0..64_usize, 0..8_u32), 0..3),
        junk: [u8; 64],
    ) {
        let public = public(seed);
        let good = *key_pair(seed).sk.sign(&message, None);
        prop_assert!(verdict(public.as_bytes(), &message, &good) && compact(public.as_bytes(), &message, &good));
        let mut changed = good;
        flips.iter().for_each(|(at, bit)| changed[*at] ^= 1 << bit);
        prop_assert_eq!(verdict(public.as_bytes(), &message, &changed), changed == good);
        for signature in [changed, junk] {
            let expected = compact(public.as_bytes(), &message, &signature);
            prop_assert_eq!(verdict(public.as_bytes(), &message, &signature), expected);
        }
    }

    #[test]
    fn any_32_bytes_are_a_key_to_all_or_to_none(bytes: [u8; 32]) {
        prop_assert_eq!(PublicKey::from_bytes(bytes).is_ok(), VerifyingKey::from_bytes(&bytes).is_ok());
    }
}
