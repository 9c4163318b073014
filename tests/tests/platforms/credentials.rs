//! Credentials that the gateway adds, where a control plane hands out the listener: Envoy reads where they are from files.

use crate::istio::{apply, listener, of_kind, tcp_proxy};
use crate::scene::{documents, module, objects};
use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::plain;
use exeat_e2e::scenario::real::{Around, Places, RealEnvoy};
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::sign::ContextFields;

const KEY: &str = "Bearer secret-of-the-model";

/// What the pod has mounted, in a folder here.
fn platform(gateway: &Gateway, places: &Places) -> anyhow::Result<(String, String)> {
    let all =
        objects("istio", gateway, places, &["--agents-outside-mesh", "--module", &module(), "--credentials", "keys"])?;
    let folder = gateway.file("mounted");
    let (values, sources) = (folder.join("credentials"), folder.join("credential-sources"));
    for folder in [&values, &sources] {
        std::fs::create_dir_all(folder)?;
    }
    for (name, value) in [("model-key", KEY), ("search-key", "s"), ("account", "a")] {
        std::fs::write(values.join(name), value)?;
    }
    let here = |text: &str| text.replace("/etc/exeat", folder.to_str().unwrap());
    for (name, text) in of_kind(&all, "ConfigMap")["data"].as_object().unwrap() {
        std::fs::write(sources.join(name), here(text.as_str().unwrap()))?;
    }
    let mut listener = listener(places, &tcp_proxy(&all));
    let clusters = apply(&all, places, &mut listener);
    Ok(documents(&clusters, serde_json::from_str(&here(&listener.to_string()))?))
}

#[test]
fn a_mounted_secret_is_added_to_what_the_filter_let_go() {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare("credentials", upstream.address().port()).unwrap();
    let around = Around { platform: Some(platform), ..Around::default() };
    let mut real = RealEnvoy::start_amid(gateway, upstream, 1, around, |_| ()).unwrap();
    let context = ContextFields { tenant: Some("acme".to_owned()), ..plain::context() };
    for (host, expected) in [("api.model.example", Some(KEY)), ("plain.example", None)] {
        let url = format!("http://{host}:{}/a", real.upstream_port());
        let unsigned = UnsignedRequest::new("GET", &url).unwrap().field("authorization", "Bearer of-the-agent");
        let request = WireRequest::signed(&unsigned, &context, &real).unwrap();
        assert_eq!(real.send(&request).unwrap().status, 200, "{host}");
        let [arrived] = real.arrived().unwrap().try_into().unwrap();
        let sent = arrived.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
        assert_eq!(sent, expected, "{host}");
    }
}
