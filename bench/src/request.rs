//! A request as an agent's runtime sends it, taken through verification, policy and record.

use crate::curve;
use crate::stopwatch::Arm;
use ed25519_compact::{KeyPair, Seed};
use exeat_engine::context::sign::{ContextFields, SignatureInput, content_digest, required_components};
use exeat_engine::context::{
    AgentContext, DataClass, Expectations, Freshness, KeyRing, Provenance, SessionType, VerifiedContext, verify,
};
use exeat_engine::decision::Reason;
use exeat_engine::destination::{AddressClass, CanonicalDestination, PathOpenings, Scheme};
use exeat_engine::evidence::key::GatewayKey;
use exeat_engine::evidence::record::{
    Binding, DestinationReference, Ending, GuardVerdict, Outcome, PayloadReference, PolicyReference, Released,
};
use exeat_engine::evidence::{
    Capacity, Commitment, CompletionRecord, DecisionRecord, FieldOpening, GenesisRecord, Journal, ModuleReference,
    Origin,
};
use exeat_engine::exchange::{End, Exchange, Step, Surroundings};
use exeat_engine::facts::{Facts, Timestamp};
use exeat_engine::ledger::budgets;
use exeat_engine::ledger::names::{Charge, Charged, Mark};
use exeat_engine::ledger::{Ledger, NonceFingerprint, SessionName, Share, Spend, Unavailable};
use exeat_engine::payload::{Content, Reading};
use exeat_engine::policy::{Configuration, HeadVerdict, Mode, Payload, Subject, ValueMask, Verdict};
use exeat_engine::request::{Field, RequestHead};
use serde_json::json;
use std::hint::black_box;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(1_800_000_000_123);
const STARTED: Timestamp = Timestamp(1_799_999_000_000);
pub(crate) const GATEWAY: &str = "egress-eu-1";
const KEYID: &str = "k";
const AUTHORITY: &str = "eu.crm.acme.example";
const PATH: &[u8] = b"/v1/orders/7?expand=items";

/// Exchanges to a batch: what 1,000 requests a second make between two ticks.
const PER_BATCH: u64 = 100;

fn pair() -> KeyPair {
    KeyPair::from_seed(Seed::new([7; 32]))
}

/// The context of DESIGN section 3.
fn context() -> ContextFields {
    ContextFields {
        agent: "support/summarizer".into(),
        session: "s-8f2c".into(),
        gateway: Some(GATEWAY.into()),
        tenant: Some("acme".into()),
        user: Some("u-1042".into()),
        region: Some("eu".into()),
        roles: vec!["support".into()],
        delegated_by: vec!["support/planner".into()],
        scope: Some(vec!["crm".into(), "payments".into()]),
        tool: Some("crm.lookup".into()),
        session_type: Some(SessionType::Interactive),
        data_class: Some(DataClass::Confidential),
        provenance: vec![Provenance::User, Provenance::ThirdParty],
        reason: Some("look up order".into()),
        attributes: Vec::new(),
    }
}

/// A signed request, and what its signature is over.
fn signed(body: &[u8]) -> Result<(RequestHead, SignatureInput, Vec<u8>), String> {
    signed_to(AUTHORITY, body)
}

/// The key that the policy must name.
pub(crate) fn public_key() -> Result<String, String> {
    let public = exeat_engine::context::PublicKey::from_bytes(*pair().pk).map_err(|error| error.to_string())?;
    Ok(public.to_base64())
}

/// The same to some host.
pub(crate) fn signed_to(authority: &str, body: &[u8]) -> Result<(RequestHead, SignatureInput, Vec<u8>), String> {
    let mut fields: Vec<Field> = vec![
        ("accept".into(), "application/json".into()),
        ("user-agent".into(), "agent-runtime/3.1".into()),
        ("x-request-id".into(), "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0".into()),
        ("agent-context".into(), context().to_field().map_err(|error| error.to_string())?.into()),
    ];
    if !body.is_empty() {
        fields.push(("content-type".into(), "application/json".into()));
        fields.push(("content-length".into(), body.len().to_string().into()));
        fields.push(("content-digest".into(), content_digest(body).into()));
    }
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut head = RequestHead {
        method: method.into(),
        scheme: Some("http".into()),
        authority: authority.to_owned().into(),
        path: Some(PATH.into()),
        fields,
    };
    let components = required_components(&head, !body.is_empty());
    let mut input = SignatureInput::new(components, KEYID, NOW.seconds() as i64, "pBqyJ8xk3QeTn1VZ0d5uWg");
    input.expires = Some(NOW.seconds() as i64 + 60);
    let base = input.base(&head).map_err(|error| error.to_string())?;
    for (name, value) in input.lines(&*pair().sk.sign(&base, None)).map_err(|error| error.to_string())? {
        head.fields.push((name.into(), value.into()));
    }
    Ok((head, input, base))
}

