//! Allow and deny rules, compiled.

use super::Mode;
use super::budgets::{Budgets, Origin};
use super::condition::{Condition, Purpose};
use super::document::OneOrMany;
use super::document::rule::{AllowDocument, BindingName, CeilingDenyDocument, DenyDocument};
use super::error::{Place, PolicyError, Problems, quoted};
use super::headers::HeaderActions;
use super::limits::Limits;
use super::outlet;
use super::parameter::{Parameter, compile_treatments};
use super::selector::{DestinationSet, Directory};
use crate::context::AgentContext;
use crate::destination::{CanonicalPath, PathOpenings, PathPattern, PathSpecificity};
use crate::evidence::record::Binding;
use crate::facts::Timestamp;
use crate::payload::{Pointer, Treatment};
use std::sync::Arc;

/// A compiled allow rule.
#[derive(Clone, Debug)]
pub(crate) struct AllowRule {
    pub(crate) id: String,
    pub(crate) to: DestinationSet,
    methods: Vec<String>,
    paths: Vec<PathPattern>,
    when: Vec<Condition>,
    pub(crate) limits: Limits,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) headers: HeaderActions,
    pub(crate) parameters: Vec<Parameter>,
    /// What is done to the body before it leaves.
    pub(crate) treatments: Vec<(Pointer, Treatment)>,
    expires: Option<Timestamp>,
    pub(crate) mode: Option<Mode>,
    bindings: Vec<Binding>,
    /// Ticket of the exception that it is.
    pub(crate) exception: Option<Box<str>>,
}

/// A compiled deny rule.
#[derive(Clone, Debug)]
pub(crate) struct DenyRule {
    pub(crate) id: String,
    pub(crate) to: DestinationSet,
    /// Empty: all.
    methods: Vec<String>,
    /// Empty: all.
    paths: Vec<PathPattern>,
    when: Vec<Condition>,
    /// For whoever judges the body: all the rest of it fits before.
    pub(crate) parameters: Vec<Parameter>,
    expires: Option<Timestamp>,
    pub(crate) mode: Option<Mode>,
}

impl AllowRule {
    pub(crate) fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|end| now <= end)
    }

    /// Methods are compared as they are: `get` is not GET (RFC 9110 section 9.1).
    pub(crate) fn fits_method(&self, method: &str) -> bool {
        self.methods.iter().any(|allowed| allowed == method)
    }

    /// How closely the closest of its paths fits. A tunnel, which has none, can reach every path of its host.
    pub(crate) fn fits_path(&self, path: Option<&CanonicalPath>) -> Option<PathSpecificity> {
        match path {
            Some(path) => self.paths.iter().filter_map(|pattern| pattern.matches(path)).max(),
            None => self.paths.iter().find_map(PathPattern::matches_everything),
        }
    }

    /// Whether it accepts contexts that are bound to the request like this.
    pub(crate) fn accepts(&self, binding: Binding) -> bool {
        self.bindings.contains(&binding)
    }

    /// The name of the first condition that is not met.
    pub(crate) fn unmet(&self, context: &AgentContext) -> Option<&str> {
        self.when.iter().find(|condition| !condition.met(context, Purpose::Allow)).map(Condition::name)
    }

    pub(crate) fn compile(
        document: &AllowDocument,
        directory: &Directory,
        origin: &Origin<'_>,
        place: &Place<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let id = problems.take(rule_id(&document.id, &place.key("id")));
        let to = DestinationSet::compile(&document.to, directory, &place.key("to"), problems);
        let methods = match &document.methods {
            Some(list) => problems.take(methods(list, &place.key("methods"))),
            None => Some(vec!["GET".to_owned(), "HEAD".to_owned()]),
        };
        let paths = problems.take(paths(&document.paths, &to, directory, &place.key("paths")));
        if let (Some(methods), Some(paths)) = (&methods, &paths)
            && let Some(i) = methods.iter().position(|method| method == "CONNECT")
            && !paths.iter().any(|pattern| pattern.matches_everything().is_some())
        {
            problems.note(place.key("methods").index(i).error(
                "a tunnel reaches every path, and the rule allows only some",
                "write /** in paths, or remove CONNECT",
                "",
            ));
        }
        let when = problems.take(Condition::compile_all(&document.when, &place.key("when")));
        let bindings = problems.take(bindings(document.binding.as_ref(), &place.key("binding")));
        let budgets = Budgets::compile(&document.id, &document.limits, origin, &place.key("limits"), problems);
        let headers = problems.take(HeaderActions::compile(&document.headers, &place.key("headers")));
        let parameters = Parameter::compile_all(document.parameters.as_ref(), &place.key("parameters"));
        let parameters = problems.take(parameters);
        let treatments = problems.take(compile_treatments(document, place));
        let asks = parameters.as_ref().is_some_and(|list| !list.is_empty());
        let treats = treatments.as_ref().is_some_and(|list| !list.is_empty());
        if let Some(i) = methods.iter().flatten().position(|method| method == "CONNECT")
            && (asks || treats)
        {
            problems.note(place.key("methods").index(i).error(
                "nothing can be told of what a tunnel carries, and the rule asks for it",
                "give tunnels a rule without parameters, redact and tokenize, or remove CONNECT",
                "",
            ));
        }
        let () = id?;
        Some(Self {
            id: document.id.clone(),
            to,
            methods: methods?,
            paths: paths?,
            when: when?,
            limits: Limits::from(&document.limits),
            budgets: Arc::new(budgets),
            headers: headers?,
            parameters: parameters?,
            treatments: treatments?,
            expires: document.expires.map(|moment| moment.end()),
            mode: document.mode,
            bindings: bindings?,
            exception: document.exception.as_ref().map(|exception| exception.ticket.as_str().into()),
        })
    }
}

