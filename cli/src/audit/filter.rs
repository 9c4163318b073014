//! Which decisions are meant: the options that `list`, `top`, `report` and `export` share.

use super::list::{Row, rows, user};
use super::store::EvidenceStore;
use super::time;
use super::view::DecisionView;
use clap::builder::PossibleValuesParser;
use exeat_engine::decision::Reason;

/// Which decisions are meant. Everything that is given must fit.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which decisions")]
pub struct Filter {
    /// From this time on: RFC 3339, or a day (UTC).
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub from: Option<u64>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub to: Option<u64>,
    /// Only this agent.
    #[arg(long)]
    pub agent: Option<String>,
    /// Only this session.
    #[arg(long)]
    pub session: Option<String>,
    /// Only this tenant.
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only this natural person, where the opening is still stored.
    #[arg(long)]
    pub user: Option<String>,
    /// Only this destination, by its id in the policy.
    #[arg(long)]
    pub destination: Option<String>,
    /// Only this host.
    #[arg(long)]
    pub host: Option<String>,
    /// Only this outcome.
    #[arg(long, value_parser = PossibleValuesParser::new(["allow", "deny", "would-deny"]))]
    pub outcome: Option<String>,
    /// Only this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.iter().map(|reason| reason.code())), hide_possible_values = true)]
    pub reason: Option<String>,
}

impl Filter {
    /// Whether a decision is meant, as far as its leaf tells: the person stands beside it.
    pub fn fits(&self, decision: &DecisionView) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| wanted.is_none() || wanted.as_deref() == value;
        self.from.is_none_or(|from| decision.time >= from)
            && self.to.is_none_or(|to| decision.time < to)
            && is(&self.agent, decision.agent.as_deref())
            && is(&self.session, decision.session.as_deref())
            && is(&self.tenant, decision.tenant.as_deref())
            && is(&self.destination, decision.destination.id.as_deref())
            && is(&self.host, decision.destination.host.as_deref())
            && is(&self.outcome, Some(&decision.outcome))
            && is(&self.reason, Some(&decision.reason))
            && (self.user.is_none() || decision.user.is_some())
    }

    /// The decisions that are meant, oldest first; of more than `limit` the newest, 0 for all.
    pub fn rows(&self, store: &EvidenceStore, limit: usize) -> rusqlite::Result<Vec<Row>> {
        let Some(wanted) = &self.user else { return rows(store, |decision| self.fits(decision), limit) };
        let mut kept = Vec::new();
        for row in rows(store, |decision| self.fits(decision), 0)? {
            if user(store, &row)?.as_ref() == Some(wanted) {
                kept.push(row);
            }
        }
        if limit != 0 {
            kept.drain(..kept.len().saturating_sub(limit));
        }
        Ok(kept)
    }
}
