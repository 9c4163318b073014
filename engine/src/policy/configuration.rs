//! The plugin configuration: `{"role": "filter", "gateway": {...}, "policy": {...}}`, and `update`, a text that means nothing. Envoy
//! hands a configuration over once for as long as it remembers its bytes: one that comes again after another takes a new `update`.

use super::canonical::{Canonical, NotCanonical};
use super::compiled::CompiledPolicy;
use super::document::{GatewayDocument, PolicyDocument};
use super::error::{Document, Place, PolicyError, PolicyErrors, did_you_mean, quoted};
use super::gateway::Gateway;
use super::lean;
use super::node::Node;
use super::read::read;
use crate::context::token::HostVerifier;
use crate::destination::Exit;
use std::sync::Arc;

/// Which part of the way out this instance of the module stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Before the router: decides.
    Filter,
    /// Where a request leaves, once its address is chosen: lets go only what was decided.
    Guard,
}

impl Role {
    /// The word in the plugin's configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Guard => "guard",
        }
    }
}

/// What the module can be configured as.
#[derive(Clone, Debug)]
pub enum PluginConfiguration {
    /// The filter.
    Filter(Box<Configuration>),
    /// A guard.
    Guard(Box<GuardConfiguration>),
}

impl PluginConfiguration {
    /// Checks and compiles the plugin configuration, whatever its role.
    ///
    /// # Errors
    /// The first error in the order of the document.
    pub fn accept(json: &[u8]) -> Result<Self, PolicyError> {
        if let Some((gateway, policy)) = lean::accept(json) {
            return Ok(Self::Filter(Box::new(Configuration { gateway, policy })));
        }
        let node = Node::parse(json)?;
        let root = Place::root(Document::Configuration);
        match role(&node, &root)? {
            Role::Filter => {
                let configuration = Configuration::read(&node, &root).map_err(PolicyErrors::into_first)?;
                Ok(Self::Filter(Box::new(configuration)))
            }
            Role::Guard => Ok(Self::Guard(Box::new(GuardConfiguration::read(&node, &root)?))),
        }
    }

    /// Where it stands.
    pub fn role(&self) -> Role {
        match self {
            Self::Filter(_) => Role::Filter,
            Self::Guard(_) => Role::Guard,
        }
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        match self {
            Self::Filter(configuration) => configuration.gateway(),
            Self::Guard(guard) => guard.gateway(),
        }
    }
}

/// The configuration of a guard: `{"role": "guard", "gateway": {...}, "exits": ["https"]}`. It has no policy: what may
/// leave is what the filter let go.
#[derive(Clone, Debug)]
pub struct GuardConfiguration {
    gateway: Gateway,
    exits: Vec<Exit>,
}

impl GuardConfiguration {
    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The ways out that it stands in.
    pub fn exits(&self) -> &[Exit] {
        &self.exits
    }

    fn read(node: &Node, root: &Place<'_>) -> Result<Self, PolicyError> {
        let document = read::<GatewayDocument>(part(node, "gateway", root)?, Document::Gateway)?;
        let gateway = Gateway::compile(document, &Place::root(Document::Gateway))?;
        let place = root.key("exits");
        let known = || format!("write some of {}", Exit::ALL.map(Exit::word).join(", "));
        let Node::List(words) = part(node, "exits", root)? else {
            return Err(place.error("expected a list", known(), ""));
        };
        let exit = |(i, word): (usize, &Node)| match word {
            Node::Text(word) => Exit::from_word(word)
                .ok_or_else(|| place.index(i).error(format!("unknown way out {}", quoted(word)), known(), "")),
            other => Err(place.index(i).error(format!("expected text, found {}", other.kind()), known(), "")),
        };
        let exits: Vec<Exit> = words.iter().enumerate().map(exit).collect::<Result<_, _>>()?;
        if exits.is_empty() {
            return Err(place.error("an empty list lets nothing out", known(), ""));
        }
        Ok(Self { gateway, exits })
    }
}

/// A configuration that was accepted: immutable, complete, every reference resolved.
#[derive(Clone, Debug)]
pub struct Configuration {
    gateway: Gateway,
    policy: CompiledPolicy,
}

impl Configuration {
    /// Checks and compiles the plugin configuration.
    ///
    /// # Errors
    /// The first error in the order of the document.
    pub fn accept(json: &[u8]) -> Result<Self, PolicyError> {
        Self::examine(json).map_err(PolicyErrors::into_first)
    }

