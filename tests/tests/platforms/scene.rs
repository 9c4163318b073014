//! A gateway of a platform, and requests through it.

use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::gateway::{Gateway, exeat};
use exeat_e2e::scenario::plain::{self, HOST};
use exeat_e2e::scenario::real::{Around, Places, Platform, RealEnvoy};
use exeat_e2e::scenario::subject::Subject as _;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::artefacts;
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::sign::ContextFields;
use serde_json::{Value, json};

/// Starts the policy `main` on a platform.
pub(crate) fn start(platform: Platform) -> RealEnvoy {
    start_with(platform, &[])
}

/// The same, after replacing text in all documents.
pub(crate) fn start_with(platform: Platform, replace: &[(&str, &str)]) -> RealEnvoy {
    let upstream = Upstream::start().unwrap();
    let gateway = Gateway::prepare_with("main", upstream.address().port(), replace).unwrap();
    let around = Around { platform: Some(platform), ..Around::default() };
    RealEnvoy::start_amid(gateway, upstream, 1, around, |_| ()).unwrap()
}

/// The objects that are rendered for a platform.
pub(crate) fn objects(platform: &str, gateway: &Gateway, places: &Places, more: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = exeat(&["render", platform, "--agents", "agents"], |command| {
        command.args(gateway.sources()).args(["--port", &places.listener.port().to_string()]);
        command.args(["--collector", &places.collector.to_string(), "--resolver", &places.resolver.to_string()]);
        command.args(more);
    })?;
    Ok(serde_saphyr::from_multiple(&text)?)
}

/// The module as an argument.
pub(crate) fn module() -> String {
    artefacts::module().unwrap().into_os_string().into_string().unwrap()
}

/// What a platform hands to Envoy: clusters at start, a listener that can be replaced.
pub(crate) fn documents(clusters: &[Value], mut listener: Value) -> (String, String) {
    listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
    let bootstrap =
        json!({"node": {"id": "platform", "cluster": "platform"}, "static_resources": {"clusters": clusters}});
    (bootstrap.to_string(), json!({"resources": [listener]}).to_string())
}

fn context() -> ContextFields {
    ContextFields {
        tenant: Some("acme".to_owned()),
        user: Some("u-1".to_owned()),
        roles: vec!["support".to_owned()],
        tool: Some("crm.lookup".to_owned()),
        ..plain::context()
    }
}

/// A request as a signer would send it.
pub(crate) fn signed(real: &RealEnvoy, method: &str, path: &str, body: &[u8]) -> WireRequest {
    let url = format!("http://{HOST}:{}{path}", real.upstream_port());
    let mut unsigned = UnsignedRequest::new(method, &url).unwrap();
    if !body.is_empty() {
        unsigned = unsigned.field("content-type", "application/json").body(body.to_vec());
    }
    WireRequest::signed(&unsigned, &context(), real).unwrap()
}

/// Status, reason and how many requests arrived, of a signed request.
pub(crate) fn ask(real: &mut RealEnvoy, method: &str, path: &str, body: &[u8]) -> (u16, String, usize) {
    let request = signed(real, method, path, body);
    send(real, &request)
}

/// The same without a signature.
pub(crate) fn ask_unsigned(real: &mut RealEnvoy, path: &str) -> (u16, String, usize) {
    let url = format!("http://{HOST}:{}{path}", real.upstream_port());
    send(real, &WireRequest::new(&UnsignedRequest::new("GET", &url).unwrap(), &[]))
}

fn send(real: &mut RealEnvoy, request: &WireRequest) -> (u16, String, usize) {
    let reply = real.send(request).unwrap();
    let reason = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default()["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (reply.status, reason, real.arrived().unwrap().len())
}

/// What every platform does under the policy `main`: a request passes, with and without a body, and what is unsigned, unlisted or
/// too large does not.
pub(crate) fn judges(real: &mut RealEnvoy) {
    assert_eq!(ask(real, "GET", "/v1/orders/7", b""), (200, String::new(), 1));
    assert_eq!(ask(real, "POST", "/v1/search", br#"{"q":"x"}"#), (200, String::new(), 1));
    assert_eq!(ask_unsigned(real, "/v1/orders/7"), (401, "context-missing".to_owned(), 0));
    assert_eq!(ask(real, "GET", "/v1/accounts", b"").2, 0);
    // Judged by its body, or by what it announces: neither a byte nor the head leaves.
    let (status, reason, arrived) = ask(real, "POST", "/v1/search", &[b'x'; 100_000]);
    assert_eq!((status, reason.as_str(), arrived), (413, "payload-too-large", 0));
}
