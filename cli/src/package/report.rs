//! What was made, for people and for programs: the digests that go into gateways' configurations.

use super::about::About;
use super::blob::Blob;
use super::image::{Form, Package};
use super::push::Outcome;
use super::target::Target;
use serde::Serialize;
use std::fmt;

/// What one run made.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The module, where that is what was packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<FileReport>,
    /// The command line, where that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cli: Option<FileReport>,
    /// Manifests, in the order in which they are pushed.
    pub manifests: Vec<ManifestReport>,
    /// What a registry was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Outcome>,
}

/// The file in the packages.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// Its digest, by which HTTP sources of modules are held to it.
    pub digest: String,
    /// Its bytes.
    pub size: usize,
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One manifest.
#[derive(Debug, Serialize)]
pub struct ManifestReport {
    /// `image`, `artifact`, `sbom of the image`, `sbom of the artifact`.
    pub form: &'static str,
    /// Its digest, by which gateways and registries are held to it.
    pub digest: String,
    /// Name of its reference in an image layout.
    pub name: String,
    /// Where it was pushed to, by tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Where it was pushed to, by digest: this stays what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl Report {
    /// Of a module; `target` is where it goes.
    pub fn of_module(module: &Blob, about: &About, package: &Package, target: Option<&Target>) -> Self {
        let module = Some(FileReport::new(module, about));
        Self { module, cli: None, manifests: manifests(package, target), pushed: None }
    }

    /// Of the command line.
    pub fn of_program(program: &Blob, about: &About, package: &Package, target: Option<&Target>) -> Self {
        let cli = Some(FileReport::new(program, about));
        Self { module: None, cli, manifests: manifests(package, target), pushed: None }
    }
}

impl FileReport {
    fn new(file: &Blob, about: &About) -> Self {
        let (version, revision) = (about.version.clone(), about.revision.clone());
        Self { digest: file.digest(), size: file.bytes().len(), version, revision }
    }
}

fn manifests(package: &Package, target: Option<&Target>) -> Vec<ManifestReport> {
    let manifests = package.manifests.iter().map(|manifest| {
        let (form, digest) = (manifest.form, manifest.blob.digest());
        ManifestReport {
            form: form.word(),
            name: format!("{}{}", package.tag, form.suffix()),
            tag: target.map(|target| target.tagged(form.suffix()).to_string()),
            reference: target.map(|target| target.by_digest(&digest).to_string()),
            digest,
        }
    });
    manifests.collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, cli, manifests, pushed } = self;
        for (what, file) in [("module", module), ("exeat", cli)] {
            if let Some(file) = file {
                writeln!(f, "{what} {}, {} bytes, version {}", file.digest, file.size, file.version)?;
            }
        }
        for manifest in manifests {
            match (&manifest.reference, &manifest.tag) {
                (Some(reference), Some(tag)) => writeln!(f, "{} {reference} (tag {tag})", manifest.form)?,
                _ => writeln!(f, "{} {} (name {})", manifest.form, manifest.digest, manifest.name)?,
            }
        }
        if let Some(pushed) = pushed {
            writeln!(f, "pushed and read back: {} blobs sent, {} were there", pushed.sent, pushed.there)?;
        }
        let image = manifests.iter().find(|manifest| manifest.form == Form::Image.word());
        if let Some((image, reference)) = image.and_then(|image| Some((image, image.reference.as_ref()?))) {
            if cli.is_some() {
                return writeln!(f, "in clusters: exeat render kubernetes --cli-image {reference}");
            }
            writeln!(f, "in configurations; sha256 is that of the manifest, not of the module:")?;
            writeln!(f, "  Istio, WasmPlugin                     url: oci://{reference}")?;
            writeln!(f, "  Envoy Gateway, EnvoyExtensionPolicy   image: {{url: {reference}}}")?;
            writeln!(
                f,
                "  both                                  sha256: {}",
                image.digest.trim_start_matches("sha256:")
            )?;
        }
        Ok(())
    }
}
