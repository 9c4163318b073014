//! Requests: random, but of what the policy speaks of, so that they have to do with it.

use super::evaluate::CLASSES;
use super::fit::many;
use fastrand::Rng;
use serde_json::Value;

/// A request, its context proven.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) signer: String,
    pub(crate) binding: &'static str,
    pub(crate) now: u64,
    pub(crate) agent: String,
    pub(crate) session: String,
    pub(crate) tenant: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) delegated_by: Vec<String>,
    pub(crate) scope: Option<Vec<String>>,
    pub(crate) tool: Option<String>,
    pub(crate) session_type: Option<&'static str>,
    pub(crate) data_class: Option<&'static str>,
    pub(crate) provenance: Vec<&'static str>,
    pub(crate) attributes: Vec<(String, String)>,
}

impl Ask {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let (path, query) = (&self.path, self.query.as_ref().map_or(0, String::len));
        let fields: Vec<String> = self.fields.iter().map(|(name, value)| format!("{name} {}", value.len())).collect();
        format!(
            "{} {}{port}{path} query {query} fields {fields:?} body {} by {} {} at {}\nagent {} session {} tenant {:?} user {:?} \
             region {:?} roles {:?} delegated_by {:?} scope {:?} tool {:?} session_type {:?} data_class {:?} provenance {:?} {:?}",
            self.method,
            self.host,
            self.body.len(),
            self.signer,
            self.binding,
            self.now,
            self.agent,
            self.session,
            self.tenant,
            self.user,
            self.region,
            self.roles,
            self.delegated_by,
            self.scope,
            self.tool,
            self.session_type,
            self.data_class,
            self.provenance,
            self.attributes
        )
    }

    /// Path and query.
    pub(crate) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Where the content came from, in the order of the page; unknown where nothing is said.
    pub(crate) fn sources(&self) -> Vec<&'static str> {
        if self.provenance.is_empty() {
            return vec!["unknown"];
        }
        SOURCES.iter().copied().filter(|source| self.provenance.contains(source)).collect()
    }
}

const SOURCES: [&str; 5] = ["user", "system", "internal", "third-party", "unknown"];
/// 2027-01-15, 2100-01-01.
const TIMES: [u64; 2] = [1_800_000_000_000, 4_102_444_800_000];

