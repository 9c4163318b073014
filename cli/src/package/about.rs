//! What the manifests say of the module: version, source, commit, licence, and the schema of the policies it reads.

use super::module::{ABI, Module};
use super::program::Program;
use crate::policy::schema;
use anyhow::{Context as _, bail};
use exeat_engine::policy::document::schema::SchemaKind;
use oci_spec::image::{
    ANNOTATION_CREATED, ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_REVISION, ANNOTATION_SOURCE,
    ANNOTATION_TITLE, ANNOTATION_VERSION,
};
use std::collections::BTreeMap;
use std::ffi::OsStr;

/// Annotation: SHA-256 of the module itself, which is another than that of any manifest.
pub const MODULE_DIGEST: &str = "io.github.exeat.module.digest";

/// Annotation: the digest that the build wrote into the module, by which evidence names it.
pub const MODULE_BUILT: &str = "io.github.exeat.module.built";

/// Annotation: SHA-256 of the command line in its image.
pub const CLI_DIGEST: &str = "io.github.exeat.cli.digest";

/// Annotation: version of the proxy-wasm ABI.
pub const MODULE_ABI: &str = "io.github.exeat.module.abi";

/// Annotation: the `schema` of the policies that the module reads.
pub const POLICY_SCHEMA: &str = "io.github.exeat.policy.schema";

/// Annotation: SHA-256 of its JSON Schema, as `exeat policy schema policy` prints it.
pub const POLICY_SCHEMA_DIGEST: &str = "io.github.exeat.policy.schema.digest";

/// Value of [`POLICY_SCHEMA`].
const SCHEMA: &str = "exeat/v1";

/// Facts about a module.
#[derive(Debug)]
pub struct About {
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    pub revision: Option<String>,
    /// When it counts as made: seconds since the Unix epoch.
    pub created: Option<jiff::Timestamp>,
    annotations: BTreeMap<String, String>,
}

impl About {
    /// What the module says of itself, and where it is from.
    ///
    /// # Errors
    /// None that can happen.
    pub fn new(module: &Module, created: Option<jiff::Timestamp>) -> anyhow::Result<Self> {
        let (version, revision) = (module.stamp().version.clone(), module.stamp().git.clone());
        let schema = super::blob::Blob::new(schema(SchemaKind::Policy)?.into_bytes());
        let own = [
            (ANNOTATION_DESCRIPTION, "proxy-wasm egress filter for AI agents".to_owned()),
            (MODULE_DIGEST, module.blob().digest()),
            (MODULE_BUILT, module.stamp().actual.clone()),
            (MODULE_ABI, ABI.to_owned()),
            (POLICY_SCHEMA, SCHEMA.to_owned()),
            (POLICY_SCHEMA_DIGEST, schema.digest()),
        ];
        Ok(Self::of(version, revision, created, own))
    }

    /// What is known of the program that runs.
    pub fn of_program(program: &Program, created: Option<jiff::Timestamp>) -> Self {
        let own = [
            (ANNOTATION_DESCRIPTION, "command line of an egress filter for AI agents".to_owned()),
            (CLI_DIGEST, program.blob().digest()),
            (POLICY_SCHEMA, SCHEMA.to_owned()),
        ];
        let revision = option_env!("EXEAT_GIT_HASH").filter(|hash| *hash != exeat_stamp::UNKNOWN).map(str::to_owned);
        Self::of(env!("CARGO_PKG_VERSION").to_owned(), revision, created, own)
    }

    fn of(
        version: String,
        revision: Option<String>,
        created: Option<jiff::Timestamp>,
        own: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut annotations: BTreeMap<&str, String> = BTreeMap::from([
            (ANNOTATION_TITLE, "exeat".to_owned()),
            (ANNOTATION_VERSION, version.clone()),
            (ANNOTATION_SOURCE, env!("CARGO_PKG_REPOSITORY").to_owned()),
            (ANNOTATION_LICENSES, env!("CARGO_PKG_LICENSE").to_owned()),
        ]);
        annotations.extend(own);
        annotations.extend(revision.clone().map(|revision| (ANNOTATION_REVISION, revision)));
        annotations.extend(created.map(|created| (ANNOTATION_CREATED, created.to_string())));
        let annotations = annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { version, revision, created, annotations }
    }

    /// As annotations.
    pub fn annotations(&self) -> impl Iterator<Item = (String, String)> {
        self.annotations.clone().into_iter()
    }

    /// Seconds since the Unix epoch for the times of files: 0 where no time is known.
    pub fn seconds(&self) -> u64 {
        self.created.and_then(|created| u64::try_from(created.as_second()).ok()).unwrap_or(0)
    }

    /// The version as it can stand in a tag.
    pub fn tag(&self) -> String {
        self.version.replace('+', "_")
    }
}

/// The time that `SOURCE_DATE_EPOCH` names; the clock is never asked, so that the same module gives the same digests.
///
/// # Errors
/// A value that is no number of seconds.
pub fn source_date(value: Option<&OsStr>) -> anyhow::Result<Option<jiff::Timestamp>> {
    let Some(value) = value else { return Ok(None) };
    let place = || format!("SOURCE_DATE_EPOCH is {value:?}; set it to whole seconds since 1970, or unset it");
    let seconds: i64 = value.to_str().and_then(|text| text.parse().ok()).with_context(place)?;
    if seconds < 0 {
        bail!(place());
    }
    Ok(Some(jiff::Timestamp::from_second(seconds).with_context(place)?))
}
