//! Host calls that return what they got and never panic: the SDK's getters of text panic on bytes that are not UTF-8.

use exeat_engine::facts::Timestamp;
use proxy_wasm::hostcalls;
#[cfg(target_arch = "wasm32")]
use proxy_wasm::types::BufferType;
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

/// Sets a value that the host itself reads, for this request.
pub(crate) fn set_filter_state(key: &str, value: &str) -> Result<(), String> {
    // SetEnvoyFilterStateArguments: path = 1, value = 2; the span is that of the filter chain unless set.
    let mut arguments = Vec::with_capacity(key.len().saturating_add(value.len()).saturating_add(4));
    for (tag, text) in [(0x0a, key), (0x12, value)] {
        // INVARIANT: keys and host names are longer than 127 bytes at most once, so that two bytes hold any length.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        let low = (length & 0x7f) as u8;
        arguments.push(tag);
        match u8::try_from(length >> 7) {
            Ok(0) => arguments.push(low),
            high => arguments.extend([low | 0x80, high.unwrap_or(u8::MAX) & 0x7f]),
        }
        arguments.extend_from_slice(text.as_bytes());
    }
    match hostcalls::call_foreign_function("set_envoy_filter_state", Some(&arguments)) {
        Ok(_) => Ok(()),
        Err(status) => Err(format!("the host does not take {key}: {status:?}")),
    }
}

/// Writes to the host's log. A log that cannot be written stops nothing.
pub(crate) fn log(level: LogLevel, message: &str) {
    let _ = hostcalls::log(level, message);
}

#[cfg(target_arch = "wasm32")]
mod imports {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        // The SDK's own panics on every status but success.
        pub(super) fn proxy_set_buffer_bytes(
            buffer: u32,
            start: usize,
            length: usize,
            bytes: *const u8,
            size: usize,
        ) -> u32;
    }
}

/// Puts another body in the place of all that the host holds of a request's, and sees to it that it did.
#[cfg(target_arch = "wasm32")]
pub(crate) fn replace_request_body(body: &[u8]) -> Result<(), String> {
    let buffer = BufferType::HttpRequestBody;
    // SAFETY: the bytes are valid for their length for the whole call. From the first to beyond the last: hosts replace a
    // whole body, or nothing.
    let status =
        unsafe { imports::proxy_set_buffer_bytes(buffer as u32, 0, u32::MAX as usize, body.as_ptr(), body.len()) };
    if status != 0 {
        return Err(format!("the body cannot be replaced: status {status}"));
    }
    let held = hostcalls::get_buffer(buffer, 0, body.len().saturating_add(1)).ok().flatten().unwrap_or_default();
    if held == body { Ok(()) } else { Err("the host did not replace the body".to_owned()) }
}

/// Native builds have no host.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn replace_request_body(_body: &[u8]) -> Result<(), String> {
    Err("there is no host".to_owned())
}
