//! Destinations: who they are open to, what they accept, and the matcher that finds them by host.

use super::budgets;
use super::document::policy::{CredentialsDocument, DestinationDocument};
use super::document::{Named, OneOrMany};
use super::error::{Document, Place, PolicyError, Problems, quoted};
use super::headers;
use super::limits::Limits;
use super::names::NameLimits;
use super::outlet::{Opens, Outlet};
use super::pattern::{ValuePattern, any_fits};
use super::selector::{Directory, Label, check_id};
use super::token;
use crate::context::token::TokenIssuers;
use crate::context::{DataClass, Provenance};
use crate::destination::{CanonicalHost, HostMatch, HostMatcher, HostPattern, HostSpecificity, Scheme};
use crate::facts::Timestamp;
use crate::order;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

/// One destination.
#[derive(Clone, Debug)]
pub struct Destination {
    pub(super) label: Label,
    pub(super) id: Box<str>,
    /// What it says besides its name and hosts; destinations that say the same share it.
    terms: Arc<Terms>,
}

/// On what terms a destination is open.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    pub(super) kind: Option<String>,
    pub(super) category: Option<String>,
    pub(super) ports: Vec<u16>,
    pub(super) accepts: DataClass,
    pub(super) tenants: Option<Vec<String>>,
    pub(super) teams: Option<Vec<String>>,
    pub(super) expires: Option<Timestamp>,
    pub(super) limits: Limits,
    pub(super) names: NameLimits,
    pub(super) credentials: Option<Credentials>,
    /// Models that may be named; `None`: the body is not asked.
    pub(super) models: Option<Vec<ValuePattern>>,
    pub(super) opens: Opens,
}

/// Terms that were met before, the last of them: most destinations of a large policy differ in nothing but names.
#[derive(Default)]
struct KnownTerms(VecDeque<Arc<Terms>>);

impl KnownTerms {
    const MOST: usize = 32;

    fn share(&mut self, terms: Terms) -> Arc<Terms> {
        if let Some(known) = self.0.iter().find(|known| ***known == terms) {
            return Arc::clone(known);
        }
        let terms = Arc::new(terms);
        self.0.truncate(Self::MOST - 1);
        self.0.push_front(Arc::clone(&terms));
        terms
    }
}

impl std::ops::Deref for Destination {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl Destination {
    /// Id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Kind, as the policy states it.
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Category, as the policy states it.
    pub fn category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    /// Highest class it may receive.
    pub fn accepts(&self) -> DataClass {
        self.accepts
    }

    /// Credentials that agents may send there.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Whether bodies there must name a model, and whether it may be this one.
    pub(super) fn models(&self) -> Option<impl Fn(&str) -> bool> {
        self.models.as_ref().map(|models| |model: &str| any_fits(models, model))
    }

    /// Whether rules of this team may name it; `None` is the platform.
    pub(super) fn open_to_team(&self, team: Option<&str>) -> bool {
        match (team, &self.teams) {
            (Some(team), Some(teams)) => teams.iter().any(|open| open == team),
            _ => true,
        }
    }

