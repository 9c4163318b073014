//! `hold: false`: heads go before bodies, and bodies only when they are whole and as they must be.

use super::*;

fn world(edit: impl FnOnce(&mut Value)) -> World {
    let mut document = document();
    document["gateway"]["hold"] = json!(false);
    // Changes bodies, which takes a gateway that holds heads.
    document["policy"]["agents"].as_object_mut().unwrap().remove("team/reader");
    edit(&mut document["policy"]);
    let configuration =
        Configuration::accept(document.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    World { configuration: Arc::new(configuration), ..World::new() }
}

fn post(agent: &str, body: &[u8], fields: &[(&str, &str)], provenance: Provenance) -> RequestHead {
    let mut head = head("POST", "/v1/x");
    head.fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into())).collect();
    sign(head, &context(agent, &[provenance]), body, "n")
}

/// What the head came to, and where that let it go, what each piece of the body came to.
struct Played {
    head: Decision,
    body: Vec<Step>,
    records: Vec<Value>,
}

impl Played {
    fn play(world: &mut World, request: RequestHead, pieces: &[&[u8]], trailers: bool) -> Self {
        let mut exchange = world.start();
        let head = match exchange.head(&mut world.around(), Ok(request), false) {
            Step::Decided(decision) => *decision,
            step => panic!("undecided: {step:?}"),
        };
        let mut body = Vec::new();
        if matches!(head.verdict, Verdict::Forward(_)) {
            assert!(exchange.is_unheld());
            for (n, piece) in pieces.iter().enumerate() {
                let end = n + 1 == pieces.len() && !trailers;
                body.push(exchange.body(&mut world.around(), piece, end));
                if matches!(body.last(), Some(Step::Decided(_))) {
                    break;
                }
            }
            if trailers {
                body.push(exchange.trailers(&mut world.around()));
            }
            exchange.end(&mut world.around(), end());
        }
        Self { head, body, records: world.records() }
    }

    fn of(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["kind"] == kind).collect()
    }

    /// The reason for which the body was refused; `None`: it went on, whole.
    fn refused(&self) -> Option<Reason> {
        let (last, before) = self.body.split_last().unwrap();
        assert!(before.iter().all(|step| matches!(step, Step::NeedBody { .. })), "{:?}", self.body);
        let completion = self.of("completion")[0];
        match last {
            Step::Pass => {
                assert_eq!(completion["forwarded_bytes"], completion["received_bytes"]);
                assert_eq!((self.of("decision").len(), completion["ending"].as_str()), (1, Some("complete")));
                None
            }
            Step::Decided(decision) => {
                let Verdict::Refuse(answer) = &decision.verdict else { panic!("{decision:?}") };
                let body: Value = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(body["decision"], *decision.id);
                let second = self.of("decision")[1];
                assert_eq!(second["id"], *decision.id);
                assert_eq!((&second["follows"], &second["released"]), (&json!(self.head.id), &json!("none")));
                assert_eq!((&second["outcome"], &second["reason"]), (&json!("deny"), &json!(decision.reason.code())));
                assert_eq!((&completion["forwarded_bytes"], &completion["ending"]), (&json!(0), &json!("refused")));
                assert_eq!(completion["decision"], *self.head.id);
                Some(decision.reason)
            }
            step => panic!("{step:?}"),
        }
    }
}

const BODY: &[u8] = b"twenty bytes of body";

#[test]
fn the_head_goes_first_and_the_body_when_it_is_whole() {
    for announced in [true, false] {
        let mut world = world(|_| ());
        let fields: &[_] = if announced { &[("content-length", "20")] } else { &[] };
        let request = post("team/worker", BODY, fields, Provenance::User);
        let played = Played::play(&mut world, request, &[&BODY[..3], &BODY[3..], b""], false);
        assert_eq!((played.head.outcome, played.refused()), (Outcome::Allow, None));
        let decision = played.of("decision")[0];
        assert_eq!((&decision["released"], &decision["payload"]["bytes"]), (&json!("head"), &json!(0)));
        let completion = played.of("completion")[0];
        assert_eq!(completion["forwarded_bytes"], 20);
        assert_eq!(completion["forwarded_digest"], sha256_text(&Sha256::digest(BODY).into()));
    }
}

#[test]
fn a_request_without_a_body_is_judged_as_ever() {
    let mut world = world(|_| ());
    let decision = world.run(user_request("GET", "/v1/x", b"", "n"), b"", 1);
    assert_eq!(decision.outcome, Outcome::Allow);
    assert_eq!(world.decisions()[0]["released"], "head+body");
}

