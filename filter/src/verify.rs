//! Signatures that the host verifies for the engine: Envoy's foreign function `verify_signature`, which has BoringSSL behind
//! it. Its arguments and its answer are two small protobuf messages (`verify_signature.proto` in Envoy's source), written
//! and read here by hand.

use exeat_engine::context::token::{HostAlgorithm, HostRefusal, HostVerifier};

/// The host, as far as it verifies signatures.
#[derive(Debug)]
pub(crate) struct ForeignVerifier;

impl HostVerifier for ForeignVerifier {
    fn verify(&self, _: HostAlgorithm, key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, HostRefusal> {
        // The key says which algorithm; both hash with SHA-256.
        let fields = [(1, &b"sha256"[..]), (2, key), (3, signature), (4, message)];
        let arguments: Vec<u8> = fields.into_iter().flat_map(|(number, value)| field(number, value)).collect();
        match call("verify_signature", &arguments) {
            Ok(answer) => read_answer(&answer),
            Err(NOT_FOUND) => Err(HostRefusal("the host has no verify_signature".to_owned())),
            Err(BAD_ARGUMENT) => Err(HostRefusal("the host cannot read the key".to_owned())),
            Err(status) => Err(HostRefusal(format!("the host's verify_signature gives status {status}"))),
        }
    }
}

/// A field of bytes: its tag (wire type 2), its length, itself.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        // The low seven bits always fit.
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(value);
    out
}

/// `bool result = 1`, left out where it is false; `string error = 2`.
fn read_answer(answer: &[u8]) -> Result<bool, HostRefusal> {
    // Where the host could not even begin, its words say so; a signature that is wrong it calls a failure to verify.
    const COULD_NOT_BEGIN: [&[u8]; 2] = [b"Failed to initialize", b"is not supported"];
    match answer {
        [0x08, 1] => Ok(true),
        [] | [0x08, 0] => Ok(false),
        [0x12, ..] | [0x08, 0, 0x12, ..] => {
            let unready = COULD_NOT_BEGIN.iter().find(|words| contains(answer, words));
            unready.map_or(Ok(false), |words| Err(HostRefusal(String::from_utf8_lossy(words).into_owned())))
        }
        // Success with an error beside it, or fields that nobody knows.
        _ => Err(HostRefusal("the answer of the host's verify_signature cannot be read".to_owned())),
    }
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}

const NOT_FOUND: u32 = 1;
const BAD_ARGUMENT: u32 = 2;

/// The SDK's own call panics on statuses that it does not expect.
#[cfg(target_arch = "wasm32")]
fn call(name: &str, arguments: &[u8]) -> Result<Vec<u8>, u32> {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_call_foreign_function(
            name: *const u8,
            name_length: usize,
            arguments: *const u8,
            arguments_length: usize,
            results: *mut *mut u8,
            results_length: *mut usize,
        ) -> u32;
    }
    let (mut results, mut length) = (std::ptr::null_mut::<u8>(), 0_usize);
    // SAFETY: name and arguments are valid for their lengths, the two places for writes, all for the whole call.
    let status = unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &raw mut results,
            &raw mut length,
        )
    };
    match status {
        0 if results.is_null() || length == 0 => Ok(Vec::new()),
        // SAFETY: the host allocated it by proxy_on_memory_allocate, which the SDK makes a vector of this capacity.
        0 => Ok(unsafe { Vec::from_raw_parts(results, length, length) }),
        status => Err(status),
    }
}

/// Native builds exist only so that the workspace checks as a whole; they have no host.
#[cfg(not(target_arch = "wasm32"))]
fn call(_name: &str, _arguments: &[u8]) -> Result<Vec<u8>, u32> {
    Err(NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_protobuf() {
        assert_eq!(field(1, b"sha256"), b"\x0a\x06sha256");
        assert_eq!(field(4, b""), b"\x22\x00");
        for (length, head) in [(127, &[0x12, 127][..]), (128, &[0x12, 0x80, 1]), (16_384, &[0x12, 0x80, 0x80, 1])] {
            let written = field(2, &vec![7; length]);
            assert_eq!((&written[..head.len()], written.len()), (head, head.len() + length));
        }
    }

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        let failed = |words: &str| [&[0x12, u8::try_from(words.len()).unwrap()][..], words.as_bytes()].concat();
        assert_eq!(read_answer(&[8, 1]), Ok(true));
        for no in [vec![], vec![8, 0], failed("Failed to verify digest. Error code: 0"), failed("")] {
            assert_eq!(read_answer(&no), Ok(false), "{no:?}");
        }
        for broken in [
            failed("Failed to initialize digest verify."),
            failed("sha999 is not supported."),
            [vec![8, 1], failed("but")].concat(),
            vec![8],
            vec![8, 2],
            vec![8, 0x81, 0],
            vec![8, 1, 8, 1],
            vec![0x1a, 0],
            b"true".to_vec(),
        ] {
            assert!(read_answer(&broken).is_err(), "{broken:?}");
        }
    }
}
