//! Why a request is decided as it is, found by asking the engine itself: it is sent again before the same policy with one
//! rule of its agent in it, and then another. Nothing here judges anything, so that no explanation can disagree with a decision.

use super::case::Sending;
use super::expect::Observed;
use super::keys::entry;
use super::stage::Rehearsal;
use anyhow::Context as _;
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::node::Node;

/// A rule, and what it does with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFinding {
    /// As records name it.
    pub name: String,
    /// JSON pointer to it in the merged policy.
    pub pointer: String,
    /// Why it does not fit; `None`: it does.
    pub misses: Option<Miss>,
}

/// Why a rule does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// A key of the rule.
    Key(String),
    /// The engine's reason and the first condition that failed.
    Refused(Box<Observed>),
}

/// Everything that was found out about a request.
#[derive(Clone, Debug)]
pub struct Findings {
    /// What happens.
    pub decision: Observed,
    /// What refuses whatever the agent's rules say.
    pub standing: Option<Observed>,
    /// Whether deny rules are asked at all.
    pub reaches_denials: bool,
    /// Ceilings and deny rules of the agent, where they are asked.
    pub deny: Vec<RuleFinding>,
    /// Its allow rules.
    pub allow: Vec<RuleFinding>,
}

/// Sends a request as often as it takes.
///
/// # Errors
/// The request cannot be made.
pub fn find(rehearsal: &Rehearsal, sending: &Sending, now: Timestamp) -> anyhow::Result<Findings> {
    let decision = rehearsal.play_one(sending, now)?;
    let mut findings =
        Findings { decision, standing: None, reaches_denials: false, deny: Vec::new(), allow: Vec::new() };
    let Some(context) = &sending.context else { return Ok(findings) };
    let probe = Probe { rehearsal, sending, now, name: &context.agent, delegators: &context.delegated_by };
    let Some(agent) = probe.agent() else { return Ok(findings) };
    let (allow, deny) = (agent.allow, agent.deny);
    findings.standing = probe.standing()?;
    findings.reaches_denials = probe.reaches_denials()?;
    let ceilings = probe.ceilings();
    for rule in ceilings.into_iter().chain(deny).filter(|_| findings.reaches_denials) {
        let misses = probe.denial_misses(&rule.node)?;
        findings.deny.push(RuleFinding { name: rule.name, pointer: rule.pointer, misses });
    }
    for rule in allow {
        let misses = probe.allowance_misses(&rule.node)?;
        findings.allow.push(RuleFinding { name: rule.name, pointer: rule.pointer, misses });
    }
    Ok(findings)
}

/// A rule of the agent, its own or of a profile.
struct Rule {
    name: String,
    pointer: String,
    node: Node,
}

struct Rules {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

struct Probe<'a> {
    rehearsal: &'a Rehearsal,
    sending: &'a Sending,
    now: Timestamp,
    name: &'a str,
    delegators: &'a [String],
}

