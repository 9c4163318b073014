//! An agent that the policy lets go wherever a name leads.

use exeat_cli::sign::UnsignedRequest;
use exeat_e2e::scenario::gateway::Gateway;
use exeat_e2e::scenario::real::RealEnvoy;
use exeat_e2e::scenario::subject::{Reply, Subject};
use exeat_e2e::scenario::updating::rebuilt_from;
use exeat_e2e::scenario::wire::WireRequest;
use exeat_e2e::stage::silent::Silent;
use exeat_e2e::stage::upstream::Upstream;
use exeat_engine::context::sign::ContextFields;
use exeat_engine::context::{DataClass, Provenance};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

pub(crate) const WORKER: &str = "support/summarizer";
pub(crate) const WATCHED: &str = "support/observer";

const OPTIONS: &str = "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Where the guards are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guards {
    /// In the filter's VM.
    Here,
    /// In one of their own, for their module has other bytes.
    Elsewhere,
}

impl Guards {
    pub(crate) const BOTH: [Self; 2] = [Self::Here, Self::Elsewhere];

    /// Sets the bootstrap up so, with a module in this file.
    fn place(self, module: &Path, bootstrap: &mut Value) {
        if self == Self::Here {
            return;
        }
        rebuilt_from("2", module).unwrap();
        for cluster in clusters(bootstrap) {
            *at_guard(cluster, "vm_config/code/local/filename") = module.display().to_string().into();
        }
    }
}

/// Clusters that lead out.
pub(crate) fn clusters(bootstrap: &mut Value) -> impl Iterator<Item = &mut Value> {
    let clusters = bootstrap.pointer_mut("/static_resources/clusters").unwrap().as_array_mut().unwrap();
    clusters.iter_mut().filter(|cluster| cluster["name"].as_str().unwrap().starts_with("egress-"))
}

/// What a cluster says of its upstreams.
pub(crate) fn options(cluster: &mut Value) -> &mut Value {
    cluster.pointer_mut(OPTIONS).unwrap()
}

/// Something in the configuration of a cluster's guard.
pub(crate) fn at_guard<'a>(cluster: &'a mut Value, place: &str) -> &'a mut Value {
    options(cluster).pointer_mut(&format!("/http_filters/0/typed_config/config/{place}")).unwrap()
}

/// A gateway whose policy names the port of a silent listener on 127.0.0.1: what reaches that listener, leaks.
pub(crate) fn silent_gateway(edit: impl FnOnce(&mut Value)) -> (RealEnvoy, Silent) {
    let silent = Silent::start().unwrap();
    let real = start(Guards::Here, silent.address().port(), Upstream::start().unwrap(), edit);
    (real, silent)
}

/// A gateway whose policy names the port of the upstream.
pub(crate) fn gateway(edit: impl FnOnce(&mut Value)) -> RealEnvoy {
    gateway_with(Guards::Here, edit)
}

/// The same with guards there.
pub(crate) fn gateway_with(guards: Guards, edit: impl FnOnce(&mut Value)) -> RealEnvoy {
    let upstream = Upstream::start().unwrap();
    start(guards, upstream.address().port(), upstream, edit)
}

/// A gateway whose policy names this port.
pub(crate) fn start(guards: Guards, port: u16, upstream: Upstream, edit: impl FnOnce(&mut Value)) -> RealEnvoy {
    let gateway = Gateway::prepare("guard", port).unwrap();
    let module = gateway.file("guards.wasm");
    let edit = |bootstrap: &mut Value| {
        guards.place(&module, bootstrap);
        edit(bootstrap);
    };
    RealEnvoy::start_edited(gateway, upstream, 1, &[], edit).unwrap()
}

/// A request to a host and port, signed now with the policy's key.
pub(crate) fn signed(
    real: &RealEnvoy,
    agent: &str,
    method: &str,
    authority: &str,
    path: &str,
    body: &[u8],
) -> WireRequest {
    let path = if method == "CONNECT" { "" } else { path };
    let mut unsigned = UnsignedRequest::new(method, &format!("http://{authority}{path}")).unwrap();
    if !body.is_empty() {
        unsigned = unsigned.field("content-type", "text/plain").body(body);
    }
    let context = ContextFields {
        agent: agent.to_owned(),
        session: "s-1".to_owned(),
        tenant: Some("acme".to_owned()),
        data_class: Some(DataClass::Internal),
        provenance: vec![Provenance::User],
        ..ContextFields::default()
    };
    WireRequest::signed(&unsigned, &context, real).unwrap()
}

/// Sends a GET; status and reason.
pub(crate) fn get(real: &mut RealEnvoy, agent: &str, authority: &str) -> (u16, String) {
    let request = signed(real, agent, "GET", authority, "/a?b=c", b"");
    told(&real.send(&request).unwrap())
}

pub(crate) fn told(reply: &Reply) -> (u16, String) {
    (reply.status, reply.json()["reason"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn refused() -> (u16, String) {
    (403, "destination-resolved-forbidden".to_owned())
}

/// The record of the guard's refusal that an answer names, and the completion of what it follows.
pub(crate) fn records_of(real: &RealEnvoy, reply: &Reply) -> (Value, Value) {
    let id = reply.header("exeat-decision").unwrap().to_owned();
    assert_eq!(
        (reply.json()["decision"].as_str(), reply.header("exeat-reason")),
        (Some(&*id), Some("destination-resolved-forbidden"))
    );
    let refusal = |records: &[Value]| records.iter().find(|record| record["id"] == id.as_str()).cloned();
    let completion = |records: &[Value]| {
        let follows = refusal(records)?["follows"].clone();
        records.iter().find(|record| record["kind"] == "completion" && record["decision"] == follows).cloned()
    };
    let both = "the refusal and the completion of what it follows";
    let records = real.wait_for_records(both, |records| completion(records).is_some()).unwrap();
    (refusal(&records).unwrap(), completion(&records).unwrap())
}

/// Long enough for a byte that leaks to arrive on loopback; a leak that comes later shows in another run.
pub(crate) fn let_leak() {
    std::thread::sleep(Duration::from_millis(200));
}
