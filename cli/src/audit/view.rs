//! Records as an auditor reads them: only what it needs, and words as they stand, so that a store of a newer gateway can
//! still be read.

use serde::Deserialize;

/// A record.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RecordView {
    /// First leaf.
    Genesis(GenesisView),
    /// A configuration.
    Config {},
    /// A decision.
    Decision(Box<DecisionView>),
    /// The end of an exchange.
    Completion(CompletionView),
    /// Where the boot before ended.
    Previous(PreviousView),
    /// Decisions that were counted.
    Summary(SummaryView),
    /// Last leaf.
    Closed(ClosedView),
}

impl RecordView {
    /// Reads a leaf; `None` when it is not a record of a known kind.
    pub fn parse(leaf: &[u8]) -> Option<Self> {
        serde_json::from_slice(leaf).ok()
    }
}

/// `kind: genesis`.
#[derive(Clone, Debug, Deserialize)]
pub struct GenesisView {
    /// The log's origin.
    pub origin: String,
    /// When it began.
    pub time: u64,
    /// Where the boot before it ended.
    pub previous: Option<exeat_engine::evidence::LastHeads>,
}

/// `kind: previous`.
#[derive(Clone, Debug, Deserialize)]
pub struct PreviousView {
    /// When the collector had said it.
    pub time: u64,
    /// Where the boot before ended.
    pub previous: exeat_engine::evidence::LastHeads,
}

/// `kind: decision`.
#[derive(Clone, Debug, Deserialize)]
pub struct DecisionView {
    /// Id.
    pub id: String,
    /// When.
    pub time: u64,
    /// Outcome.
    pub outcome: String,
    /// Reason.
    pub reason: String,
    /// The rule that decided, or came closest.
    pub rule: Option<String>,
    /// What was let go.
    pub released: String,
    /// Agent.
    pub agent: Option<String>,
    /// Session.
    pub session: Option<String>,
    /// Tenant.
    pub tenant: Option<String>,
    /// The first condition that failed.
    pub condition: Option<String>,
    /// Until when its session is quarantined.
    pub quarantined_until: Option<u64>,
    /// Commitment to the natural person.
    pub user: Option<String>,
    /// Digest of what was signed.
    pub signature_base: Option<String>,
    /// Where to.
    #[serde(default)]
    pub destination: DestinationView,
}

impl DecisionView {
    /// Whether it let anything go.
    pub fn let_go(&self) -> bool {
        self.released != "none"
    }
}

/// The destination of a decision.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DestinationView {
    /// Id in the policy.
    pub id: Option<String>,
    /// Host.
    pub host: Option<String>,
    /// Method.
    pub method: Option<String>,
    /// Path.
    pub path: Option<String>,
}

/// `kind: completion`.
#[derive(Clone, Debug, Deserialize)]
pub struct CompletionView {
    /// Id of the decision.
    pub decision: String,
    /// Bytes of the body that were forwarded.
    pub forwarded_bytes: u64,
    /// Status of the response.
    pub status: Option<u16>,
}

/// `kind: summary`.
#[derive(Clone, Debug, Deserialize)]
pub struct SummaryView {
    /// Counts by reason.
    pub unverified: std::collections::BTreeMap<String, u64>,
    /// Counts by reason.
    pub verified: std::collections::BTreeMap<String, u64>,
    /// Counts by reason. Gateways before 0.1.0 dropped nothing.
    #[serde(default)]
    pub dropped: std::collections::BTreeMap<String, u64>,
}

impl SummaryView {
    /// Denials counted.
    pub fn denials(&self) -> u64 {
        self.unverified.values().chain(self.verified.values()).fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Decisions that let something go, counted.
    pub fn dropped(&self) -> u64 {
        self.dropped.values().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// `kind: closed`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClosedView {
    /// When.
    pub time: u64,
    /// Exchanges that had not ended.
    pub open: u64,
}
