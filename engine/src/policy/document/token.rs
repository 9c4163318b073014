//! `jwt` of a signer: bearer tokens in place of signed requests.

use super::values::{Duration, OneOrMany};
use serde::Deserialize;

/// How a signer's tokens come, and what they mean.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JwtDocument {
    /// Field that they come in. Absent: `authorization`.
    pub header: Option<String>,
    /// `iss` that they have. Absent, with a trust domain: any or none.
    pub issuer: Option<String>,
    /// Trust domain of the SPIFFE id in `sub` (JWT-SVID).
    pub trust_domain: Option<String>,
    /// Audiences of which `aud` names one.
    pub audiences: OneOrMany<String>,
    /// Which claim is which member of the context.
    pub claims: ClaimsDocument,
    /// Longest age by `iat`. Absent: `exp` alone decides.
    pub max_age: Option<Duration>,
}

/// Claims by the members of the context that they make: names at the top of the token, or JSON pointers. What has no
/// meaning here is not taken from tokens.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimsDocument {
    /// Agent. Absent: `sub`; `act`: the actor.
    pub agent: Option<String>,
    /// Session.
    pub session: String,
    /// Tenant.
    pub tenant: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Roles.
    pub roles: Option<String>,
    /// Scope.
    pub scope: Option<String>,
    /// Session type.
    pub session_type: Option<String>,
}