impl DenyRule {
    /// Whether it fits a request to a destination that `to` contains, but for its parameters. Method and path are compared without regard to
    /// case, and what cannot be told counts as fitting: servers that are lenient must not be a way round. Nothing can be
    /// told of what a tunnel carries.
    pub(crate) fn fits(
        &self,
        method: &str,
        path: Option<&CanonicalPath>,
        context: &AgentContext,
        now: Timestamp,
    ) -> bool {
        self.expires.is_none_or(|end| now <= end)
            && (self.methods.is_empty()
                || path.is_none()
                || self.methods.iter().any(|denied| denied.eq_ignore_ascii_case(method)))
            && (self.paths.is_empty()
                || path.is_none_or(|path| self.paths.iter().any(|pattern| pattern.matches_ignoring_case(path))))
            && self.when.iter().all(|condition| condition.met(context, Purpose::Deny))
    }

    pub(crate) fn compile(
        document: &DenyDocument,
        directory: &Directory,
        place: &Place<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let to = DestinationSet::compile(&document.to, directory, &place.key("to"), problems);
        let ceiling = CeilingDenyDocument {
            id: document.id.clone(),
            to: document.to.clone(),
            methods: document.methods.clone(),
            paths: document.paths.clone(),
            when: document.when.clone(),
            parameters: document.parameters.clone(),
        };
        let rule = Self::compile_parts(&ceiling, to, directory, place, problems)?;
        Some(Self { expires: document.expires.map(|moment| moment.end()), mode: document.mode, ..rule })
    }

    pub(crate) fn compile_ceiling(
        document: &CeilingDenyDocument,
        directory: &mut Directory,
        place: &Place<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let to = DestinationSet::compile_ceiling(&document.to, directory, &place.key("to"), problems);
        Self::compile_parts(document, to, directory, place, problems)
    }

    fn compile_parts(
        document: &CeilingDenyDocument,
        to: DestinationSet,
        directory: &Directory,
        place: &Place<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let id = problems.take(rule_id(&document.id, &place.key("id")));
        let methods = match &document.methods {
            Some(list) => problems.take(methods(list, &place.key("methods"))),
            None => Some(Vec::new()),
        };
        let paths = match &document.paths {
            Some(list) => problems.take(paths(list, &to, directory, &place.key("paths"))),
            None => Some(Vec::new()),
        };
        let when = problems.take(Condition::compile_all(&document.when, &place.key("when")));
        let parameters = Parameter::compile_all(document.parameters.as_ref(), &place.key("parameters"));
        let parameters = problems.take(parameters);
        let () = id?;
        Some(Self {
            id: document.id.clone(),
            to,
            methods: methods?,
            paths: paths?,
            when: when?,
            parameters: parameters?,
            expires: None,
            mode: None,
        })
    }
}

/// Records name a rule as `<agent>/<rule>`, so a rule's name has no slash.
fn rule_id(text: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    Err(place.error(
        format!("{} is not a name of a rule", quoted(text)),
        "write 1 to 64 letters, digits, dots, underscores or hyphens",
        "",
    ))
}

fn methods(list: &OneOrMany<String>, place: &Place<'_>) -> Result<Vec<String>, PolicyError> {
    for (i, method) in list.0.iter().enumerate() {
        let place = place.index(i);
        let shaped = method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') && method.len() <= 32;
        if !shaped || !method.bytes().next().is_some_and(|b| b.is_ascii_uppercase()) {
            let upper = method.to_ascii_uppercase();
            let remedy = match upper.bytes().all(|b| b.is_ascii_uppercase()) && !upper.is_empty() {
                true => format!("write {upper}"),
                false => "write it in upper case, such as GET".to_owned(),
            };
            return Err(place.error(format!("{} is not a method", quoted(method)), remedy, ""));
        }
    }
    Ok(list.0.clone())
}

fn paths(
    list: &OneOrMany<String>,
    to: &DestinationSet,
    directory: &Directory,
    place: &Place<'_>,
) -> Result<Vec<PathPattern>, PolicyError> {
    list.0.iter().enumerate().map(|(i, text)| path(text, to, directory, &place.index(i))).collect()
}

fn path(text: &str, to: &DestinationSet, directory: &Directory, place: &Place<'_>) -> Result<PathPattern, PolicyError> {
    let pattern = PathPattern::parse(text).map_err(|error| {
        let text = error.to_string();
        // Path errors read `what is wrong; what to write`.
        let (problem, remedy) = text.split_once("; ").unwrap_or((&text, "write a path like /v1/orders/*"));
        place.error(problem, remedy, "")
    })?;
    if pattern.needs().is_closed() {
        return Ok(pattern);
    }
    // It is enough that one destination opens all that the pattern needs.
    let missing = |opened: PathOpenings| pattern.needs().difference(opened).iter().next();
    let named = directory.opened.iter().filter(|(label, _)| to.contains(*label));
    let misses: Vec<_> = named.map(|(_, opened)| missing(*opened)).collect();
    match misses.iter().copied().min().unwrap_or_else(|| missing(PathOpenings::CLOSED)) {
        None => Ok(pattern),
        Some(opening) => Err(outlet::opening_missing(opening, place)),
    }
}

fn bindings(list: Option<&OneOrMany<BindingName>>, place: &Place<'_>) -> Result<Vec<Binding>, PolicyError> {
    let Some(list) = list else { return Ok(vec![Binding::Request]) };
    let binding = |(i, name): (usize, &BindingName)| match name {
        BindingName::Request => Ok(Binding::Request),
        BindingName::Session => Ok(Binding::Session),
        BindingName::Tunnel => {
            Err(place.index(i).error("not supported yet", "use request or session, or remove this key", ""))
        }
    };
    list.0.iter().enumerate().map(binding).collect()
}
