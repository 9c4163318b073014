//! To a registry: what it lacks is sent, and all of it is read back, since what stands there is what gateways will load.

use super::credentials::Credentials;
use super::image::{Manifest, Package};
use super::refusal::explain;
use super::target::Target;
use anyhow::{Context as _, bail, ensure};
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor};
use oci_client::{Client, Reference, RegistryOperation};
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How long a registry may take to take a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// What became of a push.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    /// Blobs that were sent.
    pub sent: usize,
    /// Blobs that were there.
    pub there: usize,
}

/// A registry, and who we are to it.
pub struct Registry<'a> {
    client: Client,
    target: &'a Target,
    credentials: &'a Credentials,
}

impl<'a> Registry<'a> {
    /// Prepares to speak to it; nothing is sent yet.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn new(
        target: &'a Target,
        credentials: &'a Credentials,
        authorities: &[CertificateDer<'static>],
    ) -> anyhow::Result<Self> {
        // One for the process; that it is there already is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority =
            |der: &CertificateDer<'_>| Certificate { encoding: CertificateEncoding::Der, data: der.to_vec() };
        let plain = target.is_plain();
        let config = ClientConfig {
            protocol: if plain { ClientProtocol::Http } else { ClientProtocol::Https },
            tls_certs_only: authorities.iter().map(authority).collect(),
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("exeat/", env!("CARGO_PKG_VERSION")),
            // Naming a proxy for nobody keeps that of the environment out: what is not encrypted goes nowhere else. The star
            // stands for names only, addresses are listed.
            http_proxy: plain.then(|| "http://127.0.0.1:9".to_owned()),
            no_proxy: plain.then(|| format!("*,{}", target.host())),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).context("cannot prepare to speak to the registry")?;
        Ok(Self { client, target, credentials })
    }

    /// Sends blobs, then manifests, then reads all of it back.
    ///
    /// # Errors
    /// A registry that cannot be reached, refuses, or then has something else than what was sent.
    pub async fn push(&self, package: &Package) -> anyhow::Result<Outcome> {
        let image = self.target.tagged("");
        let signed_in = self.client.auth(&image, &self.credentials.auth, RegistryOperation::Push).await;
        signed_in.map_err(|error| self.explained(error, "cannot sign in"))?;
        let mut outcome = Outcome::default();
        for blob in &package.blobs {
            let what = || format!("cannot send the blob {}", blob.digest());
            if self.client.blob_exists(&image, &blob.digest()).await.map_err(|e| self.explained(e, &what()))? {
                outcome.there += 1;
                continue;
            }
            let sent = self.client.push_blob(&image, blob.bytes().to_vec(), &blob.digest()).await;
            sent.map_err(|error| self.explained(error, &what()))?;
            outcome.sent += 1;
        }
        for manifest in &package.manifests {
            self.send_manifest(manifest.form.suffix(), manifest.blob.bytes(), OCI_IMAGE_MEDIA_TYPE).await?;
        }
        for manifest in &package.manifests {
            if let Some(subject) = manifest.form.subject().and_then(|form| package.manifest(form)) {
                self.refer(&subject.blob.digest(), manifest.descriptor()?).await?;
            }
        }
        self.read_back(package).await?;
        Ok(outcome)
    }

    async fn send_manifest(&self, suffix: &str, bytes: &[u8], media_type: &'static str) -> anyhow::Result<()> {
        let reference = self.target.tagged(suffix);
        let what = format!("cannot send the manifest {reference}");
        let media_type = http::HeaderValue::from_static(media_type);
        let sent = self.client.push_manifest_raw(&reference, bytes.to_vec(), media_type).await;
        sent.map(drop).map_err(|error| self.explained(error, &what))
    }

