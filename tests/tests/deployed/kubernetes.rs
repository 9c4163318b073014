//! The pods of `exeat render kubernetes`.

use crate::image::Image;
use crate::place::{LIMIT, Place, at, session};
use exeat_e2e::scenario::gateway::{KEYID, exeat};
use exeat_e2e::scenario::plain::HOST;
use exeat_e2e::scenario::signed::proxy_of;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client::{self, Request, Response};
use exeat_e2e::stage::process::{GRACE, Process};
use serde_json::Value;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

const IMAGE: &str = "registry.example/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A token of the collector, for tests alone.
const TOKEN: &str = "a-token-for-tests-alone";

struct Cluster {
    place: Place,
    objects: Vec<Value>,
    /// Ports of the gateway, of its administration and metrics, of the relay, and of the collector.
    ports: [u16; 5],
}

impl Cluster {
    fn new(image: Option<Image>) -> Self {
        let mut place = Place::new();
        let own = match image {
            Some(_) => "0".to_owned(),
            None => rustix::process::getuid().as_raw().to_string(),
        };
        image.into_iter().for_each(|image| place.contain(image));
        let objects = render(&place);
        // Longer texts first: a port is part of them.
        let collector = place.free_port("0.0.0.0:9470", |port| format!("127.0.0.1:{port}"));
        place.change("https://exeat-egress-collector.exeat.svc:9470", format!("https://localhost:{collector}"));
        let gateway = place.free_port("port_value: 3128", |port| format!("port_value: {port}"));
        place.change("https://exeat-egress.exeat.svc:3128", format!("https://localhost:{gateway}"));
        let admin = place.free_port("port_value: 15000", |port| format!("port_value: {port}"));
        place.change("/dev/tcp/127.0.0.1/15000", format!("/dev/tcp/127.0.0.1/{admin}"));
        place.change("sleep 15", "sleep 0");
        let metrics = place.free_port("port_value: 15090", |port| format!("port_value: {port}"));
        let relay = place.free_port("127.0.0.1:9470", |port| format!("127.0.0.1:{port}"));
        place.change("port_value: 9470", format!("port_value: {relay}"));
        place.change("0.0.0.0", "127.0.0.1");
        // Nobody here can be another user.
        place.change("10003", own.clone());
        place.change("10004", own);
        Self { place, objects, ports: [gateway, admin, metrics, relay, collector] }
    }

    fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    fn map(&self, name: &str, key: &str) -> String {
        self.named("ConfigMap", name)["data"][key].as_str().unwrap().to_owned()
    }

    fn container(&self, kind: &str, object: &str, name: &str) -> Value {
        let pod = &self.named(kind, object)["spec"]["template"]["spec"];
        let all = ["initContainers", "containers"].map(|key| pod[key].as_array().cloned().unwrap_or_default()).concat();
        all.into_iter().find(|container| container["name"] == name).unwrap()
    }

    /// The content of the ConfigMap, as a kubelet writes it: into a new folder, which a link then names.
    fn mount_listener(&self, text: &str, generation: u32) {
        let listener = self.place.directory("gateway", "/etc/exeat/listener");
        let folder = format!("..2026_{generation}");
        std::fs::create_dir(listener.join(&folder)).unwrap();
        std::fs::write(listener.join(&folder).join("listener.yaml"), self.place.written("gateway", text)).unwrap();
        std::os::unix::fs::symlink(&folder, listener.join("..data_tmp")).unwrap();
        std::fs::rename(listener.join("..data_tmp"), listener.join("..data")).unwrap();
        if generation == 1 {
            std::os::unix::fs::symlink("..data/listener.yaml", listener.join("listener.yaml")).unwrap();
        }
    }

    /// Files of a part that hold no secret but these.
    fn mount(&self, part: &str) {
        let place = &self.place;
        place.file(part, "/etc/exeat/ca/ca.crt", place.authority.pem());
        place.certificate(part, "/etc/exeat/tls", part == "agent");
        place.file(part, "/etc/exeat/token/token", TOKEN);
        place.file(part, "/etc/exeat/keys/keys.json", self.map("exeat-egress-keys", "keys.json"));
        place.directory(part, "/var/lib/exeat");
    }
}

