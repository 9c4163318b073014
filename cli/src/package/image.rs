//! The manifests under which the module travels, byte for byte the same from the same module and facts.
//!
//! Istio's agent and Envoy Gateway read three forms. Two of them are made here, and neither reader takes one for the other:
//! the *image*, whose last layer is a gzipped tar with `plugin.wasm`, and the *artifact* of exactly two layers, the module
//! itself and what runtime it is for. A bill of materials refers to each of them from a manifest of its own (OCI image
//! specification 1.1, `subject`), so that both keep their layers.

use super::about::About;
use super::blob::Blob;
use super::module::Module;
use super::sbom::Sbom;
use anyhow::Context as _;
use flate2::{Compression, GzBuilder};
use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_TITLE, Arch, Descriptor, ImageConfigurationBuilder, ImageManifest,
    ImageManifestBuilder, MediaType, Os, RootFsBuilder,
};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

/// Media type of the layer with `plugin.wasm`.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Media type of a layer that is the module itself.
pub const CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// Media type of the layer beside it.
pub const CONFIG: &str = "application/vnd.module.wasm.config.v1+json";

/// Media type of a bill of materials.
pub const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

/// The file in the layer that readers look for.
pub const FILE: &str = "plugin.wasm";

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The module as a file in an image.
    Image,
    /// The module as a layer.
    Artifact,
    /// The bill of materials of the image.
    ImageSbom,
    /// The bill of materials of the artifact.
    ArtifactSbom,
}

impl Form {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Artifact => "artifact",
            Self::ImageSbom => "sbom of the image",
            Self::ArtifactSbom => "sbom of the artifact",
        }
    }

    /// What its tag adds to that of the image.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Image => "",
            Self::Artifact => "-artifact",
            Self::ImageSbom => "-sbom",
            Self::ArtifactSbom => "-artifact-sbom",
        }
    }

    /// What the manifest refers to.
    pub fn subject(self) -> Option<Self> {
        match self {
            Self::Image | Self::Artifact => None,
            Self::ImageSbom => Some(Self::Image),
            Self::ArtifactSbom => Some(Self::Artifact),
        }
    }
}

/// A manifest with its bytes.
#[derive(Debug)]
pub struct Manifest {
    /// What it is.
    pub form: Form,
    /// The document.
    pub content: ImageManifest,
    /// Its bytes.
    pub blob: Blob,
}

impl Manifest {
    fn new(form: Form, content: ImageManifest) -> anyhow::Result<Self> {
        let blob = Blob::json(&content)?;
        Ok(Self { form, content, blob })
    }

    /// What an index says of it.
    ///
    /// # Errors
    /// None that can happen.
    pub fn descriptor(&self) -> anyhow::Result<Descriptor> {
        let mut descriptor = self.blob.descriptor(MediaType::ImageManifest.as_ref())?;
        descriptor.set_artifact_type(self.content.artifact_type().clone());
        Ok(descriptor)
    }
}

/// All that is made of one module.
#[derive(Debug)]
pub struct Package {
    /// The tag of the image, that of others without their suffix.
    pub tag: String,
    /// In the order in which they are written: what is referred to comes first.
    pub manifests: Vec<Manifest>,
    /// What they consist of, each once.
    pub blobs: Vec<Blob>,
}

impl Package {
    /// Makes it.
    ///
    /// # Errors
    /// None that can happen with what was checked.
    pub fn new(module: &Module, about: &About, sbom: Option<&Sbom>) -> anyhow::Result<Self> {
        let mut made = Self { tag: about.tag(), manifests: Vec::new(), blobs: Vec::new() };
        let image = made.image(module, about)?;
        let artifact = made.artifact(module, about)?;
        let (image_subject, artifact_subject) =
            (image.blob.manifest_descriptor()?, artifact.blob.manifest_descriptor()?);
        made.manifests.extend([image, artifact]);
        if let Some(sbom) = sbom {
            for (form, subject) in [(Form::ImageSbom, image_subject), (Form::ArtifactSbom, artifact_subject)] {
                let manifest = made.sbom(form, subject, sbom, about)?;
                made.manifests.push(manifest);
            }
        }
        Ok(made)
    }

