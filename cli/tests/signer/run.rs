//! `exeat run`.

use crate::stage::{AGENT, Signer, eventually, exeat, is_root};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};

fn run(signer: &Signer, options: &[&str], program: &[&str]) -> Command {
    let mut command = exeat();
    command.arg("run").arg("--control").arg(&signer.control).args(options).arg("--").args(program).stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn no_session_is_left(signer: &Signer) {
    assert_eq!(signer.ask("GET", "/v1/sessions", None).json()["sessions"], serde_json::json!([]));
}

#[test]
fn a_program_that_knows_nothing_goes_through_the_gateway() {
    let signer = Signer::start(&[]);
    let facts = [
        "--agent",
        "support/summarizer",
        "--session",
        "s-7",
        "--user",
        "u-1",
        "--tenant",
        "acme",
        "--role",
        "support",
        "--provenance",
        "user",
        "--data-class",
        "internal",
        "--attribute",
        "ticket=T-7",
        "--destination",
        "*.acme.example",
    ];
    let script = "curl --silent --max-time 60 https://api.acme.example/v1 && test -z \"${SSL_CERT_DIR+x}\"";
    let output = run(&signer, &facts, &["sh", "-c", script]).env("SSL_CERT_DIR", "/etc/ssl/certs").output().unwrap();
    assert!(output.status.success() && output.stdout == b"hello s-7\n", "{}", text(&output));
    let arrival = signer.gateway.arrivals().pop().unwrap();
    assert_eq!((arrival.context.user.as_deref(), arrival.context.tenant.as_deref()), (Some("u-1"), Some("acme")));
    assert_eq!(arrival.context.attributes["ticket"], "\"T-7\"");
    no_session_is_left(&signer);
    // The same user as the orchestrator: said, since nothing keeps the program from the control socket.
    assert!(text(&output).contains("--as USER"), "{}", text(&output));
}

#[test]
fn its_status_is_the_programs() {
    let signer = Signer::start(&[]);
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)] {
        let output = run(&signer, &["--agent", "a"], &["sh", "-c", script]).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{script}: {}", text(&output));
    }
    let output = run(&signer, &["--agent", "a"], &["/no/such/program"]).output().unwrap();
    assert!(output.status.code() == Some(1) && text(&output).contains("cannot start"), "{}", text(&output));
    no_session_is_left(&signer);
}

#[test]
fn signals_reach_the_program() {
    let signer = Signer::start(&[]);
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::USR1, 10), (Signal::INT, 2)] {
        let ready = signer.folder.path().join(format!("ready-{number}"));
        let script = format!(
            "trap 'kill $!; exit {}' TERM HUP USR1 INT; sleep 600 & touch {}; wait",
            40 + number,
            ready.display()
        );
        let mut child = run(&signer, &["--agent", "a"], &["sh", "-c", &script]).stderr(Stdio::null()).spawn().unwrap();
        eventually("the program to wait", || ready.exists().then_some(()));
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
        let status = eventually("the program to end", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(40 + number), "{:?}", status.signal());
    }
    no_session_is_left(&signer);
}

/// A program of another user reaches the gateway, and neither control socket, key nor keeper.
#[test]
fn a_program_of_another_user_is_separated() {
    if !is_root() {
        return;
    }
    let signer = Signer::start(&["--proxy-user", "54323"]);
    let key = signer.folder.path().join("signer.key");
    let script = format!(
        "id -u; id -G; curl --silent --max-time 60 https://api.acme.example/; \
         curl --silent --unix-socket {control} http://signer/v1/sessions && echo reached-control; \
         cat {key} 2>&1 && echo reached-key; cat /proc/{pid}/mem /proc/{pid}/environ 2>&1 && echo reached-memory; \
         grep NoNewPrivs /proc/self/status",
        control = signer.control.display(),
        key = key.display(),
        pid = signer.pid(),
    );
    let as_agent = AGENT.to_string();
    let output = run(&signer, &["--agent", "a", "--session", "s-1", "--as", &as_agent], &["sh", "-c", &script]);
    let output = { output }.output().unwrap();
    let out = text(&output);
    assert!(out.starts_with("54321\n54321\nhello s-1\n"), "{out}");
    assert!(!out.contains("reached") && out.contains("NoNewPrivs:\t1"), "{out}");
    assert!(!out.contains("--as USER"), "{out}");
    no_session_is_left(&signer);
    let output = run(&signer, &["--agent", "a", "--as", "0"], &["true"]).output().unwrap();
    assert!(text(&output).contains("can read the signer's key"), "{}", text(&output));
}

#[test]
fn what_cannot_be_done_is_said() {
    let signer = Signer::start(&["--orchestrator-uid", "54321"]);
    let output = run(&signer, &["--agent", "a"], &["true"]).output().unwrap();
    assert!(text(&output).contains("--orchestrator-uid"), "{}", text(&output));
    let mut command = exeat();
    command.args(["run", "--agent", "a", "--control", "/no/such/socket", "--", "true"]);
    let output = command.output().unwrap();
    assert!(text(&output).contains("Is `exeat signer` running"), "{}", text(&output));
    let signer = Signer::start(&[]);
    let output = run(&signer, &["--agent", "zoë"], &["true"]).output().unwrap();
    assert!(text(&output).contains("printable ASCII"), "{}", text(&output));
    let output = run(&signer, &["--agent", "a", "--attribute", "x"], &["true"]).output().unwrap();
    assert!(text(&output).contains("NAME=TEXT"), "{}", text(&output));
    if !is_root() {
        let output = run(&signer, &["--agent", "a", "--as", "nobody"], &["true"]).output().unwrap();
        assert!(text(&output).contains("only root"), "{}", text(&output));
    }
}
