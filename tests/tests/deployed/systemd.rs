//! The units of `exeat render systemd`: their commands, as systemd would run them, with its credentials in a folder.

use crate::place::{LIMIT, Place, at};
use exeat_e2e::scenario::gateway::exeat;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client;
use exeat_e2e::stage::process::{GRACE, Process};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Units and files of one machine.
fn render(place: &Place) -> BTreeMap<String, String> {
    let folder = place.directory("rendered", "/units");
    exeat(&["render", "systemd"], |command| {
        command
            .args(place.gateway.sources())
            .args(["--gateway-key", &place.gateway.evidence_public])
            .arg("-o")
            .arg(&folder);
        command.args(["--resolver", &place.dns.address().to_string(), "--workers", "1"]);
        command.arg("--exeat").arg(artefacts::cli().unwrap()).arg("--envoy").arg(artefacts::envoy().unwrap());
        command.arg("--module").arg(artefacts::module().unwrap());
    })
    .unwrap();
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
    });
    files.collect()
}

/// A command of a unit as the words that systemd makes of it (systemd.service, "Command lines"): quotes, `$$`, lines that go on.
fn command(unit: &str, key: &str) -> Vec<String> {
    let joined = unit.replace("\\\n", " ");
    let line = joined.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for char in line.chars().chain([' ']) {
        match char {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            _ => word.push(char),
        }
    }
    words.into_iter().map(|word| word.replace("$$", "$")).collect()
}

fn start(place: &Place, name: &str, unit: &str, credentials: &Path) -> Process {
    let words: Vec<String> = command(unit, "ExecStart").iter().map(|word| place.written("machine", word)).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("CREDENTIALS_DIRECTORY", credentials);
    Process::spawn(name, &command, &place.root("machine").join(format!("{name}.log"))).unwrap()
}

#[test]
fn the_units_work_together_and_stop_without_a_lost_record() {
    let mut place = Place::new();
    let files = render(&place);
    place.free_port("127.0.0.1:9471", |port| format!("127.0.0.1:{port}"));
    let relay_port = place.free_port("127.0.0.1:9470", |port| format!("127.0.0.1:{port}"));
    place.change("port_value: 9470", format!("port_value: {relay_port}"));
    let gateway = place.free_port("port_value: 3128", |port| format!("port_value: {port}"));
    place.free_port("port_value: 15090", |port| format!("port_value: {port}"));
    let place = place;
    for folder in ["/var/lib/exeat-relay", "/var/lib/exeat-collector", "/run/exeat-gateway"] {
        place.directory("machine", folder);
    }
    for file in ["envoy.yaml", "listener.yaml"] {
        place.file("machine", &format!("/etc/exeat/{file}"), place.written("machine", &files[file]));
    }
    place.file("machine", "/run/credentials/exeat-gateway.service/EXEAT_GATEWAY_KEY", &place.gateway.evidence_key);
    let credentials = place.root("machine").join("run/credentials/exeat-gateway.service");
    let collector = start(&place, "collector", &files["exeat-collector.service"], &credentials);
    collector.wait_for_log("listening on", LIMIT).unwrap();
    let relay = start(&place, "relay", &files["exeat-relay.service"], &credentials);
    relay.wait_for_log("listening on", LIMIT).unwrap();
    let unit = &files["exeat-gateway.service"];
    let envoy = start(&place, "gateway", unit, &credentials);
    envoy.wait_until("the gateway listens", LIMIT, || TcpStream::connect(at(gateway)).ok().map(drop)).unwrap();
    // What was signed within the gateway's first second counts as sent before its start.
    let ask = || client::send(at(gateway), &place.signed("/v1/orders/7")).unwrap();
    let answer =
        envoy.wait_until("a request goes on", LIMIT, || Some(ask()).filter(|answer| answer.status == 200)).unwrap();
    let mut decisions = vec![answer.header("exeat-decision").unwrap().to_owned()];
    decisions.extend((0..20).map(|_| ask().header("exeat-decision").unwrap().to_owned()));
    // As systemd stops it: ExecStop, then SIGTERM; the relay after that.
    let words: Vec<String> = command(unit, "ExecStop").iter().map(|word| place.written("machine", word)).collect();
    let stopped = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    TcpStream::connect(at(gateway)).unwrap_err();
    envoy.stop(GRACE).unwrap();
    let relayed = || client::send(at(relay_port), &client::Request::new("GET", "/metrics").header("host", "x")).ok();
    let passed_on = || relayed()?.text().contains("exeat_collector_forward_waiting_batches 0\n").then_some(());
    relay.wait_until("the collector has everything", LIMIT, passed_on).unwrap();
    relay.stop(GRACE).unwrap();
    collector.stop(GRACE).unwrap();
    let store: PathBuf = place.root("machine").join("var/lib/exeat-collector/evidence.db");
    let stored =
        exeat(&["audit", "list", "--json", "--limit", "0"], |command| _ = command.arg("--db").arg(&store)).unwrap();
    for decision in decisions {
        assert!(stored.contains(&decision), "{decision}");
    }
    let key = format!("{}={}", place.gateway.id, place.gateway.evidence_public);
    let verdict = exeat(&["audit", "verify", "--key", &key], |command| _ = command.arg("--db").arg(&store)).unwrap();
    // Of each request both records came: nothing was cut off by the stop.
    assert!(verdict.contains(", 0 exchanges open,"), "{verdict}");
}
