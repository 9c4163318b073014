//! A bundle: all that is needed to check one decision offline, years later, with nothing but the gateway's public key.
//!
//! It is a JSON object: `format`, the decision's id, leaves each with a C2SP tlog-proof, and openings. What a bundle says
//! counts only after [`Bundle::check`], which trusts no byte of it.

use super::view::{CompletionView, DecisionView, GenesisView, RecordView};
use exeat_engine::evidence::{CheckpointKey, Opening, Origin, TlogProof, TlogProofError};
use serde::{Deserialize, Serialize};

/// What `format` must say.
pub const FORMAT: &str = "exeat-bundle/v1";

/// Leaves in a bundle at most: genesis, configuration, decision, completion; and room for what may come.
const MAX_LEAVES: usize = 16;

/// A bundle, as it is stored. Nothing in it is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: String,
    /// Id of the decision.
    pub decision: String,
    /// Leaves with their proofs, in the order of the log.
    pub leaves: Vec<ProvenLeaf>,
    /// Lines that open commitments of these leaves.
    #[serde(default)]
    pub openings: Vec<Opening>,
}

/// A leaf and its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenLeaf {
    /// The exact bytes of the record's line.
    pub line: String,
    /// A C2SP tlog-proof.
    pub proof: String,
}

/// Why a bundle proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not JSON of this form.
    #[error("it is no bundle: {0}")]
    Form(String),
    /// Another version.
    #[error("its format is {0:?}, this program reads {FORMAT:?}")]
    Format(String),
    /// More leaves than any bundle has.
    #[error("it has {0} leaves, more than any bundle")]
    Leaves(usize),
    /// A proof that does not hold.
    #[error("leaf number {number} of the bundle: {error}")]
    Proof {
        /// From 1.
        number: usize,
        /// What is wrong.
        error: TlogProofError,
    },
    /// A leaf that does not belong there.
    #[error("leaf number {number} of the bundle: {what}")]
    Leaf {
        /// From 1.
        number: usize,
        /// What is wrong.
        what: String,
    },
    /// Not exactly one decision, with the id that the bundle names.
    #[error("it holds no decision {0}")]
    Decision(String),
    /// An opening that opens nothing.
    #[error("the opening of {field:?} of leaf {leaf}: {what}")]
    Opening {
        /// Index of the leaf.
        leaf: u64,
        /// Field.
        field: String,
        /// What is wrong.
        what: String,
    },
}

/// A leaf whose place in the log is proven.
#[derive(Clone, Debug)]
pub struct Proven<T> {
    /// Its index.
    pub index: u64,
    /// What it says.
    pub record: T,
    /// Its exact bytes.
    pub line: String,
}

/// What a bundle proves. Made only by [`Bundle::check`].
#[derive(Clone, Debug)]
pub struct CheckedBundle {
    /// The log.
    pub origin: Origin,
    /// Leaves under the smallest checkpoint among the proofs' and when that was signed.
    pub sealed: (u64, u64),
    /// The log's beginning: which module ran.
    pub genesis: Option<Proven<GenesisView>>,
    /// The configuration whose policy the decision names.
    pub config: Option<Proven<serde_json::Value>>,
    /// The decision.
    pub decision: Proven<Box<DecisionView>>,
    /// What then left.
    pub completion: Option<Proven<CompletionView>>,
    /// Openings that open the decision.
    pub openings: Vec<Opening>,
}

