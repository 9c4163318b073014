//! What claims mean: the mapping, and chains of delegation.

use super::*;
use crate::context::{AgentContext, SessionType};

fn context(map: impl FnOnce(&mut ClaimMap), members: Value) -> Result<AgentContext, String> {
    let mut issuer = issuer();
    map(&mut issuer.claims);
    let token = token(&with(claims(), members), Some("k1"), &Signing::ed25519(1));
    let verified = verify(&take(vec![issuer]), &token).map_err(|error| error.to_string())?;
    Ok(AgentContext::clone(&verified.context))
}

#[test]
fn claims_are_named_at_the_top_or_by_a_pointer() {
    let members = json!({
        "email": "ada@acme.example", "https://acme.example/region": "eu", "realm_access": {"roles": ["support", "ops"]},
        "a/b~c": {"": [{"x": "nested"}]}, "mode": "batch", "scp": "crm model", "group": "one",
    });
    let context = context(
        |claims| {
            claims.user = Some(path("email"));
            claims.region = Some(path("https://acme.example/region"));
            claims.roles = Some(path("/realm_access/roles"));
            claims.session_type = Some(path("mode"));
            claims.scope = Some(path("scp"));
        },
        members.clone(),
    );
    let found = context.unwrap();
    assert_eq!((found.user.as_deref(), found.region.as_deref()), (Some("ada@acme.example"), Some("eu")));
    assert_eq!(found.roles, ["support", "ops"]);
    assert_eq!(found.session_type, Some(SessionType::Batch));
    assert_eq!(found.scope, Some(vec!["crm".to_owned(), "model".to_owned()]));
    // Escapes of a pointer; it leads through maps, not through lists.
    for (pointer, said) in [
        ("/a~1b~0c/", r#"the token's claim "/a~1b~0c/" is not text of printable ASCII"#),
        ("/a~1b~0c//0/x", r#"the token's claim "/a~1b~0c//0/x" is missing"#),
        ("a/b~c", r#"the token's claim "a/b~c" is not text of printable ASCII"#),
        ("/nothing/here", r#"the token's claim "/nothing/here" is missing"#),
        ("/", r#"the token's claim "/" is missing"#),
    ] {
        let error = super::claims::context(|claims| claims.user = Some(path(pointer)), members.clone()).unwrap_err();
        assert_eq!(error, said);
    }
    for wrong in ["", "/a~2", "/~", "a\nb", &"x".repeat(257)] {
        assert_eq!(ClaimPath::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn lists_have_the_form_that_issuers_give_them() {
    let roles = |value: Value| context(|claims| claims.roles = Some(path("groups")), json!({"groups": value}));
    assert_eq!(roles(json!(["a", "b c"])).unwrap().roles, ["a", "b c"]);
    assert_eq!(roles(json!("one role")).unwrap().roles, ["one role"]);
    // Many leave an empty list out. No role is no right.
    assert!(roles(Value::Null).unwrap().roles.is_empty());
    assert!(roles(json!([])).unwrap().roles.is_empty());
    for wrong in [json!([1]), json!([["a"]]), json!({"a": 1}), json!(7), json!([""]), json!(["a\n"]), json!("")] {
        assert_eq!(roles(wrong).unwrap_err(), r#"the token's claim "groups" is no list of texts of printable ASCII"#);
    }
    assert!(roles(json!(vec!["r"; 64])).is_ok());
    assert_eq!(roles(json!(vec!["r"; 65])).unwrap_err(), r#"the token's claim "groups" has more than 64 items"#);

    let scope = |value: Value| context(|claims| claims.scope = Some(path("scope")), json!({"scope": value}));
    assert_eq!(scope(json!("crm")).unwrap().scope.unwrap(), ["crm"]);
    assert_eq!(scope(json!(["crm", "model"])).unwrap().scope.unwrap(), ["crm", "model"]);
    // An empty scope is none at all; an absent one would be every scope there is, so it must be there.
    assert_eq!(scope(json!("")).unwrap().scope, Some(Vec::new()));
    assert_eq!(scope(Value::Null).unwrap_err(), r#"the token's claim "scope" is missing"#);
    for wrong in [json!("crm  model"), json!(" crm"), json!(7)] {
        assert_eq!(scope(wrong).unwrap_err(), r#"the token's claim "scope" is no list of texts of printable ASCII"#);
    }
    let kind = |value: Value| context(|claims| claims.session_type = Some(path("st")), json!({"st": value}));
    assert_eq!(kind(json!("Batch")).unwrap_err(), r#"the token's claim "st" is none of interactive, batch, scheduled"#);
}

/// RFC 8693 section 4.1: the outermost `act` acts now; those inside it acted before, the innermost first.
#[test]
fn delegation_is_read_from_the_inside_out() {
    let chain = |members: Value| context(|_| {}, members).map(|context| (context.agent, context.delegated_by));
    let acts = |act: Value| chain(json!({"act": act}));
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(chain(json!({})).unwrap(), ("support/summarizer".to_owned(), names(&[])));
    assert_eq!(acts(json!({"sub": "b"})).unwrap(), ("b".to_owned(), names(&["support/summarizer"])));
    assert_eq!(
        acts(json!({"sub": "d", "act": {"sub": "c", "act": {"sub": "b"}}})).unwrap(),
        ("d".to_owned(), names(&["support/summarizer", "b", "c"]))
    );
    // The issuer may be repeated, and nothing else counts.
    assert_eq!(acts(json!({"sub": "b", "iss": ISSUER, "exp": 0})).unwrap().0, "b");
    let deep = |depth: usize| (1..depth).fold(json!({"sub": "a"}), |inner, _| json!({"sub": "b", "act": inner}));
    assert_eq!(acts(deep(16)).unwrap().1.len(), 16);
    for (act, said) in [
        (deep(17), "has too many actors"),
        (json!({"sub": "b", "iss": "https://other.example"}), "has an actor of another issuer"),
        (json!({"sub": "b", "iss": 7}), "has an actor of another issuer"),
        (json!({"sub": "b", "act": {"sub": "c", "iss": "x"}}), "has an actor of another issuer"),
        (json!({}), "has an actor without sub"),
        (json!({"sub": "b", "act": {}}), "has an actor without sub"),
        (json!({"sub": ""}), "has an actor whose sub is not printable ASCII"),
        (json!({"sub": "b\n"}), "has an actor whose sub is not printable ASCII"),
        (json!({"sub": ["b"]}), "has an actor whose sub is not printable ASCII"),
        (json!("b"), "is not an object"),
        (json!([{"sub": "b"}]), "is not an object"),
        (json!({"sub": "b", "act": null}), "is not an object"),
    ] {
        assert_eq!(acts(act).unwrap_err(), format!("the token's claim \"act\" {said}"));
    }
}

/// The subject is a person, and the agents are those who act.
#[test]
fn an_actor_can_be_the_agent_for_a_person() {
    let acts = |act: Value| {
        let map = |claims: &mut ClaimMap| {
            claims.agent = AgentClaim::Actor;
            claims.user = Some(path("sub"));
        };
        let context = context(map, json!({"sub": "u-1042", "act": act}))?;
        Ok::<_, String>((context.agent, context.delegated_by, context.user))
    };
    let user = Some("u-1042".to_owned());
    assert_eq!(acts(json!({"sub": "a"})).unwrap(), ("a".to_owned(), vec![], user.clone()));
    assert_eq!(acts(json!({"sub": "b", "act": {"sub": "a"}})).unwrap(), ("b".to_owned(), vec!["a".to_owned()], user));
    assert_eq!(acts(Value::Null).unwrap_err(), r#"the token's claim "act" is missing"#);
}
