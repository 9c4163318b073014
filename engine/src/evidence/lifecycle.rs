//! Records of the log itself, and [`Record`]: all kinds there are, as leaves write them.

use super::checkpoint::LastHeads;
use super::line::to_line;
use super::origin::Origin;
use super::record::{CompletionRecord, DecisionRecord};
use crate::decision::Reason;
use crate::facts::Timestamp;
use crate::policy::{Delivery, Mode, ValueMask, WhenFull};
use serde::Serialize;
use std::collections::BTreeMap;

/// One record, as a leaf writes it: `kind` is the first member, the others follow in the order of their fields.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record<'a> {
    /// The first leaf of every log, and of no other place.
    Genesis(&'a GenesisRecord),
    /// A configuration was accepted.
    Config(&'a ConfigRecord),
    /// A request was decided.
    Decision(&'a DecisionRecord),
    /// An exchange ended.
    Completion(&'a CompletionRecord),
    /// Where the boot before ended, where the genesis could not say so yet.
    Previous(&'a PreviousRecord),
    /// Decisions that have no record each.
    Summary(&'a SummaryRecord),
    /// The last leaf of a log that ended in order.
    Closed(&'a ClosedRecord),
}

impl Record<'_> {
    /// The leaf: one line of JSON, without the newline. The same record always gives the same bytes.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        to_line(self)
    }
}

/// The module that runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModuleReference {
    /// Version.
    pub version: String,
    /// Git commit it was built from, with `-dirty` behind it where its sources differed from that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// `sha256:<hex>` of the module, which its build wrote into it; `exeat module` takes it of a file. Absent where the
    /// module was not built by `cargo xtask wasm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// `kind: genesis`. The first leaf: which log this is and what came before it.
#[derive(Clone, Debug, Serialize)]
pub struct GenesisRecord {
    /// The log: `<gateway id>/<boot>/<vm>`, as its checkpoints say.
    pub origin: Origin,
    /// When this log began.
    pub time: Timestamp,
    /// When the gateway process started: nothing signed before it is accepted.
    pub start: Timestamp,
    /// Environment of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Deployment of the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// The module.
    pub module: ModuleReference,
    /// Where the logs of the previous boot ended, as the collector reported it; absent when it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<LastHeads>,
}

/// `kind: config`. One for each configuration that was accepted.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigRecord {
    /// When.
    pub time: Timestamp,
    /// Name of the plugin it was accepted for.
    pub plugin: String,
    /// Role: `filter` or `guard`.
    pub role: String,
    /// Mode of the gateway.
    pub mode: Mode,
    /// Whether requests wait for their record to be stored.
    pub delivery: Delivery,
    /// What becomes of requests when the queue is full.
    pub when_full: WhenFull,
    /// What of decision records does not stand in clear; absent where all does.
    #[serde(skip_serializing_if = "ValueMask::is_empty")]
    pub mask: ValueMask,
    /// `revision` of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// `sha256:<hex>` over the policy's canonical JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// `kind: previous`. At most one a log, of which the genesis says nothing of the boot before.
#[derive(Clone, Debug, Serialize)]
pub struct PreviousRecord {
    /// When the collector had answered.
    pub time: Timestamp,
    /// Where the logs of the previous boot ended, as the collector reported it.
    pub previous: LastHeads,
}

/// `kind: summary`. Decisions that were counted: denials, because records of them would have crowded out others, and what
/// was let go unrecorded under `when_full: drop`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SummaryRecord {
    /// When it was written.
    pub time: Timestamp,
    /// First decision counted.
    pub from: Timestamp,
    /// Last decision counted.
    pub to: Timestamp,
    /// Requests that nobody vouched for, by reason.
    pub unverified: BTreeMap<Reason, u64>,
    /// Requests whose context verified, by reason.
    pub verified: BTreeMap<Reason, u64>,
    /// Requests that were let go and have no record, by reason.
    pub dropped: BTreeMap<Reason, u64>,
}

/// `kind: closed`. The last leaf of a log that ended in order.
#[derive(Clone, Debug, Serialize)]
pub struct ClosedRecord {
    /// When.
    pub time: Timestamp,
    /// Why: `shutdown`, for instance.
    pub reason: String,
    /// Exchanges that were let go and had not ended.
    pub open: u64,
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::LogHead;
    use super::super::merkle::Hash;
    use super::*;
    use crate::policy::MaskMember;

    #[test]
    fn lines_have_their_kind_first_and_a_fixed_order() {
        let origin = Origin::new("egress-eu-1", "b2", "w0").unwrap();
        let before =
            LogHead { origin: Origin::new("egress-eu-1", "b1", "w0").unwrap(), size: 3, root: Hash::of_empty_tree() };
        let genesis = GenesisRecord {
            origin,
            time: Timestamp(2),
            start: Timestamp(1),
            environment: Some("prod".into()),
            deployment: None,
            module: ModuleReference { version: "0.1.0".into(), git: None, digest: Some("sha256:00".into()) },
            previous: Some(LastHeads { boot: Some("b1".into()), logs: vec![before] }),
        };
        assert_eq!(
            Record::Genesis(&genesis).to_line().unwrap(),
            concat!(
                r#"{"kind":"genesis","origin":"egress-eu-1/b2/w0","time":2,"start":1,"environment":"prod","#,
                r#""module":{"version":"0.1.0","digest":"sha256:00"},"previous":{"boot":"b1","logs":["#,
                r#"{"origin":"egress-eu-1/b1/w0","size":3,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}]}}"#
            )
        );
        let config = ConfigRecord {
            time: Timestamp(3),
            plugin: "exeat".into(),
            role: "filter".into(),
            mode: Mode::Enforce,
            delivery: Delivery::WriteAhead,
            when_full: WhenFull::Deny,
            mask: ValueMask::hashing([MaskMember::DelegatedBy]),
            revision: Some("r\u{202e}1".into()),
            policy: None,
        };
        assert_eq!(
            Record::Config(&config).to_line().unwrap(),
            concat!(
                r#"{"kind":"config","time":3,"plugin":"exeat","role":"filter","mode":"enforce","#,
                r#""delivery":"write-ahead","when_full":"deny","mask":{"drop":[],"hash":["delegated_by"]},"revision":"r\u202e1"}"#
            )
        );
        let summary = SummaryRecord {
            time: Timestamp(9),
            from: Timestamp(4),
            to: Timestamp(8),
            unverified: [(Reason::SignatureInvalid, 2), (Reason::ContextMissing, 7)].into(),
            verified: BTreeMap::new(),
            dropped: [(Reason::Permitted, 1)].into(),
        };
        assert_eq!(
            Record::Summary(&summary).to_line().unwrap(),
            concat!(
                r#"{"kind":"summary","time":9,"from":4,"to":8,"unverified":{"context-missing":7,"#,
                r#""signature-invalid":2},"verified":{},"dropped":{"permitted":1}}"#
            )
        );
        let closed = ClosedRecord { time: Timestamp(10), reason: "shutdown".into(), open: 0 };
        assert_eq!(
            Record::Closed(&closed).to_line().unwrap(),
            r#"{"kind":"closed","time":10,"reason":"shutdown","open":0}"#
        );
    }

    /// Members that docs/evidence.md does not name could not be checked by anybody.
    #[test]
    fn the_page_names_every_member_of_every_record() {
        use super::super::record::*;
        let page = include_str!("../../../docs/evidence.md");
        let mapping = include_str!("../../../docs/evidence-mapping.md");
        let schema: serde_json::Value = serde_json::from_str(include_str!("../../../docs/schema/record.json")).unwrap();
        let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(schema["$defs"]["reason"]["enum"], serde_json::json!(reasons), "docs/schema/record.json: reasons");
        let classes: Vec<&str> = crate::destination::AddressClass::ALL.iter().map(|class| class.code()).collect();
        assert_eq!(
            schema["$defs"]["addressClass"]["enum"],
            serde_json::json!(classes),
            "docs/schema/record.json: classes"
        );
        let some = || Some(String::new());
        let finding = Finding { detector: String::new(), at: String::new() };
        let decision = DecisionRecord {
            id: String::new(),
            time: Timestamp(0),
            created: Some(0),
            gateway: String::new(),
            environment: some(),
            deployment: some(),
            policy: Some(PolicyReference { revision: String::new(), digest: String::new(), change: some() }),
            mode: Mode::Enforce,
            outcome: Outcome::Allow,
            reason: Reason::Permitted,
            rule: some(),
            exception: some(),
            condition: some(),
            follows: some(),
            released: Released::Head,
            binding: Some(Binding::Request),
            signer: some(),
            key: some(),
            peer: some(),
            source: some(),
            agent: some(),
            session: some(),
            tenant: some(),
            user: some(),
            roles: vec![],
            region: some(),
            delegated_by: vec![],
            scope: Some(vec![]),
            tool: some(),
            session_type: some(),
            data_class: some(),
            provenance: vec![],
            stated_reason: some(),
            attributes: BTreeMap::new(),
            destination: DestinationReference {
                id: some(),
                kind: some(),
                category: some(),
                host: some(),
                port: Some(0),
                method: some(),
                path: some(),
                query_digest: some(),
            },
            parameters: vec![InspectedParameter { at: String::new(), hash: String::new() }],
            payload: PayloadReference { bytes: 0, digest: some(), findings: vec![finding] },
            first_seen: Some(true),
            quarantined_until: Some(Timestamp(0)),
            request_id: some(),
            traceparent: some(),
            signature_base: some(),
        };
        let completion = CompletionRecord {
            decision: String::new(),
            time: Timestamp(0),
            received_bytes: 0,
            received_digest: some(),
            forwarded_bytes: 0,
            forwarded_digest: some(),
            attempts: Some(0),
            guard: Some(GuardVerdict::Refused { decision: String::new() }),
            upstream: some(),
            status: Some(0),
            response_bytes: 0,
            duration: 0,
            ending: Ending::Complete,
        };
        let config = ConfigRecord {
            time: Timestamp(0),
            plugin: String::new(),
            role: String::new(),
            mode: Mode::Enforce,
            delivery: Delivery::Async,
            when_full: WhenFull::Deny,
            mask: ValueMask::hashing([MaskMember::Path]),
            revision: some(),
            policy: some(),
        };
        let genesis = GenesisRecord {
            origin: Origin::new("g", "b", "v").unwrap(),
            time: Timestamp(0),
            start: Timestamp(0),
            environment: some(),
            deployment: some(),
            module: ModuleReference { version: String::new(), git: some(), digest: some() },
            previous: Some(LastHeads { boot: some(), logs: vec![] }),
        };
        let previous = PreviousRecord { time: Timestamp(0), previous: LastHeads { boot: some(), logs: vec![] } };
        let closed = ClosedRecord { time: Timestamp(0), reason: String::new(), open: 0 };
        for record in [
            Record::Genesis(&genesis),
            Record::Config(&config),
            Record::Previous(&previous),
            Record::Decision(&decision),
            Record::Completion(&completion),
            Record::Summary(&SummaryRecord::default()),
            Record::Closed(&closed),
        ] {
            let line = record.to_line().unwrap();
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let (kind, mut names) = (value["kind"].as_str().unwrap(), Vec::new());
            members(&value, &mut names);
            for name in names.iter().map(String::as_str).chain([kind]) {
                assert!(page.contains(&format!("`{name}`")), "docs/evidence.md does not name {name:?} of {kind}");
            }
            if matches!(kind, "decision" | "completion") {
                // The page of the mapping has a row for each, under the heading of its kind.
                let section = mapping.split("### ").find(|section| section.starts_with(kind)).unwrap();
                let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
                let rows: std::collections::BTreeSet<&str> = rows.map(|(name, _)| name).collect();
                let written = value.as_object().unwrap().keys().map(String::as_str);
                let written = written.filter(|name| *name != "kind").collect();
                assert_eq!(rows, written, "docs/evidence-mapping.md: {kind}");
            }
            // The schema closes each kind, so it must know them all; and knows none that no record has.
            let described = &schema["$defs"][kind]["properties"];
            let (described, written) = (described.as_object().unwrap(), value.as_object().unwrap());
            let missing = |of: &serde_json::Map<String, serde_json::Value>, name: &String| !of.contains_key(name);
            let unknown: Vec<_> = written.keys().filter(|name| missing(described, name)).collect();
            let unwritten: Vec<_> = described.keys().filter(|name| missing(written, name)).collect();
            assert!(
                unknown.is_empty() && unwritten.is_empty(),
                "docs/schema/record.json: {kind}: {unknown:?}, {unwritten:?}"
            );
        }
    }

    fn members(value: &serde_json::Value, names: &mut Vec<String>) {
        if let Some(object) = value.as_object() {
            for (name, value) in object {
                names.push(name.clone());
                members(value, names);
            }
        }
        value.as_array().into_iter().flatten().for_each(|value| members(value, names));
    }
}
