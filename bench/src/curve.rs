//! Ed25519: verification as it is, its alternatives, and what each width of a comb costs.

use crate::stopwatch::Arm;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{EdwardsBasepointTableRadix16, EdwardsBasepointTableRadix64, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{BasepointTable as _, Identity as _};
use exeat_engine::context::comb::Comb;
use exeat_engine::context::keyring::SignerKey;
use exeat_engine::context::{KeyRing, PublicKey};
use sha2::{Digest, Sha512};
use std::hint::black_box;

const MESSAGE: [u8; 700] = [b'm'; 700];

pub(crate) fn arms() -> Result<Vec<Arm>, String> {
    let mut arms = verification()?;
    arms.extend(parts());
    arms.extend(combs());
    Ok(arms)
}

/// A ring with one key, prepared or not.
pub(crate) fn ring(public: [u8; 32], prepared: usize) -> Result<KeyRing, String> {
    let public = PublicKey::from_bytes(public).map_err(|error| error.to_string())?;
    let mut ring = KeyRing::with_prepared_keys(prepared);
    ring.insert("k", SignerKey { signer: 0, public, not_before: None, not_after: None });
    Ok(ring)
}

fn verification() -> Result<Vec<Arm>, String> {
    let pair = ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([7; 32]));
    let signature = pair.sk.sign(MESSAGE, None);
    let bytes = *signature;
    let (combed, plain) = (ring(*pair.pk, 1)?, ring(*pair.pk, 0)?);
    let build = move || ring(*pair.pk, 1).is_ok();
    let verify = |ring: KeyRing| move || ring.verify("k", black_box(&MESSAGE), black_box(&bytes));
    Ok(vec![
        Arm::new("ed25519", "combs (as shipped)", verify(combed)),
        Arm::new("ed25519", "ed25519-dalek verify_strict", verify(plain)),
        Arm::new("ed25519", "ed25519-compact", move || {
            pair.pk.verify(black_box(MESSAGE), black_box(&signature)).is_ok()
        }),
        Arm::new("ed25519", "tables of base point and one key, built", build),
    ])
}

fn scalar(seed: u8) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&Sha512::digest([seed]).into())
}

fn parts() -> Vec<Arm> {
    let point = ED25519_BASEPOINT_POINT * scalar(3);
    let wide: [u8; 64] = Sha512::digest(b"wide").into();
    let mut sum = point;
    vec![
        Arm::new("ed25519 parts", "one point addition", move || {
            sum += black_box(point);
            true
        }),
        Arm::new("ed25519 parts", "compress", move || black_box(point).compress().as_bytes().len() == 32),
        Arm::new("ed25519 parts", "decompress", {
            let compressed = point.compress();
            move || black_box(compressed).decompress().is_some()
        }),
        Arm::new("ed25519 parts", "reduction of the hash", move || {
            Scalar::from_bytes_mod_order_wide(black_box(&wide)) != Scalar::ZERO
        }),
        Arm::new("ed25519 parts", "small-order check by cofactor", move || !black_box(point).is_small_order()),
    ]
}

/// [S]B - [k]A by tables of these widths.
fn by_combs<const BASE: u32, const KEY: u32>(name: &'static str) -> Arm {
    let (base, key) =
        (Comb::<BASE>::new(&ED25519_BASEPOINT_POINT), Comb::<KEY>::new(&(ED25519_BASEPOINT_POINT * scalar(3))));
    let (s, k) = (scalar(1), scalar(2));
    Arm::new("[S]B - [k]A", name, move || {
        let sum = base.add_multiple(EdwardsPoint::identity(), black_box(&s));
        key.subtract_multiple(sum, black_box(&k)) != EdwardsPoint::identity()
    })
}

fn combs() -> Vec<Arm> {
    let point = ED25519_BASEPOINT_POINT * scalar(3);
    let (s, k) = (scalar(1), scalar(2));
    let radix16 =
        [EdwardsBasepointTableRadix16::create(&ED25519_BASEPOINT_POINT), EdwardsBasepointTableRadix16::create(&point)];
    let radix64 =
        [EdwardsBasepointTableRadix64::create(&ED25519_BASEPOINT_POINT), EdwardsBasepointTableRadix64::create(&point)];
    vec![
        by_combs::<5, 5>("combs, 5 bits both: 130 KB a key"),
        by_combs::<6, 6>("combs, 6 bits both: 220 KB a key"),
        by_combs::<8, 6>("combs, base 8, key 6: 220 KB a key"),
        by_combs::<10, 6>("combs, base 10, key 6: 220 KB a key"),
        by_combs::<8, 7>("combs, base 8, key 7: 379 KB a key"),
        by_combs::<8, 8>("combs, 8 bits both: 655 KB a key"),
        Arm::new("[S]B - [k]A", "library's tables, radix 16, constant time: 30 KB a key", {
            let [base, key] = radix16;
            move || base.mul_base(black_box(&s)) - key.mul_base(black_box(&k)) != EdwardsPoint::identity()
        }),
        Arm::new("[S]B - [k]A", "library's tables, radix 64, constant time: 120 KB a key", {
            let [base, key] = radix64;
            move || base.mul_base(black_box(&s)) - key.mul_base(black_box(&k)) != EdwardsPoint::identity()
        }),
        Arm::new("[S]B - [k]A", "library's double multiplication, no table of the key", move || {
            EdwardsPoint::vartime_double_scalar_mul_basepoint(black_box(&k), &point, black_box(&s))
                != EdwardsPoint::identity()
        }),
    ]
}
