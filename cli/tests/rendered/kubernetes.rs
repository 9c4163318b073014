//! What an API server would take of the objects that are rendered, and keep whole.
//!
//! Custom resources are held against their definitions in tests/vectors/crds. A server drops members that a definition does not
//! know without a word, so definitions are closed here first. Built-in objects are read into their types and written again:
//! what is lost was never there. Rules in CEL (`x-kubernetes-validations`) are not evaluated; what a server made of these
//! objects is in `applied`.

use jsonschema::Validator;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Kinds whose definitions are not among the vectors. They are few and small, and listed here so that no other is left out.
const WITHOUT_DEFINITION: [(&str, &str); 10] = [
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "Sidecar"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("gateway.networking.k8s.io/v1", "GatewayClass"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy"),
    ("gateway.envoyproxy.io/v1alpha1", "EnvoyPatchPolicy"),
];

/// Documents of a file of YAML.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Definitions, closed.
pub(crate) struct Definitions(BTreeMap<(String, String), Validator>);

impl Definitions {
    /// All of tests/vectors/crds.
    pub(crate) fn read() -> Self {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(crate::root().join("tests/vectors/crds")).unwrap() {
            let path = entry.unwrap().path();
            for definition in documents(&std::fs::read_to_string(&path).unwrap()) {
                let spec = &definition["spec"];
                for version in spec["versions"].as_array().unwrap() {
                    let mut schema = version["schema"]["openAPIV3Schema"].clone();
                    close(&mut schema);
                    // Members of every object, which definitions need not list; metadata is read into its own type instead.
                    for (member, of) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
                        schema["properties"][member] = json!({"type": of});
                    }
                    let validator =
                        jsonschema::draft4::new(&schema).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                    let of = format!("{}/{}", spec["group"].as_str().unwrap(), version["name"].as_str().unwrap());
                    all.insert((of, spec["names"]["kind"].as_str().unwrap().to_owned()), validator);
                }
            }
        }
        assert!(all.len() >= 5, "{} definitions", all.len());
        Self(all)
    }

    /// Why a server would refuse an object, or not keep it whole.
    pub(crate) fn check(&self, object: &Value) -> Result<(), String> {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let kind = (text("apiVersion"), text("kind"));
        if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            return Err(format!("{kind:?} has no name"));
        }
        kept::<ObjectMeta>(&object["metadata"])?;
        if let Some(validator) = self.0.get(&kind) {
            let errors: Vec<_> =
                validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path())).collect();
            return if errors.is_empty() { Ok(()) } else { Err(format!("{kind:?}: {}", errors.join("\n"))) };
        }
        match (kind.0.as_str(), kind.1.as_str()) {
            ("v1", "ConfigMap") => kept::<ConfigMap>(object),
            ("v1", "PersistentVolumeClaim") => kept::<PersistentVolumeClaim>(object),
            ("v1", "Service") => kept::<Service>(object),
            ("v1", "ServiceAccount") => kept::<ServiceAccount>(object),
            ("apps/v1", "DaemonSet") => kept::<DaemonSet>(object),
            ("apps/v1", "Deployment") => kept::<Deployment>(object),
            ("apps/v1", "StatefulSet") => kept::<StatefulSet>(object),
            ("networking.k8s.io/v1", "NetworkPolicy") => kept::<NetworkPolicy>(object),
            ("policy/v1", "PodDisruptionBudget") => kept::<PodDisruptionBudget>(object),
            of if WITHOUT_DEFINITION.contains(&of) => Ok(()),
            _ => Err(format!("nobody knows what {kind:?} may hold")),
        }
    }
}

/// Whether a type knows every member.
fn kept<T: DeserializeOwned + Serialize>(value: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(value.clone()).map_err(|error| format!("{error}: {value}"))?;
    let again = serde_json::to_value(typed).unwrap();
    if again == *value { Ok(()) } else { Err(format!("not kept whole:\n{value}\n{again}")) }
}

/// Closes what a structural schema leaves open only because servers prune it. Within `allOf`, `anyOf`, `oneOf` and `not`
/// properties only restrict what is specified beside them, so nothing is closed there.
fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    let open =
        fields.contains_key("additionalProperties") || fields.contains_key("x-kubernetes-preserve-unknown-fields");
    if fields.get("nullable") == Some(&json!(true))
        && let Some(Value::String(of)) = fields.get("type").cloned()
    {
        fields.insert("type".to_owned(), json!([of, "null"]));
    }
    if fields.contains_key("properties") && !open {
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(schema) = fields.get_mut(below) {
            close(schema);
        }
    }
}

#[test]
fn every_object_that_is_rendered_is_one_that_a_cluster_takes() {
    let (definitions, mut seen) = (Definitions::read(), 0);
    for entry in std::fs::read_dir(crate::root().join("envoy")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for document in documents(&std::fs::read_to_string(&path).unwrap()) {
            if document.get("apiVersion").is_some() {
                seen += 1;
                definitions.check(&document).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

/// Every way in which an object can be wrong that this is there to find.
#[test]
fn what_a_cluster_would_refuse_or_prune_is_found() {
    let definitions = Definitions::read();
    let all = documents(&std::fs::read_to_string(crate::root().join("envoy/istio.yaml")).unwrap());
    let of = |kind: &str| {
        let found = all.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
        definitions.check(found).unwrap();
        found.clone()
    };
    type Edit = (&'static str, &'static str, Value);
    let edits: [Edit; 17] = [
        ("EnvoyFilter", "/spec/configPatch", json!([])),
        ("EnvoyFilter", "/spec/configPatches/0/applyTo", json!("CLUSTERS")),
        ("EnvoyFilter", "/spec/configPatches/0/patch/operation", json!("APPEND")),
        ("EnvoyFilter", "/spec/configPatches/0/patch/values", json!({})),
        ("EnvoyFilter", "/spec/configPatches/0/match/listener", json!({"port": 1})),
        ("EnvoyFilter", "/spec/workloadSelector/matchLabels", json!({"a": "b"})),
        ("EnvoyFilter", "/spec/workloadSelector/labels", json!({"a": 1})),
        ("ServiceEntry", "/spec/resolution", json!("SOMEHOW")),
        ("ServiceEntry", "/spec/hosts", json!([])),
        ("ServiceEntry", "/spec/ports/0/number", json!("443")),
        ("ServiceEntry", "/metadata/label", json!({})),
        ("ServiceEntry", "/kind", json!("ServiceEntries")),
        ("Deployment", "/spec/template/spec/container", json!([])),
        ("Deployment", "/spec/template/spec/volumes/0/image/ref", json!("x")),
        ("Deployment", "/spec/replicas", json!("one")),
        ("NetworkPolicy", "/spec/egress/0/from", json!([])),
        ("Service", "/apiVersion", json!("v2")),
    ];
    for (kind, pointer, value) in edits {
        let mut object = of(kind);
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap_or_else(|| panic!("{kind}{parent}"))[member] = value;
        assert!(definitions.check(&object).is_err(), "{kind}{pointer} is taken");
    }
    for (kind, pointer, member) in [
        ("ServiceEntry", "/spec", "hosts"),
        ("ServiceEntry", "/spec/ports/0", "name"),
        ("Service", "/metadata", "name"),
    ] {
        let mut object = of(kind);
        object.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(member).unwrap();
        assert!(definitions.check(&object).is_err(), "{kind} without {member} is taken");
    }
}
