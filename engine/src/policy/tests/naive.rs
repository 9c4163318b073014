//! A second evaluator, naive on purpose: it reads the JSON of the policy as DESIGN section 4 says it, with nothing
//! compiled, no shared code but the patterns of hosts and paths, and answers only whether a request is allowed.

use super::Request;
use crate::context::{AgentContext, DataClass, Provenance};
use crate::destination::{CanonicalDestination, HostPattern, PathPattern};
use serde_json::Value;

/// Whether the policy allows the request, in enforce mode.
pub(super) fn allows(policy: &Value, request: &Request) -> bool {
    let (context, destination) = (request.context(), request.destination());
    // What any destination names is not what `*` stands for.
    let named = entries(&policy["destinations"])
        .any(|(_, value)| texts(&value["hosts"]).iter().any(|host| *host != "*" && host_fits(host, &destination)));
    let fits: Vec<(&str, &Value)> = entries(&policy["destinations"])
        .filter(|(_, value)| {
            texts(&value["hosts"]).iter().any(|host| host_fits(host, &destination) && (*host != "*" || !named))
        })
        .filter(|(_, value)| match value["ports"].as_array() {
            Some(ports) => ports.iter().any(|port| port.as_u64() == Some(u64::from(destination.port))),
            None => destination.port == 443,
        })
        .collect();
    granted(&policy["signers"][0], &context)
        && !fits.is_empty()
        && fits.iter().all(|(id, value)| {
            let tenants = &value["tenants"];
            let open = tenants.is_null()
                || context.tenant.as_ref().is_some_and(|tenant| texts(tenants).contains(&tenant.as_str()));
            let may = policy["tenants"].is_null()
                || context.tenant.as_ref().is_some_and(|tenant| {
                    let selector = &policy["tenants"][tenant]["destinations"];
                    !selector.is_null() && selects(selector, id, value)
                });
            let scope = context.scope.as_ref().is_none_or(|scope| {
                value["category"].as_str().is_some_and(|category| scope.iter().any(|word| word == category))
            });
            let handed_on = context.delegated_by.iter().all(|agent| {
                agent_rules(policy, agent, "allow").into_iter().any(|rule| selects(&rule["to"], id, value))
                    && open_to(policy, agent, value)
            });
            open && may
                && handed_on
                && scope
                && class(value["accepts"].as_str().unwrap_or("public")) >= context.effective_data_class()
        })
        && !denies(policy, request, &context, &destination, &fits)
        && agent_rules(policy, &context.agent, "allow")
            .iter()
            .any(|rule| fits.iter().any(|fit| allowed_by(policy, rule, fit, request, &context, &destination, &fits)))
}

fn granted(signer: &Value, context: &AgentContext) -> bool {
    let named = |key: &str, value: &str| texts(&signer[key]).iter().any(|pattern| glob(pattern, value));
    named("agents", &context.agent)
        && context.tenant.as_ref().is_none_or(|tenant| named("tenants", tenant))
        && context.user.as_ref().is_none_or(|user| named("users", user))
        && context.tool.as_ref().is_none_or(|tool| named("tools", tool))
        && context.provenance.iter().all(|source| texts(&signer["provenance"]).contains(&source.word()))
}

fn denies(
    policy: &Value,
    request: &Request,
    context: &AgentContext,
    destination: &CanonicalDestination,
    fits: &[(&str, &Value)],
) -> bool {
    let mut rules = agent_rules(policy, &context.agent, "deny");
    rules.extend(policy["ceilings"]["deny"].as_array().into_iter().flatten());
    let path = destination.path.as_ref().unwrap();
    rules.into_iter().any(|rule| {
        fits.iter().any(|(id, value)| selects(&rule["to"], id, value))
            && (rule["methods"].is_null()
                || texts(&rule["methods"]).iter().any(|method| method.eq_ignore_ascii_case(request.method)))
            && (rule["paths"].is_null()
                || texts(&rule["paths"])
                    .iter()
                    .any(|text| PathPattern::parse(text).unwrap().matches_ignoring_case(path)))
            && entries(&rule["when"]).all(|(member, values)| met(member, &texts(values), context) != Some(false))
    })
}

