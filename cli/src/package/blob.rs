//! Bytes under their digest, as registries and image layouts keep them.

use anyhow::Context as _;
use exeat_engine::hex::hex;
use oci_spec::image::{Descriptor, Digest, MediaType};
use serde::Serialize;
use sha2::Digest as _;
use std::str::FromStr as _;
use std::sync::Arc;

/// Bytes under their SHA-256. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    bytes: Arc<[u8]>,
    hex: String,
}

impl Blob {
    /// Takes bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        let hex = hex(&sha2::Sha256::digest(&bytes));
        Self { bytes: bytes.into(), hex }
    }

    /// A document, as the one JSON text that stands for it (RFC 8785): the types of OCI keep annotations in no order.
    ///
    /// # Errors
    /// None that can happen with documents of strings and small numbers.
    pub fn json(document: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self::new(serde_json_canonicalizer::to_vec(document).context("a document is no JSON")?))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Lower-case hex of the SHA-256.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// `sha256:` and the hex.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.hex)
    }

    /// What other documents say of it.
    ///
    /// # Errors
    /// None that can happen.
    pub fn descriptor(&self, media_type: &str) -> anyhow::Result<Descriptor> {
        let digest = Digest::from_str(&self.digest()).context("a SHA-256 is no digest")?;
        let size = u64::try_from(self.bytes.len()).context("more bytes than a descriptor can say")?;
        Ok(Descriptor::new(MediaType::from(media_type), size, digest))
    }

    /// The same, of a manifest.
    ///
    /// # Errors
    /// None that can happen.
    pub fn manifest_descriptor(&self) -> anyhow::Result<Descriptor> {
        self.descriptor(MediaType::ImageManifest.as_ref())
    }
}
