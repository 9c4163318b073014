//! What is linked into a program and is no crate: the C library and the runtime of the C compiler, which come from the machine that
//! links it, and SQLite, which a crate brings along.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::STD;
use crate::process::probe;
use crate::workspace::Workspace;

/// The crate that brings SQLite.
const SQLITE: &str = "libsqlite3-sys";

/// A component of that kind.
pub(super) struct Native {
    /// The crate that it is linked for, or the standard library.
    pub(super) user: &'static str,
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) license: &'static str,
    /// Name and value.
    pub(super) properties: Vec<(&'static str, String)>,
}

impl Native {
    /// Its reference, which is its purl: nobody packages it.
    pub(super) fn reference(&self) -> String {
        format!("pkg:generic/{}@{}", self.name, self.version)
    }

    pub(super) fn component(&self) -> Value {
        let properties: Vec<Value> =
            self.properties.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({
            "type": "library", "bom-ref": self.reference(), "name": self.name, "version": self.version, "scope": "required",
            "licenses": [{"expression": self.license}], "purl": self.reference(), "properties": properties,
        })
    }
}

/// All of a program.
pub(super) fn of(workspace: &Workspace, target: &str, program: &[u8]) -> Result<Vec<Native>> {
    let mut found = vec![sqlite(workspace)?];
    // With musl the toolchain brings the C library as a part of the standard library.
    if target.ends_with("-gnu") {
        found.extend(gnu(program)?);
    }
    Ok(found)
}

fn sqlite(workspace: &Workspace) -> Result<Native> {
    let mut cargo = workspace.cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked", "--quiet"]);
    let metadata = probe(&mut cargo).context("cargo metadata does not say where crates are")?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let mut packages = metadata.get("packages").and_then(Value::as_array).into_iter().flatten();
    let manifest = packages.find(|own| text(own, "name") == Some(SQLITE)).and_then(|own| text(own, "manifest_path"));
    let folder = manifest.map(Path::new).and_then(Path::parent).with_context(|| format!("{SQLITE} is nowhere"))?;
    let header = folder.join("sqlite3/sqlite3.h");
    let text = std::fs::read_to_string(&header).with_context(|| format!("cannot read {}", header.display()))?;
    let version = sqlite_version(&text).with_context(|| format!("{} states no version", header.display()))?;
    // The licence as SPDX names it.
    Ok(Native { user: SQLITE, name: "sqlite", version, license: "blessing", properties: Vec::new() })
}

/// A member of a package that cargo describes.
fn text<'v>(package: &'v Value, member: &str) -> Option<&'v str> {
    package.get(member).and_then(Value::as_str)
}

fn sqlite_version(header: &str) -> Option<String> {
    let value = header.lines().find_map(|line| line.strip_prefix("#define SQLITE_VERSION "))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// The GNU C library and the runtime of GCC, as the program itself states them: what is installed now says less.
fn gnu(program: &[u8]) -> Result<Vec<Native>> {
    let banner = texts(program, b"GNU C Library (").into_iter().next();
    let banner = banner.context("the program does not say which GNU C library is linked into it")?;
    let version = banner.trim_end().trim_end_matches('.').rsplit(' ').next().unwrap_or_default().to_owned();
    let compilers = texts(program, b"GCC: (");
    ensure!(!compilers.is_empty(), "the program does not say which GCC is linked into it");
    let properties = vec![("exeat:c-library", banner)];
    let library = Native { user: STD, name: "glibc", version, license: "LGPL-2.1-or-later", properties };
    let runtimes = compilers.into_iter().map(|compiler| Native {
        user: STD,
        name: "libgcc",
        version: compiler.rsplit(' ').next().unwrap_or_default().to_owned(),
        license: "GPL-3.0-or-later WITH GCC-exception-3.1",
        properties: vec![("exeat:c-compiler", compiler)],
    });
    Ok(std::iter::once(library).chain(runtimes).collect())
}

/// Lines of text in a program that begin so, each once: `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`, and in the
/// section for comments `GCC: (Debian 12.2.0-14) 12.2.0`.
fn texts(program: &[u8], begin: &[u8]) -> BTreeSet<String> {
    let starts = program.windows(begin.len()).enumerate().filter(|(_, window)| *window == begin);
    let lines = starts.filter_map(|(at, _)| program.get(at..)?.split(|byte| matches!(byte, 0 | b'\n')).next());
    lines.filter_map(|line| std::str::from_utf8(line).ok()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_sources_and_programs_state_them() {
        let header = "/* x */\n#define SQLITE_VERSION_NUMBER 3054001\n#define SQLITE_VERSION        \"3.54.1\"\n";
        assert_eq!(sqlite_version(header).as_deref(), Some("3.54.1"));
        assert_eq!(sqlite_version("#define SQLITE_VERSION_NUMBER 1\n"), None);
        let banner = "GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.";
        let program =
            format!("\x7fELF\0{banner}\nCopyright\0GCC: (Debian 12.2.0-14) 12.2.0\0GCC: (Debian 12.2.0-14) 12.2.0\0x");
        let found = gnu(program.as_bytes()).unwrap();
        let references: Vec<_> = found.iter().map(Native::reference).collect();
        assert_eq!(references, ["pkg:generic/glibc@2.36", "pkg:generic/libgcc@12.2.0"]);
        assert_eq!(found[0].properties, [("exeat:c-library", banner.to_owned())]);
        for silent in ["", banner, "GCC: (Debian 12.2.0-14) 12.2.0"] {
            assert!(gnu(silent.as_bytes()).is_err(), "{silent:?}");
        }
    }
}
