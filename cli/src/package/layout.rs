//! An OCI image layout: the folder, or the tar of it, that tools take for images without a registry.

use super::blob::Blob;
use super::image::{Package, append};
use crate::files::write_whole;
use anyhow::{Context as _, ensure};
use oci_spec::image::{ANNOTATION_REF_NAME, ImageIndexBuilder, MediaType};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// The file by which an image layout is known, and its index.
const MARK: &str = "oci-layout";
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs";

/// The files of an image layout, by their names in it.
#[derive(Debug)]
pub struct Layout {
    files: BTreeMap<String, Blob>,
}

impl Layout {
    /// Lays a package out. Each manifest has its tag as the name of a reference.
    ///
    /// # Errors
    /// None that can happen.
    pub fn new(package: &Package) -> anyhow::Result<Self> {
        let mut entries = Vec::new();
        for manifest in &package.manifests {
            let mut descriptor = manifest.descriptor()?;
            let name = (ANNOTATION_REF_NAME.to_owned(), format!("{}{}", package.tag, manifest.form.suffix()));
            descriptor.set_annotations(Some([name].into()));
            entries.push(descriptor);
        }
        let index = ImageIndexBuilder::default().schema_version(2_u32).media_type(MediaType::ImageIndex);
        let index = Blob::json(&index.manifests(entries).build()?)?;
        let manifests = package.manifests.iter().map(|manifest| &manifest.blob);
        let blobs = manifests.chain(&package.blobs);
        let mut files: BTreeMap<_, _> =
            blobs.map(|blob| (format!("{BLOBS}/sha256/{}", blob.hex()), blob.clone())).collect();
        files.insert(INDEX.to_owned(), index);
        files.insert(MARK.to_owned(), Blob::json(&json!({"imageLayoutVersion": "1.0.0"}))?);
        Ok(Self { files })
    }

    /// Writes the folder, whole or not at all. One that is there is replaced, if it holds an image layout and nothing else.
    ///
    /// # Errors
    /// A folder with other things in it, and what the system says.
    pub fn write_folder(&self, folder: &Path) -> anyhow::Result<()> {
        let place = || format!("cannot write the image layout {}", folder.display());
        let folder = std::path::absolute(folder).with_context(place)?;
        let parent = folder.parent().with_context(place)?;
        std::fs::create_dir_all(parent).with_context(place)?;
        let there = replaceable(&folder)?;
        let besides = tempfile::Builder::new().prefix(".exeat-package-").tempdir_in(parent).with_context(place)?;
        let new = besides.path().join("new");
        std::fs::create_dir_all(new.join(BLOBS).join("sha256")).with_context(place)?;
        for (name, blob) in &self.files {
            std::fs::write(new.join(name), blob.bytes()).with_context(place)?;
        }
        if there {
            std::fs::rename(&folder, besides.path().join("old")).with_context(place)?;
        }
        std::fs::rename(&new, &folder).with_context(place)
    }

    /// Writes the folder's content as one tar.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_archive(&self, file: &Path, seconds: u64) -> anyhow::Result<()> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, blob) in &self.files {
            append(&mut tar, name, blob.bytes(), seconds)?;
        }
        write_whole(file, &tar.into_inner().context("cannot write the archive")?)
    }
}

/// Whether something is there that a new layout may take the place of.
fn replaceable(folder: &Path) -> anyhow::Result<bool> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot look into {}", folder.display())),
    };
    let names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()
        .with_context(|| format!("cannot look into {}", folder.display()))?;
    let foreign = names.iter().find(|name| ![MARK, INDEX, BLOBS].iter().any(|own| name.as_os_str() == *own));
    ensure!(
        foreign.is_none() && (names.is_empty() || names.iter().any(|name| name.as_os_str() == MARK)),
        "{} holds other things than an image layout; name a folder that is not there yet",
        folder.display()
    );
    Ok(true)
}
