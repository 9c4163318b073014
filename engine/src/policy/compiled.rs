//! The policy that requests meet: immutable, every reference resolved, every pattern compiled.

use super::Mode;
use super::document::PolicyDocument;
use super::error::{Document, Place, PolicyErrors, Problems, quoted};
use super::gateway::Gateway;
use super::signer::{self, Signer};
use crate::context::KeyRing;

/// The policy that requests meet.
#[derive(Clone, Debug)]
pub struct CompiledPolicy {
    revision: String,
    digest: String,
    change: Option<String>,
    mode: Mode,
    signers: Vec<Signer>,
    keys: KeyRing,
}

impl CompiledPolicy {
    /// `revision` of the document.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// `sha256:<hex>` over the canonical JSON (RFC 8785) of the merged policy.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The change that brought this revision, as the policy states it.
    pub fn change(&self) -> Option<&str> {
        self.change.as_deref()
    }

    /// Whether refusals are enforced where agent and rule say nothing.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Keys of all signers. Their `signer` is the index for [`CompiledPolicy::signer`].
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// A signer by its index.
    pub fn signer(&self, index: usize) -> Option<&Signer> {
        self.signers.get(index)
    }

    pub(super) fn compile(document: PolicyDocument, gateway: &Gateway, digest: String) -> Result<Self, PolicyErrors> {
        let (mut problems, root) = (Problems::default(), Place::root(Document::Policy));
        if document.schema != "exeat/v1" {
            let problem = format!("unknown schema {}", quoted(&document.schema));
            problems.note(root.key("schema").error(problem, "write exeat/v1", ""));
        }
        let recorded = [("revision", Some(&document.revision)), ("change", document.change.as_ref())];
        for (key, text) in recorded.into_iter().filter_map(|(key, text)| Some((key, text?))) {
            if !(1..=128).contains(&text.len()) || text.chars().any(char::is_control) {
                let problem = format!("{} cannot be recorded", quoted(text));
                problems.note(root.key(key).error(problem, "write 1 to 128 characters without controls", ""));
            }
        }
        let (signers, keys) = signer::compile(&document.signers, &root.key("signers"), &mut problems);
        problems.finish(Self {
            revision: document.revision,
            digest,
            change: document.change,
            mode: document.mode.unwrap_or(gateway.mode()),
            signers,
            keys,
        })
    }
}
