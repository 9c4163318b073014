//! Evidence: records, the Merkle log (RFC 6962) they are leaves of, and the checkpoints (C2SP signed note) that seal it.

pub mod record;
