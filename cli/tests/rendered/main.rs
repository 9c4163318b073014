//! The files of envoy/ are what the commands in its README print now.
//!
//! The README is the table: each command in it is run as it stands, from the root of the repository, but for `-o`. That names
//! the file that the command prints, or the folder that it fills.
//! `EXEAT_BLESS=1 cargo test -p exeat --test rendered` writes them anew; look at the difference before it is committed.

#![cfg(test)]

mod applied;
mod envoy_gateway;
mod istio;
mod kubernetes;
mod large;
mod network;
mod pages;
mod pods;
mod units;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What stands in the folder and is made by nobody but people.
const WRITTEN: [&str; 2] = ["README.md", "gateway.yaml"];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Words of each command of the README, with where its output goes.
fn commands() -> Vec<(Vec<String>, String)> {
    let text = std::fs::read_to_string(root().join("envoy/README.md")).unwrap();
    let (mut commands, mut open) = (Vec::new(), String::new());
    for line in text.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            assert!(open.is_empty(), "a command ends in a backslash: {open}");
            continue;
        };
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        open.push_str(part);
        if !more {
            let words: Vec<_> = std::mem::take(&mut open).split_whitespace().map(str::to_owned).collect();
            if words.first().is_some_and(|word| word == "exeat") {
                let at = words.iter().position(|word| word == "-o").unwrap_or_else(|| panic!("no -o: {words:?}"));
                commands.push((words[1..at].to_vec(), words[at + 1].clone()));
                assert_eq!(at + 2, words.len(), "-o stands last: {words:?}");
            }
        }
    }
    commands
}

/// Text of a file, or of all files in a folder, by their paths.
fn texts(at: &Path) -> BTreeMap<PathBuf, String> {
    if !at.is_dir() {
        return std::fs::read_to_string(at).map(|text| (PathBuf::new(), text)).into_iter().collect();
    }
    let entries = std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| {
        let name = PathBuf::from(path.file_name().unwrap());
        texts(&path).into_iter().map(move |(below, text)| match below.as_os_str().is_empty() {
            true => (name.clone(), text),
            false => (name.join(below), text),
        })
    };
    entries.flat_map(of).collect()
}

#[test]
fn every_file_is_what_its_command_prints() {
    let (bless, scratch, mut stale) =
        (std::env::var_os("EXEAT_BLESS").is_some(), tempfile::tempdir().unwrap(), Vec::new());
    for (words, output) in commands() {
        let (fresh, committed) = (scratch.path().join(&output), root().join(&output));
        std::fs::create_dir_all(fresh.parent().unwrap()).unwrap();
        let target = if bless { &committed } else { &fresh };
        let mut command = Command::new(env!("CARGO_BIN_EXE_exeat"));
        let said = command.args(&words).arg("-o").arg(target).current_dir(root()).output().unwrap();
        assert!(said.status.success(), "exeat {}: {}", words.join(" "), String::from_utf8_lossy(&said.stderr));
        let (fresh, committed) = (texts(target), texts(&committed));
        assert!(!fresh.is_empty(), "exeat {} wrote nothing", words.join(" "));
        if fresh != committed {
            stale.push(output);
        }
    }
    assert!(stale.is_empty(), "stale, write them anew with EXEAT_BLESS=1: {}", stale.join(", "));
}

#[test]
fn no_file_is_there_that_no_command_makes() {
    let made: Vec<_> = commands().into_iter().map(|(_, output)| output).collect();
    for entry in std::fs::read_dir(root().join("envoy")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = WRITTEN.contains(&name.as_str()) || made.contains(&format!("envoy/{name}"));
        assert!(known, "envoy/{name}: no command of envoy/README.md makes it");
    }
    assert!(made.contains(&"envoy/envoy.yaml".to_owned()), "{made:?}");
}
