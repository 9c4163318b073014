//! The words of which policies are made.

/// Teams, in the order in which they are founded.
const TEAMS: [&str; 40] = [
    "support",
    "billing",
    "payments",
    "research",
    "legal",
    "sales",
    "marketing",
    "logistics",
    "procurement",
    "treasury",
    "tax",
    "audit",
    "risk",
    "claims",
    "underwriting",
    "onboarding",
    "retention",
    "pricing",
    "catalogue",
    "search",
    "checkout",
    "returns",
    "warehouse",
    "fleet",
    "facilities",
    "people",
    "payroll",
    "recruiting",
    "training",
    "travel",
    "security",
    "identity",
    "platform-tools",
    "data",
    "analytics",
    "forecasting",
    "quality",
    "localisation",
    "press",
    "labs",
];

/// What agents do.
const AGENTS: [&str; 16] = [
    "summarizer",
    "planner",
    "triage",
    "reporter",
    "researcher",
    "reconciler",
    "reviewer",
    "scheduler",
    "translator",
    "classifier",
    "writer",
    "notifier",
    "importer",
    "exporter",
    "monitor",
    "assistant",
];

/// Tenants.
pub(super) const TENANTS: [&str; 8] = ["alder", "birch", "cedar", "elm", "hazel", "maple", "oak", "rowan"];

/// Where people are.
pub(super) const REGIONS: [&str; 4] = ["eu", "us", "ap", "latam"];

/// Roles of people besides the name of their team.
pub(super) const ROLES: [&str; 4] = ["lead", "on-call", "contractor", "auditor"];

/// Things that interfaces have, each below a version.
pub(super) const THINGS: [&str; 8] =
    ["orders", "customers", "invoices", "reports", "documents", "events", "items", "accounts"];

/// Name of a team.
pub(super) fn team(index: usize) -> String {
    numbered(&TEAMS, index)
}

/// Name of an agent within its team.
pub(super) fn agent(index: usize) -> String {
    numbered(&AGENTS, index)
}

/// Words come again with a number.
fn numbered(words: &[&str], index: usize) -> String {
    let (round, place) = (index.checked_div(words.len()).unwrap_or(0), index.checked_rem(words.len()).unwrap_or(0));
    let word = words.get(place).copied().unwrap_or_default();
    match round {
        0 => word.to_owned(),
        round => format!("{word}-{}", round.saturating_add(1)),
    }
}
