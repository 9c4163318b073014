//! What `exeat render kubernetes` prints: pods that can start, that may do nothing they need not, and that find each other.

use crate::istio::{IMAGE, of_kind, run};
use crate::kubernetes::{Definitions, documents};
use clap::{Parser, Subcommand};
use exeat_cli::audit::AuditArgs;
use exeat_cli::collect::CollectArgs;
use exeat_cli::drain::DrainArgs;
use exeat_cli::key::KeyArgs;
use exeat_cli::policy::PolicyArgs;
use exeat_cli::probe::ProbeArgs;
use exeat_cli::render::RenderArgs;
use exeat_cli::signer::SignerArgs;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// As `exeat` itself reads its command line.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Audit(Box<AuditArgs>),
    Key(KeyArgs),
    Policy(Box<PolicyArgs>),
    Render(Box<RenderArgs>),
    Collect(Box<CollectArgs>),
    Drain(DrainArgs),
    Probe(ProbeArgs),
    Signer(Box<SignerArgs>),
}

/// Whether `exeat` takes a command line.
pub(crate) fn parses(words: &[String]) -> Result<(), String> {
    Cli::try_parse_from(words).map(drop).map_err(|error| error.to_string())
}

pub(crate) const POLICY: [&str; 4] =
    ["--gateway", "envoy/gateway.yaml", "--policy", "policies/support-summarizer/policy"];

pub(crate) const USUAL: [&str; 10] = [
    "--image",
    IMAGE,
    "--envoy-image",
    IMAGE,
    "--cli-image",
    IMAGE,
    "--gateway-key",
    "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "--address",
    "10.96.31.28",
];

pub(crate) const AGENT: [&str; 8] =
    ["--agents", "agents", "--agent-image", IMAGE, "--runtime-image", IMAGE, "--keyid", "signer-eu-1"];

fn rendered(more: &[&str]) -> Vec<Value> {
    let output = run("kubernetes", &[&POLICY[..], &USUAL, more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}

/// Specifications of all pods, with the labels of each.
pub(crate) fn pods(all: &[Value]) -> Vec<(&Value, &Value)> {
    let templates = all.iter().map(|object| &object["spec"]["template"]).filter(|template| template.is_object());
    templates.map(|template| (&template["spec"], &template["metadata"]["labels"])).collect()
}

pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let of = |key: &str| pod[key].as_array().map(Vec::as_slice).unwrap_or_default();
    of("initContainers").iter().chain(of("containers"))
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_variant_is_one_that_a_cluster_takes() {
    let definitions = Definitions::read();
    let others = [
        "--agents",
        "a",
        "--agents",
        "b",
        "--name",
        "out",
        "--namespace",
        "gateways",
        "--replicas",
        "1",
        "--storage-class",
        "fast",
        "--resolver",
        "192.0.2.53:53",
        "--memory",
        "2Gi",
        "--workers",
        "4",
        "--secrets",
        "crm",
        "--port",
        "8443",
    ];
    for more in
        [&["--agents", "agents"][..], &AGENT, &others, &[&AGENT[..], &["--monitoring", "m", "--keep", "400d"]].concat()]
    {
        for object in rendered(more) {
            definitions.check(&object).unwrap_or_else(|error| panic!("{more:?}: {error}"));
        }
    }
}

#[test]
fn every_command_is_one_that_exeat_takes() {
    let mut seen = BTreeSet::new();
    for (pod, _) in pods(&rendered(&[&AGENT[..], &["--keep", "400d"]].concat())) {
        for container in containers(pod) {
            let mut commands = Vec::from_iter(container.get("command").map(words));
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                commands.extend(container[probe]["exec"].get("command").map(words));
            }
            for command in commands.iter().filter(|command| command[0] == "exeat") {
                parses(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
                seen.insert(format!("{} {}", container["name"].as_str().unwrap(), command[1]));
            }
        }
    }
    let expected = ["collector collect", "relay collect", "relay probe", "signer probe", "signer signer"];
    assert_eq!(seen, expected.map(str::to_owned).into());
    assert!(parses(&["exeat", "collect", "--dbs", "x"].map(str::to_owned)).is_err());
}

#[test]
fn nothing_may_more_than_it_needs() {
    let all = rendered(&AGENT);
    assert!(all.iter().all(|object| object["kind"] != "Secret"));
    let mut users = BTreeMap::<u64, Vec<&str>>::new();
    let pods = pods(&all);
    assert_eq!(pods.len(), 3);
    for (pod, _) in pods {
        assert_eq!(pod["automountServiceAccountToken"], false);
        let security = &pod["securityContext"];
        assert_eq!(
            (&security["runAsNonRoot"], &security["seccompProfile"]["type"]),
            (&json!(true), &json!("RuntimeDefault"))
        );
        for key in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert!(pod.get(key).is_none(), "{key}");
        }
        for container in containers(pod) {
            let (name, own) = (container["name"].as_str().unwrap(), &container["securityContext"]);
            assert_eq!(
                (&own["allowPrivilegeEscalation"], &own["privileged"]),
                (&json!(false), &json!(false)),
                "{name}"
            );
            assert_eq!(
                (&own["readOnlyRootFilesystem"], &own["capabilities"]),
                (&json!(true), &json!({"drop": ["ALL"]}))
            );
            let user = own["runAsUser"].as_u64().or(security["runAsUser"].as_u64()).unwrap();
            assert!(user > 1000, "{name}");
            users.entry(user).or_default().push(name);
            assert!(container["image"].as_str().unwrap().contains("@sha256:"), "{name}");
            assert!(container["resources"]["requests"]["cpu"].is_string());
            assert!(container["resources"]["limits"]["memory"].is_string());
            for variable in container["env"].as_array().into_iter().flatten() {
                assert!(variable.get("value").is_none() && variable["valueFrom"]["secretKeyRef"].is_object());
            }
        }
    }
    // Who has the key, who opens sessions and who is not trusted are three.
    let users: Vec<_> = users.into_values().collect();
    let expected = [&["relay", "envoy"][..], &["collector"], &["folder", "signer"], &["runtime"], &["agent"]];
    assert_eq!(users, expected);
}

#[test]
fn the_agent_has_neither_key_nor_control_socket() {
    let all = rendered(&AGENT);
    let pod = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"];
    let mounts = |name: &str| -> BTreeSet<&str> {
        let container = containers(pod).find(|container| container["name"] == name).unwrap();
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| mount["name"].as_str().unwrap()).collect()
    };
    assert_eq!(mounts("agent"), ["session"].into());
    assert_eq!(mounts("runtime"), ["run", "session"].into());
    assert_eq!(mounts("signer"), ["ca", "key", "run", "spool", "tls"].into());
    // Nor a name server: the signer finds the gateway in /etc/hosts.
    assert_eq!((&pod["dnsPolicy"], &pod["dnsConfig"]), (&json!("None"), &json!({"nameservers": ["127.0.0.1"]})));
    let hosts = json!([{"ip": "10.96.31.28", "hostnames": ["exeat-egress.exeat.svc"]}]);
    assert_eq!(pod["hostAliases"], hosts);
    let command = words(&containers(pod).find(|container| container["name"] == "signer").unwrap()["command"]);
    assert!(command.contains(&"https://exeat-egress.exeat.svc:3128".to_owned()));
    let policies = of_kind(&all, "NetworkPolicy");
    let agents = policies.iter().find(|policy| policy["metadata"]["namespace"] == "agents").unwrap();
    assert_eq!(agents["spec"]["podSelector"], json!({}));
    let [way] = &agents["spec"]["egress"].as_array().unwrap()[..] else { panic!("{agents}") };
    assert_eq!(way["ports"], json!([{"protocol": "TCP", "port": 3128}]));
    assert_eq!(way["to"][0]["podSelector"]["matchLabels"], json!({"app.kubernetes.io/name": "exeat-egress"}));
}

