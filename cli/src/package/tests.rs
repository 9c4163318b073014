//! What is packed and what is refused, without a registry.

use super::about::{About, MODULE_BUILT, MODULE_DIGEST, POLICY_SCHEMA, source_date};
use super::blob::Blob;
use super::image::{CONFIG, CONTENT, CYCLONEDX, Form, LAYER, Package};
use super::layout::Layout;
use super::module::Module;
use super::sbom::{Sbom, Subject};
use super::target::Target;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::Read as _;

const VERSION: &str = "9.8.7+x";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A module with what a filter exports, less one name, importing from one module.
fn text(without: &str, import: &str, abi: &str) -> String {
    let callbacks = [
        abi,
        "malloc",
        "proxy_on_context_create",
        "proxy_on_vm_start",
        "proxy_on_configure",
        "proxy_on_request_headers",
        "proxy_on_request_body",
        "proxy_on_done",
    ];
    let exports: Vec<_> =
        callbacks.iter().filter(|name| **name != without).map(|name| format!("(func (export \"{name}\"))")).collect();
    let stamp: String = exeat_stamp::unsealed(VERSION, COMMIT).iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(
        "(module (import \"{import}\" \"proxy_log\" (func)) (memory (export \"memory\") 1) {} (data (i32.const 0) \"{stamp}\"))",
        exports.join("\n")
    )
}

fn good() -> Vec<u8> {
    let mut module = unsealed();
    exeat_stamp::seal(&mut module).unwrap();
    module
}

fn unsealed() -> Vec<u8> {
    wat::parse_str(text("", "env", "proxy_abi_version_0_2_1")).unwrap()
}

fn module() -> Module {
    Module::check(good()).unwrap()
}

fn sbom_text(digest: &str, revision: &str) -> String {
    let component = json!({
        "type": "application", "name": "exeat.wasm", "version": VERSION, "hashes": [{"alg": "SHA-256", "content": digest}],
        "properties": [{"name": "exeat:revision", "value": revision}],
    });
    json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "metadata": {"component": component}}).to_string()
}

fn checked(text: String, module: &Module) -> anyhow::Result<Sbom> {
    let about = About::new(module, None).unwrap();
    let subject = Subject { word: "module", made_by: "cargo xtask wasm", file: module.blob(), about: &about };
    Sbom::check(text.into_bytes(), subject)
}

fn sbom(module: &Module) -> Sbom {
    checked(sbom_text(module.blob().hex(), COMMIT), module).unwrap()
}

fn package(created: Option<&str>) -> Package {
    let module = module();
    let sbom = sbom(&module);
    let created = source_date(created.map(OsStr::new)).unwrap();
    let about = About::new(&module, created).unwrap();
    Package::new(&module, &about, Some(&sbom)).unwrap()
}

fn document(package: &Package, form: Form) -> Value {
    serde_json::from_slice(package.manifest(form).unwrap().blob.bytes()).unwrap()
}

fn blob<'p>(package: &'p Package, descriptor: &Value) -> &'p Blob {
    let found = package.blobs.iter().find(|blob| descriptor["digest"] == blob.digest()).unwrap();
    assert_eq!(descriptor["size"], found.bytes().len());
    found
}

#[test]
fn modules_that_no_proxy_would_load_are_refused() {
    let abi = "proxy_abi_version_0_2_1";
    let wat = |text: String| wat::parse_str(text).unwrap();
    let mut cut = good();
    cut.truncate(cut.len() - 5);
    // `i32.add` on nothing: a body that only validation looks at.
    let invalid = wat("(module (func i32.add drop))".into());
    // A byte of the version: valid, and not what was built.
    let mut altered = good();
    let version = altered.windows(VERSION.len()).position(|window| window == VERSION.as_bytes()).unwrap();
    altered[version] = b'1';
    let mut unmarked = good();
    let mark = unmarked.windows(16).position(|window| window == exeat_stamp::MAGIC).unwrap();
    unmarked[mark] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "not a WebAssembly module"),
        ("text", b"#!/bin/sh\n".to_vec(), "not a WebAssembly module"),
        ("magic alone", b"\0asm".to_vec(), "not a WebAssembly module of version 1"),
        ("component", wat("(component)".into()), "of version 1"),
        ("cut", cut, "not a valid WebAssembly module"),
        ("ill-typed", invalid, "not a valid WebAssembly module"),
        ("no filter", wat("(module)".into()), "it exports no proxy_abi_version, not proxy_abi_version_0_2_1"),
        ("other ABI", wat(text("", "env", "proxy_abi_version_0_1_0")), "it exports proxy_abi_version_0_1_0, not"),
        ("ABI as memory", wat(format!("(module (memory (export \"{abi}\") 1))")), "it exports no proxy_abi_version"),
        ("no configuration", wat(text("proxy_on_configure", "env", abi)), "it does not export proxy_on_configure"),
        ("no bodies", wat(text("proxy_on_request_body", "env", abi)), "it does not export proxy_on_request_body"),
        ("altered", altered, "the file was altered after it was built"),
        ("not sealed", unsealed(), "it states no digest"),
        ("without a stamp", unmarked, "it has no stamp"),
        ("no memory", wat(text("malloc", "env", abi)), "neither proxy_on_memory_allocate nor malloc"),
        ("browser", wat(text("", "wbg", abi)), "it imports from \"wbg\""),
        ("too large", [good(), vec![0; 32 * 1024 * 1024]].concat(), "larger than 32 MiB"),
    ];
    for (name, bytes, message) in cases {
        let error = Module::check(bytes).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error.contains(message), "{name}: {error:?}");
    }
    assert_eq!(Module::check(good()).unwrap().blob().bytes(), good());
}

