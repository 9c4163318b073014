//! The log of one worker VM, and what the others know of it.

use crate::sessions::Known;
use crate::shared::SharedData;
use exeat_engine::evidence::{ConfigRecord, Journal, LogHead, Origin};
use exeat_engine::facts::Timestamp;

/// The log of this VM.
pub(crate) struct Log {
    pub(crate) journal: Journal,
    pub(crate) shared: SharedData,
    pub(crate) started: Timestamp,
    /// What this worker need not ask the others.
    pub(crate) known: Known,
    pub(crate) number: u32,
    /// When this VM began it.
    pub(crate) begun: Timestamp,
    /// Leaves when the head was last published.
    pub(crate) published: u64,
    /// Whether the newest checkpoint was put beside a request.
    pub(crate) witnessed: bool,
}

impl Log {
    pub(crate) fn record_config(&mut self, record: &ConfigRecord) -> Result<(), String> {
        self.journal.append_config(record).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Tells the other VMs that this one ends, and did not die.
    pub(crate) fn leave(&self) {
        let _ = self.shared.publish_status(self.number, &[]);
    }

    /// Tells the other VMs how far this log has come, for their checkpoints to cite. What cannot be published is not
    /// cited; the log itself is none the worse.
    pub(crate) fn publish(&mut self) {
        let tree = self.journal.tree();
        if tree.size() != self.published {
            self.published = tree.size();
            let _ = self.shared.publish_log(self.number, tree);
        }
    }

    /// A batch was sealed with a checkpoint that nobody but the collector has seen.
    pub(crate) fn sealed(&mut self) {
        self.witnessed = false;
    }

    /// The newest checkpoint, once: it goes beside a request into the host's access log, a second place that the
    /// collector cannot take it back from.
    pub(crate) fn unwitnessed_checkpoint(&mut self) -> Option<String> {
        let checkpoint = self.journal.last_checkpoint();
        (!std::mem::replace(&mut self.witnessed, true) && !checkpoint.is_empty()).then(|| checkpoint.to_owned())
    }

    /// The heads of the other VMs' logs.
    pub(crate) fn others(&self) -> Vec<LogHead> {
        let own = self.journal.origin();
        let heard = |number| {
            let tree = self.shared.log(number).ok().flatten()?;
            let origin = Origin::new(own.gateway(), own.boot(), &number.to_string()).ok()?;
            Some(LogHead { origin, size: tree.size(), root: tree.root() })
        };
        let count = self.shared.vms().unwrap_or(0);
        (1..=count).filter(|number| *number != self.number).filter_map(heard).collect()
    }
}
