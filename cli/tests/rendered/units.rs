//! What `exeat render systemd` writes: units that systemd takes, kept from what they need not, with no secret in them.

use crate::istio::run;
use crate::pods::parses;
use exeat_engine::destination::Cidr;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const POLICY: [&str; 4] = ["--gateway", "envoy/gateway.yaml", "--policy", "policies/support-summarizer/policy"];

const USUAL: [&str; 4] =
    ["--gateway-key", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "--resolver", "192.0.2.53:53"];

const SIGNER: [&str; 6] = ["--keyid", "signer-eu-1", "--orchestrator", "root", "--tool", "daemon"];

/// Everything beyond loopback.
const FAR: [&str; 16] = [
    "--listen",
    "10.20.0.7:3128",
    "--clients",
    "10.21.0.0/16",
    "--collector",
    "https://collector.acme.example:9470",
    "--collector-at",
    "10.22.0.9",
    "--collector-listen",
    "10.20.0.7:9471",
    "--relays-at",
    "10.20.0.0/16",
    "--keep",
    "400d",
    "--memory",
    "2G",
];

/// Files by their names.
fn rendered(more: &[&str]) -> (tempfile::TempDir, BTreeMap<String, String>) {
    let folder = tempfile::tempdir().unwrap();
    let output = run("systemd", &[&POLICY[..], &USUAL, more, &["-o", folder.path().to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
    });
    let files = files.collect();
    (folder, files)
}

/// Values of a setting.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// Words of a command.
fn command(unit: &str, key: &str) -> Vec<String> {
    let joined = unit.replace("\\\n", " ");
    let line = joined.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {key}")).split_whitespace().map(str::to_owned).collect()
}

fn units(files: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    files.iter().filter(|(name, _)| name.ends_with(".service")).map(|(name, text)| (name.as_str(), text.as_str()))
}

/// systemd's own verdict; it looks for the programs, so these are some that are here.
fn analyze(arguments: &[&str], unit: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit).output();
    let output = output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; `cargo xtask setup` installs it"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn systemd_takes_the_units() {
    let exeat = env!("CARGO_BIN_EXE_exeat");
    for more in [&SIGNER[..], &[&SIGNER[..], &FAR].concat()] {
        let (folder, files) = rendered(&[more, &["--exeat", exeat, "--envoy", exeat]].concat());
        assert_eq!(units(&files).count(), 4);
        for (name, _) in units(&files) {
            let (content, said) = analyze(&["verify", "--man=no", "--recursive-errors=no"], &folder.path().join(name));
            // Of the units of this machine nothing is asked.
            let own: Vec<&str> = said.lines().filter(|line| line.contains("exeat")).collect();
            assert!(content && own.is_empty(), "{name}: {said}");
        }
    }
    // It does say when something is wrong.
    let (folder, files) = rendered(&["--exeat", exeat, "--envoy", exeat]);
    let wrong = files["exeat-relay.service"].replace("RestrictRealtime=yes", "RestrictRealTime=yes");
    std::fs::write(folder.path().join("exeat-relay.service"), wrong).unwrap();
    let (_, said) =
        analyze(&["verify", "--man=no", "--recursive-errors=no"], &folder.path().join("exeat-relay.service"));
    assert!(said.contains("RestrictRealTime"), "{said}");
}

/// systemd counts what a unit could still do, from 0 to 10, here in tenths. What is left is the network, and of Envoy V8's code.
#[test]
fn systemd_finds_little_that_a_unit_could_do() {
    let (folder, files) = rendered(&SIGNER);
    for (name, _) in units(&files) {
        let threshold = if name == "exeat-gateway.service" { "25" } else { "20" };
        let arguments = ["security", "--offline=yes", "--no-pager", &format!("--threshold={threshold}")];
        let (content, said) = analyze(&arguments, &folder.path().join(name));
        assert!(content, "{name}: {said}");
    }
}

#[test]
fn every_command_is_one_that_exeat_takes() {
    for more in [&SIGNER[..], &[&SIGNER[..], &FAR].concat()] {
        let (_folder, files) = rendered(more);
        for (name, unit) in units(&files) {
            let key = if name == "exeat-gateway.service" { "ExecStop" } else { "ExecStart" };
            let mut words = command(unit, key);
            words[0] = "exeat".to_owned();
            parses(&words).unwrap_or_else(|error| panic!("{name}: {words:?}: {error}"));
        }
    }
}