#[test]
fn the_image_is_what_readers_of_files_look_for() {
    let made = package(None);
    let manifest = document(&made, Form::Image);
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["mediaType"], LAYER);
    let compressed = blob(&made, &layers[0]).bytes();
    // RFC 1952: no flags (so no name), no time, an unknown system.
    assert_eq!(&compressed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(compressed).read_to_end(&mut tar).unwrap();
    let config: Value = serde_json::from_slice(blob(&made, &manifest["config"]).bytes()).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"], json!([Blob::new(tar.clone()).digest()]));
    assert_eq!(config.get("created"), None);
    let mut archive = tar::Archive::new(tar.as_slice());
    let entries: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let header = entry.header();
            let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
            (entry.path().unwrap().display().to_string(), owner, header.mode().unwrap(), bytes)
        })
        .collect();
    assert_eq!(entries, [("plugin.wasm".to_owned(), (0, 0, 0), 0o644, good())]);
}

#[test]
fn the_artifact_has_exactly_two_layers() {
    let made = package(None);
    let manifest = document(&made, Form::Artifact);
    assert_eq!(manifest["artifactType"], CONFIG);
    let types: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["mediaType"]).collect();
    assert_eq!(types, [CONFIG, CONTENT]);
    assert_eq!(blob(&made, &manifest["layers"][1]).bytes(), good());
    assert_eq!(blob(&made, &manifest["config"]).bytes(), b"{}");
    // A reader that takes the config for a layer of the same digest would miscount.
    assert_ne!(manifest["config"]["digest"], manifest["layers"][0]["digest"]);
}

#[test]
fn bills_of_materials_refer_to_what_they_are_of() {
    let made = package(None);
    for (form, subject) in [(Form::ImageSbom, Form::Image), (Form::ArtifactSbom, Form::Artifact)] {
        let manifest = document(&made, form);
        assert_eq!(manifest["artifactType"], CYCLONEDX);
        let subject = &made.manifest(subject).unwrap().blob;
        assert_eq!(manifest["subject"]["digest"], subject.digest());
        assert_eq!(manifest["subject"]["size"], subject.bytes().len());
        let text = blob(&made, &manifest["layers"][0]).bytes();
        assert_eq!(text, sbom_text(module().blob().hex(), COMMIT).as_bytes());
    }
}

#[test]
fn annotations_say_what_it_is() {
    let made = package(Some("1763600000"));
    let module = module();
    for form in [Form::Image, Form::Artifact] {
        let annotations = &document(&made, form)["annotations"];
        let expected = [
            ("org.opencontainers.image.version", "9.8.7+x"),
            ("org.opencontainers.image.revision", COMMIT),
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.created", "2025-11-20T00:53:20Z"),
            (POLICY_SCHEMA, "exeat/v1"),
            (MODULE_BUILT, &module.stamp().actual),
            (MODULE_DIGEST, &module.blob().digest()),
        ];
        for (name, value) in expected {
            assert_eq!(annotations[name], value, "{name}");
        }
    }
    assert_eq!(made.tag, "9.8.7_x");
    assert_eq!(document(&package(None), Form::Image)["annotations"].get("org.opencontainers.image.created"), None);
}

#[test]
fn the_schema_that_is_named_is_the_one_that_policies_are_held_to() {
    let text = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/schema/policy.schema.json")).unwrap();
    let annotations = &document(&package(None), Form::Image)["annotations"];
    assert_eq!(annotations[super::about::POLICY_SCHEMA_DIGEST], Blob::new(text).digest());
    let schema: Value = serde_json::from_str(
        &crate::policy::schema(exeat_engine::policy::document::schema::SchemaKind::Policy).unwrap(),
    )
    .unwrap();
    assert!(schema.to_string().contains("exeat/v1"), "the annotation names another schema than the policies do");
}

