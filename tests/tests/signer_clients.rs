//! Unmodified clients through `exeat run`, the signer and the real Envoy: what they send arrives signed, by HTTP and HTTPS, and
//! the evidence says what the session said of them.

#![cfg(test)]

use exeat_e2e::scenario::signed::{SPIFFE, Signed};
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::upstream::{Recorded, Reply, Upstream};
use exeat_e2e::workspace;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const CRM: &str = "eu.crm.acme.example";

#[test]
fn curl() {
    // The body waits in a file, which the proxy must be able to make however little else it may do.
    let signed = Signed::start(Upstream::start().unwrap(), &["--body-memory", "10KiB"]).unwrap();
    let body = signed.real.upstream.address().port().to_string() + &"x".repeat(100_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, format!("{{\"customer_id\": \"u-1042\", \"text\": \"{body}\"}}")).unwrap();
    check(&signed, |command, origin| {
        let script = "curl -sS -o /dev/null -w '%{http_code} ' \"$1/v1/orders/7?customer=u-1042\" && \
                      curl -sS -o /dev/null -w '%{http_code}\\n' -H 'content-type: application/json' --data-binary @\"$2\" \"$1/v1/search\"";
        command.args(["sh", "-c", script, "curl", origin]).arg(&file);
    });
}

#[test]
fn python() {
    let signed = Signed::start(Upstream::start().unwrap(), &[]).unwrap();
    for library in ["requests", "httpx", "aiohttp", "urllib"] {
        check(&signed, |command, origin| {
            let script = workspace().join("tests/clients/python/clients.py");
            command.arg(artefacts::clients_python().unwrap()).arg("-B").arg(script).args([library, origin]);
        });
    }
}

#[test]
fn node() {
    let signed = Signed::start(Upstream::start().unwrap(), &[]).unwrap();
    // Modules are looked for from where the importing file lies.
    let folder = tempfile::tempdir().unwrap();
    for file in ["package.json", "clients.js"] {
        std::fs::copy(workspace().join("tests/clients/node").join(file), folder.path().join(file)).unwrap();
    }
    let modules = artefacts::clients_node_modules().unwrap();
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    for library in ["axios", "undici"] {
        check(&signed, |command, origin| {
            command.arg("node").arg(folder.path().join("clients.js")).args([library, origin]);
        });
    }
}

/// A GET and a POST of 100 kB by HTTP and by HTTPS.
fn check(signed: &Signed, program: impl Fn(&mut Command, &str)) {
    for scheme in ["http", "https"] {
        let authority = format!("{CRM}:{}", signed.port());
        let mut command = signed.run().unwrap();
        program(&mut command, &format!("{scheme}://{authority}"));
        let output = run(&mut command);
        assert_eq!(told(&output), (Some(0), "200 200\n".to_owned()), "{output:?}\n{}", signed.signer.log_tail());
        let arrived = signed.real.upstream.take();
        let lines: Vec<_> = arrived.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
        assert_eq!(lines, ["GET /v1/orders/7?customer=u-1042", "POST /v1/search"], "{command:?}");
        for request in &arrived {
            assert_eq!(request.authority.as_deref(), Some(authority.as_str()));
            for name in ["agent-context", "signature", "signature-input", "content-digest", "proxy-authorization"] {
                assert_eq!(request.header(name), None, "{name} arrived");
            }
        }
        assert!(arrived[1].body_length > 100_000, "{} bytes", arrived[1].body_length);
        assert_eq!(serde_json::from_slice::<Value>(&arrived[1].body).unwrap()["customer_id"], "u-1042");
    }
    // What the orchestrator said stands in the evidence, and whose connection it came over.
    let records = signed.real.wait_for_records("decisions", |records| !allowed(records).is_empty()).unwrap();
    for record in allowed(&records) {
        let stated = ["agent", "tenant", "tool", "data_class", "provenance", "peer"].map(|name| record[name].clone());
        let expected = json!(["support/summarizer", "acme", "crm.lookup", "internal", ["user"], SPIFFE]);
        assert_eq!(Value::from(stated.to_vec()), expected);
    }
}

fn allowed(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["kind"] == "decision" && record["outcome"] == "allow").collect()
}

#[test]
fn the_openai_package() {
    let signed = Signed::start(Upstream::start_with(fake_model).unwrap(), &[]).unwrap();
    for scheme in ["http", "https"] {
        let mut command = signed.run().unwrap();
        let script = workspace().join("tests/clients/python/clients.py");
        let origin = format!("{scheme}://api.model.example:{}", signed.port());
        command.arg(artefacts::clients_python().unwrap()).arg("-B").arg(script).args(["openai", &origin]);
        let output = run(&mut command);
        assert_eq!(told(&output), (Some(0), "200 200\n".to_owned()), "{output:?}\n{}", signed.signer.log_tail());
        let arrived = signed.real.upstream.take();
        assert_eq!(arrived.len(), 2);
        assert!(arrived.iter().all(|request| request.header("authorization") == Some(b"Bearer none".as_slice())));
    }
}

