//! SPIFFE ids (SPIFFE-ID, sections 2.1 to 2.3): names of workloads, in certificates and in tokens.
//!
//! Read strictly, so that two ids are equal exactly when their bytes are: nothing is decoded, folded or resolved.

use std::fmt;

const SCHEME: &str = "spiffe://";

/// Bytes of a whole id, and of its trust domain (section 2.3).
const MOST: (usize, usize) = (2048, 255);

/// The name of a workload: a trust domain and a path that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId(String);

/// Why text is not the name of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpiffeIdError {
    /// It does not start with `spiffe://`; case counts.
    Scheme,
    /// The trust domain is not 1 to 255 of `a-z 0-9 . - _`.
    TrustDomain,
    /// There is no path: that names a trust domain, not a workload.
    NoPath,
    /// A segment of the path is empty, a dot segment, or has other characters than `A-Z a-z 0-9 . - _`.
    Path,
    /// It has more than 2048 bytes.
    Length,
}

impl fmt::Display for SpiffeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "it does not start with spiffe://",
            Self::TrustDomain => {
                "its trust domain is not 1 to 255 lower-case letters, digits, dots, hyphens or underscores"
            }
            Self::NoPath => "it names a trust domain and no workload in it",
            Self::Path => {
                "its path is not of segments of letters, digits, dots, hyphens or underscores, or has a dot segment"
            }
            Self::Length => "it has more than 2048 bytes",
        })
    }
}

impl std::error::Error for SpiffeIdError {}

impl SpiffeId {
    /// Reads an id.
    ///
    /// # Errors
    /// Anything but `spiffe://<trust domain>/<path>`.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MOST.0 {
            return Err(SpiffeIdError::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (domain, path) = match rest.split_once('/') {
            Some((domain, path)) => (domain, Some(path)),
            None => (rest, None),
        };
        if !is_trust_domain(domain) {
            return Err(SpiffeIdError::TrustDomain);
        }
        let path = path.ok_or(SpiffeIdError::NoPath)?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(fits);
        if !path.split('/').all(segment) {
            return Err(SpiffeIdError::Path);
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        let rest = self.0.strip_prefix(SCHEME).unwrap_or_default();
        rest.split_once('/').map_or(rest, |(domain, _)| domain)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether text is the name of a trust domain.
pub fn is_trust_domain(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    (1..=MOST.1).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_strictly() {
        for (text, domain) in [
            ("spiffe://acme.example/ns/agents/sa/signer", "acme.example"),
            ("spiffe://a/b", "a"),
            ("spiffe://acme_1-x.example/A.b_c-9", "acme_1-x.example"),
            ("spiffe://acme.example/.../..a", "acme.example"),
        ] {
            let id = SpiffeId::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((id.as_str(), id.trust_domain()), (text, domain));
        }
        use SpiffeIdError::{Length, NoPath, Path, Scheme, TrustDomain};
        let long = format!("spiffe://acme.example/{}", "x".repeat(2048 - 21));
        let domain = format!("spiffe://{}/x", "d".repeat(256));
        for (text, error) in [
            ("", Scheme),
            ("https://acme.example/x", Scheme),
            ("SPIFFE://acme.example/x", Scheme),
            (" spiffe://acme.example/x", Scheme),
            ("spiffe:///x", TrustDomain),
            ("spiffe://", TrustDomain),
            ("spiffe://Acme.example/x", TrustDomain),
            ("spiffe://acme.example:443/x", TrustDomain),
            ("spiffe://user@acme.example/x", TrustDomain),
            ("spiffe://acme%2eexample/x", TrustDomain),
            ("spiffe://acme.example?x", TrustDomain),
            (&domain, TrustDomain),
            ("spiffe://acme.example", NoPath),
            ("spiffe://acme.example/", Path),
            ("spiffe://acme.example/a/", Path),
            ("spiffe://acme.example//a", Path),
            ("spiffe://acme.example/./a", Path),
            ("spiffe://acme.example/a/../b", Path),
            ("spiffe://acme.example/a%2fb", Path),
            ("spiffe://acme.example/a?b", Path),
            ("spiffe://acme.example/a#b", Path),
            ("spiffe://acme.example/*", Path),
            ("spiffe://acme.example/\u{e4}", Path),
            ("spiffe://acme.example/a\n", Path),
            (&long, Length),
        ] {
            assert_eq!(SpiffeId::parse(text), Err(error), "{text}");
        }
    }
}
