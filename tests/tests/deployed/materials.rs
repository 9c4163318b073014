//! The bill of materials of the command line: a valid CycloneDX document of what is linked into the program of the image.

use super::image::Image;
use exeat_e2e::stage::cyclonedx;
use exeat_e2e::workspace;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::process::Command;

/// What is linked in besides crates.
const NATIVE: [&str; 3] = ["sqlite", "glibc", "libgcc"];

fn sbom() -> Value {
    serde_json::from_slice(&Image::built().sbom()).unwrap()
}

/// Crates, by name and version.
fn crates(document: &Value) -> BTreeSet<(String, String)> {
    let all = cyclonedx::components(document).into_keys();
    all.filter(|(name, _)| name != "rust-std" && !NATIVE.contains(&name.as_str())).collect()
}

#[test]
fn it_is_valid_and_of_this_program() {
    let document = sbom();
    let errors = cyclonedx::errors(&document).unwrap();
    assert!(errors.is_empty(), "{errors:#?}");
    let component = &document["metadata"]["component"];
    let digest: String = Sha256::digest(Image::built().program()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(component["hashes"][0]["content"], digest);
    assert_eq!((&component["name"], &component["version"]), (&"exeat".into(), &env!("CARGO_PKG_VERSION").into()));
    let (reached, listed) = cyclonedx::reached_and_listed(&document);
    assert_eq!(reached, listed, "something is listed and used by nobody, or the other way round");
    for ((name, _), one) in cyclonedx::components(&document) {
        assert!(!one["licenses"][0]["expression"].as_str().unwrap().is_empty(), "{name}");
        let from_registry = !name.starts_with("exeat") && name != "rust-std" && !NATIVE.contains(&name.as_str());
        assert_eq!(one["hashes"][0]["content"].as_str().map(str::len), from_registry.then_some(64), "{name}");
    }
}

/// Asked once more, in another form: each crate for this target is there, and no other.
#[test]
fn it_has_the_crates_that_cargo_links_and_no_other() {
    let document = sbom();
    let properties = document["metadata"]["component"]["properties"].as_array().unwrap();
    let target = properties.iter().find(|property| property["name"] == "exeat:target").unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).args(["tree", "--locked", "--package", "exeat", "--no-dedupe", "--prefix", "none"]);
    cargo.args(["--edges", "normal,no-proc-macro", "--target", target["value"].as_str().unwrap()]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let expected: BTreeSet<(String, String)> = text
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            (name.to_owned(), version.strip_prefix('v').unwrap().to_owned())
        })
        .collect();
    assert_eq!(crates(&document), expected);
    let names: BTreeSet<_> = expected.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["exeat", "exeat-engine", "exeat-signer", "tokio", "rustls", "ring", "libsqlite3-sys", "landlock"] {
        assert!(names.contains(name), "{name} is missing");
    }
    // In the workspace, but not in the program: tests, macros that ran while it was built, what other systems need.
    for name in ["wasmtime", "proptest", "proxy-wasm", "serde_derive", "syn", "cc", "windows-sys", "exeat-e2e"] {
        assert!(!names.contains(name), "{name} is not in the program");
    }
}

/// The program itself says what is linked into it: files in which it can panic, and what compilers and libraries of C leave.
#[test]
fn what_the_program_itself_names_is_listed() {
    let (document, program) = (sbom(), Image::built().program());
    let listed: BTreeSet<String> =
        crates(&document).iter().map(|(name, version)| format!("{name}-{version}")).collect();
    let named = cyclonedx::packages_named_in(&program);
    let missing: Vec<_> = named.difference(&listed).collect();
    assert!(missing.is_empty(), "in the program and not in its bill of materials: {missing:?}");
    assert!(named.len() >= 30, "the program names only {named:?}");
    let has = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    let version = |wanted: &str| {
        let found = cyclonedx::components(&document).into_keys().find(|(name, _)| name == wanted);
        found.map(|(_, version)| version).unwrap_or_default()
    };
    assert!(
        !version("sqlite").is_empty() && has(&version("sqlite")),
        "the program has another SQLite than {}",
        version("sqlite")
    );
    if cfg!(target_env = "gnu") {
        let (library, runtime) = (version("glibc"), version("libgcc"));
        assert!(!library.is_empty() && has(&format!(" stable release version {library}.")), "glibc {library:?}");
        assert!(!runtime.is_empty() && has(&format!(") {runtime}\0")), "libgcc {runtime:?}");
    }
}