    fn compile(
        id: &str,
        document: &DestinationDocument,
        around: &DestinationSurroundings<'_>,
        directory: &mut Directory,
        known: &mut KnownTerms,
        place: &Place<'_>,
    ) -> Result<Self, PolicyError> {
        check_id(id, "a destination", place)?;
        check_open(document, place)?;
        budgets::refuse(&document.limits, &place.key("limits"))?;
        for (key, text) in [("kind", &document.kind), ("category", &document.category)] {
            if let Some(text) = text {
                word(text, &place.key(key))?;
            }
        }
        let recorded = [("owner", &document.owner), ("purpose", &document.purpose), ("change", &document.change)];
        for (key, text) in recorded.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?))) {
            if text.is_empty() || text.len() > 1_024 || text.chars().any(char::is_control) {
                let problem = format!("{} is not a line of text", quoted(text));
                return Err(place.key(key).error(problem, "write 1 to 1024 characters without controls", ""));
            }
        }
        if let (Some(known), Some(named)) = (around.tenants, &document.tenants)
            && let Some((i, name)) = named.0.iter().enumerate().find(|(_, name)| !known.contains(&name.as_str()))
        {
            let remedy = super::error::did_you_mean(name, known.iter().copied())
                .unwrap_or_else(|| "add it to tenants, or remove it here".to_owned());
            return Err(place.key("tenants").index(i).error(format!("no tenant {}", quoted(name)), remedy, ""));
        }
        let opens = Opens::compile(document, around.scheme, place)?;
        let ports = match &document.ports {
            None => vec![opens.scheme.default_port()],
            Some(ports) => check_ports(ports, &place.key("ports"))?,
        };
        let credentials = document
            .credentials
            .as_ref()
            .map(|credentials| {
                Credentials::compile(credentials, document.open == Some(true), &place.key("credentials"))
            })
            .transpose()?;
        let list = |texts: &Option<OneOrMany<String>>| texts.as_ref().map(|texts| texts.0.clone());
        let terms = Terms {
            kind: document.kind.clone(),
            category: document.category.clone(),
            ports,
            accepts: document.accepts.unwrap_or(DataClass::Public),
            tenants: list(&document.tenants),
            teams: list(&document.teams),
            expires: document.expires.map(|moment| moment.end()),
            limits: Limits::from(&document.limits),
            names: around.names.with(&document.names, &place.key("names"))?,
            credentials,
            models: models(document, place)?,
            opens,
        };
        Ok(Self {
            label: Label {
                index: directory.ids.get(id).copied().unwrap_or(u32::MAX),
                category: document.category.as_deref().map(|word| directory.categories.number(word)),
                kind: document.kind.as_deref().map(|word| directory.kinds.number(word)),
            },
            id: id.into(),
            terms: known.share(terms),
        })
    }
}

/// `models`, which only a body that can be read can be held to.
fn models(document: &DestinationDocument, place: &Place<'_>) -> Result<Option<Vec<ValuePattern>>, PolicyError> {
    let Some(list) = &document.models else { return Ok(None) };
    for (key, open) in [("tunnel", document.tunnel == Some(true)), ("upgrade", document.upgrade.is_some())] {
        if open {
            return Err(place.key(key).error(
                "nobody can tell which model is named in there",
                format!("remove {key}, or models"),
                "what a tunnel or a WebSocket carries cannot be read",
            ));
        }
    }
    ValuePattern::parse_all(&list.0, &place.key("models")).map(Some)
}

/// `open: true` and `*` need each other, and limits for content that nobody vouches for.
fn check_open(document: &DestinationDocument, place: &Place<'_>) -> Result<(), PolicyError> {
    let any = document.hosts.0.iter().position(|host| host == "*");
    match (any, document.open == Some(true)) {
        (None, false) => return Ok(()),
        (None, true) => {
            let remedy = "write `hosts: [\"*\"]`, or leave `open` out";
            return Err(place.key("open").error("no host is `*`, so nothing is open", remedy, ""));
        }
        (Some(i), false) => {
            let remedy = "add `open: true` with limits for third-party and unknown content, or name the hosts";
            return Err(place.key("hosts").index(i).error("`*` stands for every host there is", remedy, ""));
        }
        (Some(_), true) => {}
    }
    if document.metadata == Some(true) {
        return Err(place.key("metadata").error(
            "metadata services would be open to every name there is",
            "name the host in a destination of its own",
            "whoever has a name can point it there",
        ));
    }
    for source in [Provenance::ThirdParty, Provenance::Unknown] {
        let sizes = document.limits.provenance.0.iter().find(|(of, _)| *of == source).map(|(_, sizes)| sizes);
        if sizes.is_none_or(|sizes| sizes.body.is_none() || sizes.url.is_none()) {
            return Err(place.key("limits").error(
                format!("an open destination says nothing of how much {} content may go there", source.word()),
                format!("add body and url under limits/provenance/{}, such as {{body: 0B, url: 128B}}", source.word()),
                "whoever wrote that content may own the host",
            ));
        }
    }
    Ok(())
}

/// Credentials that may go to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    keep: Vec<String>,
    sha256: Option<Vec<[u8; 32]>>,
    /// Header, and the name of the secret that holds its value.
    inject: Vec<(String, String)>,
}

impl Credentials {
    /// Whether a header of this lower-case name goes on.
    pub fn keeps(&self, name: &str) -> bool {
        self.keep.iter().any(|kept| kept == name)
    }