fn verified(head: &RequestHead, keys: &KeyRing) -> Option<VerifiedContext> {
    let freshness = Freshness::default();
    verify(head, &Expectations { keys, gateway: GATEWAY, freshness, now: NOW, started: STARTED }).ok()
}

/// Verification whole and in parts.
pub(crate) fn verification() -> Result<Vec<Arm>, String> {
    let whole = |head: RequestHead, prepared: usize| -> Result<_, String> {
        let keys = curve::ring(*pair().pk, prepared)?;
        Ok(move || verified(black_box(&head), &keys).is_some())
    };
    let (head, input, base) = signed(b"")?;
    let (with_body, _, _) = signed(&[b'x'; 2048])?;
    let nobody = KeyRing::with_prepared_keys(0);
    let keys = curve::ring(*pair().pk, 1)?;
    let (parsed, based) = (head.clone(), head.clone());
    let lines = |name: &str| head.single(name).unwrap_or_default().to_vec();
    let (agent_context, signature_input, signature) =
        (lines("agent-context"), lines("signature-input"), lines("signature"));
    let bytes: [u8; 64] = *pair().sk.sign(&base, None);
    let dictionary = |line: Vec<u8>| move || sfv::Parser::new(black_box(&line)).parse::<sfv::Dictionary>().is_ok();
    Ok(vec![
        Arm::new("verification", "whole, GET", whole(head.clone(), 1)?),
        Arm::new("verification", "whole, POST with content-digest", whole(with_body, 1)?),
        Arm::new("verification", "whole, GET, by verify_strict", whole(head.clone(), 0)?),
        Arm::new("verification", "up to an unknown key: everything read", move || {
            verified(black_box(&parsed), &nobody).is_none()
        }),
        Arm::new("verification", "Agent-Context read", {
            let line = agent_context.clone();
            move || AgentContext::parse(black_box(&line)).is_ok()
        }),
        Arm::new("verification", "sfv alone: Agent-Context", dictionary(agent_context)),
        Arm::new("verification", "sfv alone: Signature-Input", dictionary(signature_input)),
        Arm::new("verification", "sfv alone: Signature", dictionary(signature)),
        Arm::new("verification", "signature base, parameters serialized", move || {
            input.base(black_box(&based)).is_ok()
        }),
        Arm::new("verification", "Ed25519 by combs, of that base", move || {
            keys.verify(KEYID, black_box(&base), black_box(&bytes))
        }),
    ])
}

fn configuration() -> Result<Arc<Configuration>, String> {
    let public = public_key()?;
    let document = json!({
        "role": "filter",
        "gateway": {
            "id": GATEWAY, "environment": "bench", "mode": "enforce", "key": {"env": "KEY"}, "hold": true,
            "collector": {"cluster": "c", "path": "/v1/evidence", "timeout": "2s"},
            "audit": {"delivery": "async", "queue": 65536, "when_full": "deny"},
            "upstream": {"scheme": "https"}, "feedback": "full"
        },
        "policy": {
            "schema": "exeat/v1", "revision": "1",
            "signers": [{"id": "runtime", "keys": [{"id": KEYID, "public": public}], "agents": ["support/*"],
                         "tenants": ["acme"], "users": ["u-*"], "tools": ["crm.*"], "provenance": ["user", "third-party", "unknown"]}],
            "destinations": {
                "crm": {"hosts": ["*.crm.acme.example"], "kind": "internal", "category": "crm", "accepts": "restricted"},
                "search": {"hosts": ["search.example"], "kind": "external", "category": "search", "accepts": "public"}
            },
            "agents": {
                "support/planner": {"allow": [{"id": "crm", "to": ["crm"], "paths": ["/v1/**"]}]},
                "support/summarizer": {"allow": [
                    {"id": "search", "to": ["search"], "methods": ["GET"], "paths": ["/q"]},
                    {"id": "read", "to": ["crm"], "methods": ["GET", "POST"], "paths": ["/v1/orders/**"],
                     "headers": {"keep": ["x-request-id"], "set": {"x-agent": "$agent"}},
                     "limits": {"body": "64KiB", "provenance": {"third-party": {"body": "16KiB", "url": "256B"}}}}
                ]}
            }
        }
    });
    Configuration::accept(document.to_string().as_bytes()).map(Arc::new).map_err(|error| error.to_string())
}