/// As much of a model's interface as one question takes.
fn fake_model(request: &Recorded) -> Reply {
    let question: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = json!({"type": "output_text", "text": "hello", "annotations": []});
    let message =
        json!({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]});
    let response = json!({
        "id": "resp_1", "object": "response", "created_at": 0, "model": "gpt-5-mini", "status": "completed",
        "output": [message], "parallel_tool_calls": false, "tool_choice": "auto", "tools": [],
    });
    if question["stream"] != true {
        return Reply::new(200).header("content-type", "application/json").body(response.to_string());
    }
    let event = |number: u32, kind: &str, mut event: Value| {
        event["type"] = kind.into();
        event["sequence_number"] = number.into();
        format!("event: {kind}\ndata: {event}\n\n")
    };
    let delta =
        |text: &str| json!({"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text, "logprobs": []});
    Reply::new(200)
        .header("content-type", "text/event-stream")
        .chunk(Duration::ZERO, event(0, "response.output_text.delta", delta("hel")))
        .chunk(Duration::ZERO, event(1, "response.output_text.delta", delta("lo")))
        .chunk(Duration::ZERO, event(2, "response.completed", json!({"response": response})))
}

#[test]
fn git_over_https() {
    let folder = tempfile::tempdir().unwrap();
    let origin = folder.path().join("project.git");
    let work = folder.path().join("work");
    git(Command::new("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&origin));
    git(Command::new("git").arg("-C").arg(&origin).args(["config", "http.receivepack", "true"]));
    git(Command::new("git").args(["clone", "--quiet"]).args([&origin, &work]));
    std::fs::write(work.join("README"), "hello\n").unwrap();
    git(Command::new("git").current_dir(&work).args(["add", "README"]));
    let author = ["-c", "user.name=test", "-c", "user.email=test@acme.example"];
    git(Command::new("git").current_dir(&work).args(author).args(["commit", "--quiet", "-m", "Begin"]));
    git(Command::new("git").current_dir(&work).args(["push", "--quiet", "origin", "HEAD:main"]));

    let root = folder.path().to_owned();
    let upstream = Upstream::start_with(move |request| git_server(&root, request)).unwrap();
    let signed = Signed::start(upstream, &[]).unwrap();
    for scheme in ["http", "https"] {
        let clone = folder.path().join(scheme);
        let mut command = signed.run().unwrap();
        let url = format!("{scheme}://git.acme.example:{}/project.git", signed.port());
        command.args(["git", "clone", "--quiet", &url]).arg(&clone).env("GIT_TERMINAL_PROMPT", "0");
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", signed.signer.log_tail());
        assert_eq!(std::fs::read_to_string(clone.join("README")).unwrap(), "hello\n");
    }
    // What the policy does not name, a push, is refused by the gateway.
    let mut push = signed.run().unwrap();
    push.args(["git", "-C"]).arg(folder.path().join("https")).args(["push", "origin", "HEAD:other"]);
    assert_ne!(run(push.env("GIT_TERMINAL_PROMPT", "0")).status.code(), Some(0));
    let paths: Vec<String> = signed.real.upstream.take().into_iter().map(|request| request.path).collect();
    assert!(paths.iter().all(|path| !path.starts_with("/project.git/git-receive-pack")), "{paths:?}");
    assert!(!origin.join("refs/heads/other").exists());
}

/// Git's own server, as a web server runs it (CGI, RFC 3875).
fn git_server(root: &Path, request: &Recorded) -> Reply {
    let text = |name| request.header(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut command = Command::new("git");
    command.arg("http-backend").env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("PATH_INFO", path).env("QUERY_STRING", query).env("REQUEST_METHOD", &request.method);
    command.env("CONTENT_TYPE", text("content-type")).env("CONTENT_LENGTH", request.body_length.to_string());
    command.env("HTTP_CONTENT_ENCODING", text("content-encoding")).env("GIT_PROTOCOL", text("git-protocol"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &request.body).unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let fields: Vec<(&str, &str)> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = fields.iter().find(|(name, _)| *name == "Status").and_then(|(_, status)| status.split(' ').next());
    let status = status.map_or(200, |code| code.parse().unwrap());
    let reply = Reply::new(status).body(&output[end + 4..]);
    let fields = fields.iter().filter(|(name, _)| *name != "Status");
    fields.fold(reply, |reply, (name, value)| reply.header(&name.to_lowercase(), value))
}

fn git(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn run(command: &mut Command) -> Output {
    // What the machine is set up for does not count, only what the session says.
    for name in ["SSL_CERT_DIR", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "PYTHONPATH", "NODE_OPTIONS"] {
        command.env_remove(name);
    }
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
