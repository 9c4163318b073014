//! Bodies as rules read them: nothing panics, whatever is accepted is JSON to another reader, and what replaces values leaves
//! JSON in which nothing else changed.
#![no_main]

use exeat_engine::payload::treat::{Tokenizer, Treatment, Treatments};
use exeat_engine::payload::{Places, Pointer, Reading, Value, json};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static POINTERS: LazyLock<Vec<Pointer>> = LazyLock::new(|| {
    let texts = ["/a", "/a/b", "/a/*", "/a/0", "/a/*/b", "/*", "/model", "/messages/*/role", "/customer_id"];
    texts.iter().map(|text| Pointer::parse(text).expect("a pointer")).collect()
});

static PLACES: LazyLock<Places> = LazyLock::new(|| Places::new(POINTERS.iter()));

fuzz_target!(|data: &[u8]| {
    let Ok(found) = json::read(data, &PLACES) else { return };
    let text = std::str::from_utf8(data).expect("it was read");
    for spot in found.iter().flat_map(|found| &found.spots) {
        let source = text.get(spot.span.clone()).expect("a value lies between characters");
        match (&spot.value, serde_json::from_str::<serde_json::Value>(source)) {
            (Value::Text(text), Ok(value)) => assert_eq!(value.as_str(), Some(text.as_ref())),
            (Value::Number(number), _) => assert_eq!(*number, source),
            (Value::Bool(flag), Ok(value)) => assert_eq!(value.as_bool(), Some(*flag)),
            (Value::Null, Ok(value)) => assert!(value.is_null()),
            // A number that no double holds may be in there.
            (Value::Nested, Ok(value)) => assert!(value.is_object() || value.is_array()),
            (Value::Nested, Err(_)) => {}
            (value, Err(error)) => panic!("{value:?}: {error}"),
        }
    }
    let mut treatments = Treatments::default();
    treatments.extend(
        POINTERS
            .iter()
            .enumerate()
            .map(|(at, pointer)| (pointer.clone(), if at % 2 == 0 { Treatment::Redact } else { Treatment::Tokenize })),
    );
    let reading = Reading::Read(found);
    if let Some(treated) = treatments.apply(&PLACES, &reading, data, &Tokenizer::new(&[0; 32], None)) {
        let again = json::read(&treated.body, &PLACES).expect("what replaces values leaves JSON");
        let texts = again.iter().flat_map(|found| &found.spots);
        // What was wanted is now a text or null, but for the inside of what was opened and had nothing wanted in it.
        assert!(texts.clone().all(|spot| !matches!(spot.value, Value::Number(_) | Value::Bool(_))));
    }
});