    /// Whether this whole field value is one of those pinned; any is where none is.
    pub fn accepts(&self, value: &[u8]) -> bool {
        use sha2::Digest;
        // The hashes are no secret: the policy is known to the attacker, so comparing them may take any time.
        self.sha256.as_ref().is_none_or(|pins| pins.contains(&sha2::Sha256::digest(value).into()))
    }

    /// Headers that the gateway adds, each with the name of the secret that holds its value.
    pub fn injected(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inject.iter().map(|(header, secret)| (header.as_str(), secret.as_str()))
    }

    /// Whether the gateway adds a header of this lower-case name, so that the agent's own never goes on.
    pub fn injects(&self, name: &str) -> bool {
        self.inject.iter().any(|(header, _)| header == name)
    }

    fn compile(document: &CredentialsDocument, open: bool, place: &Place<'_>) -> Result<Self, PolicyError> {
        let kept = document.keep.as_ref().map(|list| list.0.as_slice()).unwrap_or_default();
        let keep = place.key("keep");
        for (i, name) in kept.iter().enumerate() {
            headers::open_name(name, &keep.index(i))?;
        }
        let inject = place.key("inject");
        for (name, secret) in document.inject.iter() {
            let place = inject.key(name);
            headers::open_name(name, &place)?;
            if open {
                return Err(place.error(
                    "an open destination would get the secret whoever has the host",
                    "name the host in a destination of its own",
                    "",
                ));
            }
            if headers::BUILT_IN.contains(&name) {
                return Err(place.error(format!("{name} carries no credentials"), "remove it", ""));
            }
            if kept.iter().any(|kept| kept == name) {
                let remedy = "keep the agent's own, or let the gateway add its own, not both";
                return Err(place.error(format!("{name} is kept and injected"), remedy, ""));
            }
            secret_name(secret, &place)?;
        }
        if kept.is_empty() && document.inject.iter().next().is_none() {
            return Err(place.error(
                "neither keep nor inject names a header",
                "add one of them, or remove this key",
                "",
            ));
        }
        if let (Some(_), true) = (&document.sha256, kept.is_empty()) {
            return Err(place.key("sha256").error("nothing is kept that it could pin", "add keep, or remove it", ""));
        }
        let pins = place.key("sha256");
        let sha256 = document
            .sha256
            .as_ref()
            .map(|list| list.0.iter().enumerate().map(|(i, text)| pin(text, &pins.index(i))).collect())
            .transpose()?;
        let inject = document.inject.iter().map(|(name, secret)| (name.to_owned(), secret.clone())).collect();
        Ok(Self { keep: kept.to_vec(), sha256, inject })
    }
}

/// Names a file in the folder of secrets. What else is written there may be the secret itself, so it is not repeated.
fn secret_name(text: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_' || b == b'.';
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.') {
        return Ok(());
    }
    Err(place.error(
        "not the name of a secret",
        "write 1 to 64 lower-case letters, digits, dots, hyphens or underscores, such as openai-key; the value stands in a file of that name",
        "a policy is no place for secrets",
    ))
}

/// Lower-case hex SHA-256 of a whole field value.
fn pin(text: &str, place: &Place<'_>) -> Result<[u8; 32], PolicyError> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let whole = pairs.len() == out.len() && rest.is_empty();
    for (slot, [high, low]) in out.iter_mut().zip(pairs) {
        match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) if whole => *slot = high << 4 | low,
            _ => return Err(not_a_pin(place)),
        }
    }
    if whole { Ok(out) } else { Err(not_a_pin(place)) }
}

/// The text is not repeated: people put the credential itself here.
fn not_a_pin(place: &Place<'_>) -> PolicyError {
    place.error("not a SHA-256", "write 64 lower-case hex digits: the hash of the whole field value", "")
}

/// A word that contexts can name: a token (RFC 9651 section 3.3.4).
fn word(text: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    let first = |b: u8| b.is_ascii_alphabetic();
    let other = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
    if text.len() <= 128 && text.bytes().next().is_some_and(first) && text.bytes().all(other) {
        return Ok(());
    }
    Err(place.error(
        format!("{} is not one word", quoted(text)),
        "write a letter, then letters, digits or hyphens",
        "scopes of a context name it as a token",
    ))
}

fn check_ports(ports: &[u16], place: &Place<'_>) -> Result<Vec<u16>, PolicyError> {
    if ports.is_empty() {
        return Err(place.error("an empty list fits nothing", "name at least one, or leave the key out", ""));
    }
    match ports.iter().position(|port| *port == 0) {
        Some(i) => Err(place.index(i).error("0 is not a port", "write 1 to 65535", "")),
        None => Ok(ports.to_vec()),
    }
}

