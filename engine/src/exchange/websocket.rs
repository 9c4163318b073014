//! The opening handshake of a WebSocket (RFC 6455 section 4.1): what of it is looked at, and what of it goes on.

use crate::request::{ByteString, Bytes, Field, RequestHead};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Whether this asks for a WebSocket and for nothing else.
pub(super) fn is_handshake(method: &str, head: &RequestHead) -> bool {
    let is = |name: &str, value: &[u8]| head.single(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    let connection = head.single("connection").unwrap_or_default();
    method == "GET"
        && is("upgrade", b"websocket")
        && connection.split(|b| *b == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && is("sec-websocket-version", b"13")
        && head.single("sec-websocket-key").is_some_and(is_key)
}

/// 16 bytes in base64: whatever is longer would be a way to carry something.
fn is_key(value: &[u8]) -> bool {
    value.len() == 24 && STANDARD.decode(value).is_ok_and(|bytes| bytes.len() == 16)
}

/// Whether [`fields`] speaks of it, so that a rule need not.
pub(super) fn is_own(name: &str) -> bool {
    matches!(name, "sec-websocket-key" | "sec-websocket-version")
}

/// The fields without which a server does not upgrade. Subprotocols and extensions go on where a rule keeps them.
pub(super) fn fields(head: &RequestHead) -> impl Iterator<Item = Field> + '_ {
    let fixed = [("connection", &b"Upgrade"[..]), ("upgrade", b"websocket"), ("sec-websocket-version", b"13")];
    let key = head.single("sec-websocket-key").map(|key| ("sec-websocket-key", key));
    fixed.into_iter().chain(key).map(|(name, value)| (ByteString::from_static(name), Bytes::copy_from_slice(value)))
}
