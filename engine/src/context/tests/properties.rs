//! For any input: nothing panics, and a request that differs from the one signed in what is covered does not pass.

use super::super::structured;
use super::*;
use crate::payload::ContentDigests;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::LazyLock;

const BODY: &[u8] = b"{}";

static GOOD: LazyLock<(Scene, RequestHead)> = LazyLock::new(|| {
    let mut scene = scene_with_body(BODY);
    scene.set("content-encoding", "gzip");
    scene.context.tenant = Some("acme".to_owned());
    let mut input = scene.input();
    input.components.extend(components(&["@scheme", "accept", "@target-uri", "@request-target"]));
    input.expires = Some(NOW + 30);
    let head = scene.signed_with(&input, 1);
    (scene, head)
});

/// Every part of a head that a signature covers, in turn.
fn parts(head: &mut RequestHead) -> Vec<Line<'_>> {
    let RequestHead { method, scheme, authority, path, fields } = head;
    let mut parts = vec![method, scheme.as_mut().unwrap(), authority, path.as_mut().unwrap()];
    parts.extend(fields.iter_mut().map(|(_, value)| value));
    parts.into_iter().map(Line::of).collect()
}

/// Whether two heads mean the same to RFC 9421: authority and scheme without regard to case.
fn same(a: &RequestHead, b: &RequestHead) -> bool {
    let lower = |head: &RequestHead| {
        let mut head = head.clone();
        Line::of(&mut head.authority).make_ascii_lowercase();
        Line::of(head.scheme.as_mut().unwrap()).make_ascii_lowercase();
        let mut value = line(&mut head, "signature");
        // Base64 has spellings that decode alike (RFC 4648 section 3.5); the signature itself is not covered.
        if let Ok(members) = structured::parse_dictionary(&value, ANY) {
            *value = format!("{members:?}").into_bytes();
        }
        drop(value);
        head
    };
    lower(a) == lower(b)
}

const ANY: structured::Bounds = structured::Bounds { bytes: 4096, members: 64, items: 64, parameters: 64 };

#[test]
fn no_byte_that_is_covered_can_become_another() {
    let (scene, good) = &*GOOD;
    assert_eq!(scene.verdict(good), "permitted");
    let count = parts(&mut good.clone()).len();
    let mut tried = 0;
    for part in 0..count {
        let length = parts(&mut good.clone())[part].len();
        for at in 0..length {
            // Each bit, and bytes that parsers treat specially.
            let old = parts(&mut good.clone())[part][at];
            let others = (0..8).map(|bit| old ^ (1 << bit)).chain(*b" \t\r\n\0\"\\,;=()/?#%:@A1");
            for new in others.filter(|new| *new != old) {
                let mut head = good.clone();
                parts(&mut head)[part][at] = new;
                if !same(&head, good) {
                    tried += 1;
                    assert_ne!(scene.verdict(&head), "permitted", "part {part}, byte {at}: {old:02x} became {new:02x}");
                }
            }
        }
    }
    assert!(tried > 15_000, "{tried}");
}

/// Text that looks like structured fields more often than chance would have it.
fn field_like() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("agent=\"a\""),
        Just("session=\"s\""),
        Just("exeat="),
        Just("(\"@method\" \"@path\")"),
        Just("\"agent-context\""),
        Just(";tag=\"exeat\""),
        Just(";created=1763600000"),
        Just(";keyid=\"signer-1\""),
        Just(";nonce=\"n\""),
        Just(", "),
        Just("("),
        Just(")"),
        Just(" "),
        Just("\""),
        Just("\\"),
        Just(":AAAA:"),
        Just("sha-256="),
        Just("@1"),
        Just("%\""),
        Just("-999999999999999"),
        Just("1.5"),
        Just("?1"),
        Just("=a"),
        Just("*"),
        Just("\r\n "),
        Just("\u{e9}"),
        Just("\"@query-param\";name=\"x\""),
        Just("\"x\";bs"),
        Just("\"x\";key=\"y\""),
        Just("\"priority\";sf"),
    ];
    prop_oneof![vec(any::<u8>(), 0..64), vec(word, 0..24).prop_map(|words| words.concat().into_bytes())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_head_makes_the_verifier_panic(
        method in vec(any::<u8>(), 0..8),
        scheme in proptest::option::of(vec(any::<u8>(), 0..8)),
        authority in vec(any::<u8>(), 0..24),
        path in proptest::option::of(vec(any::<u8>(), 0..24)),
        values in vec((0..6_usize, field_like()), 0..8),
    ) {
        let names = ["agent-context", "signature", "signature-input", "content-digest", "x", "priority"];
        let fields = values.into_iter().map(|(name, value)| (names[name].into(), value.into())).collect();
        let head = RequestHead {
            method: method.into(),
            scheme: scheme.map(Into::into),
            authority: authority.into(),
            path: path.map(Into::into),
            fields,
        };
        let (scene, _) = &*GOOD;
        if let Err(error) = scene.verify(&head) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    /// The same with a signature that gets as far as the base.
    #[test]
    fn no_head_makes_the_signature_base_panic(
        authority in vec(any::<u8>(), 0..24),
        path in vec(any::<u8>(), 0..24),
        value in field_like(),
        component in field_like(),
    ) {
        let (scene, good) = &*GOOD;
        let mut head = good.clone();
        head.authority = authority.into();
        head.path = Some([b"/?x=", path.as_slice()].concat().into());
        head.fields.push(("x".into(), value.clone().into()));
        head.fields.push(("priority".into(), value.into()));
        let list = [b"exeat=(", component.as_slice(), b" "].concat();
        let mut input = line(&mut head, "signature-input");
        *input = [list, input.split_off("exeat=(".len())].concat();
        drop(input);
        prop_assert_ne!(scene.verdict(&head), "permitted");
    }

    #[test]
    fn any_bytes_are_a_context_or_none(field in field_like()) {
        if let Ok(context) = AgentContext::parse(&field) {
            prop_assert!(!context.agent.is_empty() && !context.session.is_empty() && !context.provenance.is_empty());
        }
        let _ = ContentDigests::parse(&field);
        let _ = PublicKey::parse(&String::from_utf8_lossy(&field));
    }

    /// Bytes put in or taken out anywhere in the context, but white space at its ends.
    #[test]
    fn a_context_that_grew_or_shrank_is_refused(at: prop::sample::Index, put: Option<u8>) {
        let (scene, good) = &*GOOD;
        let mut head = good.clone();
        let mut value = line(&mut head, "agent-context");
        let at = at.index(value.len());
        match put {
            Some(byte) => value.insert(at, byte),
            None => { value.remove(at); }
        }
        let changed = value.trim_ascii() != good.single("agent-context").unwrap();
        drop(value);
        if changed {
            prop_assert_ne!(scene.verdict(&head), "permitted");
        }
    }

    /// Whatever a signer states in ASCII comes out as it went in.
    #[test]
    fn strings_survive_the_round_trip(agent in "[ -~]{1,40}", role in "[ -~]{1,40}", reason in "[ -~]{0,256}") {
        let fields = ContextFields {
            agent: agent.clone(),
            session: "s".to_owned(),
            roles: vec![role.clone()],
            reason: Some(reason.clone()),
            ..ContextFields::default()
        };
        let context = AgentContext::parse(fields.to_field().unwrap().as_bytes()).unwrap();
        prop_assert_eq!((context.agent, context.roles, context.reason), (agent, vec![role], Some(reason)));
    }
}
