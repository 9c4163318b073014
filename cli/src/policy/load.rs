//! From files to an accepted configuration, and back from what the engine says to file, line and column.

use super::diagnostic::{Diagnostic, Location};
use super::environment;
use super::folder::policy_files;
use super::merge::{Merged, merge};
use super::suffix::{self, Suffixes};
use super::yaml::Source;
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::environment::{Resolved, check_environments, environments, resolve};
use exeat_engine::policy::error::PolicyErrors;
use exeat_engine::policy::node::Node;
use exeat_engine::policy::prune::{LeftOut, prune};
use exeat_engine::policy::{Configuration, Document, PolicyError};
use std::path::Path;
use std::sync::Arc;

/// A policy that was accepted, with what it was made from.
#[derive(Debug)]
pub struct Loaded {
    /// What the filter would hold.
    pub configuration: Configuration,
    /// The plugin configuration: role, gateway, and of the policy what requests can meet.
    pub document: Node,
    /// The whole policy of the environment, with what is for people.
    pub policy: Node,
    /// The environment, where the policy has any.
    pub environment: Option<String>,
    /// What the document lacks of the policy.
    pub left_out: LeftOut,
    files: Files,
    suffixes: Vec<Diagnostic>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) folder: Location,
    sources: Vec<Source>,
    merged: Merged,
    gateway: Option<Source>,
}

impl Written {
    /// The policy with its overlays.
    pub(super) fn policy(&self) -> &Node {
        &self.merged.policy
    }

    /// What the gateway document says of its environment, and where.
    pub(super) fn environment_of_gateway(&self) -> Option<(&str, Location)> {
        let gateway = self.gateway.as_ref()?;
        match gateway.node.get("gateway")?.get("environment")? {
            Node::Text(name) => Some((name, gateway.locate("/gateway/environment"))),
            _ => None,
        }
    }
}

/// Where everything in the policy of one environment was written.
#[derive(Debug)]
pub(super) struct Files {
    written: Arc<Written>,
    resolved: Resolved,
}

impl Files {
    /// An error of the engine, where it belongs.
    pub(super) fn explain(&self, error: &PolicyError) -> Diagnostic {
        let Written { sources, merged, gateway, .. } = self.written.as_ref();
        let (mut error, mut location) = (error.clone(), Location::file("configuration"));
        match (error.document, gateway) {
            (Document::Policy, _) => {
                error.place = self.resolved.origin(&error.place);
                location = merged.locate(&error.place, sources);
            }
            (Document::Gateway, Some(gateway)) => location = gateway.locate(&format!("/gateway{}", error.place)),
            _ => {}
        }
        Diagnostic { location, message: error.to_string() }
    }
}

impl Loaded {
    /// Where something in the merged policy was written, by its JSON pointer.
    pub fn locate(&self, pointer: &str) -> Location {
        let Written { sources, merged, .. } = self.files.written.as_ref();
        merged.locate(&self.files.resolved.origin(pointer), sources)
    }

    /// The plugin configuration with all of the policy, what no request can meet included.
    pub fn whole(&self) -> Node {
        let mut document = self.document.clone();
        if let Node::Map(entries) = &mut document {
            for (_, policy) in entries.iter_mut().filter(|(key, _)| key == "policy") {
                policy.clone_from(&self.policy);
            }
        }
        document
    }

    /// What is accepted but should be looked at: dates that have passed, ceilings that hold nothing back.
    pub fn warnings(&self, now: Timestamp) -> Vec<Diagnostic> {
        let warnings = exeat_engine::policy::warnings(&self.policy, now, self.configuration.gateway().holds());
        let mut warnings: Vec<Diagnostic> = warnings.iter().map(|warning| self.files.explain(warning)).collect();
        warnings.extend(self.suffixes.iter().cloned());
        warnings.sort_by(|a, b| a.location.cmp(&b.location));
        warnings
    }
}

/// Loads a folder, with the gateway document or for a gateway that speaks HTTPS, for the environment of that gateway.
///
/// # Errors
/// Everything that can be told at once, in the order of the files.
pub fn load(folder: &Path, gateway: Option<&Path>) -> Result<Loaded, Vec<Diagnostic>> {
    load_for(folder, gateway, None)
}