    /// A manifest of it.
    pub fn manifest(&self, form: Form) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| manifest.form == form)
    }

    fn image(&mut self, module: &Module, about: &About) -> anyhow::Result<Manifest> {
        // No processor runs a module, but tools refuse images that name none they know.
        let config = ImageConfigurationBuilder::default().architecture(Arch::Amd64);
        let mut annotations: HashMap<String, String> = about.annotations().collect();
        annotations.insert("module.wasm.image/variant".to_owned(), "compat".to_owned());
        self.image_of(layer(module, about.seconds())?, config, annotations, about)
    }

    /// An image of one layer, a tar.
    ///
    /// # Errors
    /// None that can happen.
    pub(super) fn image_of(
        &mut self,
        tar: Vec<u8>,
        config: ImageConfigurationBuilder,
        annotations: HashMap<String, String>,
        about: &About,
    ) -> anyhow::Result<Manifest> {
        let uncompressed = Blob::new(tar);
        let layer = Blob::new(compressed(uncompressed.bytes())?);
        let rootfs = RootFsBuilder::default().typ("layers").diff_ids(vec![uncompressed.digest()]).build()?;
        let config = config.os(Os::Linux).rootfs(rootfs);
        let config = match about.created {
            Some(created) => config.created(created.to_string()),
            None => config,
        };
        let config = Blob::json(&config.build()?)?;
        let manifest = manifest()
            .config(config.descriptor(MediaType::ImageConfig.as_ref())?)
            .layers(vec![layer.descriptor(LAYER)?])
            .annotations(annotations);
        self.keep([config, layer]);
        Manifest::new(Form::Image, manifest.build()?)
    }

    fn artifact(&mut self, module: &Module, about: &About) -> anyhow::Result<Manifest> {
        // INVARIANT: exactly these two layers, or readers refuse it.
        let runtime = json!({"type": "envoy_proxy", "abiVersions": ["v0.2.1"], "config": {"rootIds": ["exeat"]}});
        let runtime = Blob::json(&runtime)?;
        let module = module.blob().clone();
        let empty = Blob::new(EMPTY.to_vec());
        let manifest = manifest()
            .artifact_type(MediaType::from(CONFIG))
            .config(empty.descriptor(MediaType::EmptyJSON.as_ref())?)
            .layers(vec![
                titled(runtime.descriptor(CONFIG)?, "runtime-config.json"),
                titled(module.descriptor(CONTENT)?, FILE),
            ])
            .annotations(about.annotations().collect::<HashMap<_, _>>());
        self.keep([empty, runtime, module]);
        Manifest::new(Form::Artifact, manifest.build()?)
    }

    /// A bill of materials that refers to a manifest.
    ///
    /// # Errors
    /// None that can happen.
    pub(super) fn sbom(
        &mut self,
        form: Form,
        subject: Descriptor,
        sbom: &Sbom,
        about: &About,
    ) -> anyhow::Result<Manifest> {
        let empty = Blob::new(EMPTY.to_vec());
        let mut manifest = manifest()
            .artifact_type(MediaType::from(CYCLONEDX))
            .config(empty.descriptor(MediaType::EmptyJSON.as_ref())?)
            .layers(vec![titled(sbom.blob().descriptor(CYCLONEDX)?, "exeat.cdx.json")])
            .subject(subject);
        if let Some(created) = about.created {
            manifest = manifest.annotations(HashMap::from([(ANNOTATION_CREATED.to_owned(), created.to_string())]));
        }
        self.keep([empty, sbom.blob().clone()]);
        Manifest::new(form, manifest.build()?)
    }

    fn keep(&mut self, blobs: impl IntoIterator<Item = Blob>) {
        for blob in blobs {
            if !self.blobs.contains(&blob) {
                self.blobs.push(blob);
            }
        }
    }
}

/// The config of a manifest that needs none (OCI image specification 1.1).
const EMPTY: &[u8] = b"{}";

/// RFC 1952: the system on which a file was compressed, when nobody is to know.
const UNKNOWN_SYSTEM: u8 = 255;

/// A layer as it travels: the same bytes give the same.
fn compressed(layer: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM).write(Vec::new(), Compression::best());
    gzip.write_all(layer).context("cannot compress the layer")?;
    gzip.finish().context("cannot compress the layer")
}

/// A manifest that has nothing yet.
fn manifest() -> ImageManifestBuilder {
    ImageManifestBuilder::default().schema_version(2_u32).media_type(MediaType::ImageManifest)
}

fn titled(mut descriptor: Descriptor, name: &str) -> Descriptor {
    let title = BTreeMap::from([(ANNOTATION_TITLE.to_owned(), name.to_owned())]);
    descriptor.set_annotations(Some(title.into_iter().collect()));
    descriptor
}

/// A tar with the module as `plugin.wasm`, of nobody and of no time but that which was given.
fn layer(module: &Module, seconds: u64) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, FILE, module.blob().bytes(), seconds)?;
    tar.into_inner().context("cannot write the layer")
}

/// Adds a file that every user may read.
///
/// # Errors
/// What the writer says.
pub fn append<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    bytes: &[u8],
    seconds: u64,
) -> anyhow::Result<()> {
    append_as(tar, name, bytes, seconds, tar::EntryType::Regular, 0o644)
}

/// Adds a file or folder of root.
///
/// # Errors
/// What the writer says.
pub fn append_as<W: std::io::Write>(
    tar: &mut tar::Builder<W>,
    name: &str,
    bytes: &[u8],
    seconds: u64,
    kind: tar::EntryType,
    mode: u32,
) -> anyhow::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(seconds);
    header.set_size(u64::try_from(bytes.len()).context("more bytes than a tar can say")?);
    tar.append_data(&mut header, name, bytes).with_context(|| format!("cannot write {name} into the archive"))
}
