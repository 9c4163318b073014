//! From files to an accepted configuration, and back from what the engine says to file, line and column.

use super::diagnostic::{Diagnostic, Location};
use super::folder::policy_files;
use super::merge::{Merged, merge};
use super::suffix::{self, Suffixes};
use super::yaml::Source;
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::node::Node;
use exeat_engine::policy::{Configuration, Document, PolicyError};
use std::path::Path;

/// A policy that was accepted, with what it was made from.
#[derive(Debug)]
pub struct Loaded {
    /// What the filter would hold.
    pub configuration: Configuration,
    /// The plugin configuration: role, gateway, policy.
    pub document: Node,
    files: Files,
    suffixes: Vec<Diagnostic>,
}

/// Where everything was written.
#[derive(Debug)]
pub(super) struct Files {
    sources: Vec<Source>,
    merged: Merged,
    gateway: Option<Source>,
}

impl Files {
    /// An error of the engine, where it belongs.
    pub(super) fn explain(&self, error: &PolicyError) -> Diagnostic {
        let location = match (error.document, &self.gateway) {
            (Document::Policy, _) => self.merged.locate(&error.place, &self.sources),
            (Document::Gateway, Some(gateway)) => gateway.locate(&format!("/gateway{}", error.place)),
            _ => Location::file("configuration"),
        };
        Diagnostic { location, message: error.to_string() }
    }
}

impl Loaded {
    /// Where something in the merged policy was written, by its JSON pointer.
    pub fn locate(&self, pointer: &str) -> Location {
        self.files.merged.locate(pointer, &self.files.sources)
    }

    /// What is accepted but should be looked at: dates that have passed, ceilings that hold nothing back.
    pub fn warnings(&self, now: Timestamp) -> Vec<Diagnostic> {
        let policy = self.document.get("policy");
        let warnings = policy.map(|policy| exeat_engine::policy::warnings(policy, now)).unwrap_or_default();
        let mut warnings: Vec<Diagnostic> = warnings.iter().map(|warning| self.files.explain(warning)).collect();
        warnings.extend(self.suffixes.iter().cloned());
        warnings.sort_by(|a, b| a.location.cmp(&b.location));
        warnings
    }
}

/// Loads a folder, with the gateway document or for a gateway that speaks HTTPS.
///
/// # Errors
/// Everything that can be told at once, in the order of the files.
pub fn load(folder: &Path, gateway: Option<&Path>) -> Result<Loaded, Vec<Diagnostic>> {
    let files = policy_files(folder).map_err(|error| vec![error])?;
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    for file in &files {
        match Source::read(file) {
            Ok(source) => sources.push(source),
            Err(error) => errors.push(error),
        }
    }
    let gateway = match gateway.map(read_gateway).transpose() {
        Ok(gateway) => gateway,
        Err(error) => {
            errors.push(error);
            None
        }
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    let merged = merge(&sources)?;
    let gateway_node = match gateway.as_ref().and_then(|gateway| gateway.node.get("gateway")) {
        Some(node) => node.clone(),
        None => stand_in(),
    };
    let document = Node::Map(vec![
        ("role".to_owned(), Node::Text("filter".to_owned())),
        ("gateway".to_owned(), gateway_node),
        ("policy".to_owned(), merged.policy.clone()),
    ]);
    let files = Files { sources, merged, gateway };
    let json = serde_json::to_vec(&document).map_err(|error| {
        vec![Diagnostic::new(Location::file(folder), "", format!("cannot be written as JSON: {error}"))]
    })?;
    let Suffixes { errors: suffixes, warnings } = suffix::check(&files.merged.policy, &files);
    match Configuration::examine(&json) {
        Ok(configuration) if suffixes.is_empty() => Ok(Loaded { configuration, document, files, suffixes: warnings }),
        examined => {
            let errors = examined.err();
            let errors = errors.iter().flat_map(exeat_engine::policy::error::PolicyErrors::iter);
            let mut errors: Vec<Diagnostic> = errors.map(|error| files.explain(error)).chain(suffixes).collect();
            errors.sort_by(|a, b| a.location.cmp(&b.location));
            Err(errors)
        }
    }
}

/// A file with the one key `gateway`.
fn read_gateway(file: &Path) -> Result<Source, Diagnostic> {
    let source = Source::read(file)?;
    let other = match &source.node {
        Node::Map(entries) => entries.iter().map(|(key, _)| key.as_str()).find(|key| *key != "gateway"),
        _ => None,
    };
    if let Some(key) = other {
        let mut pointer = String::new();
        exeat_engine::policy::error::push_key(&mut pointer, key);
        let message = format!("gateway: unknown key {key:?}; this file has the one key gateway");
        return Err(Diagnostic::new(source.locate(&pointer), "", message));
    }
    if source.node.get("gateway").is_none() {
        let message = "gateway: the key \"gateway\" is missing; write gateway: and everything below it";
        return Err(Diagnostic::new(source.locate(""), "", message));
    }
    Ok(source)
}

/// A gateway to check a policy against that nobody named one for.
fn stand_in() -> Node {
    let text = |text: &str| Node::Text(text.to_owned());
    let map = |entries: &[(&str, Node)]| {
        Node::Map(entries.iter().map(|(key, node)| ((*key).to_owned(), node.clone())).collect())
    };
    map(&[
        ("id", text("check")),
        ("key", map(&[("env", text("EXEAT_GATEWAY_KEY"))])),
        ("collector", map(&[("cluster", text("exeat-collector"))])),
    ])
}
