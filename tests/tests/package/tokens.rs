//! Registries that take tokens: theirs are from a service to which they send those who come.

use super::support::{hex, package, refused, report, sha256};
use exeat_e2e::stage::ports;
use exeat_e2e::stage::registry::{Options, PASSWORD, Registry, skopeo};
use exeat_e2e::stage::tls::Authority;
use exeat_e2e::stage::tokens::{IDENTITY, Manner, TokenService};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A registry that takes tokens of a service.
fn start(manner: Manner) -> (TokenService, Registry) {
    let service = TokenService::start(manner).unwrap();
    let realm = service.realm();
    let options = Options { tokens: Some((&realm, service.authority())), ..Options::default() };
    let registry = Registry::start(&options).unwrap();
    (service, registry)
}

fn push(registry: &Registry) -> Command {
    let mut command = package();
    command.arg("--push").arg(format!("{}/team/exeat:v1", registry.address())).arg("--plain-http");
    command
}

fn with_password(mut command: Command, password: &str) -> Command {
    command.env("EXEAT_REGISTRY_USERNAME", PASSWORD.0).env("EXEAT_REGISTRY_PASSWORD", password);
    command
}

fn pushing(registry: &Registry) -> Command {
    with_password(push(registry), PASSWORD.1)
}

/// Refused in one message that has all these words and no secret, with nothing tagged.
fn refused_with(registry: &Registry, command: Command, words: &[&str]) {
    let complaint = refused(command);
    for word in words {
        assert!(complaint.contains(word), "no {word:?} in: {complaint}");
    }
    use base64::Engine as _;
    let sent = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", PASSWORD.0, PASSWORD.1));
    for secret in [PASSWORD.1, IDENTITY, &sent, "wrong-for-tests", "eyJ"] {
        assert!(!complaint.contains(secret), "{secret:?} was printed: {complaint}");
    }
    assert_eq!(complaint.lines().count(), 1, "more than one message: {complaint}");
    assert_eq!(registry.tags(), Vec::<String>::new(), "something was tagged");
}

/// What stands there, as skopeo reads it with the password.
fn assert_whole(registry: &Registry, report: &Value) {
    let credentials = format!("{}:{}", PASSWORD.0, PASSWORD.1);
    for form in ["image", "artifact"] {
        let suffix = if form == "image" { "" } else { "-artifact" };
        let reference = format!("docker://{}/team/exeat:v1{suffix}", registry.address());
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", "--creds", &credentials, &reference]).unwrap();
        assert_eq!(sha256(&raw.unwrap()), hex(report, form));
        let nobody = skopeo(&["inspect", "--raw", "--tls-verify=false", &reference]).unwrap();
        assert!(nobody.is_err(), "the registry asks nobody for a token, so nothing was shown");
    }
}

#[test]
fn a_token_is_fetched_and_pushes() {
    let (service, registry) = start(Manner::Strict);
    let report = report(pushing(&registry));
    let asked = service.take();
    assert_eq!(asked.len(), 1, "one token does for a push: {asked:#?}");
    assert!(asked[0].path.contains("scope=repository%3Ateam%2Fexeat%3Apull%2Cpush"), "{}", asked[0].path);
    assert_whole(&registry, &report);
    let tags = registry.tags();
    for tag in ["v1", "v1-artifact", "v1-sbom", "v1-artifact-sbom"] {
        assert!(tags.iter().any(|own| own == tag), "{tag} is not in {tags:?}");
    }
}

#[test]
fn who_may_not_push_is_told_why_and_leaves_nothing() {
    let (service, registry) = start(Manner::Strict);
    let address = registry.address().to_string();
    let place = format!("its token service {}", service.realm());
    let wrong = with_password(push(&registry), "wrong-for-tests");
    let words =
        ["cannot sign in", &address, "as \"tester\" (from EXEAT_REGISTRY_USERNAME)", &place, "401", "incorrect"];
    refused_with(&registry, wrong, &words);
    assert_eq!(service.take().len(), 1, "a wrong password is not tried again: accounts are locked by that");
    let words =
        [&address, "without credentials (401)", &place, "granted nothing on team/exeat, not push", "docker login"];
    refused_with(&registry, push(&registry), &words);
    service.set(Manner::PullOnly);
    let words = [&address, "as \"tester\"", &place, "granted pull on team/exeat, not push", "may push there"];
    refused_with(&registry, pushing(&registry), &words);
    service.set(Manner::Ended);
    service.take();
    refused_with(&registry, pushing(&registry), &[&address, "(401)", "with a token of its token service"]);
    assert_eq!(service.take().len(), 2, "one token more, and then no more");
    assert!(registry.requests(&["PATCH /v2/"]).is_empty(), "something was sent");
}

#[test]
fn token_services_that_do_not_serve() {
    let (service, registry) = start(Manner::Fail);
    let (address, realm) = (registry.address().to_string(), service.realm());
    let words = [
        &*format!("the token service {realm}, to which {address} sends us, answers 503"),
        "(secret)",
        "try again later",
    ];
    refused_with(&registry, pushing(&registry), &words);
    service.set(Manner::Gossip);
    refused_with(&registry, pushing(&registry), &["answers 401", "(secret)"]);
    service.set(Manner::Nonsense);
    refused_with(&registry, pushing(&registry), &[&realm, "answers what is no token"]);

    let gone = format!("http://127.0.0.1:{}/token", ports::free().unwrap());
    let options = Options { tokens: Some((&gone, service.authority())), ..Options::default() };
    let registry = Registry::start(&options).unwrap();
    let words = [
        &*format!("the token service {gone}, to which {} sends us", registry.address()),
        "cannot be reached",
        "refused",
    ];
    refused_with(&registry, pushing(&registry), &words);
}

