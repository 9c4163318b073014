//! Tokens over time: what was remembered ends with the token, with its key and with the policy; and hosts that cannot verify.
//! What single tokens come to is in tests/scenarios/session.yaml.

#![cfg(test)]

use exeat_e2e::scenario::document::ScenarioStep;
use exeat_e2e::scenario::document::fill_in;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::harness::{Harness, UPSTREAM_PORT};
use exeat_e2e::scenario::real::{RealEnvoy, framed};
use exeat_e2e::scenario::subject::{Reply, Subject};
use exeat_e2e::scenario::token::verify_signature;
use exeat_e2e::scenario::wire::{self, WireRequest};
use exeat_e2e::stage::Error;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::client::{Connection, Response};
use exeat_engine::policy::Configuration;
use exeat_host_test::{Host, Status};
use std::time::Duration;

/// A request that the policy `session` allows, with the token described.
fn request(subject: &dyn Subject, jwt: &str) -> WireRequest {
    let text = format!(
        "name: read\nrequest: {{method: GET, url: \"http://eu.crm.acme.example:@PORT@/v1/orders/7\"}}\njwt: {jwt}\n\
         expect: {{outcome: allow, reason: permitted, status: 200}}\n"
    );
    let port = subject.upstream_port().to_string();
    let step: ScenarioStep = serde_saphyr::from_str(&fill_in(&text, &[("PORT", &port)])).unwrap();
    wire::build(&step, subject.gateway(), subject.now()).unwrap()
}

fn reason(reply: &Reply) -> String {
    let reason = reply.json().get("reason").and_then(|reason| reason.as_str().map(str::to_owned));
    reason.unwrap_or_else(|| reply.status.to_string())
}

#[test]
fn a_remembered_token_ends_to_the_second_on_the_harness() {
    let mut harness = Harness::start("session").unwrap();
    for key in ["ed", "ec", "rsa"] {
        let request = request(&harness, &format!("{{key: {key}, claims: {{exp: 10}}}}"));
        let mut outcomes = Vec::new();
        // Skew is one second in this policy; the clock stands still between these steps.
        for step in [0, 5, 6, 1] {
            harness.worker().advance(Duration::from_secs(step)).unwrap();
            outcomes.push(reason(&harness.send(&request).unwrap()));
        }
        assert_eq!(outcomes, ["200", "200", "200", "signature-expired"], "{key}");
    }
}

#[test]
fn a_remembered_token_ends_on_the_real_envoy() {
    let mut real = RealEnvoy::start("session", 1).unwrap();
    // Whole seconds: it ends within three seconds from now, and counts one second longer.
    let requests: Vec<_> = ["ed", "ec", "rsa"]
        .map(|key| request(&real, &format!("{{key: {key}, claims: {{exp: 3}}}}")))
        .into_iter()
        .collect();
    for request in &requests {
        assert_eq!(real.send(request).unwrap().status, 200);
    }
    std::thread::sleep(Duration::from_millis(4_100));
    for request in &requests {
        assert_eq!(reason(&real.send(request).unwrap()), "signature-expired");
    }
}

/// The key of tokens leaves the policy: what was remembered goes with it, on connections that stay open too.
#[test]
fn a_remembered_token_ends_with_its_key() {
    let real = RealEnvoy::start("session", 2).unwrap();
    let [old, ec] = ["ed", "ec"].map(|key| framed(&request(&real, &format!("{{key: {key}}}"))));
    let mut kept: Vec<_> = (0..4).map(|_| Connection::open(real.listener).unwrap()).collect();
    let status = |response: Response| match response.status {
        200 => "permitted".to_owned(),
        _ => response.json().unwrap()["reason"].as_str().unwrap().to_owned(),
    };
    for connection in &mut kept {
        for request in [&old, &old, &ec] {
            assert_eq!(status(connection.send(request).unwrap()), "permitted");
        }
    }
    let file = real.gateway().policy().join("platform.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.contains("kid: ed,")).unwrap();
    std::fs::write(&file, text.replace(&format!("{line}\n"), "")).unwrap();
    let accepted = || real.envoy.log().matches("configuration accepted").count();
    let before = accepted();
    real.update().unwrap();
    // Two workers, the main thread and the base VM.
    let reached = || (accepted() >= before + 4).then_some(());
    real.envoy.process().wait_until("the policy in every worker", Duration::from_secs(30), reached).unwrap();
    for connection in &mut kept {
        assert_eq!(status(connection.send(&old).unwrap()), "key-unknown");
        assert_eq!(status(connection.send(&ec).unwrap()), "permitted");
    }
}

/// A foreign function of a host.
type Foreign = fn(&[u8]) -> Result<Vec<u8>, Status>;

/// Hosts in place of Envoy: what its foreign function answers, if there is one.
fn configured(foreign: Option<Foreign>) -> (bool, String) {
    let gateway = Gateway::prepare("session", UPSTREAM_PORT).unwrap();
    let mut host = Host::builder()
        .module_file(artefacts::module().unwrap())
        .env("EXEAT_GATEWAY_KEY", &gateway.evidence_key)
        .cluster("exeat-collector")
        .configuration(gateway.configuration.clone());
    if let Some(foreign) = foreign {
        host = host.foreign("verify_signature", move |call| foreign(call.arguments));
    }
    let host = host.build().unwrap();
    let accepted = host.worker().is_ok();
    (accepted, host.log().iter().map(|entry| format!("{}\n", entry.message)).collect())
}

#[test]
fn a_host_that_cannot_verify_is_a_configuration_error() {
    assert!(configured(Some(verify_signature)).0);
    let place = "policy: /signers/1/keys/1/public: this gateway cannot verify ES256 with it: ";
    for (foreign, problem) in [
        (None, "the host has no verify_signature"),
        (Some((|_| Err(Status::Unimplemented)) as Foreign), "the host's verify_signature gives status 12"),
        (Some(|_| Err(Status::BadArgument)), "the host cannot read the key"),
        (Some(|_| Ok(vec![8, 1])), "it gives wrong answers"),
        (Some(|_| Ok(Vec::new())), "it gives wrong answers"),
        (Some(|_| Ok(b"yes".to_vec())), "the answer of the host's verify_signature cannot be read"),
    ] {
        let (accepted, log) = configured(foreign);
        assert!(!accepted && log.contains(&format!("{place}{problem}")), "{problem}: {log}");
    }
}

/// The engine takes any two coordinates; whether they are a point on the curve is for the host to say.
#[test]
fn the_real_envoy_refuses_a_key_that_is_no_point() {
    let real = RealEnvoy::start("session", 1).unwrap();
    let file = real.gateway().policy().join("platform.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let at = text.find(", y: \"").unwrap() + 6;
    let (before, after) = text.split_at(at);
    let off_the_curve = format!("{before}{}{}", "A".repeat(43), after.split_at(43).1);
    std::fs::write(&file, &off_the_curve).unwrap();
    let compiled = real.gateway().compile().unwrap();
    assert!(Configuration::accept(compiled.as_bytes()).is_ok(), "only a host can tell");
    let refused = real.update().unwrap_err();
    let Some(Error::Rejected(log)) = refused.downcast_ref::<Error>() else { panic!("{refused:?}") };
    assert!(log.contains("/signers/1/keys/1/public: this gateway cannot verify ES256 with it"), "{log}");
    // The policy before goes on.
    let mut connection = Connection::open(real.listener).unwrap();
    let response = connection.send(&framed(&request(&real, "{key: ec}"))).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
}
