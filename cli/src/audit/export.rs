//! `exeat audit export`: decisions for other systems. JSON lines carry the records as they are; OCSF 1.3 (HTTP Activity) and
//! OTLP logs in JSON carry what these have a place for, and the decision's id and leaf, by which the proof is found.

use super::StoreArgs;
use super::filter::Filter;
use super::list::{Row, user};
use super::store::EvidenceStore;
use crate::terminal::Out;
use anyhow::Context as _;
use clap::ValueEnum;
use exeat_engine::evidence::line::to_line;
use serde_json::{Map, Value, json};
use std::io::Write as _;

/// Arguments of `exeat audit export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The format.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Name natural persons, where their openings are stored.
    #[arg(long)]
    persons: bool,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The records, a decision with its completion on each line.
    Jsonl,
    /// OCSF 1.3.0, class HTTP Activity (4002) with the profile `security_control`.
    Ocsf,
    /// OTLP/JSON logs, an `ExportLogsServiceRequest` on each line.
    Otlp,
}

/// Log records in one OTLP request.
const OTLP_BATCH: usize = 512;

/// Runs `exeat audit export`.
pub fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let store = EvidenceStore::open(&args.store.db)?;
    let rows = args.filter.rows(&store, 0).context("the store cannot be read; is it damaged?")?;
    let events: Vec<Event<'_>> =
        rows.iter().map(|row| Event::new(&store, row, args.persons)).collect::<Result<_, _>>()?;
    let mut out = std::io::BufWriter::new(Out::new());
    match args.format {
        Format::Jsonl => {
            events.iter().try_for_each(|event| anyhow::Ok(writeln!(out, "{}", to_line(&event.jsonl())?)?))?
        }
        Format::Ocsf => {
            events.iter().try_for_each(|event| anyhow::Ok(writeln!(out, "{}", to_line(&event.ocsf())?)?))?
        }
        Format::Otlp => {
            for batch in events.chunks(OTLP_BATCH) {
                writeln!(out, "{}", to_line(&otlp(batch))?)?;
            }
        }
    }
    Ok(out.flush()?)
}

/// A decision and what is exported of it.
struct Event<'a> {
    row: &'a Row,
    decision: Value,
    completion: Option<Value>,
    user: Option<String>,
}

impl<'a> Event<'a> {
    fn new(store: &EvidenceStore, row: &'a Row, persons: bool) -> anyhow::Result<Self> {
        let damaged = || format!("leaf {} of {} is no JSON: run `exeat audit verify`", row.index, row.origin);
        let parse = |leaf: &[u8]| serde_json::from_slice::<Value>(leaf).with_context(damaged);
        Ok(Self {
            row,
            decision: parse(&row.leaf)?,
            completion: row.completion_leaf.as_deref().map(parse).transpose()?,
            user: if persons { user(store, row)? } else { None },
        })
    }

