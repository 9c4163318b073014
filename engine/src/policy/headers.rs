//! Which request headers can go on at all, and what a rule may say about them (DESIGN sections 4 and 9).

use super::error::{Place, PolicyError, did_you_mean, quoted};
use super::member::TextMember;
use crate::context::AgentContext;

/// Go on without being named.
pub const BUILT_IN: [&str; 11] = [
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-length",
    "content-type",
    "if-modified-since",
    "if-none-match",
    "range",
    "te",
    "traceparent",
    "tracestate",
];

/// Never go on as a client sent them, whatever a rule says: hop-by-hop fields (RFC 9110 section 7.6.1), what decides
/// the route or claims where a request came from, what overrides the method or path that was judged, and Exeat's own.
pub fn is_reserved(name: &str) -> bool {
    const PREFIXES: [&str; 4] = [":", "x-envoy-", "x-forwarded-", "exeat-"];
    const NAMES: [&str; 29] = [
        "agent-context",
        "connection",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "signature",
        "signature-input",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-host",
        "x-http-host-override",
        "x-http-method",
        "x-http-method-override",
        "x-http-path-override",
        "x-method-override",
        "x-original-host",
        "x-original-method",
        "x-original-uri",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

/// Carry credentials: they go only where a destination keeps them.
pub fn is_credential(name: &str) -> bool {
    const NAMES: [&str; 15] = [
        "authorization",
        "cookie",
        "cookie2",
        "dd-application-key",
        "job-token",
        "ocp-apim-subscription-key",
        "private-token",
        "x-access-token",
        "x-amz-security-token",
        "x-auth-token",
        "x-csrf-token",
        "x-functions-key",
        "x-gitlab-token",
        "x-shopify-access-token",
        "x-vault-token",
    ];
    NAMES.contains(&name) || name.ends_with("api-key") || name.ends_with("apikey") || name.ends_with("-secret")
}

/// What a rule sets a header to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderValue {
    Literal(String),
    Member(TextMember),
}

impl HeaderValue {
    /// The value; `None` where the context lacks the member: the header is then absent, never the client's own.
    pub(crate) fn resolve<'a>(&'a self, context: &'a AgentContext) -> Option<&'a str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Member(member) => member.value(context),
        }
    }

    fn parse(text: &str, place: &Place<'_>) -> Result<Self, PolicyError> {
        if let Some(name) = text.strip_prefix('$') {
            return TextMember::of(name).map(Self::Member).ok_or_else(|| {
                let names = TextMember::ALL.map(|member| format!("${}", member.name()));
                let list = format!("Known here: {}", names.join(", "));
                let hint = did_you_mean(text, names.iter().map(String::as_str));
                let remedy = hint.map_or(list.clone(), |hint| format!("{hint} {list}"));
                place.error(format!("no member of the context is called {}", quoted(text)), remedy, "")
            });
        }
        let visible = text.bytes().all(|b| (0x20..0x7f).contains(&b)) && text.trim() == text;
        if text.is_empty() || text.len() > 1_024 || !visible {
            let problem = format!("{} is not a header value", quoted(text));
            return Err(place.error(problem, "write 1 to 1024 printable ASCII characters without outer spaces", ""));
        }
        Ok(Self::Literal(text.to_owned()))
    }
}

/// Headers that a rule names: all lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeaderActions {
    pub(crate) keep: Vec<String>,
    pub(crate) set: Vec<(String, HeaderValue)>,
    pub(crate) remove: Vec<String>,
}

impl HeaderActions {
    pub(crate) fn compile(
        document: &super::document::rule::HeadersDocument,
        place: &Place<'_>,
    ) -> Result<Self, PolicyError> {
        let mut actions = Self::default();
        let keep = place.key("keep");
        for (i, name) in document.keep.iter().flat_map(|list| &list.0).enumerate() {
            let place = keep.index(i);
            open_name(name, &place)?;
            if is_credential(name) {
                return Err(place.error(
                    format!("{name} carries credentials"),
                    "name it in credentials.keep of the destination",
                    "credentials go only where the destination keeps them",
                ));
            }
            actions.keep.push(name.clone());
        }
        let set = place.key("set");
        for (name, value) in document.set.iter() {
            let place = set.key(name);
            open_name(name, &place)?;
            if is_credential(name) {
                let remedy = "let the destination keep the agent's own, with its hash, or inject one";
                return Err(place.error(
                    format!("{name} carries credentials"),
                    remedy,
                    "a policy is no place for secrets",
                ));
            }
            if matches!(name, "content-length" | "content-encoding" | "te") {
                let problem = format!("{name} says how the body is framed");
                return Err(place.error(problem, "remove it", "the body goes on as it was sent"));
            }
            actions.set.push((name.to_owned(), HeaderValue::parse(value, &place)?));
        }
        let remove = place.key("remove");
        for (i, name) in document.remove.iter().flat_map(|list| &list.0).enumerate() {
            let place = remove.index(i);
            field_name(name, &place)?;
            if matches!(name.as_str(), "content-length" | "content-encoding" | "content-type") {
                let problem = format!("{name} says how the body is read");
                return Err(place.error(problem, "leave it", "the body goes on as it was sent"));
            }
            actions.remove.push(name.clone());
        }
        Ok(actions)
    }
}

/// A header that can go on: a lower-case field name (RFC 9110 section 5.1) that is not reserved.
pub(crate) fn open_name(name: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    field_name(name, place)?;
    if is_reserved(name) {
        let why = "it would change how the request is routed, framed or attributed";
        return Err(place.error(format!("{name} is reserved"), "remove it: it never goes on", why));
    }
    Ok(())
}

pub(crate) fn field_name(name: &str, place: &Place<'_>) -> Result<(), PolicyError> {
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    if (1..=128).contains(&name.len()) && name.bytes().all(token) {
        return Ok(());
    }
    Err(place.error(
        format!("{} is not a header name", quoted(name)),
        "write it in lower case, such as x-api-version",
        "",
    ))
}
