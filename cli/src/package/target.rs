//! Where to push: a registry that is named, a repository, a tag; and whether without TLS.

use anyhow::{Context as _, ensure};
use oci_client::Reference;
use std::net::IpAddr;

/// Longest tag (OCI distribution specification), less what the longest suffix adds.
const MAX_TAG: usize = 128 - "-artifact-sbom".len();

/// A place in a registry. Made only by [`Target::parse`].
#[derive(Clone, Debug)]
pub struct Target {
    reference: Reference,
    tag: String,
    plain: bool,
}

impl Target {
    /// Reads `REGISTRY/REPOSITORY:TAG`. `plain_http` is what `--plain-http` says, empty where it stands alone.
    ///
    /// # Errors
    /// What is not of that form, and a registry that is to be spoken to without TLS and is not on loopback, unless
    /// `--plain-http` names it.
    pub fn parse(text: &str, plain_http: Option<&str>) -> anyhow::Result<Self> {
        let form = || format!("--push {text:?}: write REGISTRY/REPOSITORY:TAG");
        ensure!(!text.contains("://"), "{}, without a scheme", form());
        ensure!(!text.contains('@'), "{}; the digest comes out of what is pushed", form());
        let (registry, path) = text.split_once('/').with_context(form)?;
        ensure!(
            registry == "localhost" || registry.contains(['.', ':']),
            "{}; {registry:?} is no host, and no registry is meant where none is named",
            form()
        );
        let (_, tag) = path.split_once(':').with_context(|| format!("{}; the tag is missing", form()))?;
        ensure!(tag.len() <= MAX_TAG, "{}; the tag has {} characters, {MAX_TAG} fit", form(), tag.len());
        let reference: Reference = text.parse().with_context(form)?;
        let tag = tag.to_owned();
        let plain = plain_http.is_some();
        if let Some(named) = plain_http {
            ensure!(
                if named.is_empty() { on_loopback(host(registry)) } else { named == registry },
                "--plain-http: {registry} is not on this machine, and everything, passwords included, would go over the \
                 network for everybody to read and change. Leave the option out, or write --plain-http={registry} if that is \
                 what you want"
            );
        }
        Ok(Self { reference, tag, plain })
    }

    /// Host and port, as written.
    pub fn registry(&self) -> &str {
        self.reference.registry()
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        host(self.registry())
    }

    /// The registry as it is spoken to: Docker Hub is not where its name says.
    pub fn resolved(&self) -> &str {
        self.reference.resolve_registry()
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        self.reference.repository()
    }

    /// Whether without TLS.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The reference with a suffix to its tag.
    pub fn tagged(&self, suffix: &str) -> Reference {
        self.with_tag(&format!("{}{suffix}", self.tag))
    }

    /// The repository with another tag.
    pub fn with_tag(&self, tag: &str) -> Reference {
        Reference::with_tag(self.registry().to_owned(), self.reference.repository().to_owned(), tag.to_owned())
    }

    /// The repository with a digest.
    pub fn by_digest(&self, digest: &str) -> Reference {
        Reference::with_digest(self.registry().to_owned(), self.reference.repository().to_owned(), digest.to_owned())
    }
}

/// The host of a registry, without port and brackets.
fn host(registry: &str) -> &str {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    host.trim_matches(['[', ']'])
}

/// Whether a host is this machine.
pub fn on_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
