//! What the two processes of the signer say to each other, what orchestrators ask of it, and where its gateway is: what is read is
//! written again as it was meant, and what is refused is refused.
#![no_main]

use exeat_signer::daemon::GatewayOrigin;
use exeat_signer::keeper::facts::{ProvenanceReport, SessionRequest};
use exeat_signer::protocol::frame::{decode, encode};
use exeat_signer::protocol::{MAX_MESSAGE, ToKeeper, ToProxy};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    match first % 5 {
        0 => frames::<ToProxy>(bytes),
        1 => frames::<ToKeeper>(bytes),
        2 => drop(serde_json::from_slice::<SessionRequest>(bytes)),
        3 => drop(serde_json::from_slice::<ProvenanceReport>(bytes)),
        _ => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            if let Ok(origin) = GatewayOrigin::parse(text) {
                // Its one form is read as the same.
                let again = GatewayOrigin::parse(&origin.url()).expect("its own form");
                assert_eq!(origin, again);
                assert!(origin.url().is_ascii() && !origin.url().contains(['@', '\\', ' ']), "{}", origin.url());
            }
        }
    }
});

fn frames<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(mut bytes: &[u8]) {
    while let Ok(Some((message, length))) = decode::<T>(bytes) {
        assert!(length > 4 && length <= bytes.len() && length - 4 <= MAX_MESSAGE);
        bytes = &bytes[length..];
        // Numbers that are none have no form.
        let Ok(frame) = encode(&message) else { continue };
        let (again, whole) = decode::<T>(&frame).expect("a frame").expect("a whole frame");
        assert_eq!(whole, frame.len());
        assert_eq!(again, message);
        // Whatever is cut off is not there yet.
        assert!(matches!(decode::<T>(&frame[..frame.len() - 1]), Ok(None)));
    }
}
