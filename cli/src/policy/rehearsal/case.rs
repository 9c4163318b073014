//! From a test file to requests that can be sent.

use super::document::{BeforeDocument, CaseDocument, ContextDocument, RequestLine, TestsDocument};
use super::expect::Expectation;
use crate::policy::diagnostic::{Diagnostic, Location};
use crate::policy::yaml::Source;
use crate::sign::UnsignedRequest;
use exeat_engine::context::sign::{ContextFields, string};
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::document::{Named, OneOrMany};
use exeat_engine::policy::node::Node;
use exeat_engine::policy::{Document, PolicyError, read};
use std::path::Path;

/// A request, and what must come of it.
#[derive(Debug)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// Where it is written.
    pub location: Location,
    /// When it is sent. `None`: now.
    pub now: Option<Timestamp>,
    /// Requests that come before it, each with how often, whatever becomes of them.
    pub before: Vec<(Sending, u32)>,
    /// The request.
    pub sending: Sending,
    /// What must come of it.
    pub expect: Expectation,
}

/// A request with the context it is sent under.
#[derive(Clone, Debug)]
pub struct Sending {
    /// The request.
    pub request: UnsignedRequest,
    /// The context; `None`: it is sent without one.
    pub context: Option<ContextFields>,
    /// Who signs it.
    pub by: By,
    /// SPIFFE id of the connection's certificate; `None`: what its signer must have.
    pub peer: Option<String>,
}

/// Who signs a request: by id, or the first that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// Id of a signer.
    pub signer: Option<String>,
    /// Id of a key.
    pub key: Option<String>,
}

/// Reads a test file.
///
/// # Errors
/// Everything that can be told at once.
pub fn read_cases(file: &Path) -> Result<Vec<Case>, Vec<Diagnostic>> {
    cases(&Source::read(file).map_err(|error| vec![error])?)
}

/// As [`read_cases`], of text that was read.
///
/// # Errors
/// Everything that can be told at once.
pub fn cases(source: &Source) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let told = |error: PolicyError| Diagnostic::new(source.locate(&error.place), "", error);
    let document: TestsDocument = read(&source.node, Document::Tests).map_err(|error| vec![told(error)])?;
    let mut errors = Vec::new();
    if let Some(context) = &document.defaults.context {
        errors.extend(context_document(context, "/defaults/context").err());
    }
    let mut names = Vec::new();
    let mut cases = Vec::new();
    for (index, case) in document.cases.iter().enumerate() {
        let place = format!("/cases/{index}");
        if case.name.is_empty() || names.contains(&case.name.as_str()) {
            errors.push(wrong(
                format!("{place}/name"),
                "the name is empty or taken",
                "give each case a name of its own",
            ));
        }
        names.push(&case.name);
        let reading = Reading { document: &document, case, place: &place, index };
        match reading.case() {
            Ok(read) => cases.push(Case { location: source.locate(&place), ..read }),
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(cases),
        false => Err(errors.into_iter().map(told).collect()),
    }
}

fn wrong(place: String, problem: impl Into<String>, remedy: impl Into<String>) -> PolicyError {
    PolicyError { document: Document::Tests, place, problem: problem.into(), why: String::new(), remedy: remedy.into() }
}

/// One case with the file around it.
struct Reading<'a> {
    document: &'a TestsDocument,
    case: &'a CaseDocument,
    place: &'a str,
    index: usize,
}

/// What a request carries.
struct Carries<'a> {
    line: &'a RequestLine,
    headers: &'a Named<OneOrMany<String>>,
    body: Option<&'a String>,
    json: Option<&'a Node>,
    body_bytes: Option<u32>,
    context: Option<&'a Node>,
}

