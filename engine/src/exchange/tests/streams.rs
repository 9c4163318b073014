//! Tunnels and WebSockets, destinations with a scheme of their own, and what the guard is handed.

use super::*;
use crate::destination::{Leaving, PathOpening};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn world() -> World {
    let mut world = World::new();
    let mut document = document();
    document["policy"]["destinations"] = json!({
        "crm": {"hosts": ["*.crm.example"], "accepts": "restricted", "tunnel": true, "upgrade": ["websocket"], "life": "1m",
                "ports": [443, 8443], "addresses": ["10.0.0.0/8"], "paths_allow": ["encoded-slash"]},
        "plain": {"hosts": ["plain.example"], "accepts": "restricted", "scheme": "http"},
        "raw": {"hosts": ["192.0.2.7"], "accepts": "restricted", "tunnel": true, "upgrade": ["websocket"]},
    });
    let limits = json!({"body": "4KiB", "provenance": {"third-party": {"body": "100B"}}});
    document["policy"]["agents"] = json!({
        "team/worker": {
            "allow": [{"id": "all", "to": ["crm", "plain", "raw"], "methods": ["GET", "POST", "CONNECT"], "paths": ["/**"],
                       "limits": limits, "headers": {"keep": ["sec-websocket-protocol"]}}],
        },
        "team/watched": {"mode": "monitor", "allow": [{"id": "read", "to": ["crm"], "paths": ["/v1/**"]}]},
        "team/careful": {
            "allow": [{"id": "all", "to": ["crm"], "methods": ["GET", "CONNECT"], "paths": ["/**"]}],
            "deny": [{"id": "no-posts", "to": ["crm"], "methods": ["POST"], "paths": ["/v1/admin"]}],
        },
    });
    world.configuration = Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap());
    world
}

fn to(authority: &str, mut head: RequestHead) -> RequestHead {
    head.authority = authority.to_owned().into();
    head
}

fn connect(agent: &str, provenance: &[Provenance], authority: &str, nonce: &str) -> RequestHead {
    let head = RequestHead { path: None, scheme: None, ..to(authority, head("CONNECT", "")) };
    sign(head, &context(agent, provenance), b"", nonce)
}

fn websocket(agent: &str, fields: &[(&str, &str)], nonce: &str) -> RequestHead {
    let mut head = sign(head("GET", "/v1/feed"), &context(agent, &[Provenance::User]), b"", nonce);
    head.fields.extend(fields.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())));
    head
}

const HANDSHAKE: [(&str, &str); 5] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", KEY),
    ("sec-websocket-protocol", "feed.v1"),
];

