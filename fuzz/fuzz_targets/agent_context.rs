//! Any bytes as `Agent-Context`: what is read can be written, and reads the same again.
#![no_main]

use exeat_engine::context::AgentContext;
use exeat_engine::context::sign::ContextFields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(context) = AgentContext::parse(input) else { return };
    assert!(!context.agent.is_empty() && !context.session.is_empty() && !context.provenance.is_empty());
    let read = context.clone();
    let fields = ContextFields {
        agent: context.agent,
        session: context.session,
        gateway: context.gateway,
        tenant: context.tenant,
        user: context.user,
        region: context.region,
        roles: context.roles,
        delegated_by: context.delegated_by,
        scope: context.scope,
        tool: context.tool,
        session_type: context.session_type,
        data_class: context.data_class,
        provenance: context.provenance,
        reason: context.reason,
        attributes: context.attributes.into_iter().collect(),
    };
    // Escapes and absent members written out can make the canonical text longer than what may be read.
    if let Ok(text) = fields.to_field() {
        assert_eq!(AgentContext::parse(text.as_bytes()), Ok(read));
    } else {
        assert!(input.len() > 8 * 1024);
    }
});
