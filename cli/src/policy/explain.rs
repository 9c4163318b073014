//! `exeat policy explain`: what becomes of one request, and why.

use super::load::Loaded;
use super::load_or_explain;
use super::rehearsal::probe::{Findings, Miss, RuleFinding, find};
use super::rehearsal::{By, Observed, Rehearsal, Sending};
use super::test::beside;
use crate::members::MemberArgs;
use crate::sign::{UnsignedRequest, attribute, field};
use crate::terminal::print;
use anyhow::{Context as _, bail};
use clap::Args;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::destination::Authority;
use exeat_engine::facts::Timestamp;
use exeat_engine::policy::document::Moment;
use exeat_engine::policy::node::Node;
use exeat_engine::policy::{Destination, Dimension};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Arguments of `exeat policy explain`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  exeat policy explain policies/support-summarizer/policy https://eu.crm.acme.example/v1/orders/7 \\
    --agent support/summarizer --tenant acme --role support --tool crm.lookup --session-type interactive \\
    --data-class confidential --provenance user")]
pub(super) struct ExplainArgs {
    /// The policy folder.
    folder: PathBuf,
    /// URL of the request.
    url: String,
    /// The gateway document; gateway.yaml beside the folder unless given.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The environment; without it, that which the gateway document names.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Method; POST when there is a body.
    #[arg(long)]
    method: Option<String>,
    /// Header of the request, say 'Accept: text/plain'.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Body, as text.
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// File that holds the body.
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    /// Workload identity of the agent. Without it the request is sent without a context.
    #[arg(long, help_heading = "Context")]
    agent: Option<String>,
    /// One run of it.
    #[arg(long, default_value = "explain", help_heading = "Context")]
    session: String,
    #[command(flatten)]
    members: MemberArgs,
    /// Another member; repeat for more.
    #[arg(long = "attribute", value_name = "NAME=TEXT", help_heading = "Context", requires = "agent")]
    attributes: Vec<String>,
    /// Signer that vouches for it; the first of the policy unless given.
    #[arg(long, help_heading = "Signature", requires = "agent")]
    signer: Option<String>,
    /// SPIFFE id of the connection's certificate; that which the signer must have unless given.
    #[arg(long, value_name = "ID", help_heading = "Signature")]
    peer: Option<String>,
    /// When it is sent, such as 2027-06-30T12:00:00Z; now unless given.
    #[arg(long, value_name = "TIME", value_parser = moment, help_heading = "Signature")]
    now: Option<Timestamp>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Moment::try_from(text.to_owned()).map(Moment::start).map_err(|error| error.to_string().replace('\n', "; "))
}

/// What is said of a request.
struct Explanation {
    findings: Findings,
    destinations: Vec<Arc<Destination>>,
    limits: Vec<(Dimension, u64)>,
}

/// Runs `exeat policy explain`. Whatever is decided is no error.
pub(super) fn run(args: ExplainArgs) -> anyhow::Result<()> {
    let gateway = args.gateway.clone().or_else(|| beside(&args.folder, "gateway.yaml"));
    let loaded = load_or_explain(&args.folder, gateway.as_deref(), args.env.as_deref())?;
    let now = args.now.unwrap_or_else(super::now);
    let json = args.json;
    let sending = sending(args)?;
    let rehearsal = Rehearsal::new(&loaded)?;
    let findings = find(&rehearsal, &sending, now)?;
    let explanation = Explanation {
        destinations: destinations(&rehearsal, &findings.decision),
        limits: rehearsal.limits(&sending, now)?,
        findings,
    };
    match json {
        true => print(&format!("{:#}\n", explanation.json(&loaded)))?,
        false => print(&explanation.text(&loaded, &sending))?,
    }
    Ok(())
}

