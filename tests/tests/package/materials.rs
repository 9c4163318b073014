//! The bill of materials: a valid CycloneDX document of what is linked into the module, found from the image it belongs to.

use super::support::{docker, hex, manifest, module, package, pushed, raw, sha256};
use exeat_e2e::stage::registry::{Options, Registry};
use exeat_e2e::stage::{artefacts, cyclonedx};
use serde_json::Value;

fn sbom() -> Value {
    serde_json::from_slice(&std::fs::read(artefacts::sbom().unwrap()).unwrap()).unwrap()
}

#[test]
fn it_is_valid_by_the_schema_of_cyclonedx() {
    let document = sbom();
    let errors = cyclonedx::errors(&document).unwrap();
    assert!(errors.is_empty(), "{errors:#?}");
    // The schema holds: what is wrong does not pass.
    for (place, wrong) in [("/serialNumber", "urn:uuid:1"), ("/components/0/type", "crate"), ("/bomFormat", "SPDX")] {
        let mut broken = document.clone();
        *broken.pointer_mut(place).unwrap() = wrong.into();
        assert!(!cyclonedx::errors(&broken).unwrap().is_empty(), "{place}");
    }
}

#[test]
fn it_is_of_this_module_and_names_what_is_in_it() {
    let document = sbom();
    let component = &document["metadata"]["component"];
    assert_eq!(component["hashes"][0]["content"], sha256(&module()));
    assert_eq!(component["version"], env!("CARGO_PKG_VERSION"));
    let listed: Vec<_> = cyclonedx::components(&document).into_keys().collect();
    for name in ["exeat-filter", "exeat-engine", "proxy-wasm", "curve25519-dalek", "serde_json", "rust-std"] {
        assert!(listed.iter().any(|(listed, _)| listed == name), "{name} is missing");
    }
    // In the workspace, but not in the module: tools, tests, macros that ran while it was built, other targets.
    for name in ["tokio", "clap", "wasmtime", "rustls", "schemars", "serde_derive", "syn", "psl", "proptest", "exeat"] {
        assert!(!listed.iter().any(|(listed, _)| listed == name), "{name} is not in the module");
    }
    for one in document["components"].as_array().unwrap() {
        let own = one["name"].as_str().unwrap();
        assert!(!one["licenses"][0]["expression"].as_str().unwrap().is_empty(), "{own}");
        let from_registry = !own.starts_with("exeat-") && own != "rust-std";
        assert_eq!(one["hashes"][0]["content"].as_str().map(str::len), from_registry.then_some(64), "{own}");
    }
}

#[test]
fn every_crate_is_reached_from_the_module() {
    let document = sbom();
    let (reached, listed) = cyclonedx::reached_and_listed(&document);
    assert_eq!(reached, listed);
}

/// The module names the files in which it can panic. Whoever is among them is linked, whatever cargo says.
#[test]
fn what_the_module_itself_names_is_listed() {
    /// What the standard library is made of, where it is built from source.
    const OF_STD: [&str; 2] = ["dlmalloc", "hashbrown"];
    let document = sbom();
    let listed: Vec<String> =
        cyclonedx::components(&document).into_keys().map(|(name, version)| format!("{name}-{version}")).collect();
    let named = cyclonedx::packages_named_in(&module());
    let known = |name: &String| {
        let bare = name.rsplit_once('-').map_or("", |(bare, _)| bare);
        listed.contains(name) || OF_STD.contains(&bare)
    };
    let missing: Vec<_> = named.iter().filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "in the module and not in its bill of materials: {missing:?}");
    assert!(named.iter().filter(|name| listed.contains(*name)).count() >= 5, "the module names only {named:?}");
}

#[test]
fn it_is_found_from_the_image_and_from_the_artifact() {
    let registry = Registry::start(&Options::default()).unwrap();
    let report = pushed(&registry, "v1");
    let expected = std::fs::read(artefacts::sbom().unwrap()).unwrap();
    for (form, sbom) in [("image", "sbom of the image"), ("artifact", "sbom of the artifact")] {
        // This registry knows nothing of referrers; those who ask look under the tag that is made of the digest.
        let reference = docker(&report, form).replace("@sha256:", ":sha256-");
        let index: Value = serde_json::from_slice(&raw(&reference)).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{index:#}");
        assert_eq!(entries[0]["artifactType"], "application/vnd.cyclonedx+json");
        assert_eq!(entries[0]["digest"], manifest(&report, sbom)["digest"]);
        let manifest: Value = serde_json::from_slice(&raw(&docker(&report, sbom))).unwrap();
        assert_eq!(manifest["subject"]["digest"], format!("sha256:{}", hex(&report, form)));
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        assert!(std::fs::read(registry.blob(layer)).unwrap() == expected);
    }
    // Again, with another bill of materials beside: the index keeps what others put there, and each only once.
    pushed(&registry, "v2");
    let reference = docker(&report, "image").replace("@sha256:", ":sha256-");
    let index: Value = serde_json::from_slice(&raw(&reference)).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let mut dated = package();
    let target = format!("{}/team/exeat:v3", registry.address());
    dated.arg("--push").arg(target).arg("--plain-http").env("SOURCE_DATE_EPOCH", "1763600000");
    assert_ne!(hex(&super::support::report(dated), "image"), hex(&report, "image"));
}