/// All destinations, found by host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations {
    all: Vec<Arc<Destination>>,
    hosts: HostMatcher,
    /// Where nothing fits.
    scheme: Option<Scheme>,
}

/// A destination that a host and port fit.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    pub(crate) destination: Arc<Destination>,
    pub(crate) specificity: HostSpecificity,
}

impl Destinations {
    /// What fits: each destination once, by its closest host; the closest first, then by id: never in the order in
    /// which they were written.
    pub(crate) fn find(&self, host: &CanonicalHost, port: u16) -> Vec<Fit> {
        self.at_port(&self.matches(host), port)
    }

    fn at_port(&self, matches: &[HostMatch], port: u16) -> Vec<Fit> {
        let mut fits: Vec<Fit> = Vec::new();
        for found in matches {
            let Some(destination) = usize::try_from(found.value).ok().and_then(|i| self.all.get(i)) else { continue };
            let known = fits.iter().any(|fit| Arc::ptr_eq(&fit.destination, destination));
            if !known && destination.ports.contains(&port) {
                fits.push(Fit { destination: Arc::clone(destination), specificity: found.specificity });
            }
        }
        order::sort_by(&mut fits, |a, b| {
            b.specificity.cmp(&a.specificity).then_with(|| a.destination.id.cmp(&b.destination.id))
        });
        fits
    }

    /// Patterns that fit, the closest first.
    ///
    /// A host that any destination names is not what `*` stands for, on whatever port: what is named is open to those who
    /// may use it, and nobody reaches it by way of the open web.
    fn matches(&self, host: &CanonicalHost) -> Vec<HostMatch> {
        let mut found = self.hosts.find(host);
        if found.first().is_some_and(|closest| closest.specificity.names()) {
            found.retain(|found| found.specificity.names());
        }
        found
    }

    /// Where a host leads, with the port that an authority names.
    ///
    /// Without one, the closest destination that takes its scheme's default port says the scheme; of several that are
    /// equally close, one with TLS.
    pub(crate) fn outlet(&self, host: &CanonicalHost, port: Option<u16>) -> Outlet {
        let gateway = self.scheme.unwrap_or(Scheme::Https);
        let usual = |found: &HostMatch| {
            let destination = usize::try_from(found.value).ok().and_then(|i| self.all.get(i))?;
            let scheme = destination.opens.scheme;
            let takes = destination.ports.contains(&scheme.default_port());
            takes.then_some((found.specificity, scheme == Scheme::Https, scheme))
        };
        let matches = self.matches(host);
        let closest = matches.iter().filter_map(usual).max_by_key(|(closeness, tls, _)| (*closeness, *tls));
        let unnamed = closest.map_or(gateway, |(_, _, scheme)| scheme).default_port();
        let port = port.unwrap_or(unnamed);
        Outlet::of(&self.at_port(&matches, port), gateway, port, unnamed)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Destination> {
        self.all.iter().map(Arc::as_ref)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// By index.
    pub(crate) fn get(&self, index: u32) -> Option<&Destination> {
        usize::try_from(index).ok().and_then(|i| self.all.get(i)).map(Arc::as_ref)
    }

    /// Enters every id into the directory first, so that a destination that is wrong is not unknown as well.
    pub(crate) fn compile(
        documents: &mut dyn DestinationSource,
        around: &DestinationSurroundings<'_>,
        directory: &mut Directory,
        problems: &mut Problems,
    ) -> Self {
        let root = Place::root(Document::Policy);
        let place = root.key("destinations");
        let scheme = around.scheme;
        documents.ids(&mut |index, id| _ = directory.ids.insert(id.into(), index));
        let (mut all, mut matcher) = (Vec::with_capacity(directory.ids.len()), HostMatcher::default());
        let (mut schemes, mut known) = (Schemes::new(documents.is_large()), KnownTerms::default());
        documents.each(&mut |index, id, document| {
            let place = place.key(id);
            let compiled = Destination::compile(id, document, around, directory, &mut known, &place);
            let compiled = problems.take(compiled);
            if let Some(credentials) = &document.credentials {
                token::check_kept(
                    credentials.keep.as_ref(),
                    around.tokens,
                    &place.key("credentials").key("keep"),
                    problems,
                );
            }
            let hosts = place.key("hosts");
            for (i, text) in document.hosts.0.iter().enumerate() {
                let place = hosts.index(i);
                let Some(pattern) = problems.take(host(text, &place)) else { continue };
                if let Some(destination) = &compiled {
                    problems.take(schemes.note(&pattern, destination, &place));
                }
                let added = matcher.add(&pattern, index);
                problems.take(added.map_err(|error| place.error(error.to_string(), "name fewer hosts", "")));
            }
            let opened = compiled.iter().map(|destination| (destination.label, destination.opens.paths));
            directory.opened.extend(opened.filter(|(_, paths)| !paths.is_closed()));
            all.extend(compiled.map(Arc::new));
        });
        Self { all, hosts: matcher.finish(), scheme: Some(scheme) }
    }
}

/// What destinations are compiled against.
pub(crate) struct DestinationSurroundings<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) names: NameLimits,
    /// Names of tenants, where there is a list.
    pub(crate) tenants: Option<&'a [&'a str]>,
    pub(crate) tokens: &'a TokenIssuers,
}

