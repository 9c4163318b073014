//! Any component of any request: the base has one line for each component, whatever the values hold.
#![no_main]

use exeat_engine::context::sign::SignatureInput;
use exeat_engine::context::signature::Component;
use exeat_engine::request::RequestHead;
use libfuzzer_sys::fuzz_target;

// The input, cut at NUL: method, scheme, authority, path, component, then values of the fields `x` and `priority`.
fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let mut next = || parts.next().unwrap_or_default();
    let (method, scheme, authority, path, component) = (next(), next(), next(), next(), next());
    let Ok(component) = std::str::from_utf8(&component) else { return };
    let Ok(component) = Component::parse(component) else { return };
    assert_eq!(Component::parse(component.as_str()).expect("canonical text"), component);
    let fields = parts.enumerate().map(|(at, value)| (["x", "priority"][at % 2].into(), value.into())).collect();
    let head = RequestHead {
        method: method.into(),
        scheme: Some(scheme.into()),
        authority: authority.into(),
        path: Some(path.into()),
        fields,
    };
    let input = SignatureInput::new(vec![component], "k", 1, "n");
    if let Ok(base) = input.base(&head) {
        assert_eq!(base.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(base.iter().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')));
        let again = input.base(&head).expect("what could be derived");
        assert_eq!(base, again);
    }
});
