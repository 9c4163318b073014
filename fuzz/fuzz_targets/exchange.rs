//! Whole requests, of agents that have a signer: whatever they send, and however it comes in pieces, what goes on is what was signed
//! and what the policy says, stands in the log first, and is the same however it was cut.
#![no_main]

use exeat_engine::destination::Authority;
use exeat_engine::evidence::record::Outcome;
use exeat_engine::exchange::{Exchange, Step, Surroundings, Verdict, Wait};
use exeat_engine::policy::headers::is_reserved;
use exeat_engine::request::{Field, RequestHead};
use exeat_fuzz::request::{Headers, Request, request};
use exeat_fuzz::world::{Kind, THIRD_PARTY, WORKER_BODY, World, end};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::collections::BTreeMap;

fuzz_target!(|data: &[u8]| {
    let mut input = Unstructured::new(data);
    let _ = if input.arbitrary().unwrap_or(false) { cuts(&mut input) } else { orders(&mut input) };
});

/// Holds what goes on against what was signed, and what the policy says in one sentence for each agent.
fn check(request: &Request, headers: &Headers, outcome: Outcome) {
    let head = request.head.as_ref().expect("what has no head goes nowhere");
    let one = |name: &str| {
        let mut values = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_ref());
        let first = values.next();
        assert!(values.next().is_none(), "{name} twice");
        first
    };
    assert_eq!(one(":method"), Some(head.method.as_ref()));
    assert_eq!(one(":path"), head.path.as_deref());
    assert!(head.method != "CONNECT" || head.path.as_ref().is_none_or(|path| path.is_empty()), "a tunnel with a path");
    let authority = Authority::parse(one(":authority").expect("an authority")).expect("one that can be read");
    let sent = Authority::parse(&head.authority).expect("one that could be read");
    assert_eq!(authority.host, sent.host);
    let (signed, _) = request.signed.as_ref().expect("nobody signed it");
    // An empty path is signed as `/` (RFC 9421 section 2.2.6), that of a CONNECT as none.
    let path = |head: &RequestHead| match head.path.as_deref() {
        Some(b"") => (head.method != "CONNECT").then(|| b"/".to_vec()),
        path => path.map(<[u8]>::to_vec),
    };
    assert_eq!((&head.method, path(head)), (&signed.method, path(signed)));
    assert_eq!(Ok(&sent.host), Authority::parse(&signed.authority).as_ref().map(|signed| &signed.host));
    assert!(head.values("agent-context").eq(signed.values("agent-context")));
    for (name, value) in headers {
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' '), "{name:?}");
        assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}: {value:?}");
        // An upgrade goes on as one.
        let upgrade = ["connection", "upgrade"].contains(&&**name) && request.agent == "team/tunnel";
        // The gateway's own.
        let own = name == "x-forwarded-proto" && one(name) == Some(b"https");
        assert!(name.starts_with(':') || own || upgrade || !is_reserved(name), "{name} goes on");
    }
    if outcome != Outcome::Allow {
        assert_eq!((request.agent, outcome), ("team/watched", Outcome::WouldDeny));
        return;
    }
    let (host, path) = (authority.host.to_string(), String::from_utf8_lossy(head.path.as_deref().unwrap_or_default()));
    let (method, crm) = (head.method.as_ref(), host.ends_with(".crm.example"));
    let read = crm && path.starts_with("/v1/") && authority.port.is_none_or(|port| port == 443);
    match request.agent {
        "team/worker" => {
            assert!(read && [b"GET".as_slice(), b"POST"].contains(&method));
            assert!(!path.to_ascii_lowercase().contains("admin"));
            assert!(!request.third_party || path.len() <= THIRD_PARTY.1);
            for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
                match &**name {
                    "x-agent" => assert_eq!(value, "team/worker"),
                    "user-agent" => assert!(value.starts_with(b"exeat/")),
                    "x-kept" | "x-forwarded-proto" => {}
                    // Of what goes on by itself (docs/policy.md) these are sent here.
                    "content-encoding" | "content-length" | "content-type" => {}
                    other => panic!("{other} goes on"),
                }
            }
        }
        "team/watched" => assert!(read && [b"GET".as_slice(), b"HEAD"].contains(&method)),
        "team/reader" => assert!(read && method == b"POST"),
        "team/tunnel" => assert!(host == "raw.example" && [b"GET".as_slice(), b"CONNECT"].contains(&method)),
        other => panic!("{other} has no rule"),
    }
}

