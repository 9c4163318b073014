//! `exeat package`: the module as gateways fetch it, an OCI image and an OCI artifact, as files or in a registry.

pub mod about;
pub mod blob;
pub mod credentials;
pub mod image;
pub mod layout;
pub mod module;
pub mod push;
pub mod refusal;
pub mod report;
pub mod sbom;
pub mod session;
pub mod target;
pub mod token;

use crate::collect::listen::certificates;
use crate::terminal::Out;
use about::About;
use anyhow::Context as _;
use clap::Args;
use credentials::CredentialArgs;
use image::Package;
use layout::Layout;
use module::Module;
use report::Report;
use sbom::Sbom;
use std::io::Write as _;
use std::path::PathBuf;
use target::Target;

/// Arguments of `exeat package`.
#[derive(Debug, Args)]
pub struct PackageArgs {
    /// The filter, exeat.wasm.
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// Its bill of materials, exeat.cdx.json (CycloneDX), which then goes along.
    #[arg(long, value_name = "FILE")]
    sbom: Option<PathBuf>,
    /// Write an OCI image layout into this folder. An image layout that is there is replaced.
    #[arg(short, long, value_name = "DIR", required_unless_present_any = ["archive", "push"])]
    output: Option<PathBuf>,
    /// Write the image layout as one tar.
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Push to a registry: the image under this tag, the artifact under TAG-artifact, bills of materials under TAG-sbom and
    /// TAG-artifact-sbom.
    #[arg(long, value_name = "REGISTRY/REPOSITORY:TAG")]
    push: Option<String>,
    /// Speak to the registry without TLS. Alone, only to one on loopback; any other must be named here.
    #[arg(long, value_name = "REGISTRY", num_args = 0..=1, require_equals = true, default_missing_value = "",
          requires = "push")]
    plain_http: Option<String>,
    /// Certificate authorities of the registry, PEM, in place of those of the system.
    #[arg(long, value_name = "FILE", requires = "push", conflicts_with = "plain_http")]
    registry_ca: Option<PathBuf>,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `exeat package`.
///
/// # Errors
/// What is no module, and what cannot be written or pushed.
pub fn run(args: PackageArgs) -> anyhow::Result<()> {
    let target = args.push.as_deref().map(|push| Target::parse(push, args.plain_http.as_deref())).transpose()?;
    let module = Module::read(&args.module)?;
    let sbom = args.sbom.as_deref().map(|file| Sbom::read(file, &module)).transpose()?;
    let created = about::source_date(std::env::var_os("SOURCE_DATE_EPOCH").as_deref())?;
    let about = About::new(&module, created)?;
    let package = Package::new(&module, &about, sbom.as_ref())?;
    let layout = Layout::new(&package)?;
    if let Some(folder) = &args.output {
        layout.write_folder(folder)?;
    }
    if let Some(file) = &args.archive {
        layout.write_archive(file, about.seconds())?;
    }
    let mut report = Report::new(&module, &about, &package, target.as_ref());
    if let Some(target) = target {
        let authorities = args.registry_ca.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let credentials = args.credentials.find(&target)?;
        report.pushed = Some(push::push(package, target, credentials, authorities)?);
    }
    let text = if args.json { format!("{}\n", serde_json::to_string_pretty(&report)?) } else { report.to_string() };
    Out::new().write_all(text.as_bytes()).context("cannot print what was made")
}

#[cfg(test)]
mod tests;
