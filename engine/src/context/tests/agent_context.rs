//! `Agent-Context`: every member, every type, every bound.

use super::super::sign::ContextFields;
use super::*;

const REQUIRED: &str = "agent=\"a\", session=\"s\"";

fn parse(members: &str) -> Result<AgentContext, String> {
    AgentContext::parse(members.as_bytes()).map_err(|error| {
        assert_eq!(error.reason().code(), "context-malformed");
        error.to_string()
    })
}

/// `members` after those that are required.
fn with(members: &str) -> Result<AgentContext, String> {
    parse(&format!("{REQUIRED}, {members}"))
}

#[test]
fn the_example_of_the_design_is_read_whole() {
    let context = parse(
        "agent=\"support/summarizer\", session=\"s-8f2c\", gateway=\"egress-eu-1\", tenant=\"acme\", user=\"u-1042\", \
         roles=(\"support\"), region=\"eu\", delegated_by=(\"support/planner\"), scope=(crm payments), \
         tool=\"crm.lookup\", session_type=interactive, data_class=confidential, provenance=(user third-party), \
         reason=\"look up order\"",
    );
    let text = |text: &str| Some(text.to_owned());
    let expected = AgentContext {
        agent: "support/summarizer".to_owned(),
        session: "s-8f2c".to_owned(),
        gateway: text("egress-eu-1"),
        tenant: text("acme"),
        user: text("u-1042"),
        region: text("eu"),
        roles: vec!["support".to_owned()],
        delegated_by: vec!["support/planner".to_owned()],
        scope: Some(vec!["crm".to_owned(), "payments".to_owned()]),
        tool: text("crm.lookup"),
        session_type: Some(SessionType::Interactive),
        data_class: Some(DataClass::Confidential),
        provenance: vec![Provenance::User, Provenance::ThirdParty],
        reason: text("look up order"),
        attributes: Default::default(),
    };
    assert_eq!(context, Ok(expected));
}

#[test]
fn what_is_absent_counts_as_the_worst() {
    let context = parse(REQUIRED).unwrap();
    assert_eq!(context.provenance, [Provenance::Unknown]);
    assert_eq!(context.effective_data_class(), DataClass::Restricted);
    assert_eq!(context.scope, None);
    assert_eq!(with("provenance=()").unwrap().provenance, [Provenance::Unknown]);
    assert_eq!(with("scope=()").unwrap().scope, Some(Vec::new()));
    assert_eq!(with("data_class=public").unwrap().effective_data_class(), DataClass::Public);
    let sources = with("provenance=(third-party user user)").unwrap().provenance;
    assert_eq!(sources, [Provenance::User, Provenance::ThirdParty]);
    assert!(DataClass::Public < DataClass::Internal && DataClass::Confidential < DataClass::Restricted);
}

#[test]
fn words_are_closed_and_agree_with_serde() {
    fn check<T: serde::Serialize + Copy>(member: &str, words: &[(T, &str)], list: bool) {
        for (value, word) in words {
            assert_eq!(serde_json::to_string(value).unwrap(), format!("\"{word}\""));
            let value = if list { format!("({word})") } else { (*word).to_owned() };
            assert!(with(&format!("{member}={value}")).is_ok());
        }
    }
    check("session_type", SessionType::WORDS, false);
    check("data_class", DataClass::WORDS, false);
    check("provenance", Provenance::WORDS, true);
    for (value, word) in Provenance::WORDS {
        assert_eq!(value.word(), *word);
    }
    for (members, problem) in [
        ("session_type=Interactive", "\"session_type\": \"Interactive\" is none of interactive, batch, scheduled"),
        ("data_class=secret", "\"secret\" is none of public, internal, confidential, restricted"),
        ("provenance=(user web)", "\"web\" is none of user, system, internal, third-party, unknown"),
        ("provenance=(third_party)", "\"third_party\" is none of"),
    ] {
        assert!(with(members).unwrap_err().contains(problem), "{members}");
    }
}

#[test]
fn every_member_has_one_type() {
    for member in ["gateway", "tenant", "user", "region", "tool", "reason"] {
        assert!(with(&format!("{member}=\"x\"")).is_ok());
        for (value, kind) in [
            ("=x", "is a token, where a string is expected"),
            ("=1", "is an integer, where a string is expected"),
            ("=1.5", "is a decimal, where"),
            ("=:AAAA:", "is a byte sequence, where"),
            ("=@1", "is a date, where"),
            ("=%\"x\"", "is a display string, where"),
            ("=(\"x\")", "is a list, where a string is expected"),
            ("", "is a boolean, where"),
        ] {
            let error = with(&format!("{member}{value}")).unwrap_err();
            assert!(error.contains(&format!("\"{member}\": {kind}")), "{error}");
        }
    }
    for (member, good, bad) in [
        ("roles", "(\"a\" \"b\")", &["\"a\"", "(a)", "(\"a\" 1)", "(\"\")"][..]),
        ("delegated_by", "(\"a\" \"b\")", &["\"a\"", "(a)", "?1"]),
        ("scope", "(a b)", &["a", "(\"a\")", "(1)"]),
        ("provenance", "(user)", &["user", "(\"user\")", "\"user\""]),
        ("session_type", "batch", &["\"batch\"", "(batch)"]),
        ("data_class", "public", &["\"public\"", "(public)", "1"]),
    ] {
        assert!(with(&format!("{member}={good}")).is_ok(), "{member}");
        for value in bad {
            let error = with(&format!("{member}={value}")).unwrap_err();
            assert!(error.starts_with(&format!("agent-context: \"{member}\": ")), "{error}");
        }
    }
    for (members, problem) in [
        ("session=\"s\"", "\"agent\": is missing"),
        ("agent=\"a\"", "\"session\": is missing"),
        ("", "\"agent\": is missing"),
        ("agent=\"\", session=\"s\"", "\"agent\": is empty"),
        ("agent=\"a\", session=\"\"", "\"session\": is empty"),
        ("agent=a, session=\"s\"", "\"agent\": is a token, where a string is expected"),
    ] {
        assert!(parse(members).unwrap_err().contains(problem), "{members}");
    }
    assert!(with("reason=\"\"").is_ok());
}