    fn of<'v>(&'v self, pointer: &str) -> Option<&'v Value> {
        self.decision.pointer(pointer).filter(|value| !value.is_null())
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.of(pointer)?.as_str()
    }

    fn ended(&self, name: &str) -> Option<&Value> {
        self.completion.as_ref()?.get(name).filter(|value| !value.is_null())
    }

    fn jsonl(&self) -> Value {
        json!({
            "log": self.row.origin, "leaf": self.row.index, "user": self.user,
            "decision": self.decision, "completion": self.completion,
        })
    }

    fn ocsf(&self) -> Value {
        let decision = &self.row.decision;
        let (allowed, activity) = (decision.outcome != "deny", activity(self.text("/destination/method")));
        let ended = self.completion.as_ref();
        // Severity: what was let go although the policy says no is worse than what was refused.
        let (severity, name) = match decision.outcome.as_str() {
            "allow" => (1, "Informational"),
            "deny" => (3, "Medium"),
            _ => (4, "High"),
        };
        let source = self.text("/source").map(endpoint);
        let upstream = self.ended("upstream").and_then(Value::as_str).map(endpoint);
        let mut to = upstream.unwrap_or_default();
        insert(&mut to, "hostname", self.of("/destination/host").cloned());
        insert(&mut to, "port", self.of("/destination/port").cloned());
        let mut actor = Map::new();
        insert(&mut actor, "app_name", self.of("/agent").cloned());
        insert(&mut actor, "invoked_by", self.of("/tool").cloned());
        insert(&mut actor, "session", self.of("/session").map(|session| json!({ "uid": session })));
        insert(&mut actor, "user", self.user.as_ref().map(|user| json!({"uid": user, "type": "User", "type_id": 1})));
        let mut url = Map::new();
        for (name, from) in
            [("hostname", "/destination/host"), ("port", "/destination/port"), ("path", "/destination/path")]
        {
            insert(&mut url, name, self.of(from).cloned());
        }
        let mut request = Map::new();
        insert(&mut request, "uid", self.of("/request_id").cloned());
        insert(&mut request, "http_method", self.of("/destination/method").cloned());
        insert(&mut request, "url", Some(Value::Object(url)));
        let mut event = Map::new();
        let common = json!({
            "activity_id": activity, "category_uid": 4, "category_name": "Network Activity",
            "class_uid": 4002, "class_name": "HTTP Activity", "type_uid": 400_200 + activity,
            "time": decision.time, "severity_id": severity, "severity": name,
            "action_id": if allowed { 1 } else { 2 }, "action": if allowed { "Allowed" } else { "Denied" },
            "disposition_id": if allowed { 1 } else { 2 }, "disposition": if allowed { "Allowed" } else { "Blocked" },
            "status_id": if allowed { 1 } else { 2 }, "status": if allowed { "Success" } else { "Failure" },
            "status_detail": decision.reason,
            "metadata": {
                "version": "1.3.0", "uid": decision.id, "log_name": self.row.origin, "sequence": self.row.index,
                "profiles": ["security_control"],
                "product": {"name": "Exeat", "vendor_name": "Exeat", "uid": self.text("/gateway")},
            },
            "unmapped": {"decision": self.decision, "completion": self.completion},
        });
        if let Value::Object(common) = common {
            event.extend(common);
        }
        insert(&mut event, "actor", Some(Value::Object(actor)));
        insert(&mut event, "http_request", Some(Value::Object(request)));
        insert(&mut event, "dst_endpoint", Some(Value::Object(to)));
        insert(&mut event, "src_endpoint", source.map(Value::Object));
        insert(&mut event, "status_code", self.ended("status").map(|status| status.to_string().into()));
        insert(&mut event, "duration", self.ended("duration").cloned());
        if let Some(code) = self.ended("status") {
            let length = self.ended("response_bytes");
            insert(&mut event, "http_response", Some(json!({"code": code, "length": length})));
        }
        if ended.is_some() {
            let (sent, received) = (self.ended("forwarded_bytes"), self.ended("response_bytes"));
            insert(&mut event, "traffic", Some(json!({"bytes_out": sent, "bytes_in": received})));
        }
        if let Some(digest) = self.of("/policy/digest") {
            let policy = json!({"uid": digest, "version": self.of("/policy/revision"), "name": self.of("/rule")});
            insert(&mut event, "policy", Some(policy));
        }
        Value::Object(event)
    }

    /// A log record of OTLP, without the resource around it.
    fn otlp(&self) -> Value {
        let decision = &self.row.decision;
        let (number, severity) = match decision.outcome.as_str() {
            "allow" => (9, "INFO"),
            "deny" => (13, "WARN"),
            _ => (17, "ERROR"),
        };
        let mut attributes = Vec::new();
        let mut put = |key: &str, value: Option<&Value>| {
            attributes.extend(value.and_then(any_value).map(|value| json!({"key": key, "value": value})));
        };
        let own = |text: &str| Value::String(text.to_owned());
        put("event.name", Some(&own("exeat.decision")));
        put("exeat.log", Some(&own(&self.row.origin)));
        put("exeat.leaf", Some(&self.row.index.into()));
        put("exeat.decision.id", Some(&own(&decision.id)));
        for (key, from) in [
            ("exeat.outcome", "/outcome"),
            ("exeat.reason", "/reason"),
            ("exeat.released", "/released"),
            ("exeat.rule", "/rule"),
            ("exeat.exception", "/exception"),
            ("exeat.policy.digest", "/policy/digest"),
            ("exeat.tenant", "/tenant"),
            ("exeat.tool", "/tool"),
            ("exeat.data_class", "/data_class"),
            ("exeat.provenance", "/provenance"),
            ("exeat.delegated_by", "/delegated_by"),
            ("exeat.signer", "/signer"),
            ("exeat.destination.id", "/destination/id"),
            ("gen_ai.agent.id", "/agent"),
            ("session.id", "/session"),
            ("http.request.method", "/destination/method"),
            ("server.address", "/destination/host"),
            ("server.port", "/destination/port"),
            ("url.path", "/destination/path"),
            ("http.request.body.size", "/payload/bytes"),
        ] {
            put(key, self.of(from));
        }
        put("user.id", self.user.as_deref().map(own).as_ref());
        for (key, from) in [
            ("http.response.status_code", "status"),
            ("http.response.body.size", "response_bytes"),
            ("network.peer.address", "upstream"),
            ("exeat.forwarded_bytes", "forwarded_bytes"),
            ("exeat.ending", "ending"),
        ] {
            put(key, self.ended(from));
        }
        let mut record = Map::new();
        let nanos = u128::from(decision.time).saturating_mul(1_000_000).to_string();
        insert(&mut record, "timeUnixNano", Some(nanos.into()));
        insert(&mut record, "severityNumber", Some(number.into()));
        insert(&mut record, "severityText", Some(severity.into()));
        insert(&mut record, "body", Some(json!({"stringValue": format!("{} {}", decision.outcome, decision.reason)})));
        insert(&mut record, "attributes", Some(Value::Array(attributes)));
        if let Some((trace, span)) = self.text("/traceparent").and_then(trace) {
            insert(&mut record, "traceId", Some(trace.into()));
            insert(&mut record, "spanId", Some(span.into()));
        }
        Value::Object(record)
    }
}

