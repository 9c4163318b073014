//! Starting, stopping, failing.

use crate::stage::{Signer, eventually, exeat, folder, is_root, write_key};
use exeat_cli::key::PrivateKey;
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;

#[test]
fn the_log_says_what_protects_the_processes() {
    let signer = Signer::start(&[]);
    let hardened = |process: &str| {
        eventually("the log of a process", || {
            let log = signer.log();
            let line = log.lines().find(|line| line.contains("\"hardened") && line.contains(process))?.to_owned();
            Some(serde_json::from_str::<serde_json::Value>(&line).unwrap())
        })
    };
    let (keeper, proxy) = (hardened("\"process\":\"keeper\""), hardened("\"process\":\"proxy\""));
    for measure in ["not dumpable", "no core dumps", "no new privileges"] {
        for line in [&keeper, &proxy] {
            assert!(line["in_force"].as_str().unwrap().contains(measure), "{line}");
        }
    }
    // What the kernel lacks is named, not passed over.
    let (in_force, missing) = (proxy["in_force"].as_str().unwrap(), proxy["missing"].as_str().unwrap_or_default());
    for measure in
        ["no capabilities", "no files but the spool's", "TCP to the gateway's port only", "system calls filtered"]
    {
        assert!(in_force.contains(measure) != missing.contains(measure), "{proxy}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", signer.proxy_pid())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((field("NoNewPrivs:"), field("CapEff:")), ("1".to_owned(), "0000000000000000".to_owned()));
    if in_force.contains("system calls filtered") {
        assert_eq!(field("Seccomp:"), "2");
    }
    for line in signer.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn the_proxy_runs_as_the_user_it_is_given() {
    if !is_root() {
        return;
    }
    let signer = Signer::start(&["--proxy-user", "54323"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", signer.proxy_pid())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), "54323\t54323\t54323\t54323");
    assert_eq!(field("Gid:"), "54323\t54323\t54323\t54323");
    assert_eq!(field("Groups:"), "");
    let environ = std::fs::read(format!("/proc/{}/environ", signer.proxy_pid())).unwrap();
    assert!(environ.is_empty());
    let session = signer.open_plain();
    // More than fits into memory: the spool's directory is the proxy's.
    let file = signer.folder.path().join("body");
    std::fs::write(&file, "x".repeat(3 << 20)).unwrap();
    let data = format!("@{}", file.display());
    let (status, text) = Signer::fetch(&session, &["--data-binary", &data, "https://api.acme.example/"]);
    assert!(status.success() && text.starts_with("hello"), "{text}");
    assert_eq!(signer.gateway.arrivals()[0].body.len(), 3 << 20);
}

#[test]
fn when_one_process_ends_so_does_the_other() {
    let kill = |pid: u32| kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    let mut signer = Signer::start(&[]);
    let session = signer.open_plain();
    kill(signer.proxy_pid());
    assert!(!signer.wait().success());
    assert!(signer.log().contains("the proxy process ended"), "{}", signer.log());
    assert!(!std::path::Path::new(session["ca_file"].as_str().unwrap()).exists());
    assert!(!signer.control.exists());

    let mut signer = Signer::start(&[]);
    let proxy = signer.proxy_pid();
    kill(signer.pid());
    signer.wait();
    let gone = || match std::fs::read_to_string(format!("/proc/{proxy}/stat")) {
        Err(_) => Some(()),
        // Nobody waits for it any more but the system's first process, which may take its time.
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')).then_some(()),
    };
    eventually("the proxy to end", gone);
}

#[test]
fn a_stop_lets_requests_end_and_leaves_nothing() {
    let mut signer = Signer::start(&[]);
    let session = signer.open_plain();
    assert!(Signer::fetch(&session, &["https://api.acme.example/"]).0.success());
    signer.signal(Signal::TERM);
    assert!(signer.wait().success());
    assert!(signer.log().contains("\"ending\":\"stopped\""), "{}", signer.log());
    assert!(!signer.control.exists());
    assert!(!std::path::Path::new(session["ca_file"].as_str().unwrap()).exists());
}

/// Whoever stops a service tells all of its processes, as systemd and terminals do. When the proxy ends is for the keeper to say,
/// so that requests under way are not cut.
#[test]
fn the_proxy_ends_by_the_keeper_and_not_by_a_signal_to_all() {
    let mut signer = Signer::start(&[]);
    let session = signer.open_plain();
    let proxy = signer.proxy_pid();
    for told in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(Pid::from_raw(i32::try_from(proxy).unwrap()).unwrap(), told).unwrap();
        assert!(Signer::fetch(&session, &["https://api.acme.example/"]).0.success(), "{told:?}: {}", signer.log());
        assert_eq!(signer.proxy_pid(), proxy);
    }
    signer.signal(Signal::TERM);
    assert!(signer.wait().success());
    let log = signer.log();
    let last = log.lines().find(|line| line.contains("\"stopped\"") && line.contains("status")).unwrap();
    assert!(last.contains("exit status: 0"), "{last}");
}

/// Ports, descriptors and files of sessions come and go with them, however they end.
#[test]
fn sessions_leave_nothing_behind() {
    let signer = Signer::start(&["--sessions", "40"]);
    let descriptors = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let pids = [signer.pid(), signer.proxy_pid()];
    signer.open_and_close();
    let before = pids.map(descriptors);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| signer.open_and_close()));
        }
    });
    let sessions = signer.control.with_file_name("sessions");
    eventually("everything to be closed", || {
        // The socket that asks is not counted: it is closed before the answer is read to its end.
        let after = pids.map(descriptors);
        (after.iter().zip(before).all(|(after, before)| *after <= before + 2)).then_some(())
    });
    assert_eq!(std::fs::read_dir(sessions).unwrap().count(), 0);
    let metrics = signer.ask("GET", "/metrics", None).body;
    assert!(metrics.contains("exeat_signer_sessions_ended_total{ending=\"closed\"} 201\n"), "{metrics}");
}

