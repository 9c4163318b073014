//! Leaves out of a policy what no request can meet, so that a gateway holds nothing it does not need, and a change that matters
//! to nobody but people is no other policy.
//!
//! Nothing is left out that could change an outcome, its reason, its rule or what is recorded of it; a property test holds the
//! two policies against each other. So agents that no signer may name stay (others may name them in `delegated_by`), as do
//! destinations that no rule names (they are not what `*` stands for), and rules that expired (a gateway's clock decides that).

use super::node::Node;
use std::collections::HashSet;
use std::fmt;

/// Keys of destinations that are for people.
const OF_DESTINATIONS: [&str; 4] = ["owner", "purpose", "change", "review"];

/// Keys of exceptions that are for people. The ticket is recorded, and their life is checked once more.
const OF_EXCEPTIONS: [&str; 1] = ["reason"];

/// What was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Profiles that no agent uses.
    pub profiles: Vec<String>,
    /// Destinations of which something was left out that is for people.
    pub destinations: usize,
    /// Rules of whose exceptions something was left out that is for people.
    pub exceptions: usize,
}

impl LeftOut {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.profiles.is_empty() {
            parts.push(format!("profiles that no agent uses ({})", self.profiles.join(", ")));
        }
        if self.destinations > 0 {
            parts.push(format!("{} of {}", OF_DESTINATIONS.join(", "), counted(self.destinations, "destination")));
        }
        if self.exceptions > 0 {
            parts.push(format!("{} of {}", OF_EXCEPTIONS.join(", "), counted(self.exceptions, "exception")));
        }
        f.write_str(&parts.join("; "))
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Takes what no request can meet out of a policy that was accepted.
pub fn prune(policy: &mut Node) -> LeftOut {
    let mut left_out = LeftOut::default();
    for destination in values(policy, "destinations") {
        left_out.destinations =
            left_out.destinations.saturating_add(usize::from(drop_keys(destination, &OF_DESTINATIONS)));
    }
    let mut used = HashSet::new();
    for agent in values(policy, "agents") {
        if let Some(Node::List(names)) = agent.get("use") {
            used.extend(
                names.iter().filter_map(|name| if let Node::Text(name) = name { Some(name.clone()) } else { None }),
            );
        }
    }
    if let Node::Map(parts) = policy {
        for (_, profiles) in parts.iter_mut().filter(|(key, _)| key == "profiles") {
            let Node::Map(profiles) = profiles else { continue };
            let unused = profiles.extract_if(.., |(name, _)| !used.contains(name));
            left_out.profiles.extend(unused.map(|(name, _)| name));
        }
        parts.retain(|(key, part)| key != "profiles" || !matches!(part, Node::Map(profiles) if profiles.is_empty()));
    }
    for section in ["agents", "profiles"] {
        for rules in values(policy, section) {
            for rule in rules.get_mut("allow").into_iter().flat_map(items) {
                let dropped = rule.get_mut("exception").is_some_and(|exception| drop_keys(exception, &OF_EXCEPTIONS));
                left_out.exceptions = left_out.exceptions.saturating_add(usize::from(dropped));
            }
        }
    }
    left_out
}

/// The values of a map in the policy.
fn values<'p>(policy: &'p mut Node, key: &str) -> impl Iterator<Item = &'p mut Node> {
    let entries = match policy.get_mut(key) {
        Some(Node::Map(entries)) => entries.as_mut_slice(),
        _ => &mut [],
    };
    entries.iter_mut().map(|(_, value)| value)
}

fn items(node: &mut Node) -> impl Iterator<Item = &mut Node> {
    let items = match node {
        Node::List(items) => items.as_mut_slice(),
        _ => &mut [],
    };
    items.iter_mut()
}

/// Whether there were any.
fn drop_keys(node: &mut Node, keys: &[&str]) -> bool {
    let Node::Map(entries) = node else { return false };
    let before = entries.len();
    entries.retain(|(key, _)| !keys.contains(&key.as_str()));
    entries.len() < before
}
