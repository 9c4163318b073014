//! The ways out of the gateway: what kind of connection carries a request. Chosen by the policy alone, never by `:scheme`.

use super::{CanonicalHost, Scheme};

/// A way out. The gateway routes by its word, and the guard in each way takes only what was let go for that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// TLS, its certificate checked against the authority.
    Https,
    /// Plain text.
    Http,
    /// A WebSocket over TLS: HTTP/1.1, for an upstream that chooses HTTP/2 cannot be upgraded.
    HttpsUpgrade,
    /// A WebSocket in plain text.
    HttpUpgrade,
    /// A tunnel: TLS of the agent's own, which the gateway cannot read.
    Tunnel,
}

impl Exit {
    /// Every way there is.
    pub const ALL: [Self; 5] = [Self::Https, Self::Http, Self::HttpsUpgrade, Self::HttpUpgrade, Self::Tunnel];

    /// The way of a request that is no upgrade and no tunnel.
    pub const fn of(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Https => Self::Https,
            Scheme::Http => Self::Http,
        }
    }

    /// The way of an upgrade.
    pub const fn of_upgrade(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Https => Self::HttpsUpgrade,
            Scheme::Http => Self::HttpUpgrade,
        }
    }

    /// The word in routes and in the guard's configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::HttpsUpgrade => "https-upgrade",
            Self::HttpUpgrade => "http-upgrade",
            Self::Tunnel => "tunnel",
        }
    }

    /// The way with that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.word() == word)
    }

    /// Whether bytes of no known end follow the head.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::HttpsUpgrade | Self::HttpUpgrade | Self::Tunnel)
    }

    /// Another spelling of the host, under which this way resolves and dials it; `None` where the host's own does.
    ///
    /// Envoy keeps the addresses of a name, and how to speak to them, under `host:port` alone, whichever way a request
    /// takes. Names have no case (RFC 4343), so that a spelling for each way keeps them apart. Ways that need one lead to
    /// names only.
    pub fn dialled_as(self, host: &CanonicalHost) -> Option<String> {
        let name = host.name()?.as_str();
        match self {
            Self::Https | Self::Http | Self::HttpUpgrade => None,
            Self::Tunnel => Some(name.to_ascii_uppercase()),
            Self::HttpsUpgrade => {
                // INVARIANT: the last label of a name is not a number, and labels are not empty; where it has no letter
                // at its end, one further left differs from the name and from the tunnel's spelling, or nothing does.
                let at = name.rfind(|c: char| c.is_ascii_lowercase())?;
                let (before, rest) = name.split_at_checked(at)?;
                let (letter, after) = rest.split_at_checked(1)?;
                Some(format!("{before}{}{after}", letter.to_ascii_uppercase()))
            }
        }
    }

    /// Whether this way can lead to the host: one that needs a spelling of its own must have one that no other has.
    pub fn reaches(self, host: &CanonicalHost) -> bool {
        match self {
            Self::Https | Self::Http | Self::HttpUpgrade => true,
            Self::HttpsUpgrade | Self::Tunnel => {
                host.name().is_some_and(|name| name.as_str().bytes().filter(u8::is_ascii_lowercase).count() > 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct() {
        for exit in Exit::ALL {
            assert_eq!(Exit::from_word(exit.word()), Some(exit));
        }
        assert_eq!(Exit::from_word("ftp"), None);
    }

    #[test]
    fn ways_that_need_one_have_a_spelling_of_their_own() {
        for name in ["api.example", "a.b", "1.2.x9", "xn--bcher-kva.example", "localhost"] {
            let host = CanonicalHost::parse(name).unwrap();
            let spelt: Vec<_> = [Exit::Tunnel, Exit::HttpsUpgrade].iter().filter_map(|e| e.dialled_as(&host)).collect();
            let reached = Exit::Tunnel.reaches(&host);
            assert_eq!(reached, name.bytes().filter(u8::is_ascii_lowercase).count() > 1, "{name}");
            if reached {
                assert!(spelt[0] != spelt[1] && spelt.iter().all(|s| s != name), "{spelt:?}");
                assert!(spelt.iter().all(|s| s.eq_ignore_ascii_case(name)), "{spelt:?}");
            }
        }
        for address in ["192.0.2.1", "[2001:db8::1]"] {
            let host = CanonicalHost::parse(address).unwrap();
            assert!(
                !Exit::Tunnel.reaches(&host) && !Exit::HttpsUpgrade.reaches(&host) && Exit::HttpUpgrade.reaches(&host)
            );
        }
    }
}
