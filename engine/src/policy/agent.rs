//! Agents: their own rules and those of the profiles they use.

use super::Mode;
use super::budgets::{self, Origin};
use super::destination::Destinations;
use super::document::policy::{AgentDocument, PolicyDocument, ProfileDocument};
use super::document::rule::{AllowDocument, DenyDocument};
use super::error::{Document, Place, PolicyError, Problems, did_you_mean, quoted};
use super::rule::{AllowRule, DenyRule};
use super::selector::{DestinationSet, Directory, check_id};
use crate::order;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// One agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    /// The team that wrote it; `None`: the platform.
    pub(crate) team: Option<String>,
    pub(crate) mode: Option<Mode>,
    pub(crate) allow: Vec<Arc<AllowRule>>,
    pub(crate) deny: Vec<Arc<DenyRule>>,
}

/// Rules that stand together: of an agent or of a profile.
struct Rules {
    allow: Vec<Arc<AllowRule>>,
    deny: Vec<Arc<DenyRule>>,
}

impl Rules {
    fn ids(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().map(|rule| rule.id.as_str()).chain(self.deny.iter().map(|rule| rule.id.as_str()))
    }

    fn sets(&self) -> impl Iterator<Item = &DestinationSet> {
        self.allow.iter().map(|rule| &rule.to).chain(self.deny.iter().map(|rule| &rule.to))
    }
}

/// What agents are compiled against.
pub(crate) struct Surroundings<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) destinations: &'a Destinations,
    /// Budgets of rules that state none.
    pub(crate) budgets: &'a budgets::Defaults,
}

/// All agents, by the name they are known by.
pub(crate) fn compile(
    document: &PolicyDocument,
    around: &Surroundings<'_>,
    problems: &mut Problems,
) -> HashMap<String, Agent> {
    let root = Place::root(Document::Policy);
    let mut profiles = HashMap::new();
    for (name, profile) in document.profiles.iter() {
        let (all, key) = (root.key("profiles"), name);
        let place = all.key(key);
        let rules = compile_profile(name, profile, around, &place, problems);
        profiles.insert(name, (profile.team.as_deref(), rules));
    }
    let mut agents = HashMap::new();
    for (name, agent) in document.agents.iter() {
        let all = root.key("agents");
        let compiled = compile_agent(name, agent, &profiles, around, &all.key(name), problems);
        agents.insert(name.to_owned(), compiled);
    }
    agents
}

fn compile_profile(
    name: &str,
    profile: &ProfileDocument,
    around: &Surroundings<'_>,
    place: &Place<'_>,
    problems: &mut Problems,
) -> Rules {
    problems.take(check_id(name, "a profile", place));
    problems.take(check_team(name, profile.team.as_deref(), place));
    let origin = Origin { list: "profiles", name, team: profile.team.as_deref(), defaults: around.budgets };
    compile_rules(&profile.allow, &profile.deny, &origin, HashSet::new(), around, place, problems)
}

fn compile_agent(
    name: &str,
    agent: &AgentDocument,
    profiles: &HashMap<&str, (Option<&str>, Rules)>,
    around: &Surroundings<'_>,
    place: &Place<'_>,
    problems: &mut Problems,
) -> Agent {
    let team = agent.team.as_deref();
    problems.take(agent_name(name, place));
    problems.take(check_team(name, team, place));
    let (mut allow, mut deny, mut ids) = (Vec::new(), Vec::new(), HashSet::new());
    let uses = place.key("use");
    for (i, profile) in agent.profiles.iter().enumerate() {
        let place = uses.index(i);
        let Some((of, rules)) = profiles.get(profile.as_str()) else {
            problems.note(no_profile(profile, team, profiles, &place));
            continue;
        };
        if let Some(of) = of.filter(|of| Some(*of) != team) {
            problems.note(place.error(
                format!("the profile {} is of the team {}", quoted(profile), quoted(of)),
                "write its rules here, or ask the platform for a profile that all can use",
                "whoever may change it could change what this agent may do",
            ));
            continue;
        }
        let closed = rules.sets().flat_map(DestinationSet::ids).find_map(|id| closed_to(*id, team, around));
        if let Some(id) = closed {
            problems.note(not_open(&place, &id, team));
        }
        for id in rules.ids() {
            if !ids.insert(id) {
                problems.note(place.error(
                    format!("this brings a second rule {}", quoted(id)),
                    "rename one of the two",
                    "records name a rule by agent and id",
                ));
            }
        }
        allow.extend(rules.allow.iter().cloned());
        deny.extend(rules.deny.iter().cloned());
    }
    let origin = Origin { list: "agents", name, team, defaults: around.budgets };
    let own = compile_rules(&agent.allow, &agent.deny, &origin, ids, around, place, problems);
    allow.extend(own.allow);
    deny.extend(own.deny);
    Agent { team: agent.team.clone(), mode: agent.mode, allow, deny }
}

