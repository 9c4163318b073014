//! Header maps as the host hands them over: one piece of memory, of which names and values are parts. The SDK would copy each into
//! memory of its own, and panic on names that are not UTF-8.

use exeat_engine::request::Field;
#[cfg(any(target_arch = "wasm32", test))]
use exeat_engine::request::{ByteString, Bytes};
use proxy_wasm::types::MapType;

/// The fields of a map, pseudo-headers among them; none where the host hands none over or they cannot be read.
#[cfg(target_arch = "wasm32")]
pub(crate) fn all(map: MapType) -> Vec<Field> {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    }
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both places are valid for the whole call.
    let status = unsafe { proxy_get_header_map_pairs(map as u32, &raw mut data, &raw mut size) };
    if status != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host asked this module for the memory (`proxy_on_memory_allocate`), which made it as a boxed slice of that size and
    // gave it away.
    let bytes = unsafe { Vec::from_raw_parts(data, size, size) };
    parse(bytes.into()).unwrap_or_default()
}

/// Native builds have no host.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn all(_map: MapType) -> Vec<Field> {
    Vec::new()
}

/// A number of pairs, two lengths of each, then each name and each value with a NUL behind it.
/// Everything is little-endian, 32 bits (proxy-wasm ABI 0.2.1, "Serialization").
#[cfg(any(target_arch = "wasm32", test))]
fn parse(bytes: Bytes) -> Option<Vec<Field>> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (lengths, _) = rest.split_at_checked(count.checked_mul(8)?)?;
    let (lengths, _) = lengths.as_chunks::<4>();
    let mut at = bytes.len().checked_sub(rest.len())?.checked_add(count.checked_mul(8)?)?;
    let mut part = |length: &[u8; 4]| {
        let end = at.checked_add(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let part = bytes.get(at..end)?;
        at = end.checked_add(1)?;
        Some(bytes.slice_ref(part))
    };
    let mut fields = Vec::with_capacity(count);
    for pair in lengths.as_chunks::<2>().0 {
        let [name, value] = pair;
        fields.push((ByteString::try_from(part(name)?).ok()?, part(value)?));
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        let mut map = number(pairs.len()).to_vec();
        map.extend(pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())].concat()));
        map.extend(pairs.iter().flat_map(|(name, value)| [name, &b"\0"[..], value, b"\0"].concat()));
        map
    }

    #[test]
    fn fields_are_parts_of_what_came() {
        let bytes = Bytes::from(map(&[(b":path", b"/a"), (b"x", b""), (b"y", b"\xff\0z")]));
        let fields = parse(bytes.clone()).unwrap();
        let want: [(&str, &[u8]); 3] = [(":path", b"/a"), ("x", b""), ("y", b"\xff\0z")];
        assert!(fields.iter().map(|(name, value)| (&**name, value.as_ref())).eq(want));
        let within = |part: &[u8]| part.is_empty() || bytes.as_ptr_range().contains(&part.as_ptr());
        assert!(fields.iter().all(|(name, value)| within(name.as_bytes()) && within(value)));
        assert_eq!(parse(map(&[]).into()), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_map_has_no_fields() {
        let whole = map(&[(b":path", b"/a"), (b"x", b"1")]);
        // The last NUL says nothing.
        for end in 0..whole.len() - 1 {
            assert_eq!(parse(Bytes::copy_from_slice(&whole[..end])), None, "{end}");
        }
        assert_eq!(parse(map(&[(b"\xff", b"")]).into()), None, "a name that is not UTF-8");
        for length in [u32::MAX, u32::MAX / 8, 1 << 29] {
            let mut large = whole.clone();
            large[..4].copy_from_slice(&length.to_le_bytes());
            assert_eq!(parse(large.into()), None, "{length} pairs");
            let mut long = whole.clone();
            long[4..8].copy_from_slice(&length.to_le_bytes());
            assert_eq!(parse(long.into()), None, "a name of {length}");
        }
    }
}