/// A ClientHello with that name and no other extension.
fn hello(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let entry = [&[0][..], &u16::try_from(name.len()).unwrap().to_be_bytes(), name].concat();
    let list = [&u16::try_from(entry.len()).unwrap().to_be_bytes()[..], &entry].concat();
    let extension = [&[0, 0][..], &u16::try_from(list.len()).unwrap().to_be_bytes(), &list].concat();
    let extensions = [&u16::try_from(extension.len()).unwrap().to_be_bytes()[..], &extension].concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &extensions].concat();
    let message = [&[1, 0][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &u16::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

fn let_go(world: &mut World, head: RequestHead) -> (Exchange, Decision) {
    let mut exchange = world.start();
    let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(head), false) else { panic!("undecided") };
    assert_eq!(decision.outcome, Outcome::Allow, "{decision:?}");
    assert!(exchange.stream_until().is_some());
    (exchange, *decision)
}

fn reason_of(world: &mut World, head: RequestHead) -> Reason {
    let mut exchange = world.start();
    match exchange.head(&mut world.around(), Ok(head), false) {
        Step::Decided(decision) => decision.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tunnel_is_held_until_its_client_hello_is_whole_and_then_counted() {
    let mut world = world();
    let (mut exchange, decision) =
        let_go(&mut world, connect("team/worker", &[Provenance::User], "eu.crm.example:443", "n"));
    let pass = &decision.clearance.as_ref().unwrap().pass;
    assert_eq!((pass.exit, pass.port, pass.path.clone()), (Exit::Tunnel, 443, None));
    assert_eq!(decision.clearance.as_ref().unwrap().host(), Some("EU.CRM.EXAMPLE".to_owned()));
    let hello = hello("eu.crm.example");
    let (first, second) = hello.split_at(11);
    assert!(matches!(exchange.body(&mut world.around(), first, false), Step::NeedBody { .. }));
    assert!(matches!(exchange.body(&mut world.around(), second, false), Step::Pass));
    assert!(matches!(exchange.body(&mut world.around(), &[0; 1000], false), Step::Pass));
    assert!(matches!(exchange.response_piece(&mut world.around()), Step::Pass));
    exchange.end(&mut world.around(), end());
    let records = world.records();
    let bytes = hello.len() + 1000;
    let completion = records.iter().find(|record| record["kind"] == "completion").unwrap();
    assert_eq!((&completion["received_bytes"], &completion["forwarded_bytes"]), (&json!(bytes), &json!(bytes)));
    assert_eq!(completion["ending"], "complete");
    assert!(completion.get("forwarded_digest").is_none());
    assert_eq!(records.iter().find(|record| record["kind"] == "decision").unwrap()["released"], "head");
}

#[test]
fn a_tunnel_that_is_something_else_is_cut_and_recorded() {
    for (n, (bytes, provenance, reason, condition)) in [
        (
            hello("evil.example"),
            Provenance::User,
            "tunnel-denied",
            "the ClientHello of the tunnel names another server",
        ),
        (b"GET / HTTP/1.1\r\n".to_vec(), Provenance::User, "tunnel-denied", "the tunnel does not begin with TLS"),
        (vec![22; 4097], Provenance::User, "payload-too-large", "limits/body"),
        (vec![22, 3, 1, 0, 200], Provenance::ThirdParty, "", ""),
        (vec![22; 101], Provenance::ThirdParty, "payload-provenance", "limits/provenance/third-party/body"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut world = world();
        let head = connect("team/worker", &[provenance], "eu.crm.example:443", &n.to_string());
        let (mut exchange, decision) = let_go(&mut world, head);
        let step = exchange.body(&mut world.around(), &bytes, false);
        if reason.is_empty() {
            assert!(matches!(step, Step::NeedBody { .. }));
            assert!(
                matches!(exchange.body(&mut world.around(), &[], true), Step::Abort),
                "an end before a whole ClientHello"
            );
            exchange.end(&mut world.around(), end());
            continue;
        }
        assert!(matches!(step, Step::Abort));
        assert!(matches!(exchange.body(&mut world.around(), &hello("eu.crm.example"), false), Step::Abort));
        assert!(matches!(exchange.response_piece(&mut world.around()), Step::Abort));
        exchange.end(&mut world.around(), end());
        let records = world.records();
        let refusal = records.iter().find(|record| record["follows"] == decision.id.as_str()).unwrap();
        assert_eq!(
            (&refusal["outcome"], &refusal["reason"], &refusal["released"]),
            (&json!("deny"), &json!(reason), &json!("none"))
        );
        assert_eq!((&refusal["condition"], &refusal["rule"]), (&json!(condition), &json!("team/worker/all")));
        assert_ne!(refusal["id"], decision.id.as_str());
        let completion = records.iter().find(|record| record["kind"] == "completion").unwrap();
        assert_eq!((&completion["ending"], &completion["forwarded_bytes"]), (&json!("refused"), &json!(0)));
        assert_eq!(completion["received_bytes"], bytes.len());
    }
}

#[test]
fn a_tunnel_has_no_path_that_nobody_would_judge() {
    for (path, reason) in [(Some("/v1/x?secret=1"), Reason::RequestMalformed), (None, Reason::Permitted)] {
        let head =
            RequestHead { path: path.map(Into::into), scheme: None, ..to("eu.crm.example:443", head("CONNECT", "")) };
        // It is what was signed.
        let head = sign(head, &context("team/worker", &[Provenance::User]), b"", "n");
        assert_eq!(reason_of(&mut world(), head), reason, "{path:?}");
    }
}

#[test]
fn nothing_passes_after_its_life() {
    for upgrade in [false, true] {
        let mut world = world();
        let head = match upgrade {
            true => websocket("team/worker", &HANDSHAKE, "n"),
            false => connect("team/worker", &[Provenance::User], "eu.crm.example:443", "n"),
        };
        let (mut exchange, decision) = let_go(&mut world, head);
        let at = |world: &mut World, millis: u64, exchange: &mut Exchange, chunk: Option<&[u8]>| {
            let mut around = world.around();
            around.now = NOW.plus_millis(millis);
            match chunk {
                Some(chunk) => exchange.body(&mut around, chunk, false),
                None => exchange.response_piece(&mut around),
            }
        };
        let first = hello("eu.crm.example");
        exchange.response_head(101);
        assert!(matches!(at(&mut world, 60_000, &mut exchange, Some(&first)), Step::Pass));
        assert!(matches!(at(&mut world, 60_000, &mut exchange, None), Step::Pass));
        assert!(matches!(at(&mut world, 60_001, &mut exchange, None), Step::Abort));
        assert!(matches!(at(&mut world, 60_002, &mut exchange, Some(b"x")), Step::Abort));
        exchange.end(&mut world.around(), end());
        let records = world.records();
        let refusals: Vec<_> = records.iter().filter(|record| record["follows"] == decision.id.as_str()).collect();
        assert_eq!(refusals.len(), 1, "once");
        let reason = if upgrade { "upgrade-denied" } else { "tunnel-denied" };
        assert_eq!(
            (&refusals[0]["reason"], &refusals[0]["condition"]),
            (&json!(reason), &json!("destinations/crm/life: it is over"))
        );
    }
}

#[test]
fn a_silent_tunnel_that_was_ended_for_its_age_says_so() {
    let mut world = world();
    let (mut exchange, decision) =
        let_go(&mut world, connect("team/worker", &[Provenance::User], "eu.crm.example:443", "n"));
    let until = exchange.stream_until().unwrap();
    assert_eq!(until, NOW.plus_millis(60_000));
    let mut around = world.around();
    around.now = until.plus_millis(1);
    exchange.end(&mut around, End { ending: Ending::Reset, ..end() });
    let records = world.records();
    let refusal = records.iter().find(|record| record["follows"] == decision.id.as_str()).unwrap();
    assert_eq!(refusal["condition"], "destinations/crm/life: it is over");
    let completion = records.iter().find(|record| record["kind"] == "completion").unwrap();
    assert_eq!(completion["ending"], "refused");
}

#[test]
fn a_websocket_is_decided_at_its_head() {
    let mut world = world();
    let (mut exchange, decision) = let_go(&mut world, websocket("team/worker", &HANDSHAKE, "n1"));
    let map = forwarded(&decision);
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-protocol", "feed.v1"),
    ] {
        assert_eq!(map.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(decision.clearance.as_ref().unwrap().pass.exit, Exit::HttpsUpgrade);
    assert!(matches!(exchange.body(&mut world.around(), b"", false), Step::Pass));
    exchange.response_head(101);
    assert!(matches!(exchange.body(&mut world.around(), b"\x81\x02hi", false), Step::Pass));
    assert!(matches!(exchange.body(&mut world.around(), &[0; 5000], false), Step::Abort), "more than the rule's body");
    // A server that does not upgrade would take them for the next request.
    for status in [None, Some(200), Some(400)] {
        let nonce = format!("n1{status:?}");
        let (mut exchange, _) = let_go(&mut world, websocket("team/worker", &HANDSHAKE, &nonce));
        status.into_iter().for_each(|status| exchange.response_head(status));
        assert!(matches!(exchange.body(&mut world.around(), b"GET /admin HTTP/1.1\r\n", false), Step::Abort));
        exchange.end(&mut world.around(), end());
    }
    let early = |record: &&Value| record["condition"] == "bytes before the upstream has upgraded";
    assert_eq!(world.records().iter().filter(early).count(), 3);
    for (n, (what, edit)) in [
        ("another protocol", ("upgrade", Some("h2c"))),
        ("two protocols", ("upgrade", Some("websocket, h2c"))),
        ("no version", ("sec-websocket-version", None)),
        ("a key that carries more", ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="))),
        ("no connection", ("connection", None)),
    ]
    .into_iter()
    .enumerate()
    {
        let (name, value) = edit;
        let fields: Vec<_> = HANDSHAKE
            .iter()
            .filter_map(|(field, old)| if *field == name { Some((*field, value?)) } else { Some((*field, *old)) })
            .collect();
        assert_eq!(
            reason_of(&mut world, websocket("team/worker", &fields, &format!("n2{n}"))),
            Reason::UpgradeDenied,
            "{what}"
        );
    }
    let with_body = [&HANDSHAKE[..], &[("transfer-encoding", "chunked")]].concat();
    assert_eq!(reason_of(&mut world, websocket("team/worker", &with_body, "n3")), Reason::RequestMalformed);
}

#[test]
fn tunnels_and_upgrades_hold_in_every_mode_and_only_where_they_are_open() {
    let mut world = world();
    let user = [Provenance::User];
    for (n, (head, reason)) in [
        (connect("team/watched", &user, "eu.crm.example:443", "a"), Reason::MethodDenied),
        (connect("team/worker", &user, "plain.example:80", "b"), Reason::TunnelDenied),
        (connect("team/worker", &user, "192.0.2.7:443", "c"), Reason::TunnelDenied),
        (connect("team/worker", &user, "eu.crm.example", "d"), Reason::DestinationMalformed),
        (connect("team/worker", &user, "eu.crm.example:22", "e"), Reason::TunnelDenied),
        // What is denied could be done in the tunnel.
        (connect("team/careful", &user, "eu.crm.example:443", "f"), Reason::RuleDenied),
        (connect("team/worker", &user, "eu.crm.example:8443", "g"), Reason::Permitted),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(reason_of(&mut world, head), reason, "{n}");
    }
    let watched = websocket("team/watched", &HANDSHAKE, "h");
    assert_eq!(reason_of(&mut world, watched), Reason::Permitted, "its rule allows the GET");
    let mut plain = sign(to("plain.example", head("GET", "/")), &context("team/worker", &user), b"", "i");
    plain.fields.extend(HANDSHAKE.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())));
    assert_eq!(reason_of(&mut world, plain), Reason::UpgradeDenied);
    let mut raw = sign(to("192.0.2.7", head("GET", "/")), &context("team/worker", &user), b"", "j");
    raw.fields.extend(HANDSHAKE.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())));
    assert_eq!(reason_of(&mut world, raw), Reason::UpgradeDenied, "an upgrade over TLS leads to a name");
}

#[test]
fn the_destination_chooses_scheme_and_openings_whatever_the_request_says() {
    let mut world = world();
    for (n, (authority, path, scheme, expected)) in [
        ("plain.example", "/a", "https", Some(("http", "plain.example", 80, Exit::Http))),
        ("plain.example:80", "/a", "https", Some(("http", "plain.example", 80, Exit::Http))),
        ("plain.example:443", "/a", "http", None),
        ("eu.crm.example", "/a%2fb", "ftp", Some(("https", "eu.crm.example", 443, Exit::Https))),
        ("eu.crm.example:8443", "/a", "http", Some(("https", "eu.crm.example:8443", 8443, Exit::Https))),
        ("plain.example", "/a%2fb", "http", None),
    ]
    .into_iter()
    .enumerate()
    {
        let request = RequestHead { scheme: Some(scheme.into()), ..to(authority, head("GET", path)) };
        let request = sign(request, &context("team/worker", &[Provenance::User]), b"", &n.to_string());
        let decision = world.run(request, b"", 1);
        let Some((scheme, authority, port, exit)) = expected else {
            assert_eq!(decision.outcome, Outcome::Deny, "{authority}{path}");
            continue;
        };
        let map = forwarded(&decision);
        assert_eq!((map[":scheme"].as_str(), map["x-forwarded-proto"].as_str()), (scheme, scheme));
        assert_eq!(map[":authority"], authority);
        let pass = decision.clearance.unwrap().pass;
        assert_eq!((pass.port, pass.exit, pass.authority.as_str()), (port, exit, authority));
        assert_eq!(pass.path.as_deref(), Some(path.as_bytes()));
    }
    assert!(PathOpening::ALL.len() > 1);
}

#[test]
fn a_metadata_service_needs_a_word_of_its_own() {
    let user = [Provenance::User];
    for (metadata, allowed) in [(json!(null), false), (json!(false), false), (json!(true), true)] {
        let mut world = world();
        let mut document = document();
        let mut cloud = json!({"hosts": ["169.254.169.254", "metadata.google.internal"], "scheme": "http",
                               "accepts": "restricted", "addresses": ["169.254.169.254"]});
        if !metadata.is_null() {
            cloud["metadata"] = metadata.clone();
        }
        document["policy"]["destinations"] = json!({"crm": cloud});
        document["policy"]["agents"] =
            json!({"team/worker": {"allow": [{"id": "r", "to": ["crm"], "paths": ["/**"]}]}});
        world.configuration = Arc::new(Configuration::accept(document.to_string().as_bytes()).unwrap());
        for (n, host) in ["169.254.169.254", "metadata.google.internal"].into_iter().enumerate() {
            let request = sign(to(host, head("GET", "/a")), &context("team/worker", &user), b"", &format!("{n}"));
            let decision = world.run(request, b"", 1);
            let reason = if allowed { Reason::Permitted } else { Reason::DestinationForbidden };
            assert_eq!(decision.reason, reason, "{host} {metadata}");
            let Some(clearance) = decision.clearance else { continue };
            let exits = [Exit::Http];
            let leaving = |upstream| Leaving {
                exits: &exits,
                method: Some(b"GET"),
                authority: Some(host.as_bytes()),
                path: Some(b"/a"),
                upstream: Some(upstream),
            };
            assert!(clearance.admit(&leaving("169.254.169.254:80")).is_ok());
            assert!(clearance.admit(&leaving("169.254.170.2:80")).is_err());
        }
    }
}

#[test]
fn the_guard_takes_what_was_let_go_and_its_refusal_is_a_record() {
    let mut world = world();
    let mut exchange = world.start();
    let request = sign(head("GET", "/v1/x?q"), &context("team/worker", &[Provenance::User]), b"", "n");
    let Step::Decided(decision) = exchange.head(&mut world.around(), Ok(request), true) else { panic!() };
    let clearance = decision.clearance.unwrap();
    let exits = [Exit::Https];
    let leaving = |upstream| Leaving {
        exits: &exits,
        method: Some(b"GET"),
        authority: Some(b"eu.crm.example"),
        path: Some(b"/v1/x?q"),
        upstream: Some(upstream),
    };
    assert!(clearance.admit(&leaving("10.9.9.9:443")).is_ok());
    let objection = clearance.admit(&leaving("127.0.0.1:443")).unwrap_err();
    let configuration = Arc::clone(&world.configuration);
    let refusal = guard::refuse(
        configuration.gateway(),
        &mut world.journal,
        NOW,
        &[3; 32],
        Some(&clearance),
        &leaving("127.0.0.1:443"),
        objection,
    );
    assert_eq!(problem(&refusal)["condition"], "guard: the name resolved to an address of class loopback");
    exchange.end(&mut world.around(), End { guard: Some(GuardVerdict::Refused { decision: "00ff".into() }), ..end() });
    let records = world.records();
    let record = records.iter().find(|record| record["id"] == refusal.id.as_str()).unwrap();
    assert_eq!(record["follows"], decision.id.as_str());
    assert_eq!((&record["agent"], &record["binding"]), (&json!("team/worker"), &json!("request")));
    assert_eq!((&record["destination"]["path"], &record["destination"]["id"]), (&json!("/v1/x"), &json!("crm")));
    let completion = records.iter().find(|record| record["kind"] == "completion").unwrap();
    assert_eq!(completion["ending"], "refused");
}
