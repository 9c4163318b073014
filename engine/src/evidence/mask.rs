//! The mask: members of decision records that an operator does not want in clear. The journal puts it on, for whatever it
//! records passes there; what it counts by, such as who holds its queue, is still told by the values themselves.

use super::record::DecisionRecord;
use crate::policy::{MaskMember, ValueMask};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What stands for the text in quotes of a condition.
const QUOTED: &str = "\"(masked)\"";

impl ValueMask {
    /// The record as it may be stored. `hash` makes the keyed hash of a value.
    pub(super) fn put_on<'a>(
        &self,
        record: &'a DecisionRecord,
        hash: &dyn Fn(&[u8]) -> String,
    ) -> Cow<'a, DecisionRecord> {
        if self.is_empty() {
            return Cow::Borrowed(record);
        }
        let mut masked = record.clone();
        for member in self.dropped() {
            cover(&mut masked, *member, &|_| None);
        }
        for member in self.hashed() {
            cover(&mut masked, *member, &|value| Some(hash(value.as_bytes())));
        }
        if masked.agent != record.agent {
            masked.rule = record.rule.as_deref().map(|rule| anonymous(rule, record, &masked));
        }
        // Whatever a condition repeats of a request stands in quotes there.
        masked.condition = record.condition.as_deref().map(without_quoted);
        Cow::Owned(masked)
    }
}

/// Puts `with` in the place of a member's value, or of each of its values.
fn cover(record: &mut DecisionRecord, member: MaskMember, with: &dyn Fn(&str) -> Option<String>) {
    let one = |value: &mut Option<String>| *value = value.as_deref().and_then(with);
    let each = |values: &mut Vec<String>| *values = values.iter().filter_map(|value| with(value)).collect();
    match member {
        MaskMember::Peer => one(&mut record.peer),
        MaskMember::Source => one(&mut record.source),
        MaskMember::Agent => one(&mut record.agent),
        MaskMember::Session => one(&mut record.session),
        MaskMember::Tenant => one(&mut record.tenant),
        MaskMember::Roles => each(&mut record.roles),
        MaskMember::Region => one(&mut record.region),
        MaskMember::DelegatedBy => each(&mut record.delegated_by),
        MaskMember::Tool => one(&mut record.tool),
        MaskMember::Attributes => {
            let attributes = std::mem::take(&mut record.attributes);
            let covered = attributes.into_iter().filter_map(|(name, value)| Some((name, with(&value)?)));
            record.attributes = covered.collect::<BTreeMap<_, _>>();
        }
        MaskMember::Path => one(&mut record.destination.path),
        MaskMember::RequestId => one(&mut record.request_id),
        MaskMember::Traceparent => one(&mut record.traceparent),
    }
}

/// `<agent>/<rule>` with the agent as the record tells it. Rules of the platform's ceilings have no agent.
fn anonymous(rule: &str, record: &DecisionRecord, masked: &DecisionRecord) -> String {
    let own = record.agent.as_deref().and_then(|agent| rule.strip_prefix(agent)?.strip_prefix('/'));
    match own {
        None if rule.starts_with("ceilings/") => rule.to_owned(),
        // INVARIANT: ids of rules have no slash; agents may have several.
        _ => format!("{}/{}", masked.agent.as_deref().unwrap_or_default(), rule.rsplit('/').next().unwrap_or_default()),
    }
}

/// All from the first quotation mark to the last, for what is quoted may itself hold some; all that follows where one is alone.
fn without_quoted(condition: &str) -> String {
    let Some((before, rest)) = condition.split_once('"') else { return condition.to_owned() };
    let after = rest.rsplit_once('"').map_or("", |(_, after)| after);
    format!("{before}{QUOTED}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_goes_whatever_is_in_it() {
        for (condition, masked) in [
            ("paths", "paths"),
            ("", ""),
            ("key \"a\" is unknown", "key \"(masked)\" is unknown"),
            ("a \"b\\\" c\" d \"e\" f", "a \"(masked)\" f"),
            ("open \"end", "open \"(masked)\""),
        ] {
            assert_eq!(without_quoted(condition), masked, "{condition}");
        }
    }
}
