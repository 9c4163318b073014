//! The policy that requests meet: immutable, every reference resolved, every pattern compiled.

use super::Mode;
use super::agent::{self, Agent, Surroundings};
use super::budgets;
use super::destination::{Credentials, Destination, DestinationSource, DestinationSurroundings, Destinations};
use super::document::PolicyDocument;
use super::error::{Document, Place, PolicyErrors, Problems, quoted};
use super::exception;
use super::gateway::Gateway;
use super::limits::{self, Limits};
use super::names::{NameLimits, Releases};
use super::outlet::Outlet;
use super::rule::DenyRule;
use super::selector::{DestinationSet, Directory, check_id};
use super::signer::{self, Signer};
use super::token;
use crate::context::KeyRing;
use crate::context::token::TokenIssuers;
use crate::destination::CanonicalHost;
use crate::ledger::SessionName;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The policy that requests meet.
#[derive(Clone, Debug)]
pub struct CompiledPolicy {
    pub(super) revision: String,
    pub(super) digest: String,
    pub(super) change: Option<String>,
    pub(super) mode: Mode,
    pub(super) signers: Vec<Signer>,
    pub(super) keys: KeyRing,
    pub(super) tokens: TokenIssuers,
    pub(super) defaults: Arc<Limits>,
    pub(super) ceilings: Arc<Ceilings>,
    pub(super) tenants: Option<HashMap<String, Option<DestinationSet>>>,
    pub(super) destinations: Destinations,
    pub(super) agents: HashMap<String, Agent>,
    pub(super) releases: Releases,
}

/// What nobody can exceed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ceilings {
    pub(crate) deny: Vec<DenyRule>,
    pub(crate) limits: Limits,
}

impl CompiledPolicy {
    /// `revision` of the document.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// `sha256:<hex>` over the canonical JSON (RFC 8785) of the merged policy.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The change that brought this revision, as the policy states it.
    pub fn change(&self) -> Option<&str> {
        self.change.as_deref()
    }

    /// Whether refusals are enforced where agent and rule say nothing.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Keys of all signers. Their `signer` is the index for [`CompiledPolicy::signer`].
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Signers that issue bearer tokens.
    pub fn tokens(&self) -> &TokenIssuers {
        &self.tokens
    }

    /// A signer by its index.
    pub fn signer(&self, index: usize) -> Option<&Signer> {
        self.signers.get(index)
    }

    /// All signers.
    pub fn signers(&self) -> impl Iterator<Item = &Signer> {
        self.signers.iter()
    }

    /// Where a host leads, with the port that an authority names: scheme, port, and what is open there.
    pub fn outlet(&self, host: &CanonicalHost, port: Option<u16>) -> Outlet {
        self.destinations.outlet(host, port)
    }

    /// The longest that a tunnel or an upgraded connection may last, in milliseconds; none where there is none.
    pub fn longest_life(&self) -> Option<u64> {
        self.destinations.iter().filter_map(Destination::life).max()
    }

    /// Whether some destination takes tunnels.
    pub fn takes_tunnels(&self) -> bool {
        self.destinations.iter().any(Destination::takes_tunnels)
    }

    /// Whether some destination takes upgrades.
    pub fn takes_upgrades(&self) -> bool {
        self.destinations.iter().any(Destination::takes_upgrades)
    }

    /// Headers that the gateway adds: id of the destination, header, and the name of the secret that holds its value.
    pub fn injected(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.destinations.iter().flat_map(|destination| {
            let of = |(header, secret)| (destination.id(), header, secret);
            destination.credentials().into_iter().flat_map(Credentials::injected).map(of)
        })
    }

    /// Whether no quarantine holds this session.
    pub fn releases(&self, session: &SessionName<'_>) -> bool {
        self.releases.holds(session)
    }

    /// Every destination that a host and port fit, the closest first.
    pub fn fitting(&self, host: &CanonicalHost, port: u16) -> Vec<Arc<Destination>> {
        self.destinations.find(host, port).into_iter().map(|fit| fit.destination).collect()
    }

    /// All destinations.
    pub fn all_destinations(&self) -> impl Iterator<Item = &Destination> {
        self.destinations.iter()
    }