fn allowed_by(
    policy: &Value,
    rule: &Value,
    (id, value): &(&str, &Value),
    request: &Request,
    context: &AgentContext,
    destination: &CanonicalDestination,
    fits: &[(&str, &Value)],
) -> bool {
    let path = destination.path.as_ref().unwrap();
    let methods = if rule["methods"].is_null() { vec!["GET", "HEAD"] } else { texts(&rule["methods"]) };
    let bindings = if rule["binding"].is_null() { vec!["request"] } else { texts(&rule["binding"]) };
    selects(&rule["to"], id, value)
        && bindings.contains(&serde_json::to_value(request.binding).unwrap().as_str().unwrap())
        && open_to(policy, &context.agent, value)
        && methods.contains(&request.method)
        && texts(&rule["paths"]).iter().any(|text| PathPattern::parse(text).unwrap().matches(path).is_some())
        && entries(&rule["when"]).all(|(member, values)| {
            let values = texts(values);
            match member {
                // All sources, all agents, not one of them.
                "provenance" => context.provenance.iter().all(|source| values.contains(&source.word())),
                "delegated_by" => {
                    !context.delegated_by.is_empty()
                        && context.delegated_by.iter().all(|agent| values.iter().any(|pattern| glob(pattern, agent)))
                }
                _ => met(member, &values, context) == Some(true),
            }
        })
        && [("body", request.body), ("url", u64::try_from(request.target.len()).unwrap())].into_iter().all(
            |(key, bytes)| {
                std::iter::once(None)
                    .chain(context.provenance.iter().map(|source| Some(*source)))
                    .all(|source| size(policy, rule, fits, source, key).is_none_or(|most| bytes <= most))
            },
        )
}

/// The size that holds: what rule and destinations state, else the default, else the built-in one; never over a ceiling.
fn size(policy: &Value, rule: &Value, fits: &[(&str, &Value)], source: Option<Provenance>, key: &str) -> Option<u64> {
    let read = |limits: &Value| {
        let limits = source.map_or(limits, |source| &limits["provenance"][source.word()]);
        limits[key].as_str().map(bytes)
    };
    let stated = fits.iter().map(|(_, value)| &value["limits"]).chain([&rule["limits"]]).filter_map(read).min();
    let default = match source {
        Some(source) => policy["defaults"]["provenance"][source.word()][key].as_str().map(bytes),
        None => Some(
            policy["defaults"]["limits"][key].as_str().map_or(if key == "body" { 1 << 20 } else { 8 << 10 }, bytes),
        ),
    };
    stated.or(default).into_iter().chain(read(&policy["ceilings"]["limits"])).min()
}

/// Whether a condition is met; `None` when that cannot be told.
fn met(member: &str, values: &[&str], context: &AgentContext) -> Option<bool> {
    let is = |value: &str| values.iter().any(|pattern| glob(pattern, value));
    match member {
        "roles" if context.roles.is_empty() => None,
        "roles" => Some(context.roles.iter().any(|role| is(role))),
        "region" => context.region.as_deref().map(is),
        "tool" => context.tool.as_deref().map(is),
        "session_type" => context.session_type.map(|word| is(word.word())),
        "provenance" => Some(context.provenance.iter().any(|source| is(source.word()))),
        "delegated_by" => Some(context.delegated_by.iter().any(|agent| is(agent))),
        other => panic!("{other} is not generated"),
    }
}

fn agent_rules<'p>(policy: &'p Value, agent: &str, key: &str) -> Vec<&'p Value> {
    let agent = &policy["agents"][agent];
    let profiles = agent["use"].as_array().into_iter().flatten();
    let profiles = profiles.map(|name| &policy["profiles"][name.as_str().unwrap()][key]);
    profiles.chain([&agent[key]]).flat_map(|rules| rules.as_array().into_iter().flatten()).collect()
}

fn open_to(policy: &Value, agent: &str, destination: &Value) -> bool {
    let (team, teams) = (&policy["agents"][agent]["team"], &destination["teams"]);
    team.is_null() || teams.is_null() || texts(teams).contains(&team.as_str().unwrap())
}

fn selects(selector: &Value, id: &str, destination: &Value) -> bool {
    match selector {
        Value::Array(_) => texts(selector).contains(&id),
        _ => {
            let has = |key: &str, value: Option<&str>| {
                selector[key].is_null() || value.is_some_and(|value| texts(&selector[key]).contains(&value))
            };
            has("id", Some(id))
                && has("category", destination["category"].as_str())
                && has("kind", destination["kind"].as_str())
        }
    }
}

fn host_fits(pattern: &str, destination: &CanonicalDestination) -> bool {
    HostPattern::parse(pattern).unwrap().matches(&destination.host).is_some()
}

fn glob(pattern: &str, value: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => pattern == value,
    }
}

fn class(word: &str) -> DataClass {
    DataClass::WORDS.iter().find(|(_, known)| *known == word).unwrap().0
}

fn bytes(text: &str) -> u64 {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)];
    let (digits, unit) = units.iter().find_map(|(unit, n)| Some((text.strip_suffix(unit)?, *n))).unwrap();
    digits.parse::<u64>().unwrap() * unit
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap()).collect(),
        _ => Vec::new(),
    }
}
