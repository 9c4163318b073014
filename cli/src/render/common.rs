//! What every `exeat render` takes and does: a policy that is accepted, and a text that is written.

use super::yaml;
use crate::files::write_whole;
use crate::policy::load_or_explain;
use crate::terminal::Out;
use anyhow::{Context, bail};
use clap::Args;
use exeat_engine::policy::Configuration;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments that name what is rendered, and where the result goes.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// The gateway document, with --policy.
    #[arg(long, requires = "policy", required_unless_present = "config")]
    gateway: Option<PathBuf>,
    /// The policy folder.
    #[arg(long, requires = "gateway", conflicts_with = "config")]
    policy: Option<PathBuf>,
    /// The environment, with --policy; without it, that which the gateway document names.
    #[arg(long, value_name = "NAME", requires = "policy")]
    env: Option<String>,
    /// What `exeat policy compile` wrote, in place of --gateway and --policy.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A text that no rendering before had, such as a commit. Envoy does not take a policy that comes back after another while it
    /// remembers its bytes: with another text here, the bytes are others.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    update: Option<String>,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// JSON instead of YAML.
    #[arg(long)]
    json: bool,
}

/// A configuration that the filter takes.
#[derive(Debug)]
pub struct Accepted {
    /// As requests meet it.
    pub configuration: Configuration,
    /// Its text, as the filter gets it.
    pub plugin: String,
    /// The same, read.
    pub plugin_document: Value,
    /// The gateway document in it, as guards get it.
    pub gateway: Value,
}

impl Accepted {
    /// Whether the policy has a signing key of this id: without it nothing that a signer signs would be let out.
    pub fn knows(&self, keyid: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.configuration.policy().keys().get(keyid).is_some(),
            "--keyid {keyid}: no signer of the policy has a key of this id; add it under `signers`, or name one that is there"
        );
        Ok(())
    }

    /// What the gateway document says of `hold`, where it says it.
    pub fn hold(&self) -> Option<bool> {
        self.gateway.get("hold").and_then(Value::as_bool)
    }
}

impl CommonArgs {
    /// Reads what is rendered, and accepts it by the same code as in the gateway.
    ///
    /// # Errors
    /// A file that cannot be read, and whatever the gateway would refuse.
    pub fn accept(&self) -> anyhow::Result<Accepted> {
        self.accept_with(|| None)
    }

    /// As [`CommonArgs::accept`], with this `update` where neither arguments nor document have one.
    ///
    /// # Errors
    /// As those.
    pub fn accept_with(&self, update: impl FnOnce() -> Option<String>) -> anyhow::Result<Accepted> {
        let (configuration, plugin) = match (&self.config, &self.policy, &self.gateway) {
            (Some(file), _, _) => compiled(file)?,
            (None, Some(policy), Some(gateway)) => {
                let loaded = load_or_explain(policy, Some(gateway), self.env.as_deref())?;
                (loaded.configuration, serde_json::to_string_pretty(&loaded.document)?)
            }
            _ => bail!("name --gateway and --policy, or --config"),
        };
        let mut plugin_document: Value = serde_json::from_str(&plugin).context("the configuration is no JSON")?;
        let fresh = || if plugin_document.get("update").is_none() { update() } else { None };
        let plugin = match (self.update.clone().or_else(fresh), plugin_document.as_object_mut()) {
            (Some(update), Some(parts)) => {
                parts.insert("update".to_owned(), update.into());
                serde_json::to_string_pretty(&plugin_document)?
            }
            _ => plugin,
        };
        let gateway = plugin_document.get("gateway").cloned().unwrap_or_default();
        Ok(Accepted { configuration, plugin, plugin_document, gateway })
    }

    /// The folder that was named, for what is several files.
    ///
    /// # Errors
    /// None was, or JSON was asked for.
    pub fn folder(&self) -> anyhow::Result<&Path> {
        if self.json {
            bail!("--json: these files are read as they are written; leave it out");
        }
        self.output.as_deref().context("these are several files: name the folder they are written to with -o FOLDER")
    }

    /// The file that was named.
    pub(super) fn output(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// Writes one document, to the file that was named or to standard output.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, document: &Value) -> anyhow::Result<()> {
        self.write_text(&text(document, self.json)?)
    }

    /// Writes the objects of a cluster: documents of YAML one after the other, each after its comment, or as JSON a `List`.
    /// `kubectl apply` takes both.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_objects(&self, head: &str, objects: &[Value]) -> anyhow::Result<()> {
        if self.json {
            return self.write(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}));
        }
        let mut whole: String = head.lines().map(|line| format!("# {line}\n")).collect();
        for object in objects {
            whole.push_str(&yaml::print(object)?);
        }
        self.write_text(&whole)
    }

    fn write_text(&self, text: &str) -> anyhow::Result<()> {
        match &self.output {
            Some(file) => write_whole(file, text.as_bytes()),
            None => Out::new().write_all(text.as_bytes()).context("cannot print the configuration"),
        }
    }
}

/// A compiled document.
fn compiled(file: &Path) -> anyhow::Result<(Configuration, String)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let configuration =
        Configuration::accept(text.as_bytes()).with_context(|| format!("{} is refused", file.display()))?;
    Ok((configuration, text))
}

/// One document as YAML or JSON.
pub(crate) fn text(value: &Value, json: bool) -> anyhow::Result<String> {
    if json { Ok(format!("{}\n", serde_json::to_string_pretty(value)?)) } else { yaml::print(value) }
}