fn sending(args: ExplainArgs) -> anyhow::Result<Sending> {
    let body = match (args.body, &args.body_file) {
        (Some(text), _) => Some(text.into_bytes()),
        (None, Some(path)) => {
            Some(std::fs::read(path).with_context(|| format!("cannot read the body {}", path.display()))?)
        }
        (None, None) => None,
    };
    let method = args.method.as_deref().unwrap_or(if body.is_some() { "POST" } else { "GET" });
    let mut request = UnsignedRequest::new(method, &args.url)?;
    for header in &args.headers {
        let (name, value) = field(header)?;
        request = request.field(name, value);
    }
    request.body = body;
    let attributes = args.attributes.iter().map(|text| attribute(text)).collect::<Result<_, _>>()?;
    let (members, session) = (args.members, args.session);
    let context = match args.agent {
        Some(agent) => Some(members.fields(agent, session, attributes)),
        None if members.fields(String::new(), String::new(), Vec::new()) == ContextFields::default() => None,
        None => bail!(
            "these are members of a context, and without --agent the request has none: add --agent, or leave them out"
        ),
    };
    Ok(Sending { request, context, by: By { signer: args.signer, key: None }, peer: args.peer })
}

/// Those that the host fits, as the gateway read it.
fn destinations(rehearsal: &Rehearsal, decision: &Observed) -> Vec<Arc<Destination>> {
    let host = decision.host.as_deref().and_then(|host| Authority::parse(host.as_bytes()).ok());
    match (host, decision.port) {
        (Some(authority), Some(port)) => rehearsal.configuration().policy().fitting(&authority.host, port),
        _ => Vec::new(),
    }
}

