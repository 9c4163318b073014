//! The two things the host offers only through WASI: randomness and environment variables.
//!
//! The module is built for wasm32-unknown-unknown and imports these calls directly; the host provides them whether or
//! not it enables the rest of WASI. A missing import would keep the module from loading at all.

#[cfg(target_arch = "wasm32")]
mod imports {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn random_get(buffer: *mut u8, length: usize) -> u16;
        pub(super) fn environ_sizes_get(count: *mut usize, size: *mut usize) -> u16;
        pub(super) fn environ_get(pointers: *mut *mut u8, buffer: *mut u8) -> u16;
    }
}

/// 32 bytes from the host's generator; `None` when it fails, and then nothing may be decided.
#[cfg(target_arch = "wasm32")]
pub(crate) fn random() -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    // SAFETY: the buffer is valid for its length for the whole call.
    let status = unsafe { imports::random_get(bytes.as_mut_ptr(), bytes.len()) };
    // A generator that answers success and writes nothing is as bad as one that fails.
    (status == 0 && bytes != [0u8; 32]).then_some(bytes)
}

/// The value of an environment variable of the VM; `None` when it is not set or not UTF-8.
#[cfg(target_arch = "wasm32")]
pub(crate) fn variable(name: &str) -> Option<String> {
    let (mut count, mut size) = (0usize, 0usize);
    // SAFETY: both pointers are valid for writes of a usize.
    if unsafe { imports::environ_sizes_get(&raw mut count, &raw mut size) } != 0 {
        return None;
    }
    let mut pointers = vec![std::ptr::null_mut::<u8>(); count];
    let mut buffer = vec![0u8; size];
    // SAFETY: the buffers have the sizes the host asked for.
    if unsafe { imports::environ_get(pointers.as_mut_ptr(), buffer.as_mut_ptr()) } != 0 {
        return None;
    }
    let prefix = format!("{name}=");
    buffer
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok())
        .find_map(|entry| entry.strip_prefix(&prefix))
        .map(str::to_owned)
}

/// Native builds exist only so that the workspace checks as a whole; they have no host.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn random() -> Option<[u8; 32]> {
    None
}

/// See [`random`].
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn variable(_name: &str) -> Option<String> {
    None
}