/// One request of OTLP: a resource for each log.
fn otlp(events: &[Event<'_>]) -> Value {
    let mut logs: Vec<(&str, Vec<&Event<'_>>)> = Vec::new();
    for event in events {
        match logs.iter_mut().find(|(origin, _)| *origin == event.row.origin) {
            Some((_, of)) => of.push(event),
            None => logs.push((&event.row.origin, vec![event])),
        }
    }
    let resource = |(origin, events): &(&str, Vec<&Event<'_>>)| {
        let gateway = events.first().and_then(|event| event.text("/gateway")).unwrap_or(origin);
        let attributes = [("service.name", "exeat"), ("service.instance.id", *origin), ("exeat.gateway", gateway)]
            .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}));
        let records: Vec<Value> = events.iter().map(|event| event.otlp()).collect();
        json!({
            "resource": {"attributes": attributes},
            "scopeLogs": [{"scope": {"name": "exeat", "version": env!("CARGO_PKG_VERSION")}, "logRecords": records}],
        })
    };
    json!({"resourceLogs": logs.iter().map(resource).collect::<Vec<_>>()})
}

/// A value as OTLP/JSON writes it: 64-bit integers are strings there.
fn any_value(value: &Value) -> Option<Value> {
    Some(match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(bool) => json!({ "boolValue": bool }),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::Array(list) if !list.is_empty() => {
            json!({"arrayValue": {"values": list.iter().filter_map(any_value).collect::<Vec<_>>()}})
        }
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}

/// Trace and span of a `traceparent` (W3C Trace Context section 3.2), where it is one.
fn trace(traceparent: &str) -> Option<(String, String)> {
    let mut parts = traceparent.split('-');
    let (_, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && text.bytes().any(|b| b != b'0')
    };
    (hex(trace, 32) && hex(span, 16)).then(|| (trace.to_owned(), span.to_owned()))
}

/// `activity_id` of OCSF's HTTP Activity.
fn activity(method: Option<&str>) -> u32 {
    match method {
        None => 0,
        Some("CONNECT") => 1,
        Some("DELETE") => 2,
        Some("GET") => 3,
        Some("HEAD") => 4,
        Some("OPTIONS") => 5,
        Some("POST") => 6,
        Some("PUT") => 7,
        Some("TRACE") => 8,
        Some(_) => 99,
    }
}

/// An endpoint of OCSF from an address with a port.
fn endpoint(address: &str) -> Map<String, Value> {
    let mut endpoint = Map::new();
    if let Ok(address) = address.parse::<std::net::SocketAddr>() {
        endpoint.insert("ip".to_owned(), address.ip().to_string().into());
        endpoint.insert("port".to_owned(), address.port().into());
    }
    endpoint
}

fn insert(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
}