/// Secrets are files that systemd hands over; each that is read is handed over, and each that is handed over is read.
#[test]
fn credentials_are_handed_over_and_read() {
    for more in [&SIGNER[..], &[&SIGNER[..], &FAR].concat()] {
        let (_folder, files) = rendered(more);
        for (name, unit) in units(&files) {
            let given: BTreeSet<&str> =
                values(unit, "LoadCredential").iter().map(|value| value.split_once(':').unwrap().0).collect();
            let read: BTreeSet<&str> = match name {
                "exeat-gateway.service" => {
                    let text = [unit, &files["listener.yaml"], &files["envoy.yaml"]];
                    let places = ["$$CREDENTIALS_DIRECTORY/", "/run/credentials/exeat-gateway.service/"];
                    let after = text.iter().flat_map(|text| places.iter().flat_map(|place| text.split(place).skip(1)));
                    after.map(until_end).collect()
                }
                _ => unit.split("%d/").skip(1).map(until_end).collect(),
            };
            assert_eq!(given, read, "{name}");
            for value in values(unit, "LoadCredential") {
                let (credential, file) = value.split_once(':').unwrap();
                assert_eq!(file, format!("/etc/exeat/credentials/{credential}"));
            }
            assert!(values(unit, "Environment").is_empty() && values(unit, "SetCredential").is_empty(), "{name}");
        }
    }
}

fn until_end(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// A credential is a copy of the file at the start, so a key that changes while the signer runs cannot be one. Its id is in it.
#[test]
fn the_signer_reads_a_new_key_when_it_is_reloaded() {
    for more in [&SIGNER[..], &[&SIGNER[..], &FAR].concat()] {
        let (_folder, files) = rendered(more);
        let unit = &files["exeat-signer.service"];
        let words = command(unit, "ExecStart");
        let key = words.iter().position(|word| word == "--key").unwrap();
        assert_eq!(words[key + 1], "/etc/exeat/signer.key");
        assert!(!words.iter().any(|word| word == "--keyid"), "{words:?}");
        assert_eq!(values(unit, "ExecReload"), ["/bin/kill -HUP $MAINPID"]);
        assert!(!values(unit, "LoadCredential").iter().any(|credential| credential.starts_with("signer.key:")));
    }
}

/// Whoever floods a gateway with requests must not choose what of its log is kept, and lines are found under the unit's name.
#[test]
fn no_line_of_a_log_is_dropped() {
    let (_folder, files) = rendered(&SIGNER);
    for (name, unit) in units(&files) {
        // An interval of 0 says nothing to journald, which then keeps its own.
        let limit = [values(unit, "LogRateLimitIntervalSec"), values(unit, "LogRateLimitBurst")];
        assert_eq!(limit, [["1s"], ["1000000"]], "{name}");
        assert_eq!(values(unit, "SyslogIdentifier"), [name.strip_suffix(".service").unwrap()]);
    }
}

/// What ends later takes what is still sent to it.
#[test]
fn what_sends_evidence_ends_before_what_takes_it() {
    let (_folder, files) = rendered(&SIGNER);
    for (unit, before) in [
        ("exeat-signer.service", "exeat-gateway.service"),
        ("exeat-gateway.service", "exeat-relay.service"),
        ("exeat-relay.service", "exeat-collector.service"),
    ] {
        let after = values(&files[unit], "After");
        assert!(after.iter().any(|units| units.split(' ').any(|unit| unit == before)), "{unit}: {after:?}");
    }
}

/// The keeper tells its proxy when to end; whatever is left then is killed.
#[test]
fn a_stop_is_told_to_the_keeper_alone() {
    let (_folder, files) = rendered(&SIGNER);
    assert_eq!(values(&files["exeat-signer.service"], "KillMode"), ["mixed"]);
}

/// While a gateway's key changes, evidence of both is on its way.
#[test]
fn evidence_of_an_old_key_is_taken_beside_that_of_a_new_one() {
    let old = "Kd4hcRKJhXXGNTmRTnHQmf6nyCeTVwrs7XcQhBXSVoE=";
    let (_folder, files) = rendered(&["--gateway-key", old]);
    for unit in ["exeat-relay.service", "exeat-collector.service"] {
        let words = command(&files[unit], "ExecStart");
        let keys: Vec<&str> = words
            .iter()
            .zip(words.iter().skip(1))
            .filter(|(option, _)| *option == "--key")
            .map(|(_, key)| key.as_str())
            .collect();
        assert_eq!(keys, [&format!("egress-eu-1={}", USUAL[1]), &format!("egress-eu-1={old}")], "{unit}");
    }
}

/// systemd makes a user for a gateway's run, who belongs to no group: what root renders under a narrow mask must be his to read.
#[test]
fn users_of_units_may_read_what_is_rendered_under_any_mask() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "umask 077 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_exeat"), "render", "systemd"])
        .args(POLICY)
        .args(USUAL)
        .args(SIGNER)
        .arg("-o")
        .arg(folder.path())
        .current_dir(crate::root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o644, "{entry:?}");
    }
}