/// One request under one gateway, its body in pieces that end at these places; what went on of it.
fn play(kind: Kind, request: &Request, cuts: &[usize], trailers: bool) -> Option<(Headers, Vec<u8>)> {
    let mut world = World::new(kind, 64);
    let (mut exchange, mut forwarded) = (world.start(), None);
    let (mut left, mut from, mut refused) = (Vec::new(), 0, false);
    let mut pieces = Vec::new();
    for cut in cuts.iter().copied().filter(|cut| *cut < request.body.len()).chain([request.body.len()]) {
        if cut > from || cut == request.body.len() {
            pieces.push(&request.body[from.min(cut)..cut]);
            from = cut;
        }
    }
    let bodiless = request.body.is_empty() && !trailers;
    let mut step = exchange.head(&mut world.around(), request.head.clone(), bodiless);
    // Pieces that are held back by somebody.
    let mut held: Vec<u8> = Vec::new();
    let mut pieces = pieces.into_iter().peekable();
    loop {
        match step {
            Step::Decided(decision) => match decision.verdict {
                Verdict::Forward(headers) => {
                    assert!(!refused && forwarded.is_none());
                    check(request, &headers, decision.outcome);
                    left.extend(decision.body.unwrap_or_else(|| std::mem::take(&mut held)));
                    held.clear();
                    forwarded = Some((headers, decision.outcome));
                    // Of a tunnel or with `hold: false` more is to come, which is held until it is passed.
                }
                Verdict::Refuse(answer) => {
                    assert!((400..600).contains(&answer.status));
                    refused = true;
                    break;
                }
            },
            Step::Pass => {
                assert!(forwarded.is_some());
                left.append(&mut held);
            }
            Step::NeedBody { .. } => {}
            Step::Abort => {
                refused = true;
                break;
            }
            Step::Wait(_) => panic!("nothing waits"),
        }
        let Some(piece) = pieces.next().filter(|_| !bodiless) else { break };
        let last = pieces.peek().is_none();
        held.extend_from_slice(piece);
        step = exchange.body(&mut world.around(), piece, last && !trailers);
        if last && trailers && !matches!(step, Step::Abort) {
            if let Step::Pass = step {
                left.append(&mut held);
            }
            step = exchange.trailers(&mut world.around());
            assert!(!matches!(step, Step::Pass), "trailers go on");
        }
    }
    exchange.end(&mut world.around(), end());
    let records = world.records();
    let of = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let (decisions, completions) = (of("decision"), of("completion"));
    assert!(!decisions.is_empty() || (!refused && forwarded.is_none()), "nothing is recorded");
    assert_eq!(completions.len(), usize::from(forwarded.is_some()));
    let Some((headers, outcome)) = forwarded else {
        assert!(decisions.iter().all(|record| record["released"] == "none"));
        return None;
    };
    assert_ne!(decisions[0]["released"], "none");
    let completion = completions[0];
    let enforced = outcome == Outcome::Allow;
    if refused {
        assert_ne!(completion["ending"], "complete");
    } else if request.agent != "team/reader" && !matches!(step_of(&headers), Stream::Yes) {
        assert_eq!(completion["forwarded_bytes"], left.len(), "{completion}");
        assert!(!enforced || left == request.body);
        assert!(request.signed.iter().all(|(_, body)| *body == left), "another body than was signed");
    }
    if enforced && request.agent == "team/worker" {
        assert!(left.len() <= if request.third_party { THIRD_PARTY.0 } else { WORKER_BODY });
    }
    (!refused).then_some((headers, left))
}

enum Stream {
    Yes,
    No,
}

fn step_of(headers: &Headers) -> Stream {
    let stream = |(name, value): &Field| name == "upgrade" || (name == ":method" && value == "CONNECT");
    if headers.iter().any(stream) { Stream::Yes } else { Stream::No }
}

/// However a request is cut, the same goes on.
fn cuts(input: &mut Unstructured<'_>) -> Result<()> {
    let hold = if input.ratio(1, 3)? { Kind::LetsGo } else { Kind::Holds };
    let request = request(input, 0)?;
    let mut cuts = Vec::new();
    while cuts.len() < 6 && input.ratio(3, 4)? {
        cuts.push(input.int_in_range(0..=request.body.len())?);
    }
    cuts.sort_unstable();
    let whole = play(hold, &request, &[], false);
    let pieces = play(hold, &request, &cuts, false);
    let stream = whole.iter().any(|(headers, _)| matches!(step_of(headers), Stream::Yes));
    if !stream {
        assert_eq!(whole, pieces, "cut at {cuts:?}");
        let trailers = input.ratio(1, 4)?;
        assert!(!trailers || play(hold, &request, &cuts, true).is_none(), "a request with trailers went on");
    }
    if let Some((headers, body)) = whole.filter(|_| request.agent == "team/reader") {
        let length = headers.iter().find(|(name, _)| name == "content-length");
        assert!(length.is_none_or(|(_, value)| *value == body.len().to_string().into_bytes()));
        let secrets = [&b"secret-1"[..], b"secret-2", b"secret-3"];
        assert!(secrets.iter().all(|secret| !body.windows(8).any(|window| window == *secret)), "{body:?}");
    }
    Ok(())
}

