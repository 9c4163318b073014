//! C2SP signed note: text, an empty line, signature lines `— <key name> <base64 of key id and signature>`.
//! <https://c2sp.org/signed-note>

use super::key::{CheckpointKey, GatewayKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::fmt;

/// Signature type Ed25519.
const ED25519: u8 = 0x01;
/// Most signature lines of a note; the specification asks for 16 at least.
const MAX_SIGNATURES: usize = 16;
/// Longest base64 of a signature. The specification speaks of up to nearly 5 kB for post-quantum ones.
const MAX_SIGNATURE: usize = 8192;

/// The id by which, with its name, a signature refers to an Ed25519 key.
pub fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
    let [a, b, c, d, ..]: [u8; 32] = digest.into();
    [a, b, c, d]
}

/// Why bytes are not a note, or not one to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteError {
    /// Control characters other than newline.
    Control,
    /// No text, no empty line, or no signature line.
    Form,
    /// A signature line that is not `— <key name> <base64>`.
    SignatureLine,
    /// More than 16 signatures.
    TooManySignatures,
    /// No signature is by a key that is known.
    UnknownKey,
    /// A signature by a known key does not verify.
    Signature,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control characters in a signed note",
            Self::Form => "not a signed note: text, an empty line and a signature line are needed",
            Self::SignatureLine => "a signature line is not `— <key name> <base64>`",
            Self::TooManySignatures => "more than 16 signatures",
            Self::UnknownKey => "no signature is by a known key",
            Self::Signature => "the signature does not verify",
        })
    }
}

impl std::error::Error for NoteError {}

/// Signs a text that ends in a newline. `name` is the key's name.
pub(super) fn sign(text: &str, name: &str, key: &GatewayKey) -> String {
    let mut signature = [0; 68];
    for (to, from) in signature.iter_mut().zip(key_id(name, &key.public()).into_iter().chain(key.sign(text.as_bytes())))
    {
        *to = from;
    }
    format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signature))
}

/// A note whose signatures were not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedNote<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NoteSignature<'a> {
    name: &'a str,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl<'a> UnverifiedNote<'a> {
    /// Takes a note apart.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Control);
        }
        // The text ends with the newline before the last empty line.
        let at = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, rest) = note.split_at_checked(at.saturating_add(1)).ok_or(NoteError::Form)?;
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n')).ok_or(NoteError::Form)?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(NoteSignature::parse(line).ok_or(NoteError::SignatureLine)?);
        }
        Ok(Self { text, signatures })
    }

    /// The text, with its last newline. Nobody vouches for it yet.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Checks the signatures of known keys: at least one there is, and none of them is bad. Others are ignored, as the
    /// specification demands.
    pub fn verify(&self, keys: &[CheckpointKey]) -> Result<(), NoteError> {
        let mut good = false;
        for signature in &self.signatures {
            let known = keys.iter().filter(|key| key.name() == signature.name && key.id() == signature.id);
            for key in known {
                let bytes = signature.bytes.as_slice().try_into().map_err(|_| NoteError::Signature)?;
                if !key.verify(self.text.as_bytes(), bytes) {
                    return Err(NoteError::Signature);
                }
                good = true;
            }
        }
        if good { Ok(()) } else { Err(NoteError::UnknownKey) }
    }
}

impl<'a> NoteSignature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c == '+') || encoded.len() > MAX_SIGNATURE {
            return None;
        }
        let all = STANDARD.decode(encoded).ok()?;
        let (id, bytes) = all.split_first_chunk::<4>()?;
        Some(Self { name, id: *id, bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> (GatewayKey, CheckpointKey) {
        let key = GatewayKey::from_seed([7; 32]);
        let public = CheckpointKey::new("egress-eu-1", key.public()).unwrap();
        (key, public)
    }

    #[test]
    fn verifies_a_note_that_others_signed() {
        // The test note of golang.org/x/mod/sumdb/note: name PeterNeumann, its published verifier key.
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let verifier = STANDARD.decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let (kind, public) = verifier.split_first().unwrap();
        assert_eq!(*kind, ED25519);
        let peter = CheckpointKey::new("PeterNeumann", public.try_into().unwrap()).unwrap();
        assert_eq!(peter.id(), 0xc74f_20a3_u32.to_be_bytes());
        let parsed = UnverifiedNote::parse(note).unwrap();
        assert_eq!(parsed.verify(std::slice::from_ref(&peter)), Ok(()));
        assert_eq!(parsed.verify(&[key().1]), Err(NoteError::UnknownKey));
        let changed = note.replace("you don't", "you do");
        assert_eq!(UnverifiedNote::parse(&changed).unwrap().verify(&[peter]), Err(NoteError::Signature));
    }

    #[test]
    fn unknown_signatures_are_ignored_and_bad_known_ones_are_not() {
        let (secret, public) = key();
        let note = sign("text\n", "egress-eu-1", &secret);
        let other = sign("text\n", "egress-eu-1", &GatewayKey::from_seed([8; 32]));
        let other_line = other.lines().last().unwrap();
        let both = format!("{note}{other_line}\n");
        assert_eq!(UnverifiedNote::parse(&both).unwrap().verify(std::slice::from_ref(&public)), Ok(()));
        let wrong = sign("texu\n", "egress-eu-1", &secret);
        let bad_too = format!("{note}{}\n", wrong.lines().last().unwrap());
        assert_eq!(UnverifiedNote::parse(&bad_too).unwrap().verify(&[public]), Err(NoteError::Signature));
    }

    #[test]
    fn refuses_what_is_not_a_note() {
        let (secret, _) = key();
        let good = sign("text\n", "egress-eu-1", &secret);
        let line = good.lines().last().unwrap();
        for (note, expected) in [
            (String::new(), NoteError::Form),
            ("text\n".to_owned(), NoteError::Form),
            ("text\n\n".to_owned(), NoteError::Form),
            (good.trim_end().to_owned(), NoteError::Form),
            (good.replace('\n', "\r\n"), NoteError::Control),
            (good.replace('\u{2014}', "-"), NoteError::SignatureLine),
            (good.replace("egress-eu-1 ", "egress+eu-1 "), NoteError::SignatureLine),
            (good.replace("egress-eu-1 ", "egress\u{a0}eu-1 "), NoteError::SignatureLine),
            (format!("{good}more\n"), NoteError::SignatureLine),
            ("text\n\n\u{2014} a AAA=\n".to_owned(), NoteError::SignatureLine),
            (format!("text\n\n{}", format!("{line}\n").repeat(17)), NoteError::TooManySignatures),
        ] {
            assert_eq!(UnverifiedNote::parse(&note).unwrap_err(), expected, "{note:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}(\n|\n\n|\n\n\u{2014} [a-z]{1,3} [A-Za-z0-9+/=]{0,12}\n){0,4}") {
            if let Ok(note) = UnverifiedNote::parse(&text) {
                prop_assert_eq!(note.verify(&[key().1]), Err(NoteError::UnknownKey));
            }
        }
    }
}
