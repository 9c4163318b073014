//! Bills of materials: a CycloneDX document of what is linked into the module, target/exeat.cdx.json, or into the command line of
//! the image, beside the program. Nothing in them depends on time or machine but what was linked.

mod native;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::process::{probe, say};
use crate::toolchain::{TARGET, WasmToolchain};
use crate::wasm::hex;
use crate::workspace::Workspace;
use native::Native;
use tree::{Crate, Facts};

/// What a document is about.
struct Subject<'a> {
    /// Its name, and the reference of it.
    name: &'a str,
    description: &'a str,
    /// The crate that it is made of.
    package: &'a str,
    target: &'a str,
    /// The command that makes it.
    made_by: &'a str,
    digest: String,
    revision: &'a str,
    compiler: &'a str,
    /// What is in it besides crates.
    natives: Vec<Native>,
}

/// Writes the bill of materials of a module, beside it.
pub(crate) fn of_module(workspace: &Workspace, toolchain: &WasmToolchain, module: &Path) -> Result<PathBuf> {
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let compiler = toolchain.compiler(workspace).context("the compiler does not say its version")?;
    let stamp = exeat_stamp::read(&bytes).with_context(|| format!("{}", module.display()))?;
    let subject = Subject {
        name: "exeat.wasm",
        description: "Exeat, a proxy-wasm egress filter for AI agents",
        package: "exeat-filter",
        target: TARGET,
        made_by: "cargo xtask wasm",
        digest: hex(&Sha256::digest(&bytes)),
        revision: stamp.git.as_deref().unwrap_or(exeat_stamp::UNKNOWN),
        compiler: &compiler,
        natives: Vec::new(),
    };
    write(workspace, &subject, module)
}

/// Writes that of the command line as its image has it, linked for `target`, beside it.
pub(crate) fn of_program(workspace: &Workspace, target: &str, revision: &str, program: &Path) -> Result<PathBuf> {
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let compiler = probe(workspace.command("rustc").arg("--version")).context("rustc does not say its version")?;
    let subject = Subject {
        name: "exeat",
        description: "Command line of Exeat, an egress filter for AI agents",
        package: "exeat",
        target,
        made_by: "cargo xtask image",
        digest: hex(&Sha256::digest(&bytes)),
        revision,
        compiler: &compiler,
        natives: native::of(workspace, target, &bytes)?,
    };
    write(workspace, &subject, program)
}

fn write(workspace: &Workspace, subject: &Subject<'_>, made: &Path) -> Result<PathBuf> {
    let lock = std::fs::read_to_string(workspace.root().join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let crates = tree::of(workspace, subject.package, subject.target)?;
    let document = document(&crates, &tree::checksums(&lock), subject)?;
    let file = made.with_extension("cdx.json");
    std::fs::write(&file, document).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("{} lists what is in it", file.strip_prefix(workspace.root()).unwrap_or(&file).display()));
    Ok(file)
}

/// The reference of the standard library.
const STD: &str = "rust-std";