impl Bundle {
    /// Reads a bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        let bundle: Self = serde_json::from_slice(bytes).map_err(|error| BundleError::Form(error.to_string()))?;
        if bundle.format != FORMAT {
            return Err(BundleError::Format(bundle.format));
        }
        if bundle.leaves.len() > MAX_LEAVES {
            return Err(BundleError::Leaves(bundle.leaves.len()));
        }
        Ok(bundle)
    }

    /// Checks every proof against the gateways' keys, and that the leaves belong together.
    pub fn check(&self, keys: &[CheckpointKey]) -> Result<CheckedBundle, BundleError> {
        let mut checking = Checking::default();
        for (number, leaf) in (1..).zip(&self.leaves) {
            checking.leaf(number, leaf, keys)?;
        }
        let missing = || BundleError::Decision(self.decision.clone());
        let decision = checking.decision.filter(|decision| decision.record.id == self.decision).ok_or_else(missing)?;
        let (origin, sealed) = (checking.origin.ok_or_else(missing)?, checking.sealed.ok_or_else(missing)?);
        let wrong = |number: usize, what: &str| BundleError::Leaf { number, what: what.to_owned() };
        if let Some((number, completion)) = &checking.completion
            && (completion.record.decision != decision.record.id
                || completion.index <= decision.index
                || !decision.record.let_go())
        {
            return Err(wrong(*number, "it is not the completion of the decision"));
        }
        if let Some((number, config)) = &checking.config
            && (config.index >= decision.index || policy(&config.line) != policy(&decision.line))
        {
            return Err(wrong(*number, "it is not the configuration under which was decided"));
        }
        for opening in &self.openings {
            let fault = |what: String| BundleError::Opening { leaf: opening.leaf, field: opening.field.clone(), what };
            if opening.leaf != decision.index {
                return Err(fault("it is not of the decision".to_owned()));
            }
            opening.verify(decision.line.as_bytes()).map_err(|error| fault(error.to_string()))?;
        }
        Ok(CheckedBundle {
            origin,
            sealed,
            genesis: checking.genesis.map(|(_, genesis)| genesis),
            config: checking.config.map(|(_, config)| config),
            decision,
            completion: checking.completion.map(|(_, completion)| completion),
            openings: self.openings.clone(),
        })
    }
}

/// The digest of the policy that a configuration or a decision names.
pub fn policy(line: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    let policy = record.get("policy")?;
    policy.get("digest").unwrap_or(policy).as_str().map(str::to_owned)
}

#[derive(Default)]
struct Checking {
    origin: Option<Origin>,
    sealed: Option<(u64, u64)>,
    genesis: Option<(usize, Proven<GenesisView>)>,
    config: Option<(usize, Proven<serde_json::Value>)>,
    decision: Option<Proven<Box<DecisionView>>>,
    completion: Option<(usize, Proven<CompletionView>)>,
}

impl Checking {
    fn leaf(&mut self, number: usize, leaf: &ProvenLeaf, keys: &[CheckpointKey]) -> Result<(), BundleError> {
        let wrong = |what: &str| BundleError::Leaf { number, what: what.to_owned() };
        let not_proven = |error| BundleError::Proof { number, error };
        let proof = TlogProof::parse(&leaf.proof).map_err(not_proven)?;
        let verified = proof.verify(leaf.line.as_bytes(), keys).map_err(not_proven)?;
        let checkpoint = verified.checkpoint();
        if self.origin.get_or_insert_with(|| checkpoint.head.origin.clone()) != &checkpoint.head.origin {
            return Err(wrong("it is of another log than those before it"));
        }
        let sealed = (checkpoint.head.size, checkpoint.time.millis());
        self.sealed = Some(self.sealed.map_or(sealed, |before| before.min(sealed)));
        let (index, line) = (proof.index, leaf.line.clone());
        let twice = || wrong("it is the second of its kind");
        match RecordView::parse(line.as_bytes()) {
            Some(RecordView::Genesis(record)) => {
                if index != 0 || record.origin != checkpoint.head.origin.as_str() {
                    return Err(wrong("it is not the genesis of its log"));
                }
                once(&mut self.genesis, (number, Proven { index, record, line })).ok_or_else(twice)
            }
            Some(RecordView::Config {}) => {
                let record = serde_json::from_str(&line).map_err(|_| wrong("it is no JSON"))?;
                once(&mut self.config, (number, Proven { index, record, line })).ok_or_else(twice)
            }
            Some(RecordView::Decision(record)) => {
                once(&mut self.decision, Proven { index, record, line }).ok_or_else(twice)
            }
            Some(RecordView::Completion(record)) => {
                once(&mut self.completion, (number, Proven { index, record, line })).ok_or_else(twice)
            }
            Some(RecordView::Previous(_) | RecordView::Summary(_) | RecordView::Closed(_)) | None => {
                Err(wrong("a record of this kind has no place in a bundle"))
            }
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.is_none().then(|| *slot = Some(value))
}
