//! Evidence: records, the Merkle log (RFC 6962) they are leaves of, and the checkpoints (C2SP signed note) that seal it.
//!
//! A worker VM owns one [`Journal`]. It turns a [`Record`] into a [`line`], the line into a leaf of a [`merkle`] tree,
//! and seals what is queued as a [`batch`] under a signed [`checkpoint`]. The collector and `exeat audit` read the same
//! bytes back with the parsers of these modules. Nothing here reads a clock or draws randomness.

pub mod batch;
pub mod checkpoint;
pub mod commitment;
pub mod journal;
pub mod key;
pub mod lifecycle;
pub mod line;
mod mask;
pub mod merkle;
pub mod note;
pub mod origin;
pub mod record;
pub mod tlog_proof;

pub use batch::{BatchError, BatchLimits, ParsedBatch};
pub use checkpoint::{Checkpoint, CheckpointError, LastHeads, LogHead, UnverifiedCheckpoint, VerifiedCheckpoint};
pub use commitment::{Commitment, FieldOpening, Opening, OpeningError};
pub use journal::{AcknowledgeError, AppendError, Appended, Batch, Capacity, Journal, JournalStats};
pub use key::{CheckpointKey, GatewayKey, KeyError};
pub use lifecycle::{
    ClosedRecord, ConfigRecord, GenesisRecord, ModuleReference, PreviousRecord, Record, SummaryRecord,
};
pub use merkle::{CompactRange, Hash};
pub use origin::{Origin, OriginError};
pub use record::{CompletionRecord, DecisionRecord};
pub use tlog_proof::{TlogProof, TlogProofError};