    /// How many destinations there are.
    pub fn destinations(&self) -> usize {
        self.destinations.len()
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// How many rules there are: of ceilings and agents, those of a profile once for each agent that uses it.
    pub fn rules(&self) -> usize {
        self.agents.values().fold(self.ceilings.deny.len(), |sum, agent| {
            sum.saturating_add(agent.allow.len()).saturating_add(agent.deny.len())
        })
    }

    /// No body above this is ever allowed: what a gateway must be able to hold.
    pub fn largest_body(&self) -> u64 {
        let rules = self.agents.values().flat_map(|agent| &agent.allow).map(|rule| &rule.limits);
        let destinations = self.destinations.iter().map(|destination| &destination.limits);
        limits::largest_body(rules.chain(destinations), &self.defaults, &self.ceilings.limits)
    }

    /// `destinations` are those of the document, wherever they are read from; the digest is for the caller to set.
    pub(super) fn compile(
        document: &PolicyDocument,
        destinations: &mut dyn DestinationSource,
        gateway: &Gateway,
    ) -> Result<Self, PolicyErrors> {
        let (mut problems, root) = (Problems::default(), Place::root(Document::Policy));
        if document.schema != "exeat/v1" {
            let problem = format!("unknown schema {}", quoted(&document.schema));
            problems.note(root.key("schema").error(problem, "write exeat/v1", ""));
        }
        let recorded = [("revision", Some(&document.revision)), ("change", document.change.as_ref())];
        for (key, text) in recorded.into_iter().filter_map(|(key, text)| Some((key, text?))) {
            if !(1..=128).contains(&text.len()) || text.chars().any(char::is_control) {
                let problem = format!("{} cannot be recorded", quoted(text));
                problems.note(root.key(key).error(problem, "write 1 to 128 characters without controls", ""));
            }
        }
        let (signers, keys, tokens) =
            signer::compile(&document.signers, gateway.prepared_keys(), &root.key("signers"), &mut problems);
        token::check_apart(document, &mut problems);
        token::check_kept_by_rules(document, &tokens, &mut problems);
        exception::check(document, &mut problems);
        let mut directory = Directory::default();
        let tenant_names: Option<Vec<&str>> =
            document.tenants.as_ref().map(|tenants| tenants.iter().map(|(name, _)| name).collect());
        let names = {
            let defaults = root.key("defaults");
            let names = NameLimits::BUILT_IN.with(&document.defaults.names, &defaults.key("names"));
            problems.take(names).unwrap_or(NameLimits::BUILT_IN)
        };
        let around = DestinationSurroundings {
            scheme: gateway.scheme(),
            names,
            tenants: tenant_names.as_deref(),
            tokens: &tokens,
        };
        let destinations = Destinations::compile(destinations, &around, &mut directory, &mut problems);
        let tenants = compile_tenants(document, &directory, &mut problems);
        let budgets = budgets::Defaults::compile(&document.defaults.limits, &mut problems);
        let around = Surroundings { directory: &directory, destinations: &destinations, budgets: &budgets };
        let agents = agent::compile(document, &around, &mut problems);
        let quarantine = root.key("quarantine");
        let releases = Releases::compile(&document.quarantine.release, &quarantine.key("release"), &mut problems);
        // Last: they may enter words into the directory that nothing else may rely on.
        let ceilings = compile_ceilings(document, &mut directory, &mut problems);
        problems.finish(Self {
            revision: document.revision.clone(),
            digest: String::new(),
            change: document.change.clone(),
            mode: document.mode.unwrap_or(gateway.mode()),
            signers,
            keys,
            tokens,
            defaults: Arc::new(Limits::from(&document.defaults)),
            ceilings: Arc::new(ceilings),
            tenants,
            destinations,
            agents,
            releases,
        })
    }
}

fn compile_tenants(
    document: &PolicyDocument,
    directory: &Directory,
    problems: &mut Problems,
) -> Option<HashMap<String, Option<DestinationSet>>> {
    let root = Place::root(Document::Policy);
    let all = root.key("tenants");
    let compile = |(name, tenant): (&str, &super::document::policy::TenantDocument), problems: &mut Problems| {
        let place = all.key(name);
        problems.take(check_id(name, "a tenant", &place));
        let set = tenant
            .destinations
            .as_ref()
            .map(|selector| DestinationSet::compile(selector, directory, &place.key("destinations"), problems));
        (name.to_owned(), set)
    };
    document.tenants.as_ref().map(|tenants| tenants.iter().map(|entry| compile(entry, problems)).collect())
}

fn compile_ceilings(document: &PolicyDocument, directory: &mut Directory, problems: &mut Problems) -> Ceilings {
    let root = Place::root(Document::Policy);
    let ceilings = root.key("ceilings");
    let (all, mut ids, mut deny) = (ceilings.key("deny"), HashSet::new(), Vec::new());
    for (i, rule) in document.ceilings.deny.iter().enumerate() {
        let place = all.index(i);
        if !ids.insert(rule.id.as_str()) {
            problems.note(place.key("id").error(
                format!("another ceiling has the id {}", quoted(&rule.id)),
                "give each ceiling an id of its own",
                "records name a ceiling by its id",
            ));
        }
        deny.extend(DenyRule::compile_ceiling(rule, directory, &place, problems));
    }
    problems.take(budgets::refuse(&document.ceilings.limits, &ceilings.key("limits")));
    Ceilings { deny, limits: Limits::from(&document.ceilings.limits) }
}
