//! Which rules of a policy no case has shown to hold.

use super::expect::Observed;
use crate::policy::diagnostic::Location;
use crate::policy::load::Loaded;
use exeat_engine::policy::error::push_key;
use exeat_engine::policy::node::Node;
use std::collections::HashSet;

/// Rules that decided a case: an allow rule by allowing, a deny rule by refusing.
#[derive(Debug, Default)]
pub struct Coverage {
    decided: HashSet<String>,
}

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRule {
    /// `<agent>/<id>`, `<profile>/<id>` or `ceilings/<id>`.
    pub name: String,
    /// Where.
    pub location: Location,
    /// The names that records may give it: that of a profile has one for each agent that uses it.
    names: Vec<String>,
}

impl Coverage {
    /// Takes what came of a case.
    pub fn add(&mut self, observed: &Observed) {
        let decides = observed.outcome == "allow" || observed.reason == "rule-denied";
        self.decided.extend(observed.rule.clone().filter(|_| decides));
    }

    /// Whether some case showed the rule to hold.
    pub fn covers(&self, rule: &WrittenRule) -> bool {
        rule.names.iter().any(|name| self.decided.contains(name))
    }
}

/// All rules, in the order of the document.
pub fn rules(loaded: &Loaded) -> Vec<WrittenRule> {
    let policy = &loaded.policy;
    let mut rules = Vec::new();
    let mut add = |holder: &Node, pointer: &str, name: &str, names: &dyn Fn(&str) -> Vec<String>| {
        for list in ["allow", "deny"] {
            let Some(Node::List(items)) = holder.get(list) else { continue };
            for (i, rule) in items.iter().enumerate() {
                let Some(Node::Text(id)) = rule.get("id") else { continue };
                let location = loaded.locate(&format!("{pointer}/{list}/{i}"));
                rules.push(WrittenRule { name: format!("{name}/{id}"), location, names: names(id) });
            }
        }
    };
    if let Some(ceilings) = policy.get("ceilings") {
        add(ceilings, "/ceilings", "ceilings", &|id| vec![format!("ceilings/{id}")]);
    }
    let pointer = |section: &str, name: &str| {
        let mut pointer = format!("/{section}");
        push_key(&mut pointer, name);
        pointer
    };
    let entries = |section: &str| match policy.get(section) {
        Some(Node::Map(entries)) => entries.clone(),
        _ => Vec::new(),
    };
    let agents = entries("agents");
    for (name, profile) in entries("profiles") {
        let uses = |agent: &Node| matches!(agent.get("use"), Some(Node::List(used)) if used.contains(&Node::Text(name.clone())));
        let users: Vec<&str> = agents.iter().filter(|(_, agent)| uses(agent)).map(|(user, _)| user.as_str()).collect();
        add(&profile, &pointer("profiles", &name), &name, &|id| {
            users.iter().map(|user| format!("{user}/{id}")).collect()
        });
    }
    for (name, agent) in &agents {
        add(agent, &pointer("agents", name), name, &|id| vec![format!("{name}/{id}")]);
    }
    rules
}
