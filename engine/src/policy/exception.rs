//! Exceptions: rules that somebody approved for a while. The language bounds how long, and the records name the ticket.

use super::compiled::CompiledPolicy;
use super::document::exception::ExceptionDocument;
use super::document::rule::AllowDocument;
use super::document::values::day_of;
use super::document::{Moment, PolicyDocument};
use super::error::{Document, Place, PolicyError, Problems, quoted};
use crate::facts::Timestamp;

/// Milliseconds that an exception lives where the ceilings do not say: a quarter.
const LONGEST_LIFE: u64 = 90 * DAY;

const DAY: u64 = 86_400_000;

/// Checks the exceptions of all rules.
pub(super) fn check(document: &PolicyDocument, problems: &mut Problems) {
    let root = Place::root(Document::Policy);
    let longest = document.ceilings.exceptions.life.map_or(LONGEST_LIFE, |life| life.0);
    if !(DAY..=3_660 * DAY).contains(&longest) {
        let (ceilings, key) = (root.key("ceilings"), "exceptions");
        let place = ceilings.key(key);
        problems.note(place.key("life").error("out of range", "write 1d to 3660d", ""));
    }
    let (profiles, agents) = (root.key("profiles"), root.key("agents"));
    let of_profiles = document.profiles.iter().map(|(name, profile)| (profiles.key(name), &profile.allow));
    let of_agents = document.agents.iter().map(|(name, agent)| (agents.key(name), &agent.allow));
    for (place, rules) in of_profiles.chain(of_agents) {
        let allow = place.key("allow");
        for (i, rule) in rules.iter().enumerate() {
            let Some(exception) = &rule.exception else { continue };
            problems.take(check_one(rule, exception, longest, &allow.index(i)));
        }
    }
}

fn check_one(
    rule: &AllowDocument,
    exception: &ExceptionDocument,
    longest: u64,
    place: &Place<'_>,
) -> Result<(), PolicyError> {
    let own = place.key("exception");
    let texts = [("ticket", Some(&exception.ticket), 128), ("approver", Some(&exception.approver), 128)];
    for (key, text, most) in texts.into_iter().chain([("reason", exception.reason.as_ref(), 1_024)]) {
        let Some(text) = text else { continue };
        if text.trim().is_empty() || text.len() > most || text.chars().any(char::is_control) {
            let problem = format!("{} says nothing that can be recorded", quoted(text));
            let remedy = format!("write 1 to {most} characters without controls");
            return Err(own.key(key).error(problem, remedy, ""));
        }
    }
    let last = exception.approved.end().plus_millis(longest);
    let Some(expires) = rule.expires else {
        let remedy = format!("add expires beside it, at the latest {}", day_of(last));
        return Err(own.error("an exception without an end", remedy, "an exception that stays is a rule"));
    };
    if expires.end() < exception.approved.start() {
        let remedy = "put expires behind approved of the exception";
        return Err(place.key("expires").error("it ends before it was approved", remedy, ""));
    }
    if expires.end() > last {
        let days = longest / DAY;
        let problem = format!("more than {days}d after it was approved, which is the longest that an exception lives");
        let remedy =
            format!("write {} or earlier; what is needed for longer is a rule without exception", day_of(last));
        return Err(place.key("expires").error(problem, remedy, "by ceilings/exceptions/life"));
    }
    Ok(())
}

impl CompiledPolicy {
    /// The ticket of the exception by which a rule stands, if it is one; `rule` as records name it: `<agent>/<rule>`.
    pub fn exception(&self, rule: &str) -> Option<&str> {
        let (agent, id) = rule.rsplit_once('/')?;
        let rule = self.agents.get(agent)?.allow.iter().find(|rule| rule.id == id)?;
        rule.exception.as_deref()
    }
}

/// How many days before its end an exception is warned of.
const NOTICE: u64 = 7;

/// What somebody should look at: an exception that ends, has ended, or was approved on a day to come.
pub(super) fn warning(rule: &AllowDocument, now: Timestamp, place: &Place<'_>) -> Option<PolicyError> {
    let exception = rule.exception.as_ref()?;
    let ticket = quoted(&exception.ticket);
    if exception.approved.start() > now {
        let (own, key) = (place.key("exception"), "approved");
        let problem = format!("the exception {ticket} was approved on a day to come");
        return Some(own.key(key).error(problem, "write the day on which it was", "its life is counted from then"));
    }
    let end = rule.expires.map(Moment::end)?;
    let place = place.key("expires");
    if now > end {
        let remedy = "remove the rule, or have the exception approved anew; it fits nothing any more";
        return Some(place.error(format!("the exception {ticket} has ended"), remedy, ""));
    }
    let left = end.millis().saturating_sub(now.millis());
    (left < NOTICE * DAY).then(|| {
        let problem = match left / DAY {
            0 => format!("the exception {ticket} ends within a day"),
            1 => format!("the exception {ticket} ends in 1 day"),
            days => format!("the exception {ticket} ends in {days} days"),
        };
        let remedy = format!("let {} approve it anew, or make do without it", quoted(&exception.approver));
        place.error(problem, remedy, "the rule then fits nothing any more")
    })
}
