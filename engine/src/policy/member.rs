//! Members of the context that are one text: what conditions, parameters and headers alike know by name.

use crate::context::AgentContext;

/// A member of the context that is one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextMember {
    Agent,
    Session,
    Tenant,
    User,
    Region,
    Tool,
}

impl TextMember {
    pub(crate) const ALL: [Self; 6] = [Self::Agent, Self::Session, Self::Tenant, Self::User, Self::Region, Self::Tool];

    /// The name of the member, as contexts write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Region => "region",
            Self::Tool => "tool",
        }
    }

    /// The member of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|member| member.name() == name)
    }

    /// Its value; `None` where the context lacks it.
    pub(crate) fn value(self, context: &AgentContext) -> Option<&str> {
        match self {
            Self::Agent => Some(&context.agent),
            Self::Session => Some(&context.session),
            Self::Tenant => context.tenant.as_deref(),
            Self::User => context.user.as_deref(),
            Self::Region => context.region.as_deref(),
            Self::Tool => context.tool.as_deref(),
        }
    }
}