/// Loads a folder for one environment; without one, for that of the gateway.
///
/// # Errors
/// As [`load`]; an environment that is not there, or is not that of the gateway; none where the policy has some.
pub fn load_for(folder: &Path, gateway: Option<&Path>, environment: Option<&str>) -> Result<Loaded, Vec<Diagnostic>> {
    let written = Arc::new(read(folder, gateway)?);
    let chosen = environment::choose(&written, environment).map_err(|error| vec![error])?;
    compile(&written, chosen.as_deref())
}

/// Loads a folder for every environment that it has.
///
/// # Errors
/// As [`load`], over all environments; what is wrong in several is said once.
pub fn load_all(folder: &Path, gateway: Option<&Path>) -> Result<Vec<Loaded>, Vec<Diagnostic>> {
    let written = Arc::new(read(folder, gateway)?);
    let mut names: Vec<Option<&str>> = environments(written.policy()).into_iter().map(Some).collect();
    let (mut loaded, mut errors) = (Vec::new(), Vec::new());
    match names.is_empty() {
        true => names.push(None),
        false => errors.extend(environment::check_gateway(&written)),
    }
    for name in names {
        match compile(&written, name) {
            Ok(one) => loaded.push(one),
            Err(more) => add(&mut errors, more),
        }
    }
    errors.sort_by(|a, b| a.location.cmp(&b.location));
    if errors.is_empty() { Ok(loaded) } else { Err(errors) }
}

/// Adds what was not said yet.
fn add(errors: &mut Vec<Diagnostic>, more: Vec<Diagnostic>) {
    for error in more {
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
}

fn read(folder: &Path, gateway: Option<&Path>) -> Result<Written, Vec<Diagnostic>> {
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
    Ok(Written { folder: Location::file(folder), sources, merged, gateway })
}

fn compile(written: &Arc<Written>, environment: Option<&str>) -> Result<Loaded, Vec<Diagnostic>> {
    let files = Files { written: Arc::clone(written), resolved: resolve(written.policy(), environment) };
    let policy = files.resolved.policy.clone();
    let document = |policy: Node| {
        Node::Map(vec![
            ("role".to_owned(), Node::Text("filter".to_owned())),
            ("gateway".to_owned(), gateway_of(written, environment)),
            ("policy".to_owned(), policy),
        ])
    };
    let accept = |document: &Node| {
        let json = serde_json::to_vec(document).map_err(|error| {
            vec![Diagnostic::new(written.folder.clone(), "", format!("cannot be written as JSON: {error}"))]
        })?;
        let explain = |errors: PolicyErrors| errors.iter().map(|error| files.explain(error)).collect::<Vec<_>>();
        Configuration::examine(&json).map_err(explain)
    };
    let Suffixes { mut errors, warnings: suffixes } = suffix::check(&policy, &files);
    if let Err(wrong) = check_environments(written.policy()) {
        errors.extend(wrong.iter().map(|error| files.explain(error)));
    }
    let whole = accept(&document(policy.clone())).map_err(|wrong| add(&mut errors, wrong));
    errors.sort_by(|a, b| a.location.cmp(&b.location));
    let (Ok(whole), true) = (whole, errors.is_empty()) else { return Err(errors) };
    let mut pruned = policy.clone();
    let left_out = prune(&mut pruned);
    let document = document(pruned);
    // What a gateway reads: its digest is that of the policy.
    let configuration = if left_out.is_empty() { whole } else { accept(&document)? };
    let environment = environment.map(str::to_owned);
    Ok(Loaded { configuration, document, policy, environment, left_out, files, suffixes })
}

/// The gateway, which is of the environment that its policy is of.
fn gateway_of(written: &Written, environment: Option<&str>) -> Node {
    let mut node = match written.gateway.as_ref().and_then(|gateway| gateway.node.get("gateway")) {
        Some(node) => node.clone(),
        None => stand_in(),
    };
    if let (Node::Map(entries), Some(environment)) = (&mut node, environment)
        && !entries.iter().any(|(key, _)| key == "environment")
    {
        entries.push(("environment".to_owned(), Node::Text(environment.to_owned())));
    }
    node
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