/// One exchange, and what it was seen to do.
struct Seen {
    exchange: Exchange,
    request: Option<Request>,
    /// The size of the log that it waited for.
    waits: Option<u64>,
    forwarded: Option<bool>,
}

impl Seen {
    /// `size`: that of the log before and after the step, and what the collector has of it.
    fn step(&mut self, step: Step, kind: Kind, size: (u64, u64, u64)) {
        match step {
            Step::Decided(decision) => match decision.verdict {
                Verdict::Forward(headers) => {
                    assert_eq!(self.forwarded, None, "decided twice");
                    assert!(size.1 > size.0 || self.waits.is_some(), "let go before there was a record");
                    assert_eq!(self.waits.is_some(), kind == Kind::Waits);
                    assert!(self.waits.is_none_or(|waits| waits <= size.2), "let go before its record was stored");
                    check(self.request.as_ref().expect("a head came"), &headers, decision.outcome);
                    self.forwarded = Some(true);
                }
                // With `hold: false`, and of tunnels, a refusal may follow.
                Verdict::Refuse(_) => _ = self.forwarded.get_or_insert(false),
            },
            Step::Pass => assert_eq!(self.forwarded, Some(true), "passed on what was not let go"),
            Step::NeedBody { .. } | Step::Abort => {}
            Step::Wait(Wait::Acknowledged { size: waits }) => {
                assert!(kind == Kind::Waits && self.waits.is_none_or(|known| known == waits) && waits <= size.1);
                self.waits = Some(waits);
            }
            Step::Wait(other) => panic!("{other:?}"),
        }
    }
}

/// Whatever order a host calls in, with three requests at once: each is recorded as what it was.
fn orders(input: &mut Unstructured<'_>) -> Result<()> {
    let kind = *input.choose(&[Kind::Holds, Kind::LetsGo, Kind::Waits])?;
    let mut world = World::new(kind, if input.ratio(1, 4)? { 6 } else { 64 });
    let mut seen: Vec<Seen> =
        (0..3).map(|_| Seen { exchange: world.start(), request: None, waits: None, forwarded: None }).collect();
    let mut records: Vec<Value> = Vec::new();
    for nonce in 0..input.int_in_range(1..=16)? {
        let which = input.int_in_range(0..=2)?;
        let one: &mut Seen = &mut seen[which];
        let before = world.journal.size();
        let mut around: Surroundings<'_> = world.around();
        let step = match input.int_in_range(0..=11)? {
            0..=3 => {
                let (request, last) = (request(input, nonce)?, input.arbitrary()?);
                let step = one.exchange.head(&mut around, request.head.clone(), last);
                one.request.get_or_insert(request);
                step
            }
            4..=6 => {
                let body = one.request.as_ref().map(|request| request.body.clone()).unwrap_or_default();
                let end = input.int_in_range(0..=body.len())?;
                let start = input.int_in_range(0..=end)?;
                one.exchange.body(&mut around, &body[start..end], input.arbitrary()?)
            }
            7 => one.exchange.trailers(&mut around),
            8 => {
                one.exchange.end(&mut around, end());
                continue;
            }
            9 | 10 => one.exchange.resume(&mut around),
            _ => {
                // Sometimes the collector is slow.
                world.now = world.now.plus_millis(input.int_in_range(0..=3_000)?);
                if input.arbitrary()? {
                    records.extend(world.records());
                }
                continue;
            }
        };
        let after = world.journal.size();
        one.step(step, kind, (before, after, world.journal.acknowledged_size()));
    }
    for one in &mut seen {
        one.exchange.end(&mut world.around(), end());
    }
    records.extend(world.records());
    let mut of: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
    for record in &records {
        let (Some(kind), Some(id)) =
            (record["kind"].as_str(), record["id"].as_str().or_else(|| record["decision"].as_str()))
        else {
            continue;
        };
        of.entry((kind, id)).or_default().push(record);
    }
    for one in &seen {
        let id = one.exchange.id();
        let decisions = of.get(&("decision", id)).map_or(&[][..], Vec::as_slice);
        let released = decisions.iter().filter(|record| record["released"] != "none").count();
        assert!(decisions.len() <= 1);
        assert_eq!(released, usize::from(one.forwarded == Some(true) || one.waits.is_some()));
        let completions = of.get(&("completion", id)).map_or(&[][..], Vec::as_slice);
        assert_eq!(completions.len(), released);
        // What waited, and did not go.
        let gone = one.forwarded == Some(true);
        assert!(gone || completions.iter().all(|record| record["forwarded_bytes"] == 0), "{completions:?}");
    }
    Ok(())
}