#[test]
fn the_kernel_closes_what_the_guard_closes() {
    let (_folder, files) = rendered(&[&SIGNER[..], &FAR].concat());
    let gateway = &files["exeat-gateway.service"];
    let denied: Vec<Cidr> = values(gateway, "IPAddressDeny").iter().map(|range| range.parse().unwrap()).collect();
    let is_denied = |text: &str| {
        let range: Cidr = text.parse().unwrap();
        denied.iter().any(|closed| closed.covers(&range))
    };
    for closed in [
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "192.168.0.0/16",
        "168.63.129.16",
        "fc00::/7",
        "fe80::/10",
        "::ffff:0:0/96",
        "2002::/16",
    ] {
        assert!(is_denied(closed), "{closed}: {denied:?}");
    }
    for open in ["8.8.8.8", "1.1.1.1", "172.15.0.0/16", "172.32.0.0/16", "2606:4700::1111"] {
        assert!(!is_denied(open), "{open}: {denied:?}");
    }
    // Clients and name servers, and the network that the policy names.
    assert_eq!(values(gateway, "IPAddressAllow"), ["localhost", "10.20.0.0/16", "10.21.0.0/16", "192.0.2.53/32"]);
    for (unit, peers) in [
        ("exeat-relay.service", &["localhost", "10.22.0.9/32", "192.0.2.53/32"][..]),
        ("exeat-collector.service", &["localhost", "10.20.0.0/16"]),
        ("exeat-signer.service", &["localhost", "10.20.0.7/32"]),
    ] {
        assert_eq!(
            (values(&files[unit], "IPAddressDeny"), values(&files[unit], "IPAddressAllow")),
            (vec!["any"], peers.to_vec())
        );
    }
    // On one machine nobody speaks to anybody else.
    let (_folder, files) = rendered(&SIGNER);
    for unit in ["exeat-relay.service", "exeat-collector.service", "exeat-signer.service"] {
        assert_eq!(values(&files[unit], "IPAddressAllow"), ["localhost"], "{unit}");
    }
}

#[test]
fn wrong_arguments_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("units");
    let output = ["-o", out.to_str().unwrap()];
    for (more, says) in [
        (&[&USUAL[..]].concat(), "name the folder they are written to with -o FOLDER"),
        (&[&USUAL[..], &["--json"], &output].concat(), "leave it out"),
        (&[&USUAL[..2], &output].concat(), "--resolver"),
        (&[&USUAL[2..], &output].concat(), "--gateway-key"),
        (&[&USUAL[..], &output, &["--listen", "0.0.0.0:3128"]].concat(), "name the address that others reach"),
        (&[&USUAL[..], &output, &["--listen", "10.0.0.1:3128"]].concat(), "name who may with --clients RANGE"),
        (&[&USUAL[..], &output, &["--clients", "10.0.0.1/8"]].concat(), "write 10.0.0.0/8"),
        (&[&USUAL[..], &output, &["--collector-listen", "10.0.0.1:1"]].concat(), "--relays-at RANGE"),
        (&[&USUAL[..], &output, &["--collector", "https://c.example"]].concat(), "--collector-at RANGE"),
        (&[&USUAL[..], &output, &["--collector", "http://c.example"]].concat(), "use https"),
        (&[&USUAL[..], &output, &["--collector", "c.example"]].concat(), "--collector"),
        (&[&USUAL[..], &output, &["--exeat", "/opt/my exeat"]].concat(), "does not fit a unit"),
        (&[&USUAL[..], &output, &["--exeat", "/opt/%i"]].concat(), "does not fit a unit"),
        (&[&USUAL[..], &output, &["--envoy", "envoy"]].concat(), "is not an absolute path"),
        (&[&USUAL[..], &output, &["--memory", "1 GiB"]].concat(), "write a size such as 512M or 2G"),
        (&[&USUAL[..], &output, &["--keyid", "k"]].concat(), "--orchestrator"),
        (
            &[&USUAL[..], &output, &["--keyid", "k", "--orchestrator", "a"]].concat(),
            "no signer of the policy has a key",
        ),
        (&[&USUAL[..], &output, &["--keyid", "k\nUser=root", "--orchestrator", "a"]].concat(), "does not fit a unit"),
    ] {
        let output = run("systemd", &[&POLICY[..], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && said.contains(says), "{more:?}: {said}");
        assert!(!out.exists(), "{more:?}");
    }
}