fn no_profile(
    profile: &str,
    team: Option<&str>,
    profiles: &HashMap<&str, (Option<&str>, Rules)>,
    place: &Place<'_>,
) -> PolicyError {
    let mut known: Vec<&str> = profiles.keys().copied().collect();
    order::sort(&mut known);
    let own = team.map(|team| format!("{team}/{profile}")).filter(|own| known.contains(&own.as_str()));
    let remedy = match own {
        Some(own) => format!("write {}: a team's profiles are known by its name, too", quoted(&own)),
        None => did_you_mean(profile, known.into_iter())
            .unwrap_or_else(|| "add it to profiles, or remove it here".to_owned()),
    };
    place.error(format!("no profile {}", quoted(profile)), remedy, "")
}

/// `ids` are those that are taken already.
fn compile_rules<'a>(
    allow: &'a [AllowDocument],
    deny: &'a [DenyDocument],
    origin: &Origin<'_>,
    mut ids: HashSet<&'a str>,
    around: &Surroundings<'_>,
    place: &Place<'_>,
    problems: &mut Problems,
) -> Rules {
    let (allow_place, deny_place) = (place.key("allow"), place.key("deny"));
    let mut own = |id: &'a str, place: &Place<'_>, problems: &mut Problems| {
        if !ids.insert(id) {
            problems.note(place.key("id").error(
                format!("another rule has the id {}", quoted(id)),
                "give each rule of an agent an id of its own, those of its profiles included",
                "records name a rule by agent and id",
            ));
        }
    };
    let mut rules = Rules { allow: Vec::new(), deny: Vec::new() };
    for (i, document) in allow.iter().enumerate() {
        let place = allow_place.index(i);
        own(&document.id, &place, problems);
        if let Some(rule) = AllowRule::compile(document, around.directory, origin, &place, problems) {
            check_open(&document.to, &rule.to, origin.team, around, &place, problems);
            rules.allow.push(Arc::new(rule));
        }
    }
    for (i, document) in deny.iter().enumerate() {
        let place = deny_place.index(i);
        own(&document.id, &place, problems);
        if let Some(rule) = DenyRule::compile(document, around.directory, &place, problems) {
            check_open(&document.to, &rule.to, origin.team, around, &place, problems);
            rules.deny.push(Arc::new(rule));
        }
    }
    rules
}

/// Notes every destination that a rule names by id although it is not open to the team. What it names by category or
/// kind is narrowed to what is open when a request is judged.
fn check_open(
    document: &super::document::rule::Selector,
    set: &DestinationSet,
    team: Option<&str>,
    around: &Surroundings<'_>,
    place: &Place<'_>,
    problems: &mut Problems,
) {
    let to = place.key("to");
    let ids_place = if document.plain { to } else { to.key("id") };
    for id in set.ids().iter().filter_map(|id| closed_to(*id, team, around)) {
        let index = document.ids.iter().flatten().position(|named| *named == id).unwrap_or(0);
        problems.note(not_open(&ids_place.index(index), &id, team));
    }
}

fn closed_to(index: u32, team: Option<&str>, around: &Surroundings<'_>) -> Option<String> {
    around.destinations.get(index).filter(|found| !found.open_to_team(team)).map(|found| found.id.to_string())
}

fn not_open(place: &Place<'_>, id: &str, team: Option<&str>) -> PolicyError {
    place.error(
        format!("the destination {} is not open to the team {}", quoted(id), quoted(team.unwrap_or_default())),
        "ask its owner to add the team to its teams",
        "",
    )
}

/// What a team defines is known as `<team>/<name>`.
fn check_team(name: &str, team: Option<&str>, place: &Place<'_>) -> Result<(), PolicyError> {
    match team {
        Some(team) if !name.strip_prefix(team).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1) => {
            Err(place.key("team").error(
                format!("{} is not of the team {}", quoted(name), quoted(team)),
                format!("call it {}", quoted(&format!("{team}/{name}"))),
                "a team defines only what is its own",
            ))
        }
        _ => Ok(()),
    }
}

/// Contexts name an agent by a structured-field string: printable ASCII.
fn agent_name(name: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    if name == "ceilings" {
        return Err(place.error("no agent can be called ceilings", "give it another name", "records name ceilings so"));
    }
    if (1..=256).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) && !name.contains('*') {
        return Ok(());
    }
    Err(place.error(
        format!("{} is not a name of an agent", quoted(name)),
        "write 1 to 256 visible ASCII characters without *",
        "an agent is one workload identity, never a family",
    ))
}