    /// As [`Configuration::accept`], but with every error that can be told at once: a document of the wrong shape has
    /// one, a document whose parts do not fit each other has all of them.
    ///
    /// # Errors
    /// In the order of the document.
    pub fn examine(json: &[u8]) -> Result<Self, PolicyErrors> {
        if let Some((gateway, policy)) = lean::accept(json) {
            return Ok(Self { gateway, policy });
        }
        let node = Node::parse(json)?;
        let root = Place::root(Document::Configuration);
        let role = role(&node, &root)?;
        if role != Role::Filter {
            return Err(root.key("role").error("this is the configuration of a guard", "write filter", "").into());
        }
        Self::read(&node, &root)
    }

    fn read(node: &Node, root: &Place<'_>) -> Result<Self, PolicyErrors> {
        let gateway = read::<GatewayDocument>(part(node, "gateway", root)?, Document::Gateway)?;
        let gateway = Gateway::compile(gateway, &Place::root(Document::Gateway))?;
        let policy = part(node, "policy", root)?;
        let document = read::<PolicyDocument>(policy, Document::Policy)?;
        let digest = digest(policy, root)?;
        match CompiledPolicy::compile(&document, &mut &document.destinations, &gateway) {
            Ok(compiled) => Ok(Self { gateway, policy: CompiledPolicy { digest, ..compiled } }),
            Err(errors) => Err(errors.sorted_by_key(|error| policy.position(&error.place))),
        }
    }

    #[cfg(test)]
    pub(super) fn of(gateway: Gateway, policy: CompiledPolicy) -> Self {
        Self { gateway, policy }
    }

    /// Takes a host into use for the keys of tokens that are not Ed25519. Without it, such tokens are refused.
    ///
    /// # Errors
    /// A key that this host cannot verify with.
    pub fn with_host(mut self, host: Arc<dyn HostVerifier>) -> Result<Self, PolicyError> {
        self.policy.tokens = self.policy.tokens.with_host(host).map_err(|key| PolicyError {
            document: Document::Policy,
            place: key.place,
            problem: format!("this gateway cannot verify {} with it: {}", key.algorithm, key.problem),
            why: "its host has to do this, by the foreign function verify_signature".to_owned(),
            remedy: "use an Ed25519 key, or a gateway that can (Envoy 1.40 does)".to_owned(),
        })?;
        Ok(self)
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The policy.
    pub fn policy(&self) -> &CompiledPolicy {
        &self.policy
    }
}

const PARTS: [&str; 4] = ["role", "gateway", "policy", UPDATE];
/// What makes a configuration differ from an equal one.
pub(super) const UPDATE: &str = "update";
const GUARD_PARTS: [&str; 3] = ["role", "gateway", "exits"];

fn role(node: &Node, root: &Place<'_>) -> Result<Role, PolicyError> {
    let Node::Map(entries) = node else {
        return Err(root.error(format!("expected a map, found {}", node.kind()), "write role, gateway and policy", ""));
    };
    let guard = matches!(node.get("role"), Some(Node::Text(role)) if role == Role::Guard.as_str());
    let parts: &[&str] = if guard { &GUARD_PARTS } else { &PARTS };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !parts.contains(&key.as_str())) {
        let hint = did_you_mean(key, parts.iter().copied()).map(|hint| hint + " ").unwrap_or_default();
        let remedy = format!("{hint}Known here: {}", parts.join(", "));
        return Err(root.key(key).error(format!("unknown key {}", quoted(key)), remedy, ""));
    }
    if let Some(other) = node.get(UPDATE).filter(|update| !matches!(update, Node::Text(_))) {
        let remedy = "write any text that no configuration before had";
        return Err(root.key(UPDATE).error(format!("expected text, found {}", other.kind()), remedy, ""));
    }
    let place = root.key("role");
    match part(node, "role", root)? {
        Node::Text(role) if role == "filter" => Ok(Role::Filter),
        Node::Text(role) if role == "guard" => Ok(Role::Guard),
        Node::Text(role) => Err(place.error(format!("unknown role {}", quoted(role)), "write filter or guard", "")),
        other => Err(place.error(format!("expected text, found {}", other.kind()), "write filter or guard", "")),
    }
}

fn part<'n>(node: &'n Node, name: &str, root: &Place<'_>) -> Result<&'n Node, PolicyError> {
    let remedy = if name == "exits" { "write role, gateway and exits" } else { "write role, gateway and policy" };
    node.get(name).ok_or_else(|| root.error(format!("the key {} is missing", quoted(name)), remedy, ""))
}

/// `sha256:<hex>` over the canonical JSON (RFC 8785) of the policy.
fn digest(policy: &Node, root: &Place<'_>) -> Result<String, PolicyError> {
    let mut canonical = Canonical::default();
    match canonical.node(policy) {
        Ok(()) => Ok(canonical.finish()),
        Err(NotCanonical) => {
            let remedy = "use only numbers that a double can hold";
            Err(root.key("policy").error("it has no canonical form", remedy, ""))
        }
    }
}
