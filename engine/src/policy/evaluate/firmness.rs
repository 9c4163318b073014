//! Which statement of `mode` can turn a refusal into an observation.
//!
//! The nearest statement holds: rule, agent, policy, gateway. But `monitor` lets go only of what its author could have
//! allowed as well. A rule speaks of what it demands itself; an agent that a team wrote, of what the team's rules decide;
//! an agent of the platform, of everything but the ceilings; policy and gateway, of everything. `enforce` has no such
//! bounds: it only ever refuses more.

use super::super::Mode;
use super::super::agent::Agent;

/// Who decided what is refused, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Firmness {
    /// The agent's own rules, or their absence.
    Rules,
    /// Destinations, tenants, the scope, other agents.
    Platform,
    /// The ceilings, or the grant of the signer.
    Ceiling,
}

/// The statements that hold for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modes {
    policy: Mode,
    agent: Option<Mode>,
    /// Whether a team wrote the agent.
    team: bool,
}

impl Modes {
    pub(crate) fn new(policy: Mode, agent: Option<&Agent>) -> Self {
        Self {
            policy,
            agent: agent.and_then(|agent| agent.mode),
            team: agent.is_some_and(|agent| agent.team.is_some()),
        }
    }

    /// Of a refusal that no single rule decides.
    pub(crate) fn of(self, firmness: Firmness) -> Mode {
        let bounded = match firmness {
            Firmness::Rules => false,
            Firmness::Platform => self.team,
            Firmness::Ceiling => true,
        };
        match self.agent {
            Some(Mode::Monitor) if bounded => self.policy,
            Some(mode) => mode,
            None => self.policy,
        }
    }

    /// Of a refusal by a rule, or by what a rule demands of a request that it covers.
    pub(crate) fn of_rule(self, rule: Option<Mode>) -> Mode {
        rule.unwrap_or(self.of(Firmness::Rules))
    }

    /// Of a refusal of a request that these rules cover by destination, method and path. One that observes is enough:
    /// so a rule that is removed never lets more go.
    pub(crate) fn of_rules(self, mut rules: impl Iterator<Item = Option<Mode>> + Clone) -> Mode {
        if rules.clone().any(|mode| mode == Some(Mode::Monitor)) {
            return Mode::Monitor;
        }
        self.of_rule(rules.find_map(|mode| mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Enforce, Monitor};

    #[test]
    fn monitor_lets_go_only_of_what_its_author_could_have_allowed() {
        use Firmness::{Ceiling, Platform, Rules};
        for (policy, agent, team, expected) in [
            (Enforce, None, false, [Enforce, Enforce, Enforce]),
            (Enforce, Some(Monitor), true, [Monitor, Enforce, Enforce]),
            (Enforce, Some(Monitor), false, [Monitor, Monitor, Enforce]),
            (Monitor, None, true, [Monitor, Monitor, Monitor]),
            (Monitor, Some(Monitor), true, [Monitor, Monitor, Monitor]),
            (Monitor, Some(Enforce), true, [Enforce, Enforce, Enforce]),
        ] {
            let modes = Modes { policy, agent, team };
            assert_eq!([Rules, Platform, Ceiling].map(|firmness| modes.of(firmness)), expected, "{modes:?}");
        }
    }

    #[test]
    fn the_nearest_statement_holds() {
        let modes = Modes { policy: Enforce, agent: Some(Monitor), team: true };
        assert_eq!(modes.of_rule(None), Monitor);
        assert_eq!(modes.of_rule(Some(Enforce)), Enforce);
        assert_eq!(modes.of_rules([None, Some(Enforce)].into_iter()), Enforce);
        assert_eq!(modes.of_rules([Some(Enforce), Some(Monitor)].into_iter()), Monitor);
        assert_eq!(modes.of_rules([].into_iter()), Monitor);
    }
}
