//! What an agent, an intermediary or a thief of one signature would try.

use super::*;

#[test]
fn a_good_request_verifies_and_says_who() {
    let scene = scene();
    let verified = scene.verify(&scene.signed()).unwrap();
    assert_eq!(verified.context.agent, "support/summarizer");
    assert_eq!((verified.signer, verified.key.as_str(), verified.created), (1, "signer-1", NOW));
    assert_eq!(verified.nonce_until, Timestamp::from_seconds(NOW as u64 + 60));
}

#[test]
fn the_reason_says_what_is_missing() {
    let scene = scene();
    assert_eq!(scene.verdict(&scene.unsigned()), "signature-missing");
    let mut head = scene.signed();
    head.fields.retain(|(name, _)| name != "agent-context");
    assert_eq!(scene.verdict(&head), "context-missing");
    for field in ["signature", "signature-input"] {
        let mut head = scene.signed();
        head.fields.retain(|(name, _)| name != field);
        assert_eq!(scene.verdict(&head), "signature-missing", "without {field}");
    }
}

/// Names of fields come in lower case (`RequestHead`), so a line that an agent wrote in upper case is a second line.
#[test]
fn a_second_agent_context_line_is_refused_whichever_was_signed() {
    let scene = scene();
    for at in [0, 2] {
        let mut head = scene.signed();
        head.fields.insert(at, ("agent-context".into(), "agent=\"admin\", session=\"s\"".into()));
        assert_eq!(scene.verdict(&head), "context-malformed");
    }
    let upper = vec![
        (":method".into(), "GET".into()),
        (":authority".into(), "a.example".into()),
        ("Agent-Context".into(), "agent=\"admin\", session=\"s\"".into()),
    ];
    assert!(RequestHead::from_pairs(upper).is_err());
}

/// An intermediary may join two lines into one: the members are then there twice.
#[test]
fn lines_that_an_intermediary_joined_are_refused() {
    let scene = scene();
    let mut head = scene.signed();
    line(&mut head, "agent-context").extend_from_slice(b", agent=\"admin\"");
    assert_eq!(scene.verdict(&head), "context-malformed");
    let mut head = scene.signed();
    line(&mut head, "agent-context").extend_from_slice(b", tenant=\"other\"");
    assert_eq!(scene.verdict(&head), "signature-invalid");
}

#[test]
fn a_large_context_is_refused_before_it_is_parsed() {
    let scene = scene();
    let mut head = scene.signed();
    let filler = format!(", x=\"{}\"", "a".repeat(64 * 1024));
    line(&mut head, "agent-context").extend_from_slice(filler.as_bytes());
    let error = scene.verify(&head).unwrap_err();
    assert_eq!(error.reason().code(), "context-malformed");
    assert!(error.to_string().contains("at most 16384 are read"), "{error}");
}

#[test]
fn exactly_one_signature_carries_the_tag() {
    let scene = scene();
    let second = SignatureInput { label: "other".to_owned(), nonce: Some("n-2".to_owned()), ..scene.input() };
    let twice = add_signature(scene.signed(), &second, 1);
    assert_eq!(scene.verdict(&twice), "context-malformed");
    // The same label twice, in two lines: RFC 9651 would let the last win.
    let same_label = add_signature(scene.signed(), &scene.input(), 1);
    assert_eq!(scene.verdict(&same_label), "context-malformed");
    // Somebody else's signature beside ours is ignored, whatever is in it and wherever it stands.
    let other = SignatureInput {
        label: "bot".to_owned(),
        components: components(&["@authority"]),
        nonce: None,
        keyid: None,
        alg: Some("rsa-pss-sha512".to_owned()),
        tag: Some("web-bot-auth".to_owned()),
        created: None,
        expires: None,
    };
    assert_eq!(scene.verdict(&add_signature(scene.signed(), &other, 9)), "permitted");
    let other_first = add_signature(add_signature(scene.unsigned(), &other, 9), &scene.input(), 1);
    assert_eq!(scene.verdict(&other_first), "permitted");
    let mut odd = scene.signed();
    line(&mut odd, "signature-input").splice(0..0, *b"a=1, b=(\"x\" 1;y;y), ");
    line(&mut odd, "signature").splice(0..0, *b"a=?0, c=(1), ");
    assert_eq!(scene.verdict(&odd), "permitted");
    // Alone, it is no signature of ours.
    assert_eq!(scene.verdict(&add_signature(scene.unsigned(), &other, 1)), "signature-missing");
}

