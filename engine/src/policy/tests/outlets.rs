//! Where hosts lead: scheme and port, and what is open only there.

use super::{accept, edited, policy};
use crate::destination::{CanonicalHost, PathOpening, Scheme};
use crate::policy::{Configuration, Outlet};
use serde_json::{Value, json};

fn with(destinations: &Value) -> Configuration {
    let mut all = policy();
    for (id, destination) in destinations.as_object().unwrap() {
        all = edited(all, &format!("/destinations/{id}"), destination.clone());
    }
    accept(&all)
}

fn outlet(configuration: &Configuration, authority: &str) -> Outlet {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().unwrap())),
        None => (authority, None),
    };
    configuration.policy().outlet(&CanonicalHost::parse(host).unwrap(), port)
}

#[test]
fn the_closest_destination_says_scheme_and_port() {
    use Scheme::{Http, Https};
    let configuration = with(&json!({
        "wide": {"hosts": ["*.wide.example"]},
        "plain": {"hosts": ["plain.wide.example"], "scheme": "http"},
        "odd": {"hosts": ["odd.wide.example"], "scheme": "http", "ports": [8080, 443]},
        "both-tls": {"hosts": ["both.example"], "scheme": "https"},
        "both-plain": {"hosts": ["both.example"], "scheme": "http"},
    }));
    for (authority, scheme, port, unnamed) in [
        ("a.wide.example", Https, 443, 443),
        ("a.wide.example:8443", Https, 8443, 443),
        ("plain.wide.example", Http, 80, 80),
        ("plain.wide.example:80", Http, 80, 80),
        // Only the wildcard takes that port.
        ("plain.wide.example:443", Https, 443, 80),
        // The closest takes 443, in plain text; its scheme's own port it does not take.
        ("odd.wide.example", Http, 443, 443),
        ("odd.wide.example:443", Http, 443, 443),
        ("odd.wide.example:8080", Http, 8080, 443),
        // Equally close: TLS where nothing else is said.
        ("both.example", Https, 443, 443),
        ("both.example:80", Http, 80, 443),
        ("both.example:443", Https, 443, 443),
        // Nowhere.
        ("unlisted.example", Https, 443, 443),
        ("unlisted.example:80", Https, 80, 443),
    ] {
        let found = outlet(&configuration, authority);
        assert_eq!((found.scheme, found.port, found.unnamed), (scheme, port, unnamed), "{authority}");
    }
}

#[test]
fn what_is_open_is_open_for_the_closest_alone() {
    let configuration = with(&json!({
        "wide": {"hosts": ["*.acme.example"], "addresses": ["192.168.0.0/16"], "paths_allow": ["semicolon", "encoded-slash"],
                 "tunnel": true, "upgrade": ["websocket"], "life": "5m"},
        "git": {"hosts": ["git.acme.example"], "addresses": ["10.0.0.0/8", "169.254.169.254"], "metadata": true,
                "paths_allow": ["encoded-slash"]},
        "git-too": {"hosts": ["git.acme.example"], "addresses": ["10.1.0.0/16"], "paths_allow": ["encoded-slash", "semicolon"],
                    "ports": [443, 8443], "metadata": true, "tunnel": true},
    }));
    let ranges = |outlet: &Outlet| {
        let text = |list: &std::sync::Arc<[crate::destination::Cidr]>| {
            list.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        outlet.addresses.iter().map(text).collect::<Vec<_>>()
    };
    let wide = outlet(&configuration, "a.acme.example");
    assert_eq!(ranges(&wide), [vec!["192.168.0.0/16"]]);
    assert_eq!((wide.tunnel, wide.upgrade, wide.grant.metadata), (Some(300_000), Some(300_000), false));
    assert!(wide.paths.has(PathOpening::Semicolon) && wide.paths.has(PathOpening::EncodedSlash));
    // Two are equally close: what both open.
    let both = outlet(&configuration, "git.acme.example");
    assert_eq!(ranges(&both), [vec!["10.0.0.0/8", "169.254.169.254/32"], vec!["10.1.0.0/16"]]);
    assert_eq!(both.paths.iter().collect::<Vec<_>>(), [PathOpening::EncodedSlash]);
    assert_eq!((both.tunnel, both.upgrade, both.grant.metadata), (None, None, true));
    let one = outlet(&configuration, "git.acme.example:8443");
    assert_eq!((ranges(&one).len(), one.tunnel, one.upgrade), (1, Some(3_600_000), None));
    let nothing = outlet(&configuration, "unlisted.example");
    assert!(nothing.addresses.is_empty() && nothing.paths.is_closed() && nothing.tunnel.is_none());
    assert!(!nothing.grant.metadata && !nothing.grant.named);
    assert_eq!(configuration.policy().longest_life(), Some(3_600_000));
    assert!(configuration.policy().takes_tunnels() && configuration.policy().takes_upgrades());
    let none = accept(&policy());
    assert_eq!((none.policy().longest_life(), none.policy().takes_tunnels()), (None, false));
}

#[test]
fn patterns_may_need_what_one_of_their_destinations_opens() {
    let open = json!({"hosts": ["git.example"], "paths_allow": ["encoded-slash"]});
    let rule = json!({"id": "files", "to": ["crm", "git"], "paths": ["/api/v4/projects/acme%2Fsite/**"]});
    let mut wanted = edited(policy(), "/destinations/git", open);
    wanted = edited(wanted, "/agents/support~1summarizer/allow/-", rule);
    accept(&wanted);
    let closed = edited(wanted, "/destinations/git/paths_allow", json!(["semicolon"]));
    let said = Configuration::accept(&super::document(&closed)).unwrap_err().to_string();
    assert_eq!(
        said,
        "policy: /agents/support~1summarizer/allow/2/paths/0: an encoded slash in a path is closed; add `paths_allow: \
         [encoded-slash]` to a destination of this rule, or write the path without it (requests with it are refused, so \
         this would fit nothing)"
    );
}
