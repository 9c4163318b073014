//! Registries that refuse, lie, or are not there.

use super::support::{copied, docker, hex, package, pushed, raw, refused, report, sha256};
use exeat_e2e::stage::ports;
use exeat_e2e::stage::registry::{Options, PASSWORD, Registry, skopeo};
use exeat_e2e::stage::tls::Authority;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

fn to(registry: SocketAddr, tag: &str) -> Command {
    let mut command = package();
    command.arg("--push").arg(format!("{registry}/team/exeat:{tag}"));
    command
}

fn plain(registry: SocketAddr) -> Command {
    let mut command = to(registry, "v1");
    command.arg("--plain-http");
    command
}

#[test]
fn what_is_there_is_not_sent_again() {
    let registry = Registry::start(&Options::default()).unwrap();
    let first = pushed(&registry, "v1");
    let uploads =
        || registry.requests(&["POST /v2/team/exeat/blobs/", "PATCH /v2/", "PUT /v2/team/exeat/blobs/"]).len();
    let before = uploads();
    assert!(before > 0, "the first push must have sent something, or the next line says nothing");
    let second = pushed(&registry, "v2");
    assert_eq!(uploads(), before);
    assert_eq!((&second["pushed"]["sent"], &second["pushed"]["there"]), (&0.into(), &first["pushed"]["sent"]));
    for form in ["image", "artifact", "sbom of the image", "sbom of the artifact"] {
        assert_eq!(hex(&first, form), hex(&second, form));
    }
}

#[test]
fn a_registry_with_a_password_takes_the_right_one_from_where_it_may_stand() {
    let registry = Registry::start(&Options { password: true, ..Options::default() }).unwrap();
    let address = registry.address();
    let (user, password) = PASSWORD;
    let with_environment = |user: &str, password: &str| {
        let mut command = plain(address);
        command.env("EXEAT_REGISTRY_USERNAME", user).env("EXEAT_REGISTRY_PASSWORD", password);
        command
    };
    let nobody = refused(plain(address));
    assert!(nobody.contains(&format!("{address} refuses us without credentials (401)")), "{nobody}");
    assert!(nobody.contains("--password-stdin"), "{nobody}");
    let wrong = refused(with_environment(user, "wrong-for-tests"));
    assert!(wrong.contains("refuses us as \"tester\" (from EXEAT_REGISTRY_USERNAME) (401"), "{wrong}");
    assert!(!wrong.contains("wrong-for-tests"), "a password was printed: {wrong}");
    let half = refused({
        let mut command = plain(address);
        command.env("EXEAT_REGISTRY_USERNAME", user);
        command
    });
    assert!(half.contains("EXEAT_REGISTRY_PASSWORD is not"), "{half}");
    assert!(registry.requests(&["PUT /v2/", "PATCH /v2/"]).is_empty());

    report(with_environment(user, password));
    // What `docker login` writes.
    let folder = tempfile::tempdir().unwrap();
    let login = |file: &str, secret: &str| {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"));
        let text = serde_json::json!({"auths": {address.to_string(): {"auth": auth}}});
        std::fs::write(folder.path().join(file), text.to_string()).unwrap();
    };
    login("config.json", password);
    let mut docker = plain(address);
    docker.env("DOCKER_CONFIG", folder.path());
    report(docker);
    login("auth.json", password);
    let mut podman = plain(address);
    podman.env("REGISTRY_AUTH_FILE", folder.path().join("auth.json"));
    report(podman);
    login("config.json", "wrong-for-tests");
    let mut stale = plain(address);
    stale.env("DOCKER_CONFIG", folder.path());
    assert!(refused(stale).contains("config.json) (401"));
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    let mut broken = plain(address);
    broken.env("DOCKER_CONFIG", folder.path());
    assert!(refused(broken).contains("config.json: credentials for"));

    // From standard input it comes before all others.
    let given = |secret: &str| {
        let mut command = with_environment(user, "wrong-for-tests");
        let file = folder.path().join("password");
        std::fs::write(&file, secret).unwrap();
        command.args(["--username", user, "--password-stdin"]).stdin(Stdio::from(std::fs::File::open(file).unwrap()));
        command
    };
    report(given(&format!("{password}\n")));
    assert!(refused(given("\n")).contains("there is no password on standard input"));
    let mut shown = plain(address);
    shown.args(["--username", user, "--password", password]);
    assert_eq!(shown.output().unwrap().status.code(), Some(2), "a password was taken from the command line");
}