#[test]
fn a_body_that_is_not_as_it_must_be_goes_nowhere() {
    let large = vec![b'x'; 1025];
    let whole: &[(&str, &str)] = &[("content-length", "20")];
    let unannounced: &[(&str, &str)] = &[];
    for (signed, sent, fields, provenance, expected) in [
        (BODY, &b"twenty bytes of bodY"[..], whole, Provenance::User, Reason::DigestMismatch),
        (BODY, &BODY[..19], unannounced, Provenance::User, Reason::DigestMismatch),
        (BODY, &BODY[..19], whole, Provenance::User, Reason::RequestMalformed),
        (BODY, &b"twenty bytes of body!"[..], whole, Provenance::User, Reason::RequestMalformed),
        (b"", BODY, unannounced, Provenance::User, Reason::SignatureIncomplete),
        (&large, &large, unannounced, Provenance::User, Reason::PayloadTooLarge),
        (BODY, BODY, unannounced, Provenance::ThirdParty, Reason::PayloadProvenance),
    ] {
        for piece in [7, 4096] {
            let mut world = world(|_| ());
            let request = post("team/worker", signed, fields, provenance);
            let pieces: Vec<&[u8]> = sent.chunks(piece).collect();
            let played = Played::play(&mut world, request, &pieces, false);
            assert_eq!(played.refused(), Some(expected), "{sent:?} as {signed:?}");
        }
    }
}

#[test]
fn an_announced_length_counts_when_the_head_is_judged() {
    for (length, provenance, expected) in [
        ("1025", Provenance::User, Reason::PayloadTooLarge),
        ("11", Provenance::ThirdParty, Reason::PayloadProvenance),
        ("x", Provenance::User, Reason::RequestMalformed),
    ] {
        let mut world = world(|_| ());
        let request = post("team/worker", BODY, &[("content-length", length)], provenance);
        let played = Played::play(&mut world, request, &[], false);
        assert_eq!((played.head.outcome, played.head.reason), (Outcome::Deny, expected));
        assert_eq!(played.of("decision")[0]["released"], "none");
    }
}

#[test]
fn trailers_are_refused_and_recorded() {
    let mut world = world(|_| ());
    let request = post("team/worker", BODY, &[], Provenance::User);
    let played = Played::play(&mut world, request, &[BODY], true);
    assert_eq!(played.refused(), Some(Reason::RequestMalformed));
}

#[test]
fn a_client_that_goes_leaves_a_completion_that_says_nothing_went() {
    let mut world = world(|_| ());
    let mut exchange = world.start();
    let request = post("team/worker", BODY, &[], Provenance::User);
    let _ = exchange.head(&mut world.around(), Ok(request), false);
    let _ = exchange.body(&mut world.around(), &BODY[..5], false);
    exchange.end(&mut world.around(), End { ending: Ending::Reset, ..end() });
    let records = world.records();
    let completion = records.last().unwrap();
    assert_eq!((&completion["received_bytes"], &completion["forwarded_bytes"]), (&json!(5), &json!(0)));
    assert_eq!(completion["ending"], "reset");
}

