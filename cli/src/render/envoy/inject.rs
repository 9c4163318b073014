//! Credentials that Envoy adds in the agent's place: its own injector, after the filter, for what the filter let go.
//!
//! The filter names the destination in filter state, which no client can set; the secret is never in its VM. A secret that
//! cannot be read keeps Envoy from starting, and a request that should get one and cannot is refused by Envoy.

use super::bootstrap::Settings;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What static secrets of ours are called, before the policy's name.
const PREFIX: &str = "exeat/";

impl Settings<'_> {
    /// Each secret that the policy names, from the file of that name.
    pub(super) fn secrets(&self) -> Value {
        let folder = self.secrets.unwrap_or(".").trim_end_matches('/');
        let names: BTreeSet<&str> = self.configuration.policy().injected().map(|(_, _, secret)| secret).collect();
        let secret = |name: &str| {
            json!({
                "name": format!("{PREFIX}{name}"),
                "generic_secret": {"secret": {"filename": format!("{folder}/{name}")}},
            })
        };
        names.into_iter().map(secret).collect()
    }

    /// One filter for each header and secret, which acts on requests to the destinations that get it.
    pub(super) fn injectors(&self) -> Vec<Value> {
        let mut destinations: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for (destination, header, secret) in self.configuration.policy().injected() {
            destinations.entry((header, secret)).or_default().push(destination);
        }
        let injector =
            |((header, secret), destinations): ((&str, &str), Vec<&str>)| injector(header, secret, &destinations);
        destinations.into_iter().map(injector).collect()
    }
}

fn injector(header: &str, secret: &str, destinations: &[&str]) -> Value {
    let injector = json!({
        "name": "envoy.filters.http.credential_injector",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
            "overwrite": true,
            "allow_request_without_credential": false,
            "credential": {
                "name": "envoy.http.injected_credentials.generic",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
                    "credential": {"name": format!("{PREFIX}{secret}")},
                    "header": header,
                },
            },
        },
    });
    let action = json!({
        "action": {
            "name": "inject",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
                "typed_config": injector,
            },
        },
    });
    let actions: Map<String, Value> = destinations.iter().map(|id| ((*id).to_owned(), action.clone())).collect();
    json!({
        "name": format!("inject {header} {secret}"),
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "extension_config": {
                "name": "envoy.filters.http.composite",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.composite.v3.Composite"},
            },
            "xds_matcher": {
                "matcher_tree": {
                    "input": {
                        "name": "envoy.matching.inputs.filter_state",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.FilterStateInput",
                            "key": "wasm.exeat.credentials",
                        },
                    },
                    "exact_match_map": {"map": actions},
                },
            },
        },
    })
}
