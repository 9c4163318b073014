//! The first bytes of a tunnel: nothing panics, an answer stays as more bytes come, and no bytes are for two hosts.
#![no_main]

use exeat_engine::destination::client_hello::{MAX_HELLO, check_hello};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let answer = check_hello(data, "api.example");
    assert!(answer != Ok(true) || check_hello(data, "other.example") != Ok(true));
    // Where a shorter part was enough to answer, the whole says the same.
    for end in [data.len() / 2, data.len().saturating_sub(1)] {
        let earlier = check_hello(data.get(..end).unwrap_or_default(), "api.example");
        assert!(earlier == Ok(false) || earlier == answer, "{earlier:?}, then {answer:?}");
    }
    assert!(answer != Ok(false) || data.len() < MAX_HELLO);
});
