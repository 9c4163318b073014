//! A gateway's keys and configuration, made anew for each run by the real command line.

use super::document::fill_in;
use super::token::Issuer;
use crate::stage::artefacts;
use anyhow::{Context, Result, bail};
use exeat_cli::key::PrivateKey;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Key id under which the policies of the tests know the signer.
pub const KEYID: &str = "signer-eu-1";

/// Id of the gateway in the documents of the tests.
pub const GATEWAY: &str = "egress-demo";

/// What a collector asks for in tests that have it ask, in the environment of every gateway.
pub const COLLECTOR_TOKEN: (&str, &str) = ("EXEAT_COLLECTOR_TOKEN", "a-token-for-tests-alone");

/// File of a configuration that was compiled already.
const COMPILED: &str = "exeat.json";

/// Keys, documents and the compiled configuration of one gateway.
#[derive(Debug)]
pub struct Gateway {
    folder: TempDir,
    /// Its id.
    pub id: String,
    /// Base64 of the seed of the evidence key.
    pub evidence_key: String,
    /// Its public half, base64.
    pub evidence_public: String,
    /// The signer's key.
    pub signer: PrivateKey,
    /// A key that no policy knows.
    pub forger: PrivateKey,
    /// Who issues tokens.
    pub issuer: Issuer,
    /// What the filter reads.
    pub configuration: String,
}

impl Gateway {
    /// Copies the documents of tests/policies/`name`, fills keys and the port of the upstream in, and compiles them.
    pub fn prepare(name: &str, upstream_port: u16) -> Result<Self> {
        Self::prepare_with(name, upstream_port, &[])
    }

    /// As [`Gateway::prepare`], after replacing text in all documents.
    pub fn prepare_with(name: &str, upstream_port: u16, replace: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the gateway's documents")?;
        let (signer, forger) = (PrivateKey::generate()?, PrivateKey::generate()?);
        let evidence = PrivateKey::generate()?;
        let port = upstream_port.to_string();
        let public = signer.public().to_base64();
        let issuer = Issuer::new()?;
        let issued = issuer.fill();
        let mut fill = vec![("UPSTREAM_PORT", port.as_str()), ("SIGNER_KEY", public.as_str())];
        fill.extend(issued.iter().map(|(name, value)| (*name, value.as_str())));
        copy(&crate::workspace().join("tests/policies").join(name), folder.path(), &|text| {
            replace.iter().fold(fill_in(text, &fill), |text, (from, to)| text.replace(from, to))
        })?;
        let mut gateway = Self {
            folder,
            id: GATEWAY.to_owned(),
            evidence_key: evidence.to_base64(),
            evidence_public: evidence.public().to_base64(),
            signer,
            forger,
            issuer,
            configuration: String::new(),
        };
        gateway.configuration = gateway.compile()?;
        Ok(gateway)
    }

    /// Of a configuration that was compiled already; whoever made it holds its signers' keys.
    pub fn compiled(id: &str, configuration: String) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the gateway's documents")?;
        std::fs::write(folder.path().join(COMPILED), &configuration).context("cannot write the configuration")?;
        let evidence = PrivateKey::generate()?;
        Ok(Self {
            folder,
            id: id.to_owned(),
            evidence_key: evidence.to_base64(),
            evidence_public: evidence.public().to_base64(),
            signer: PrivateKey::generate()?,
            forger: PrivateKey::generate()?,
            issuer: Issuer::new()?,
            configuration,
        })
    }

    /// Arguments of `exeat render envoy` that name what is to be rendered.
    pub fn sources(&self) -> Vec<OsString> {
        let compiled = self.file(COMPILED);
        match compiled.exists() {
            true => vec!["--config".into(), compiled.into()],
            false => vec!["--gateway".into(), self.document().into(), "--policy".into(), self.policy().into()],
        }
    }

    /// The folder of the policy's documents.
    pub fn policy(&self) -> PathBuf {
        self.folder.path().join("policy")
    }

    /// The gateway document.
    pub fn document(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    /// A file beside them.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Compiles the documents as they are now.
    pub fn compile(&self) -> Result<String> {
        exeat(&["policy", "compile"], |command| {
            command.arg(self.policy()).arg("--gateway").arg(self.document());
        })
    }
}

/// Runs the command line; its standard output, or what it said on standard error.
pub fn exeat(arguments: &[&str], more: impl FnOnce(&mut Command)) -> Result<String> {
    let mut command = Command::new(artefacts::cli()?);
    command.args(arguments);
    more(&mut command);
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = |bytes| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !output.status.success() {
        bail!("{command:?} failed ({}):\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) -> Result<()> {
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let (source, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if source.is_dir() {
            std::fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
            copy(&source, &target, change)?;
        } else {
            let text = std::fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
            std::fs::write(&target, change(&text)).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}
