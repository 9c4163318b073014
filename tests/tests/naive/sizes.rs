//! Sizes, as they are written and as they hold.

use serde_json::Value;

const DIMENSIONS: [&str; 4] = ["url", "headers", "body", "total"];

/// What a request measures.
pub(crate) struct Measure {
    pub(crate) url: u64,
    pub(crate) headers: u64,
    pub(crate) body: u64,
}

/// Who must change a size so that a request of this measure passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Rule,
    Destination,
    Ceiling,
}

/// A size that is exceeded: reason, condition, and by whom it is stated.
pub(crate) type Excess = (&'static str, String, By);

fn bytes(text: &Value) -> Option<u64> {
    let text = text.as_str()?;
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap());
    let unit = match unit {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        other => panic!("{other}"),
    };
    Some(digits.parse::<u64>().unwrap() * unit)
}

/// What `limits` of a rule, a destination or the ceilings say.
fn said(limits: &Value, source: Option<&str>, dimension: &str) -> Option<u64> {
    match source {
        None => bytes(&limits[dimension]),
        Some(source) => bytes(&limits["provenance"][source][dimension]),
    }
}

/// Everything that is exceeded, plain sizes first, then by source.
pub(crate) fn excesses(
    policy: &Value,
    rule: Option<&Value>,
    destinations: &[&Value],
    sources: &[&str],
    measure: &Measure,
) -> Vec<Excess> {
    let mut excesses = Vec::new();
    let mut all = vec![None];
    all.extend(sources.iter().map(|source| Some(*source)));
    for source in all {
        for dimension in DIMENSIONS {
            let measured = match dimension {
                "url" => measure.url,
                "headers" => measure.headers,
                "body" => measure.body,
                _ => measure.url + measure.headers + measure.body,
            };
            let ceiling = said(&policy["ceilings"]["limits"], source, dimension);
            let by_rule = rule.and_then(|rule| said(&rule["limits"], source, dimension));
            let by_destinations: Vec<u64> =
                destinations.iter().filter_map(|destination| said(&destination["limits"], source, dimension)).collect();
            let default = match source {
                None => bytes(&policy["defaults"]["limits"][dimension]),
                Some(source) => bytes(&policy["defaults"]["provenance"][source][dimension]),
            };
            let built_in = match (source, dimension) {
                (None, "url" | "headers") => Some(8 * 1024),
                (None, "body") => Some(1024 * 1024),
                (Some("third-party"), "headers") => Some(1024),
                _ => None,
            };
            let above = |size: Option<u64>| size.is_some_and(|size| measured > size);
            let stated = by_rule.is_some() || !by_destinations.is_empty();
            let by = if above(ceiling) {
                By::Ceiling
            } else if by_destinations.iter().any(|size| measured > *size) {
                By::Destination
            } else if above(by_rule) || (!stated && above(default.or(built_in))) {
                By::Rule
            } else {
                continue;
            };
            let place = if by == By::Ceiling { "ceilings/limits" } else { "limits" };
            excesses.push(match source {
                None => ("payload-too-large", format!("{place}/{dimension}"), by),
                Some(source) => ("payload-provenance", format!("{place}/provenance/{source}/{dimension}"), by),
            });
        }
    }
    excesses
}
