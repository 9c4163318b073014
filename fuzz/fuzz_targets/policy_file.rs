//! Files of a policy: no bytes bring the reader down, what it takes of them means the same when it is written as JSON and read again, and
//! of JSON it takes what any reader of JSON does.
#![no_main]

use exeat_cli::policy::yaml::Source;
use exeat_engine::policy::node::Node;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(source) = read("policy.yaml", text) {
        let json = serde_json::to_string(&source.node).expect("a document of text, numbers, lists and maps");
        let again = read("policy.json", &json).unwrap_or_else(|| panic!("read as YAML, refused as the JSON {json}"));
        same(&source.node, &again.node, &json);
        let parsed = Node::parse(json.as_bytes()).expect("JSON without duplicate keys");
        same(&source.node, &parsed, &json);
    }
    // What is JSON is read as what it says, or refused.
    if let Some(source) = read("policy.json", text) {
        let node = Node::parse(text.as_bytes()).expect("it was found to be JSON without duplicate keys");
        same(&source.node, &node, text);
    }
});

/// The document; what it complains of is one line, at a place.
fn read(name: &str, text: &str) -> Option<Source> {
    match Source::parse(Path::new(name), text) {
        Ok(source) => {
            places(&source, &source.node, &mut String::new());
            Some(source)
        }
        Err(diagnostic) => {
            let said = diagnostic.to_string();
            assert!(said.starts_with(name) && !said.chars().any(char::is_control), "{said:?}");
            None
        }
    }
}

/// Everything in it has a place of its own.
fn places(source: &Source, node: &Node, pointer: &mut String) {
    assert!(source.locate(pointer).position.is_some(), "{pointer} is nowhere");
    let length = pointer.len();
    let mut below = |step: &str, node: &Node| {
        pointer.push('/');
        pointer.push_str(step);
        places(source, node, pointer);
        pointer.truncate(length);
    };
    match node {
        Node::List(items) => items.iter().enumerate().for_each(|(at, item)| below(&at.to_string(), item)),
        Node::Map(entries) => {
            for (key, value) in entries {
                below(&key.replace('~', "~0").replace('/', "~1"), value);
            }
        }
        _ => {}
    }
}

/// Equal, numbers by what they stand for.
fn same(one: &Node, other: &Node, text: &str) {
    match (one, other) {
        (Node::Number(one), Node::Number(other)) => assert_eq!(one.as_f64(), other.as_f64(), "in {text}"),
        (Node::List(one), Node::List(other)) => {
            assert_eq!(one.len(), other.len(), "in {text}");
            one.iter().zip(other).for_each(|(one, other)| same(one, other, text));
        }
        (Node::Map(one), Node::Map(other)) => {
            assert_eq!(one.len(), other.len(), "in {text}");
            for ((key, one), (name, other)) in one.iter().zip(other) {
                assert_eq!(key, name, "in {text}");
                same(one, other, text);
            }
        }
        _ => assert_eq!(one, other, "in {text}"),
    }
}
