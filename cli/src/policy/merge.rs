//! Many files, one policy. Everything has one place: a duplicate is an error that names both.
//!
//! A file with `team` belongs to that team: it defines agents and profiles of its own, known as `<team>/<name>`. All
//! other files are the platform's. No file overrides another, so their order means nothing.

use super::diagnostic::{Diagnostic, Location};
use super::yaml::Source;
use exeat_engine::policy::error::{did_you_mean, push_key};
use exeat_engine::policy::node::Node;
use exeat_engine::policy::{Document, PolicyError};
use std::collections::HashMap;

/// Top-level keys of the policy, in the order in which they are written out.
const KEYS: [&str; 14] = [
    "schema",
    "revision",
    "change",
    "mode",
    "environments",
    "signers",
    "defaults",
    "ceilings",
    "tenants",
    "destinations",
    "quarantine",
    "profiles",
    "agents",
    "team",
];

/// Keys whose entries may come from several files.
const SHARED: [&str; 5] = ["environments", "tenants", "destinations", "profiles", "agents"];

/// Keys of a team's file.
const OF_TEAMS: [&str; 4] = ["schema", "team", "profiles", "agents"];

/// The merged policy, and where each part of it was written.
#[derive(Debug)]
pub struct Merged {
    /// The document.
    pub policy: Node,
    origins: Origins,
}

impl Merged {
    /// Where something in the merged policy was written. A key that is missing is missing from all files: then it is
    /// the first of them.
    pub fn locate(&self, pointer: &str, sources: &[Source]) -> Location {
        let first = || Location::file(sources.first().map(|source| source.file.clone()).unwrap_or_default());
        self.origins.locate(pointer, sources).unwrap_or_else(first)
    }
}

/// Pointers into the merged policy, with the file and the pointer into it.
#[derive(Debug, Default)]
struct Origins(HashMap<String, (usize, String)>);

impl Origins {
    fn locate(&self, pointer: &str, sources: &[Source]) -> Option<Location> {
        let mut prefix = pointer;
        loop {
            if let Some((source, place)) = self.0.get(prefix) {
                let rest = pointer.strip_prefix(prefix).unwrap_or_default();
                return sources.get(*source).map(|source| source.locate(&format!("{place}{rest}")));
            }
            prefix = prefix.rsplit_once('/')?.0;
        }
    }
}

/// Merges files.
///
/// # Errors
/// Everything that does not fit together, in the order of the files.
pub fn merge(sources: &[Source]) -> Result<Merged, Vec<Diagnostic>> {
    let mut merge = Merge { sources, parts: Vec::new(), origins: Origins::default(), errors: Vec::new() };
    for (index, source) in sources.iter().enumerate() {
        merge.file(index, source);
    }
    if !merge.errors.is_empty() {
        return Err(merge.errors);
    }
    let place = |key: &str| KEYS.iter().position(|known| *known == key).unwrap_or(KEYS.len());
    merge.parts.sort_by_key(|(key, _)| place(key));
    Ok(Merged { policy: Node::Map(merge.parts), origins: merge.origins })
}

struct Merge<'s> {
    sources: &'s [Source],
    parts: Vec<(String, Node)>,
    origins: Origins,
    errors: Vec<Diagnostic>,
}

/// Something in a file, and where it goes.
struct Piece<'p> {
    source: usize,
    /// Pointer into the file.
    here: String,
    /// Pointer into the merged policy.
    there: String,
    key: &'p str,
}

