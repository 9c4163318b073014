//! What a signature must cover (DESIGN section 3), and whether it does.

use super::base::path_and_query;
use super::component::{Component, FieldForm, Kind};
use crate::request::RequestHead;

/// A component that a request needs covered, and what may stand for it.
struct Requirement {
    name: &'static str,
    met_by: fn(&Kind) -> bool,
}

const METHOD: Requirement = Requirement { name: "\"@method\"", met_by: |kind| matches!(kind, Kind::Method) };
const AUTHORITY: Requirement =
    Requirement { name: "\"@authority\"", met_by: |kind| matches!(kind, Kind::Authority | Kind::TargetUri) };
const PATH: Requirement = Requirement {
    name: "\"@path\"",
    met_by: |kind| matches!(kind, Kind::Path | Kind::TargetUri | Kind::RequestTarget),
};
const QUERY: Requirement = Requirement {
    name: "\"@query\"",
    met_by: |kind| matches!(kind, Kind::Query | Kind::TargetUri | Kind::RequestTarget),
};
const AGENT_CONTEXT: Requirement =
    Requirement { name: "\"agent-context\"", met_by: |kind| is_plain(kind, crate::context::agent_context::FIELD) };
const CONTENT_DIGEST: Requirement =
    Requirement { name: "\"content-digest\"", met_by: |kind| is_plain(kind, "content-digest") };
const CONTENT_TYPE: Requirement =
    Requirement { name: "\"content-type\"", met_by: |kind| is_whole(kind, "content-type") };
const CONTENT_ENCODING: Requirement =
    Requirement { name: "\"content-encoding\"", met_by: |kind| is_whole(kind, "content-encoding") };

impl Requirement {
    fn is_met(&self, components: &[Component]) -> bool {
        components.iter().any(|component| (self.met_by)(component.kind()))
    }
}

fn is_plain(kind: &Kind, field: &str) -> bool {
    matches!(kind, Kind::Field { name, form: FieldForm::Plain } if name == field)
}

// `bs` covers every byte of every line; `key` covers a part, and `sf` what another reader may parse otherwise.
fn is_whole(kind: &Kind, field: &str) -> bool {
    matches!(kind, Kind::Field { name, form: FieldForm::Plain | FieldForm::Bytes } if name == field)
}

/// The first thing missing that every request needs covered.
pub(crate) fn missing_in_head(head: &RequestHead, components: &[Component]) -> Option<&'static str> {
    let mut required = vec![METHOD, AUTHORITY, AGENT_CONTEXT];
    // CONNECT alone has no path (RFC 9113 section 8.5).
    if head.path.is_some() || head.method != "CONNECT" {
        required.push(PATH);
    }
    if path_and_query(head).is_ok_and(|(_, query)| query.is_some()) {
        required.push(QUERY);
    }
    first_missing(&required, components)
}

/// The first thing missing that a request with a body needs covered besides.
pub(crate) fn missing_for_body(head: &RequestHead, components: &[Component]) -> Option<&'static str> {
    let mut required = vec![CONTENT_DIGEST];
    if head.has("content-type") {
        required.push(CONTENT_TYPE);
    }
    if head.has("content-encoding") {
        required.push(CONTENT_ENCODING);
    }
    first_missing(&required, components)
}

/// Whether the signature covers `Content-Digest` as it stands.
pub(crate) fn covers_content_digest(components: &[Component]) -> bool {
    CONTENT_DIGEST.is_met(components)
}

fn first_missing(required: &[Requirement], components: &[Component]) -> Option<&'static str> {
    required.iter().find(|requirement| !requirement.is_met(components)).map(|requirement| requirement.name)
}
