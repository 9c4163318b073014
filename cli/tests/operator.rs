//! The command line in bad hours: readers that go, disks that are full, files that are in the way. Whatever happens there is one
//! clear line, a status that docs/operations.md names, and nothing half done.
#![cfg(unix)]
#![cfg(test)]

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/support-summarizer");

fn exeat(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exeat"));
    command.current_dir(folder).args(args).stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    exeat(folder, args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a command says that fails, less its `exeat: `.
fn complaint(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stderr));
    let said = text(&output.stderr).trim_end();
    said.strip_prefix("exeat: ").unwrap_or(said).to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder with a key, a compiled policy, and an empty store.
fn stage() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = run(folder.path(), &["key", "new", "--out", "g.key", "--public", "g.pub"]);
    assert!(made.status.success());
    drop(exeat_cli::collect::store::Store::open(&folder.path().join("e.db")).unwrap());
    folder
}

/// Commands that print, one of each kind.
fn printing(public: &str) -> Vec<Vec<String>> {
    let key = format!("g={public}");
    let (policy, gateway) = (format!("{POLICY}/policy"), format!("{POLICY}/gateway.yaml"));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        words(&["key", "public", "g.key"]),
        words(&["key", "new"]),
        words(&["sign", "--key", "g.key", "--keyid", "k", "--agent", "a", "--session", "s", "http://x.example/"]),
        words(&["policy", "check", &policy]),
        words(&["policy", "compile", &policy, "--gateway", &gateway]),
        words(&["policy", "test", &policy]),
        words(&["policy", "explain", &policy, "https://x.example/"]),
        words(&["policy", "schema", "policy"]),
        words(&["audit", "list", "--db", "e.db"]),
        words(&["audit", "verify", "--db", "e.db", "--key", &key]),
        words(&["audit", "report", "--db", "e.db", "--key", &key]),
    ]
}

#[test]
fn a_reader_that_goes_away_is_no_failure_worth_a_word() {
    let folder = stage();
    let public = std::fs::read_to_string(folder.path().join("g.pub")).unwrap();
    for args in printing(public.trim()) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = exeat(folder.path(), &args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(141), "{args:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{args:?}: {said}");
    }
}

#[test]
fn output_that_finds_no_room_is_a_failure_and_says_so() {
    let folder = stage();
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let public = std::fs::read_to_string(folder.path().join("g.pub")).unwrap();
    for args in printing(public.trim()) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = exeat(folder.path(), &args).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = text(&output.stderr);
        assert!(said.contains("cannot write to standard output: No space left on device"), "{args:?}: {said}");
    }
    // Where nobody can be told either, it still fails as it should.
    let status = exeat(folder.path(), &["policy", "check", "none"]).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    // What a device is called stays a device.
    let compile = ["policy", "compile", &format!("{POLICY}/policy"), "--gateway", &format!("{POLICY}/gateway.yaml")];
    let said = complaint(folder.path(), &[&compile[..], &["-o", "/dev/full"]].concat());
    assert!(said.ends_with("cannot write /dev/full: the disk is full; make room, nothing was changed"), "{said}");
    assert!(!File::open("/dev/full").unwrap().metadata().unwrap().is_file());
}

#[test]
fn a_collector_whose_log_cannot_be_written_serves_and_stops_in_order() {
    let folder = stage();
    let public = std::fs::read_to_string(folder.path().join("g.pub")).unwrap();
    let key = format!("g={}", public.trim());
    let ready = folder.path().join("ready");
    let args = ["collect", "--db", "e.db", "--key", &key, "--listen", "127.0.0.1:0", "--ready-file", "ready"];
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut collector = exeat(folder.path(), &args).stderr(full).spawn().unwrap();
    let address = (0..600).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::read_to_string(&ready).ok()
    });
    let address = address.expect("it serves");
    let well = run(folder.path(), &["probe", address.trim()]);
    assert!(well.status.success(), "{}", text(&well.stderr));
    let pid = i32::try_from(collector.id()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM).unwrap();
    assert_eq!(collector.wait().unwrap().code(), Some(0));
}

