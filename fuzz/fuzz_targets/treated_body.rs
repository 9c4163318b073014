//! What is redacted is gone, what is tokenised is a token of its own value, and nothing else changed: held against a walk through
//! the body as another reader's tree.
#![no_main]

use exeat_engine::payload::treat::{Tokenizer, Treatment, Treatments};
use exeat_engine::payload::{Places, Pointer, Reading, json};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::LazyLock;

const TEXTS: [&str; 8] = ["/a", "/a/b", "/a/*", "/a/0", "/list/*/a", "/*", "/b", "/c~1d"];

static POINTERS: LazyLock<Vec<Pointer>> =
    LazyLock::new(|| TEXTS.iter().map(|text| Pointer::parse(text).expect("a pointer")).collect());

// The first two bytes choose pointers, and what is done there.
fuzz_target!(|data: &[u8]| {
    let Some(([which, how], body)) = data.split_first_chunk::<2>() else { return };
    let chosen: Vec<(usize, Treatment)> = (0..TEXTS.len())
        .filter(|n| which >> n & 1 == 1)
        .map(|n| (n, if how >> n & 1 == 1 { Treatment::Tokenize } else { Treatment::Redact }))
        .collect();
    let mut treatments = Treatments::default();
    treatments.extend(chosen.iter().map(|(n, treatment)| (POINTERS[*n].clone(), *treatment)));
    let places = Places::new(treatments.pointers());
    let Ok(found) = json::read(body, &places) else { return };
    let reading = Reading::Read(found);
    // A body of which this cannot be told is refused.
    if treatments.check(&places, &reading).is_err() {
        return;
    }
    // Numbers that no double holds are no JSON to the other reader.
    let Ok(before) = serde_json::from_slice::<Value>(body) else { return };
    let treated = treatments.apply(&places, &reading, body, &Tokenizer::new(&[0; 32], None));
    let after = match &treated {
        Some(treated) => serde_json::from_slice::<Value>(&treated.body).expect("it stays JSON"),
        None => before.clone(),
    };
    let wanted: Vec<(Vec<&str>, Treatment)> =
        chosen.iter().map(|(n, treatment)| (TEXTS[*n].split('/').skip(1).collect(), *treatment)).collect();
    let changed =
        compare(&before, &after, &wanted.iter().map(|(steps, how)| (steps.as_slice(), *how)).collect::<Vec<_>>());
    assert_eq!(changed, treated.is_some());
    if let Some(treated) = treated {
        // Once more changes tokens, but shows nothing new; what is only redacted stays as it is.
        if chosen.iter().all(|(_, how)| *how == Treatment::Redact) {
            let reading = Reading::Read(json::read(&treated.body, &places).expect("it stays JSON to this reader"));
            let again = treatments.apply(&places, &reading, &treated.body, &Tokenizer::new(&[0; 32], None));
            assert!(again.is_none_or(|again| again.body == treated.body));
        }
    }
});

/// Holds one value against what became of it; whether it, or something in it, was replaced. `wanted`: what is left of each
/// pointer here.
fn compare(before: &Value, after: &Value, wanted: &[(&[&str], Treatment)]) -> bool {
    let here = wanted.iter().filter(|(steps, _)| steps.is_empty()).map(|(_, how)| *how).min();
    if let Some(how) = here.filter(|_| !before.is_null()) {
        let text = after.as_str().expect("a text stands there");
        match how {
            Treatment::Redact => assert_eq!(text, "[redacted]"),
            Treatment::Tokenize => assert!(text.starts_with("tok_") && text.len() == 26, "{text}"),
        }
        return true;
    }
    let below = |step: &str, array: bool| -> Vec<(&[&str], Treatment)> {
        let fits =
            |first: &str| if array { first == "*" || first == step } else { first != "*" && unescaped(first) == step };
        wanted
            .iter()
            .filter_map(|(steps, how)| {
                steps.split_first().filter(|(first, _)| fits(first)).map(|(_, rest)| (rest, *how))
            })
            .collect()
    };
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            assert!(before.keys().eq(after.keys()));
            before
                .iter()
                .zip(after.values())
                .fold(false, |changed, ((name, before), after)| changed | compare(before, after, &below(name, false)))
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).enumerate().fold(false, |changed, (n, (before, after))| {
                changed | compare(before, after, &below(&n.to_string(), true))
            })
        }
        (before, after) => {
            assert_eq!(before, after);
            false
        }
    }
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}