impl Probe<'_> {
    fn policy(&self) -> Option<&Node> {
        self.rehearsal.document().get("policy")
    }

    fn agent(&self) -> Option<Rules> {
        let policy = self.policy()?;
        let agent = policy.get("agents")?.get(self.name)?;
        let mut rules = Rules { allow: Vec::new(), deny: Vec::new() };
        let mut take = |holder: &Node, section: &str, name: &str| {
            for (list, rules) in [("allow", &mut rules.allow), ("deny", &mut rules.deny)] {
                let mut pointer = format!("/{section}");
                exeat_engine::policy::error::push_key(&mut pointer, name);
                for (i, node) in items(holder.get(list)).iter().enumerate() {
                    let id = text(node.get("id")).unwrap_or_default();
                    let name = format!("{}/{id}", self.name);
                    rules.push(Rule { name, pointer: format!("{pointer}/{list}/{i}"), node: node.clone() });
                }
            }
        };
        for used in items(agent.get("use")) {
            let name = text(Some(used))?;
            take(policy.get("profiles")?.get(name)?, "profiles", name);
        }
        take(agent, "agents", self.name);
        Some(rules)
    }

    fn ceilings(&self) -> Vec<Rule> {
        let deny = self.policy().and_then(|policy| policy.get("ceilings")?.get("deny"));
        let rule = |(i, node): (usize, &Node)| Rule {
            name: format!("ceilings/{}", text(node.get("id")).unwrap_or_default()),
            pointer: format!("/ceilings/deny/{i}"),
            node: node.clone(),
        };
        items(deny).iter().enumerate().map(rule).collect()
    }

    /// Sends it before the policy with only these rules in the agent, and no deny rule among the ceilings.
    fn ask(&self, allow: Vec<Node>, deny: Vec<Node>) -> anyhow::Result<Observed> {
        self.ask_as(true, allow, deny)
    }

    /// As [`Probe::ask`]; `team`: the agent is its team's, not the platform's.
    fn ask_as(&self, team: bool, allow: Vec<Node>, deny: Vec<Node>) -> anyhow::Result<Observed> {
        let mut document = self.rehearsal.document().clone();
        let policy = entry(&mut document, "policy").context("the configuration has no policy")?;
        if let Some(Node::Map(ceilings)) = entry(policy, "ceilings") {
            ceilings.retain(|(key, _)| key != "deny");
        }
        if let Some(Node::Map(agents)) = entry(policy, "agents") {
            agents.retain(|(name, _)| name == self.name || self.delegators.contains(name));
        }
        let agent = entry(policy, "agents").and_then(|agents| entry(agents, self.name));
        let Some(Node::Map(agent)) = agent else { anyhow::bail!("the agent is not there any more") };
        agent.retain(|(key, _)| !matches!(key.as_str(), "use" | "allow" | "deny") && (team || key != "team"));
        agent.push(("allow".to_owned(), Node::List(allow)));
        agent.push(("deny".to_owned(), Node::List(deny)));
        self.rehearsal.with(document)?.play_one(self.sending, self.now)
    }

    /// The ids of all destinations, or of those that are open to a team.
    fn destinations(&self, team: Option<&str>) -> Vec<Node> {
        let Some(Node::Map(destinations)) = self.policy().and_then(|policy| policy.get("destinations")) else {
            return Vec::new();
        };
        let open = |destination: &Node| match (team, destination.get("teams")) {
            (Some(team), Some(Node::Text(only))) => only == team,
            (Some(team), Some(teams)) => items(Some(teams)).iter().any(|open| text(Some(open)) == Some(team)),
            _ => true,
        };
        let ids = destinations.iter().filter(|(_, destination)| open(destination));
        ids.map(|(id, _)| Node::Text(id.clone())).collect()
    }

    /// A rule that asks for nothing, to all that the agent's team could name.
    fn anything(&self) -> Vec<Node> {
        let team = self.policy().and_then(|policy| text(policy.get("agents")?.get(self.name)?.get("team")));
        let ids = self.destinations(team);
        if ids.is_empty() {
            return Vec::new();
        }
        let list = |words: &[&str]| Node::List(words.iter().map(|word| Node::Text((*word).to_owned())).collect());
        vec![map(vec![
            ("id", Node::Text("anything".to_owned())),
            ("to", Node::List(ids)),
            ("methods", list(&[&self.sending.request.method])),
            ("paths", list(&["/**"])),
            ("binding", list(&["request", "session"])),
        ])]
    }

    /// What refuses it under a rule that asks for nothing. Sizes are the rules' own to state.
    fn standing(&self) -> anyhow::Result<Option<Observed>> {
        let observed = self.ask(self.anything(), Vec::new())?;
        let of_rules = matches!(observed.reason.as_str(), "payload-too-large" | "payload-provenance");
        Ok((observed.reason != "permitted" && !of_rules).then_some(observed))
    }

    /// Whether a deny rule alone refuses it, whatever else would.
    fn denies(&self, rule: &Node) -> anyhow::Result<bool> {
        let mut rule = rule.clone();
        if let Node::Map(entries) = &mut rule {
            // What is only observed would stand behind what is enforced.
            entries.retain(|(key, _)| key != "mode");
            entries.push(("mode".to_owned(), Node::Text("enforce".to_owned())));
        }
        // Ceilings name destinations that are closed to the agent's team; an agent of the platform may.
        Ok(self.ask_as(false, Vec::new(), vec![rule])?.reason == "rule-denied")
    }

    /// Whether deny rules are asked at all, or something refuses it before.
    fn reaches_denials(&self) -> anyhow::Result<bool> {
        let ids = self.destinations(None);
        let everything = map(vec![("id", Node::Text("everything".to_owned())), ("to", Node::List(ids.clone()))]);
        Ok(!ids.is_empty() && self.denies(&everything)?)
    }

    fn denial_misses(&self, rule: &Node) -> anyhow::Result<Option<Miss>> {
        if self.denies(rule)? {
            return Ok(None);
        }
        let Node::Map(entries) = rule else { return Ok(None) };
        let bare = |kept: Option<(String, Node)>| {
            let base = entries.iter().filter(|(key, _)| key == "id" || key == "to").cloned();
            Node::Map(base.chain(kept).collect())
        };
        if !self.denies(&bare(None))? {
            return Ok(Some(Miss::Key("to".to_owned())));
        }
        for (key, value) in entries.iter().filter(|(key, _)| !matches!(key.as_str(), "id" | "to" | "mode")) {
            match value {
                Node::Map(members) if key == "when" => {
                    for (member, values) in members {
                        let alone = Node::Map(vec![(member.clone(), values.clone())]);
                        if !self.denies(&bare(Some((key.clone(), alone))))? {
                            return Ok(Some(Miss::Key(format!("when/{member}"))));
                        }
                    }
                }
                _ if !self.denies(&bare(Some((key.clone(), value.clone()))))? => {
                    return Ok(Some(Miss::Key(key.clone())));
                }
                _ => {}
            }
        }
        Ok(Some(Miss::Key("all of it together".to_owned())))
    }

    fn allowance_misses(&self, rule: &Node) -> anyhow::Result<Option<Miss>> {
        let observed = self.ask(vec![rule.clone()], Vec::new())?;
        if observed.outcome == "allow" {
            return Ok(None);
        }
        if observed.reason != "destination-unlisted" || observed.condition.is_some() {
            return Ok(Some(Miss::Refused(Box::new(observed))));
        }
        let Node::Map(entries) = rule else { return Ok(None) };
        let lasting = Node::Map(entries.iter().filter(|(key, _)| key != "expires").cloned().collect());
        let expired = lasting != *rule && self.ask(vec![lasting], Vec::new())?.reason != "destination-unlisted";
        Ok(Some(Miss::Key(if expired { "expires" } else { "to" }.to_owned())))
    }
}

fn items(node: Option<&Node>) -> &[Node] {
    match node {
        Some(Node::List(items)) => items,
        _ => &[],
    }
}

fn text(node: Option<&Node>) -> Option<&str> {
    match node {
        Some(Node::Text(text)) => Some(text),
        _ => None,
    }
}

fn map(entries: Vec<(&str, Node)>) -> Node {
    Node::Map(entries.into_iter().map(|(key, node)| (key.to_owned(), node)).collect())
}