#[test]
fn a_label_in_one_of_the_two_fields_only_is_refused() {
    let scene = scene();
    let mut head = scene.signed();
    replace(&mut head, "signature", "exeat=", "exeat2=");
    assert_eq!(scene.verdict(&head), "signature-missing");
    let mut head = scene.signed();
    line(&mut head, "signature").extend_from_slice(b", spare=:AAAA:");
    assert_eq!(scene.verdict(&head), "permitted");
    for junk in ["exeat=1", "exeat=\"x\"", "exeat=(:AAAA:)", "exeat"] {
        let mut head = scene.signed();
        *line(&mut head, "signature") = junk.as_bytes().to_vec();
        assert_eq!(scene.verdict(&head), "context-malformed", "{junk}");
    }
}

#[test]
fn the_tag_cannot_be_written_so_that_readers_differ() {
    let scene = scene();
    for (tag, verdict) in [
        (";tag=exeat", "signature-missing"),
        (";tag=\"Exeat\"", "signature-missing"),
        (";tag=\"exeat\";tag=\"other\"", "context-malformed"),
        (";tag=\"other\";tag=\"exeat\"", "context-malformed"),
    ] {
        let mut head = scene.signed();
        replace(&mut head, "signature-input", ";tag=\"exeat\"", tag);
        assert_eq!(scene.verdict(&head), verdict, "{tag}");
    }
}

#[test]
fn the_key_is_the_one_named() {
    let scene = scene();
    assert_eq!(scene.verdict(&scene.signed_with(&scene.input(), 2)), "signature-invalid");
    for (keyid, verdict) in [
        ("signer-1", "permitted"),
        ("signer-2", "signature-invalid"),
        ("Signer-1", "key-unknown"),
        ("signer-1 ", "key-unknown"),
        ("", "key-unknown"),
    ] {
        let input = SignatureInput { keyid: Some(keyid.to_owned()), ..scene.input() };
        assert_eq!(scene.verdict(&scene.signed_with(&input, 1)), verdict, "{keyid}");
    }
}

#[test]
fn a_key_counts_only_in_its_time() {
    let mut scene = scene();
    let now = scene.now;
    let moment = |millis: i64| Some(Timestamp(now.millis().saturating_add_signed(millis)));
    for (number, (from, to), verdict) in [
        (3, (moment(0), moment(0)), "permitted"),
        (4, (moment(1), None), "key-unknown"),
        (5, (None, moment(-1)), "key-unknown"),
    ] {
        let keyid = format!("k-{number}");
        scene.keys.insert(&keyid, SignerKey { not_before: from, not_after: to, ..signer_key(number) });
        let input = SignatureInput { keyid: Some(keyid), ..scene.input() };
        assert_eq!(scene.verdict(&scene.signed_with(&input, number)), verdict);
    }
}

#[test]
fn the_algorithm_fits_the_key_or_is_absent() {
    let scene = scene();
    for (alg, verdict) in [
        (None, "permitted"),
        (Some("ed25519"), "permitted"),
        (Some("Ed25519"), "signature-invalid"),
        (Some("hmac-sha256"), "signature-invalid"),
        (Some(""), "signature-invalid"),
    ] {
        let input = SignatureInput { alg: alg.map(str::to_owned), ..scene.input() };
        assert_eq!(scene.verdict(&scene.signed_with(&input, 1)), verdict, "{alg:?}");
    }
}

