//! Image layouts: the same from everywhere and at every time, and read by other tools.

use super::fetch;
use super::support::{bare, copied, hex, module, package, refused, report, sha256};
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::registry::skopeo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Every file below a folder, by its name there.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().display().to_string();
                all.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

/// The module and its bill of materials, copied into another folder as files of another day.
fn elsewhere(folder: &Path, age: Duration) -> Command {
    std::fs::create_dir_all(folder).unwrap();
    let mut command = bare();
    for (option, source) in [("--module", artefacts::module().unwrap()), ("--sbom", artefacts::sbom().unwrap())] {
        let file = folder.join(source.file_name().unwrap());
        std::fs::copy(&source, &file).unwrap();
        let then = SystemTime::now() - age;
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(then).unwrap();
        command.arg(option).arg(source.file_name().unwrap());
    }
    command.current_dir(folder);
    command
}

#[test]
fn the_same_module_is_packed_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let days = |count: u64| Duration::from_secs(count * 86_400);
    let mut made = Vec::new();
    for (name, age, zone, language) in
        [("here", days(0), "UTC", "C"), ("a/folder/far away", days(400), "Pacific/Apia", "tr_TR.UTF-8")]
    {
        let folder = folder.path().join(name);
        let mut command = elsewhere(&folder, age);
        command.args(["--output", "layout", "--archive", "layout.tar"]).env("TZ", zone).env("LC_ALL", language);
        let report = report(command);
        made.push((report, files(&folder.join("layout")), std::fs::read(folder.join("layout.tar")).unwrap()));
    }
    let [(first, layout, archive), (second, other, other_archive)] = made.try_into().unwrap();
    assert_eq!(first, second);
    assert_eq!(layout.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert!(layout == other, "files differ");
    assert!(archive == other_archive, "archives differ");

    // Every blob is under its own digest, and the archive holds the very files.
    for (name, bytes) in layout.iter().filter(|(name, _)| name.starts_with("blobs/")) {
        assert_eq!(name.strip_prefix("blobs/sha256/"), Some(sha256(bytes).as_str()));
    }
    let mut unpacked = BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        unpacked.insert(entry.path().unwrap().display().to_string(), bytes);
    }
    assert!(unpacked == layout, "the archive holds other files");
}

#[test]
fn a_time_is_named_only_where_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, epoch: Option<&str>| {
        let mut command = package();
        command.arg("--output").arg(folder.path().join(name));
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        report(command)
    };
    let (dated, again) = (made("dated", Some("1763600000")), made("again", Some("1763600000")));
    assert_eq!(dated, again);
    assert!(files(&folder.path().join("dated")) == files(&folder.path().join("again")));
    assert_ne!(hex(&made("undated", None), "image"), hex(&dated, "image"));
    let mut command = package();
    command.arg("--output").arg(folder.path().join("never")).env("SOURCE_DATE_EPOCH", "yesterday");
    assert!(refused(command).contains("set it to whole seconds since 1970"));
    assert!(!folder.path().join("never").exists());
}

#[test]
fn other_tools_read_the_layout() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, archive) = (folder.path().join("layout"), folder.path().join("layout.tar"));
    let mut command = package();
    command.arg("--output").arg(&layout).arg("--archive").arg(&archive);
    let report = report(command);
    for form in ["image", "artifact"] {
        let name = super::support::manifest(&report, form)["name"].as_str().unwrap();
        for (kind, source) in [("oci", &layout), ("oci-archive", &archive)] {
            let copy = folder.path().join(format!("{form}-{kind}"));
            copied(&format!("{kind}:{}:{name}", source.display()), &copy);
            assert!(fetch::module(&copy, hex(&report, form)).unwrap() == module(), "{kind} {form}");
        }
    }
    // Tools that show images to people show the annotations and layers of this one.
    let name = super::support::manifest(&report, "image")["name"].as_str().unwrap();
    let shown = skopeo(&["inspect", "--config", &format!("oci:{}:{name}", layout.display())]).unwrap().unwrap();
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!((&shown["os"], &shown["rootfs"]["type"]), (&"linux".into(), &"layers".into()));
}

#[test]
fn what_is_no_module_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("layout");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let whole = module();
    let cut = file("cut.wasm", &whole[..whole.len() - 7]);
    let text = file("text.wasm", b"not a module");
    for (module, message) in [(&cut, "not a valid WebAssembly module"), (&text, "not a WebAssembly module")] {
        let mut command = bare();
        command.arg("--module").arg(module).arg("--output").arg(&output);
        let refusal = refused(command);
        assert!(refusal.contains(message) && refusal.contains(&module.display().to_string()), "{refusal}");
    }
    let mut missing = bare();
    missing.arg("--module").arg(folder.path().join("none.wasm")).arg("--output").arg(&output);
    assert!(refused(missing).contains("none.wasm"));
    // A module that was changed after it was built, in a byte of text.
    let mut changed = whole.clone();
    let at = whole.windows(5).rposition(|window| window == b"exeat").unwrap();
    changed[at] = b'E';
    let mut command = bare();
    command.arg("--module").arg(file("changed.wasm", &changed)).arg("--output").arg(&output);
    assert!(refused(command).contains("the file was altered after it was built"));
    // The same, sealed anew: a module of somebody else, with the bill of materials of ours.
    exeat_stamp::seal(&mut changed).unwrap();
    let mut command = bare();
    command.arg("--module").arg(file("other.wasm", &changed)).arg("--sbom").arg(artefacts::sbom().unwrap());
    command.arg("--output").arg(&output);
    assert!(refused(command).contains("it is about another module"));
    assert!(!output.exists());
    let nothing_to_do = package().output().unwrap();
    assert_eq!(nothing_to_do.status.code(), Some(2));
}
