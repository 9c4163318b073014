//! What rules ask of queries and numbers: a value that is told is the one that servers find, and numbers compare as they do there.
#![no_main]

use exeat_engine::payload::number::Decimal;
use exeat_engine::payload::query::{Queried, QueryKey};
use libfuzzer_sys::fuzz_target;

// The key, a newline, the query; as numbers, the two sides of it.
fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(key) = QueryKey::new(first) {
        queried(&key, first, second);
    }
    if let (Some(a), Some(b)) = (Decimal::parse_only_form(first), Decimal::parse_only_form(second)) {
        // No digits get lost in doubles: the order is that of doubles.
        let double = |text: &str| text.parse::<f64>().expect("a number");
        assert_eq!(a.partial_cmp(&b), double(first).partial_cmp(&double(second)), "{first} {second}");
        assert_eq!(a == b, first == second);
        assert_eq!(a.is_negative(), double(first) < 0.0);
    }
});

fn queried(key: &QueryKey, name: &str, query: &str) {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
    let found: Vec<&String> = pairs.iter().filter(named).map(|(_, value)| value).collect();
    match key.read(Some(query)) {
        Queried::Missing => assert!(found.is_empty(), "{name} is in {query:?}"),
        Queried::Value(value) => assert_eq!(found, [&value], "{name} in {query:?}"),
        Queried::Doubtful => {}
    }
    // What follows changes nothing where it has another name, and leaves doubt where it has the same.
    let more = format!("{query}&zz9={name}");
    if key.read(Some("zz9=1")) == Queried::Missing {
        assert_eq!(key.read(Some(&more)), key.read(Some(query)), "{more:?}");
    }
    let again = format!("{query}&{name}=1");
    assert!(key.read(Some(query)) == Queried::Missing || key.read(Some(&again)) == Queried::Doubtful, "{again:?}");
}
