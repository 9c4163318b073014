//! Overlays of environments, put in their places before a gateway reads the policy.
//!
//! An overlay says where destinations are and how signers are known, nothing of what anybody may do: so the rules that were tried
//! in staging are those of production. Whatever stands in the resolved policy can be traced back to where it was written.

use super::document::Named;
use super::document::environment::EnvironmentDocument;
use super::error::{Document, Place, PolicyError, PolicyErrors, Problems, did_you_mean, push_key, quoted};
use super::node::Node;
use super::read::read;
use super::selector::check_id;
use serde::Deserialize;

const ENVIRONMENTS: &str = "environments";

/// The policy of one environment.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The policy, without overlays.
    pub policy: Node,
    /// Pointers into it, and into the policy as it was written, of what an overlay says.
    moved: Vec<(String, String)>,
}

impl Resolved {
    /// Where something in the resolved policy was written: a pointer into the policy with its overlays.
    pub fn origin(&self, pointer: &str) -> String {
        let moved = self.moved.iter().find_map(|(to, from)| {
            let rest = pointer.strip_prefix(to.as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{from}{rest}"))
        });
        moved.unwrap_or_else(|| pointer.to_owned())
    }
}

/// Names of the environments that a policy has, in the order of the document.
pub fn environments(policy: &Node) -> Vec<&str> {
    match policy.get(ENVIRONMENTS) {
        Some(Node::Map(entries)) => entries.iter().map(|(name, _)| name.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// Checks every overlay of a policy, whichever will hold.
///
/// # Errors
/// In the order of the document.
pub fn check_environments(policy: &Node) -> Result<(), PolicyErrors> {
    /// With the key around it, so that errors have the whole place.
    #[derive(Deserialize)]
    struct Overlays {
        environments: Named<EnvironmentDocument>,
    }
    let Some(node) = policy.get(ENVIRONMENTS) else { return Ok(()) };
    let overlays = read::<Overlays>(&Node::Map(vec![(ENVIRONMENTS.to_owned(), node.clone())]), Document::Policy)?;
    let (mut problems, root) = (Problems::default(), Place::root(Document::Policy));
    let all = root.key(ENVIRONMENTS);
    let (destinations, signers) = (destination_ids(policy), signer_ids(policy));
    for (name, overlay) in overlays.environments.iter() {
        let place = all.key(name);
        problems.take(check_id(name, "an environment", &place));
        let section = place.key("destinations");
        for (id, _) in overlay.destinations.iter() {
            problems.take(check_known(id, "destination", &destinations, &section.key(id)));
        }
        let section = place.key("signers");
        for (id, identity) in overlay.signers.iter() {
            let place = section.key(id);
            let known = problems.take(check_known(id, "signer", &signers, &place)).is_some();
            if known && identity.jwt.is_some() && signer(policy, id).is_some_and(|signer| signer.get("jwt").is_none()) {
                let problem = format!("the signer {} signs requests, not tokens", quoted(id));
                problems.note(place.key("jwt").error(problem, "remove this key, or give the signer jwt", ""));
            }
        }
    }
    problems.finish(())
}

fn check_known(id: &str, what: &str, known: &[&str], place: &Place<'_>) -> Result<(), PolicyError> {
    if known.contains(&id) {
        return Ok(());
    }
    let remedy = did_you_mean(id, known.iter().copied())
        .unwrap_or_else(|| format!("define it under {what}s, or remove it here"));
    let why = "an environment says where things are; what there is, all of them share";
    Err(place.error(format!("no {what} {}", quoted(id)), remedy, why))
}

/// The policy of one environment; without one, as it was written less its overlays. What is wrong with overlays
/// [`check_environments`] says, so that here they are put in their places as far as they are right.
pub fn resolve(policy: &Node, environment: Option<&str>) -> Resolved {
    let mut resolved = Resolved { policy: policy.clone(), moved: Vec::new() };
    if let Node::Map(entries) = &mut resolved.policy {
        entries.retain(|(key, _)| key != ENVIRONMENTS);
    }
    let overlay = environment.and_then(|name| Some((name, policy.get(ENVIRONMENTS)?.get(name)?)));
    let Some((name, overlay)) = overlay else { return resolved };
    let from = pointer(&pointer("", ENVIRONMENTS), name);
    if let Some(mode) = overlay.get("mode") {
        resolved.put(&[], "mode", mode, "", &pointer(&from, "mode"));
    }
    let entries = |key: &str| match overlay.get(key) {
        Some(Node::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    for (id, place) in entries("destinations") {
        let from = pointer(&pointer(&from, "destinations"), id);
        resolved.overlay(&[Step::Key("destinations"), Step::Key(id)], place, &from);
    }
    let known = signer_ids(policy);
    for (id, identity) in entries("signers") {
        let from = pointer(&pointer(&from, "signers"), id);
        let Some(index) = known.iter().position(|known| known == id) else { continue };
        let steps = [Step::Key("signers"), Step::Index(index)];
        if let Node::Map(keys) = identity {
            let (issuer, rest): (Vec<_>, Vec<_>) = keys.iter().cloned().partition(|(key, _)| key == "jwt");
            resolved.overlay(&steps, &Node::Map(rest), &from);
            let [signers, signer] = steps;
            for (_, issuer) in issuer {
                resolved.overlay(&[signers, signer, Step::Key("jwt")], &issuer, &pointer(&from, "jwt"));
            }
        }
    }
    resolved
}

/// Into a map, or into a list.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl Resolved {
    /// Every key of `overlay` in place of that of the map to which `steps` lead.
    fn overlay(&mut self, steps: &[Step<'_>], overlay: &Node, from: &str) {
        let Node::Map(keys) = overlay else { return };
        let to = steps.iter().fold(String::new(), |place, step| match step {
            Step::Key(key) => pointer(&place, key),
            Step::Index(index) => pointer(&place, &index.to_string()),
        });
        for (key, value) in keys {
            self.put(steps, key, value, &to, &pointer(from, key));
        }
    }

    fn put(&mut self, steps: &[Step<'_>], key: &str, value: &Node, to: &str, from: &str) {
        let mut node = &mut self.policy;
        for step in steps {
            let next = match (node, step) {
                (Node::Map(entries), Step::Key(key)) => {
                    entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
                }
                (Node::List(items), Step::Index(index)) => items.get_mut(*index),
                _ => None,
            };
            let Some(next) = next else { return };
            node = next;
        }
        let Node::Map(entries) = node else { return };
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value.clone(),
            None => entries.push((key.to_owned(), value.clone())),
        }
        self.moved.push((pointer(to, key), from.to_owned()));
    }
}

fn destination_ids(policy: &Node) -> Vec<&str> {
    match policy.get("destinations") {
        Some(Node::Map(entries)) => entries.iter().map(|(id, _)| id.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// By index; one without an id has the empty one, which no overlay can name.
fn signer_ids(policy: &Node) -> Vec<&str> {
    match policy.get("signers") {
        Some(Node::List(signers)) => signers
            .iter()
            .map(|signer| match signer.get("id") {
                Some(Node::Text(id)) => id.as_str(),
                _ => "",
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn signer<'p>(policy: &'p Node, id: &str) -> Option<&'p Node> {
    let index = signer_ids(policy).iter().position(|known| *known == id)?;
    match policy.get("signers") {
        Some(Node::List(signers)) => signers.get(index),
        _ => None,
    }
}

fn pointer(parent: &str, key: &str) -> String {
    let mut pointer = parent.to_owned();
    push_key(&mut pointer, key);
    pointer
}
