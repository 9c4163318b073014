//! Host calls that return what they got and never panic: the SDK's getters of text panic on bytes that are not UTF-8.

use exeat_engine::facts::Timestamp;
use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;
use std::time::UNIX_EPOCH;

/// The time now; `None` when the host has no clock, and then nothing may be decided.
pub(crate) fn now() -> Option<Timestamp> {
    let since = hostcalls::get_current_time().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let millis = u64::try_from(since.as_millis()).ok()?;
    (millis > 0).then_some(Timestamp(millis))
}

/// A property as bytes.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// A property as text; what is not UTF-8 counts as absent.
pub(crate) fn text_property(path: &[&str]) -> Option<String> {
    property(path).and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.is_empty())
}

/// A property that is an integer: eight bytes, little-endian.
pub(crate) fn number_property(path: &[&str]) -> Option<u64> {
    property(path).and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
}

/// Writes to the host's log. A log that cannot be written stops nothing.
pub(crate) fn log(level: LogLevel, message: &str) {
    let _ = hostcalls::log(level, message);
}
