//! What was made, for people and for programs: the digests that go into gateways' configurations.

use super::about::About;
use super::image::{Form, Package};
use super::module::Module;
use super::push::Outcome;
use super::target::Target;
use serde::Serialize;
use std::fmt;

/// What one run made.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The module itself.
    pub module: ModuleReport,
    /// Manifests, in the order in which they are pushed.
    pub manifests: Vec<ManifestReport>,
    /// What a registry was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Outcome>,
}

/// The module in the packages.
#[derive(Debug, Serialize)]
pub struct ModuleReport {
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
    /// Of what was made; `target` is where it goes.
    pub fn new(module: &Module, about: &About, package: &Package, target: Option<&Target>) -> Self {
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
        let (version, revision) = (about.version.clone(), about.revision.clone());
        let (digest, size) = (module.blob().digest(), module.blob().bytes().len());
        Self { module: ModuleReport { digest, size, version, revision }, manifests: manifests.collect(), pushed: None }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, manifests, pushed } = self;
        writeln!(f, "module {}, {} bytes, version {}", module.digest, module.size, module.version)?;
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
