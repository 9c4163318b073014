//! The vectors of RFC 9421 (appendix B.2.6 and B.4): same base, same verdict.

use super::super::signature::Component;
use super::super::signature::base::signature_base;
use super::super::structured::{self, Member, serialize_inner_list};
use super::*;
use serde_json::Value;
use sfv::BareItem;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const VECTORS: &str = include_str!("../../../../tests/vectors/rfc9421_ed25519.json");
const BOUNDS: structured::Bounds = structured::Bounds { bytes: 4096, members: 4, items: 32, parameters: 8 };

fn head(case: &Value) -> RequestHead {
    let mut fields: Vec<Field> = case["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap().to_lowercase().into(), pair[1].as_str().unwrap().to_owned().into()))
        .collect();
    let authority = fields.iter().position(|(name, _)| name == "host").map(|at| fields.remove(at).1).unwrap();
    RequestHead {
        method: case["method"].as_str().unwrap().to_owned().into(),
        scheme: Some("https".into()),
        authority,
        path: Some(case["target"].as_str().unwrap().to_owned().into()),
        fields,
    }
}

/// Components and parameters of the one signature, without what Exeat demands of it besides.
fn input(head: &RequestHead) -> (Vec<Component>, String) {
    let members = structured::parse_dictionary(head.single("signature-input").unwrap(), BOUNDS).unwrap();
    let Some((_, Member::InnerList(list))) = members.first() else { panic!("no list") };
    (list.items.iter().map(|item| Component::from_item(item).unwrap()).collect(), serialize_inner_list(list))
}

fn signature(head: &RequestHead) -> [u8; 64] {
    let members = structured::parse_dictionary(head.single("signature").unwrap(), BOUNDS).unwrap();
    let Some((_, Member::Item(item))) = members.first() else { panic!("no item") };
    let BareItem::ByteSequence(bytes) = &item.value else { panic!("no bytes") };
    bytes.as_slice().try_into().unwrap()
}

#[test]
fn the_vectors_of_the_rfc_verify_as_it_says() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut keys = KeyRing::default();
    let public = PublicKey::parse(vectors["public_key"]["x"].as_str().unwrap()).unwrap();
    keys.insert("test-key-ed25519", SignerKey { public, ..signer_key(1) });
    let (mut good, mut bad) = (0, 0);
    for case in vectors["cases"].as_array().unwrap() {
        let head = head(case);
        let (components, parameters) = input(&head);
        let base = signature_base(&head, &components, &parameters).unwrap();
        if let Some(expected) = case["signature_base"].as_str() {
            assert_eq!(std::str::from_utf8(&base).unwrap(), expected);
        }
        let valid = keys.verify("test-key-ed25519", &base, &signature(&head));
        assert_eq!(valid, case["valid"].as_bool().unwrap(), "{}", case["name"]);
        if valid { good += 1 } else { bad += 1 }
    }
    assert_eq!((good, bad), (5, 2));
}

/// Examples of section 2.2 that need no signature.
#[test]
fn derived_components_have_the_values_of_the_rfc() {
    let base = |path: &str, authority: &str, names: &[&str]| {
        let mut scene = scene();
        scene.scheme = Some("https");
        scene.authority = authority.to_owned();
        scene.path = Some(path.to_owned());
        let base = signature_base(&scene.unsigned(), &components(names), "()").map_err(|(_, why)| why)?;
        let text = String::from_utf8(base).unwrap();
        Ok::<_, &str>(text.trim_end_matches("\n\"@signature-params\": ()").to_owned())
    };
    let param = "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&twice=1&twice=2&empty";
    for (path, authority, component, expected) in [
        ("/path?param=value", "WWW.Example.com", "@authority", Ok("\"@authority\": www.example.com")),
        ("/", "www.example.com:443", "@authority", Ok("\"@authority\": www.example.com")),
        ("/", "www.example.com:80", "@authority", Ok("\"@authority\": www.example.com:80")),
        ("/", "www.example.com:", "@authority", Ok("\"@authority\": www.example.com")),
        ("/", "[2001:DB8::443]:443", "@authority", Ok("\"@authority\": [2001:db8::443]")),
        ("/", "2001:db8::443", "@authority", Ok("\"@authority\": 2001:db8::443")),
        ("/path?param=value", "a.example", "@target-uri", Ok("\"@target-uri\": https://a.example/path?param=value")),
        ("/path?param=value", "a.example", "@request-target", Ok("\"@request-target\": /path?param=value")),
        ("/path?param=value", "a.example", "@path", Ok("\"@path\": /path")),
        ("", "a.example", "@path", Ok("\"@path\": /")),
        ("/a%2Fb/%c3", "a.example", "@path", Ok("\"@path\": /a%2Fb/%c3")),
        ("/path?param=value&foo=bar&baz=batman", "a", "@query", Ok("\"@query\": ?param=value&foo=bar&baz=batman")),
        ("/path?queryString", "a", "@query", Ok("\"@query\": ?queryString")),
        ("/path?", "a", "@query", Ok("\"@query\": ?")),
        ("/path", "a", "@query", Ok("\"@query\": ?")),
        ("/path", "a", "@scheme", Ok("\"@scheme\": https")),
        (
            param,
            "a",
            "\"@query-param\";name=\"var\"",
            Ok("\"@query-param\";name=\"var\": this%20is%20a%20big%0Amultiline%20value"),
        ),
        (param, "a", "\"@query-param\";name=\"bar\"", Ok("\"@query-param\";name=\"bar\": with%20plus%20whitespace")),
        (
            param,
            "a",
            "\"@query-param\";name=\"fa%C3%A7ade%22%3A%20\"",
            Ok("\"@query-param\";name=\"fa%C3%A7ade%22%3A%20\": something"),
        ),
        (param, "a", "\"@query-param\";name=\"empty\"", Ok("\"@query-param\";name=\"empty\": ")),
        (param, "a", "\"@query-param\";name=\"twice\"", Err("the query has that parameter more than once")),
        (param, "a", "\"@query-param\";name=\"none\"", Err("the query has no such parameter")),
        (
            param,
            "a",
            "\"@query-param\";name=\"fa\u{25}c3%a7ade%22%3A%20\"",
            Err("has a name that is not percent-encoded as RFC 9421 section 2.2.8 says"),
        ),
        (
            "/?a+b=1",
            "a",
            "\"@query-param\";name=\"a+b\"",
            Err("has a name that is not percent-encoded as RFC 9421 section 2.2.8 says"),
        ),
        ("/?a+b=1", "a", "\"@query-param\";name=\"a%20b\"", Ok("\"@query-param\";name=\"a%20b\": 1")),
        ("/?a%26b=1", "a", "\"@query-param\";name=\"a%26b\"", Ok("\"@query-param\";name=\"a%26b\": 1")),
        ("/?=1", "a", "\"@query-param\";name=\"\"", Ok("\"@query-param\";name=\"\": 1")),
        ("*", "a", "@path", Err("the request target is not in origin form")),
        ("/a b", "a", "@path", Err("has no value of visible ASCII in this request")),
    ] {
        assert_eq!(base(path, authority, &[component]).as_deref(), expected.as_deref(), "{component} of {path}");
    }
}

