//! How much a session may say by choosing names under a wildcard or an open destination (docs/destinations.md).

use super::document::names::{NamesDocument, ReleaseDocument};
use super::document::values::{ByteSize, Duration};
use super::error::{Place, PolicyError, Problems};
use crate::destination::score::BIT;
use crate::ledger::SessionName;
use std::collections::HashSet;

/// The most of a budget: what a session can be remembered by is bounded besides.
const MOST_BYTES: u64 = 64 << 10;

/// The longest quarantine.
const LONGEST: u64 = 30 * 24 * 60 * 60 * 1000;

/// What names may say. Sizes in sixteenths of a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLimits {
    /// The names under one parent, in a session.
    pub budget: u32,
    /// All names of an open destination, in a session.
    pub total: u32,
    /// Labels of one name that may look encoded.
    pub encoded_labels: u8,
    /// What looks encoded in one segment of a path.
    pub segment: u32,
    /// What looks encoded in the paths under one parent, in a session.
    pub paths: u32,
    /// Milliseconds of quarantine.
    pub quarantine: u64,
}

impl NameLimits {
    /// Where nobody says anything. docs/destinations.md has the measurements behind these.
    pub const BUILT_IN: Self = Self {
        budget: 60 * 8 * BIT,
        total: 1024 * 8 * BIT,
        encoded_labels: 1,
        segment: 21 * 8 * BIT,
        paths: 512 * 8 * BIT,
        quarantine: 60 * 60 * 1000,
    };

    /// What a document says, and this where it says nothing.
    pub(super) fn with(self, document: &NamesDocument, place: &Place<'_>) -> Result<Self, PolicyError> {
        let bits = |size: Option<ByteSize>, or: u32, key: &str| match size {
            None => Ok(or),
            Some(ByteSize(bytes)) if bytes <= MOST_BYTES => {
                Ok(u32::try_from(bytes).unwrap_or(u32::MAX).saturating_mul(8 * BIT))
            }
            Some(_) => Err(place.key(key).error(
                "more than can be counted",
                "write at most 64KiB; where names need not be watched, name the hosts",
                "",
            )),
        };
        let quarantine = match document.quarantine {
            None => self.quarantine,
            Some(Duration(millis)) if millis <= LONGEST => millis,
            Some(_) => {
                let remedy = "write 0s to 30d; what must stay closed for longer is better closed by a rule";
                return Err(place.key("quarantine").error("out of range", remedy, ""));
            }
        };
        Ok(Self {
            budget: bits(document.budget, self.budget, "budget")?,
            total: bits(document.total, self.total, "total")?,
            encoded_labels: document.encoded_labels.unwrap_or(self.encoded_labels),
            segment: bits(document.segment, self.segment, "segment")?,
            paths: bits(document.paths, self.paths, "paths")?,
            quarantine,
        })
    }

    /// The strictest of two, where a host fits two destinations by the same pattern.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        Self {
            budget: self.budget.min(other.budget),
            total: self.total.min(other.total),
            encoded_labels: self.encoded_labels.min(other.encoded_labels),
            segment: self.segment.min(other.segment),
            paths: self.paths.min(other.paths),
            quarantine: self.quarantine.max(other.quarantine),
        }
    }
}

/// Sessions that no quarantine holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Releases(HashSet<ReleaseDocument>);

impl Releases {
    pub(super) fn compile(list: &[ReleaseDocument], place: &Place<'_>, problems: &mut Problems) -> Self {
        for (i, release) in list.iter().enumerate() {
            for (key, text) in [("agent", &release.agent), ("session", &release.session)] {
                if text.is_empty() {
                    let remedy = "write it as `exeat audit list --quarantined` shows it";
                    problems.note(place.index(i).key(key).error("names nothing", remedy, ""));
                }
            }
        }
        Self(list.iter().cloned().collect())
    }

    pub(super) fn holds(&self, session: &SessionName<'_>) -> bool {
        // No text is copied as long as nothing is released.
        !self.0.is_empty()
            && self.0.contains(&ReleaseDocument {
                tenant: session.tenant.map(str::to_owned),
                agent: session.agent.to_owned(),
                session: session.session.to_owned(),
            })
    }
}