/// In an allow rule it counts as unmet, in a deny rule as met; without a body it can be told.
#[test]
fn what_a_body_must_say_is_told_of_none() {
    let allow = |policy: &mut Value| {
        policy["agents"]["team/worker"]["allow"][0]["parameters"] = json!([{"at": "/a", "equals": 1}]);
    };
    let query = |policy: &mut Value| {
        policy["agents"]["team/worker"]["allow"][0]["parameters"] = json!([{"at": "?a", "absent": true}]);
    };
    let deny = |policy: &mut Value| {
        policy["agents"]["team/worker"]["deny"] =
            json!([{"id": "d", "to": ["crm"], "parameters": [{"at": "/a", "equals": 2}]}]);
    };
    let ceiling = |policy: &mut Value| {
        policy["ceilings"] = json!({"deny": [{"id": "d", "to": ["crm"], "parameters": [{"at": "/a", "equals": 2}]}]});
    };
    let models = |policy: &mut Value| policy["destinations"]["crm"]["models"] = json!(["m-1"]);
    let none = |_: &mut Value| ();
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let cases: [(Edit<'_>, Reason, Option<Reason>); 6] = [
        (&none, Reason::Permitted, Some(Reason::Permitted)),
        (&query, Reason::Permitted, Some(Reason::Permitted)),
        (&allow, Reason::PayloadUnreadable, None),
        (&deny, Reason::RuleDenied, Some(Reason::Permitted)),
        (&ceiling, Reason::RuleDenied, Some(Reason::Permitted)),
        (&models, Reason::PayloadUnreadable, Some(Reason::Permitted)),
    ];
    for (edit, with_body, without) in cases {
        let body = br#"{"a": 1, "model": "m-1"}"#;
        let mut first = world(edit);
        let request = post("team/worker", body, &[("content-type", "application/json")], Provenance::User);
        let played = Played::play(&mut first, request, &[body], false);
        assert_eq!(played.head.reason, with_body);
        if let Some(expected) = without {
            assert_eq!(world(edit).run(user_request("GET", "/v1/x", b"", "n"), b"", 1).reason, expected);
        }
    }
}

/// The rule that let the head go is the one that its body must fit: the headers that it set have gone.
#[test]
fn another_rule_does_not_take_over_the_body() {
    let mut world = world(|policy| {
        let allow = policy["agents"]["team/worker"]["allow"].as_array_mut().unwrap();
        allow[0]["limits"] = json!({"body": "10B"});
        let mut other = allow[0].clone();
        (other["id"], other["paths"], other["limits"]) = (json!("wide"), json!(["/**"]), json!({"body": "1KiB"}));
        allow.push(other);
    });
    let request = post("team/worker", BODY, &[], Provenance::User);
    let played = Played::play(&mut world, request, &[BODY], false);
    assert_eq!(played.refused(), Some(Reason::PayloadTooLarge));
    // An announced length chooses the rule.
    let request = post("team/worker", BODY, &[("content-length", "20")], Provenance::User);
    let mut world = World { configuration: Arc::clone(&world.configuration), ..World::new() };
    let played = Played::play(&mut world, request, &[BODY], false);
    assert_eq!((played.refused(), &played.of("decision")[0]["rule"]), (None, &json!("team/worker/wide")));
}

#[test]
fn budgets_are_charged_for_the_body_once() {
    for announced in [true, false] {
        let mut world = world(|policy| {
            policy["agents"]["team/worker"]["allow"][0]["limits"] = json!({"body": "1KiB", "bytes": "200B/session"});
        });
        let fields: &[_] = if announced { &[("content-length", "60")] } else { &[] };
        let body = [b'x'; 60];
        let mut reasons = Vec::new();
        for n in 0..4 {
            let mut head = head("POST", "/v1/x");
            head.fields = fields.iter().map(|(n, v): &(&str, &str)| ((*n).into(), (*v).to_owned().into())).collect();
            let request = sign(head, &context("team/worker", &[Provenance::User]), &body, &n.to_string());
            let mut exchange = world.start();
            let mut step = exchange.head(&mut world.around(), Ok(request), false);
            if matches!(&step, Step::Decided(decision) if matches!(decision.verdict, Verdict::Forward(_))) {
                step = exchange.body(&mut world.around(), &body, true);
            }
            reasons.push(match step {
                Step::Pass => Reason::Permitted,
                Step::Decided(decision) => decision.reason,
                step => panic!("{step:?}"),
            });
        }
        let permitted = reasons.iter().take_while(|reason| **reason == Reason::Permitted).count();
        assert!((1..4).contains(&permitted), "{reasons:?}");
        assert!(reasons[permitted..].iter().all(|reason| *reason == Reason::BudgetBytes), "{reasons:?}");
    }
}

/// Identity holds in monitor mode as well; the policy is only observed, and a large body does not wait for its end.
#[test]
fn monitor_mode_lets_go_what_was_signed() {
    let mut watched = world(|_| ());
    let request = post("team/watched", BODY, &[], Provenance::User);
    let played = Played::play(&mut watched, request.clone(), &[BODY], false);
    assert_eq!((played.head.outcome, played.refused()), (Outcome::WouldDeny, None));
    let played = Played::play(&mut world(|_| ()), request, &[b"another body, longer"], false);
    assert_eq!(played.refused(), Some(Reason::DigestMismatch));

    let large = vec![b'x'; (MONITOR_HOLD + 10) as usize];
    for (last, ending) in [(&b"x"[..], "complete"), (b"y", "reset")] {
        let mut world = world(|_| ());
        let signed = [&large[..], b"x"].concat();
        let mut exchange = world.start();
        let request = post("team/watched", &signed, &[], Provenance::User);
        let _ = exchange.head(&mut world.around(), Ok(request), false);
        let (first, second) = large.split_at(1000);
        assert!(matches!(exchange.body(&mut world.around(), first, false), Step::NeedBody { .. }));
        assert!(matches!(exchange.body(&mut world.around(), second, false), Step::Pass));
        let step = exchange.body(&mut world.around(), last, true);
        assert_eq!(matches!(step, Step::Pass), ending == "complete", "{step:?}");
        exchange.end(&mut world.around(), end());
        assert_eq!(world.records().last().unwrap()["ending"], ending);
    }
}

/// A rule that is only watched: what its body is found to be is recorded beside, once.
#[test]
fn what_is_observed_of_a_body_follows() {
    let mut world = world(|policy| {
        policy["agents"]["team/worker"]["allow"][0]["mode"] = json!("monitor");
        policy["agents"]["team/worker"]["allow"][0]["limits"] = json!({"body": "10B"});
    });
    let request = post("team/worker", BODY, &[], Provenance::User);
    let played = Played::play(&mut world, request, &[&BODY[..12], &BODY[12..]], false);
    assert!(matches!(played.body.last(), Some(Step::Pass)));
    let decisions = played.of("decision");
    assert_eq!(decisions.len(), 2);
    assert_eq!((&decisions[0]["outcome"], &decisions[1]["outcome"]), (&json!("allow"), &json!("would-deny")));
    assert_eq!(
        (&decisions[1]["follows"], &decisions[1]["reason"]),
        (&json!(played.head.id), &json!("payload-too-large"))
    );
    assert_eq!(played.of("completion")[0]["forwarded_bytes"], 20);
}

#[test]
fn write_ahead_holds_the_head_as_well() {
    let mut document = document();
    document["gateway"]["hold"] = json!(false);
    document["gateway"]["audit"] = json!({"delivery": "write-ahead"});
    document["policy"]["agents"].as_object_mut().unwrap().remove("team/reader");
    let configuration = Configuration::accept(document.to_string().as_bytes()).unwrap();
    let mut world = World { configuration: Arc::new(configuration), ..World::new() };
    let mut exchange = world.start();
    let request = post("team/worker", BODY, &[], Provenance::User);
    assert!(matches!(exchange.head(&mut world.around(), Ok(request), false), Step::Wait(_)));
    assert!(exchange.is_unheld());
    world.records();
    let Step::Decided(decision) = exchange.resume(&mut world.around()) else { panic!("undecided") };
    assert!(matches!(decision.verdict, Verdict::Forward(_)));
    assert!(matches!(exchange.body(&mut world.around(), BODY, true), Step::Pass));
}

#[test]
fn a_rule_that_changes_bodies_is_refused() {
    let mut document = document();
    document["gateway"]["hold"] = json!(false);
    document["policy"]["agents"]["team/worker"]["allow"][0]["tokenize"] = json!(["/b"]);
    let errors = Configuration::examine(document.to_string().as_bytes()).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let of = |place: &str| {
        format!(
            "policy: /agents/{place}: the body cannot be changed once its head has gone; write hold: true where the host can \
             hold heads (allow_on_headers_stop_iteration), or remove this key (gateway.hold is false: the head goes before the body came)"
        )
    };
    let mut expected = [of("team~1worker/allow/0/tokenize"), of("team~1reader/allow/0/redact")];
    expected.sort_by_key(|text| said.iter().position(|own| own == text));
    assert_eq!(said, expected);
}

#[test]
fn a_held_head_whose_body_is_never_handed_over_is_refused() {
    let mut world = World::new();
    let mut exchange = world.start();
    assert!(exchange.starve(&mut world.around()).is_none(), "nothing is waited for");
    let request = post("team/worker", BODY, &[], Provenance::User);
    assert!(matches!(exchange.head(&mut world.around(), Ok(request), false), Step::NeedBody { .. }));
    let Some(Step::Decided(decision)) = exchange.starve(&mut world.around()) else { panic!("it waits") };
    assert_eq!((decision.outcome, decision.reason), (Outcome::Deny, Reason::InternalError));
    assert!(world.decisions()[0]["condition"].as_str().unwrap().contains("hold: false"));
    assert!(exchange.starve(&mut world.around()).is_none());
}
