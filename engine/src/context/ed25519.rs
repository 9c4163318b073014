//! Strict Ed25519 (RFC 8032 section 5.1.7): S below the group order, R and A canonical and not of small order, the
//! equation without cofactor. The same verdicts as `ed25519_dalek::VerifyingKey::verify_strict`, in V8 in less than half its time.

use super::comb;
use super::keyring::PublicKey;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha512};
use std::sync::Arc;

/// Multiples of a key. Wider windows save little for each doubling of the memory that every key takes.
pub(crate) type KeyComb = comb::Comb<6>;

/// Multiples of the base point: wider, for there is one of them for all keys.
pub(crate) type BaseComb = comb::Comb<8>;

/// What all keys share.
#[derive(Clone, Debug)]
pub(crate) struct BaseTable(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    multiples: BaseComb,
    /// The encodings of the points of small order.
    weak: [CompressedEdwardsY; 8],
}

impl BaseTable {
    pub(crate) fn new() -> Self {
        let weak = EIGHT_TORSION.map(|point| point.compress());
        Self(Arc::new(Shared { multiples: BaseComb::new(&ED25519_BASEPOINT_POINT), weak }))
    }
}

/// A public key, ready to verify with.
#[derive(Clone, Debug)]
pub(crate) enum Verifier {
    /// By tables of multiples of base point and key.
    Combed { base: BaseTable, key: Arc<KeyComb>, bytes: [u8; 32] },
    /// By the library: slower, and without a table.
    Plain(Box<VerifyingKey>),
    /// Nothing verifies. No [`PublicKey`] leads here.
    Never,
}

impl Verifier {
    /// Prepares a table for this key.
    pub(crate) fn combed(public: &PublicKey, base: &BaseTable) -> Self {
        match CompressedEdwardsY(*public.as_bytes()).decompress() {
            Some(point) => {
                Self::Combed { base: base.clone(), key: Arc::new(KeyComb::new(&point)), bytes: *public.as_bytes() }
            }
            None => Self::Never,
        }
    }

    pub(crate) fn plain(public: &PublicKey) -> Self {
        VerifyingKey::from_bytes(public.as_bytes()).map_or(Self::Never, |key| Self::Plain(Box::new(key)))
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match self {
            Self::Combed { base, key, bytes } => verify_combed(&base.0, key, bytes, message, signature),
            Self::Plain(key) => key.verify_strict(message, &Signature::from_bytes(signature)).is_ok(),
            Self::Never => false,
        }
    }
}

/// R = [S]B - [k]A, compared as bytes, so that an R in any but its canonical encoding is refused.
///
/// INVARIANT: A comes from a [`PublicKey`], which is canonical and not of small order.
fn verify_combed(base: &Shared, key: &KeyComb, a: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (Some(r), Some(s)) = (signature.first_chunk::<32>(), signature.last_chunk::<32>()) else {
        return false;
    };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(*s)) else {
        return false;
    };
    // An R of small order in an encoding that is not canonical equals nothing that is computed below.
    if base.weak.iter().any(|weak| weak.as_bytes() == r) {
        return false;
    }
    let hash = Sha512::new().chain_update(r).chain_update(a).chain_update(message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(&hash.into());
    let expected = key.subtract_multiple(base.multiples.add_multiple(EdwardsPoint::identity(), &s), &k);
    expected.compress().as_bytes() == r
}