#[test]
fn passwords_are_not_sent_where_others_could_read_them() {
    let authority = Authority::new("registry").unwrap();
    let service = TokenService::start(Manner::Strict).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let identity = authority.server_of(&["127.0.0.1"]).unwrap();
    let realm = service.realm();
    let tokens = Some((realm.as_str(), service.authority()));
    let registry = Registry::start(&Options { identity: Some(&identity), tokens, ..Options::default() }).unwrap();
    let mut command = package();
    command.arg("--push").arg(format!("{}/team/exeat:v1", registry.address())).arg("--registry-ca").arg(&file);
    let words = [realm.as_str(), "without TLS", "Nothing was sent there", "https://"];
    refused_with(&registry, with_password(command, PASSWORD.1), &words);
    assert_eq!(service.take().len(), 0);
}

#[test]
fn tokens_that_end_meanwhile_are_replaced() {
    // The first lets us look, and no more: the registry refuses it in the middle.
    let (service, registry) = start(Manner::PullFirst);
    let pushed = report(pushing(&registry));
    assert_eq!(service.take().len(), 2);
    assert!(!registry.requests(&["POST /v2/team/exeat/blobs/uploads/"]).is_empty());
    assert_whole(&registry, &pushed);
    // By their own word they end at once: each request has one of its own.
    let (service, registry) = start(Manner::Short);
    let pushed = report(pushing(&registry));
    assert!(service.take().len() > 10);
    assert_whole(&registry, &pushed);
}

#[test]
fn a_service_that_goes_away_meanwhile_is_an_error() {
    let (service, registry) = start(Manner::PullOnce);
    let realm = service.realm();
    let words = ["the token had ended", realm.as_str(), "answers 503", "try again later"];
    refused_with(&registry, pushing(&registry), &words);
    assert_eq!(
        registry.requests(&["POST /v2/team/exeat/blobs/uploads/"]).len(),
        1,
        "it was to break off in the middle"
    );
    service.set(Manner::Strict);
    assert_whole(&registry, &report(pushing(&registry)));
}

/// What `docker login` and `podman login` store, and what it says of us.
#[test]
fn logins_that_are_stored_are_found() {
    use base64::Engine as _;
    let (service, registry) = start(Manner::Strict);
    let address = registry.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let (user, password) = PASSWORD;
    let auth = |password: &str| json!({"auth": base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))});
    let docker = |content: Value| {
        std::fs::write(folder.path().join("config.json"), content.to_string()).unwrap();
        let mut command = push(&registry);
        command.env("DOCKER_CONFIG", folder.path()).env("PATH", path_with(folder.path()));
        command
    };
    helper(folder.path(), "good", &json!({"ServerURL": address, "Username": user, "Secret": password}).to_string(), 0);
    helper(folder.path(), "identity", &json!({"Username": "<token>", "Secret": IDENTITY}).to_string(), 0);
    helper(folder.path(), "empty", "credentials not found in native keychain", 1);
    helper(folder.path(), "broken", &json!({"Username": user, "Secret": password}).to_string(), 3);
    for content in [
        json!({"auths": {&address: auth(password)}}),
        json!({"auths": {&address: {}}, "credsStore": "good"}),
        json!({"credHelpers": {&address: "good"}, "credsStore": "broken"}),
        json!({"auths": {&address: {"auth": "", "identitytoken": IDENTITY}}}),
        json!({"credsStore": "identity"}),
    ] {
        service.take();
        report(docker(content.clone()));
        let methods: Vec<_> = service.take().into_iter().map(|request| request.method).collect();
        let expected = if content.to_string().contains("identity") { "POST" } else { "GET" };
        assert_eq!(methods, [expected], "{content}");
    }
    // Parts of registries, as podman has them: the narrowest is it.
    let file = folder.path().join("auth.json");
    let narrow = json!({"auths": {&address: auth("wrong-for-tests"), format!("{address}/team"): auth(password)}});
    std::fs::write(&file, narrow.to_string()).unwrap();
    let mut podman = push(&registry);
    podman.env("REGISTRY_AUTH_FILE", &file);
    report(podman);

    // A helper that has no entry is nobody; one that fails is named, and what it printed is not shown.
    let nobody = refused(docker(json!({"credsStore": "empty"})));
    assert!(nobody.contains("without credentials"), "{nobody}");
    for name in ["broken", "absent"] {
        let complaint = refused(docker(json!({"credHelpers": {&address: name}})));
        assert!(
            complaint.contains("config.json: credentials for") && complaint.contains("credential helper"),
            "{complaint}"
        );
        assert!(!complaint.contains(password), "a password was printed: {complaint}");
    }
}

/// A credential helper.
fn helper(folder: &Path, name: &str, output: &str, code: i32) {
    let file = folder.join(format!("docker-credential-{name}"));
    std::fs::write(folder.join(format!("{name}.txt")), output).unwrap();
    let script =
        format!("#!/bin/sh\ncat >/dev/null\ncat '{}'\nexit {code}\n", folder.join(format!("{name}.txt")).display());
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn path_with(folder: &Path) -> String {
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default())
}
