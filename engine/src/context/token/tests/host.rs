//! Keys that the host verifies with, and what is remembered.

use super::*;
use std::sync::Arc;

fn of(keys: Vec<TokenKey>) -> TokenIssuers {
    take(vec![TokenIssuer { keys, ..issuer() }])
}

#[test]
fn p256_and_rsa_are_left_to_the_host() {
    for signing in [Signing::p256(), Signing::rsa()] {
        let host = Arc::new(RingHost::default());
        let issuers = of(vec![key("h", &signing), key("k1", &Signing::ed25519(1))]).with_host(host.clone()).unwrap();
        let asked = || host.asked.load(Ordering::Relaxed);
        let before = asked();
        let good = token(&claims(), Some("h"), &signing);
        let verified = verify(&issuers, &good).unwrap();
        assert_eq!((verified.key.as_str(), verified.context.agent.as_str()), ("h", "support/summarizer"));
        assert_eq!(asked(), before + 1);
        // Remembered: the host is not asked again.
        verify(&issuers, &good).unwrap();
        assert_eq!(asked(), before + 1);
        // By any other key, or with another algorithm under this one.
        let other = Signing::p256();
        for (forged, said) in [
            (
                raw(&json!({"alg": signing.alg(), "kid": "h"}).to_string(), &claims().to_string(), &other),
                "does not verify with key \"h\"",
            ),
            (raw(r#"{"alg":"EdDSA","kid":"h"}"#, &claims().to_string(), &signing), "which key \"h\" is not for"),
            (
                raw(&json!({"alg": signing.alg(), "kid": "k1"}).to_string(), &claims().to_string(), &signing),
                "which key \"k1\" is not for",
            ),
            (format!("{}AAAA", good), "does not verify with key \"h\""),
        ] {
            let error = verify(&issuers, &forged).unwrap_err();
            assert_eq!(error.reason().code(), "signature-invalid");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

/// RFC 7518 section 3.4: two numbers of 32 bytes, never the DER that other software makes.
#[test]
fn a_signature_of_p256_has_64_bytes() {
    let signing = Signing::p256();
    let issuers = of(vec![key("h", &signing)]).with_host(Arc::new(RingHost::default())).unwrap();
    let good = token(&claims(), Some("h"), &signing);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let der = key::host_signature(HostAlgorithm::Es256, &signature).unwrap();
    for wrong in [der, signature[..63].to_vec(), [&signature[..], &[0]].concat(), vec![0; 64], vec![]] {
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(wrong));
        assert_eq!(verify(&issuers, &token).unwrap_err(), TokenError::SignatureInvalid { kid: "h".to_owned() });
    }
}

#[test]
fn without_a_host_such_tokens_are_refused() {
    let signing = Signing::p256();
    let error = verify(&of(vec![key("h", &signing)]), &token(&claims(), Some("h"), &signing)).unwrap_err();
    assert_eq!(error.reason().code(), "internal-error");
    assert_eq!(error.to_string(), "the host cannot verify ES256: no host was taken into use");
}

#[test]
fn a_host_is_believed_only_with_the_right_answers() {
    #[derive(Debug)]
    struct Says(Result<bool, HostRefusal>);
    impl HostVerifier for Says {
        fn verify(&self, _: HostAlgorithm, _: &[u8], _: &[u8], _: &[u8]) -> Result<bool, HostRefusal> {
            self.0.clone()
        }
    }
    let missing = HostRefusal("it has no such function".to_owned());
    for (answer, problem) in [
        (Ok(true), "it gives wrong answers"),
        (Ok(false), "it gives wrong answers"),
        (Err(missing), "it has no such function"),
    ] {
        for (signing, algorithm) in [(Signing::p256(), HostAlgorithm::Es256), (Signing::rsa(), HostAlgorithm::Rs256)] {
            let unusable = of(vec![key("h", &signing)]).with_host(Arc::new(Says(answer.clone()))).unwrap_err();
            let expected =
                UnusableKey { place: "/signers/0/keys/0/public".to_owned(), algorithm, problem: problem.to_owned() };
            assert_eq!(unusable, expected);
        }
        // Where no key needs it, it is not asked.
        assert!(of(vec![key("k1", &Signing::ed25519(1))]).with_host(Arc::new(Says(answer))).is_ok());
    }
    // A host that knows the answers by heart, but cannot read the key.
    #[derive(Debug)]
    struct Reads(RingHost);
    impl HostVerifier for Reads {
        fn verify(
            &self,
            algorithm: HostAlgorithm,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<bool, HostRefusal> {
            if message.is_empty() {
                Err(HostRefusal("not a point".to_owned()))
            } else {
                self.0.verify(algorithm, key, message, signature)
            }
        }
    }
    let unusable = of(vec![key("h", &Signing::p256())]).with_host(Arc::new(Reads(RingHost::default()))).unwrap_err();
    assert_eq!(unusable.problem, "not a point");
}

#[test]
fn keys_have_the_form_that_hosts_read() {
    // RFC 5480 and RFC 8017 as `openssl pkey -pubin -outform DER` writes them, by their length and first bytes.
    let KeyMaterial::Host(_, p256) = Signing::p256().material() else { panic!() };
    assert_eq!(p256.len(), 91);
    assert_eq!(p256[..4], [0x30, 0x59, 0x30, 0x13]);
    assert_eq!(p256[23..27], [0x03, 0x42, 0x00, 0x04]);
    let KeyMaterial::Host(_, rsa) = Signing::rsa().material() else { panic!() };
    assert_eq!(rsa.len(), 294);
    assert_eq!(rsa[..8], [0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09]);
    assert_eq!(rsa[19..24], [0x03, 0x82, 0x01, 0x0f, 0x00]);
    assert_eq!(rsa[289..], [0x02, 0x03, 0x01, 0x00, 0x01]);
    // Numbers of a signature: without leading zeros, but never negative.
    let of = |r: [u8; 32], s: [u8; 32]| key::host_signature(HostAlgorithm::Es256, &[r, s].concat()).unwrap();
    let (mut small, mut high) = ([0; 32], [0; 32]);
    (small[31], high[0]) = (1, 0x80);
    assert_eq!(of(small, small), [0x30, 6, 2, 1, 1, 2, 1, 1]);
    assert_eq!(of(small, [0; 32]), [0x30, 6, 2, 1, 1, 2, 1, 0]);
    assert_eq!(of(high, small)[..6], [0x30, 38, 2, 33, 0, 0x80]);
}

/// What is remembered decides nothing: not past its end, not in the next configuration, not without bounds.
#[test]
fn remembered_tokens_end_when_they_say_so() {
    let (signing, host) = (Signing::p256(), Arc::new(RingHost::default()));
    let issuers = of(vec![key("h", &signing)]).with_host(host.clone()).unwrap();
    let asked = || host.asked.load(Ordering::Relaxed);
    let good = token(&claims(), Some("h"), &signing);
    verify(&issuers, &good).unwrap();
    let before = asked();
    let end = NOW.0 + 300_000 + SKEW;
    assert!(verify_at(&issuers, &good, Timestamp(end)).is_ok());
    let over = verify_at(&issuers, &good, Timestamp(end + 1)).unwrap_err();
    assert_eq!(over, TokenError::Expired { exp: SECONDS + 300, now: Timestamp(end + 1) });
    // A clock that goes back does not make it younger than it is.
    assert!(matches!(verify_at(&issuers, &good, Timestamp(NOW.0 - 60_000)), Err(TokenError::NotYetValid { .. })));
    assert_eq!(asked(), before);
    // The next configuration knows nothing of it.
    let mut next = issuers.clone();
    verify(&next, &good).unwrap();
    assert_eq!(asked(), before + 1);
    next = of(vec![key("h", &Signing::p256())]).with_host(host.clone()).unwrap();
    assert_eq!(verify(&next, &good).unwrap_err(), TokenError::SignatureInvalid { kid: "h".to_owned() });
}

#[test]
fn what_is_remembered_is_bounded_and_what_ends_first_goes_first() {
    let issuers = of(vec![key("k1", &Signing::ed25519(1))]);
    let until = |exp: u64, sid: usize| {
        token(&with(claims(), json!({"exp": exp, "sid": format!("s-{sid}")})), Some("k1"), &Signing::ed25519(1))
    };
    let long = until(SECONDS + 10_000, 0);
    verify(&issuers, &long).unwrap();
    for n in 1..1_024 {
        verify(&issuers, &until(SECONDS + 100 + n as u64, n)).unwrap();
    }
    assert_eq!(issuers.cache.len(), 1_024);
    verify(&issuers, &until(SECONDS + 5_000, 2_000)).unwrap();
    assert_eq!(issuers.cache.len(), 1_024);
    // Those that have ended leave together.
    let later = Timestamp::from_seconds(SECONDS + 2_000);
    verify_at(&issuers, &until(SECONDS + 6_000, 3_000), later).unwrap();
    assert_eq!(issuers.cache.len(), 3);
    assert!(verify_at(&issuers, &long, later).is_ok());
    // What does not verify is not remembered.
    let forged = token(&claims(), Some("k1"), &Signing::ed25519(2));
    verify(&issuers, &forged).unwrap_err();
    assert_eq!(issuers.cache.len(), 3);
}