#[test]
fn keys_are_made_whole_or_not_at_all() {
    let folder = stage();
    let at = folder.path();
    for (args, why) in [
        (
            vec!["--out", "n", "--public", "g.pub"],
            "g.pub exists and is not overwritten: choose another name, or move it away",
        ),
        (
            vec!["--out", "g.key", "--public", "n"],
            "g.key exists and is not overwritten: choose another name, or move it away",
        ),
        (vec!["--out", "n", "--public", "none/x"], "cannot write none/x: there is no folder none; make it first"),
        (vec!["--out", "n", "--public", "n"], "n exists and is not overwritten: choose another name, or move it away"),
    ] {
        assert_eq!(complaint(at, &[&["key", "new"][..], &args].concat()), why);
        assert_eq!(names(at), ["e.db", "g.key", "g.pub"], "{args:?}");
    }
    for keyid in ["", "a\nb", "é"] {
        let output = run(at, &["key", "new", "--keyid", keyid, "--out", "n"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("it must be 1 to 256 characters of printable ASCII"));
    }
    // The halves look alike.
    let swapped = run(at, &["key", "public", "g.pub"]);
    assert!(
        text(&swapped.stderr)
            .starts_with("warning: everybody may read g.pub. If it is the public half, name the private one")
    );
    assert!(run(at, &["key", "public", "g.key"]).stderr.is_empty());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = stage();
    let at = folder.path();
    let sign = ["sign", "--key", "g.key", "--keyid", "k", "--agent", "a", "--session", "s", "http://x.example/"];
    for (more, why) in [
        (["--header", "a: b\r\nc: d"], "has a line end or a NUL in its value"),
        (["--header", "Host: y.example"], "what is signed is the host of the URL"),
    ] {
        assert!(complaint(at, &[&sign[..], &more].concat()).contains(why));
    }
    for (more, why) in [(["--nonce", ""], "it has 0 bytes"), (["--nonce", &"n".repeat(129)], "it has 129 bytes")] {
        let output = run(at, &[&sign[..], &more].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(why));
    }
    let explain = ["policy", "explain", &format!("{POLICY}/policy"), "https://x.example/"];
    assert!(
        complaint(at, &[&explain[..], &["--tenant", "acme"]].concat()).contains("without --agent the request has none")
    );
    assert_eq!(run(at, &[&explain[..], &["--signer", "none"]].concat()).status.code(), Some(2));
    for amount in ["0", "99999999999"] {
        let output = run(at, &["policy", "generate", "big", "--teams", amount]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
    assert_eq!(names(at), ["e.db", "g.key", "g.pub"]);
}

#[test]
fn a_gateway_is_rendered_into_files_that_can_work() {
    let folder = stage();
    let at = folder.path();
    let (policy, gateway) = (format!("{POLICY}/policy"), format!("{POLICY}/gateway.yaml"));
    let render = ["render", "envoy", "--policy", &policy, "--gateway", &gateway, "--module", "/exeat.wasm"];
    let render = [&render[..], &["--collector", "127.0.0.1:9470", "--listen", "127.0.0.1:15001"]].concat();
    let same = complaint(at, &[&render[..], &["--admin", "127.0.0.1:15001"]].concat());
    assert_eq!(same, "--listen and --admin are both 127.0.0.1:15001: give each a port of its own");
    let render = [&render[..], &["--admin", "127.0.0.1:15000"]].concat();
    let same = complaint(at, &[&render[..], &["--metrics", "127.0.0.1:15000"]].concat());
    assert_eq!(same, "--admin and --metrics are both 127.0.0.1:15000: give each a port of its own");
    let same = complaint(at, &[&render[..], &["--dynamic-listener", "l.yaml", "-o", "l.yaml"]].concat());
    assert!(same.ends_with("l.yaml is where -o writes the bootstrap: name two files"), "{same}");
    // A running gateway takes the listener at once: it must be the last that is written.
    let lost = complaint(at, &[&render[..], &["--dynamic-listener", "l.yaml", "-o", "none/o.yaml"]].concat());
    assert_eq!(lost, "cannot write none/o.yaml: there is no folder none; make it first");
    assert_eq!(names(at), ["e.db", "g.key", "g.pub"]);
}

#[test]
fn what_is_no_store_is_told_from_one_that_was_copied_without_its_log() {
    let folder = stage();
    let at = folder.path();
    std::fs::create_dir(at.join("folder")).unwrap();
    std::fs::write(at.join("empty.db"), "").unwrap();
    for command in [&["audit", "list"][..], &["audit", "erase", "--user", "u-1"]] {
        let said = |db: &str| complaint(at, &[command, &["--db", db]].concat());
        assert_eq!(said("none"), "there is no store none: name the file that `exeat collect --db` writes");
        assert_eq!(said("folder"), "folder is a folder: name the file that `exeat collect --db` writes");
        assert!(said("empty.db").contains("What a collector wrote last stands in empty.db-wal"));
    }
    // A name that is misspelt must not look like an erasure.
    let nobody = run(at, &["audit", "erase", "--db", "e.db", "--user", "u-1"]);
    assert_eq!(
        text(&nobody.stdout),
        "no record of e.db has an opening that names u-1: nothing was erased. Names are compared exactly, case too\n"
    );
    assert!(nobody.status.success());
}
