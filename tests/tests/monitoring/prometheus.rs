//! A Prometheus that reads what a test started, and its tool.

use exeat_e2e::stage::client::{self, Request};
use exeat_e2e::stage::process::Process;
use exeat_e2e::stage::{artefacts, ports};
use exeat_e2e::workspace;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long anything may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A file of docs/monitoring.
pub(crate) fn file(name: &str) -> PathBuf {
    workspace().join("docs/monitoring").join(name)
}

pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// `promtool`; what it said, and whether it was content.
pub(crate) fn promtool(arguments: &[&str], name: &str) -> (bool, String) {
    let mut command = Command::new(artefacts::prometheus().unwrap().join("promtool"));
    let output = command.args(arguments).arg(file(name)).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

pub(crate) struct Prometheus {
    process: Process,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// With the alerts of docs/monitoring; each job has one target.
    pub(crate) fn start(jobs: &[(&str, &str, SocketAddr)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jobs: Vec<Value> = jobs
            .iter()
            .map(|(job, path, target)| {
                serde_json::json!({
                    "job_name": job, "metrics_path": path, "static_configs": [{"targets": [target.to_string()]}],
                })
            })
            .collect();
        let config = serde_json::json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [file("exeat.rules.yaml")],
            "scrape_configs": jobs,
        });
        // JSON is YAML.
        std::fs::write(folder.path().join("prometheus.yaml"), config.to_string()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap()));
        let mut command = Command::new(artefacts::prometheus().unwrap().join("prometheus"));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn").current_dir(folder.path());
        command.args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"]);
        let process = Process::spawn("prometheus", &command, &folder.path().join("prometheus.log")).unwrap();
        let ready = Self { process, address, _folder: folder };
        ready.wait_until("ready", || {
            client::send(address, &request("/-/ready")).is_ok_and(|answer| answer.status == 200).then_some(())
        });
        ready
    }

    pub(crate) fn wait_until<T>(&self, what: &str, ready: impl FnMut() -> Option<T>) -> T {
        self.process.wait_until(what, LIMIT, ready).unwrap()
    }

    fn api(&self, path: &str) -> Value {
        let answer = client::send(self.address, &request(&format!("/api/v1/{path}"))).unwrap();
        let answer = answer.json().unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series of an expression now.
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.api(&format!("query?query={escaped}"))["result"].as_array().unwrap().clone()
    }

    /// Every metric that was ever read.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let names = self.api("label/__name__/values");
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// Each alert with its state, `inactive`, `pending` or `firing`, and how its evaluation is.
    pub(crate) fn alerts(&self) -> Vec<(String, String, String)> {
        let groups = self.api("rules");
        let rules = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        let word = |rule: &Value, key: &str| rule[key].as_str().unwrap().to_owned();
        rules.map(|rule| (word(rule, "name"), word(rule, "state"), word(rule, "health"))).collect()
    }
}

fn request(path: &str) -> Request {
    Request::new("GET", path).header("host", "prometheus").header("connection", "close")
}