/// Volumes, objects, labels and ports that are referred to are there, and what is there is referred to.
#[test]
fn everything_that_is_named_is_there() {
    let all = rendered(&[&AGENT[..], &["--monitoring", "m"]].concat());
    let names = |kind: &str| -> BTreeSet<&str> {
        of_kind(&all, kind).iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
    };
    let mut maps = BTreeSet::new();
    for (pod, _) in pods(&all) {
        let volumes: BTreeSet<&str> =
            pod["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
        let mounted: BTreeSet<&str> = containers(pod)
            .flat_map(|container| container["volumeMounts"].as_array().unwrap())
            .map(|mount| mount["name"].as_str().unwrap())
            .collect();
        let claims: BTreeSet<&str> = ["relay", "evidence"].into();
        assert_eq!(volumes, mounted.difference(&claims).copied().collect());
        maps.extend(
            pod["volumes"].as_array().unwrap().iter().filter_map(|volume| volume["configMap"]["name"].as_str()),
        );
        assert!(names("ServiceAccount").contains(pod["serviceAccountName"].as_str().unwrap()));
        for container in containers(pod) {
            let ports: BTreeSet<&str> = container["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|port| port["name"].as_str().unwrap())
                .collect();
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let port =
                    container[probe]["httpGet"]["port"].as_str().or(container[probe]["tcpSocket"]["port"].as_str());
                assert!(port.is_none_or(|port| ports.contains(port)), "{container}");
            }
        }
    }
    // That of the authorities is the platform's.
    assert!(maps.remove("exeat-ca"));
    assert_eq!(maps, names("ConfigMap"));
    for set in of_kind(&all, "StatefulSet") {
        assert!(names("Service").contains(set["spec"]["serviceName"].as_str().unwrap()));
        let claims = set["spec"]["volumeClaimTemplates"].as_array().unwrap();
        let mounted = containers(&set["spec"]["template"]["spec"]).flat_map(|c| c["volumeMounts"].as_array().unwrap());
        assert!(mounted.filter(|mount| mount["name"] == claims[0]["metadata"]["name"]).count() == 1);
    }
    let labels: Vec<&Value> = pods(&all).iter().map(|(_, labels)| *labels).collect();
    for service in of_kind(&all, "Service") {
        assert!(labels.contains(&&service["spec"]["selector"]), "{service}");
    }
    for policy in of_kind(&all, "NetworkPolicy") {
        let selector = &policy["spec"]["podSelector"]["matchLabels"];
        assert!(selector.is_null() || labels.contains(&selector), "{policy}");
    }
}

/// A new policy is taken by Envoy itself; what Envoy reads at its start alone makes new pods.
#[test]
fn only_what_takes_a_restart_makes_new_pods() {
    let folder = tempfile::tempdir().unwrap();
    let compile = ["policy", "compile", POLICY[3], POLICY[0], POLICY[1]];
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_exeat"));
    let compiled =
        String::from_utf8(command.args(compile).current_dir(crate::root()).output().unwrap().stdout).unwrap();
    let changed = |from: &str, to: &str, more: &[&str]| {
        assert!(compiled.contains(from), "{from}");
        let file = folder.path().join("exeat.json");
        std::fs::write(&file, compiled.replace(from, to)).unwrap();
        let arguments = [&["--config", file.to_str().unwrap(), "--agents", "agents"][..], &USUAL, more].concat();
        let output = run("kubernetes", &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let all = documents(&String::from_utf8(output.stdout).unwrap());
        let template = of_kind(&all, "StatefulSet")[0]["spec"]["template"].clone();
        let listener = of_kind(&all, "ConfigMap").into_iter().find(|map| map["data"]["listener.yaml"].is_string());
        (template, listener.unwrap()["data"].clone())
    };
    let before = changed("revision", "revision", &[]);
    let policy_changed = changed("/v1/orders/*", "/v1/others/*", &[]);
    assert_ne!(before.1, policy_changed.1);
    assert_eq!(before.0, policy_changed.0);
    // What guards are told stands in the bootstrap.
    let gateway_changed = changed("\"queue\": 4096", "\"queue\": 8192", &[]);
    assert_ne!(before.0, gateway_changed.0);
    let resolver_changed = changed("revision", "revision", &["--resolver", "192.0.2.53:53"]);
    assert_ne!(before.0, resolver_changed.0);
}

#[test]
fn wrong_arguments_are_refused_with_what_to_do() {
    for (more, says) in [
        (&["--agents", "exeat"][..], "keep them apart"),
        (&["--agents", "a", "--agent-image", IMAGE], "--runtime-image"),
        (&["--agents", "a", "--relay-disk", "20GB"], "write a size such as 512Mi or 20Gi"),
        (&["--agents", "a", "--memory", "0Gi"], "write a size such as 512Mi or 20Gi"),
        (&["--agents", "a", "--keep", "5m"], "keep records for an hour at least"),
        (&["--agents", "a", "--workers", "0"], "0 is not in 1..=64"),
        (&["--agents", "a", "--replicas", "0"], "0 is not in 1.."),
        (&["--agents", "a", "--policy-file", "x"], "--policy-image"),
        (&["--agents", "a", "--ca", "ca.pem"], "not an absolute path"),
    ] {
        refused(&[&USUAL[..], more].concat(), says);
    }
    let instead = |at: usize, value: &'static str| {
        let mut usual = USUAL.to_vec();
        usual[at] = value;
        [&usual[..], &["--agents", "a"]].concat()
    };
    refused(&instead(7, "AAAA"), "--gateway-key");
    refused(&instead(9, "127.0.0.1"), "no service has such an address");
    refused(&instead(1, "registry.example/exeat:v1"), "no digest");
}

fn refused(more: &[&str], says: &str) {
    let output = run("kubernetes", &[&POLICY[..], more].concat());
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && said.contains(says), "{more:?}: {said}");
    assert!(output.stdout.is_empty(), "{more:?}");
}

