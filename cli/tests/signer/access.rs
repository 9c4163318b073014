//! Who gets to the control socket.

use crate::stage::{AGENT, OTHER, Signer, ask, is_root, own};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Asks as another user; what curl prints.
fn ask_as(uid: u32, signer: &Signer, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--write-out", " %{http_code}", "--unix-socket"])
        .arg(&signer.control)
        .args(arguments)
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn users_who_are_not_named_are_cut_off() {
    // Whoever runs this test is not among them.
    let signer = Signer::start(&["--orchestrator-uid", "54321"]);
    for (method, resource) in [("GET", "/healthz"), ("GET", "/v1/sessions"), ("POST", "/v1/sessions")] {
        assert!(ask(&signer.control, method, resource, r#"{"agent": "a"}"#).is_none());
    }
    assert!(signer.log().contains("turned away"), "{}", signer.log());
    if !is_root() {
        return;
    }
    let (answered, text) = ask_as(AGENT, &signer, &["http://signer/v1/sessions", "--data", r#"{"agent": "a"}"#]);
    assert!(answered && text.ends_with(" 201"), "{text}");
    let (answered, text) = ask_as(OTHER, &signer, &["http://signer/v1/sessions"]);
    assert!(!answered && text.contains(" 000"), "{text}");
}

#[test]
fn only_the_signers_own_user_can_open_the_socket_unless_others_are_named() {
    let signer = Signer::start(&[]);
    let mode = std::fs::metadata(&signer.control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(signer.ask("GET", "/healthz", None).body, "ok\n");
    if is_root() {
        let (answered, text) = ask_as(AGENT, &signer, &["http://signer/healthz"]);
        assert!(!answered, "{text}");
    }
}

#[test]
fn tools_may_report_and_nothing_else() {
    if !is_root() {
        return;
    }
    let signer = Signer::start(&["--tool-uid", "54321"]);
    let session = signer.open(&json!({"agent": "a", "provenance": ["user"]}));
    let id = session["id"].as_str().unwrap();
    let url = |resource: &str| format!("http://signer/v1/sessions/{id}{resource}");
    for (allowed, arguments) in [
        (true, vec![url("/tool"), "--data".to_owned(), r#"{"tool": "web"}"#.to_owned()]),
        (true, vec![url("/provenance"), "--data".to_owned(), r#"{"provenance": ["third-party"]}"#.to_owned()]),
        (true, vec!["http://signer/healthz".to_owned()]),
        (false, vec!["http://signer/v1/sessions".to_owned(), "--data".to_owned(), r#"{"agent": "a"}"#.to_owned()]),
        (false, vec!["http://signer/v1/sessions".to_owned()]),
        (false, vec![url("")]),
        (false, vec![url(""), "--request".to_owned(), "DELETE".to_owned()]),
        (
            false,
            vec![url(""), "--request".to_owned(), "PATCH".to_owned(), "--data".to_owned(), r#"{"life": 1}"#.to_owned()],
        ),
        (false, vec!["http://signer/v1/keys/rotate".to_owned(), "--request".to_owned(), "POST".to_owned()]),
        (false, vec!["http://signer/metrics".to_owned()]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (answered, text) = ask_as(AGENT, &signer, &arguments);
        let expected = if allowed { " 200" } else { " 403" };
        assert!(answered && text.ends_with(expected), "{arguments:?}: {text}");
    }
    let state = signer.ask("GET", &format!("/v1/sessions/{id}"), None).json();
    assert_eq!((&state["tool"], &state["provenance"]), (&json!("web"), &json!(["user", "third-party"])));
}

#[test]
fn an_agent_is_never_one_of_the_signers_own_users() {
    let signer = Signer::start(&["--orchestrator-uid", "54321", "--orchestrator-uid", &own(), "--tool-uid", "54322"]);
    for (uid, whose) in [
        (0, "root"),
        (AGENT, "may open sessions"),
        (OTHER, "tools may report"),
        (exeat_signer::daemon::users::overflow_uid(), "cannot name"),
        (own().parse().unwrap(), if is_root() { "root" } else { "own user" }),
    ] {
        let answer = signer.ask("POST", "/v1/sessions", Some(&json!({"agent": "a", "uids": [uid]})));
        assert_eq!(answer.status, 422, "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["type"], "urn:exeat:signer:uid-closed");
        assert!(problem["detail"].as_str().unwrap().contains(whose), "{problem}");
    }
}

/// The port of a session serves only the users that it names, whatever password they have.
#[test]
fn another_users_agent_does_not_get_through_a_sessions_port() {
    if !is_root() {
        return;
    }
    let signer = Signer::start(&[]);
    let session = signer.open(&json!({"agent": "a", "uids": [AGENT]}));
    let proxy = session["proxy"].as_str().unwrap();
    let fetch = |uid: u32, proxy: &str| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--proxy", proxy, "http://api.acme.example/"]);
        curl.uid(uid).gid(uid).output().unwrap()
    };
    assert_eq!(fetch(AGENT, proxy).stdout, format!("hello {}\n", session["session"].as_str().unwrap()).into_bytes());
    for (uid, proxy) in [(OTHER, proxy.to_owned()), (AGENT, proxy.replace("exeat:", "exeat:x"))] {
        let output = fetch(uid, &proxy);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("hello"), "{uid}: {output:?}");
    }
    assert_eq!(signer.gateway.arrivals().len(), 1);
}

#[test]
fn a_session_on_a_unix_socket_serves_the_users_it_names() {
    let signer = Signer::start(&[]);
    let answer = signer.ask("POST", "/v1/sessions", Some(&json!({"agent": "a", "listen": "unix"})));
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("name those of the agent"), "{answer:?}");
    if !is_root() {
        return;
    }
    let session = signer.open(&json!({"agent": "a", "listen": "unix", "uids": [AGENT]}));
    let path = session["proxy"].as_str().unwrap().strip_prefix("unix:").unwrap();
    // With the socket in place of a host, and the target in absolute form, curl speaks to it as to a proxy.
    let fetch = |uid: u32| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "60", "--unix-socket", path]);
        curl.args(["--request-target", "http://api.acme.example/", "http://api.acme.example/"]);
        String::from_utf8(curl.uid(uid).gid(uid).output().unwrap().stdout).unwrap()
    };
    assert!(fetch(AGENT).starts_with("hello"));
    assert!(!fetch(OTHER).contains("hello"));
    assert_eq!(signer.gateway.arrivals().len(), 1);
}
