//! `exeat module`: which module a file holds, whether it is as it was built, and the names of functions in its traps.

use crate::terminal::Out;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use exeat_stamp::{Stamp, read};
use serde::Serialize;
use std::collections::HashMap;
use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Bytes that are read of a file at most; modules have about a million.
const MOST: u64 = 64 * 1024 * 1024;

/// Arguments of `exeat module`.
#[derive(Debug, Args)]
pub struct ModuleArgs {
    /// The module, such as exeat.wasm.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON.
    #[arg(long, conflicts_with = "names")]
    json: bool,
    /// Copy a log of Envoy from standard input to standard output, with names in the place of function numbers. The file
    /// of names is the one that was built beside the module.
    #[arg(long, value_name = "NAMES")]
    names: Option<PathBuf>,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report<'a> {
    version: &'a str,
    git: Option<&'a str>,
    /// What the file states, and a genesis names.
    digest: Option<&'a str>,
    /// What the file has.
    computed: &'a str,
    intact: bool,
    /// SHA-256 of the file as it is.
    sha256: &'a str,
    bytes: usize,
}

/// Runs `exeat module`. Fails when the file was altered, or has no digest to tell.
pub fn run(args: &ModuleArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let file = read_whole(&args.file)?;
    let stamp = read(&file).with_context(|| format!("{shown}"))?;
    match &args.names {
        Some(names) => put_names(&stamp, names)?,
        None => print(&stamp, file.len(), args.json)?,
    }
    match &stamp.stated {
        None => bail!(
            "{shown}: the module has no digest: it was not built by `cargo xtask wasm`, so nothing tells what was built"
        ),
        Some(stated) if *stated != stamp.actual => {
            bail!(
                "{shown}: the file was altered after it was built: it states {stated} and has {}; do not load it",
                stamp.actual
            )
        }
        Some(_) => Ok(()),
    }
}

fn read_whole(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(MOST + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len() as u64 <= MOST, "{}: larger than any module ({MOST} bytes)", path.display());
    Ok(bytes)
}

fn print(stamp: &Stamp, bytes: usize, json: bool) -> anyhow::Result<()> {
    let mut out = Out::new();
    if json {
        let report = Report {
            version: &stamp.version,
            git: stamp.git.as_deref(),
            digest: stamp.stated.as_deref(),
            computed: &stamp.actual,
            intact: stamp.is_intact(),
            sha256: stamp.file.strip_prefix("sha256:").unwrap_or(&stamp.file),
            bytes,
        };
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        return Ok(());
    }
    let verdict = match &stamp.stated {
        None => "none: not built by `cargo xtask wasm`",
        Some(_) if stamp.is_intact() => "is what the file has",
        Some(_) => "IS NOT what the file has: it was altered",
    };
    writeln!(out, "version   {}", stamp.version)?;
    writeln!(out, "git       {}", stamp.git.as_deref().unwrap_or("unknown"))?;
    writeln!(out, "digest    {}", stamp.stated.as_deref().unwrap_or("absent"))?;
    writeln!(out, "          {verdict}")?;
    if !stamp.is_intact() {
        writeln!(out, "computed  {}", stamp.actual)?;
    }
    writeln!(out, "file      {}", stamp.file)?;
    writeln!(out, "bytes     {bytes}")?;
    Ok(())
}

/// Envoy writes `unknown(function index:17)` for a function of a module without names.
const NUMBERED: &str = "unknown(function index:";

/// Copies standard input, with names.
fn put_names(stamp: &Stamp, path: &Path) -> anyhow::Result<()> {
    let text = String::from_utf8(read_whole(path)?).with_context(|| format!("{}: not text", path.display()))?;
    let names = names_of(&text, &stamp.actual).with_context(|| format!("{}", path.display()))?;
    let mut out = Out::new();
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line?;
        writeln!(out, "{}", with_names(&String::from_utf8_lossy(&line), &names))?;
    }
    Ok(())
}

/// The first line says of which module they are; each other is a number, a space and a name.
fn names_of<'a>(text: &'a str, digest: &str) -> anyhow::Result<HashMap<&'a str, &'a str>> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let of = first.strip_prefix("exeat-names ").context("not a file of names")?;
    ensure!(of == digest, "names of another module: of {of}, while the module has {digest}");
    Ok(rest.lines().filter_map(|line| line.split_once(' ')).collect())
}

fn with_names(line: &str, names: &HashMap<&str, &str>) -> String {
    let mut parts = line.split(NUMBERED);
    let mut named = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')').and_then(|(number, rest)| Some((names.get(number)?, rest))) {
            Some((name, rest)) => named.extend([name, rest]),
            None => named.extend([NUMBERED, part]),
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_functions_become_names() {
        let text = "exeat-names sha256:aa\n0 proxy_log\n17 exeat_engine::policy::compiled::compile\n";
        let names = names_of(text, "sha256:aa").unwrap();
        let line = "  0:  0x1f - unknown(function index:17) unknown(function index:0) unknown(function index:9)";
        let named = "  0:  0x1f - exeat_engine::policy::compiled::compile proxy_log unknown(function index:9)";
        assert_eq!(with_names(line, &names), named);
        assert_eq!(with_names("unknown(function index:17", &names), "unknown(function index:17");
        assert_eq!(with_names("", &names), "");
    }

    #[test]
    fn names_of_another_module_are_refused() {
        for text in ["exeat-names sha256:bb\n0 a\n", "0 a\n", ""] {
            assert!(names_of(text, "sha256:aa").is_err(), "{text}");
        }
    }
}
