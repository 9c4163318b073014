//! The gateway's key: signs checkpoints, and yields by label every other secret the gateway needs. And the public half,
//! as collector and auditors hold it.

use super::note::key_id;
use crate::context::keyring::{PublicKey, PublicKeyError, decode_base64};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha512};
use std::fmt;

/// Label of the key of [`GatewayKey::keyed_hash`].
const KEYED_HASH: &str = "exeat/v1 keyed hash";
/// Label of the key that authenticates contents of shared data, where other plugins can write.
pub const SHARED_STATE: &str = "exeat/v1 shared state";

/// Why text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// A seed that is not the base64 (standard or URL-safe, padded or not) of 32 bytes.
    Seed,
    /// A public key.
    Public(PublicKeyError),
    /// A key name that is empty or holds spaces, `+` or controls, which a signed note forbids.
    Name,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seed => "the gateway's key is not the base64 of a 32-byte seed",
            Self::Public(error) => return write!(f, "the public key {error}"),
            Self::Name => "the key's name is empty or holds spaces, + or controls",
        })
    }
}

impl std::error::Error for KeyError {}

/// The gateway's secret key.
///
/// Expanded once: a signature costs no second hash of the seed.
#[derive(Clone)]
pub struct GatewayKey {
    seed: [u8; 32],
    scalar_and_prefix: [u8; 64],
    public: VerifyingKey,
    keyed_hash: Hmac<Sha256>,
}

impl GatewayKey {
    /// From the 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        use sha2::Digest as _;
        let public = SigningKey::from_bytes(&seed).verifying_key();
        let scalar_and_prefix = Sha512::digest(seed).into();
        let keyed_hash = keyed(&derive(&seed, KEYED_HASH));
        Self { seed, scalar_and_prefix, public, keyed_hash }
    }

    /// From the base64 of the seed, either alphabet.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let seed = decode_base64(text).and_then(|bytes| bytes.try_into().ok());
        seed.map(Self::from_seed).ok_or(KeyError::Seed)
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    /// The public key in standard base64, as keyrings hold it.
    pub fn public_base64(&self) -> String {
        STANDARD.encode(self.public())
    }

    /// A secret of its own for a purpose: HKDF-Expand (RFC 5869) with SHA-256, the seed as PRK, the label as info, 32 bytes.
    /// What is derived says nothing about the seed or about other labels.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        derive(&self.seed, label)
    }

    /// `hmac-sha256:<base64>` of a value that is too small to be hashed without a key.
    pub fn keyed_hash(&self, value: &[u8]) -> String {
        let tag = self.keyed_hash.clone().chain_update(value).finalize().into_bytes();
        format!("hmac-sha256:{}", STANDARD.encode(tag))
    }

    /// Signs with Ed25519.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let expanded = ExpandedSecretKey::from_bytes(&self.scalar_and_prefix);
        raw_sign::<Sha512>(&expanded, message, &self.public).to_bytes()
    }
}

impl fmt::Debug for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayKey(public {})", self.public_base64())
    }
}

/// The public key of a gateway, under the name that checkpoints give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointKey {
    name: String,
    id: [u8; 4],
    public: VerifyingKey,
}

impl CheckpointKey {
    /// A key with its name, which is the gateway id.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        Self::named(name, &PublicKey::from_bytes(public).map_err(KeyError::Public)?)
    }

    /// A key as text: base64 in either alphabet, or a JWK.
    pub fn parse(name: &str, public: &str) -> Result<Self, KeyError> {
        Self::named(name, &PublicKey::parse(public).map_err(KeyError::Public)?)
    }

    fn named(name: &str, public: &PublicKey) -> Result<Self, KeyError> {
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(KeyError::Name);
        }
        let id = key_id(name, public.as_bytes());
        let public =
            VerifyingKey::from_bytes(public.as_bytes()).map_err(|_| KeyError::Public(PublicKeyError::Point))?;
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id: with the name, what a signature line refers to it by.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Whether a signature over a message is good: strictly as RFC 8032 says, without cofactor, small-order points refused.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.public.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

fn derive(seed: &[u8; 32], label: &str) -> [u8; 32] {
    keyed(seed).chain_update(label).chain_update([1]).finalize().into_bytes().into()
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A block of SHA-256 is 64 bytes; HMAC (RFC 2104) pads a shorter key with zeros.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).unwrap().try_into().unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
    }

    fn key() -> GatewayKey {
        GatewayKey::from_seed(hex(SEED).try_into().unwrap())
    }

    #[test]
    fn signs_as_rfc_8032_says() {
        assert_eq!(key().public().to_vec(), hex(PUBLIC));
        assert_eq!(
            key().sign(b"").to_vec(),
            hex(concat!(
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ))
        );
        let public = CheckpointKey::new("g", key().public()).unwrap();
        assert!(public.verify(b"text", &key().sign(b"text")));
        assert!(!public.verify(b"text ", &key().sign(b"text")));
        // An independent implementation agrees.
        let other = ed25519_compact::PublicKey::from_slice(&key().public()).unwrap();
        other.verify(b"text", &ed25519_compact::Signature::from_slice(&key().sign(b"text")).unwrap()).unwrap();
    }

    #[test]
    fn reads_base64_of_either_alphabet_and_nothing_else() {
        let seed = [0xfb; 32];
        for text in [
            "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=",
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=",
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s",
        ] {
            assert_eq!(GatewayKey::parse(text).unwrap().public(), GatewayKey::from_seed(seed).public(), "{text}");
        }
        for text in ["", "=", "+/v7", "+_v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=", &format!("{SEED}\n")] {
            assert_eq!(GatewayKey::parse(text).unwrap_err(), KeyError::Seed, "{text}");
        }
        assert_eq!(CheckpointKey::new("g", [0; 32]).unwrap_err(), KeyError::Public(PublicKeyError::Point));
        assert_eq!(CheckpointKey::new("a b", key().public()).unwrap_err(), KeyError::Name);
    }

    #[test]
    fn derived_keys_differ_and_debug_prints_no_secret() {
        let key = key();
        assert_ne!(key.derive(SHARED_STATE), key.derive(KEYED_HASH));
        assert_ne!(key.derive(SHARED_STATE), key.seed);
        // Computed apart, with Python's hmac.
        assert_eq!(
            key.derive(SHARED_STATE).to_vec(),
            hex("0087757d3cb8288b5f9cb78f3e1d0c1eff61ce9a219a6a3814346e185f06b0bc")
        );
        assert_eq!(key.keyed_hash(b"42"), "hmac-sha256:7M7WLnCLTcoO3TA5vnp1AD4vozgRMWLcMPcmrFo5ruU=");
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.public_base64()) && !shown.contains("157, 97") && !shown.contains("9d61"));
    }
}