fn document(
    crates: &BTreeMap<Crate, Facts>,
    checksums: &BTreeMap<Crate, String>,
    subject: &Subject<'_>,
) -> Result<String> {
    let (root, facts) =
        crates.iter().find(|(known, _)| known.name == subject.package).context("a crate is not in its own tree")?;
    let mut components: Vec<Value> =
        crates.iter().map(|(own, facts)| library(own, facts, checksums.get(own))).collect();
    components.push(json!({
        "type": "library", "bom-ref": STD, "name": STD, "version": release(subject.compiler)?, "scope": "required",
        "description": "The standard library of the compiler, with the crates that it is made of",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "purl": format!("pkg:generic/{STD}@{}", release(subject.compiler)?),
        "properties": [{"name": "exeat:compiler", "value": subject.compiler}],
    }));
    components.extend(subject.natives.iter().map(Native::component));
    // Whoever is used by the crate of that name, or by the standard library.
    let natives = |user: &str| {
        let used = subject.natives.iter().filter(|native| native.user == user);
        used.map(Native::reference).collect::<Vec<_>>()
    };
    let mut dependencies =
        vec![json!({"ref": subject.name, "dependsOn": [root.purl()]}), json!({"ref": STD, "dependsOn": natives(STD)})];
    dependencies.extend(crates.iter().map(|(own, facts)| {
        let uses = facts.uses.iter().map(Crate::purl).chain(natives(&own.name));
        let std = (own == root).then(|| STD.to_owned());
        json!({"ref": own.purl(), "dependsOn": uses.chain(std).collect::<Vec<_>>()})
    }));
    dependencies.extend(subject.natives.iter().map(|native| json!({"ref": native.reference()})));
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": subject.made_by, "version": root.version}]},
            "component": {
                "type": "application", "bom-ref": subject.name, "name": subject.name, "version": root.version,
                "description": subject.description,
                "hashes": [{"alg": "SHA-256", "content": subject.digest}],
                "licenses": [{"expression": facts.license}],
                "externalReferences": [{"type": "vcs", "url": facts.repository}],
                "properties": [
                    {"name": "exeat:revision", "value": subject.revision},
                    {"name": "exeat:target", "value": subject.target},
                ],
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    let serial = serial(document.to_string().as_bytes());
    if let Some(object) = document.as_object_mut() {
        object.insert("serialNumber".to_owned(), Value::from(serial));
    }
    Ok(format!("{}\n", serde_json::to_string_pretty(&document)?))
}

fn library(own: &Crate, facts: &Facts, checksum: Option<&String>) -> Value {
    let mut component = json!({
        "type": "library", "bom-ref": own.purl(), "name": own.name, "version": own.version, "scope": "required",
        "licenses": [{"expression": facts.license}], "purl": own.purl(),
    });
    let checksum = checksum.map(|sum| json!([{"alg": "SHA-256", "content": sum}]));
    let vcs = (!facts.repository.is_empty()).then(|| json!([{"type": "vcs", "url": facts.repository}]));
    if let Some(object) = component.as_object_mut() {
        object.extend(checksum.map(|sum| ("hashes".to_owned(), sum)));
        object.extend(vcs.map(|vcs| ("externalReferences".to_owned(), vcs)));
    }
    component
}

/// `1.96.0` of `rustc 1.96.0 (...)`.
fn release(compiler: &str) -> Result<&str> {
    compiler.split(' ').nth(1).with_context(|| format!("{compiler:?} is no compiler's version"))
}

/// A UUID of version 8 (RFC 9562) out of what the document says: another content, another number, and only then.
fn serial(content: &[u8]) -> String {
    let mut bytes = Sha256::digest(content);
    if let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes[..] {
        *version = *version & 0x0f | 0x80;
        *variant = *variant & 0x3f | 0x80;
    }
    let digits = hex(&bytes);
    let lengths = [8_usize, 4, 4, 4, 12];
    let mut rest = digits.as_str();
    let groups: Vec<&str> = lengths
        .iter()
        .map(|length| {
            let (group, after) = rest.split_at_checked(*length).unwrap_or((rest, ""));
            rest = after;
            group
        })
        .collect();
    format!("urn:uuid:{}", groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0|exeat-filter v0.1.0 (/somewhere/filter)|Apache-2.0|https://example.com/exeat|\n\
                        1|exeat-engine v0.1.0 (/somewhere/engine)|Apache-2.0||\n\
                        2|sfv v0.16.0|MIT/Apache-2.0|https://example.com/sfv|\n\
                        1|sfv v0.16.0|MIT/Apache-2.0|https://example.com/sfv| (*)\n";
    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"exeat-filter\"\nversion = \"0.1.0\"\n\n\
                        [[package]]\nname = \"sfv\"\nversion = \"0.16.0\"\nsource = \"registry+x\"\nchecksum = \"ab12\"\n";

    fn of(natives: Vec<Native>, digest: &str) -> Value {
        let subject = Subject {
            name: "exeat.wasm",
            description: "a filter",
            package: "exeat-filter",
            target: TARGET,
            made_by: "cargo xtask wasm",
            digest: digest.to_owned(),
            revision: "c0ffee",
            compiler: "rustc 1.96.0 (ac68faa20 2026-05-25)",
            natives,
        };
        let crates = tree::parse(TREE, "exeat-filter").unwrap();
        let text = document(&crates, &tree::checksums(LOCK), &subject).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn names(document: &Value) -> Vec<&Value> {
        document["components"].as_array().unwrap().iter().map(|one| &one["name"]).collect()
    }

    fn uses(document: &Value, of: &str) -> Value {
        let all = document["dependencies"].as_array().unwrap();
        all.iter().find(|one| one["ref"] == of).unwrap()["dependsOn"].clone()
    }

    #[test]
    fn crates_and_who_uses_them() {
        let made = of(Vec::new(), "00");
        assert_eq!(names(&made), ["exeat-engine", "exeat-filter", "sfv", "rust-std"]);
        let sfv = &made["components"][2];
        assert_eq!(sfv["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(sfv["hashes"][0]["content"], "ab12");
        assert_eq!(uses(&made, "exeat.wasm"), json!(["pkg:cargo/exeat-filter@0.1.0"]));
        let of_filter = json!(["pkg:cargo/exeat-engine@0.1.0", "pkg:cargo/sfv@0.16.0", "rust-std"]);
        assert_eq!(uses(&made, "pkg:cargo/exeat-filter@0.1.0"), of_filter);
        assert_eq!(uses(&made, "pkg:cargo/exeat-engine@0.1.0"), json!(["pkg:cargo/sfv@0.16.0"]));
    }

    #[test]
    fn what_is_no_crate_is_used_by_who_brings_it() {
        let native =
            |user, name| Native { user, name, version: "1.2".to_owned(), license: "MIT", properties: Vec::new() };
        let made = of(vec![native(STD, "glibc"), native("sfv", "sqlite")], "00");
        assert_eq!(names(&made), ["exeat-engine", "exeat-filter", "sfv", "rust-std", "glibc", "sqlite"]);
        assert_eq!(uses(&made, STD), json!(["pkg:generic/glibc@1.2"]));
        assert_eq!(uses(&made, "pkg:cargo/sfv@0.16.0"), json!(["pkg:generic/sqlite@1.2"]));
        assert_eq!(uses(&made, "pkg:cargo/exeat-engine@0.1.0"), json!(["pkg:cargo/sfv@0.16.0"]));
        // Another content is another document.
        assert_ne!(made["serialNumber"], of(vec![native(STD, "glibc")], "00")["serialNumber"]);
    }

    #[test]
    fn the_serial_number_is_that_of_the_content() {
        let first = of(Vec::new(), "00")["serialNumber"].clone();
        assert_eq!(first, of(Vec::new(), "00")["serialNumber"]);
        assert_ne!(first, of(Vec::new(), "01")["serialNumber"]);
        let text = first.as_str().unwrap();
        assert_eq!(text.len(), "urn:uuid:01234567-0123-8123-8123-0123456789ab".len());
        assert_eq!(text.as_bytes()["urn:uuid:01234567-0123-".len()], b'8');
    }
}
