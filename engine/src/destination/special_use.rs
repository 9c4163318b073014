//! Names that mean something else than a host on the internet (RFC 6761 and the registry it opened, and what clusters
//! and clouds resolve on their own). They are closed unless a policy names them.

use super::HostName;
use serde::{Deserialize, Serialize};

macro_rules! special_uses {
    ($($(#[doc = $doc:literal])+ $variant:ident $code:literal $source:literal;)+) => {
        /// Why a name is not one of the open internet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum SpecialUse { $($(#[doc = $doc])+ $variant,)+ }

        impl SpecialUse {
            /// Every special use there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands in records.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// Where the rule comes from.
            pub const fn source(self) -> &'static str {
                match self { $(Self::$variant => $source),+ }
            }
        }
    };
}

special_uses! {
    /// A name under which a cloud serves instance credentials; it needs `metadata: true` besides being named.
    Metadata "metadata" "documentation of the clouds, name by name";
    /// A name of one label: search domains decide what it means.
    SingleLabel "single-label" "RFC 7085 (dotless domains), ICANN SAC 053";
    /// `localhost` and what is under it.
    Localhost "localhost" "RFC 6761 section 6.3";
    /// Under `.local`: multicast DNS, and the cluster domain of Kubernetes.
    Local "local" "RFC 6762 section 3";
    /// Under `.internal`: private use.
    Internal "internal" "ICANN board resolution 2024.07.29.06 (private-use TLD)";
    /// Under `.svc`: services of a Kubernetes cluster.
    Svc "svc" "Kubernetes DNS-Based Service Discovery specification";
    /// Under `.arpa`: infrastructure, `home.arpa` among it.
    Arpa "arpa" "RFC 3172, RFC 8375";
    /// Under `.onion`: never to be looked up in DNS.
    Onion "onion" "RFC 7686";
    /// Under `.invalid`: never to exist.
    Invalid "invalid" "RFC 6761 section 6.4";
}

/// Names under which clouds serve instance metadata, with their sources. Those of one label are closed by their form.
pub const METADATA_NAMES: &[(&str, &str)] = &[
    ("metadata.google.internal", "Google Cloud, About VM metadata"),
    ("metadata.goog", "Google Cloud, About VM metadata"),
    ("metadata.tencentyun.com", "Tencent Cloud CVM, Instance metadata"),
    ("api.metadata.cloud.ibm.com", "IBM Cloud VPC, About the metadata service"),
    ("metadata.platformequinix.com", "Equinix Metal, Metadata"),
    ("metadata.packet.net", "Equinix Metal, Metadata (its former name)"),
];

impl SpecialUse {
    /// What a canonical name is closed for; `None` for an ordinary one. Some 50 ns.
    pub fn of(name: &HostName) -> Option<Self> {
        let name = name.as_str();
        // A metadata name stays what it is below a host that was made under it.
        if METADATA_NAMES.iter().any(|(known, _)| is_at_or_under(name, known)) {
            return Some(Self::Metadata);
        }
        let Some((_, top)) = name.rsplit_once('.') else {
            return Some(if name == "localhost" { Self::Localhost } else { Self::SingleLabel });
        };
        match top {
            "localhost" => Some(Self::Localhost),
            "local" => Some(Self::Local),
            "internal" => Some(Self::Internal),
            "svc" => Some(Self::Svc),
            "arpa" => Some(Self::Arpa),
            "onion" => Some(Self::Onion),
            "invalid" => Some(Self::Invalid),
            _ => None,
        }
    }
}

fn is_at_or_under(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
