//! Bodies: what must be covered, and what a digest is good for.

use super::*;
use crate::payload::{BodyDigest, BodyHasher, ContentDigests};

const BODY: &[u8] = b"{\"customer_id\": \"u-1042\"}";

fn expectation(scene: &Scene) -> Result<ContentDigests, String> {
    scene.verify(&scene.signed()).unwrap().require_body_coverage().map_err(|error| {
        assert!(matches!(error.reason().code(), "signature-incomplete" | "context-malformed"));
        error.to_string()
    })
}

#[test]
fn the_body_that_was_signed_passes_and_no_other() {
    let digests = expectation(&scene_with_body(BODY)).unwrap();
    assert_eq!(BodyDigest::of(BODY, Some(&digests)).check(&digests), Ok(()));
    for other in [&b""[..], b"{}", &BODY[1..], &[BODY, b" "].concat()] {
        let mismatch = BodyDigest::of(other, Some(&digests)).check(&digests).unwrap_err();
        assert_eq!((mismatch.reason().code(), mismatch.algorithm), ("digest-mismatch", "sha-256"));
    }
}

#[test]
fn a_body_nobody_signed_is_refused() {
    let mut scene = scene();
    scene.method = "POST";
    let verified = scene.verify(&scene.signed()).unwrap();
    let error = verified.require_body_coverage().unwrap_err();
    assert_eq!(error.to_string(), "the signature lacks \"content-digest\"");
    assert_eq!(verified.covered_digests(), Ok(None));
    // A digest that stands there, not covered, is anybody's.
    scene.set("content-digest", &sign::content_digest(BODY));
    let verified = scene.verify(&scene.signed()).unwrap();
    assert!(verified.require_body_coverage().is_err());
    assert_eq!(verified.covered_digests(), Ok(None));
}

#[test]
fn what_says_how_to_read_the_body_is_covered_where_present() {
    let lacking = |remove: &str, add: Option<&str>| {
        let mut scene = scene_with_body(BODY);
        scene.set("content-encoding", "gzip");
        let mut input = scene.input();
        input.components.retain(|component| component.as_str() != format!("\"{remove}\""));
        input.components.extend(add.map(|name| Component::parse(name).unwrap()));
        let verified = scene.verify(&scene.signed_with(&input, 1)).unwrap();
        verified.require_body_coverage().err().map(|error| error.to_string())
    };
    let lacks = |what: &str| Some(format!("the signature lacks \"{what}\""));
    assert_eq!(lacking("none", None), None);
    assert_eq!(lacking("content-type", None), lacks("content-type"));
    assert_eq!(lacking("content-encoding", None), lacks("content-encoding"));
    assert_eq!(lacking("content-digest", None), lacks("content-digest"));
    assert_eq!(lacking("content-type", Some("\"content-type\";bs")), None);
    for part in ["\"content-digest\";sf", "\"content-digest\";bs", "\"content-digest\";key=\"sha-256\""] {
        assert_eq!(lacking("content-digest", Some(part)), lacks("content-digest"));
    }
}

#[test]
fn a_content_type_that_slipped_in_is_refused() {
    let mut scene = scene_with_body(BODY);
    scene.fields.retain(|(name, _)| name != "content-type");
    let mut head = scene.signed();
    assert!(scene.verify(&head).unwrap().require_body_coverage().is_ok());
    head.fields.push(("content-type".into(), "text/html".into()));
    assert!(scene.verify(&head).unwrap().require_body_coverage().is_err());
    // A second line beside a covered one changes the value that is covered.
    let scene = scene_with_body(BODY);
    let mut head = scene.signed();
    head.fields.push(("content-type".into(), "text/html".into()));
    assert_eq!(scene.verdict(&head), "signature-invalid");
}

/// Whoever cuts off a body that was signed sends a request that was not.
#[test]
fn a_body_that_was_cut_off_is_noticed() {
    let scene = scene_with_body(BODY);
    let digests = scene.verify(&scene.signed()).unwrap().covered_digests().unwrap().unwrap();
    assert!(BodyDigest::of(b"", Some(&digests)).check(&digests).is_err());
    let scene = scene_with_body(b"");
    let digests = scene.verify(&scene.signed()).unwrap().covered_digests().unwrap().unwrap();
    assert_eq!(BodyDigest::of(b"", Some(&digests)).check(&digests), Ok(()));
}

/// SHA-512 of `{"hello": "world"}` as RFC 9421 and RFC 9530 print it.
#[test]
fn every_digest_of_a_known_algorithm_must_match() {
    let body = b"{\"hello\": \"world\"}";
    let sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    let sha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    let wrong256 = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    for (field, expected) in [
        (sha512.to_owned(), Ok(())),
        (sha256.to_owned(), Ok(())),
        (format!("{sha512}, {sha256}"), Ok(())),
        (format!("{sha256}, md5=:AAAA:, unixsum=1"), Ok(())),
        (format!("{wrong256}, {sha512}"), Err("sha-256")),
        (format!("{sha256}, {}", sha512.replace("WZDP", "WZDQ")), Err("sha-512")),
    ] {
        let digests = ContentDigests::parse(field.as_bytes()).unwrap();
        let mut hasher = BodyHasher::new(Some(&digests));
        body.chunks(5).for_each(|chunk| hasher.update(chunk));
        let digest = hasher.finish();
        assert_eq!(digest.bytes(), 18);
        assert_eq!(digest.check(&digests).map_err(|mismatch| mismatch.algorithm), expected, "{field}");
    }
    // One that was never computed does not match either.
    let digests = ContentDigests::parse(sha512.as_bytes()).unwrap();
    assert!(BodyDigest::of(body, None).check(&digests).is_err());
}

#[test]
fn a_content_digest_that_readers_could_take_differently_is_refused() {
    let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (field, problem) in [
        (format!("sha-256=:{zeros}:, sha-256=:{zeros}:"), "occurs twice"),
        (format!("sha-256=\"{zeros}\""), "is not a byte sequence"),
        ("sha-256=:AAAA:".to_owned(), "has not the length of this digest"),
        (format!("sha-512=:{zeros}:"), "has not the length of this digest"),
        ("sha-256".to_owned(), "is not a byte sequence"),
        (format!("sha-256=(:{zeros}:)"), "more than 0 items"),
        (format!("SHA-256=:{zeros}:"), "expected start of key"),
        ("md5=:AAAA:".to_owned(), "lacks a content-digest of sha-256 or sha-512"),
        (String::new(), "lacks a content-digest of sha-256 or sha-512"),
        (format!("sha-256=:{zeros}:,"), "trailing comma"),
        (format!("x=\"{}\", sha-256=:{zeros}:", "a".repeat(5000)), "at most 4096"),
    ] {
        let error = ContentDigests::parse(field.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(problem), "{field}: {error}");
        let mut scene = scene_with_body(BODY);
        scene.fields.retain(|(name, _)| name != "content-digest");
        scene.set("content-digest", &field);
        let head = scene.signed();
        assert!(scene.verify(&head).and_then(|verified| verified.require_body_coverage()).is_err(), "{field}");
    }
    // Two lines are one list.
    let mut scene = scene_with_body(BODY);
    scene.set("content-digest", &sign::content_digest(BODY));
    assert!(expectation(&scene).unwrap_err().contains("occurs twice"));
}