/// Where destinations are read from: a document that was read whole, or one that is read as it is compiled.
pub(crate) trait DestinationSource {
    /// Whether it is large: then what only words an error is not kept.
    fn is_large(&self) -> bool;

    /// All ids, numbered.
    fn ids(&self, each: &mut dyn FnMut(u32, &str));

    /// All destinations, numbered alike and in that order.
    fn each(&mut self, each: &mut dyn FnMut(u32, &str, &DestinationDocument));
}

impl DestinationSource for &Named<DestinationDocument> {
    fn is_large(&self) -> bool {
        false
    }

    fn ids(&self, each: &mut dyn FnMut(u32, &str)) {
        self.iter().zip(0..).for_each(|((id, _), index)| each(index, id));
    }

    fn each(&mut self, each: &mut dyn FnMut(u32, &str, &DestinationDocument)) {
        self.iter().zip(0..).for_each(|((id, document), index)| each(index, id, document));
    }
}

/// The scheme of each host and port: of two that were equally close, nobody could say which holds.
enum Schemes {
    /// With whatever a message needs.
    Whole(HashMap<(HostPattern, u16), (Scheme, String)>),
    /// By hashes alone: two that collide are refused as two that differ, and the document is then read whole.
    Hashed(HashMap<u64, Scheme>),
}

impl Schemes {
    fn new(large: bool) -> Self {
        if large { Self::Hashed(HashMap::new()) } else { Self::Whole(HashMap::new()) }
    }

    fn note(&mut self, pattern: &HostPattern, to: &Destination, place: &Place<'_>) -> Result<(), PolicyError> {
        for port in &to.ports {
            let scheme = to.opens.scheme;
            let known = match self {
                Self::Whole(known) => known,
                Self::Hashed(known) => {
                    let mut hasher = std::hash::DefaultHasher::new();
                    (pattern, port).hash(&mut hasher);
                    if *known.entry(hasher.finish()).or_insert(scheme) != scheme {
                        return Err(place.error("two schemes for one host and port", "", ""));
                    }
                    continue;
                }
            };
            match known.entry((pattern.clone(), *port)) {
                Entry::Vacant(vacant) => _ = vacant.insert((scheme, to.id.to_string())),
                Entry::Occupied(known) if known.get().0 == scheme => {}
                Entry::Occupied(known) => {
                    let (other, id) = known.get();
                    return Err(place.error(
                        format!("port {port} of {pattern} has the scheme {} in {}", other.as_str(), quoted(id)),
                        format!("let both say {} or {}, or give them different ports", scheme.as_str(), other.as_str()),
                        "a connection is either TLS or plain",
                    ));
                }
            }
        }
        Ok(())
    }
}

fn host(text: &str, place: &Place<'_>) -> Result<HostPattern, PolicyError> {
    match HostPattern::parse(text) {
        Ok(pattern) => Ok(pattern),
        Err(error) => {
            let text = error.to_string();
            // Host errors read `what is wrong; what to write`.
            let (problem, remedy) = text.split_once("; ").unwrap_or((&text, "write a host name like api.example.com"));
            Err(place.error(problem, remedy, ""))
        }
    }
}
