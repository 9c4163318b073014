//! Keys that tokens are verified with, and the forms in which the host wants them.

use super::host::HostAlgorithm;
use super::jws::Algorithm;
use crate::context::keyring::{KeyProblem, PublicKey, check_window};
use crate::facts::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// Verified here.
    Ed25519(PublicKey),
    /// Verified by the host: the algorithm, and the SubjectPublicKeyInfo in DER (RFC 5280).
    Host(HostAlgorithm, Vec<u8>),
}

/// A key of an issuer.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// `kid` of tokens.
    pub kid: String,
    /// The key.
    pub material: KeyMaterial,
    /// Valid from.
    pub not_before: Option<Timestamp>,
    /// Valid to, inclusive.
    pub not_after: Option<Timestamp>,
    /// Where it stands in the policy: JSON pointer.
    pub place: String,
}

impl TokenKey {
    /// The one algorithm it is for.
    pub(super) fn algorithm(&self) -> Algorithm {
        match &self.material {
            KeyMaterial::Ed25519(_) => Algorithm::EdDsa,
            KeyMaterial::Host(HostAlgorithm::Es256, _) => Algorithm::Es256,
            KeyMaterial::Host(HostAlgorithm::Rs256, _) => Algorithm::Rs256,
        }
    }

    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), KeyProblem> {
        check_window(self.not_before, self.not_after, now)
    }
}

/// Bytes of a coordinate of P-256.
const COORDINATE: usize = 32;

/// Bits of an RSA modulus: RFC 7518 section 3.3 asks for 2048 at least, and time grows with the cube.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// SubjectPublicKeyInfo of a point on P-256 (RFC 5480), from the members of a JWK (RFC 7518 section 6.2.1).
pub(in crate::context) fn p256(x: &str, y: &str) -> Option<Vec<u8>> {
    let (x, y) = (URL_SAFE_NO_PAD.decode(x).ok()?, URL_SAFE_NO_PAD.decode(y).ok()?);
    if x.len() != COORDINATE || y.len() != COORDINATE {
        return None;
    }
    // id-ecPublicKey, prime256v1.
    let algorithm = [
        &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01][..],
        &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
    ];
    Some(subject_public_key(&algorithm.concat(), &[&[0x04][..], &x, &y].concat()))
}

/// SubjectPublicKeyInfo of an RSA key (RFC 3279 section 2.3.1), from the members of a JWK (RFC 7518 section 6.3.1).
pub(in crate::context) fn rsa(n: &str, e: &str) -> Option<Vec<u8>> {
    let n = URL_SAFE_NO_PAD.decode(n).ok()?;
    let (first, last) = (*n.first()?, *n.last()?);
    // No leading zeros, so the length says the size; an even modulus is none. Of exponents everybody uses this one.
    let bits = (n.len().checked_mul(8)?).checked_sub(first.leading_zeros() as usize)?;
    if first == 0 || last & 1 == 0 || !MODULUS_BITS.contains(&bits) || e != "AQAB" {
        return None;
    }
    let key = sequence(&[integer(&n), integer(&[1, 0, 1])].concat());
    // rsaEncryption with NULL.
    let algorithm = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    Some(subject_public_key(&algorithm, &key))
}

/// The signature of a token as the host wants it.
pub(super) fn host_signature(algorithm: HostAlgorithm, signature: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        HostAlgorithm::Rs256 => Some(signature.to_vec()),
        // RFC 7518 section 3.4: R and S, 32 bytes each.
        HostAlgorithm::Es256 if signature.len() == 2 * COORDINATE => {
            let (r, s) = signature.split_at_checked(COORDINATE)?;
            Some(sequence(&[integer(r), integer(s)].concat()))
        }
        HostAlgorithm::Es256 => None,
    }
}

fn subject_public_key(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = tagged(0x03, &[&[0][..], key].concat());
    sequence(&[sequence(algorithm), bits].concat())
}

fn sequence(content: &[u8]) -> Vec<u8> {
    tagged(0x30, content)
}

/// An unsigned integer: no leading zeros but one where the first bit is set.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let digits = bytes.get(start..).unwrap_or_default();
    let sign: &[u8] = if digits.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    tagged(0x02, &[sign, digits].concat())
}

/// Tag, length and content (X.690 sections 8.1.2 and 8.1.3).
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match digits.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        // A usize has eight bytes at most.
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A question whose answer is known.
pub(super) struct KnownAnswer {
    pub(super) key: Vec<u8>,
    pub(super) message: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// The examples of RFC 7515, appendices A.2 and A.3.
pub(super) fn known_answer(algorithm: HostAlgorithm) -> Option<KnownAnswer> {
    let (header, key, signature) = match algorithm {
        HostAlgorithm::Es256 => (
            "eyJhbGciOiJFUzI1NiJ9",
            p256("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")?,
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        HostAlgorithm::Rs256 => (
            "eyJhbGciOiJSUzI1NiJ9",
            rsa(
                "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
                "AQAB",
            )?,
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
    };
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = host_signature(algorithm, &URL_SAFE_NO_PAD.decode(signature).ok()?)?;
    Some(KnownAnswer { key, message: format!("{header}.{PAYLOAD}").into_bytes(), signature })
}
