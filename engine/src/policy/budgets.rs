//! Budgets of rules: how many requests, bytes and distinct hosts a session, an agent or a tenant may spend under one rule.
//!
//! What a rule states of a kind holds for it; where it states nothing of that kind, the defaults do, as though the rule had
//! said it. What was spent is remembered under the place that states the rule, so that it goes on over updates of the policy,
//! and agents that use one profile share the budget of a tenant that it states.

use super::document::budget::{BudgetDocument, BudgetList, Per};
use super::document::rule::{DefaultLimitsDocument, LimitsDocument};
use super::error::{Document, Place, PolicyError, Problems, quoted};
use crate::decision::Reason;
use crate::ledger::budgets::{Account, AccountFingerprint, Charge, Cost, Counter, HostMark, Kind};
use crate::ledger::{SessionName, Share};
use crate::order;

/// Budgets of one kind that one rule may have.
const MOST: usize = 8;

/// What a request, or a piece of a tunnel, spends.
#[derive(Clone, Copy, Debug)]
pub struct Spending<'a> {
    /// Requests.
    pub requests: u64,
    /// Bytes of path, query, headers that go on and body.
    pub bytes: u64,
    /// The canonical host.
    pub host: Option<&'a str>,
    /// Only whether it could be.
    pub ask: bool,
}

/// One budget of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Budget {
    kind: Kind,
    per: Per,
    /// Milliseconds; 0: the life of the session.
    window: u32,
    amount: u64,
    /// What a refusal names: place and text.
    condition: String,
}

/// The budgets of a rule.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// Where the rule stands, as the first part of what accounts are known by.
    origin: String,
    /// In an order of their own, so that it does not matter how they are written.
    list: Vec<Budget>,
}

impl Budgets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether bytes are counted.
    pub fn count_bytes(&self) -> bool {
        self.list.iter().any(|budget| budget.kind == Kind::Bytes)
    }

    /// Why a request is refused once this budget, an index of a charge, is used up: reason and condition.
    pub fn refusal(&self, budget: usize) -> (Reason, String) {
        match self.list.get(budget) {
            Some(budget) => {
                let reason = match budget.kind {
                    Kind::Requests => Reason::BudgetRequests,
                    Kind::Bytes => Reason::BudgetBytes,
                    Kind::Hosts => Reason::BudgetHosts,
                };
                (reason, budget.condition.clone())
            }
            None => (Reason::InternalError, "limits".to_owned()),
        }
    }

    /// What this spending costs on the budgets; `None` where it costs nothing.
    pub fn charge<'a>(
        &self,
        session: &SessionName<'_>,
        share: Share<'a>,
        spending: &Spending<'_>,
    ) -> Option<Charge<'a>> {
        let host = spending.host.map(HostMark::new);
        let counters = |per: Per| {
            let budgets = self.list.iter().enumerate().filter(move |(_, budget)| budget.per == per);
            budgets.filter_map(move |(index, budget)| {
                let cost = match budget.kind {
                    Kind::Requests => Cost::Count(spending.requests),
                    Kind::Bytes => Cost::Count(spending.bytes),
                    Kind::Hosts => Cost::Host(host?),
                };
                let costs = !matches!(cost, Cost::Count(0));
                let Budget { kind, window, amount, .. } = *budget;
                costs.then_some(Counter { budget: index, kind, window, amount, cost })
            })
        };
        let account = |per: Per| {
            let counters: Vec<Counter> = counters(per).collect();
            (!counters.is_empty()).then(|| Account { fingerprint: self.fingerprint(per, session), counters })
        };
        let accounts: Vec<Account> = Per::ALL.into_iter().filter_map(account).collect();
        (!accounts.is_empty()).then_some(Charge { share, accounts, ask: spending.ask })
    }

    fn fingerprint(&self, per: Per, whose: &SessionName<'_>) -> AccountFingerprint {
        let (agent, session) = match per {
            Per::Session => (Some(whose.agent), Some(whose.session)),
            Per::Agent => (Some(whose.agent), None),
            Per::Tenant => (None, None),
        };
        AccountFingerprint::new(&self.origin, whose.tenant, agent, session)
    }

    pub(super) fn compile(
        rule: &str,
        document: &LimitsDocument,
        origin: &Origin<'_>,
        place: &Place<'_>,
        problems: &mut Problems,
    ) -> Self {
        let stated = Stated::of("limits", document, place, problems);
        let mut list = stated.list;
        // INVARIANT: names of agents and profiles are checked elsewhere; the lengths keep the parts apart all the same.
        let Origin { list: of, name, defaults, .. } = origin;
        list.extend(defaults.0.list.iter().filter(|budget| !stated.kinds.contains(&budget.kind)).cloned());
        order::sort(&mut list);
        Self { origin: format!("{of}/{}/{name}/{rule}", name.len()), list }
    }
}

