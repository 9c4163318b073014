//! To a registry: what it lacks is sent, and all of it is read back, since what stands there is what gateways will load.

use super::blob::Blob;
use super::credentials::Credentials;
use super::image::{Manifest, Package};
use super::session::Session;
use super::target::Target;
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::HeaderValue;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use rustls::pki_types::CertificateDer;
use serde::Serialize;

/// What became of a push.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    /// Blobs that were sent.
    pub sent: usize,
    /// Blobs that were there.
    pub there: usize,
}

/// A registry that takes pushes.
pub struct Registry<'a> {
    session: Session<'a>,
    target: &'a Target,
}

impl<'a> Registry<'a> {
    /// Signs in to it.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn open(
        target: &'a Target,
        credentials: &'a Credentials,
        authorities: &'a [CertificateDer<'static>],
    ) -> anyhow::Result<Self> {
        Ok(Self { session: Session::open(target, credentials, authorities).await?, target })
    }

    /// Sends blobs, then manifests under their digests, and reads all of it back; only then sets tags, each of which stood for
    /// something whole before and does so after.
    ///
    /// # Errors
    /// A registry that cannot be reached, refuses, or then has something else than what was sent. Where tags were set by then, the
    /// error says which.
    pub async fn push(&mut self, package: &Package) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        for blob in &package.blobs {
            if self.send_blob(blob).await? {
                outcome.sent += 1;
            } else {
                outcome.there += 1;
            }
        }
        for blob in &package.blobs {
            self.read_blob(blob).await?;
        }
        for manifest in &package.manifests {
            self.send_by_digest(manifest).await?;
        }
        for manifest in &package.manifests {
            let reference = self.target.by_digest(&manifest.blob.digest());
            self.read_manifest(manifest, &reference).await?;
        }
        for manifest in &package.manifests {
            if let Some(subject) = manifest.form.subject().and_then(|form| package.manifest(form)) {
                self.refer(&subject.blob.digest(), manifest.descriptor()?).await?;
            }
        }
        self.set_tags(package).await?;
        for manifest in &package.manifests {
            let reference = self.target.tagged(manifest.form.suffix());
            self.read_manifest(manifest, &reference).await?;
        }
        Ok(outcome)
    }

    /// The tag that was asked for comes last: where it is new, all that go with it are. Nobody runs what the first ones name.
    async fn set_tags(&mut self, package: &Package) -> anyhow::Result<()> {
        let tags: Vec<Reference> =
            package.manifests.iter().map(|manifest| self.target.tagged(manifest.form.suffix())).collect();
        for (at, (manifest, reference)) in package.manifests.iter().zip(&tags).enumerate().rev() {
            let what = format!("cannot set the tag {reference}");
            let set = self.send(&what, reference, manifest.blob.bytes(), OCI_IMAGE_MEDIA_TYPE).await;
            set.with_context(|| halfway(&tags, at))?;
        }
        Ok(())
    }

    /// Whether it was not there and was sent.
    async fn send_blob(&mut self, blob: &Blob) -> anyhow::Result<bool> {
        let (image, digest) = (self.target.tagged(""), blob.digest());
        let what = format!("cannot send the blob {digest}");
        if self.session.run(&what, async |client, _| client.blob_exists(&image, &digest).await).await? {
            return Ok(false);
        }
        let bytes = Bytes::copy_from_slice(blob.bytes());
        let send = async |client: &Client, _: &RegistryAuth| client.push_blob(&image, bytes.clone(), &digest).await;
        self.session.run(&what, send).await.map(|_| true)
    }

    async fn send_by_digest(&mut self, manifest: &Manifest) -> anyhow::Result<()> {
        let digest = manifest.blob.digest();
        let what = format!("cannot send the manifest {}", self.target.by_digest(&digest));
        // The digest in the place of a tag is the same request. Of a reference by digest the client would panic where the registry
        // does not answer with a location, as one of the large ones does not.
        let reference = self.target.with_tag(&digest);
        self.send(&what, &reference, manifest.blob.bytes(), OCI_IMAGE_MEDIA_TYPE).await
    }

    async fn send(
        &mut self,
        what: &str,
        reference: &Reference,
        bytes: &[u8],
        media_type: &'static str,
    ) -> anyhow::Result<()> {
        let (bytes, media_type) = (Bytes::copy_from_slice(bytes), HeaderValue::from_static(media_type));
        let send = async |client: &Client, _: &RegistryAuth| {
            client.push_manifest_raw(reference, bytes.clone(), media_type.clone()).await
        };
        self.session.run(what, send).await.map(drop)
    }

    /// Makes sure that whoever asks what refers to `subject` is told of `referrer`. Registries before version 1.1 of the
    /// distribution specification do not see it themselves; for them there is an index under a tag made of the digest.
    async fn refer(&mut self, subject: &str, referrer: Descriptor) -> anyhow::Result<()> {
        let by_digest = self.target.by_digest(subject);
        let what = format!("cannot ask what refers to {by_digest}");
        let listed = self.session.run(&what, async |client, _| client.pull_referrers(&by_digest, None).await).await?;
        let digest = referrer.digest().to_string();
        if listed.manifests.iter().any(|entry| entry.digest == digest) {
            return Ok(());
        }
        let tag = subject.replace(':', "-");
        let mut entries = self.index(&self.target.with_tag(&tag)).await?;
        entries.retain(|entry| *entry.digest() != *referrer.digest());
        entries.push(referrer);
        let index = ImageIndexBuilder::default().schema_version(2_u32).media_type(MediaType::ImageIndex);
        let index = Blob::json(&index.manifests(entries).build()?)?;
        let reference = self.target.with_tag(&tag);
        let what = format!("cannot send the index {reference}");
        self.send(&what, &reference, index.bytes(), OCI_IMAGE_INDEX_MEDIA_TYPE).await
    }

    /// The entries of an index that is there, none where there is no index.
    async fn index(&mut self, reference: &Reference) -> anyhow::Result<Vec<Descriptor>> {
        let types = [OCI_IMAGE_INDEX_MEDIA_TYPE];
        let read = async |client: &Client, auth: &RegistryAuth| match client
            .pull_manifest_raw(reference, auth, &types)
            .await
        {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(error) if is_unknown(&error) => Ok(None),
            Err(error) => Err(error),
        };
        let Some(bytes) = self.session.run(&format!("cannot read the index {reference}"), read).await? else {
            return Ok(Vec::new());
        };
        let index: ImageIndex = serde_json::from_slice(&bytes).with_context(|| {
            format!("{reference} is no index; what refers to an image is listed there, so remove that tag")
        })?;
        Ok(index.manifests().clone())
    }

    async fn read_blob(&mut self, blob: &Blob) -> anyhow::Result<()> {
        let image = self.target.tagged("");
        let size = i64::try_from(blob.bytes().len()).context("a blob of more bytes than can be said")?;
        let descriptor = OciDescriptor { digest: blob.digest(), size, ..OciDescriptor::default() };
        let what = format!("cannot read the blob {} back", blob.digest());
        // The client holds the bytes against the digest; they are not needed.
        let read = async |client: &Client, _: &RegistryAuth| match client
            .pull_blob(&image, &descriptor, tokio::io::sink())
            .await
        {
            Err(OciDistributionError::DigestError(error)) => Ok(Err(error)),
            read => read.map(Ok),
        };
        if let Err(error) = self.session.run(&what, read).await? {
            bail!(
                "the registry {} has other bytes under {} than that digest stands for ({error}). Do not use what is stored \
                 there; remove the repository's blob and push again",
                self.target.registry(),
                blob.digest()
            );
        }
        Ok(())
    }

    async fn read_manifest(&mut self, manifest: &Manifest, reference: &Reference) -> anyhow::Result<()> {
        let what = format!("cannot read the manifest {reference} back");
        let read = async |client: &Client, auth: &RegistryAuth| {
            client.pull_manifest_raw(reference, auth, &[OCI_IMAGE_MEDIA_TYPE]).await
        };
        let (bytes, digest) = self.session.run(&what, read).await?;
        ensure!(
            bytes.as_ref() == manifest.blob.bytes() && digest == manifest.blob.digest(),
            "{reference} is {digest}, not the {} that was sent: the registry changes manifests, or somebody pushed \
             to that tag at the same time",
            manifest.blob.digest()
        );
        Ok(())
    }
}

