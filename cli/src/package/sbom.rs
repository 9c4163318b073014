//! A bill of materials that goes along: what it says must be of this very module or program.

use super::about::About;
use super::blob::Blob;
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bytes of a bill of materials at most.
const MAX_SBOM: u64 = 16 * 1024 * 1024;

/// The property of the component that names the commit.
const REVISION: &str = "exeat:revision";

/// A CycloneDX document about one file. Made only by [`Sbom::read`] and [`Sbom::check`].
#[derive(Debug)]
pub struct Sbom {
    blob: Blob,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "bomFormat")]
    format: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    component: Component,
}

#[derive(Debug, Deserialize)]
struct Component {
    version: String,
    #[serde(default)]
    hashes: Vec<Hash>,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Debug, Deserialize)]
struct Hash {
    alg: String,
    content: String,
}

#[derive(Debug, Deserialize)]
struct Property {
    name: String,
    value: String,
}

/// The file that a bill of materials must be about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `module` or `program`.
    pub word: &'a str,
    /// The command that makes it with its bill of materials.
    pub made_by: &'a str,
    /// Its bytes.
    pub file: &'a Blob,
    /// Its version and commit.
    pub about: &'a About,
}

impl Sbom {
    /// Reads the bill of materials of a file.
    ///
    /// # Errors
    /// What cannot be read, is no CycloneDX document in JSON, or is about another file.
    pub fn read(path: &Path, subject: Subject<'_>) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(|| format!("cannot read the bill of materials {}", path.display()))?;
        let place = || format!("{}", path.display());
        file.take(MAX_SBOM + 1).read_to_end(&mut bytes).with_context(place)?;
        Self::check(bytes, subject).with_context(place)
    }

    /// Takes the bytes of one.
    ///
    /// # Errors
    /// As [`Sbom::read`].
    pub fn check(bytes: Vec<u8>, subject: Subject<'_>) -> anyhow::Result<Self> {
        let Subject { word, made_by, file, about } = subject;
        ensure!(u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_SBOM), "larger than 16 MiB");
        let document: Document = serde_json::from_slice(&bytes).with_context(|| {
            format!("not a CycloneDX document in JSON with metadata.component; `{made_by}` writes exeat.cdx.json")
        })?;
        ensure!(document.format == "CycloneDX", "bomFormat is {:?}, not \"CycloneDX\"", document.format);
        let component = document.metadata.component;
        let stated = component.hashes.iter().find(|hash| hash.alg == "SHA-256").map(|hash| hash.content.as_str());
        let own = file.hex();
        ensure!(
            stated == Some(own),
            "it is about another {word}: metadata.component has SHA-256 {}, this {word} {own}; `{made_by}` writes both anew",
            stated.unwrap_or("none")
        );
        let revision = component.properties.iter().find(|property| property.name == REVISION);
        let revision = revision.map(|found| found.value.as_str()).filter(|text| *text != exeat_stamp::UNKNOWN);
        ensure!(
            component.version == about.version && revision == about.revision.as_deref(),
            "it says version {} of commit {}, the {word} {} of {}",
            component.version,
            revision.unwrap_or("unknown"),
            about.version,
            about.revision.as_deref().unwrap_or("unknown")
        );
        Ok(Self { blob: Blob::new(bytes) })
    }

    /// Its bytes.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }
}