/// Where rules stand, who wrote them, and what holds where they say nothing.
pub(super) struct Origin<'a> {
    /// `agents` or `profiles`.
    pub(super) list: &'static str,
    /// Name of the agent or the profile.
    pub(super) name: &'a str,
    /// `None`: the platform.
    pub(super) team: Option<&'a str>,
    pub(super) defaults: &'a Defaults,
}

/// Budgets of rules that state none of their kind.
#[derive(Default)]
pub(super) struct Defaults(Stated);

impl Defaults {
    pub(super) fn compile(document: &DefaultLimitsDocument, problems: &mut Problems) -> Self {
        let root = Place::root(Document::Policy);
        let defaults = root.key("defaults");
        let place = defaults.key("limits");
        let DefaultLimitsDocument { requests, bytes, hosts, .. } = document.clone();
        let document = LimitsDocument { requests, bytes, hosts, ..LimitsDocument::default() };
        Self(Stated::of("defaults/limits", &document, &place, problems))
    }
}

/// What one place states.
#[derive(Default)]
struct Stated {
    kinds: Vec<Kind>,
    list: Vec<Budget>,
}

impl Stated {
    fn of(label: &str, document: &LimitsDocument, place: &Place<'_>, problems: &mut Problems) -> Self {
        let mut stated = Self::default();
        for (kind, key, list) in lists(document) {
            let place = place.key(key);
            stated.kinds.push(kind);
            problems.take(check(kind, list, &place));
            stated.list.extend(list.iter().map(|budget| Budget {
                kind,
                per: budget.per,
                window: window(budget),
                amount: budget.amount,
                condition: format!("{label}/{key}: {}", budget.text),
            }));
        }
        stated
    }
}

/// The document holds windows below the range of this.
fn window(budget: &BudgetDocument) -> u32 {
    budget.window.map_or(0, |millis| u32::try_from(millis).unwrap_or(u32::MAX))
}

/// The kinds that a place states something of.
fn lists(document: &LimitsDocument) -> impl Iterator<Item = (Kind, &'static str, &[BudgetDocument])> {
    fn list<C>(list: Option<&BudgetList<C>>) -> Option<&[BudgetDocument]> {
        list.map(|list| list.list.as_slice())
    }
    let LimitsDocument { requests, bytes, hosts, .. } = document;
    [
        (Kind::Requests, "requests", list(requests.as_ref())),
        (Kind::Bytes, "bytes", list(bytes.as_ref())),
        (Kind::Hosts, "hosts", list(hosts.as_ref())),
    ]
    .into_iter()
    .filter_map(|(kind, key, list)| Some((kind, key, list?)))
}

/// Two for the same subject and window would count twice what is one thing; of hosts, which are remembered one by one,
/// there is one for each subject.
fn check(kind: Kind, list: &[BudgetDocument], place: &Place<'_>) -> Result<(), PolicyError> {
    if list.len() > MOST {
        return Err(place.error("more budgets than are counted at once", format!("write at most {MOST}"), ""));
    }
    for (i, budget) in list.iter().enumerate() {
        let alike =
            |other: &&BudgetDocument| other.per == budget.per && (kind == Kind::Hosts || other.window == budget.window);
        let Some(other) = list.iter().take(i).find(alike) else { continue };
        let problem = format!("{} and {} count the same", quoted(&other.text), quoted(&budget.text));
        return Err(match kind {
            Kind::Hosts => place.index(i).error(
                problem,
                "keep one of the two",
                "hosts are remembered one by one, once for each of session, agent and tenant",
            ),
            Kind::Requests | Kind::Bytes => place.index(i).error(problem, "keep the smaller of the two", ""),
        });
    }
    Ok(())
}

/// Budgets are those of rules: one rule is charged, and only what it states.
pub(super) fn refuse(document: &LimitsDocument, place: &Place<'_>) -> Result<(), PolicyError> {
    match lists(document).next() {
        None => Ok(()),
        Some((_, key, _)) => Err(place.key(key).error(
            "a budget belongs to an allow rule",
            "write it under limits of the rules, or once under defaults/limits",
            "a request is charged to the one rule that lets it go",
        )),
    }
}
