//! The crates that are linked into a program, as cargo tells them for one target and its features alone: what tools, tests and
//! procedural macros need is in the workspace and not in the program.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

use crate::process::probe;
use crate::workspace::Workspace;

/// Asks cargo what a package is made of.
pub(super) fn of(workspace: &Workspace, package: &str, target: &str) -> Result<BTreeMap<Crate, Facts>> {
    let mut cargo = workspace.cargo();
    cargo.args(["tree", "--quiet", "--locked", "--package", package, "--target", target]);
    cargo.args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "|{p}|{l}|{r}|"]);
    let listed = probe(&mut cargo).with_context(|| format!("cargo tree does not say what {package} is made of"))?;
    parse(&listed, package)
}

/// A crate as cargo names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
}

impl Crate {
    pub(super) fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }
}

/// What is known of one.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) license: String,
    pub(super) repository: String,
    pub(super) uses: BTreeSet<Crate>,
}

/// The first line is the package itself; a line one deeper than another is what that one uses.
pub(super) fn parse(tree: &str, package: &str) -> Result<BTreeMap<Crate, Facts>> {
    let mut crates: BTreeMap<Crate, Facts> = BTreeMap::new();
    let mut above: Vec<Crate> = Vec::new();
    for line in tree.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let &[depth, own, license, repository, _] = fields.as_slice() else {
            bail!("cargo tree printed {line:?}");
        };
        let depth: usize = depth.parse().with_context(|| format!("cargo tree printed {line:?}"))?;
        let mut words = own.split(' ');
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
        facts.license = license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ");
        facts.repository = repository.to_owned();
        ensure!(!license.is_empty(), "{name} {version} names no licence, and goes into {package}");
        above.push(own);
    }
    ensure!(above.first().is_some_and(|first| first.name == package), "cargo tree does not begin with {package}");
    Ok(crates)
}

/// SHA-256 of the packages that registries have.
pub(super) fn checksums(lock: &str) -> BTreeMap<Crate, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_or_has_no_licence_is_refused() {
        for tree in
            ["", "1|a v1|MIT||", "0|exeat-filter v0.1.0|||", "0|exeat-filter 0.1.0|MIT||", "0|other v1.0.0|MIT||", "x"]
        {
            assert!(parse(tree, "exeat-filter").is_err(), "{tree:?}");
        }
        assert!(parse("0|exeat-filter v0.1.0|MIT||", "exeat-filter").is_ok());
    }

    #[test]
    fn licences_of_old_manifests_become_expressions() {
        for (written, expression) in
            [("Apache-2.0 / MIT", "Apache-2.0 OR MIT"), ("MIT/Apache-2.0", "MIT OR Apache-2.0"), ("A AND B", "A AND B")]
        {
            let crates = parse(&format!("0|a v1.0.0|{written}||"), "a").unwrap();
            assert_eq!(crates.values().next().unwrap().license, expression);
        }
    }
}