#[test]
fn parameters_have_their_types_and_come_once() {
    let scene = scene();
    for (from, to, verdict) in [
        (";created=1763600000", "", "signature-incomplete"),
        (";nonce=\"n-1\"", "", "signature-incomplete"),
        (";keyid=\"signer-1\"", "", "signature-incomplete"),
        (";created=1763600000", ";created=\"1763600000\"", "context-malformed"),
        (";created=1763600000", ";created=1763600000.0", "context-malformed"),
        (";created=1763600000", ";created=@1763600000", "context-malformed"),
        (";created=1763600000", ";created=1763600000;created=1763600001", "context-malformed"),
        (";nonce=\"n-1\"", ";nonce=\"n-1\";nonce=\"n-2\"", "context-malformed"),
        (";nonce=\"n-1\"", ";nonce=n-1", "context-malformed"),
        (";nonce=\"n-1\"", ";nonce=\"\"", "context-malformed"),
        (";keyid=\"signer-1\"", ";keyid=signer-1", "context-malformed"),
        (";alg=\"ed25519\"", ";alg=ed25519", "context-malformed"),
        (";tag=\"exeat\"", ";tag=\"exeat\";expires=x", "context-malformed"),
        // What nobody knows is covered, but means nothing.
        (";tag=\"exeat\"", ";tag=\"exeat\";extra=1", "signature-invalid"),
    ] {
        let mut head = scene.signed();
        replace(&mut head, "signature-input", from, to);
        assert_eq!(scene.verdict(&head), verdict, "{to} for {from}");
    }
}

#[test]
fn a_nonce_has_1_to_128_bytes() {
    let scene = scene();
    for (length, verdict) in
        [(1, "permitted"), (128, "permitted"), (129, "context-malformed"), (1 << 20, "context-malformed")]
    {
        let input = SignatureInput { nonce: Some("n".repeat(length)), ..scene.input() };
        assert_eq!(scene.verdict(&scene.signed_with(&input, 1)), verdict, "{length}");
    }
}

#[test]
fn a_nonce_counts_under_its_key() {
    let scene = scene();
    let nonce = |keyid: &str, nonce: &str, key| {
        let input = SignatureInput { keyid: Some(keyid.to_owned()), nonce: Some(nonce.to_owned()), ..scene.input() };
        scene.verify(&scene.signed_with(&input, key)).unwrap().nonce
    };
    assert_eq!(nonce("signer-1", "n", 1), nonce("signer-1", "n", 1));
    assert_ne!(nonce("signer-1", "n", 1), nonce("signer-2", "n", 2));
    assert_ne!(nonce("signer-1", "n", 1), nonce("signer-1", "N", 1));
    // Where the key id ends and the nonce begins is part of it.
    let mut scene = scene.clone();
    scene.keys.insert("a", signer_key(3));
    scene.keys.insert("ab", signer_key(3));
    let nonce = |keyid: &str, nonce: &str| {
        let input = SignatureInput { keyid: Some(keyid.to_owned()), nonce: Some(nonce.to_owned()), ..scene.input() };
        scene.verify(&scene.signed_with(&input, 3)).unwrap().nonce
    };
    assert_ne!(nonce("a", "bc"), nonce("ab", "c"));
}

#[test]
fn a_signature_has_64_bytes() {
    let scene = scene();
    let good = scene.signed();
    for length in (0..=63).chain(65..=130) {
        let mut head = good.clone();
        let [_, (_, value)] = scene.input().lines(&vec![7; length]).unwrap();
        *line(&mut head, "signature") = value.into_bytes();
        assert_eq!(scene.verdict(&head), "signature-invalid", "{length}");
    }
}

#[test]
fn a_signature_is_good_for_one_request_only() {
    let scene = scene();
    let good = scene.signed();
    let change = |change: &dyn Fn(&mut RequestHead)| {
        let mut head = good.clone();
        change(&mut head);
        scene.verdict(&head)
    };
    assert_eq!(change(&|head| head.method = "PUT".into()), "signature-invalid");
    assert_eq!(change(&|head| head.method = "get".into()), "signature-invalid");
    assert_eq!(change(&|head| head.authority = "evil.example".into()), "signature-invalid");
    assert_eq!(change(&|head| head.authority = "api.crm.acme.example:8080".into()), "signature-invalid");
    assert_eq!(change(&|head| head.authority = "api.crm.acme.example,evil.example".into()), "signature-invalid");
    assert_eq!(change(&|head| head.path = Some("/v1/orders?id=8".into())), "signature-invalid");
    assert_eq!(change(&|head| head.path = Some("/v1/orders/?id=7".into())), "signature-invalid");
    assert_eq!(change(&|head| head.path = Some("/v1/orders#?id=7".into())), "signature-invalid");
    assert_eq!(change(&|head| head.path = None), "signature-invalid");
    // Not covered, and none of the context's business: header rules deal with it.
    assert_eq!(change(&|head| head.fields[0].1 = "text/html".into()), "permitted");
}