/// What does not fit a ConfigMap is a file for an image.
#[test]
fn a_large_policy_is_written_for_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let compiled = folder.path().join("exeat.json");
    let policy = folder.path().join("policy");
    let exeat = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_exeat"));
        let output = command.args(words).current_dir(crate::root()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    };
    exeat(&["policy", "generate", policy.to_str().unwrap(), "--teams", "40", "--agents", "1200", "--rules", "8000"]);
    let policy = policy.join("policy");
    let text = exeat(&["policy", "compile", policy.to_str().unwrap(), "--gateway", "envoy/gateway.yaml"]).stdout;
    std::fs::write(&compiled, &text).unwrap();
    assert!(text.len() > 1 << 20, "{}", text.len());
    let usual = [&["--config", compiled.to_str().unwrap(), "--agents", "a"][..], &USUAL].concat();
    let output = run("kubernetes", &usual);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("a ConfigMap holds 1048576; give --policy-file FILE"), "{said}");
    let file = folder.path().join("listener.yaml");
    let more = ["--policy-file", file.to_str().unwrap(), "--policy-image", IMAGE];
    let output = run("kubernetes", &[&usual[..], &more].concat());
    assert!(output.status.success());
    let all = documents(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(of_kind(&all, "ConfigMap").len(), 2);
    let (pod, _) = pods(&all)[0];
    let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == "listener").unwrap();
    assert_eq!(volume["image"]["reference"], IMAGE);
    assert!(std::fs::metadata(file).unwrap().len() > 1 << 20);
}
