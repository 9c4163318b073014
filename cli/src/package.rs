//! `exeat package`: the module as gateways fetch it, an OCI image and an OCI artifact, or the command line as clusters run it,
//! as files or in a registry.

pub mod about;
pub mod blob;
pub mod credentials;
pub mod image;
pub mod layout;
pub mod module;
pub mod program;
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
use program::Program;
use report::Report;
use sbom::{Sbom, Subject};
use std::io::Write as _;
use std::path::PathBuf;
use target::Target;

/// Arguments of `exeat package`.
#[derive(Debug, Args)]
pub struct PackageArgs {
    /// The filter, exeat.wasm.
    #[arg(long, value_name = "FILE", required_unless_present = "cli", conflicts_with = "cli")]
    module: Option<PathBuf>,
    /// In place of the module, this very program: the image that `exeat render kubernetes --cli-image` names. It must stand
    /// alone, as `cargo xtask image` builds it.
    #[arg(long)]
    cli: bool,
    /// The bill of materials of the module or program, exeat.cdx.json (CycloneDX), which then goes along.
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
    let created = about::source_date(std::env::var_os("SOURCE_DATE_EPOCH").as_deref())?;
    let (package, about, mut report) = match &args.module {
        Some(file) => {
            let module = Module::read(file)?;
            let about = About::new(&module, created)?;
            let subject = Subject { word: "module", made_by: "cargo xtask wasm", file: module.blob(), about: &about };
            let sbom = args.sbom.as_deref().map(|file| Sbom::read(file, subject)).transpose()?;
            let package = Package::new(&module, &about, sbom.as_ref())?;
            let report = Report::of_module(module.blob(), &about, &package, target.as_ref());
            (package, about, report)
        }
        None => {
            let program = Program::own()?;
            let about = About::of_program(&program, created);
            let subject =
                Subject { word: "program", made_by: "cargo xtask image", file: program.blob(), about: &about };
            let sbom = args.sbom.as_deref().map(|file| Sbom::read(file, subject)).transpose()?;
            let package = Package::of_program(&program, &about, sbom.as_ref())?;
            let report = Report::of_program(program.blob(), &about, &package, target.as_ref());
            (package, about, report)
        }
    };
    let layout = Layout::new(&package)?;
    if let Some(folder) = &args.output {
        layout.write_folder(folder)?;
    }
    if let Some(file) = &args.archive {
        layout.write_archive(file, about.seconds())?;
    }
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