fn render(place: &Place) -> Vec<Value> {
    let text = exeat(&["render", "kubernetes", "--json"], |command| {
        command.args(place.gateway.sources()).args(["--agents", "agents", "--workers", "1", "--keyid", KEYID]);
        for image in ["--image", "--envoy-image", "--cli-image", "--agent-image", "--runtime-image"] {
            command.args([image, IMAGE]);
        }
        command.args(["--address", "10.96.31.28", "--gateway-key", &place.gateway.evidence_public]);
        command.args(["--resolver", &place.dns.address().to_string()]);
    });
    let list: Value = serde_json::from_str(&text.unwrap()).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// A request that the agent's program sends to its proxy.
fn ask(proxy: &(SocketAddr, String), port: u16) -> Response {
    let request = Request::new("GET", format!("http://{HOST}:{port}/v1/orders/7"))
        .header("host", format!("{HOST}:{port}"))
        .header("proxy-authorization", &proxy.1);
    client::send(proxy.0, &request).unwrap()
}

#[test]
fn the_pods_work_together_and_take_a_policy_as_the_cluster_brings_it() {
    work_together(&Cluster::new(None));
}

/// Signer, relay, collector and their probes have the image of the command line as their only file system, and the paths that
/// were rendered are theirs to the letter.
#[test]
fn the_pods_work_together_in_the_image_of_the_command_line() {
    work_together(&Cluster::new(Some(Image::built())));
}

fn work_together(cluster: &Cluster) {
    let place = &cluster.place;
    let [gateway, admin, metrics, relay_port, _] = cluster.ports;
    // The collector.
    cluster.mount("collector");
    let collector = cluster.container("StatefulSet", "exeat-egress-collector", "collector");
    let collector = place.start("collector", &words(&collector["command"]), &[]);
    collector.wait_for_log("listening on", LIMIT).unwrap();
    // The gateway's pod: the relay first, then Envoy.
    cluster.mount("gateway");
    let rendered = cluster.container("StatefulSet", "exeat-egress", "relay");
    let relay = place.start("gateway", &words(&rendered["command"]), &[]);
    place.wait(&relay, "gateway", &words(&rendered["startupProbe"]["exec"]["command"]));
    let module = place.directory("gateway", "/etc/exeat/module").join("plugin.wasm");
    std::os::unix::fs::symlink(artefacts::module().unwrap(), module).unwrap();
    let bootstrap = place.written("gateway", &cluster.map("exeat-egress-bootstrap", "envoy.yaml"));
    place.file("gateway", "/etc/exeat/bootstrap/envoy.yaml", bootstrap);
    let listener = cluster.map("exeat-egress-listener", "listener.yaml");
    cluster.mount_listener(&listener, 1);
    let rendered = cluster.container("StatefulSet", "exeat-egress", "envoy");
    let variable = &rendered["env"][0];
    assert_eq!(variable["valueFrom"]["secretKeyRef"]["key"], "EXEAT_GATEWAY_KEY");
    let key = place.gateway.evidence_key.as_str();
    let mut command = words(&rendered["command"]);
    let drain = command.iter().position(|word| word == "--drain-time-s").unwrap();
    command[drain + 1] = "1".to_owned();
    let envoy = place.start("gateway", &command, &[(variable["name"].as_str().unwrap(), key)]);
    listening(&envoy, gateway);
    // The agents' pod.
    cluster.mount("agent");
    place.file("agent", "/etc/exeat/key/signer.key", place.gateway.signer.to_jwk(KEYID).as_str());
    place.directory("agent", "/run/exeat");
    place.directory("agent", "/var/spool/exeat");
    let rendered = cluster.container("Deployment", "exeat-egress-agent", "signer");
    let signer = place.start("agent", &words(&rendered["command"]), &[]);
    place.wait(&signer, "agent", &words(&rendered["startupProbe"]["exec"]["command"]));
    let session = session(&place.root("agent").join("run/exeat/control.sock"));
    let proxy = proxy_of(&session).unwrap();
    // What was signed within the gateway's first second counts as sent before its start.
    let port = place.upstream.address().port();
    let answer =
        envoy.wait_until("a request goes on", LIMIT, || Some(ask(&proxy, port)).filter(|answer| answer.status == 200));
    let decision = answer.unwrap().header("exeat-decision").unwrap().to_owned();
    // A policy without the agent's rule; nothing is restarted.
    assert!(listener.contains("/v1/orders/*"));
    cluster.mount_listener(&listener.replace("/v1/orders/*", "/v1/other/*"), 2);
    envoy.wait_until("the new policy", LIMIT, || Some(()).filter(|()| ask(&proxy, port).status == 403)).unwrap();
    assert_eq!(ask(&proxy, port).header("exeat-reason"), Some("path-denied"));
    // And back, under a revision of its own: what Envoy still has from before it does not hand to the filter again.
    cluster.mount_listener(&listener.replace("revision-1", "revision-3"), 3);
    envoy.wait_until("the policy before", LIMIT, || Some(()).filter(|()| ask(&proxy, port).status == 200)).unwrap();
    // Who measures sees numbers, and nothing else of the administration.
    for (path, status) in
        [("/ready", 200), ("/stats/prometheus", 200), ("/relay/metrics", 200), ("/config_dump", 404), ("/", 404)]
    {
        let request = Request::new("GET", path).header("host", "x");
        assert_eq!(client::send(at(metrics), &request).unwrap().status, status, "{path}");
    }
    for request in [
        Request::new("POST", "/quitquitquit"),
        Request::new("POST", "/ready"),
        Request::new("GET", "/ready/../config_dump"),
    ] {
        let request = request.header("host", "x").body("");
        assert_eq!(client::send(at(metrics), &request).unwrap().status, 404);
    }
    // The pod is to go: first it takes no connection any more.
    let leave =
        words(&cluster.container("StatefulSet", "exeat-egress", "envoy")["lifecycle"]["preStop"]["exec"]["command"]);
    let said = place.command("gateway", &leave).output().unwrap();
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("200 OK"), "{said:?}");
    envoy.wait_until("no connection is taken", LIMIT, || TcpStream::connect(at(gateway)).err().map(drop)).unwrap();
    // Then Envoy ends, and after it the relay, which has the last batch by then.
    wait_for_silence(&envoy, admin);
    envoy.stop(GRACE).unwrap();
    let passed_on = || passed_on(relay_port).then_some(());
    relay.wait_until("the collector has everything", LIMIT, passed_on).unwrap();
    relay.stop(GRACE).unwrap();
    signer.stop(GRACE).unwrap();
    let store = place.root("collector").join("var/lib/exeat/evidence.db");
    let stored = exeat(&["audit", "list", "--json", "--limit", "0", "--outcome", "allow"], |command| {
        _ = command.arg("--db").arg(&store)
    });
    assert!(stored.unwrap().contains(&decision));
    verify(place, &store);
}

fn verify(place: &Place, store: &Path) {
    let key = format!("{}={}", place.gateway.id, place.gateway.evidence_public);
    exeat(&["audit", "verify", "--key", &key], |command| _ = command.arg("--db").arg(store)).unwrap();
}

fn listening(envoy: &Process, port: u16) {
    envoy.wait_until("the gateway listens", LIMIT, || TcpStream::connect(at(port)).ok().map(drop)).unwrap();
}

/// Until nothing waits in the gateway's memory, as its administration says: its listeners are gone.
fn wait_for_silence(envoy: &Process, admin: u16) {
    let silent = || {
        let text = client::send(at(admin), &Request::new("GET", "/stats/prometheus").header("host", "x")).ok()?.text();
        text.lines().any(|line| line == "exeat_evidence_queue_records{} 0").then_some(())
    };
    envoy.wait_until("nothing waits for the relay", LIMIT, silent).unwrap();
}

fn passed_on(relay: u16) -> bool {
    let request = Request::new("GET", "/metrics").header("host", "x");
    client::send(at(relay), &request)
        .is_ok_and(|answer| answer.text().contains("exeat_collector_forward_waiting_batches 0\n"))
}
