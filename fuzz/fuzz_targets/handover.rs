//! What a guard is told by a filter of another VM: any bytes are nothing, or what would be written for what they say.
#![no_main]

use exeat_engine::evidence::record::GuardVerdict;
use exeat_engine::exchange::Clearance;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(clearance) = Clearance::from_bytes(data) {
        assert_eq!(clearance.to_bytes().as_deref(), Some(data));
    }
    if let Some(verdict) = GuardVerdict::from_bytes(data) {
        assert_eq!(verdict.to_bytes(), data);
    }
});