/// Section 2.1 and its subsections.
#[test]
fn fields_have_the_values_of_the_rfc() {
    let value = |lines: &[&str], component: &str| {
        let mut scene = scene();
        for line in lines {
            scene.set("x", line);
            scene.set("priority", line);
        }
        let base = signature_base(&scene.unsigned(), &components(&[component]), "()").map_err(|(_, why)| why)?;
        let text = String::from_utf8(base).unwrap();
        let line = text.strip_suffix("\n\"@signature-params\": ()").unwrap().to_owned();
        Ok::<_, &str>(line.split_once(": ").unwrap().1.to_owned())
    };
    let dictionary = &["  a=1, b=2;x=1;y=2, c=(a   b    c), d  "][..];
    for (lines, component, expected) in [
        (&["a"][..], "x", Ok("a")),
        (&["  a\t "], "x", Ok("a")),
        (&["a", " b"], "x", Ok("a, b")),
        (&["a", "", "b"], "x", Ok("a, , b")),
        (&[""], "x", Ok("")),
        (&["Obsolete\r\n    line folding."], "x", Ok("Obsolete line folding.")),
        (&["a \t\r\n\t b\r\n c"], "x", Ok("a b c")),
        (&["a\tb"], "x", Ok("a\tb")),
        (&["a\r\nb"], "x", Err("the field holds bytes other than visible ASCII, space and tab, which only bs covers")),
        (&["a\nb"], "x", Err("the field holds bytes other than visible ASCII, space and tab, which only bs covers")),
        (&["a\rb"], "x", Err("the field holds bytes other than visible ASCII, space and tab, which only bs covers")),
        (&["a\u{e9}"], "x", Err("the field holds bytes other than visible ASCII, space and tab, which only bs covers")),
        (&["value, with, lots", "of, commas"], "\"x\";bs", Ok(":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:")),
        (&["a\r\n b\u{e9}"], "\"x\";bs", Ok(":YSBiw6k=:")),
        (dictionary, "\"priority\";sf", Ok("a=1, b=2;x=1;y=2, c=(a b c), d")),
        (dictionary, "\"x\";key=\"a\"", Ok("1")),
        (dictionary, "\"x\";key=\"d\"", Ok("?1")),
        (dictionary, "\"x\";key=\"b\"", Ok("2;x=1;y=2")),
        (dictionary, "\"x\";key=\"c\";sf", Ok("(a b c)")),
        (dictionary, "\"x\";key=\"e\"", Err("the dictionary has no such member")),
        (dictionary, "\"x\";sf", Err("the field is not known as a structured field")),
        (&["("], "\"x\";key=\"a\"", Err("the field is no dictionary")),
        (&["("], "\"priority\";sf", Err("the field is no structured field of its type")),
        (&[], "x", Err("the request has no such field")),
    ] {
        assert_eq!(value(lines, component).as_deref(), expected.as_deref(), "{component} of {lines:?}");
    }
}

#[test]
fn identifiers_that_have_no_place_in_a_request_are_refused() {
    for text in [
        "@status",
        "@signature-params",
        "@query-param",
        "@",
        "@Method",
        "Agent-Context",
        "",
        "a b",
        "a:b",
        "\"a\";req",
        "\"a\";tr",
        "\"a\";sf;bs",
        "\"a\";sf=?0",
        "\"a\";key",
        "\"a\";key=b",
        "\"a\";foo",
        "\"@method\";req",
        "\"@query-param\";name=a",
        "\"@query-param\";name=\"a\";req",
        "\"a\";bs;bs;key=\"x\"",
        "\"a\" \"b\"",
        "\"a",
    ] {
        assert!(Component::parse(text).is_err(), "{text}");
    }
}