/// The words of a policy.
pub(crate) struct Asker<'a> {
    policy: &'a Value,
    agents: Vec<String>,
    hosts: Vec<String>,
    paths: Vec<String>,
    values: Vec<(String, String)>,
    categories: Vec<String>,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(document: &'a Value) -> Self {
        let policy = &document["policy"];
        let (mut hosts, mut categories) = (Vec::new(), Vec::new());
        for destination in policy["destinations"].as_object().unwrap().values() {
            hosts.extend(many(&destination["hosts"]).into_iter().map(str::to_owned));
            categories.extend(destination["category"].as_str().map(str::to_owned));
        }
        let (mut paths, mut values) = (Vec::new(), Vec::new());
        words(policy, &mut paths, &mut values);
        let agents = policy["agents"].as_object().unwrap().keys().cloned().collect();
        Self { policy, agents, hosts, paths, values, categories }
    }

    pub(crate) fn ask(&self, random: &mut Rng) -> Ask {
        let agent = pick(random, &self.agents).clone();
        // Mostly what one of its own rules speaks of.
        let rules = self.rules_of(&agent);
        let rule = if rules.is_empty() || random.u8(..) < 40 { &Value::Null } else { *pick(random, &rules) };
        let host =
            self.host_of(rule, random).unwrap_or_else(|| concrete_host(pick::<String>(random, &self.hosts), random));
        let own = many(&rule["paths"]);
        let pattern = if own.is_empty() { pick(random, &self.paths).as_str() } else { word(random, &own) };
        let methods = many(&rule["methods"]);
        let method = match methods.is_empty() || random.u8(..) < 30 {
            true => (*pick(random, &["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE"])).to_owned(),
            false => (*pick(random, &methods)).to_owned(),
        };
        let signers = self.policy["signers"].as_array().unwrap();
        let speaks = |signer: &&Value| super::fit::value(&signer["agents"], &agent);
        let signer = match signers.iter().find(speaks) {
            Some(signer) if random.u8(..) > 3 => signer,
            _ => pick(random, signers),
        };
        let member = |name: &str, chance: u8, random: &mut Rng| -> Option<String> {
            if random.u8(..100) >= chance {
                return None;
            }
            let own = many(&rule["when"][name]);
            if !own.is_empty() && random.u8(..) > 40 {
                return Some(completed(word(random, &own), random));
            }
            let all: Vec<&str> =
                self.values.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect();
            (!all.is_empty()).then(|| completed(word(random, &all), random))
        };
        let granted = |key: &str, random: &mut Rng| -> Option<String> {
            let all = many(&signer[key]);
            (!all.is_empty() && random.u8(..) > 5).then(|| completed(word(random, &all), random))
        };
        let closed = |words: &[&'static str], name: &str, random: &mut Rng| -> Option<&'static str> {
            let own = member(name, 100, random);
            own.and_then(|own| words.iter().find(|word| **word == own).copied())
        };
        let provenance = match random.u8(..20) {
            0 => Vec::new(),
            1..=12 => vec!["user"],
            _ => {
                let mut sources: Vec<&'static str> =
                    SOURCES.iter().copied().filter(|source| *source != "unknown" && random.u8(..) < 80).collect();
                random.shuffle(&mut sources);
                sources
            }
        };
        let tool = member("tool", 80, random).or_else(|| granted("tools", random));
        Ask {
            method,
            host,
            port: (random.u8(..) < 20).then(|| *pick(random, &[443, 80, 8443, 9000])),
            path: concrete_path(pattern, random),
            query: (random.u8(..) < 40).then(|| "q=1".repeat(*pick(random, &[1, 20, 80, 200, 900]))),
            fields: fields(random),
            body: "x".repeat(match random.u8(..10) {
                0..=6 => 0,
                7 => *pick(random, &[1, 2, 3, 5, 9, 100]),
                8 => *pick(random, &[1_024, 1_025, 4_096, 4_097, 16_385]),
                _ => *pick(random, &[65_537, 262_145, 1 << 20, (1 << 20) + 1, (2 << 20) + 1]),
            }),
            signer: signer["id"].as_str().unwrap().to_owned(),
            binding: if random.u8(..100) < 92 { "request" } else { "session" },
            now: if random.u8(..100) < 97 { TIMES[0] } else { TIMES[1] },
            session: format!("s-{}", random.u8(..9)),
            tenant: member("tenant", 50, random).or_else(|| granted("tenants", random)),
            user: granted("users", random),
            region: member("region", 90, random),
            roles: (0..random.usize(..3)).filter_map(|_| member("roles", 95, random)).collect(),
            delegated_by: match random.u8(..100) {
                0..=88 => Vec::new(),
                _ => (0..random.usize(1..3)).map(|_| pick(random, &self.agents).clone()).collect(),
            },
            scope: (random.u8(..100) < 8)
                .then(|| (0..random.usize(1..4)).map(|_| pick(random, &self.categories).clone()).collect()),
            tool,
            session_type: closed(&["interactive", "batch", "scheduled"], "session_type", random)
                .or((random.u8(..) < 160).then(|| *pick(random, &["interactive", "batch", "scheduled"]))),
            data_class: (random.u8(..100) < 97)
                .then(|| *pick(random, &["public", "public", "public", CLASSES[1], CLASSES[2], CLASSES[3]])),
            provenance,
            attributes: ["ticket", "level"]
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), member(name, 50, random)?)))
                .collect(),
            agent: if random.u8(..100) < 99 { agent } else { format!("{agent}-x") },
        }
    }

    fn rules_of(&self, agent: &str) -> Vec<&Value> {
        let agent = &self.policy["agents"][agent];
        let mut rules = Vec::new();
        for holder in
            std::iter::once(agent).chain(many(&agent["use"]).into_iter().map(|name| &self.policy["profiles"][name]))
        {
            for list in ["allow", "allow", "deny"] {
                rules.extend(holder[list].as_array().into_iter().flatten());
            }
        }
        rules
    }

    /// A host that the rule speaks of.
    fn host_of(&self, rule: &Value, random: &mut Rng) -> Option<String> {
        let destinations = self.policy["destinations"].as_object()?;
        let named: Vec<&Value> = destinations
            .iter()
            .filter(|(id, destination)| !rule["to"].is_null() && super::fit::selects(&rule["to"], id, destination))
            .map(|(_, destination)| destination)
            .collect();
        let hosts = many(&(*named.get(random.usize(..named.len().max(1)))?)["hosts"]);
        Some(concrete_host(word(random, &hosts), random))
    }
}