/// Destination and policy.
pub(crate) fn judgement() -> Result<Vec<Arm>, String> {
    let configuration = configuration()?;
    let read = || {
        CanonicalDestination::parse(
            black_box(AUTHORITY.as_bytes()),
            Some(black_box(PATH)),
            Scheme::Https,
            PathOpenings::default(),
        )
    };
    let destination = read().map_err(|error| error.to_string())?;
    let (head, ..) = signed(b"")?;
    let context = verified(&head, configuration.policy().keys()).ok_or("the request does not verify")?.context;
    let judged = Arc::clone(&configuration);
    let judge = move || {
        let subject = Subject { context: &context, signer: 0, binding: Binding::Request, peer: None };
        judged.policy().judge_head(&subject, black_box(&destination), "GET", NOW)
    };
    let candidates = match judge() {
        HeadVerdict::Open(candidates) => candidates,
        HeadVerdict::Refused(refusal) => return Err(format!("the policy refuses the request: {refusal:?}")),
    };
    let fields = head.fields;
    Ok(vec![
        Arm::new("judgement", "destination made canonical", move || read().is_ok()),
        Arm::new("judgement", "policy: head", move || matches!(judge(), HeadVerdict::Open(_))),
        Arm::new("judgement", "policy: payload", move || {
            let payload = Payload {
                body: 0,
                url: PATH.len() as u64,
                fields: black_box(&fields),
                query: None,
                content: Content::Known(&Reading::Empty),
            };
            matches!(candidates.judge_payload(&payload), Verdict::Allowed(_))
        }),
    ])
}

/// A ledger to which every nonce is new, so that one signed request serves for all exchanges.
struct AlwaysFresh;

impl Ledger for AlwaysFresh {
    fn spend_nonce(&mut self, _: Share<'_>, _: NonceFingerprint, _: Timestamp, _: Timestamp) -> Spend {
        Spend::Fresh
    }

    fn charge_names(&mut self, _: &Charge<'_>, _: Timestamp) -> Charged {
        Charged::Within
    }

    fn charge_budgets(&mut self, _: &budgets::Charge<'_>, _: Timestamp) -> budgets::Charged {
        budgets::Charged::Within
    }

    fn quarantined(&mut self, _: &SessionName<'_>, _: Timestamp) -> Result<Option<Timestamp>, Unavailable> {
        Ok(None)
    }

    fn quarantine(&mut self, _: &SessionName<'_>, _: Timestamp, _: Timestamp) -> Result<(), Unavailable> {
        Err(Unavailable)
    }

    fn meet(&mut self, _: Share<'_>, _: Mark) -> Option<bool> {
        Some(false)
    }
}

fn journal() -> Result<Journal, String> {
    let genesis = GenesisRecord {
        origin: Origin::new(GATEWAY, "b", "1").map_err(|error| error.to_string())?,
        time: NOW,
        start: STARTED,
        environment: None,
        deployment: None,
        module: ModuleReference::default(),
        previous: None,
    };
    let capacity = Capacity { records: 1 << 20, bytes: 1 << 30 };
    Journal::new(&genesis, GatewayKey::from_seed([1; 32]), capacity).map_err(|error| error.to_string())
}

/// Seals what is queued and takes it as acknowledged.
fn drain(journal: &mut Journal) -> bool {
    let Some(batch) = journal.next_batch(NOW, 1024, 1 << 20, &[]) else { return true };
    let head = batch.head().clone();
    journal.acknowledged(&head).is_ok()
}

/// Whole exchanges, and their records alone.
pub(crate) fn exchanges() -> Result<Vec<Arm>, String> {
    Ok(vec![
        Arm::new("exchange", "allowed, no body: head to completion, with its share of a batch", exchange(Vec::new())?),
        Arm::new("exchange", "allowed, 2 KiB body: the same", exchange(vec![b'x'; 2048])?),
        Arm::new("exchange", "of it: the head copied (the host's part)", {
            let (head, ..) = signed(b"")?;
            move || !black_box(&head).clone().fields.is_empty()
        }),
        Arm::new("recording", "decision and completion", recording(u64::MAX)?),
        Arm::new("recording", "decision and completion, with their share of a batch", recording(PER_BATCH)?),
    ])
}

fn exchange(body: Vec<u8>) -> Result<impl FnMut() -> bool, String> {
    let (head, ..) = signed(&body)?;
    exchange_under(configuration()?, vec![head], body)
}

