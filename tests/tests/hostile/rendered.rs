//! The rendered configuration as it stands, started without the stage's own changes to it.

use exeat_e2e::scenario::gateway::{Gateway, exeat};
use exeat_e2e::stage::process::Process;
use exeat_e2e::stage::{artefacts, ports};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

#[test]
fn administration_can_be_out_of_reach_of_agents_on_the_same_network() {
    let gateway = Gateway::prepare("main", 18_080).unwrap();
    let (socket, bootstrap) = (gateway.file("admin.sock"), gateway.file("envoy.yaml"));
    let listen = format!("127.0.0.1:{}", ports::free().unwrap());
    exeat(&["render", "envoy"], |command| {
        command.arg("--gateway").arg(gateway.document()).arg("--policy").arg(gateway.policy());
        command.arg("--module").arg(artefacts::module().unwrap());
        command.args(["--listen", &listen, "--collector", "127.0.0.1:9"]);
        command.arg(format!("--admin=unix:{}", socket.display())).arg("-o").arg(&bootstrap);
    })
    .unwrap();
    let mut command = Command::new(artefacts::envoy().unwrap());
    command.arg("--config-path").arg(&bootstrap).args(["--disable-hot-restart", "--concurrency", "1"]);
    command.env("EXEAT_GATEWAY_KEY", &gateway.evidence_key);
    let envoy = Process::spawn("Envoy", &command, &gateway.file("envoy.log")).unwrap();
    envoy.wait_until("answer on the socket", Duration::from_secs(60), || ask(&socket)).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
}

fn ask(socket: &std::path::Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /listeners HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains("egress::").then_some(answer)
}
