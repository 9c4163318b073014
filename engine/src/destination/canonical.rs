//! The canonical destination: what is matched, recorded and forwarded.

use super::{
    Authority, CanonicalHost, CanonicalPath, DestinationError, HostGrant, PathOpenings, RequestTarget, classify,
};

/// Scheme towards the upstream. From the configuration, never from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The port when the authority names none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The word in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A destination that was parsed once.
///
/// Everything in it passed its own check; the host may still be one that is closed, see
/// [`CanonicalDestination::check_host`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalDestination {
    /// Host.
    pub host: CanonicalHost,
    /// Port that is dialled.
    pub port: u16,
    /// Path; absent for CONNECT.
    pub path: Option<CanonicalPath>,
    /// Query without its `?`; `Some("")` for a lone `?`.
    pub query: Option<String>,
}

impl CanonicalDestination {
    /// Puts a destination together: the authority that was read, the scheme of the configuration for the default port,
    /// the bytes of `:path` (`None` for CONNECT), and what the destination of the policy opens in paths.
    pub fn new(
        authority: Authority,
        scheme: Scheme,
        target: Option<&[u8]>,
        openings: PathOpenings,
    ) -> Result<Self, DestinationError> {
        let (path, query) = match target {
            Some(bytes) => {
                let target = RequestTarget::parse(bytes, openings)?;
                (Some(target.path), target.query)
            }
            // RFC 9110 section 9.3.6: there is no default port for CONNECT.
            None if authority.port.is_none() => return Err(DestinationError::PortMissing),
            None => (None, None),
        };
        Ok(Self { host: authority.host, port: authority.port.unwrap_or(scheme.default_port()), path, query })
    }

    /// Reads authority and target in one go, where scheme and openings are known beforehand.
    pub fn parse(
        authority: &[u8],
        target: Option<&[u8]>,
        scheme: Scheme,
        openings: PathOpenings,
    ) -> Result<Self, DestinationError> {
        Self::new(Authority::parse(authority)?, scheme, target, openings)
    }

    /// The authority that goes on: the canonical host, and the port unless it is the scheme's default. For CONNECT the port
    /// always (RFC 9110 section 9.3.6).
    pub fn authority(&self, scheme: Scheme) -> String {
        if self.path.is_some() && self.port == scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Refuses a literal address of a closed class and a special-use name, unless `grant` says that the policy names
    /// that host. What an ordinary name resolves to is for the guard to check, with
    /// [`super::address::check_resolved`].
    pub fn check_host(&self, grant: HostGrant) -> Result<(), DestinationError> {
        if let Some(address) = self.host.address() {
            let class = classify(address);
            let open = grant.named && (grant.metadata || !class.is_metadata());
            return if class.refused() && !open { Err(DestinationError::AddressForbidden(class)) } else { Ok(()) };
        }
        match self.host.special_use() {
            Some(special) => {
                let open = grant.named && (grant.metadata || special != super::SpecialUse::Metadata);
                if open { Ok(()) } else { Err(DestinationError::NameForbidden(special)) }
            }
            None => Ok(()),
        }
    }
}