#[test]
fn a_signer_that_was_killed_can_be_started_again() {
    let mut signer = Signer::start(&[]);
    let session = signer.open_plain();
    signer.signal(Signal::KILL);
    signer.wait();
    assert!(signer.control.exists() && std::path::Path::new(session["ca_file"].as_str().unwrap()).exists());
    signer.start_again();
    assert!(!std::path::Path::new(session["ca_file"].as_str().unwrap()).exists());
    let session = signer.open_plain();
    assert!(Signer::fetch(&session, &["https://api.acme.example/"]).0.success());
}

#[test]
fn every_option_is_described() {
    let page = include_str!("../../../docs/signer.md");
    let help = exeat().args(["signer", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let options = help.split_ascii_whitespace().filter_map(|word| word.strip_prefix("--"));
    let missing: Vec<&str> = options
        .filter(|option| option.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !option.is_empty())
        .filter(|option| !page.contains(&format!("--{option}")) && *option != "help")
        .collect();
    assert!(missing.is_empty() && help.contains("--grace"), "docs/signer.md lacks {missing:?}");
}

#[test]
fn two_signers_do_not_share_a_directory() {
    let signer = Signer::start(&[]);
    let key = signer.folder.path().join("signer.key");
    let mut second = exeat();
    second.args(["signer", "--gateway", "http://127.0.0.1:9", "--key"]).arg(key);
    second.arg("--runtime-dir").arg(signer.control.parent().unwrap());
    let output = second.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("another signer"), "{error}");
    assert_eq!(signer.ask("GET", "/healthz", None).status, 200);
}

#[test]
fn mistakes_in_options_are_one_clear_error() {
    let folder = folder();
    write_key(&folder.path().join("key"), "k", &PrivateKey::generate().unwrap());
    let unnamed = exeat_signer::daemon::users::overflow_uid().to_string();
    for (options, advice) in [
        (vec!["--gateway", "127.0.0.1:1"], "write https://HOST"),
        (vec!["--gateway", "http://192.0.2.1:80"], "write https"),
        (vec!["--gateway", "https://gateway.example"], "--gateway-ca"),
        (vec!["--gateway", "http://127.0.0.1:9", "--gateway-ca", "/dev/null"], "plain HTTP"),
        (vec!["--gateway", "https://127.0.0.1:9", "--gateway-ca", "/dev/null"], "no certificate in PEM"),
        (vec!["--gateway", "http://127.0.0.1:9", "--orchestrator-uid", "no-such-user"], "there is no user"),
        (vec!["--gateway", "http://127.0.0.1:9", "--tool-uid", &unnamed], "another user namespace"),
        (vec!["--gateway", "http://127.0.0.1:9", "--control-group", "no-such-group"], "there is no group"),
        (vec!["--gateway", "http://127.0.0.1:9", "--spool-dir", "/no/such/dir"], "--spool-dir"),
        (vec!["--gateway", "http://127.0.0.1:9", "--life", "1x"], "is not a duration"),
        (vec!["--gateway", "http://127.0.0.1:9", "--body", "1MB"], "is not a size"),
        (vec!["--gateway", "http://127.0.0.1:9", "--log", "a=b=c"], "no level"),
    ] {
        let mut command = exeat();
        command.arg("signer").args(&options).arg("--key").arg(folder.path().join("key"));
        command.arg("--runtime-dir").arg(folder.path().join("run"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(advice), "{options:?}: {error}");
    }
    let mut command = exeat();
    command.args(["signer-proxy", "--spool-dir", "/tmp", "--gateway-port", "1", "--log", "info"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("which starts it"), "{output:?}");
}
