//! Bills of materials as others read them: held against the schema of CycloneDX, and looked through.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Error, Result};
use crate::workspace;

/// What is wrong with a document by the schema of CycloneDX 1.6.
pub fn errors(document: &Value) -> Result<Vec<String>> {
    let mut resources = Vec::new();
    for name in ["spdx", "jsf-0.82"] {
        resources.push((format!("http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json"), schema(name)?));
    }
    let broken = |error: &dyn std::fmt::Display| Error::Protocol {
        peer: "tests/vectors/cyclonedx".to_owned(),
        problem: error.to_string(),
    };
    let registry = jsonschema::Registry::new()
        .extend(resources)
        .and_then(|registry| registry.prepare())
        .map_err(|error| broken(&error))?;
    let validator =
        jsonschema::options().with_registry(&registry).build(&schema("bom-1.6")?).map_err(|error| broken(&error))?;
    Ok(validator.iter_errors(document).map(|error| format!("{error} at {}", error.instance_path())).collect())
}

fn schema(name: &str) -> Result<Value> {
    let file = workspace().join("tests/vectors/cyclonedx").join(format!("{name}.schema.json"));
    let text = std::fs::read(&file).map_err(Error::io(format!("reading {}", file.display())))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::Protocol { peer: file.display().to_string(), problem: error.to_string() })
}

/// The parts of a document, each by name and version.
pub fn components(document: &Value) -> BTreeMap<(String, String), &Value> {
    let text = |component: &Value, member: &str| text(component, member).unwrap_or_default().to_owned();
    list(document, "components")
        .map(|component| ((text(component, "name"), text(component, "version")), component))
        .collect()
}

/// References of what is reached from the subject of a document, and of all that it lists. In a whole one they are the same.
pub fn reached_and_listed(document: &Value) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let subject = document.pointer("/metadata/component/bom-ref").and_then(Value::as_str).unwrap_or_default();
    let uses: BTreeMap<&str, Vec<&str>> = list(document, "dependencies")
        .map(|entry| {
            (text(entry, "ref").unwrap_or_default(), list(entry, "dependsOn").filter_map(Value::as_str).collect())
        })
        .collect();
    let (mut reached, mut next) = (BTreeSet::new(), vec![subject]);
    while let Some(reference) = next.pop() {
        if reached.insert(reference) {
            next.extend(uses.get(reference).into_iter().flatten());
        }
    }
    let listed = list(document, "components").filter_map(|component| text(component, "bom-ref")).chain([subject]);
    (reached, listed.collect())
}

fn list<'v>(value: &'v Value, member: &str) -> impl Iterator<Item = &'v Value> {
    value.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(value: &'v Value, member: &str) -> Option<&'v str> {
    value.get(member).and_then(Value::as_str)
}

/// `name-version` of the packages whose files a program names, because it can panic there. Whoever is among them is linked,
/// whatever a list says.
pub fn packages_named_in(program: &[u8]) -> BTreeSet<String> {
    const FOLDER: &[u8] = b"/cargo/registry/";
    let places = program.windows(FOLDER.len()).enumerate().filter(|(_, window)| *window == FOLDER);
    let names = places.filter_map(|(at, _)| program.get(at + FOLDER.len()..)?.split(|byte| *byte == b'/').next());
    names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned).collect()
}