fn fields(random: &mut Rng) -> Vec<(String, String)> {
    const FIELDS: [(&str, &str); 9] = [
        ("accept", "application/json"),
        ("accept-encoding", "br"),
        ("x-api-version", "2"),
        ("x-debug", "1"),
        ("authorization", "Bearer right"),
        ("authorization", "Bearer wrong"),
        ("cookie", "a=b"),
        ("x-agent", "admin"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    let mut fields: Vec<(String, String)> = Vec::new();
    for (name, value) in FIELDS {
        if random.u8(..) < 50 && fields.iter().all(|(known, _)| known != name) {
            let value = if random.u8(..) < 10 { value.repeat(150) } else { value.to_owned() };
            fields.push((name.to_owned(), value));
        }
    }
    fields
}

/// Every path and every value of a condition in the document.
fn words(value: &Value, paths: &mut Vec<String>, values: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| words(item, paths, values)),
        Value::Object(members) => {
            for (key, member) in members {
                if key == "paths" {
                    paths.extend(many(member).into_iter().map(str::to_owned));
                } else if key == "when" {
                    for (name, patterns) in member.as_object().into_iter().flatten() {
                        values.extend(many(patterns).into_iter().map(|pattern| (name.clone(), pattern.to_owned())));
                    }
                }
                words(member, paths, values);
            }
        }
        _ => {}
    }
}

fn concrete_host(pattern: &str, random: &mut Rng) -> String {
    if pattern == "*" {
        return "open.elsewhere.example".to_owned();
    }
    if let Some(name) = pattern.strip_prefix("*.") {
        return match random.u8(..6) {
            0 => name.to_owned(),
            1 => format!("a.b.{name}"),
            _ => format!("eu.{name}"),
        };
    }
    match pattern.split_once('/') {
        Some((network, _)) => {
            let start = network.rsplit_once(['.', ':']).unwrap().0;
            if network.contains(':') { format!("{start}:7") } else { format!("{start}.7") }
        }
        None => pattern.to_owned(),
    }
}

fn concrete_path(pattern: &str, random: &mut Rng) -> String {
    let mut path = String::new();
    for segment in pattern.split('/').skip(1) {
        match segment {
            "*" => path.push_str(pick::<&str>(random, &["/7", "/caf%C3%A9", "/notes", "/a-b"])),
            "**" => path.push_str(pick::<&str>(random, &["", "/", "/x", "/x/y", "/x/"])),
            literal => {
                path.push('/');
                path.push_str(literal);
            }
        }
    }
    match random.u8(..30) {
        0 => path.push('/'),
        1 => path.push_str("/more"),
        2 => path = path.to_uppercase(),
        3 => path = "/elsewhere".to_owned(),
        _ => {}
    }
    // An empty segment is no path at all.
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

fn completed(pattern: &str, random: &mut Rng) -> String {
    match pattern.strip_suffix('*') {
        Some(beginning) => format!("{beginning}{}", random.u8(1..9)),
        None => pattern.to_owned(),
    }
}

/// One of several words.
fn word<'w>(random: &mut Rng, words: &[&'w str]) -> &'w str {
    words[random.usize(..words.len())]
}

fn pick<'t, T>(random: &mut Rng, list: &'t [T]) -> &'t T {
    &list[random.usize(..list.len())]
}
