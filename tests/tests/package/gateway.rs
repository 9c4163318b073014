//! From policy file to enforced request, with the module that a gateway fetches from a registry.

use super::fetch;
use super::support::{copied, docker, hex, manifest, module, pushed, raw, sha256};
use exeat_e2e::scenario::document::{ScenarioStep, fill_in};
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::{Around, RealEnvoy};
use exeat_e2e::scenario::subject::{Reply, Subject as _};
use exeat_e2e::scenario::wire;
use exeat_e2e::stage::registry::{Options, Registry};
use exeat_e2e::stage::upstream::Upstream;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// A request of the main policy's agent, by this method.
fn send(real: &mut RealEnvoy, method: &str) -> Reply {
    let text = r#"
name: orders
request: {method: @METHOD@, url: "http://eu.crm.acme.example:@PORT@/v1/orders/7"}
sign: {agent: support/summarizer, session: s-1, tenant: acme, tool: crm.lookup, data_class: confidential, provenance: [user]}
expect: {outcome: allow, reason: permitted, status: 200}
"#;
    let port = real.upstream_port().to_string();
    let step: ScenarioStep = serde_saphyr::from_str(&fill_in(text, &[("PORT", &port), ("METHOD", method)])).unwrap();
    let request = wire::build(&step, real.gateway(), real.now()).unwrap();
    real.send(&request).unwrap()
}

/// The record of a decision.
fn decision(real: &mut RealEnvoy, reply: &Reply) -> Value {
    let id = reply.header("exeat-decision").unwrap().to_owned();
    let records = real.records(&id).unwrap();
    records.into_iter().find(|record| record["kind"] == "decision" && record["id"] == id.as_str()).unwrap()
}

fn enforced_by(module: &Path) {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("main", upstream.address().port()).unwrap();
    let around = Around { module: Some(module.to_owned()), ..Around::default() };
    let mut real = RealEnvoy::start_amid(gateway, upstream, 1, around, |_| ()).unwrap();

    let reply = send(&mut real, "GET");
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let record = decision(&mut real, &reply);
    assert_eq!((&record["outcome"], &record["reason"]), (&"allow".into(), &"permitted".into()));
    let arrived = real.arrived().unwrap();
    let arrived: Vec<_> = arrived.iter().map(|request| (request.method.as_str(), request.path.as_str())).collect();
    assert_eq!(arrived, [("GET", "/v1/orders/7")]);

    let reply = send(&mut real, "DELETE");
    assert_eq!((reply.status, &reply.json()["reason"]), (403, &"method-denied".into()));
    let record = decision(&mut real, &reply);
    assert_eq!((&record["outcome"], &record["released"]), (&"deny".into(), &"none".into()));
    assert!(real.arrived().unwrap().is_empty());
    real.verify_settled(Duration::from_secs(30)).unwrap();
}

#[test]
fn what_was_pushed_is_what_gateways_unpack_and_enforces_the_policy() {
    let registry = Registry::start(&Options::default()).unwrap();
    let report = pushed(&registry, "v1");
    assert_eq!(report["module"]["digest"], format!("sha256:{}", sha256(&module())));
    let folder = tempfile::tempdir().unwrap();
    let mut modules = Vec::new();
    for form in ["image", "artifact"] {
        let told = manifest(&report, form);
        // By tag and by digest, the bytes are those that the digest stands for.
        for reference in [docker(&report, form), format!("docker://{}", told["tag"].as_str().unwrap())] {
            assert_eq!(sha256(&raw(&reference)), hex(&report, form), "{reference}");
        }
        let copy = folder.path().join(form);
        copied(&docker(&report, form), &copy);
        let unpacked = fetch::module(&copy, hex(&report, form)).unwrap();
        assert!(unpacked == module(), "the {form} holds another module");
        assert!(fetch::module(&copy, &sha256(&module())).unwrap_err().contains("does not match"));
        let file = folder.path().join(format!("{form}.wasm"));
        std::fs::write(&file, unpacked).unwrap();
        modules.push(file);
    }
    modules.iter().for_each(|module| enforced_by(module));
}
