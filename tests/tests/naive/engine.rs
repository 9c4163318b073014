//! The same request before the engine.

use super::ask::Ask;
use super::evaluate::Decision;
use exeat_engine::context::AgentContext;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::destination::{Authority, CanonicalDestination};
use exeat_engine::evidence::record::Binding;
use exeat_engine::facts::Timestamp;
use exeat_engine::payload::Content;
use exeat_engine::policy::{Configuration, HeadVerdict, Mode, Payload, Refusal, Subject, Verdict};
use exeat_engine::request::Field;
use serde::de::DeserializeOwned;

pub(crate) fn decide(configuration: &Configuration, ask: &Ask) -> Decision {
    let policy = configuration.policy();
    let context = AgentContext::parse(context(ask).as_bytes()).unwrap();
    let signer = policy.signers().position(|signer| signer.id() == ask.signer).unwrap();
    let binding = if ask.binding == "request" { Binding::Request } else { Binding::Session };
    let subject = Subject { context: &context, signer, binding, peer: None };
    let authority = match ask.port {
        Some(port) => format!("{}:{port}", bracketed(&ask.host)),
        None => bracketed(&ask.host),
    };
    let mut authority = Authority::parse(authority.as_bytes()).unwrap();
    let outlet = policy.outlet(&authority.host, authority.port);
    authority.port = Some(outlet.port);
    let target = ask.target();
    let destination =
        CanonicalDestination::new(authority, outlet.scheme, Some(target.as_bytes()), outlet.paths).unwrap();
    let fields: Vec<Field> =
        ask.fields.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect();
    let verdict = match policy.judge_head(&subject, &destination, &ask.method, Timestamp(ask.now)) {
        HeadVerdict::Refused(refusal) => Verdict::Refused(refusal),
        HeadVerdict::Open(candidates) => {
            let (body, url) = (ask.body.len() as u64, target.len() as u64);
            let reading = candidates.read(&fields, ask.body.as_bytes());
            let (query, content) = (destination.query.as_deref(), Content::Known(&reading));
            candidates.judge_payload(&Payload { body, url, fields: &fields, query, content })
        }
    };
    match verdict {
        Verdict::Allowed(grant) => Decision {
            outcome: "allow",
            reason: "permitted".to_owned(),
            rule: Some(grant.rule().to_owned()),
            condition: None,
            destination: Some(grant.destination().id().to_owned()),
        },
        Verdict::Refused(Refusal { reason, rule, condition, mode, destination }) => Decision {
            outcome: if mode == Mode::Enforce { "deny" } else { "would-deny" },
            reason: reason.code().to_owned(),
            rule,
            condition,
            destination: destination.map(|destination| destination.id().to_owned()),
        },
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn context(ask: &Ask) -> String {
    fn word<T: DeserializeOwned>(text: &str) -> T {
        serde_json::from_value(text.into()).unwrap()
    }
    let text = |text: &String| exeat_engine::context::sign::string("attribute", text).unwrap();
    ContextFields {
        agent: ask.agent.clone(),
        session: ask.session.clone(),
        gateway: None,
        tenant: ask.tenant.clone(),
        user: ask.user.clone(),
        region: ask.region.clone(),
        roles: ask.roles.clone(),
        delegated_by: ask.delegated_by.clone(),
        scope: ask.scope.clone(),
        tool: ask.tool.clone(),
        session_type: ask.session_type.map(word),
        data_class: ask.data_class.map(word),
        provenance: ask.provenance.iter().map(|source| word(source)).collect(),
        reason: None,
        attributes: ask.attributes.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
    }
    .to_field()
    .unwrap()
}
