//! The bill of materials of the module, target/exeat.cdx.json: a CycloneDX document of the crates that are linked into it.
//!
//! Which these are cargo says, for the target and the features of the filter alone: what tools, tests and procedural macros
//! need is in the workspace and not in the module. Nothing in it depends on time or machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::process::{probe, say};
use crate::toolchain::{TARGET, WasmToolchain};
use crate::wasm::hex;
use crate::workspace::Workspace;

const PACKAGE: &str = "exeat-filter";

/// Writes the bill of materials of a module, beside it.
pub(crate) fn write(workspace: &Workspace, toolchain: &WasmToolchain, module: &Path) -> Result<PathBuf> {
    let listed = tree(workspace)?;
    let lock = std::fs::read_to_string(workspace.root().join("Cargo.lock")).context("Cargo.lock cannot be read")?;
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let compiler = toolchain.compiler(workspace).context("the compiler does not say its version")?;
    let stamp = exeat_stamp::read(&bytes).with_context(|| format!("{}", module.display()))?;
    let revision = stamp.git.as_deref().unwrap_or(exeat_stamp::UNKNOWN);
    let subject = Subject { digest: hex(&Sha256::digest(&bytes)), revision, compiler: &compiler };
    let document = document(&parse(&listed)?, &checksums(&lock), &subject)?;
    let file = module.with_extension("cdx.json");
    std::fs::write(&file, document).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("wasm: {} lists what is in it", file.strip_prefix(workspace.root()).unwrap_or(&file).display()));
    Ok(file)
}

fn tree(workspace: &Workspace) -> Result<String> {
    let mut cargo = workspace.cargo();
    cargo.args(["tree", "--quiet", "--locked", "--package", PACKAGE, "--target", TARGET]);
    cargo.args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "|{p}|{l}|{r}|"]);
    probe(&mut cargo).context("cargo tree does not say what the module is made of")
}

/// A crate as cargo names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
}

impl Crate {
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }
}

#[derive(Debug, Default)]
struct Facts {
    license: String,
    repository: String,
    uses: BTreeSet<Crate>,
}

/// The first line is the filter itself; a line one deeper than another is what that one uses.
fn parse(tree: &str) -> Result<BTreeMap<Crate, Facts>> {
    let mut crates: BTreeMap<Crate, Facts> = BTreeMap::new();
    let mut above: Vec<Crate> = Vec::new();
    for line in tree.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let &[depth, package, license, repository, _] = fields.as_slice() else {
            bail!("cargo tree printed {line:?}");
        };
        let depth: usize = depth.parse().with_context(|| format!("cargo tree printed {line:?}"))?;
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let version = version.strip_prefix('v').with_context(|| format!("cargo tree printed {line:?}"))?;
        let own = Crate { name: name.to_owned(), version: version.to_owned() };
        above.truncate(depth);
        ensure!(above.len() == depth, "cargo tree left out a level before {line:?}");
        if let Some(user) = above.last().and_then(|user| crates.get_mut(user)) {
            user.uses.insert(own.clone());
        }
        let facts = crates.entry(own.clone()).or_default();
        // What manifests wrote before there were expressions.
        facts.license = license.replace('/', " OR ");
        facts.repository = repository.to_owned();
        ensure!(!license.is_empty(), "{name} {version} names no licence, and goes into the module");
        above.push(own);
    }
    ensure!(above.first().is_some_and(|first| first.name == PACKAGE), "cargo tree does not begin with {PACKAGE}");
    Ok(crates)
}

/// SHA-256 of the packages that registries have.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    let packages = lock.split("[[package]]").skip(1);
    let known = packages.filter_map(|block| {
        let own = Crate { name: value(block, "name")?, version: value(block, "version")? };
        Some((own, value(block, "checksum")?))
    });
    known.collect()
}

/// What the document is about.
struct Subject<'a> {
    digest: String,
    revision: &'a str,
    compiler: &'a str,
}

/// The reference of the module itself.
const MODULE: &str = "exeat.wasm";

/// That of the standard library.
const STD: &str = "rust-std";