#[test]
fn facts_that_do_not_fit_the_module_are_refused() {
    let module = module();
    let refused = |text: String| format!("{:#}", checked(text, &module).unwrap_err());
    assert!(refused(sbom_text(&"0".repeat(64), COMMIT)).contains("it is about another module"));
    assert!(refused("{}".into()).contains("not a CycloneDX document"));
    assert!(refused(sbom_text("", "").replace("CycloneDX", "SPDX")).contains("bomFormat is \"SPDX\""));
    let other = refused(sbom_text(module.blob().hex(), &"e".repeat(40)));
    assert!(other.contains("it says version 9.8.7+x of commit eeee"), "{other}");
    assert!(
        refused(sbom_text(module.blob().hex(), COMMIT).replace(VERSION, "1.0.0")).contains("it says version 1.0.0")
    );
    for bad in ["", "-1", "now", "1e9", "99999999999999999"] {
        assert!(source_date(Some(OsStr::new(bad))).is_err(), "{bad:?}");
    }
}

#[test]
fn a_layout_takes_the_place_of_a_layout_and_of_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("made/here");
    let layout = Layout::new(&package(None)).unwrap();
    layout.write_folder(&target).unwrap();
    let stale = target.join("blobs/sha256/stale");
    std::fs::write(&stale, "x").unwrap();
    layout.write_folder(&target).unwrap();
    assert!(!stale.exists());
    let index: Value = serde_json::from_slice(&std::fs::read(target.join("index.json")).unwrap()).unwrap();
    let names: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["9.8.7_x", "9.8.7_x-artifact", "9.8.7_x-sbom", "9.8.7_x-artifact-sbom"]);
    let left: Vec<_> = std::fs::read_dir(folder.path().join("made")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "something was left beside it: {left:?}");

    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    layout.write_folder(&other).unwrap();
    std::fs::write(other.join("notes.txt"), "mine").unwrap();
    assert!(layout.write_folder(&other).unwrap_err().to_string().contains("holds other things"));
    assert!(other.join("notes.txt").exists() && other.join("index.json").exists());
}

#[test]
fn the_same_module_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let archive = |name: &str, created: Option<&str>| {
        let file = folder.path().join(name);
        let seconds = created.map_or(0, |text| text.parse().unwrap());
        Layout::new(&package(created)).unwrap().write_archive(&file, seconds).unwrap();
        std::fs::read(file).unwrap()
    };
    // Annotations are kept in maps whose order differs from map to map.
    let first = archive("first", None);
    for round in 0..20 {
        assert!(first == archive("again", None), "round {round} differs");
    }
    assert!(first != archive("dated", Some("1763600000")));
}

#[test]
fn places_to_push_to() {
    for (text, plain) in [
        ("registry.example/team/exeat:0.1.0", None),
        ("registry.example:5000/exeat:v1", None),
        ("localhost/exeat:v1", Some("")),
        ("localhost:5000/exeat:v1", Some("")),
        ("127.0.0.1:5000/exeat:v1", Some("")),
        ("registry.example:5000/exeat:v1", Some("registry.example:5000")),
    ] {
        let target = Target::parse(text, plain).unwrap();
        assert_eq!(target.tagged("").to_string(), text);
        assert_eq!(target.is_plain(), plain.is_some());
    }
    for (text, plain, message) in [
        ("exeat:0.1.0", None, "write REGISTRY/REPOSITORY:TAG"),
        ("team/exeat:0.1.0", None, "\"team\" is no host"),
        ("registry.example/exeat", None, "the tag is missing"),
        ("registry.example:5000/exeat", None, "the tag is missing"),
        ("oci://registry.example/exeat:1", None, "without a scheme"),
        ("https://registry.example/exeat:1", None, "without a scheme"),
        ("registry.example/exeat:1@sha256:ab", None, "the digest comes out of"),
        ("registry.example/Exeat:1", None, "write REGISTRY/REPOSITORY:TAG"),
        ("registry.example/exeat:a b", None, "write REGISTRY/REPOSITORY:TAG"),
        ("registry.example/exeat:1", Some(""), "registry.example is not on this machine"),
        ("localhost.example:80/exeat:1", Some(""), "is not on this machine"),
        ("128.0.0.1:80/exeat:1", Some(""), "is not on this machine"),
        ("registry.example/exeat:1", Some("registry.example:5000"), "is not on this machine"),
    ] {
        let error = Target::parse(text, plain).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error.contains(message), "{text}: {error:?}");
    }
    let long = format!("registry.example/exeat:{}", "1".repeat(115));
    assert!(Target::parse(&long, None).unwrap_err().to_string().contains("the tag has 115 characters"));
}
