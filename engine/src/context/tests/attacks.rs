//! What an agent, an intermediary or a thief of one signature would try.

use super::*;

#[test]
fn a_good_request_verifies_and_says_who() {
    let scene = scene();
    let verified = scene.verify(&scene.signed()).unwrap();
    assert_eq!(verified.context.agent, "support/summarizer");
    assert_eq!((verified.signer, verified.key.as_str(), verified.created), (1, "signer-1", NOW));
    assert_eq!(verified.nonce_until, Timestamp::from_seconds(NOW as u64 + 60));
}