fn document(
    crates: &BTreeMap<Crate, Facts>,
    checksums: &BTreeMap<Crate, String>,
    subject: &Subject<'_>,
) -> Result<String> {
    let filter = crates.keys().find(|known| known.name == PACKAGE).context("the filter is not in its own tree")?;
    let facts = crates.get(filter).context("the filter is not in its own tree")?;
    let mut components: Vec<Value> = crates
        .iter()
        .map(|(own, facts)| {
            let mut component = json!({
                "type": "library", "bom-ref": own.purl(), "name": own.name, "version": own.version, "scope": "required",
                "licenses": [{"expression": facts.license}], "purl": own.purl(),
            });
            let checksum = checksums.get(own).map(|sum| json!([{"alg": "SHA-256", "content": sum}]));
            let vcs = (!facts.repository.is_empty()).then(|| json!([{"type": "vcs", "url": facts.repository}]));
            if let Some(object) = component.as_object_mut() {
                object.extend(checksum.map(|sum| ("hashes".to_owned(), sum)));
                object.extend(vcs.map(|vcs| ("externalReferences".to_owned(), vcs)));
            }
            component
        })
        .collect();
    components.push(json!({
        "type": "library", "bom-ref": STD, "name": STD, "version": release(subject.compiler)?, "scope": "required",
        "description": "The standard library of the compiler, with the crates that it is made of",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "purl": format!("pkg:generic/{STD}@{}", release(subject.compiler)?),
        "properties": [{"name": "exeat:compiler", "value": subject.compiler}],
    }));
    let mut dependencies = vec![json!({"ref": MODULE, "dependsOn": [filter.purl()]}), json!({"ref": STD})];
    dependencies.extend(crates.iter().map(|(own, facts)| {
        let uses = facts.uses.iter().map(Crate::purl);
        let std = (own == filter).then(|| STD.to_owned());
        json!({"ref": own.purl(), "dependsOn": uses.chain(std).collect::<Vec<_>>()})
    }));
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "cargo xtask wasm", "version": filter.version}]},
            "component": {
                "type": "application", "bom-ref": MODULE, "name": MODULE, "version": filter.version,
                "description": "Exeat, a proxy-wasm egress filter for AI agents",
                "hashes": [{"alg": "SHA-256", "content": subject.digest}],
                "licenses": [{"expression": facts.license}],
                "externalReferences": [{"type": "vcs", "url": facts.repository}],
                "properties": [
                    {"name": "exeat:revision", "value": subject.revision}, {"name": "exeat:target", "value": TARGET},
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

    fn of(tree: &str, digest: &str) -> Value {
        let subject =
            Subject { digest: digest.to_owned(), revision: "c0ffee", compiler: "rustc 1.96.0 (ac68faa20 2026-05-25)" };
        let text = document(&parse(tree).unwrap(), &checksums(LOCK), &subject).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn crates_and_who_uses_them() {
        let made = of(TREE, "00");
        let names: Vec<_> = made["components"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["exeat-engine", "exeat-filter", "sfv", "rust-std"]);
        let sfv = &made["components"][2];
        assert_eq!(sfv["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(sfv["hashes"][0]["content"], "ab12");
        let uses = |of: &str| {
            let all = made["dependencies"].as_array().unwrap();
            all.iter().find(|one| one["ref"] == of).unwrap()["dependsOn"].clone()
        };
        assert_eq!(uses("exeat.wasm"), json!(["pkg:cargo/exeat-filter@0.1.0"]));
        let of_filter = json!(["pkg:cargo/exeat-engine@0.1.0", "pkg:cargo/sfv@0.16.0", "rust-std"]);
        assert_eq!(uses("pkg:cargo/exeat-filter@0.1.0"), of_filter);
        assert_eq!(uses("pkg:cargo/exeat-engine@0.1.0"), json!(["pkg:cargo/sfv@0.16.0"]));
    }

    #[test]
    fn the_serial_number_is_that_of_the_content() {
        let first = of(TREE, "00")["serialNumber"].clone();
        assert_eq!(first, of(TREE, "00")["serialNumber"]);
        assert_ne!(first, of(TREE, "01")["serialNumber"]);
        let text = first.as_str().unwrap();
        assert_eq!(text.len(), "urn:uuid:01234567-0123-8123-8123-0123456789ab".len());
        assert_eq!(text.as_bytes()["urn:uuid:01234567-0123-".len()], b'8');
    }

    #[test]
    fn what_cannot_be_read_or_has_no_licence_is_refused() {
        for tree in
            ["", "1|a v1|MIT||", "0|exeat-filter v0.1.0|||", "0|exeat-filter 0.1.0|MIT||", "0|other v1.0.0|MIT||", "x"]
        {
            assert!(parse(tree).is_err(), "{tree:?}");
        }
    }
}