#[test]
fn other_bytes_in_the_registry_are_noticed() {
    let registry = Registry::start(&Options::default()).unwrap();
    let first = pushed(&registry, "v1");
    let manifest: Value = serde_json::from_slice(&raw(&docker(&first, "artifact"))).unwrap();
    let digest = manifest["layers"][1]["digest"].as_str().unwrap();
    let file = registry.blob(digest.strip_prefix("sha256:").unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    // The registry says that it has the blob, so nothing is sent; and yet it must not pass for pushed.
    let again = refused(plain(registry.address()));
    assert!(again.contains(&format!("has other bytes under {digest}")), "{again}");
    // Readers who hold bytes against digests are safe; this is what skopeo, Istio and Envoy Gateway do.
    let folder = tempfile::tempdir().unwrap();
    let target = format!("dir:{}", folder.path().join("copy").display());
    let copy = skopeo(&["copy", "--quiet", "--src-tls-verify=false", &docker(&first, "artifact"), &target]).unwrap();
    assert!(copy.unwrap_err().to_lowercase().contains("digest"));
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    assert_eq!(pushed(&registry, "v1")["pushed"]["sent"], 0);
    copied(&docker(&first, "artifact"), &folder.path().join("whole"));
    assert_eq!(sha256(&bytes), digest.strip_prefix("sha256:").unwrap());
}

#[test]
fn tls_is_the_rule_and_its_certificates_are_checked() {
    let (ours, theirs) = (Authority::new("ours").unwrap(), Authority::new("theirs").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path
    };
    let (our_file, their_file) = (file("ours.pem", &ours), file("theirs.pem", &theirs));
    let identity = ours.server_of(&["127.0.0.1"]).unwrap();
    let registry = Registry::start(&Options { identity: Some(&identity), ..Options::default() }).unwrap();
    let address = registry.address();
    let with = |authority: &std::path::Path| {
        let mut command = to(address, "v1");
        command.arg("--registry-ca").arg(authority);
        command
    };
    assert_eq!(report(with(&our_file))["manifests"].as_array().unwrap().len(), 4);
    for refusal in [refused(with(&their_file)), refused(to(address, "v1"))] {
        assert!(refusal.contains(&format!("the certificate of {address} is not trusted")), "{refusal}");
        assert!(refusal.contains("--registry-ca"), "{refusal}");
    }
    // A certificate for another name.
    let other = ours.server_of(&["registry.example"]).unwrap();
    let named = Registry::start(&Options { identity: Some(&other), ..Options::default() }).unwrap();
    let mut wrong = to(named.address(), "v1");
    wrong.arg("--registry-ca").arg(&our_file);
    assert!(refused(wrong).contains("is not trusted"));
    // Without TLS where there is some, and the other way round.
    let refusal = refused(plain(address));
    assert!(refusal.contains("400") && refusal.contains("leave --plain-http out"), "{refusal}");
    let open = Registry::start(&Options::default()).unwrap();
    let mut asked = to(open.address(), "v1");
    asked.arg("--registry-ca").arg(&our_file);
    let refusal = refused(asked);
    assert!(refusal.contains("does not speak TLS") && refusal.contains("--plain-http"), "{refusal}");
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap()));
    let refusal = refused(plain(nobody));
    assert!(refusal.contains(&format!("{nobody} cannot be reached")), "{refusal}");
    assert!(refusal.to_lowercase().contains("refused"), "{refusal}");
}
