//! The files of a policy folder, always in the same order.

use super::diagnostic::{Diagnostic, Location};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Endings of policy files.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Every `*.yaml`, `*.yml` and `*.json` below a folder, sorted by path.
///
/// Names that start with a dot are left out: editors and the mounts of Kubernetes put copies there. Symbolic links are
/// followed, a folder is read once however many lead to it.
///
/// # Errors
/// What cannot be read, what only looks like a policy file, and a folder without a single policy file.
pub fn policy_files(folder: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let mut files = Vec::new();
    collect(folder, &mut BTreeSet::new(), &mut files)?;
    files.sort();
    if files.is_empty() {
        let message = "no policy files here; put *.yaml, *.yml or *.json into the folder";
        return Err(Diagnostic::new(Location::file(folder), "", message));
    }
    Ok(files)
}

fn collect(folder: &Path, seen: &mut BTreeSet<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), Diagnostic> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Diagnostic::new(
            Location::file(path),
            "",
            format!("cannot be read: {error}; name a folder below which every *.yaml and *.json file can be read"),
        )
    };
    let real = folder.canonicalize().map_err(|error| unreadable(folder, error))?;
    if !seen.insert(real) {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    // Sorted before descending, so that of two links to one folder always the same is read.
    paths.sort();
    for path in paths {
        let metadata = std::fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
        let ending = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default();
        let like = ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
        // What is passed over could have been a deny.
        match (metadata.is_dir(), metadata.is_file(), ENDINGS.contains(&ending)) {
            (true, _, _) => collect(&path, seen, files)?,
            (_, true, true) => files.push(path),
            (_, true, false) if like => {
                let message = "it would not be read: let its name end in .yaml, .yml or .json, in lower case; or name it otherwise";
                return Err(Diagnostic::new(Location::file(&path), "", message));
            }
            (_, false, true) => {
                let message = "it is no file; put one in its place, or remove it";
                return Err(Diagnostic::new(Location::file(&path), "", message));
            }
            _ => {}
        }
    }
    Ok(())
}
