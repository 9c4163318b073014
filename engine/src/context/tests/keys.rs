//! Public keys as policies write them, and the ring that holds them.

use super::super::keyring::{KeyProblem, PublicKeyError};
use super::*;

/// The public key of RFC 9421 appendix B.1.4, in all the ways of writing it.
const STANDARD: &str = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";

#[test]
fn one_key_has_many_spellings() {
    let key = PublicKey::parse(STANDARD).unwrap();
    assert_eq!(key.to_base64(), STANDARD);
    for text in [
        "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs",
        "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs",
        "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs=",
        " JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n",
        r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#,
        r#" {"kty":"OKP","crv":"Ed25519","kid":"test-key-ed25519","use":"sig","x":"JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="}"#,
    ] {
        assert_eq!(PublicKey::parse(text).as_ref(), Ok(&key), "{text}");
    }
}

#[test]
fn what_is_no_public_key_is_refused() {
    for (text, error) in [
        ("", PublicKeyError::Form),
        ("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0b", PublicKeyError::Form),
        ("JrQLj5P/89iXES9-vFgrIy29clF9CC/oPPsw3c5D0bs", PublicKeyError::Form),
        ("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bt", PublicKeyError::Form),
        ("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs==", PublicKeyError::Form),
        ("26b40b8f93fff3d897112f7ebc582b232dbd72517d082fe83cfb30ddce43d1bb", PublicKeyError::Form),
        ("{}", PublicKeyError::Form),
        ("{", PublicKeyError::Form),
        (r#"{"kty":"EC","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#, PublicKeyError::Form),
        (r#"{"kty":"OKP","crv":"X25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}"#, PublicKeyError::Form),
        (r#"{"kty":"OKP","crv":"Ed25519","x":1}"#, PublicKeyError::Form),
        (r#"{"kty":"OKP","crv":"Ed25519"}"#, PublicKeyError::Form),
        (
            r#"{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs","d":"n4Ni"}"#,
            PublicKeyError::Private,
        ),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PublicKeyError::Point),
        ("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PublicKeyError::Point),
        ("AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", PublicKeyError::Point),
    ] {
        assert_eq!(PublicKey::parse(text), Err(error), "{text}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn an_id_is_taken_once() {
    let mut keys = KeyRing::default();
    assert!(keys.insert("k", signer_key(1)));
    assert!(!keys.insert("k", signer_key(2)));
    assert_eq!(keys.get("k").map(|key| key.signer), Some(1));
    assert!(keys.get("K").is_none());
}

#[test]
fn keys_beyond_the_limit_verify_too() {
    for limit in [0, 1, 2] {
        let mut keys = KeyRing::with_prepared_keys(limit);
        for number in 1..=2 {
            keys.insert(&number.to_string(), signer_key(number));
        }
        for number in 1..=2 {
            let signature = *key_pair(number).sk.sign(b"message", None);
            assert!(keys.verify(&number.to_string(), b"message", &signature));
            assert!(!keys.verify(&number.to_string(), b"massage", &signature));
            assert!(!keys.verify(&(3 - number).to_string(), b"message", &signature));
            assert!(!keys.verify("3", b"message", &signature));
        }
    }
}

#[test]
fn a_key_has_a_first_and_a_last_moment() {
    let key = SignerKey { not_before: Some(Timestamp(10)), not_after: Some(Timestamp(20)), ..signer_key(1) };
    assert_eq!(key.check_time(Timestamp(9)), Err(KeyProblem::NotYetValid(Timestamp(10))));
    assert_eq!(key.check_time(Timestamp(10)), Ok(()));
    assert_eq!(key.check_time(Timestamp(20)), Ok(()));
    assert_eq!(key.check_time(Timestamp(21)), Err(KeyProblem::Expired(Timestamp(20))));
    assert_eq!(signer_key(1).check_time(Timestamp(u64::MAX)), Ok(()));
}
