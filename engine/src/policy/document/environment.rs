//! `environments`: what differs between staging and production of one policy: where destinations are, whose keys count, the mode.

use super::policy::SignerKeyDocument;
use super::values::{Named, OneOrMany};
use crate::policy::Mode;
use serde::de::{self, Deserialize, Deserializer};

/// One environment. What it does not say is as everywhere.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvironmentDocument {
    /// Whether refusals are enforced where agent and rule say nothing.
    pub mode: Option<Mode>,
    /// Where destinations are.
    #[serde(default)]
    pub destinations: Named<PlaceDocument>,
    /// How signers are known.
    #[serde(default)]
    pub signers: Named<IdentityDocument>,
}

/// Where a destination is in an environment. Each key stands in place of that of the destination.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PlaceDocument {
    /// Host names, `*.name`, addresses, ranges.
    pub hosts: Option<OneOrMany<String>>,
    /// Addresses its names may resolve to although they are closed.
    pub addresses: Option<OneOrMany<String>>,
}

/// How a signer is known in an environment. Each key stands in place of that of the signer.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IdentityDocument {
    /// Public keys.
    pub keys: Option<Vec<SignerKeyDocument>>,
    /// SPIFFE id that the certificate of its connection must name.
    pub spiffe: Option<String>,
    /// Who issues its tokens.
    pub jwt: Option<IssuerDocument>,
}

/// Who issues a signer's tokens in an environment.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IssuerDocument {
    /// `iss` that they have.
    pub issuer: Option<String>,
    /// Trust domain of the SPIFFE id in `sub` (JWT-SVID).
    pub trust_domain: Option<String>,
    /// Audiences of which `aud` names one.
    pub audiences: Option<OneOrMany<String>>,
}

/// Overlays that were not resolved. A gateway has one environment, so its policy has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {}

impl<'de> Deserialize<'de> for Unresolved {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        const TEXT: &str = "a gateway reads the policy of one environment\n\
            give it what `exeat policy compile --env NAME` writes, which has these overlays in their places";
        Err(de::Error::custom(TEXT))
    }
}
