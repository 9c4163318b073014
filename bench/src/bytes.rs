//! Hashes, over as much as a request has of each.

use crate::stopwatch::Arm;
use sha2::{Digest, Sha256, Sha512};
use std::hint::black_box;

/// Bytes of a signature base.
const BASE: usize = 700;

pub(crate) fn hashes() -> Vec<Arm> {
    let base = vec![b'a'; BASE];
    let other = base.clone();
    let body = vec![b'a'; 2048];
    vec![
        Arm::new("hash", "SHA-512 of 700 B", move || black_box(Sha512::digest(black_box(&base))).len() == 64),
        Arm::new("hash", "SHA-256 of 700 B", move || black_box(Sha256::digest(black_box(&other))).len() == 32),
        Arm::new("hash", "SHA-256 of 2 KiB", move || black_box(Sha256::digest(black_box(&body))).len() == 32),
    ]
}
