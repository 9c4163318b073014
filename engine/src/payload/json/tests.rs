//! What is read and what is refused, by example, and against `serde_json` with a naive walk over its tree.

use super::*;
use crate::payload::place::{Pointer, variant};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;

fn places(pointers: &[&str]) -> (Places, Vec<Pointer>) {
    let pointers: Vec<Pointer> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
    (Places::new(&pointers), pointers)
}

/// Values as they stand in the body, `missing` and `doubtful`.
fn at(body: &str, pointer: &str) -> (Vec<String>, bool, bool) {
    let (places, pointers) = places(&[pointer]);
    let found = read(body.as_bytes(), &places).unwrap_or_else(|fault| panic!("{body}: {fault}"));
    let found = &found[places.find(&pointers[0]).unwrap()];
    (
        found.spots.iter().map(|spot| body.get(spot.span.clone()).unwrap().to_owned()).collect(),
        found.missing,
        found.doubtful,
    )
}

fn fault(body: &[u8]) -> Option<Fault> {
    read(body, &places(&["/a"]).0).err()
}

#[test]
fn values_are_found_with_their_bytes() {
    for (body, pointer, expected) in [
        (r#"{"a": "x"}"#, "/a", vec![r#""x""#]),
        (r#" { "b" : 1 , "a" : { "c" : [ 1 , -2.5e3 ] } } "#, "/a/c/1", vec!["-2.5e3"]),
        (r#"{"a": {"c": [1, 2]}}"#, "/a", vec![r#"{"c": [1, 2]}"#]),
        (r#"{"a": [ ]}"#, "/a", vec!["[ ]"]),
        (r#"{"\u0061": true}"#, "/a", vec!["true"]),
        (r#"{"a/b": {"~": null}}"#, "/a~1b/~0", vec!["null"]),
        (r#"{"": {"": 1}}"#, "//", vec!["1"]),
        (r#"{"m": [{"r": "u"}, {"r": "s"}]}"#, "/m/*/r", vec![r#""u""#, r#""s""#]),
        (r#"{"m": [["a", "b"], ["c"]]}"#, "/m/*/*", vec![r#""a""#, r#""b""#, r#""c""#]),
        (r#"[{"a": 1}, {"a": 2}]"#, "/1/a", vec!["2"]),
        (r#"{"0": "zero"}"#, "/0", vec![r#""zero""#]),
        (r#"{"01": 1}"#, "/01", vec!["1"]),
    ] {
        assert_eq!(
            at(body, pointer),
            (expected.iter().map(|s| (*s).to_owned()).collect(), false, false),
            "{body} {pointer}"
        );
    }
}

#[test]
fn several_places_are_found_in_one_pass_also_inside_one_another() {
    let body = r#"{"a": {"b": [1, {"c": "x"}]}, "d": false}"#;
    let (places, pointers) = places(&["/a", "/a/b/1/c", "/d", "/a/b/*", "/a/b/0", "/e"]);
    let found = read(body.as_bytes(), &places).unwrap();
    let texts = |pointer: &Pointer| -> Vec<&str> {
        found[places.find(pointer).unwrap()].spots.iter().map(|spot| body.get(spot.span.clone()).unwrap()).collect()
    };
    let all: Vec<_> = pointers.iter().map(texts).collect();
    assert_eq!(
        all,
        [
            vec![r#"{"b": [1, {"c": "x"}]}"#],
            vec![r#""x""#],
            vec!["false"],
            vec!["1", r#"{"c": "x"}"#],
            vec!["1"],
            vec![]
        ]
    );
    assert!(found[places.find(&pointers[5]).unwrap()].missing);
}

#[test]
fn what_is_not_there_is_missing_and_what_has_another_shape_is_doubtful() {
    for (body, pointer, missing, doubtful) in [
        (r#"{}"#, "/a", true, false),
        (r#"{"a": "x"}"#, "/a/b", true, false),
        (r#"{"a": null}"#, "/a/b", true, false),
        (r#""text""#, "/a", true, false),
        (r#"7"#, "/a", true, false),
        (r#"{"m": [{"r": 1}, {}]}"#, "/m/*/r", true, false),
        (r#"{"m": [{"r": 1}, 7]}"#, "/m/*/r", true, false),
        (r#"[1]"#, "/1", true, false),
        // An array in the place of an object, and the other way round.
        (r#"[{"a": 1}]"#, "/a", true, true),
        (r#"{"a": [{"b": 1}]}"#, "/a/b", true, true),
        (r#"{"m": {"0": {"r": 1}}}"#, "/m/*/r", false, true),
        (r#"[1]"#, "/01", true, true),
        (r#"[1]"#, "/-", true, true),
        // Names that a lenient reader takes for the one that is wanted, beside it or in its place.
        (r#"{"a": 1, "A": 2}"#, "/a", false, true),
        (r#"{"A": 2}"#, "/a", true, true),
        (r#"{"A": {"b": 1}}"#, "/a/b", true, true),
        (r#"{"a": {"B": 1}}"#, "/a/b", true, true),
        (r#"{"a": {"b": 1, "\u0042": 1}}"#, "/a/b", false, true),
        (r#"{"a\u200b": 2}"#, "/a", true, true),
        (r#"{"a ": 2}"#, "/a", true, true),
        (r#"{"_a": 2}"#, "/a", true, true),
        // Elsewhere they are nothing to anybody.
        (r#"{"x": {"A": 1}, "a": 2}"#, "/a", false, false),
        (r#"{"x": {"b": 1, "B": 2}, "a": 2}"#, "/a", false, false),
    ] {
        let (_, found_missing, found_doubtful) = at(body, pointer);
        assert_eq!((found_missing, found_doubtful), (missing, doubtful), "{body} {pointer}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for (body, expected) in [
        (&b""[..], Fault::Syntax { at: 0 }),
        (b" ", Fault::Syntax { at: 1 }),
        (b"\xef\xbb\xbf{}", Fault::ByteOrderMark),
        (b"\xff\xfe{\0}\0", Fault::Utf8),
        (b"{\0\"\0a\0\"\0}\0", Fault::Syntax { at: 1 }),
        (b"\0{\0}", Fault::Syntax { at: 0 }),
        (b"{\"a\": \"\xff\"}", Fault::Utf8),
        (b"{\"a\": \"\xc0\x80\"}", Fault::Utf8),
        (b"{\"a\": \"\xed\xa0\x80\"}", Fault::Utf8),
        (b"{\"a\": 1, \"a\": 2}", Fault::Duplicate),
        (b"{\"a\": 1, \"\\u0061\": 2}", Fault::Duplicate),
        (b"{\"\\/\": 1, \"/\": 2}", Fault::Duplicate),
        (b"{\"x\": [{\"y\": {\"b\": 1, \"c\": 2, \"b\": 3}}], \"a\": 1}", Fault::Duplicate),
        (b"{\"a\\u0000\": 1}", Fault::Nul),
        (b"{\"a\": \"\\ud800\"}", Fault::Surrogate),
        (b"{\"a\": \"\\udc00\"}", Fault::Surrogate),
        (b"{\"a\": \"\\ud800\\ud800\"}", Fault::Surrogate),
        (b"{\"a\": \"\\ud800\\n\"}", Fault::Surrogate),
        (b"{\"a\": \"\\ud83d\"}", Fault::Surrogate),
        (b"{\"a\": 1} x", Fault::Syntax { at: 9 }),
        (b"{\"a\": 1}{\"a\": 2}", Fault::Syntax { at: 8 }),
        (b"{\"a\": 1}\0", Fault::Syntax { at: 8 }),
        (b"{\"a\": 1,}", Fault::Syntax { at: 8 }),
        (b"[1,]", Fault::Syntax { at: 3 }),
        (b"[,1]", Fault::Syntax { at: 1 }),
        (b"[1 2]", Fault::Syntax { at: 3 }),
        (b"{\"a\" 1}", Fault::Syntax { at: 5 }),
        (b"{a: 1}", Fault::Syntax { at: 1 }),
        (b"{'a': 1}", Fault::Syntax { at: 1 }),
        (b"{\"a\": 1} // c", Fault::Syntax { at: 9 }),
        (b"/* c */ {}", Fault::Syntax { at: 0 }),
        (b"{\"a\": .5}", Fault::Syntax { at: 6 }),
        (b"{\"a\": 01}", Fault::Syntax { at: 8 }),
        (b"{\"a\": +1}", Fault::Syntax { at: 6 }),
        (b"{\"a\": 1.}", Fault::Syntax { at: 8 }),
        (b"{\"a\": 1e}", Fault::Syntax { at: 8 }),
        (b"{\"a\": 0x1}", Fault::Syntax { at: 7 }),
        (b"{\"a\": NaN}", Fault::Syntax { at: 6 }),
        (b"{\"a\": Infinity}", Fault::Syntax { at: 6 }),
        (b"{\"a\": True}", Fault::Syntax { at: 6 }),
        (b"{\"a\": nul}", Fault::Syntax { at: 6 }),
        (b"{\"a\": \"\t\"}", Fault::Syntax { at: 7 }),
        (b"{\"a\": \"\\x41\"}", Fault::Syntax { at: 7 }),
        (b"{\"a\": \"\\u00g1\"}", Fault::Syntax { at: 7 }),
        (b"{\"a\": \"", Fault::Syntax { at: 7 }),
        (b"{\"a\"", Fault::Syntax { at: 4 }),
        (b"{\"a\": 1", Fault::Syntax { at: 7 }),
        (b"]", Fault::Syntax { at: 0 }),
        (b"[}", Fault::Syntax { at: 1 }),
        (b"\x0b{}", Fault::Syntax { at: 0 }),
        ("\u{a0}{}".as_bytes(), Fault::Syntax { at: 0 }),
    ] {
        assert_eq!(fault(body), Some(expected), "{}", body.escape_ascii());
    }
    for body in [&b"{\"a\": \"\\ud83d\\ude00 \\u0000\"}"[..], b"null", b"\"a\"", b"[[[]]]", b" {} \n"] {
        assert_eq!(fault(body), None, "{}", body.escape_ascii());
    }
}

#[test]
fn depth_names_and_values_have_bounds() {
    let nested = |deep: usize| [b"[".repeat(deep), b"]".repeat(deep)].concat();
    assert_eq!(fault(&nested(DEEPEST)), None);
    assert_eq!(fault(&nested(DEEPEST + 1)), Some(Fault::Deep));
    assert_eq!(fault(&b"[".repeat(1 << 20)), Some(Fault::Deep));
    assert_eq!(fault(&b"{\"a\":".repeat(1 << 18)), Some(Fault::Deep));
    let object = |names: usize| {
        let members: Vec<String> = (0..names).map(|n| format!("\"{n}\":0")).collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    };
    assert_eq!(fault(&object(MOST_NAMES)), None);
    assert_eq!(fault(&object(MOST_NAMES + 1)), Some(Fault::Many));
    // Objects that are closed count no more.
    let many = vec![r#"{"a":1,"b":2}"#; MOST_NAMES].join(",");
    assert_eq!(fault(format!("[{many}]").as_bytes()), None);
    let (each, _) = places(&["/*"]);
    let array = |length: usize| format!("[{}]", vec!["0"; length].join(",")).into_bytes();
    assert!(read(&array(MOST_VALUES), &each).is_ok());
    assert_eq!(read(&array(MOST_VALUES + 1), &each), Err(Fault::Many));
}

/// A tree that keeps duplicates, as `serde_json` sees the text.
enum Tree {
    Leaf,
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
                Ok(Tree::Leaf)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Tree::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Tree::Map(map))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl Tree {
    fn is_sound(&self) -> bool {
        match self {
            Self::Leaf => true,
            Self::List(items) => items.iter().all(Self::is_sound),
            Self::Map(entries) => {
                let names: BTreeSet<_> = entries.iter().map(|(name, _)| name).collect();
                names.len() == entries.len()
                    && entries.iter().all(|(name, tree)| !name.contains('\0') && tree.is_sound())
            }
        }
    }

    /// Values at a pointer, whether something is missing on the way, whether it is doubtful.
    fn follow(&self, steps: &[&str]) -> (usize, bool, bool) {
        let Some((step, rest)) = steps.split_first() else { return (1, false, false) };
        match (self, *step) {
            (Self::Leaf, _) => (0, true, false),
            (Self::List(items), "*") => {
                let each = items.iter().map(|item| item.follow(rest));
                each.fold((0, false, false), |(n, m, d), (n2, m2, d2)| (n + n2, m | m2, d | d2))
            }
            (Self::List(items), step) => match step.parse::<usize>() {
                Ok(index) => items.get(index).map_or((0, true, false), |item| item.follow(rest)),
                Err(_) => (0, true, true),
            },
            (Self::Map(_), "*") => (0, false, true),
            (Self::Map(entries), step) => {
                let (mut found, mut doubtful) = ((0, true, false), false);
                for (name, tree) in entries {
                    if name == step {
                        found = tree.follow(rest);
                    } else if variant(name) == variant(step) {
                        doubtful = true;
                    }
                }
                (found.0, found.1, found.2 | doubtful)
            }
        }
    }
}

const POINTERS: [&str; 9] = ["/a", "/a/b", "/a/*", "/a/0", "/a/*/b", "/*", "/0/a", "/b/a/0/b", "/*/*"];

/// JSON, mostly: names and pieces that collide, whatever comes between.
fn text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => Just("\"a\""), 4 => Just("\"b\""), 1 => Just("\"A\""), 1 => Just("\"\\u0061\""), 1 => Just("\"_b\""),
        1 => Just("\"0\""), 1 => Just("\"c\""),
    ];
    let leaf = prop_oneof![
        Just("1"),
        Just("-0.5e+3"),
        Just("true"),
        Just("false"),
        Just("null"),
        Just("\"x\""),
        Just("\"\\ud83d\\ude00\""),
        Just("\"\""),
        Just("\"a\\\"b\""),
        Just("[]"),
        Just("{}"),
    ];
    let space = prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n\t")];
    leaf.prop_map(str::to_owned).prop_recursive(5, 40, 5, move |inner| {
        let member = (name.clone(), space.clone(), inner.clone()).prop_map(|(n, s, v)| format!("{n}{s}:{s}{v}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(" , "))),
        ]
    })
}

fn agree(text: &[u8]) {
    let (places, pointers) = places(&POINTERS);
    let ours = read(text, &places);
    let theirs = std::str::from_utf8(text).ok().and_then(|text| serde_json::from_str::<Tree>(text).ok());
    match (&ours, &theirs) {
        (Ok(found), Some(tree)) => {
            assert!(tree.is_sound(), "accepted: {}", text.escape_ascii());
            for pointer in &pointers {
                let found = &found[places.find(pointer).unwrap()];
                let steps: Vec<&str> = pointer.as_str().split('/').skip(1).collect();
                let got = (found.spots.len(), found.missing, found.doubtful);
                assert_eq!(got, tree.follow(&steps), "{} {pointer}", text.escape_ascii());
                for spot in &found.spots {
                    let span = &text[spot.span.clone()];
                    let value: serde_json::Value = serde_json::from_slice(span).unwrap();
                    match &spot.value {
                        Value::Text(text) => assert_eq!(value.as_str(), Some(text.as_ref())),
                        Value::Number(number) => assert_eq!(number.as_bytes(), span),
                        Value::Bool(flag) => assert_eq!(value.as_bool(), Some(*flag)),
                        Value::Null => assert!(value.is_null()),
                        Value::Nested => assert!(value.is_array() || value.is_object()),
                    }
                }
            }
        }
        // What is sound JSON to it is read here, but for what has bounds of its own.
        (Err(fault), Some(tree)) => {
            assert!(!tree.is_sound() || matches!(fault, Fault::Deep | Fault::Many), "{fault}: {}", text.escape_ascii());
        }
        // It refuses numbers that no double holds, and nothing else that is read here.
        (Ok(_), None) => {
            assert!(text.contains(&b'e') || text.contains(&b'E') || text.len() > 300, "{}", text.escape_ascii())
        }
        (Err(_), None) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn another_reader_agrees(text in text()) {
        agree(text.as_bytes());
    }

    #[test]
    fn another_reader_agrees_on_damaged_texts(text in text(), at: prop::sample::Index, byte in any::<u8>(), kind in 0..4) {
        let mut text = text.into_bytes();
        let at = at.index(text.len());
        match kind {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            2 => _ = text.remove(at),
            _ => text.truncate(at),
        }
        agree(&text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        agree(&bytes);
    }
}
