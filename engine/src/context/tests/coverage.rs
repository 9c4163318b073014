//! What a signature must cover, and what stands for what.

use super::*;

#[test]
fn every_request_covers_method_authority_path_query_and_context() {
    let scene = scene();
    let all = ["@method", "@authority", "@path", "@query", "agent-context"];
    let verdict = |names: &[&str]| {
        let input = SignatureInput { components: components(names), ..scene.input() };
        scene.verify(&scene.signed_with(&input, 1)).err().map_or("permitted".to_owned(), |error| error.to_string())
    };
    for missing in 0..all.len() {
        let rest: Vec<&str> = all.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, name)| *name).collect();
        assert_eq!(verdict(&rest), format!("the signature lacks \"{}\"", all[missing]));
    }
    for (names, expected) in [
        (&["agent-context", "@query", "@path", "@authority", "@method"][..], "permitted"),
        (&["@method", "@target-uri", "agent-context"], "permitted"),
        (&["@method", "@authority", "@request-target", "agent-context"], "permitted"),
        (&["@method", "@request-target", "agent-context"], "the signature lacks \"@authority\""),
        (
            &["@method", "@authority", "@path", "\"@query-param\";name=\"id\"", "agent-context"],
            "the signature lacks \"@query\"",
        ),
        (&["@method", "@target-uri", "\"agent-context\";bs"], "the signature lacks \"agent-context\""),
        (&["@method", "@target-uri", "\"agent-context\";sf"], "the signature lacks \"agent-context\""),
        (&["@method", "@target-uri", "\"agent-context\";key=\"agent\""], "the signature lacks \"agent-context\""),
        (&[], "the signature lacks \"@method\""),
    ] {
        assert_eq!(verdict(names), expected, "{names:?}");
    }
}

/// A lone question mark is a query; one that was not there when the request was signed must not slip in.
#[test]
fn a_query_is_covered_even_when_empty() {
    let mut scene = scene();
    scene.path = Some("/v1/orders".to_owned());
    for query in ["?", "?x", "?id=8"] {
        let mut head = scene.signed();
        head.path = Some([b"/v1/orders", query.as_bytes()].concat().into());
        assert_eq!(scene.verdict(&head), "signature-incomplete", "{query}");
    }
    scene.path = Some("/v1/orders?".to_owned());
    assert_eq!(scene.verdict(&scene.signed()), "permitted");
}

#[test]
fn a_component_is_listed_once() {
    let scene = scene();
    for (again, verdict) in [("@method", "signature-invalid"), ("accept", "permitted"), ("\"accept\";bs", "permitted")]
    {
        let mut input = scene.input();
        input.components.extend(components(&[again]));
        assert_eq!(scene.verdict(&scene.signed_with(&input, 1)), verdict, "{again}");
    }
    let mut input = scene.input();
    input.components.extend(components(&["\"accept\";sf;key=\"a\"", "\"accept\";key=\"a\";sf"]));
    let mut accepting = scene.clone();
    accepting.fields[0].1 = "a=1".into();
    let head = accepting.signed_with(&input, 1);
    assert!(scene.verify(&head).unwrap_err().to_string().contains("is listed twice"));
}

#[test]
fn components_that_cannot_be_derived_are_refused() {
    let scene = scene();
    for (identifier, problem) in [
        ("\"x-absent\"", "the request has no such field"),
        ("\"@status\"", "is no derived component of a request"),
        ("\"accept\";req", "has parameters other than"),
        ("\"accept\";tr", "has parameters other than"),
        ("\"Accept\"", "is no field name in lower case"),
        ("accept", "is not a string"),
        ("1", "is not a string"),
        ("\"@signature-params\"", "is no derived component of a request"),
    ] {
        let mut head = scene.signed();
        replace(&mut head, "signature-input", "exeat=(", &format!("exeat=({identifier} "));
        let error = scene.verify(&head).unwrap_err();
        assert_eq!(error.reason().code(), "signature-invalid");
        assert!(error.to_string().contains(problem), "{identifier}: {error}");
    }
}

/// `@authority` and `@path` are two components: no byte can move from one to the other, nor a line be smuggled in.
#[test]
fn components_do_not_run_into_each_other() {
    let scene = scene();
    for (authority, path) in [
        ("api.crm.acme.example/v1", "/orders?id=7"),
        ("api.crm.acme.example\n\"@path\": /v1/orders", "/v1/orders?id=7"),
        ("api.crm.acme.example ", "/v1/orders?id=7"),
        ("", "/v1/orders?id=7"),
        ("api.crm.acme.example", "/v1/orders\n?id=7"),
        ("api.crm.acme.example", "/v1/orders?id=7\u{e9}"),
    ] {
        let mut head = scene.signed();
        (head.authority, head.path) = (authority.into(), Some(path.into()));
        assert_eq!(scene.verdict(&head), "signature-invalid", "{authority} {path}");
    }
}

#[test]
fn the_authority_may_come_with_the_default_port_of_the_scheme() {
    for (scheme, signed, sent, verdict) in [
        (Some("http"), "a.example", "A.example:80", "permitted"),
        (Some("http"), "a.example:80", "a.example", "permitted"),
        (Some("http"), "a.example", "a.example:443", "signature-invalid"),
        (Some("https"), "a.example", "a.example:443", "permitted"),
        (Some("HTTPS"), "a.example", "a.example:443", "permitted"),
        (Some("https"), "a.example", "a.example:80", "signature-invalid"),
        (Some("ftp"), "a.example", "a.example:21", "signature-invalid"),
        (None, "a.example", "a.example:80", "signature-invalid"),
        (None, "a.example", "A.EXAMPLE", "permitted"),
    ] {
        let mut scene = scene();
        (scene.scheme, scene.authority) = (scheme, signed.to_owned());
        let mut head = scene.signed();
        head.authority = sent.to_owned().into();
        assert_eq!(scene.verdict(&head), verdict, "{scheme:?} {signed} {sent}");
    }
}

#[test]
fn connect_covers_method_authority_and_context() {
    let mut scene = scene();
    (scene.method, scene.scheme, scene.path) = ("CONNECT", None, None);
    scene.authority = "api.crm.acme.example:443".to_owned();
    let good = scene.signed();
    assert_eq!(scene.verdict(&good), "permitted");
    let mut head = good.clone();
    head.authority = "api.crm.acme.example".into();
    assert_eq!(scene.verdict(&head), "signature-invalid");
    // The port of a tunnel stays in the authority, whatever scheme a host makes up for it.
    let mut head = good.clone();
    head.scheme = Some("https".into());
    assert_eq!(scene.verdict(&head), "permitted");
    // A CONNECT that grew a path is a request with a path.
    let mut head = good.clone();
    head.path = Some("/".into());
    assert_eq!(scene.verdict(&head), "signature-incomplete");
    for names in [&["@method", "agent-context"][..], &["@method", "@request-target", "agent-context"]] {
        let input = SignatureInput { components: components(names), ..scene.input() };
        assert_eq!(scene.verdict(&scene.signed_with(&input, 1)), "signature-incomplete");
    }
}