impl Explanation {
    fn text(&self, loaded: &Loaded, sending: &Sending) -> String {
        let Findings { decision, standing, reaches_denials, deny, allow } = &self.findings;
        let mut text = format!("{}\n", decision.line());
        let target = sending.request.path.as_deref().unwrap_or_default();
        let request = format!("{} {}{target}", sending.request.method, sending.request.authority);
        let _ = writeln!(text, "\nrequest\n  {}", request.escape_debug());
        if let (Some(host), Some(port)) = (&decision.host, decision.port) {
            let _ = writeln!(text, "  read as {} port {port}", host.escape_debug());
        }
        if let Some(agent) = sending.context.as_ref().map(|context| context.to_field()) {
            let _ = writeln!(text, "  {}", agent.unwrap_or_default().escape_debug().to_string().replace("\\\"", "\""));
        }
        let _ = writeln!(text, "\ndestinations that it fits{}", none(self.destinations.is_empty()));
        for destination in &self.destinations {
            let word = |name: &str, word: Option<&str>| word.map(|word| format!(", {name} {word}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "  {}{}{}, accepts {}",
                destination.id(),
                word("category", destination.category()),
                word("kind", destination.kind()),
                destination.accepts().word()
            );
        }
        if let Some(standing) = standing {
            let _ = writeln!(text, "\nwhatever the agent's rules say\n  {}", reason(standing));
        }
        if *reaches_denials {
            let _ = writeln!(text, "\ndeny rules{}", none(deny.is_empty()));
            self.rules(&mut text, deny, loaded, "fits, and so it is refused");
        }
        let _ = writeln!(text, "\nallow rules{}", none(allow.is_empty()));
        self.rules(&mut text, allow, loaded, "fits whole");
        if !self.limits.is_empty() {
            let sizes: Vec<_> = self.limits.iter().map(|(what, bytes)| format!("{} {bytes}", what.as_str())).collect();
            let _ = writeln!(text, "\nbytes that hold for it\n  {}", sizes.join(", "));
        }
        if let Some(upstream) = &decision.upstream {
            let _ =
                writeln!(text, "\ngoes on\n  {} {}", upstream.authority.escape_debug(), upstream.path.escape_debug());
            for (name, value) in &upstream.fields {
                let _ = writeln!(text, "  {name}: {}", value.escape_debug());
            }
        }
        text
    }

    fn rules(&self, text: &mut String, rules: &[RuleFinding], loaded: &Loaded, fits: &str) {
        let width = rules.iter().map(|rule| rule.name.chars().count()).max().unwrap_or(0);
        for rule in rules {
            let what = match &rule.misses {
                None => fits.to_owned(),
                Some(Miss::Key(key)) => format!("does not fit: {}{}", key.escape_debug(), asked(loaded, rule, key)),
                Some(Miss::Refused(observed)) => {
                    let condition = observed.condition.as_deref().unwrap_or_default();
                    format!("{}{}", reason(observed), asked(loaded, rule, condition))
                }
            };
            let name = rule.name.escape_debug().to_string();
            let _ = writeln!(text, "  {name:width$}  {what}  ({})", loaded.locate(&rule.pointer));
        }
    }

    fn json(&self, loaded: &Loaded) -> Value {
        let Findings { decision, standing, reaches_denials, deny, allow } = &self.findings;
        let rule = |rule: &RuleFinding| {
            let (reason, condition) = match &rule.misses {
                None => (None, None),
                Some(Miss::Key(key)) => (None, Some(key.clone())),
                Some(Miss::Refused(observed)) => (Some(observed.reason.clone()), observed.condition.clone()),
            };
            json!({
                "rule": rule.name, "at": loaded.locate(&rule.pointer).to_string(), "fits": rule.misses.is_none(),
                "reason": reason, "condition": condition,
            })
        };
        let destination = |destination: &Arc<Destination>| {
            json!({
                "id": destination.id(), "category": destination.category(), "kind": destination.kind(),
                "accepts": destination.accepts().word(),
            })
        };
        json!({
            "policy": loaded.configuration.policy().digest(),
            "decision": {
                "outcome": decision.outcome, "reason": decision.reason, "rule": decision.rule,
                "condition": decision.condition, "status": decision.status, "destination": decision.destination,
                "host": decision.host, "port": decision.port,
            },
            "destinations": self.destinations.iter().map(destination).collect::<Vec<_>>(),
            "standing": standing.as_ref().map(|s| json!({"reason": s.reason, "condition": s.condition, "destination": s.destination})),
            "deny": reaches_denials.then(|| deny.iter().map(rule).collect::<Vec<_>>()),
            "allow": allow.iter().map(rule).collect::<Vec<_>>(),
            "limits": self.limits.iter().map(|(what, bytes)| (what.as_str().to_owned(), json!(bytes))).collect::<serde_json::Map<_, _>>(),
            "goes_on": decision.upstream.as_ref().map(|upstream| json!({
                "authority": upstream.authority, "path": upstream.path, "fields": upstream.fields,
            })),
        })
    }
}

/// What a rule writes at a condition of its own, where it does.
fn asked(loaded: &Loaded, rule: &RuleFinding, condition: &str) -> String {
    let rule = at(&loaded.policy, &rule.pointer);
    let written = rule.filter(|_| !condition.is_empty()).and_then(|rule| at(rule, &format!("/{condition}")));
    match written.map(serde_json::to_string) {
        Some(Ok(text)) => format!(", where it says {}", text.escape_debug().to_string().replace("\\\"", "\"")),
        _ => String::new(),
    }
}

/// Where a JSON pointer leads.
fn at<'n>(node: &'n Node, pointer: &str) -> Option<&'n Node> {
    pointer.split('/').skip(1).try_fold(node, |node, token| match node {
        Node::List(items) => items.get(token.parse::<usize>().ok()?),
        other => other.get(&token.replace("~1", "/").replace("~0", "~")),
    })
}

const fn none(empty: bool) -> &'static str {
    if empty { ": none" } else { "" }
}

fn reason(observed: &Observed) -> String {
    match &observed.condition {
        Some(condition) => format!("{}: {}", observed.reason, condition.escape_debug()),
        None => observed.reason.clone(),
    }
}
