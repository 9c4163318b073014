//! Collectors that ask for a token or a certificate.

use crate::scene::{LIMIT, Scene, of};
use exeat_e2e::scenario::gateway::{COLLECTOR_TOKEN, Gateway};
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, RealEnvoy};
use exeat_e2e::stage::client;
use exeat_e2e::stage::tls::Authority;
use exeat_e2e::stage::upstream::Upstream;
use serde_json::Value;

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_collector_gets_the_token_that_it_asks_for() {
    let asks =
        || Around { collector: strings(&["--token", &format!("env:{}", COLLECTOR_TOKEN.0)]), ..Around::default() };
    let token = format!("timeout: 2s, token: {{env: {}}}", COLLECTOR_TOKEN.0);
    let scene = Scene::start_amid(&[("timeout: 2s", &token)], 1, asks());
    let answers = [scene.send().unwrap()];
    scene.settled(&answers);
    // What the gateway holds in its configuration is the name alone.
    let dump = scene.real.envoy.admin("GET", "/config_dump").unwrap().text();
    assert!(dump.contains(COLLECTOR_TOKEN.0) && !dump.contains(COLLECTOR_TOKEN.1));

    let without = Scene::start_amid(&[], 1, asks());
    assert_eq!(without.send().unwrap().status, 200);
    without.real.envoy.wait_for_log("evidence is not delivered: the collector answered 401", LIMIT).unwrap();
    assert_eq!(without.real.all_records().unwrap().len(), 0);
}

#[test]
fn a_collector_with_mutual_tls_gets_the_certificate() {
    let (upstream, authority) = (Upstream::start().unwrap(), Authority::new("acme").unwrap());
    let gateway = Gateway::prepare("configuration", upstream.address().port()).unwrap();
    let folder = gateway.file("");
    let (certificate, key) = authority.server_of(&["127.0.0.1"]).unwrap().write(&folder, "collector").unwrap();
    let (own, own_key) =
        authority.client(&["spiffe://acme.example/gateway"]).unwrap().write(&folder, "gateway").unwrap();
    let ca = folder.join("ca.crt");
    std::fs::write(&ca, authority.pem()).unwrap();
    let [certificate, key, own, own_key, ca] =
        [&certificate, &key, &own, &own_key, &ca].map(|path| path.to_str().unwrap().to_owned());
    let around = Around {
        collector: strings(&["--tls-cert", &certificate, "--tls-key", &key, "--client-ca", &ca]),
        rendering: strings(&["--collector-ca", &ca, "--collector-cert", &own, "--collector-key", &own_key]),
        ..Around::default()
    };
    let real = RealEnvoy::start_amid(gateway, upstream, 1, around, |_| ()).unwrap();
    let answer = client::send(real.listener, &plain::get(&real, "/v1/orders/7").unwrap()).unwrap();
    assert_eq!(answer.status, 200);
    let decided = |records: &[Value]| !of(records, "decision").is_empty();
    real.wait_for_records_within(LIMIT, "the decision", decided).unwrap();
}