#[test]
fn parameters_and_duplicates_are_refused_everywhere() {
    for members in ["user=\"u\";x", "x=1;y=2", "x=(1;y)", "x=(1);y", "roles=(\"a\";x)", "roles=(\"a\");x", "x;y"] {
        assert!(with(members).unwrap_err().contains("has parameters, which no member may have"), "{members}");
    }
    for (members, member) in
        [("agent=\"b\"", "agent"), ("x=1, x=1", "x"), ("user=\"u\", user=\"v\"", "user"), ("session=\"s\"", "session")]
    {
        let error = with(members).unwrap_err();
        assert_eq!(error, format!("agent-context: \"{member}\": occurs twice"));
    }
}

#[test]
fn other_members_are_kept_in_canonical_text() {
    let context = with("n=01,\ts=\"a\\\"b\",  l=( x   1.50 ),t=tok, b, d=@5, y=:AQ==:, z=%\"%c3%a9\"").unwrap();
    let attributes: Vec<(&str, &str)> =
        context.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("b", "?1"),
        ("d", "@5"),
        ("l", "(x 1.5)"),
        ("n", "1"),
        ("s", "\"a\\\"b\""),
        ("t", "tok"),
        ("y", ":AQ==:"),
        ("z", "%\"%c3%a9\""),
    ];
    assert_eq!(attributes, expected);
}

#[test]
fn bounds_hold_at_their_edges() {
    let reason = |length: usize| with(&format!("reason=\"{}\"", "r".repeat(length)));
    assert!(reason(256).is_ok());
    assert!(reason(257).unwrap_err().contains("\"reason\": has 257 bytes, where at most 256 are allowed"));
    let many = |count: usize| with(&(0..count - 2).map(|n| format!("a{n}")).collect::<Vec<_>>().join(", "));
    assert!(many(64).is_ok());
    assert!(many(65).unwrap_err().contains("more than 64 members"));
    let roles = |count: usize| with(&format!("roles=({})", vec!["\"r\""; count].join(" ")));
    assert!(roles(64).is_ok());
    assert!(roles(65).unwrap_err().contains("more than 64 items in a list"));
    let long = |length: usize| with(&format!("x=\"{}\"", "x".repeat(length - REQUIRED.len() - "x=\"\", ".len())));
    assert!(long(16 * 1024).is_ok());
    assert!(long(16 * 1024 + 1).unwrap_err().contains("16385 bytes, where at most 16384 are read"));
}

#[test]
fn what_is_no_dictionary_is_refused_with_the_place() {
    for field in [
        "agent",
        "agent=",
        "agent=\"a",
        "agent=\"a\" session=\"s\"",
        "agent=\"a\", session=\"s\",",
        ", agent=\"a\"",
        "Agent=\"a\"",
        "agent=\"a\u{e9}\", session=\"s\"",
        "agent=\"a\\x\", session=\"s\"",
        "agent =\"a\"",
        "{\"agent\": 1}",
        "agent=\"a\";session=\"s\"",
        "agent=\"a\"\0, session=\"s\"",
        "scope=(a, b)",
    ] {
        assert!(parse(field).is_err(), "{field}");
    }
    assert!(parse("agent=\"a\", session=\"s\", =").unwrap_err().contains("at index 24"));
}

#[test]
fn a_signer_writes_what_a_gateway_reads() {
    let fields = ContextFields {
        agent: "spiffe://acme.example/agent".to_owned(),
        session: "a\\b\"c".to_owned(),
        roles: vec!["x y".to_owned()],
        scope: Some(Vec::new()),
        session_type: Some(SessionType::Scheduled),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::ThirdParty],
        attributes: vec![("n".to_owned(), "( 1 )".to_owned())],
        ..ContextFields::default()
    };
    let text = fields.to_field().unwrap();
    assert_eq!(
        text,
        "agent=\"spiffe://acme.example/agent\", session=\"a\\\\b\\\"c\", roles=(\"x y\"), scope=(), \
         session_type=scheduled, data_class=internal, provenance=(third-party), n=(1)"
    );
    let read = parse(&text).unwrap();
    assert_eq!((read.session, read.scope), ("a\\b\"c".to_owned(), Some(Vec::new())));
}
