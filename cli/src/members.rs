//! What `exeat sign` and `exeat run` may say of a request or a session besides who the agent is.

use crate::sign::word;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance, SessionType};

/// Members of the context.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MemberArgs {
    /// Tenant.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Natural person acted for.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Where that person is.
    #[arg(long)]
    pub(crate) region: Option<String>,
    /// Role of the person; repeat for more.
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// Agent that handed on the work, originator first; repeat for more.
    #[arg(long, value_name = "AGENT")]
    pub(crate) delegated_by: Vec<String>,
    /// Destination category that may be used; repeat for more. Any unless given.
    #[arg(long = "scope", value_name = "CATEGORY")]
    scopes: Vec<String>,
    /// Tool through which calls are made.
    #[arg(long)]
    pub(crate) tool: Option<String>,
    /// How the session came about.
    #[arg(long, value_parser = word(SessionType::WORDS))]
    pub(crate) session_type: Option<SessionType>,
    /// Highest class of what may be sent.
    #[arg(long, value_parser = word(DataClass::WORDS))]
    pub(crate) data_class: Option<DataClass>,
    /// Where the content that leads to calls came from; repeat for more.
    #[arg(long, value_parser = word(Provenance::WORDS))]
    pub(crate) provenance: Vec<Provenance>,
    /// Why, in at most 256 characters.
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

impl MemberArgs {
    /// Destination categories, where any were given: none given is no restriction.
    pub(crate) fn scope(&self) -> Option<Vec<String>> {
        (!self.scopes.is_empty()).then(|| self.scopes.clone())
    }

    /// The context of an agent's session.
    pub(crate) fn fields(self, agent: String, session: String, attributes: Vec<(String, String)>) -> ContextFields {
        ContextFields {
            agent,
            session,
            gateway: None,
            scope: self.scope(),
            tenant: self.tenant,
            user: self.user,
            region: self.region,
            roles: self.roles,
            delegated_by: self.delegated_by,
            tool: self.tool,
            session_type: self.session_type,
            data_class: self.data_class,
            provenance: self.provenance,
            reason: self.reason,
            attributes,
        }
    }
}