/// Whole exchanges under a configuration, these requests in turn.
pub(crate) fn exchange_under(
    configuration: Arc<Configuration>,
    heads: Vec<RequestHead>,
    body: Vec<u8>,
) -> Result<impl FnMut() -> bool, String> {
    let mut journal = journal()?;
    let mut count = 0_u64;
    Ok(move || {
        count += 1;
        let mut random = [0; 32];
        random.iter_mut().zip(count.to_le_bytes()).for_each(|(to, from)| *to = from);
        let facts = Facts { now: NOW, started: STARTED, random, ..Facts::default() };
        let mut exchange = Exchange::new(Arc::clone(&configuration), facts);
        let mut around = Surroundings { now: NOW, ledger: &mut AlwaysFresh, journal: &mut journal };
        let Some(head) = usize::try_from(count).ok().and_then(|n| heads.get(n % heads.len())) else { return false };
        let mut step = exchange.head(&mut around, Ok(head.clone()), body.is_empty());
        if let Step::NeedBody { .. } = step {
            step = exchange.body(&mut around, black_box(&body), true);
        }
        let Step::Decided(decision) = step else { return false };
        let end = End {
            guard: Some(passed()),
            status: Some(200),
            response_bytes: 512,
            attempts: Some(1),
            upstream: Some("192.0.2.7:443".to_owned()),
            sent: true,
            ending: Ending::Complete,
        };
        exchange.end(&mut around, end);
        let sealed = !count.is_multiple_of(PER_BATCH) || drain(&mut journal);
        decision.outcome == Outcome::Allow && sealed
    })
}

fn recording(per_batch: u64) -> Result<impl FnMut() -> bool, String> {
    let mut journal = journal()?;
    let (mut decision, openings) = decision();
    let mut completion = completion();
    let mask = ValueMask::default();
    let mut count = 0_u64;
    Ok(move || {
        count += 1;
        // As long as a real one, and made more cheaply.
        let id = format!("{count:032x}");
        decision.id.clone_from(&id);
        completion.decision = id;
        let appended = journal.append_decision(black_box(&decision), openings.clone(), &mask).is_ok()
            && journal.append_completion(black_box(&completion)).is_ok();
        let due = count.is_multiple_of(per_batch) || (per_batch == u64::MAX && count.is_multiple_of(1 << 16));
        appended && (!due || drain(&mut journal))
    })
}

fn decision() -> (DecisionRecord, Vec<FieldOpening>) {
    let text = |text: &str| Some(text.to_owned());
    let digest = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let user = Commitment::new("user", "u-1042", [1; 16]);
    let stated_reason = Commitment::new("stated_reason", "look up order", [2; 16]);
    let record = DecisionRecord {
        id: String::new(),
        time: NOW,
        created: Some(NOW.seconds() as i64),
        gateway: GATEWAY.to_owned(),
        environment: text("bench"),
        deployment: None,
        policy: Some(PolicyReference { revision: "1".to_owned(), digest: format!("sha256:{:064x}", 7), change: None }),
        mode: Mode::Enforce,
        outcome: Outcome::Allow,
        reason: Reason::Permitted,
        rule: text("support/summarizer/read"),
        exception: None,
        condition: None,
        follows: None,
        released: Released::HeadAndBody,
        binding: Some(Binding::Request),
        signer: text("runtime"),
        key: text(KEYID),
        peer: None,
        source: text("192.0.2.1:40000"),
        agent: text("support/summarizer"),
        session: text("s-8f2c"),
        tenant: text("acme"),
        user: Some(user.text),
        roles: vec!["support".to_owned()],
        region: text("eu"),
        delegated_by: vec!["support/planner".to_owned()],
        scope: Some(vec!["crm".to_owned(), "payments".to_owned()]),
        tool: text("crm.lookup"),
        session_type: text("interactive"),
        data_class: text("confidential"),
        provenance: vec!["user".to_owned(), "third-party".to_owned()],
        stated_reason: Some(stated_reason.text),
        attributes: std::collections::BTreeMap::new(),
        destination: DestinationReference {
            id: text("crm"),
            kind: text("internal"),
            category: text("crm"),
            host: text("eu.crm.acme.example"),
            port: Some(443),
            method: text("GET"),
            path: text("/v1/orders/7"),
            query_digest: text("hmac-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        },
        parameters: Vec::new(),
        payload: PayloadReference::default(),
        first_seen: None,
        quarantined_until: None,
        request_id: text("0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"),
        traceparent: None,
        signature_base: text(digest),
    };
    (record, vec![user.opening, stated_reason.opening])
}

fn passed() -> GuardVerdict {
    GuardVerdict::Passed { address: "192.0.2.7:443".to_owned(), class: AddressClass::Documentation }
}

fn completion() -> CompletionRecord {
    CompletionRecord {
        decision: String::new(),
        time: NOW,
        received_bytes: 0,
        received_digest: None,
        forwarded_bytes: 0,
        forwarded_digest: None,
        attempts: Some(1),
        guard: Some(passed()),
        upstream: Some("192.0.2.7:443".to_owned()),
        status: Some(200),
        response_bytes: 512,
        duration: 12,
        ending: Ending::Complete,
    }
}
