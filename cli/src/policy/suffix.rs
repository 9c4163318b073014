//! Wildcards over public suffixes, by the Public Suffix List. The gateway has no such list: what it would refuse would change with
//! the list and not with the policy.

use super::diagnostic::Diagnostic;
use super::load::Files;
use exeat_engine::policy::node::Node;
use exeat_engine::policy::{Document, PolicyError};

/// What is wrong with the wildcards of a policy, and what somebody should look at.
#[derive(Debug, Default)]
pub(super) struct Suffixes {
    /// Wildcards over what registries sell: they would be open to whoever registers a name.
    pub(super) errors: Vec<Diagnostic>,
    /// Wildcards over what companies give to anybody.
    pub(super) warnings: Vec<Diagnostic>,
}

/// Looks at every host of the merged policy, whatever else may be wrong with it.
pub(super) fn check(policy: &Node, files: &Files) -> Suffixes {
    let mut found = Suffixes::default();
    let Some(Node::Map(destinations)) = policy.get("destinations") else { return found };
    for (id, destination) in destinations {
        let hosts: Vec<(Option<usize>, &str)> = match destination.get("hosts") {
            Some(Node::Text(host)) => vec![(None, host)],
            Some(Node::List(hosts)) => {
                let texts = hosts.iter().enumerate();
                texts
                    .filter_map(
                        |(i, host)| if let Node::Text(host) = host { Some((Some(i), host.as_str())) } else { None },
                    )
                    .collect()
            }
            _ => Vec::new(),
        };
        for (index, host) in hosts {
            let Some((name, registry)) = host.strip_prefix("*.").and_then(|name| Some((name, suffix(name)?))) else {
                continue;
            };
            let mut place = "/destinations".to_owned();
            exeat_engine::policy::error::push_key(&mut place, id);
            exeat_engine::policy::error::push_key(&mut place, "hosts");
            if let Some(index) = index {
                exeat_engine::policy::error::push_key(&mut place, &index.to_string());
            }
            let (problem, why) = match registry {
                Registry::Public => ("a public suffix", "anybody can register a name there"),
                Registry::Company => {
                    ("a suffix under which anybody can have a name", "its owner gives them to all customers")
                }
            };
            let diagnostic = files.explain(&PolicyError {
                document: Document::Policy,
                place,
                problem: format!("`*.` before {name:?}, {problem}"),
                why: why.to_owned(),
                remedy: "name the domains that are meant; for the open web write `*` with `open: true`".to_owned(),
            });
            match registry {
                Registry::Public => found.errors.push(diagnostic),
                Registry::Company => found.warnings.push(diagnostic),
            }
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registry {
    /// ICANN section of the list.
    Public,
    /// Private section.
    Company,
}

/// Whose suffix a name is, where it is one. Tops that the list does not know are somebody's own network.
fn suffix(name: &str) -> Option<Registry> {
    let suffix = psl::suffix(name.as_bytes())?;
    let whole = suffix.as_bytes() == name.as_bytes();
    match suffix.typ() {
        Some(psl::Type::Icann) if whole => Some(Registry::Public),
        Some(psl::Type::Private) if whole => Some(Registry::Company),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_told_from_names() {
        for name in ["com", "co.uk", "org", "com.au", "xn--p1ai", "dev", "k12.ca.us"] {
            assert_eq!(suffix(name), Some(Registry::Public), "{name}");
        }
        for name in ["github.io", "cloudfront.net", "vercel.app", "workers.dev"] {
            assert_eq!(suffix(name), Some(Registry::Company), "{name}");
        }
        for name in [
            "example.com",
            "bbc.co.uk",
            "acme.github.io",
            "corp",
            "svc.cluster.local",
            "internal",
            "crm.acme.example",
            "example",
        ] {
            assert_eq!(suffix(name), None, "{name}");
        }
    }

    /// Names of services, which nobody but their owner hands out: what stands before them is no choice of the customer's.
    const ASSIGNED: &[&str] = &[
        "*.*.eks.amazonaws.com",
        "*.elb.amazonaws.com",
        "*.es.amazonaws.com",
        "*.rds.amazonaws.com",
        "appsync-api.*.amazonaws.com",
        "blob.core.windows.net",
    ];

    #[test]
    fn suffixes_that_the_engine_knows_are_public() {
        let known = |shared: &&str| suffix(&shared.replace('*', "eu-west-1")).is_some() || ASSIGNED.contains(shared);
        let unknown: Vec<_> =
            exeat_engine::destination::registrable::SHARED_SUFFIXES.iter().filter(|shared| !known(shared)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