/// What tags stand for when one of them could not be set. They are set from the last to the first.
fn halfway(tags: &[Reference], failed: usize) -> String {
    let names = |some: &[Reference]| match some {
        [] => "none".to_owned(),
        _ => some.iter().filter_map(Reference::tag).collect::<Vec<_>>().join(", "),
    };
    let (before, rest) = tags.split_at_checked(failed).unwrap_or_default();
    let (current, set) = rest.split_at_checked(1).unwrap_or_default();
    format!(
        "not all tags were set; new: {}; new or as before: {}; as before: {}. What each stands for is whole. Push once more: that sets \
         all of them",
        names(set),
        names(current),
        names(before)
    )
}

/// Whether the registry says that there is no such thing.
fn is_unknown(error: &OciDistributionError) -> bool {
    let unknown = [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound];
    match error {
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::RegistryError { envelope, .. } => {
            !envelope.errors.is_empty() && envelope.errors.iter().all(|error| unknown.contains(&error.code))
        }
        _ => false,
    }
}

/// Pushes a package and waits for it.
///
/// # Errors
/// As [`Registry::push`].
pub fn push(
    package: Package,
    target: Target,
    credentials: Credentials,
    authorities: Vec<CertificateDer<'static>>,
) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let pushing = async move { Registry::open(&target, &credentials, &authorities).await?.push(&package).await };
    // In a task of its own: should the client give up on an answer that no registry gives, that is an error here.
    let tasks = tokio::task::LocalSet::new();
    let done = tasks.spawn_local(pushing);
    runtime.block_on(tasks.run_until(done)).context("the registry answers what no registry answers")?
}