#[test]
fn a_context_for_another_gateway_is_refused_after_its_signature() {
    let mut scene = scene();
    scene.context.gateway = Some("egress-us-1".to_owned());
    let mut head = scene.signed();
    assert_eq!(scene.verdict(&head), "audience-mismatch");
    assert_eq!(
        scene.verify(&head).unwrap_err().to_string(),
        "the context is for gateway \"egress-us-1\", this is \"egress-eu-1\""
    );
    replace(&mut head, "agent-context", "egress-us-1", "egress-us-2");
    assert_eq!(scene.verdict(&head), "signature-invalid");
    scene.context.gateway = None;
    assert_eq!(scene.verdict(&scene.signed()), "permitted");
    scene.context.gateway = Some("Egress-eu-1".to_owned());
    assert_eq!(scene.verdict(&scene.signed()), "audience-mismatch");
}

#[test]
fn folded_and_padded_lines_are_read_as_they_were_signed() {
    let scene = scene();
    let mut head = scene.signed();
    replace(&mut head, "agent-context", ", session", ",\r\n\t session");
    line(&mut head, "agent-context").splice(0..0, *b" \t");
    assert_eq!(scene.verdict(&head), "permitted");
    for (from, to) in [(", session", ",\tsession"), (", session", ",  session"), (", session", ",session")] {
        let mut head = scene.signed();
        replace(&mut head, "agent-context", from, to);
        assert_eq!(scene.verdict(&head), "signature-invalid", "{to:?}");
    }
    for (from, to) in [(", session", ",\nsession"), (", session", ",\r\nsession"), ("agent=", "\0agent=")] {
        let mut head = scene.signed();
        replace(&mut head, "agent-context", from, to);
        assert_eq!(scene.verdict(&head), "context-malformed", "{to:?}");
    }
}

/// Cut short by an intermediary, or on purpose: never a request that passes.
#[test]
fn a_field_cut_at_any_byte_is_refused() {
    let scene = scene();
    let good = scene.signed();
    for field in ["agent-context", "signature-input", "signature"] {
        let whole = good.single(field).unwrap().to_vec();
        for end in 0..whole.len() {
            let mut head = good.clone();
            line(&mut head, field).truncate(end);
            assert_ne!(scene.verdict(&head), "permitted", "{field} cut at {end}");
        }
    }
}

/// Before the signature is verified nobody has a right to much of the gateway's time.
#[test]
fn a_large_field_is_not_parsed_over_and_over() {
    let scene = scene();
    let mut head = scene.signed();
    let members: Vec<String> = (0..60_000).map(|n| format!("m{n}={n}")).collect();
    head.fields.push(("x".into(), members.join(", ").into()));
    let list: Vec<String> = (0..50).map(|n| format!("\"x\";key=\"m{n}\"")).collect();
    replace(&mut head, "signature-input", "exeat=(", &format!("exeat=({} ", list.join(" ")));
    let error = scene.verify(&head).unwrap_err();
    assert_eq!(error.to_string(), "component \"x\";key=\"m0\": takes more of the request than is read for a signature");
    // The same with a field of which some 17 would fit.
    *line(&mut head, "x") = members[..700].join(", ").into_bytes();
    assert!(scene.verify(&head).unwrap_err().to_string().contains("takes more of the request"));
    // A large field that nobody covers costs nothing, and one that fits is read.
    let mut scene = scene;
    scene.set("y", &"y".repeat(200_000));
    scene.set("z", &"z".repeat(100_000));
    let mut input = scene.input();
    input.components.extend(components(&["z"]));
    assert_eq!(scene.verdict(&scene.signed_with(&input, 1)), "permitted");
}

#[test]
fn folded_signature_fields_are_read() {
    let scene = scene();
    let mut head = scene.signed();
    replace(&mut head, "signature-input", " \"@path\"", "\r\n \"@path\"");
    replace(&mut head, "signature", "exeat=", "\texeat=");
    assert_eq!(scene.verdict(&head), "permitted");
    for (field, from, to) in [("signature-input", " \"@path\"", "\t\"@path\""), ("signature", "=:", "=\n:")] {
        let mut head = scene.signed();
        replace(&mut head, field, from, to);
        assert_eq!(scene.verdict(&head), "context-malformed");
    }
}