    /// Makes sure that whoever asks what refers to `subject` is told of `referrer`. Registries before version 1.1 of the
    /// distribution specification do not see it themselves; for them there is an index under a tag made of the digest.
    async fn refer(&self, subject: &str, referrer: Descriptor) -> anyhow::Result<()> {
        let by_digest = self.target.by_digest(subject);
        let what = format!("cannot ask what refers to {by_digest}");
        let listed = self.client.pull_referrers(&by_digest, None).await.map_err(|e| self.explained(e, &what))?;
        let digest = referrer.digest().to_string();
        if listed.manifests.iter().any(|entry| entry.digest == digest) {
            return Ok(());
        }
        let tag = subject.replace(':', "-");
        let mut entries = self.index(&self.target.with_tag(&tag)).await?;
        entries.retain(|entry| *entry.digest() != *referrer.digest());
        entries.push(referrer);
        let index = ImageIndexBuilder::default().schema_version(2_u32).media_type(MediaType::ImageIndex);
        let index = super::blob::Blob::json(&index.manifests(entries).build()?)?;
        let reference = self.target.with_tag(&tag);
        let media_type = http::HeaderValue::from_static(OCI_IMAGE_INDEX_MEDIA_TYPE);
        let sent = self.client.push_manifest_raw(&reference, index.bytes().to_vec(), media_type).await;
        sent.map(drop).map_err(|error| self.explained(error, &format!("cannot send the index {reference}")))
    }

    /// The entries of an index that is there, none where there is no index.
    async fn index(&self, reference: &Reference) -> anyhow::Result<Vec<Descriptor>> {
        let types = [OCI_IMAGE_INDEX_MEDIA_TYPE];
        let bytes = match self.client.pull_manifest_raw(reference, &self.credentials.auth, &types).await {
            Ok((bytes, _)) => bytes,
            Err(error) if is_unknown(&error) => return Ok(Vec::new()),
            Err(error) => return Err(self.explained(error, &format!("cannot read the index {reference}"))),
        };
        let index: ImageIndex = serde_json::from_slice(&bytes).with_context(|| {
            format!("{reference} is no index; what refers to an image is listed there, so remove that tag")
        })?;
        Ok(index.manifests().clone())
    }

    async fn read_back(&self, package: &Package) -> anyhow::Result<()> {
        for manifest in &package.manifests {
            self.read_manifest(manifest).await?;
        }
        let image = self.target.tagged("");
        for blob in &package.blobs {
            let size = i64::try_from(blob.bytes().len()).context("a blob of more bytes than can be said")?;
            let descriptor = OciDescriptor { digest: blob.digest(), size, ..OciDescriptor::default() };
            // The client holds the bytes against the digest; they are not needed.
            let read = self.client.pull_blob(&image, &descriptor, tokio::io::sink()).await;
            if let Err(OciDistributionError::DigestError(error)) = &read {
                bail!(
                    "the registry {} has other bytes under {} than that digest stands for ({error}). Do not use what is stored \
                     there; remove the repository's blob and push again",
                    self.target.registry(),
                    blob.digest()
                );
            }
            read.map_err(|error| self.explained(error, &format!("cannot read the blob {} back", blob.digest())))?;
        }
        Ok(())
    }

    async fn read_manifest(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let reference = self.target.tagged(manifest.form.suffix());
        let what = format!("cannot read the manifest {reference} back");
        let read = self.client.pull_manifest_raw(&reference, &self.credentials.auth, &[OCI_IMAGE_MEDIA_TYPE]).await;
        let (bytes, digest) = read.map_err(|error| self.explained(error, &what))?;
        ensure!(
            bytes.as_ref() == manifest.blob.bytes() && digest == manifest.blob.digest(),
            "{reference} is {digest}, not the {} that was sent: the registry changes manifests, or somebody pushed \
             to that tag at the same time",
            manifest.blob.digest()
        );
        Ok(())
    }

    fn explained(&self, error: OciDistributionError, what: &str) -> anyhow::Error {
        explain(error, what, self.target, &self.credentials.origin)
    }
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
    let (package, target, credentials) = (Arc::new(package), Arc::new(target), Arc::new(credentials));
    runtime.block_on(async move {
        // In a task of its own: should the client give up on an answer that no registry gives, that is an error here.
        let pushing =
            tokio::spawn(async move { Registry::new(&target, &credentials, &authorities)?.push(&package).await });
        pushing.await.context("the registry answers what no registry answers")?
    })
}