impl Reading<'_> {
    fn case(&self) -> Result<Case, PolicyError> {
        let case = self.case;
        let expect = Expectation::of(case, self.place)?;
        let carries = Carries {
            line: &case.request,
            headers: &case.headers,
            body: case.body.as_ref(),
            json: case.json.as_ref(),
            body_bytes: case.body_bytes,
            context: case.context.as_ref(),
        };
        let sending = self.sending(&carries, None, self.place)?;
        let before = |(i, before): (usize, &BeforeDocument)| {
            let carries = Carries {
                line: &before.request,
                headers: &before.headers,
                body: before.body.as_ref(),
                json: before.json.as_ref(),
                body_bytes: before.body_bytes,
                context: before.context.as_ref(),
            };
            let sending = self.sending(&carries, case.context.as_ref(), &format!("{}/before/{i}", self.place))?;
            Ok((sending, before.times.unwrap_or(1)))
        };
        let before = case.before.iter().enumerate().map(before).collect::<Result<_, PolicyError>>()?;
        let now = case.now.or(self.document.defaults.now).map(|moment| moment.start());
        Ok(Case { name: case.name.clone(), location: Location::file(""), now, before, sending, expect })
    }

    /// `under`: the context of the case, for requests that come before its own.
    fn sending(&self, carries: &Carries<'_>, under: Option<&Node>, place: &str) -> Result<Sending, PolicyError> {
        let defaults = &self.document.defaults;
        let line = carries.line;
        let mut request = UnsignedRequest::new(&line.method, &line.url)
            .map_err(|error| wrong(format!("{place}/request"), error.to_string(), "correct the URL"))?;
        for (name, OneOrMany(values)) in carries.headers.iter().chain(
            // A case's own header stands in place of the default's.
            defaults.headers.iter().filter(|(name, _)| carries.headers.iter().all(|(own, _)| own != *name)),
        ) {
            for value in values {
                request = request.field(name, value);
            }
        }
        request.body = match (carries.body, carries.json, carries.body_bytes) {
            (None, None, None) => None,
            (Some(text), None, None) => Some(text.clone().into_bytes()),
            (None, Some(node), None) => {
                if !request.fields.iter().any(|(name, _)| name == "content-type") {
                    request = request.field("content-type", "application/json");
                }
                let bytes = serde_json::to_vec(node);
                Some(bytes.map_err(|error| wrong(format!("{place}/json"), error.to_string(), "write JSON"))?)
            }
            (None, None, Some(bytes)) => Some(vec![b'x'; usize::try_from(bytes).unwrap_or(usize::MAX)]),
            _ => {
                return Err(wrong(place.to_owned(), "a request has one body", "keep one of body, json and body_bytes"));
            }
        };
        let context = match self.case.unsigned {
            true => None,
            false => Some(self.context(&[defaults.context.as_ref(), under], carries.context, place)?),
        };
        let pick = |own: &Option<String>, default: &Option<String>| own.clone().or_else(|| default.clone());
        let key = pick(&self.case.key, &defaults.key);
        // The key of a default signer is not that of another.
        let signer = if self.case.key.is_some() && self.case.signer.is_none() {
            None
        } else {
            pick(&self.case.signer, &defaults.signer)
        };
        let key = if self.case.signer.is_some() && self.case.key.is_none() { None } else { key };
        let peer = pick(&self.case.peer, &defaults.peer);
        Ok(Sending { request, context, by: By { signer, key }, peer })
    }

    fn context(&self, under: &[Option<&Node>], own: Option<&Node>, place: &str) -> Result<ContextFields, PolicyError> {
        let place = format!("{place}/context");
        let mut members: Vec<(String, Node)> = Vec::new();
        for layer in under.iter().copied().chain([own]).flatten() {
            let Node::Map(entries) = layer else {
                return Err(wrong(
                    place,
                    format!("expected a map, found {}", layer.kind()),
                    "write the members of the context",
                ));
            };
            for (name, value) in entries {
                members.retain(|(known, _)| known != name);
                members.push((name.clone(), value.clone()));
            }
        }
        if let Some(own) = own {
            context_document(own, &place)?;
        }
        let context = context_document(&Node::Map(members), &place)?;
        let agent = context.agent.ok_or_else(|| {
            wrong(self.place.to_owned(), "the context names no agent", "add agent to context, or write unsigned: true")
        })?;
        let list = |value: Option<OneOrMany<String>>| value.map(|OneOrMany(list)| list).unwrap_or_default();
        let attribute = |(name, value): (&str, &Node)| {
            let text = match value {
                Node::Text(text) => string(name, text).map_err(|error| error.to_string()),
                Node::Number(number) => Ok(number.to_string()),
                Node::Bool(value) => Ok(if *value { "?1" } else { "?0" }.to_owned()),
                other => Err(format!("expected text, a number, true or false, found {}", other.kind())),
            };
            text.map(|text| (name.to_owned(), text))
                .map_err(|problem| wrong(format!("{place}/attributes"), problem, "write one value"))
        };
        Ok(ContextFields {
            agent,
            session: context.session.unwrap_or_else(|| format!("case-{}", self.index)),
            gateway: context.gateway,
            tenant: context.tenant,
            user: context.user,
            region: context.region,
            roles: list(context.roles),
            delegated_by: list(context.delegated_by),
            scope: context.scope.map(|OneOrMany(list)| list),
            tool: context.tool,
            session_type: context.session_type,
            data_class: context.data_class,
            provenance: context.provenance.map(|OneOrMany(list)| list).unwrap_or_default(),
            reason: context.reason,
            attributes: context.attributes.iter().map(attribute).collect::<Result<_, _>>()?,
        })
    }
}

/// Gives members their types; those that are null are absent.
fn context_document(node: &Node, place: &str) -> Result<ContextDocument, PolicyError> {
    let node = match node {
        Node::Map(entries) => {
            Node::Map(entries.iter().filter(|(_, value)| !matches!(value, Node::Null)).cloned().collect())
        }
        other => other.clone(),
    };
    read(&node, Document::Tests).map_err(|mut error| {
        error.place.insert_str(0, place);
        error
    })
}