impl Merge<'_> {
    fn file(&mut self, source: usize, read: &Source) {
        let whole = |key| Piece { source, here: pointer("", key), there: pointer("", key), key };
        let Node::Map(entries) = &read.node else {
            let piece = Piece { source, here: String::new(), there: String::new(), key: "" };
            let problem = format!("expected a map, found {}", read.node.kind());
            return self.refuse(&piece, problem, "write keys such as schema, destinations, agents");
        };
        let team = match read.node.get("team") {
            None => None,
            Some(Node::Text(team)) if is_team(team) => Some(team.as_str()),
            Some(_) => {
                let remedy = "write 1 to 64 letters, digits, dots, underscores or hyphens";
                return self.refuse(&whole("team"), "not a name of a team", remedy);
            }
        };
        for (key, value) in entries {
            let piece = whole(key);
            match key.as_str() {
                "team" => {}
                "exceptions" => {
                    let remedy = "write exception: {ticket, approver, approved} and expires into the allow rule that it is about";
                    self.refuse(&piece, "an exception stands at its rule", remedy);
                }
                key if !KEYS.contains(&key) => {
                    let known = if team.is_some() { &OF_TEAMS[..] } else { &KEYS };
                    let hint = did_you_mean(key, known.iter().copied()).map(|hint| hint + " ").unwrap_or_default();
                    let remedy = format!("{hint}Known here: {}", known.join(", "));
                    self.refuse(&piece, format!("unknown key {key:?}"), &remedy);
                }
                key if team.is_some() && !OF_TEAMS.contains(&key) => {
                    let remedy = "move it to a file of the platform; a team's file has team, agents and profiles";
                    self.refuse(&piece, format!("a team cannot define {key:?}"), remedy);
                }
                // Every file may say which schema it is written in, if all say the same.
                "schema" if self.parts.iter().any(|(key, first)| key == "schema" && first == value) => {}
                "signers" => self.signers(&piece, value),
                key if SHARED.contains(&key) => self.shared(&piece, value, team),
                _ => {
                    if self.is_first(&piece) {
                        self.parts.push((key.clone(), value.clone()));
                    }
                }
            }
        }
    }

    fn signers(&mut self, piece: &Piece<'_>, value: &Node) {
        let Node::List(items) = value else {
            return self.refuse(piece, format!("expected a list, found {}", value.kind()), "write a list of signers");
        };
        self.begin(piece, Node::List(Vec::new()));
        for (i, item) in items.iter().enumerate() {
            let Some((_, Node::List(merged))) = self.parts.iter_mut().find(|(key, _)| key == "signers") else { return };
            let known = item.get("id").and_then(|id| merged.iter().position(|other| other.get("id") == Some(id)));
            let place = known.unwrap_or(merged.len());
            let here = format!("{}/{i}", piece.here);
            let piece = Piece { source: piece.source, here, there: format!("{}/{place}", piece.there), key: "signer" };
            if known.is_none() {
                merged.push(item.clone());
            }
            // Where the id is known already, this says so.
            self.is_first(&piece);
        }
    }

    /// Entries that several files add to.
    fn shared(&mut self, piece: &Piece<'_>, value: &Node, team: Option<&str>) {
        let Node::Map(entries) = value else {
            return self.refuse(piece, format!("expected a map, found {}", value.kind()), "write a map of names");
        };
        self.begin(piece, Node::Map(Vec::new()));
        for (name, entry) in entries {
            let full = team.map_or_else(|| name.clone(), |team| format!("{team}/{name}"));
            let (here, there) = (pointer(&piece.here, name), pointer(&piece.there, &full));
            let mut entry = entry.clone();
            if matches!(piece.key, "agents" | "profiles") {
                if let (Some(team), Some((_, last))) = (team, name.rsplit_once('/')) {
                    let remedy = format!("call it {last:?}; it is then known as {:?}", format!("{team}/{last}"));
                    let piece = Piece { source: piece.source, here, there, key: &full };
                    self.refuse(&piece, format!("{name:?} has a slash, and a name within a team has none"), &remedy);
                    continue;
                }
                if entry.get("team").is_some() {
                    let (here, there) = (pointer(&here, "team"), pointer(&there, "team"));
                    let piece = Piece { source: piece.source, here, there, key: "team" };
                    let remedy = "remove it; a team has a file of its own with `team` at the top";
                    self.refuse(&piece, "an entry has the team of its file", remedy);
                    continue;
                }
                if let (Some(team), Node::Map(keys)) = (team, &mut entry) {
                    keys.push(("team".to_owned(), Node::Text(team.to_owned())));
                }
            }
            if !self.is_first(&Piece { source: piece.source, here, there, key: &full }) {
                continue;
            }
            if let Some((_, Node::Map(merged))) = self.parts.iter_mut().find(|(key, _)| key == piece.key) {
                merged.push((full, entry));
            }
        }
    }

    /// An empty part that several files add to.
    fn begin(&mut self, piece: &Piece<'_>, empty: Node) {
        if !self.parts.iter().any(|(key, _)| key == piece.key) {
            self.parts.push((piece.key.to_owned(), empty));
            self.origins.0.insert(piece.there.clone(), (piece.source, piece.here.clone()));
        }
    }

    /// Notes where this comes from; when it came from elsewhere before, notes that as an error.
    fn is_first(&mut self, piece: &Piece<'_>) -> bool {
        if self.origins.0.contains_key(&piece.there) {
            let first = self.origins.locate(&piece.there, self.sources).map(|first| first.to_string());
            let problem = format!("{:?} is defined twice, first at {}", piece.key, first.unwrap_or_default());
            self.refuse(piece, problem, "keep one of the two: no file overrides another");
            return false;
        }
        self.origins.0.insert(piece.there.clone(), (piece.source, piece.here.clone()));
        true
    }

    fn refuse(&mut self, piece: &Piece<'_>, problem: impl Into<String>, remedy: &str) {
        let error = PolicyError {
            document: Document::Policy,
            place: piece.there.clone(),
            problem: problem.into(),
            why: String::new(),
            remedy: remedy.to_owned(),
        };
        if let Some(source) = self.sources.get(piece.source) {
            self.errors.push(Diagnostic { location: source.locate(&piece.here), message: error.to_string() });
        }
    }
}

fn pointer(parent: &str, key: &str) -> String {
    let mut pointer = parent.to_owned();
    push_key(&mut pointer, key);
    pointer
}

fn is_team(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}
