//! `exeat audit list --quarantined`: sessions whose quarantine is not over, by what was recorded when it began.

use super::list::{Row, rows, shorten, text_table};
use super::store::EvidenceStore;
use super::time;
use exeat_engine::decision::Reason;
use exeat_engine::evidence::line::display;
use std::collections::BTreeMap;

/// The decision that began the quarantine of each session, where it lasts beyond `now`; by session the last one. Releases are
/// in the policy, not here.
pub(super) fn sessions(store: &EvidenceStore, now: u64) -> rusqlite::Result<Vec<Row>> {
    let began = |decision: &super::view::DecisionView| {
        decision.reason == Reason::DestinationForbidden.code()
            && decision.quarantined_until.is_some_and(|end| end > now)
    };
    let mut last = BTreeMap::new();
    // In the order of time.
    for row in rows(store, began, 0)? {
        let decision = &row.decision;
        last.insert((decision.tenant.clone(), decision.agent.clone(), decision.session.clone()), row);
    }
    let mut sessions: Vec<Row> = last.into_values().collect();
    sessions.sort_by_key(|row| row.decision.time);
    Ok(sessions)
}

/// The table for people.
pub(super) fn table(sessions: &[Row]) -> comfy_table::Table {
    let mut table = text_table(["since", "until", "tenant", "agent", "session", "host", "why", "id"]);
    let text = |value: Option<&str>| value.map_or_else(|| "-".to_owned(), |value| shorten(&display(value)));
    for Row { decision, .. } in sessions {
        table.add_row([
            time::show(decision.time),
            decision.quarantined_until.map_or_else(|| "-".to_owned(), time::show),
            text(decision.tenant.as_deref()),
            text(decision.agent.as_deref()),
            text(decision.session.as_deref()),
            text(decision.destination.host.as_deref()),
            decision.condition.as_deref().map_or_else(|| "-".to_owned(), |why| display(why).into()),
            text(Some(&decision.id)),
        ]);
    }
    table
}
